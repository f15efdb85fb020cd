"""The NAT of the tests, on frames."""

from __future__ import annotations

import ipaddress
import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from tests.nat import Nat, checksum

INSIDE, OUTSIDE, CALLER = "10.77.0.1", "203.0.113.7", "10.77.1.1"
HEAD = b"\x01" * 10
ETHERNET = b"\x02" * 12 + b"\x08\x00"


def frame(source: str, destination: str, data: bytes, protocol: int = socket.IPPROTO_UDP) -> bytes:
    """A datagram as it comes from a host that leaves its checksums to others."""
    addresses = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(destination).packed
    header = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(data), 7, 0, 64, protocol, 0) + addresses
    datagram = struct.pack("!HHHH", 1000, 2000, 8 + len(data), 0x1234) + data
    return HEAD + ETHERNET + header + datagram


def addresses(of: bytes) -> tuple[str, str]:
    start = len(HEAD) + len(ETHERNET) + 12
    return (
        str(ipaddress.IPv4Address(of[start : start + 4])),
        str(ipaddress.IPv4Address(of[start + 4 : start + 8])),
    )


@given(data=st.binary(max_size=50))
def test_datagrams_keep_all_but_one_address(data: bytes) -> None:
    nat = Nat(INSIDE, OUTSIDE, len(HEAD))
    out, back = frame(INSIDE, CALLER, data), frame(CALLER, OUTSIDE, data)
    assert addresses(nat.outward(out)) == (OUTSIDE, CALLER)
    assert addresses(nat.inward(back)) == (CALLER, INSIDE)
    for given_, made in ((out, nat.outward(out)), (back, nat.inward(back))):
        assert made[-len(data) - 8 : -len(data) - 2] == given_[-len(data) - 8 : -len(data) - 2]
        assert made.endswith(data)
        start = len(HEAD) + len(ETHERNET)
        assert checksum(made[start : start + 20]) == 0


@given(st.binary(max_size=80))
def test_what_is_no_datagram_passes_as_it_is(data: bytes) -> None:
    nat = Nat(INSIDE, OUTSIDE, len(HEAD))
    assert nat.outward(data) == data
    tcp = frame(INSIDE, CALLER, data, socket.IPPROTO_TCP)
    assert nat.outward(tcp) == tcp


def test_datagrams_of_others_pass_as_they_are() -> None:
    nat = Nat(INSIDE, OUTSIDE, len(HEAD))
    other = frame(CALLER, "10.77.1.2", b"")
    assert nat.outward(other) == nat.inward(other) == other
