from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrtc.bench.figures import (
    LATE,
    ONSET_SILENCE,
    PACKET,
    Summary,
    carried,
    delays,
    lateness,
    most_carried,
    onsets,
    play_times,
    share_late,
    summary,
    unwrapped,
)
from tests.bench.loads import load, paced

seconds = st.floats(0, 100, allow_nan=False)


@given(st.integers(0, 1 << 40), st.lists(st.integers(-1_000, 30_000), max_size=50))
def test_a_counter_that_wraps_around_counts_on(first: int, steps: list[int]) -> None:
    counted = np.cumsum([first, *steps])
    found = unwrapped([int(n) % (1 << 16) for n in counted], 16)
    assert list(found - found[0]) == list(counted - counted[0])


def test_a_counter_of_nothing_is_empty() -> None:
    assert unwrapped([], 16).size == 0


@given(st.floats(-1e3, 1e3), st.integers(2, 300))
def test_packets_in_their_pace_are_not_late_however_far_they_came(way: float, count: int) -> None:
    media = paced(count)
    assert np.abs(lateness(media + way, media)).max() < 1e-6


@given(st.floats(0.001, 3), st.integers(0, 299))
def test_a_packet_is_as_late_as_it_came_after_its_time(late: float, which: int) -> None:
    media = paced(300)
    arrived = media + 0.03
    arrived[which] += late
    found = lateness(arrived, media)
    assert found[which] == pytest.approx(late)
    assert share_late([found]) == (1 / 300 if found[which] > LATE else 0)


def test_the_share_of_late_packets_is_over_all_calls() -> None:
    assert share_late([np.array([0.0, 0.1]), np.array([0.0, 0.0])]) == 0.25


def test_without_packets_there_is_no_share_of_late_ones() -> None:
    assert share_late([]) is None
    assert share_late([lateness(np.zeros(0), np.zeros(0))]) is None


@given(st.lists(st.tuples(seconds, st.booleans()), max_size=80))
def test_no_packet_is_heard_before_it_came_or_over_another(came: list[tuple[float, bool]]) -> None:
    arrived = np.sort(np.array([at for at, _ in came], np.float64))
    audible = np.array([loud for _, loud in came], np.bool_)
    heard = play_times(arrived, audible)
    assert (heard >= arrived).all()
    assert (np.diff(heard[audible]) >= PACKET - 1e-9).all()


def test_silence_is_left_out_by_a_buffer_that_is_behind() -> None:
    # Four packets at once, of which the second and third are silent.
    heard = play_times(np.zeros(4), np.array([True, False, False, True]))
    assert heard[3] == pytest.approx(PACKET)


def test_sound_begins_after_a_silence_and_not_in_between() -> None:
    first = paced(10)
    second = first + first[-1] + PACKET + ONSET_SILENCE + 0.01
    assert list(onsets(np.concatenate([first, second]))) == [first[0], second[0]]
    assert onsets(np.zeros(0)).size == 0


def test_what_never_begins_in_time_is_missing() -> None:
    found, missing = delays([0.0, 10.0, 20.0], np.array([0.3, 12.0]), longest=1.0)
    assert found == [pytest.approx(0.3)]
    assert missing == 2


def test_a_summary_of_nothing_has_no_figures() -> None:
    empty = summary([], missing=3)
    assert (empty.count, empty.median, empty.p95, empty.missing) == (0, None, None, 3)


@pytest.mark.parametrize(
    ("changes", "fine"),
    [
        ({}, True),
        ({"late": 0.009}, True),
        ({"late": 0.01}, False),
        ({"back": 0.8}, False),
        ({"back": None, "delay": None}, True),
        ({"back": None, "delay": None, "late": None}, True),
        # Answers: the fewest calls got them within 0.4 s.
        ({"back": None, "delay": Summary(90, 0.4, 0.45)}, True),
        ({"back": None, "delay": Summary(90, 0.4, 0.47)}, False),
        ({"back": None, "delay": Summary(85, 0.4, 0.4, missing=15)}, False),
        ({"back": None, "delay": Summary(0, None, None, missing=15)}, False),
    ],
)
def test_calls_are_carried_that_come_back_and_are_answered_in_time(
    changes: dict[str, Any], fine: bool
) -> None:
    few = load(1, back=None, delay=Summary(4, 0.39, 0.4))
    many = load(10, **changes)
    assert carried(many, [few, many]) is fine


def test_the_most_that_was_carried_is_found_among_what_says_something() -> None:
    steps = [load(1), load(20), load(40, callers_late=0.02), load(60, late=0.5)]
    best = most_carried(steps)
    assert best is not None
    assert best.calls == 20
    assert most_carried([load(5, late=1.0)]) is None
    assert most_carried([]) is None
