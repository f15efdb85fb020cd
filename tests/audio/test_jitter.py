import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.audio.jitter import (
    CALMS_AFTER,
    LONGEST_GAP,
    MISSING_AFTER,
    MOST_MISSING,
    JitterBuffer,
)

WRAP = 1 << 16


def received(numbers: list[int]) -> list[int | None]:
    """What comes out when these packets come in, each carrying its own number."""
    buffer: JitterBuffer[int] = JitterBuffer()
    return [packet for number in numbers for packet in buffer.add(number % WRAP, number)]


def test_packets_in_order_pass_at_once() -> None:
    buffer: JitterBuffer[str] = JitterBuffer()
    assert [buffer.add(n, str(n)) for n in range(10, 15)] == [[str(n)] for n in range(10, 15)]


@pytest.mark.parametrize("first", [0, 1, 30_000, WRAP - 1])
def test_the_first_packet_may_have_any_number(first: int) -> None:
    assert received([first, first + 1]) == [first, first + 1]


def test_two_swapped_packets_are_put_in_order() -> None:
    assert received([1, 3, 2, 4]) == [1, 2, 3, 4]


def test_packets_behind_a_hole_wait_for_it() -> None:
    buffer: JitterBuffer[int] = JitterBuffer()
    buffer.add(1, 1)
    assert buffer.add(3, 3) == []
    assert buffer.add(4, 4) == []
    assert buffer.add(2, 2) == [2, 3, 4]
    assert buffer.lost == 0


def test_a_packet_is_given_up_when_enough_later_ones_are_there() -> None:
    buffer: JitterBuffer[int] = JitterBuffer()
    buffer.add(1, 1)
    for number in range(3, 2 + MISSING_AFTER):
        assert buffer.add(number, number) == []
    last = 2 + MISSING_AFTER
    assert buffer.add(last, last) == [None, *range(3, last + 1)]
    assert buffer.lost == 1


def test_every_lost_packet_leaves_its_own_hole() -> None:
    assert received([1, 4, 5, 6, 9, 10, 11]) == [1, None, None, 4, 5, 6, None, None, 9, 10, 11]


def test_a_packet_that_comes_after_it_was_given_up_is_dropped() -> None:
    buffer: JitterBuffer[int] = JitterBuffer()
    for number in (1, 3, 4, 5):
        buffer.add(number, number)
    assert buffer.add(2, 2) == []
    assert buffer.late == 1
    assert buffer.add(6, 6) == [6]


def test_a_packet_that_comes_twice_is_played_once() -> None:
    assert received([1, 1, 2, 2, 4, 4, 3, 3, 4]) == [1, 2, 3, 4]


def test_numbers_may_wrap_around() -> None:
    numbers = list(range(WRAP - 3, WRAP + 3))
    assert received(numbers) == numbers


def test_packets_may_be_swapped_over_the_wrap() -> None:
    assert received([WRAP - 2, WRAP, WRAP - 1, WRAP + 1]) == list(range(WRAP - 2, WRAP + 2))


def test_a_packet_may_be_lost_at_the_wrap() -> None:
    assert received([WRAP - 1, WRAP + 1, WRAP + 2, WRAP + 3]) == [
        WRAP - 1,
        None,
        *range(WRAP + 1, WRAP + 4),
    ]


def test_a_call_of_many_wraps_loses_nothing() -> None:
    buffer: JitterBuffer[int] = JitterBuffer()
    numbers = range(2 * WRAP)
    assert all(buffer.add(number % WRAP, number) == [number] for number in numbers)


@pytest.mark.parametrize("gap", [LONGEST_GAP + 2, 1_000, WRAP // 2 - 1])
def test_a_long_gap_is_a_new_start_and_no_loss(gap: int) -> None:
    buffer: JitterBuffer[int] = JitterBuffer()
    buffer.add(1, 1)
    assert buffer.add(1 + gap, 2) == [2]
    assert buffer.add(2 + gap, 3) == [3]
    assert buffer.lost == 0


def test_what_waits_at_a_new_start_is_played_before_it() -> None:
    assert received([1, 3, 4, 1_000, 1_001]) == [1, 3, 4, 1_000, 1_001]


def test_a_sender_that_starts_again_at_a_lower_number_is_heard() -> None:
    assert received([30_000, 30_001, 5, 6, 7])[2:] == [6, 7]


def test_a_straggler_of_long_ago_is_not_played() -> None:
    assert received([1_000, 1_001, 900, 1_002, 850, 1_003]) == [1_000, 1_001, 1_002, 1_003]


@st.composite
def disturbed(draw: st.DrawFn) -> list[int]:
    """Numbers of a call whose packets are lost, doubled, and late by up to 5 places."""
    number, sent = draw(st.sampled_from([0, 77, WRAP - 30])), []
    for lost in draw(st.lists(st.integers(0, 8), min_size=1, max_size=12)):
        number += lost
        for copies in draw(st.lists(st.sampled_from([1, 1, 1, 2]), min_size=4, max_size=8)):
            sent += [number] * copies
            number += 1
    late = st.sampled_from([0, 0, 0, 0, 1, 2, 5])
    delays = draw(st.lists(late, min_size=len(sent), max_size=len(sent)))
    order = sorted(range(len(sent)), key=lambda i: (sent[i] + delays[i], i))
    return [sent[i] for i in order]


@given(disturbed())
@settings(deadline=None, max_examples=60)
def test_whatever_the_network_does_the_sound_goes_forward(numbers: list[int]) -> None:
    heard = [number for number in received(numbers) if number is not None]
    assert heard == sorted(set(heard))


@given(disturbed())
@settings(deadline=None, max_examples=60)
def test_every_packet_has_its_place_in_the_sound(numbers: list[int]) -> None:
    for place, number in enumerate(received(numbers)):
        assert number in (None, numbers[0] + place)


@given(st.lists(st.integers(0, WRAP - 1), max_size=300))
@settings(deadline=None, max_examples=60)
def test_any_numbers_are_taken_and_few_are_held(numbers: list[int]) -> None:
    buffer: JitterBuffer[int] = JitterBuffer()
    out = 0
    for count, number in enumerate(numbers, 1):
        out += sum(packet is not None for packet in buffer.add(number, number))
        assert count - buffer.late - out <= MISSING_AFTER


@given(st.lists(st.integers(0, 40), max_size=300))
@settings(deadline=None, max_examples=60)
def test_a_packet_never_brings_more_than_the_longest_gap(numbers: list[int]) -> None:
    buffer: JitterBuffer[int] = JitterBuffer()
    assert all(len(buffer.add(n, n)) <= LONGEST_GAP + MISSING_AFTER for n in numbers)


# A network that is slow, and not lossy


def late_by(buffer: JitterBuffer[int], number: int, followers: int) -> list[int | None]:
    """A packet comes after so many of its followers; what comes out from then on."""
    out = [p for n in range(number + 1, number + 1 + followers) for p in buffer.add(n, n)]
    return out + buffer.add(number, number)


def test_a_packet_that_was_given_up_and_comes_makes_the_buffer_wait_longer() -> None:
    buffer: JitterBuffer[int] = JitterBuffer()
    buffer.add(0, 0)
    assert late_by(buffer, 1, 4) == [None, 2, 3, 4, 5]
    assert late_by(buffer, 6, 4) == [6, 7, 8, 9, 10]
    assert buffer.lost == 1


def test_it_waits_for_no_more_than_most_missing() -> None:
    buffer: JitterBuffer[int] = JitterBuffer()
    buffer.add(0, 0)
    at = 1
    for followers in (4, 6, 8, 10):
        late_by(buffer, at, followers)
        at += followers + 1
    assert late_by(buffer, at, MOST_MISSING)[:2] == [None, at + 1]


def test_a_packet_that_is_hopelessly_late_changes_nothing() -> None:
    buffer: JitterBuffer[int] = JitterBuffer()
    buffer.add(0, 0)
    late_by(buffer, 1, 60)
    assert late_by(buffer, 62, MISSING_AFTER)[0] is None


def test_a_calm_network_is_waited_for_less_and_less() -> None:
    buffer: JitterBuffer[int] = JitterBuffer()
    buffer.add(0, 0)
    late_by(buffer, 1, 4)
    at = 6
    for number in range(at, at + 3 * CALMS_AFTER):
        buffer.add(number, number)
    assert late_by(buffer, at + 3 * CALMS_AFTER, MISSING_AFTER)[0] is None


def test_a_doubled_packet_says_nothing_of_the_network() -> None:
    buffer: JitterBuffer[int] = JitterBuffer()
    for number in (0, 1, 1, 0, 1):
        buffer.add(number, number)
    assert late_by(buffer, 2, MISSING_AFTER)[0] is None
