from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc.models.stt.pieces import LONG_PAUSE, LONGEST, MARGIN, Span, cut_pieces

RATE, STEP = 16_000, 512
SECOND = RATE / STEP
"""Steps in a second."""
LEAST = 4
"""Steps of voice that are no click: 0.1 s."""


def clip(*stretches: tuple[float, float]) -> NDArray[np.float32]:
    """Probabilities of a clip, from pairs of a probability and seconds."""
    parts = [np.full(round(seconds * SECOND), value) for value, seconds in stretches]
    return np.concatenate(parts).astype(np.float32)


def pieces(*stretches: tuple[float, float]) -> list[Span]:
    return cut_pieces(clip(*stretches), STEP, RATE)


def seconds(found: list[Span]) -> list[tuple[float, float]]:
    return [(round(start / RATE, 1), round(end / RATE, 1)) for start, end in found]


def runs(probabilities: NDArray[np.float32]) -> list[Span]:
    """Where there is voice, in steps: from 0.5 up, and then down to 0.35."""
    voiced = [False]
    for probability in probabilities:
        voiced.append(bool(probability >= (0.35 if voiced[-1] else 0.5)))
    edges = np.flatnonzero(np.diff(np.array([*voiced, False], np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


VOICE, QUIET = 0.9, 0.05


# Where a clip is cut


@pytest.mark.parametrize("length", [0.0, 0.5, 60.0])
def test_silence_has_no_pieces(length: float) -> None:
    assert pieces((QUIET, length)) == []


def test_one_phrase_is_one_piece_with_a_margin_of_sound_around_it() -> None:
    found = pieces((QUIET, 2.0), (VOICE, 3.0), (QUIET, 2.0))
    assert seconds(found) == [(1.7, 5.3)]


def test_phrases_with_short_pauses_between_them_are_read_together() -> None:
    found = pieces((VOICE, 3.0), (QUIET, 1.0), (VOICE, 3.0), (QUIET, 2.5), (VOICE, 3.0))
    assert seconds(found) == [(0.0, 12.8)]


def test_a_long_pause_parts_two_pieces_and_is_in_neither() -> None:
    found = pieces((VOICE, 3.0), (QUIET, LONG_PAUSE + 0.1), (VOICE, 3.0))
    assert seconds(found) == [(0.0, 3.3), (5.8, 9.4)]


def test_what_is_too_long_is_cut_in_the_longest_pause_of_its_second_half() -> None:
    found = pieces(
        (VOICE, 5), (QUIET, 2.0), (VOICE, 10), (QUIET, 0.8), (VOICE, 6), (QUIET, 0.4), (VOICE, 15)
    )
    assert seconds(found) == [(0.0, 17.2), (17.5, 39.5)]


def test_a_pause_in_the_first_half_serves_where_there_is_no_other() -> None:
    found = pieces((VOICE, 5), (QUIET, 1.0), (VOICE, 26))
    assert seconds(found) == [(0.0, 5.3), (5.7, 32.3)]


def test_who_never_pauses_is_cut_where_it_is_most_like_a_pause() -> None:
    found = pieces((VOICE, 20.0), (0.4, 0.1), (VOICE, 20.0))
    assert seconds(found) == [(0.0, 20.0), (20.0, 40.4)]


def test_pieces_that_would_meet_share_the_pause_between_them() -> None:
    (_, end), (start, _) = pieces((VOICE, 20), (QUIET, 0.2), (VOICE, 20))
    assert end == start
    assert 20.0 < end / RATE < 20.2


@pytest.mark.parametrize("steps", range(1, LEAST))
def test_a_click_has_no_piece(steps: int) -> None:
    assert pieces((QUIET, 2.0), (VOICE, steps / SECOND), (QUIET, 2.0)) == []


def test_a_tenth_of_a_second_of_voice_is_no_click() -> None:
    assert len(pieces((QUIET, 2.0), (VOICE, LEAST / SECOND), (QUIET, 2.0))) == 1


def test_a_soft_sound_alone_has_no_piece() -> None:
    assert pieces((QUIET, 2.0), (0.45, 3.0), (QUIET, 2.0)) == []


def test_a_soft_ending_belongs_to_its_phrase() -> None:
    found = pieces((QUIET, 2.0), (VOICE, 1.0), (0.4, 1.0), (QUIET, 2.0))
    assert seconds(found) == [(1.7, 4.3)]


def test_other_thresholds_may_be_asked_for() -> None:
    probabilities = clip((QUIET, 2.0), (0.4, 3.0), (QUIET, 2.0))
    assert len(cut_pieces(probabilities, STEP, RATE, threshold=0.3, release=0.2)) == 1


def test_more_voice_may_be_asked_for() -> None:
    probabilities = clip((QUIET, 2.0), (VOICE, 0.5), (QUIET, 2.0))
    assert cut_pieces(probabilities, STEP, RATE, least=0.6) == []


# Laws

stretches = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0]),
        st.one_of(st.integers(1, 12), st.integers(1, 2_000)),
    ),
    max_size=40,
).map(lambda parts: np.concatenate([np.zeros(0), *(np.full(n, p) for p, n in parts)]))
clips = stretches.map(lambda values: values.astype(np.float32))


@settings(max_examples=100, deadline=None)
@given(clips)
def test_pieces_come_in_order_and_do_not_overlap(probabilities: NDArray[np.float32]) -> None:
    found = cut_pieces(probabilities, STEP, RATE)
    edges = [edge for span in found for edge in span]
    assert edges == sorted(edges)
    assert all(start < end for start, end in found)


@settings(max_examples=100, deadline=None)
@given(clips)
def test_pieces_are_under_30_seconds_long(probabilities: NDArray[np.float32]) -> None:
    found = cut_pieces(probabilities, STEP, RATE)
    assert all((end - start) / RATE <= LONGEST + 2 * MARGIN < 30 for start, end in found)


@settings(max_examples=100, deadline=None)
@given(clips)
def test_pieces_begin_in_the_clip_and_end_a_margin_after_it_at_most(
    probabilities: NDArray[np.float32],
) -> None:
    found = cut_pieces(probabilities, STEP, RATE)
    assert all(start >= 0 for start, _ in found)
    assert all(end <= len(probabilities) * STEP + MARGIN * RATE for _, end in found)


@settings(max_examples=100, deadline=None)
@given(clips)
def test_all_voice_that_is_no_click_is_in_a_piece(probabilities: NDArray[np.float32]) -> None:
    covered = np.zeros(len(probabilities) * STEP, bool)
    for start, end in cut_pieces(probabilities, STEP, RATE):
        covered[start:end] = True
    for begin, end in runs(probabilities):
        if end - begin >= LEAST:
            assert covered[begin * STEP : end * STEP].all()


@settings(max_examples=100, deadline=None)
@given(clips)
def test_there_is_voice_in_every_piece(probabilities: NDArray[np.float32]) -> None:
    voiced = np.zeros(len(probabilities), bool)
    for begin, end in runs(probabilities):
        voiced[begin:end] = True
    for start, end in cut_pieces(probabilities, STEP, RATE):
        assert voiced[start // STEP : -(-end // STEP)].any()


@settings(max_examples=100, deadline=None)
@given(clips)
def test_no_piece_has_the_middle_of_a_long_pause(probabilities: NDArray[np.float32]) -> None:
    found = cut_pieces(probabilities, STEP, RATE)
    voiced = runs(probabilities)
    for (_, end), (begin, _) in pairwise(voiced):
        if begin - end >= LONG_PAUSE * SECOND:
            middle = (begin + end) // 2 * STEP
            assert not any(start <= middle < stop for start, stop in found)
