"""Stretches of speech that are read for stop words, and where a word ends in one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.turns.options import STEP_SAMPLES, VAD_RATE
from fastrtc.turns.stretches import (
    DECIBELS_A_STEP,
    LEAD,
    LEAST,
    LONGEST,
    PAUSE,
    REACH,
    RELEASE,
    SPOT,
    VOICE,
    Stretch,
    Stretches,
    word_end,
)

VOICED, SILENT = 0.9, 0.05
LEAD_STEPS = LEAD / STEP_SAMPLES


def hear(stretches: Stretches, probabilities: Iterable[float]) -> list[Stretch]:
    """The stretches that end in some steps."""
    found = [stretches.hear(probability) for probability in probabilities]
    return [stretch for stretch in found if stretch is not None]


def cut(*parts: tuple[float, int]) -> list[tuple[float, int]]:
    """Starts and ends, in steps, of the stretches of what is heard; a long silence follows."""
    stretches = Stretches()
    steps = [probability for probability, times in parts for _ in range(times)]
    found = hear(stretches, [*steps, *[SILENT] * 20])
    return [(each.start / STEP_SAMPLES, each.end // STEP_SAMPLES) for each in found]


# One stretch


def test_silence_holds_no_stretch() -> None:
    assert cut((SILENT, 500)) == []


def test_a_word_is_a_stretch_that_begins_a_little_before_its_voice() -> None:
    assert cut((SILENT, 30), (VOICED, 15)) == [(30 - LEAD_STEPS, 45 + PAUSE)]


def test_a_stretch_is_given_as_soon_as_its_pause_is_long_enough() -> None:
    stretches = Stretches()
    assert hear(stretches, [VOICED] * 15 + [SILENT] * (PAUSE - 1)) == []
    assert stretches.hear(SILENT) is not None
    assert stretches.position == (15 + PAUSE) * STEP_SAMPLES


def test_a_pause_within_a_word_does_not_end_it() -> None:
    (stretch,) = cut((VOICED, 5), (SILENT, PAUSE - 1), (VOICED, 5))
    assert stretch == (0, 9 + 5 + PAUSE)


def test_what_begins_a_stretch_is_more_sure_than_what_keeps_it() -> None:
    between = (VOICE + RELEASE) / 2
    assert cut((between, 20)) == []
    assert cut((VOICED, 3), (between, 20)) == [(0, 23 + PAUSE)]


@pytest.mark.parametrize("steps", range(1, LEAST))
def test_a_click_is_not_read(steps: int) -> None:
    assert cut((SILENT, 10), (VOICED, steps)) == []


def test_a_stretch_never_begins_before_the_call() -> None:
    assert cut((SILENT, 2), (VOICED, 10))[0][0] == 0


# Several


def test_two_words_with_a_pause_between_them_are_two_stretches_that_meet_but_do_not_overlap() -> (
    None
):
    first, second = cut((VOICED, 10), (SILENT, PAUSE + 2), (VOICED, 10))
    assert first[1] == second[0] == 10 + PAUSE


def test_who_talks_on_is_cut_in_the_softest_spot_and_loses_nothing() -> None:
    softest = LONGEST - SPOT + 20
    parts = (VOICED, softest), (0.6, 1), (VOICED, 100)
    assert cut(*parts) == [(0, softest), (softest, softest + 101 + PAUSE)]


def test_a_soft_spot_long_before_is_not_where_it_is_cut() -> None:
    first, *_ = cut((VOICED, 40), (0.6, 1), (VOICED, 300))
    assert first[1] >= LONGEST - SPOT


def test_steps_that_are_skipped_are_in_no_stretch() -> None:
    stretches = Stretches()
    assert hear(stretches, [VOICED] * 10) == []
    for _ in range(3):
        stretches.skip()
    (stretch,) = hear(stretches, [VOICED] * 10 + [SILENT] * PAUSE)
    assert stretch == Stretch(13 * STEP_SAMPLES, (23 + PAUSE) * STEP_SAMPLES)


# What holds whatever is heard

probabilities = st.one_of(
    st.sampled_from([VOICED, VOICED, SILENT, SILENT, VOICE, RELEASE, 0.4]), st.floats(0, 1)
)
heard = st.lists(
    st.tuples(probabilities, st.one_of(st.integers(1, 8), st.integers(1, 250))), max_size=12
).map(lambda parts: [probability for probability, times in parts for _ in range(times)])
ENDING = [0.0] * (2 * PAUSE)
"""Ends any stretch, and the next one, should it begin with what a cut has left."""


@given(heard)
@settings(deadline=None)
def test_stretches_are_in_order_and_within_what_was_heard(steps: list[float]) -> None:
    stretches = Stretches()
    found = hear(stretches, steps + ENDING)
    assert stretches.position == len(steps + ENDING) * STEP_SAMPLES
    bounds = [0, *[bound for each in found for bound in (each.start, each.end)]]
    assert bounds == sorted(bounds)
    assert bounds[-1] <= stretches.position


@given(heard)
@settings(deadline=None)
def test_no_stretch_is_longer_than_its_bound_and_none_is_late(steps: list[float]) -> None:
    stretches = Stretches()
    for step in steps + ENDING:
        stretch = stretches.hear(step)
        if stretch is not None:
            assert 0 < stretch.end - stretch.start <= LONGEST * STEP_SAMPLES + LEAD
            assert stretches.position - stretch.end <= SPOT * STEP_SAMPLES


@given(heard)
@settings(deadline=None)
def test_every_long_run_of_voice_is_covered_but_for_less_than_a_click(steps: list[float]) -> None:
    found = hear(Stretches(), steps + ENDING)
    covered = {
        number
        for each in found
        for number in range(-(-each.start // STEP_SAMPLES), each.end // STEP_SAMPLES)
    }
    numbered = groupby(enumerate(steps), key=lambda step: step[1] >= VOICE)
    for run in ([number for number, _ in steps] for voiced, steps in numbered if voiced):
        if len(run) >= LEAST:
            assert len(covered.intersection(run)) > len(run) - LEAST


@given(heard)
@settings(deadline=None)
def test_every_stretch_has_voice_in_it(steps: list[float]) -> None:
    for each in hear(Stretches(), steps + ENDING):
        inside = steps[each.start // STEP_SAMPLES : each.end // STEP_SAMPLES]
        assert sum(step >= RELEASE for step in inside) >= LEAST


@given(st.lists(st.one_of(st.none(), heard), max_size=6))
@settings(deadline=None)
def test_nothing_that_is_skipped_is_ever_in_a_stretch(parts: list[list[float] | None]) -> None:
    stretches = Stretches()
    found: list[Stretch] = []
    skipped: list[int] = []
    for part in parts:
        if part is None:
            skipped.append(stretches.position)
            stretches.skip()
        else:
            found += hear(stretches, part)
    found += hear(stretches, ENDING)
    for each in found:
        assert not any(each.start - STEP_SAMPLES < at < each.end for at in skipped)


# Where a word ends


def test_a_word_ends_in_the_gap_behind_it() -> None:
    levels = [-20.0] * 14 + [-60.0] * 4 + [-20.0] * 30
    assert 14 < word_end(levels, 0.4) <= 18


@pytest.mark.parametrize("share", [0.2, 0.3, 0.4])
def test_the_gap_is_found_though_the_letters_are_a_little_off(share: float) -> None:
    levels = [-20.0] * 15 + [-60.0] * 3 + [-20.0] * 32
    assert 15 < word_end(levels, share) <= 18


def test_a_gap_far_from_where_the_letters_say_is_another_words() -> None:
    levels = [-20.0] * 40 + [-60.0] * 3 + [-20.0] * 7
    assert abs(word_end(levels, 0.3) - 15) <= REACH + 1


def test_where_no_spot_is_softer_the_letters_decide() -> None:
    assert abs(word_end([-20.0] * 50, 0.5) - 25) <= 1


def test_a_word_in_no_sound_ends_at_once() -> None:
    assert word_end([], 0.5) == 0


levels = st.lists(st.floats(-100, 0), min_size=1, max_size=LONGEST)
shares = st.floats(0, 1)


@given(levels, shares)
@settings(deadline=None)
def test_a_word_ends_within_its_stretch_and_near_where_its_letters_say(
    heard: list[float], share: float
) -> None:
    end = word_end(heard, share)
    assert 1 <= end <= len(heard)
    assert abs(end - share * len(heard)) <= REACH + 2


@given(levels, shares)
@settings(deadline=None)
def test_no_spot_beside_the_end_of_a_word_is_much_softer(heard: list[float], share: float) -> None:
    end = word_end(heard, share) - 1
    guess = share * len(heard)
    for spot, level in enumerate(heard):
        if abs(spot - guess) <= REACH - 1:
            assert heard[end] <= level + DECIBELS_A_STEP * (REACH + 1)


@given(levels, shares, shares)
@settings(deadline=None)
def test_of_two_words_in_equal_sound_the_first_ends_first(
    heard: list[float], one: float, other: float
) -> None:
    flat = [-20.0] * len(heard)
    ends = [word_end(flat, share) for share in sorted([one, other])]
    assert all(first <= second for first, second in pairwise(ends))


def test_the_figures_are_what_their_names_say_in_seconds() -> None:
    step = STEP_SAMPLES / VAD_RATE
    assert LONGEST * step == pytest.approx(6.0, abs=0.1)
    assert PAUSE * step == pytest.approx(0.16, abs=0.01)
