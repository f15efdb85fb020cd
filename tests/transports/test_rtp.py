import struct

import pytest
from aiortc.rtp import RtpPacket as AiortcPacket
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.transports.rtp import BURST, MOST_PACKETS, Quota, RtpPacket, parse_rtp, write_rtp

WRAP = 1 << 16


def packet(
    payload: bytes = b"opus",
    *,
    contributors: int = 0,
    extension: bytes | None = None,
    padding: bytes = b"",
    first: int = 0x80,
) -> bytes:
    """A packet of payload type 111, number 7, time 8, source 9, as RFC 3550 draws it."""
    first |= contributors | (0x10 if extension is not None else 0) | (0x20 if padding else 0)
    data = struct.pack("!BBHII", first, 111, 7, 8, 9) + b"\1\2\3\4" * contributors
    if extension is not None:
        data += struct.pack("!HH", 0xBEDE, len(extension) // 4) + extension
    return data + payload + padding


READ = RtpPacket(111, 7, 8, 9, b"opus")


@given(
    st.integers(0, 127),
    st.booleans(),
    st.integers(0, WRAP - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=100),
)
@settings(deadline=None, max_examples=60)
def test_what_is_written_is_read_again(
    kind: int, marker: bool, number: int, time: int, source: int, payload: bytes
) -> None:
    data = write_rtp(kind, marker, number, time, source, payload)
    assert parse_rtp(data) == RtpPacket(kind, number, time, source, payload)


def test_another_library_reads_what_is_written() -> None:
    found = AiortcPacket.parse(write_rtp(111, True, 7, 8, 9, b"opus"))
    assert (found.payload_type, found.sequence_number, found.timestamp) == (111, 7, 8)
    assert (found.ssrc, found.payload, found.marker) == (9, b"opus", 1)


def test_the_number_and_the_time_wrap_around() -> None:
    found = parse_rtp(write_rtp(111, False, WRAP + 7, 2**32 + 8, 9, b"opus"))
    assert found == READ


def test_the_marker_is_no_part_of_the_payload_type() -> None:
    found = parse_rtp(write_rtp(127, True, 0, 0, 0, b""))
    assert found is not None
    assert found.payload_type == 127


@pytest.mark.parametrize("padding", [b"\1", b"\0\0\0\4", bytes(254) + b"\xff"])
def test_padding_is_taken_off(padding: bytes) -> None:
    assert parse_rtp(packet(padding=padding)) == READ


@pytest.mark.parametrize("extension", [b"", b"\x10\xaa\0\0", bytes(40)])
def test_a_header_extension_is_skipped(extension: bytes) -> None:
    assert parse_rtp(packet(extension=extension)) == READ


@pytest.mark.parametrize("count", [1, 2, 15])
def test_contributing_sources_are_skipped(count: int) -> None:
    assert parse_rtp(packet(contributors=count)) == READ


def test_all_of_these_may_come_together() -> None:
    data = packet(contributors=3, extension=bytes(8), padding=b"\0\2")
    assert parse_rtp(data) == READ


def test_a_packet_of_padding_alone_has_no_payload() -> None:
    found = parse_rtp(packet(b"", padding=b"\0\0\0\4"))
    assert found is not None
    assert found.payload == b""


@pytest.mark.parametrize("padding", [b"\xff", b"\5"])
def test_more_padding_than_there_is_packet_is_no_packet(padding: bytes) -> None:
    assert parse_rtp(packet(b"", padding=padding)) is None


def test_an_extension_that_is_longer_than_the_packet_is_no_packet() -> None:
    data = bytearray(packet(extension=bytes(8)))
    data[14:16] = b"\xff\xff"
    assert parse_rtp(bytes(data)) is None


@pytest.mark.parametrize("first", [0x00, 0x40, 0xC0])
def test_another_version_is_no_packet(first: int) -> None:
    assert parse_rtp(packet(first=first)) is None


@pytest.mark.parametrize(
    "head", [packet(), packet(contributors=3, extension=bytes(8)), packet(extension=bytes(4))]
)
def test_a_packet_cut_in_its_header_is_no_packet(head: bytes) -> None:
    for end in range(len(head) - len(b"opus")):
        assert parse_rtp(head[:end]) is None


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x80", b"\x9f", b"\xbf", b"\xb0"]))
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_read_or_are_no_packet(data: bytes, first: bytes) -> None:
    found = parse_rtp(first + data)
    if found is not None:
        assert len(found.payload) <= len(first + data) - 12


def test_a_flood_is_bounded_to_a_burst_and_a_rate() -> None:
    limit = Quota()
    taken = sum(limit.allows(10 + n / 10_000) for n in range(20_000))
    assert BURST < taken <= BURST + 2 * MOST_PACKETS


def test_a_call_within_its_rate_loses_nothing() -> None:
    limit = Quota()
    assert all(limit.allows(n / 100) for n in range(2_000))
