import itertools
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

from fastrtc.audio.convert import audio_to_float32, audio_to_int16
from fastrtc.audio.resample import StreamResampler
from fastrtc.models.vad.silero import (
    CONTEXT,
    RATE,
    WINDOW,
    AudioChunk,
    PauseDetectionModel,
    Silero,
    SileroVadOptions,
    get_silero_model,
    shared_net,
)
from fastrtc.testing import load_speech
from tests.conftest import Sound, human_speech, silence, tone

PHRASES = [(0.35, 1.22), (1.89, 2.82), (3.52, 4.19), (4.90, 5.60), (6.66, 7.39), (8.16, 8.90)]
"""Where the speech of `beckett` is, in seconds."""
TIGHT = SileroVadOptions(min_silence_duration_ms=100, speech_pad_ms=0)

Floats = NDArray[np.float32]
Found = tuple[float, list[AudioChunk]]


@pytest.fixture(scope="module")
def silero() -> Silero:
    return get_silero_model()


@pytest.fixture(scope="module")
def floats(beckett: Sound) -> Floats:
    found: Floats = audio_to_float32(beckett[1])[0]
    return found


@pytest.fixture(scope="module")
def tight(silero: Silero, beckett: Sound) -> Found:
    """What is found in `beckett` with the options `TIGHT`."""
    return silero.vad(beckett, TIGHT)


def spans(found: Found, rate: int = RATE) -> list[tuple[float, float]]:
    return [(chunk["start"] / rate, chunk["end"] / rate) for chunk in found[1]]


def flat(pairs: list[tuple[float, float]]) -> list[float]:
    return [number for pair in pairs for number in pair]


def at_rate(sound: Sound, rate: int) -> Sound:
    resampler = StreamResampler(sound[0], rate)
    parts = [resampler.process(sound[1]), resampler.flush()]
    return rate, np.concatenate(parts, axis=1)


@cache
def three_seconds() -> Sound:
    rate, samples = load_speech(human_speech("beckett.wav"))
    return rate, samples[:, : 3 * rate]


def padded(samples: Floats) -> Floats:
    return np.concatenate([np.zeros(CONTEXT, np.float32), samples])


# Probabilities


def test_speech_scores_high_where_it_is_and_low_where_it_is_not(
    silero: Silero, floats: Floats
) -> None:
    found = silero.probabilities(floats)
    times = np.arange(len(found)) * WINDOW / RATE
    inside = np.zeros(len(found), bool)
    near = np.zeros(len(found), bool)
    for start, end in PHRASES:
        inside |= (times >= start + 0.05) & (times < end - 0.10)
        near |= (times >= start - 0.10) & (times < end + 0.10)
    assert np.median(found[inside]) > 0.95
    assert (found[inside] > 0.5).mean() > 0.95
    assert found[~near].max() < 0.5


@pytest.mark.pitfall(13)
@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(3 * RATE),
        np.random.default_rng(1).normal(0, 0.1, 3 * RATE),
        tone(3.0, RATE)[1][0] / 32_768,
        np.where(np.arange(3 * RATE) % 4_000 == 0, 0.9, 0.0),
    ],
    ids=["silence", "noise", "tone", "clicks"],
)
def test_what_is_no_speech_scores_low(samples: NDArray[Any], silero: Silero) -> None:
    assert silero.probabilities(samples.astype(np.float32)).max() < 0.2


@pytest.mark.parametrize(("length", "steps"), [(0, 0), (1, 1), (512, 1), (513, 2), (5_120, 10)])
def test_each_step_of_32_ms_has_a_probability(length: int, steps: int, silero: Silero) -> None:
    found = silero.probabilities(np.zeros(length, np.float32))
    assert found.shape == (steps,)
    assert found.dtype == np.float32


def test_eight_callers_at_once_score_as_they_do_one_by_one(silero: Silero, floats: Floats) -> None:
    callers = [floats[n * RATE : n * RATE + 31 * WINDOW] for n in range(8)]
    rows, states = np.stack([padded(c) for c in callers]), np.zeros((2, 8, 128), np.float32)
    found = []
    for step in range(31):
        window = rows[:, step * WINDOW : step * WINDOW + CONTEXT + WINDOW]
        probabilities, states = shared_net().step(window, states)
        found.append(probabilities)
    alone = np.stack([silero.probabilities(caller) for caller in callers])
    assert np.abs(np.stack(found, axis=1) - alone).max() < 1e-4


@pytest.mark.pitfall(3)
def test_one_state_runs_through_the_whole_clip(silero: Silero, floats: Floats) -> None:
    row, state = padded(floats), np.zeros((2, 1, 128), np.float32)
    found = []
    for step in range(150):
        window = row[None, step * WINDOW : step * WINDOW + CONTEXT + WINDOW]
        probability, state = shared_net().step(window, state)
        found.append(probability[0])
    assert silero.probabilities(floats[: 150 * WINDOW]) == pytest.approx(found, abs=1e-4)


@pytest.mark.pitfall(3)
def test_a_state_that_restarts_scores_differently(silero: Silero, floats: Floats) -> None:
    # That is: the test above can tell.
    chunk = 19 * WINDOW
    parts = [silero.probabilities(floats[s : s + chunk]) for s in range(0, 10 * chunk, chunk)]
    whole = silero.probabilities(floats[: 10 * chunk])
    assert np.abs(np.concatenate(parts) - whole).max() > 0.3


@pytest.mark.pitfall(3)
@pytest.mark.parametrize(("start", "end"), PHRASES)
def test_speech_is_seen_within_its_first_100_ms(
    start: float, end: float, silero: Silero, floats: Floats
) -> None:
    found = silero.probabilities(floats[: round((start + 0.1) * RATE)])
    assert found[-3:].max() > 0.5


# Speech in a clip


def test_the_phrases_of_a_clip_are_found(tight: Found) -> None:
    assert flat(spans(tight)) == pytest.approx(flat(PHRASES), abs=0.06)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_the_phrases_are_found_at_any_rate_and_placed_in_its_samples(
    rate: int, silero: Silero, beckett: Sound
) -> None:
    found = silero.vad(at_rate(beckett, rate), TIGHT)
    # A telephone's band makes the edges softer.
    assert flat(spans(found, rate)) == pytest.approx(flat(PHRASES), abs=0.15)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
def test_any_dtype_gives_the_same_phrases(
    dtype: DTypeLike, silero: Silero, beckett: Sound, tight: Found
) -> None:
    rate, samples = beckett
    scale = 32_768 if np.issubdtype(np.dtype(dtype), np.floating) else 1
    assert silero.vad((rate, (samples / scale).astype(dtype)), TIGHT) == tight


def test_random_integers_as_in_the_guide_are_taken(silero: Silero) -> None:
    samples = np.random.default_rng(0).integers(-32_768, 32_767, (1, RATE), np.int64)
    seconds, chunks = silero.vad((RATE, samples))
    assert seconds == sum(chunk["end"] - chunk["start"] for chunk in chunks) / RATE


def test_a_flat_array_is_a_clip_too(silero: Silero, beckett: Sound, tight: Found) -> None:
    assert silero.vad((RATE, beckett[1][0]), TIGHT) == tight


@pytest.mark.pitfall(26)
def test_stereo_is_mixed_and_not_lengthened(silero: Silero, beckett: Sound, tight: Found) -> None:
    stereo = np.repeat(beckett[1], 2, axis=0)
    assert silero.vad((RATE, stereo), TIGHT) == tight


@pytest.mark.parametrize("seconds", [0, 1 / RATE, 0.01, 2])
def test_a_clip_of_silence_has_no_speech(seconds: float, silero: Silero) -> None:
    assert silero.vad(silence(seconds)) == (0.0, [])


def test_the_seconds_of_speech_are_those_of_its_stretches(tight: Found) -> None:
    seconds, chunks = tight
    assert seconds == pytest.approx(sum(b - a for a, b in PHRASES), abs=0.2)
    assert seconds == sum(chunk["end"] - chunk["start"] for chunk in chunks) / RATE


def test_without_options_the_defaults_hold(silero: Silero, beckett: Sound) -> None:
    assert silero.vad(beckett) == silero.vad(beckett, SileroVadOptions())


# Options


def test_padding_widens_each_phrase_on_both_sides(
    silero: Silero, beckett: Sound, tight: Found
) -> None:
    options = SileroVadOptions(min_silence_duration_ms=100, speech_pad_ms=50)
    wide = spans(silero.vad(beckett, options))
    assert flat(wide) == pytest.approx(flat([(a - 0.05, b + 0.05) for a, b in spans(tight)]))


def test_phrases_whose_padding_would_meet_share_the_silence(silero: Silero, beckett: Sound) -> None:
    options = SileroVadOptions(min_silence_duration_ms=100, speech_pad_ms=5_000)
    found = spans(silero.vad(beckett, options))
    assert len(found) == len(PHRASES)
    assert [b for _, b in found[:-1]] == [a for a, _ in found[1:]]
    assert (found[0][0], found[-1][1]) == (0.0, beckett[1].shape[1] / RATE)


def test_a_silence_that_is_shorter_than_asked_for_is_part_of_the_speech(
    silero: Silero, beckett: Sound
) -> None:
    options = SileroVadOptions(min_silence_duration_ms=900, speech_pad_ms=0)
    found = spans(silero.vad(beckett, options))
    # Only before the fifth phrase is the speaker silent for more than 0.9 s.
    assert flat(found) == pytest.approx([0.35, 5.60, 6.66, 8.90], abs=0.06)


def test_speech_that_is_shorter_than_asked_for_is_none(silero: Silero, beckett: Sound) -> None:
    options = SileroVadOptions(
        min_silence_duration_ms=100, speech_pad_ms=0, min_speech_duration_ms=800
    )
    found = spans(silero.vad(beckett, options))
    assert flat(found) == pytest.approx(flat(PHRASES[:2]), abs=0.06)


def test_speech_that_is_longer_than_allowed_is_cut(
    silero: Silero, beckett: Sound, tight: Found
) -> None:
    options = SileroVadOptions(
        min_silence_duration_ms=100,
        speech_pad_ms=0,
        max_speech_duration_s=0.3,
        min_speech_duration_ms=0,
    )
    seconds, chunks = silero.vad(beckett, options)
    assert max(chunk["end"] - chunk["start"] for chunk in chunks) <= 0.3 * RATE
    assert seconds == pytest.approx(tight[0], abs=0.05)


def test_speech_lasts_down_to_a_little_under_its_threshold(
    silero: Silero, beckett: Sound, floats: Floats
) -> None:
    options = SileroVadOptions(0.9, 0, min_silence_duration_ms=0, speech_pad_ms=0)
    probabilities = silero.probabilities(floats)
    _, chunks = silero.vad(beckett, options)
    inside = [probabilities[c["start"] // WINDOW : -(-c["end"] // WINDOW)] for c in chunks]
    assert all(found[0] >= 0.9 for found in inside)
    assert 0.75 <= min(found.min() for found in inside) < 0.9


def test_a_higher_threshold_finds_no_more_speech(silero: Silero, beckett: Sound) -> None:
    found = [
        silero.vad(beckett, SileroVadOptions(t, 0, min_silence_duration_ms=0, speech_pad_ms=0))[0]
        for t in (0.2, 0.5, 0.9, 0.999)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]


@given(
    st.floats(0.05, 0.95),
    st.integers(0, 1_000),
    st.one_of(st.floats(0.05, 5), st.just(float("inf"))),
    st.integers(0, 1_000),
    st.integers(0, 1_000),
    st.sampled_from([8_000, 16_000, 48_000]),
)
@settings(deadline=None, max_examples=15)
def test_whatever_the_options_stretches_are_in_order_and_inside_the_clip(
    threshold: float, speech: int, longest: float, gap: int, pad: int, rate: int
) -> None:
    options = SileroVadOptions(
        threshold=threshold,
        min_speech_duration_ms=speech,
        max_speech_duration_s=longest,
        min_silence_duration_ms=gap,
        speech_pad_ms=pad,
    )
    sound = at_rate(three_seconds(), rate)
    seconds, chunks = Silero().vad(sound, options)
    edges = [edge for chunk in chunks for edge in (chunk["start"], chunk["end"])]
    assert all(a <= b for a, b in itertools.pairwise([0, *edges, sound[1].shape[1]]))
    assert 0 <= seconds <= 3.0


@pytest.mark.parametrize("value", [0, 1, -0.5, 1.5, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="threshold between 0 and 1, got"):
        SileroVadOptions(threshold=value)


@pytest.mark.parametrize(
    "name", ["min_speech_duration_ms", "min_silence_duration_ms", "speech_pad_ms"]
)
def test_a_negative_duration_is_refused_by_name(name: str) -> None:
    options: dict[str, Any] = {name: -1}
    with pytest.raises(ValueError, match=f"expected {name} of 0 or more, got -1"):
        SileroVadOptions(**options)


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_longest_speech_of_nothing_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="expected max_speech_duration_s over 0, got"):
        SileroVadOptions(max_speech_duration_s=value)


@pytest.mark.parametrize("audio", [(RATE, np.zeros((3, 9))), (RATE, np.array(["a"])), (RATE, None)])
def test_a_clip_that_is_no_audio_is_refused(audio: Any, silero: Silero) -> None:
    with pytest.raises((TypeError, ValueError), match="expected audio"):
        silero.vad(audio)


# As a model


def test_it_is_what_a_users_own_model_would_be() -> None:
    assert isinstance(get_silero_model(), PauseDetectionModel)


def test_a_clip_is_not_changed(silero: Silero, phrase: Sound) -> None:
    before = phrase[1].copy()
    silero.vad(phrase)
    assert np.array_equal(audio_to_int16(phrase[1]), before)
