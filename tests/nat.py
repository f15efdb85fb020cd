"""A NAT that gives one host a public address, port by port, for its datagrams alone."""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

ETHERNET: Final = 14
IPV4: Final = 0x0800
UDP: Final = 17
SOURCE: Final = 12
"""Where the address is in a header of IPv4 that a packet comes from..."""
DESTINATION: Final = 16
"""...and goes to."""


class Nat:
    """Rewrites frames of IPv4. It leaves alone what is no UDP, as a host's TCP has its own way."""

    def __init__(self, inside: str, outside: str, head: int = 0) -> None:
        """Set it up.

        Args:
            inside: the address that the host has.
            outside: the one that others know it by.
            head: bytes before each frame, in which the kernel notes what is left to be done.
        """
        self._inside = ipaddress.IPv4Address(inside).packed
        self._outside = ipaddress.IPv4Address(outside).packed
        self._head = head

    def outward(self, frame: bytes) -> bytes:
        """What others see of a frame of the host."""
        return self._rewrite(frame, SOURCE, self._inside, self._outside)

    def inward(self, frame: bytes) -> bytes:
        """What the host sees of a frame of others."""
        return self._rewrite(frame, DESTINATION, self._outside, self._inside)

    def _rewrite(self, frame: bytes, place: int, old: bytes, new: bytes) -> bytes:
        start = self._head + ETHERNET
        if len(frame) < start + 20 or frame[start - 2 : start] != struct.pack("!H", IPV4):
            return frame
        length = (frame[start] & 15) * 4
        header = bytearray(frame[start : start + length])
        if header[9] != UDP or header[place : place + 4] != old:
            return frame
        header[place : place + 4] = new
        header[10:12] = bytes(2)
        header[10:12] = struct.pack("!H", checksum(bytes(header)))
        datagram = bytearray(frame[start + length :])
        datagram[6:8] = bytes(2)  # IPv4 takes a datagram without a checksum.
        # Nothing is left to be done, either.
        return bytes(self._head) + frame[self._head : start] + bytes(header) + bytes(datagram)


def checksum(header: bytes) -> int:
    """Of the internet (RFC 1071); over a whole header it is 0."""
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
