import struct

import pytest
from aiortc.rtp import (
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSrPacket,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.transports.webrtc.rtp import (
    CLOCK_RATE,
    NTP_EPOCH,
    RECEIVER_REPORT,
    SENDER_REPORT,
    SOURCE_DESCRIPTION,
    Reception,
    reported_loss,
    write_report,
)

WRAP = 1 << 16
FRAME = 960


def reception(numbers: list[int], ssrc: int = 0xCAFE) -> Reception:
    """What has come, each packet exactly in its time."""
    found = Reception(ssrc)
    for number in numbers:
        found.add(number % WRAP, number * FRAME % 2**32, number * 0.02)
    return found


def report(
    incoming: Reception | None, sent: tuple[int, int, int] | None = None
) -> RtcpReceiverInfo:
    """Our report on what has come, as another library reads it."""
    found = RtcpPacket.parse(write_report(1, "us", sent, 0.0, incoming))[0]
    assert isinstance(found, (RtcpSrPacket, RtcpRrPacket))
    (block,) = found.reports
    return block


def test_a_sender_report_says_what_was_sent() -> None:
    data = write_report(0xABCD, "us", (96_000, 100, 8_000), 1_700_000_000.25, None)
    found = RtcpPacket.parse(data)[0]
    assert isinstance(found, RtcpSrPacket)
    info = found.sender_info
    assert (found.ssrc, found.reports) == (0xABCD, [])
    assert (info.rtp_timestamp, info.packet_count, info.octet_count) == (96_000, 100, 8_000)
    assert info.ntp_timestamp == (1_700_000_000 + NTP_EPOCH) << 32 | 1 << 30


def test_counts_of_a_long_call_wrap_around() -> None:
    data = write_report(1, "us", (2**32 + 1, 2**32 + 2, 2**32 + 3), 0.0, None)
    found = RtcpPacket.parse(data)[0]
    assert isinstance(found, RtcpSrPacket)
    info = found.sender_info
    assert (info.rtp_timestamp, info.packet_count, info.octet_count) == (1, 2, 3)


def test_who_has_sent_nothing_writes_a_receiver_report() -> None:
    found = RtcpPacket.parse(write_report(5, "us", None, 0.0, reception([1])))[0]
    assert isinstance(found, RtcpRrPacket)
    assert found.ssrc == 5
    assert [block.ssrc for block in found.reports] == [0xCAFE]


def test_a_sender_report_carries_what_was_received_too() -> None:
    assert report(reception([1, 2, 3]), sent=(0, 1, 1)).highest_sequence == 3


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=199))
@settings(deadline=None, max_examples=60)
def test_every_report_ends_with_our_name(name: str) -> None:
    data = write_report(5, name, None, 0.0, None)
    packets = RtcpPacket.parse(data)
    assert len(packets) == 2
    assert isinstance(packets[1], RtcpSdesPacket)
    (chunk,) = packets[1].chunks
    assert (chunk.ssrc, chunk.items) == (5, [(1, name.encode())])
    # RFC 3550, 6.5: the list of items ends with a zero, whatever it takes to fill the word.
    assert data.endswith(b"\0")


@given(st.text(max_size=400))
@settings(deadline=None, max_examples=40)
def test_any_name_makes_a_whole_packet(name: str) -> None:
    try:
        data = write_report(5, name, None, 0.0, None)
    except UnicodeEncodeError:
        return
    assert len(data) % 4 == 0
    assert len(RtcpPacket.parse(data)) == 2


def test_nothing_lost_is_reported_as_nothing_lost() -> None:
    block = report(reception(list(range(100, 200))))
    assert (block.fraction_lost, block.packets_lost) == (0, 0)
    assert block.highest_sequence == 199
    assert block.jitter == 0


def test_a_quarter_lost_is_reported_as_64_of_256() -> None:
    block = report(reception([n for n in range(100) if n % 4 != 2]))
    assert (block.fraction_lost, block.packets_lost) == (64, 25)


def test_the_loss_fraction_is_that_since_the_last_report() -> None:
    incoming = reception([n for n in range(100) if n % 2 == 0 or n == 99])
    assert report(incoming).fraction_lost == 256 * 49 // 100
    for number in range(100, 200):
        incoming.add(number, number * FRAME, number * 0.02)
    block = report(incoming)
    assert (block.fraction_lost, block.packets_lost) == (0, 49)


def test_a_report_without_new_packets_has_no_loss_fraction() -> None:
    incoming = reception([0, 2])
    report(incoming)
    assert report(incoming).fraction_lost == 0


def test_doubled_packets_are_no_negative_loss() -> None:
    block = report(reception([1, 1, 1, 2, 2]))
    assert (block.fraction_lost, block.packets_lost) == (0, 0)


def test_reordered_packets_are_not_lost() -> None:
    block = report(reception([5, 7, 6, 9, 8]))
    assert (block.packets_lost, block.highest_sequence) == (0, 9)


def test_the_highest_number_counts_the_wraps() -> None:
    block = report(reception(list(range(WRAP - 10, WRAP + 10))))
    assert (block.highest_sequence, block.packets_lost) == (WRAP + 9, 0)


def test_packets_lost_at_the_wrap_are_counted() -> None:
    block = report(reception([WRAP - 2, WRAP + 1]))
    assert (block.highest_sequence, block.packets_lost) == (WRAP + 1, 2)


def test_a_wrapped_timestamp_is_no_jitter() -> None:
    incoming = Reception(1)
    for number in range(100):
        incoming.add(number, (2**32 - 50 * FRAME + number * FRAME) % 2**32, number * 0.02)
    assert report(incoming).jitter == 0


def test_jitter_comes_near_the_swing_of_the_arrival_times() -> None:
    incoming = Reception(1)
    for number in range(500):
        incoming.add(number, number * FRAME, number * 0.02 + 0.010 * (number % 2))
    assert report(incoming).jitter == pytest.approx(0.010 * CLOCK_RATE, rel=0.05)


@given(st.lists(st.integers(0, WRAP - 1), min_size=1, max_size=100))
@settings(deadline=None, max_examples=80)
def test_any_numbers_make_a_report_that_can_be_read(numbers: list[int]) -> None:
    incoming = Reception(1)
    for place, number in enumerate(numbers):
        incoming.add(number, place * FRAME, place * 0.02)
    block = report(incoming)
    assert 0 <= block.fraction_lost <= 255
    assert block.packets_lost >= 0


# What the far side reports of us

OURS = 0x1234


def foreign(lost: int, *, ssrc: int = OURS, kind: int = RECEIVER_REPORT, before: int = 0) -> bytes:
    """A report of one source, or more: ``before`` others come first."""
    info = bytes(20) if kind == SENDER_REPORT else b""
    blocks = [struct.pack("!II", 77 + n, 0xFF << 24) + bytes(16) for n in range(before)]
    blocks.append(struct.pack("!II", ssrc, lost << 24 | 5) + bytes(16))
    body = struct.pack("!I", 9) + info + b"".join(blocks)
    return struct.pack("!BBH", 0x80 | len(blocks), kind, len(body) // 4) + body


@pytest.mark.parametrize("kind", [SENDER_REPORT, RECEIVER_REPORT])
@pytest.mark.parametrize("before", [0, 3])
def test_the_loss_that_the_far_side_reports_is_read(kind: int, before: int) -> None:
    assert reported_loss(foreign(64, kind=kind, before=before), OURS) == 0.25


def test_a_report_is_found_behind_other_packets() -> None:
    description = struct.pack("!BBH", 0x81, SOURCE_DESCRIPTION, 2) + bytes(8)
    assert reported_loss(description + foreign(128), OURS) == 0.5


def test_a_report_of_another_source_says_nothing() -> None:
    assert reported_loss(foreign(64, ssrc=1), OURS) is None


def test_our_own_report_is_read_by_the_same_rules() -> None:
    reception = Reception(OURS)
    for number in (1, 2, 4, 5):
        reception.add(number, number * 960, number * 0.02)
    data = write_report(9, "name", (1, 2, 3), 0.0, reception)
    assert reported_loss(data, OURS) == pytest.approx(1 / 5, abs=0.01)


@given(st.binary(max_size=120))
def test_a_report_that_makes_no_sense_is_none(data: bytes) -> None:
    found = reported_loss(data, OURS)
    assert found is None or 0 <= found <= 1


@given(st.integers(0, 60))
def test_a_report_that_is_cut_off_is_none(end: int) -> None:
    whole = foreign(64, before=1)
    if end < len(whole):
        assert reported_loss(whole[:end], OURS) is None
