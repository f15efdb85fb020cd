"""RTCP packets (RFC 3550), as far as one audio stream needs them. Pure."""

from __future__ import annotations

import struct
from typing import Final

CLOCK_RATE: Final = 48_000
"""Hz, the RTP clock of Opus at every sample rate (RFC 7587)."""
NTP_EPOCH: Final = 2_208_988_800
"""Seconds from 1900 to 1970."""
SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
SOURCE_DESCRIPTION: Final = 202


class Reception:
    """Counts what comes of one source, for our reports (RFC 3550, A.1, A.3 and A.8)."""

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self.received = 0
        self.highest = -1
        """Highest sequence number, with its wraps counted in the upper 16 bits."""
        self.first = 0
        self.jitter = 0.0
        """In units of the RTP clock."""
        self._transit: float | None = None
        self._expected_before = 0
        self._received_before = 0

    def add(self, sequence: int, timestamp: int, at: float) -> None:
        """A packet came at this time, in seconds."""
        if self.highest < 0:
            self.highest = self.first = sequence
        else:
            ahead = ((sequence - self.highest + 0x8000) & 0xFFFF) - 0x8000
            self.highest = max(self.highest, self.highest + ahead)
        self.received += 1
        transit = at * CLOCK_RATE - timestamp
        if self._transit is not None:
            step = abs(transit - self._transit)
            # A wrapped timestamp or a new start is no jitter.
            if step < CLOCK_RATE:
                self.jitter += (step - self.jitter) / 16
        self._transit = transit

    def block(self) -> bytes:
        """The report block on what came since the last one."""
        expected = self.highest - self.first + 1
        lost = max(0, min(expected - self.received, 0x7FFFFF))
        new = expected - self._expected_before
        missing = new - (self.received - self._received_before)
        fraction = max(0, min(255, 256 * missing // new)) if new > 0 else 0
        self._expected_before, self._received_before = expected, self.received
        return struct.pack(
            "!IIIIII",
            self.ssrc,
            fraction << 24 | lost,
            self.highest & 0xFFFFFFFF,
            int(self.jitter),
            0,
            0,
        )


def write_report(
    ssrc: int,
    cname: str,
    sent: tuple[int, int, int] | None,
    wall: float,
    reception: Reception | None,
) -> bytes:
    """A compound RTCP packet: a sender's or a receiver's report, and our name.

    Args:
        ssrc: ours.
        cname: ours.
        sent: RTP timestamp of now, packets and bytes sent; None if we have sent nothing.
        wall: Unix time in seconds.
        reception: what has come, if anything.
    """
    blocks = b"" if reception is None else reception.block()
    count = 0 if reception is None else 1
    body = struct.pack("!I", ssrc)
    kind = RECEIVER_REPORT
    if sent is not None:
        kind = SENDER_REPORT
        seconds = int(wall)
        fraction = int((wall - seconds) * 2**32) & 0xFFFFFFFF
        timestamp, packets, size = sent
        body += struct.pack(
            "!IIIII",
            (seconds + NTP_EPOCH) & 0xFFFFFFFF,
            fraction,
            timestamp & 0xFFFFFFFF,
            packets & 0xFFFFFFFF,
            size & 0xFFFFFFFF,
        )
    name = cname.encode()[:200]
    item = struct.pack("!I", ssrc) + bytes([1, len(name)]) + name
    item += bytes(4 - len(item) % 4)
    return _packet(kind, count, body + blocks) + _packet(SOURCE_DESCRIPTION, 1, item)


def reported_loss(report: bytes, ssrc: int) -> float | None:
    """The share of our packets that the far side lost lately, 0 to 1, as its reports have it.

    Args:
        report: a compound RTCP packet (RFC 3550, 6.4), whatever came.
        ssrc: ours.

    Returns:
        None where it says nothing of us, or makes no sense.
    """
    found, start = None, 0
    while len(report) - start >= 8:
        first, kind, words = struct.unpack_from("!BBH", report, start)
        end = start + 4 * (words + 1)
        if first >> 6 != 2 or end > len(report):
            break
        begin = start + {SENDER_REPORT: 28, RECEIVER_REPORT: 8}.get(kind, end)
        for at in range(begin, min(end, begin + 24 * (first & 0x1F)) - 23, 24):
            source, lost = struct.unpack_from("!II", report, at)
            if source == ssrc:
                found = (lost >> 24) / 256
        start = end
    return found


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body
