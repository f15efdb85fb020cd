"""RTP packets (RFC 3550), as far as one audio stream needs them. Pure."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

MOST_PACKETS: Final = 200
"""Packets a second that are decoded: four times those of a call, or packets of 5 ms."""
BURST: Final = 200
"""Packets that may come at once, after a stall of the network."""


class RtpPacket(NamedTuple):
    """A packet of media that has come."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse_rtp(data: bytes) -> RtpPacket | None:
    """Read a packet; None if it is none."""
    if len(data) < 12 or data[0] >> 6 != 2:
        return None
    first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
    start = 12 + 4 * (first & 0x0F)
    if first & 0x10:
        if len(data) < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    end = len(data)
    if first & 0x20:
        end -= data[-1]
    if start > end:
        return None
    return RtpPacket(second & 0x7F, sequence, timestamp, ssrc, data[start:end])


def write_rtp(
    payload_type: int, marker: bool, sequence: int, timestamp: int, ssrc: int, payload: bytes
) -> bytes:
    """A packet of media."""
    second = payload_type | (0x80 if marker else 0)
    head = struct.pack("!BBHII", 0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    return head + payload


class Quota:
    """What a call may use up: a flood must not take the event loop."""

    def __init__(self, per_second: float = MOST_PACKETS, at_once: float = BURST) -> None:
        """Of packets, unless it is said otherwise."""
        self._per_second = per_second
        self._at_once = at_once
        self._left = float(at_once)
        self._last = 0.0

    def allows(self, at: float, amount: float = 1.0) -> bool:
        """Use some up at this time (s), if anything is left; what it is may be found out later."""
        self._left = min(self._at_once, self._left + self._per_second * (at - self._last))
        self._last = at
        if self._left < amount:
            return False
        self._left -= amount
        return True

    def use(self, amount: float) -> None:
        """Use up what has turned out to be needed."""
        self._left -= amount
