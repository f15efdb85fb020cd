"""The cutting of a stream into phrases: `captions.Phrases`."""

import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc.audio.convert import audio_to_float32
from fastrtc.models.stt.captions import LONGEST_PHRASE, MARGIN, Phrase, Phrases
from fastrtc.models.stt.moonshine import RATE
from tests.conftest import Sound

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def floats(beckett: Sound) -> Floats:
    found: Floats = audio_to_float32(beckett[1])[0]
    return found


def heard(samples: Floats, every: float = 0.6, steps: Iterable[int] = ()) -> list[Phrase]:
    """The phrases of a clip that comes in steps of so many samples, the last of them again."""
    phrases = Phrases(every)
    steps = iter(steps)
    place, step = 0, 1_600
    while place < len(samples):
        step = next(steps, step)
        phrases.hear(samples[place : place + step])
        place += step
    phrases.finish()
    return list(phrases.waiting)


def same(ours: list[Phrase], theirs: list[Phrase]) -> bool:
    return [(p.start, p.final) for p in ours] == [(p.start, p.final) for p in theirs] and all(
        np.array_equal(a.samples, b.samples) for a, b in zip(ours, theirs, strict=True)
    )


def test_a_pause_ends_a_phrase(floats: Floats) -> None:
    assert len(heard(floats)) == 6


def test_phrases_are_parts_of_the_clip_in_order_and_without_overlap(floats: Floats) -> None:
    end = 0
    for phrase in heard(floats):
        assert phrase.start >= end
        end = phrase.start + len(phrase.samples)
        assert np.array_equal(phrase.samples, floats[phrase.start : end])
        assert phrase.final
    assert end <= len(floats)


def test_a_phrase_has_a_margin_of_sound_before_it(floats: Floats) -> None:
    voice = floats[round(0.35 * RATE) : round(1.5 * RATE)]
    quiet = np.zeros(2 * RATE, np.float32)
    (phrase,) = heard(np.concatenate([quiet, voice, quiet]))
    assert 2.0 - MARGIN - 0.1 <= phrase.start / RATE <= 2.0 - MARGIN + 0.1


def test_what_lasts_at_the_end_is_a_phrase(floats: Floats) -> None:
    (phrase,) = heard(floats[: round(1.2 * RATE)])
    assert phrase.final


@settings(max_examples=10, deadline=None)
@given(steps=st.lists(st.integers(1, 20_000), min_size=1, max_size=20))
def test_phrases_do_not_depend_on_how_the_sound_comes(floats: Floats, steps: list[int]) -> None:
    clip = floats[: 4 * RATE]
    # A clip that comes sample by sample would only be slow.
    assert same(heard(clip, steps=[*steps, 1_600]), heard(clip))


def test_a_phrase_that_lasts_may_be_read_each_time_it_has_grown(floats: Floats) -> None:
    phrases = Phrases(0.2)
    lengths: list[int] = []
    for start in range(0, round(1.4 * RATE), 512):
        before = phrases.newest
        phrases.hear(floats[start : start + 512])
        if phrases.newest is not None and phrases.newest is not before:
            assert not phrases.newest.final
            lengths.append(len(phrases.newest.samples))
    assert len(lengths) >= 3
    assert all(later - earlier >= 0.2 * RATE for earlier, later in pairwise(lengths))


def test_a_phrase_that_is_over_is_not_to_be_read_as_one_that_lasts(floats: Floats) -> None:
    phrases = Phrases(0.2)
    phrases.hear(floats[: 2 * RATE])
    assert len(phrases.waiting) == 1
    assert phrases.newest is None


@pytest.mark.parametrize("clip", ["silence", "noise", "clicks", "nothing"])
def test_what_is_no_speech_has_no_phrases(clip: str) -> None:
    samples = {
        "silence": np.zeros(5 * RATE),
        "noise": np.random.default_rng(1).normal(0, 0.03, 5 * RATE),
        "clicks": np.tile(np.append(np.ones(8), np.zeros(RATE - 8)), 5),
        "nothing": np.zeros(0),
    }[clip]
    assert heard(samples.astype(np.float32)) == []


def test_who_never_pauses_is_cut_all_the_same(floats: Floats) -> None:
    voice = floats[round(0.4 * RATE) : round(1.4 * RATE)]
    found = heard(np.tile(voice, 50))
    assert len(found) >= 2
    assert all(len(phrase.samples) <= (2 * LONGEST_PHRASE + 1) * RATE for phrase in found)
    for phrase, following in pairwise(found):
        assert phrase.start + len(phrase.samples) == following.start


def test_a_sound_without_a_soft_spot_is_cut_at_twice_the_longest(floats: Floats) -> None:
    drawn_out = floats[round(0.4 * RATE) : round(0.7 * RATE)]
    first, second = heard(np.tile(drawn_out, 150))
    assert len(first.samples) / RATE == pytest.approx(2 * LONGEST_PHRASE, abs=0.1)
    assert second.start == first.start + len(first.samples)


def test_silence_is_not_kept() -> None:
    phrases = Phrases(0.6)
    tenth = np.zeros(RATE // 10, np.float32)
    tracemalloc.start()
    try:
        for _ in range(200):
            phrases.hear(tenth)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 4 * RATE
