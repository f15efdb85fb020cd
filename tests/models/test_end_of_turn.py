import subprocess
import sys
import tracemalloc
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

from fastrtc.audio.convert import audio_to_float32
from fastrtc.audio.resample import StreamResampler
from fastrtc.models.end_of_turn import features, smart_turn
from fastrtc.models.end_of_turn.features import BACK, HOP, LENGTH, RATE, MelHistory, log_mel
from fastrtc.models.end_of_turn.protocol import EndOfTurnModel
from fastrtc.models.end_of_turn.smart_turn import SmartTurn, shared_smart_turn, smart_turn_missing
from fastrtc.models.weights import WeightsError
from fastrtc.testing import load_speech
from tests.conftest import Sound, human_speech, silence, tone

SENTENCES = [(1.22, 4.64), (5.02, 6.30), (10.78, 12.86), (15.14, 16.77)]
"""Where four sentences of `two_cities` are, in seconds."""
SILENT_PICTURE = (-10 + 4) / 4
"""What the least power comes out as."""

Floats = NDArray[np.float32]
Chunks = list[int]


@cache
def speech() -> Floats:
    """20 s of human speech at 16 kHz."""
    rate, samples = load_speech(human_speech("beckett.wav"))
    assert rate == RATE
    return np.tile(audio_to_float32(samples)[0], 2)


@pytest.fixture(scope="module")
def two_cities() -> Sound:
    return load_speech(human_speech("two_cities.wav"))


@pytest.fixture(scope="module")
def model() -> SmartTurn:
    model = SmartTurn()
    model.warmup()
    return model


@pytest.fixture
def _no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smart Turn's weights are nowhere."""
    there = smart_turn.SMART_TURN
    assert there.packaged is not None
    packaged = replace(there.packaged, parts=(("no_such_package", "model.onnx"),))
    monkeypatch.delenv("FASTRTC_MODELS", raising=False)
    monkeypatch.setattr(smart_turn, "SMART_TURN", replace(there, packaged=packaged, hub=None))


def slaney_filters() -> NDArray[np.float64]:
    """The mel filters, one by one, in double precision; ``(80, 201)``."""

    def hertz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * float(np.exp((mel - 15) * np.log(6.4) / 27))

    top = 15 + 27 * np.log(8) / np.log(6.4)
    edges = [hertz(top * n / 81) for n in range(82)]
    bins = np.arange(201) * 40.0
    rows = [
        np.interp(bins, edges[n : n + 3], [0, 2 / (edges[n + 2] - edges[n]), 0]) for n in range(80)
    ]
    return np.stack(rows)


def reference(samples: Floats) -> NDArray[np.float64]:
    """Smart Turn's picture from scratch, in double precision and in the order of its definition."""
    window = np.zeros(LENGTH)
    heard = samples[-LENGTH:]
    window[LENGTH - len(heard) :] = heard
    window = (window - window.mean()) / np.sqrt(window.var() + 1e-7)
    padded = np.pad(window, 200, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.stack([padded[160 * n : 160 * n + 400] * hann for n in range(800)])
    powers = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    decades = np.log10(np.maximum(1e-10, slaney_filters() @ powers.T))
    picture: NDArray[np.float64] = (np.maximum(decades, decades.max() - 8) + 4) / 4
    return picture[None]


def cut(sound: Sound, start: float, end: float) -> Sound:
    rate, samples = sound
    return rate, samples[:, round(start * rate) : round(end * rate)]


def at_rate(sound: Sound, rate: int) -> Sound:
    resampler = StreamResampler(sound[0], rate)
    parts = [resampler.process(sound[1]), resampler.flush()]
    return rate, np.concatenate(parts, axis=1)


# The picture of a clip


@pytest.mark.parametrize("length", [0, 1, 40, 41, 159, 200, 399, 1_234, 16_000, 127_999, LENGTH])
def test_a_shorter_clip_has_silence_before_it(length: int) -> None:
    clip = speech()[5_600 : 5_600 + length]
    assert np.abs(log_mel(clip) - reference(clip)).max() < 1e-3


@pytest.mark.parametrize("length", [LENGTH + 1, LENGTH + 12_345, 2 * LENGTH])
def test_of_a_longer_clip_the_last_8_seconds_count(length: int) -> None:
    clip = speech()[:length]
    assert np.abs(log_mel(clip) - reference(clip)).max() < 1e-3


@pytest.mark.parametrize("offset", [0.001, -0.02, 0.3])
def test_a_constant_offset_is_taken_away(offset: float) -> None:
    clip = speech()[:100_000] + np.float32(offset)
    assert np.abs(log_mel(clip) - reference(clip)).max() < 1e-3


@pytest.mark.parametrize("gain", [0.1, 0.5, 2.0])
def test_a_quiet_clip_is_pictured_as_a_loud_one(gain: float) -> None:
    clip = speech()[:LENGTH]
    assert np.abs(log_mel(clip * np.float32(gain)) - log_mel(clip)).max() < 0.01


def test_silence_is_the_least_there_is() -> None:
    assert np.abs(log_mel(np.zeros(LENGTH, np.float32)) - SILENT_PICTURE).max() < 1e-6


def test_the_picture_is_what_the_network_takes() -> None:
    picture = log_mel(speech())
    assert picture.shape == (1, 80, 800)
    assert picture.dtype == np.float32
    assert picture.flags.c_contiguous


# The pictures of a stream


@given(
    st.lists(st.sampled_from([1, 7, 159, 160, 161, 511, 512, 4_001, 32_000]), max_size=40),
    st.lists(st.integers(0, BACK), min_size=1, max_size=4),
    st.integers(-100, 14 * RATE),
    st.sampled_from([0.0, 0.01]),
)
@example([32_000] * 8, [0, BACK, 0, 777], 0, 0.0)
@example([4_001] * 40, [0, 1, 0, 159], 2 * RATE + 77, 0.01)
@settings(deadline=None, max_examples=40)
def test_a_stream_in_pieces_gives_the_picture_of_the_clip(
    chunks: Chunks, backs: list[int], start: int, offset: float
) -> None:
    sound, history, fed = speech() + np.float32(offset), MelHistory(), 0
    asked = {round(n * len(chunks) / len(backs)): back for n, back in enumerate(backs, 1)}
    for count, size in enumerate(chunks, 1):
        history.feed(sound[fed : fed + size])
        fed = min(len(sound), fed + size)
        if count in asked:
            end = max(0, fed - asked[count])
            whole = end - end % HOP
            clip = sound[min(max(0, start, whole - LENGTH), whole) : whole]
            assert np.abs(history.features(end, start) - reference(clip)).max() < 1e-3


@pytest.mark.parametrize("size", [160, 512, 1_000])
def test_asked_at_each_piece_it_gives_the_picture_of_the_clip(size: int) -> None:
    history, sound = MelHistory(), speech()[: 11 * RATE]
    for count, at in enumerate(range(0, len(sound), size)):
        history.feed(sound[at : at + size])
        found = history.features()
        if count % 20 == 0:
            heard = history.fed - history.fed % HOP
            assert np.abs(found - log_mel(sound[:heard])).max() < 1e-5


def test_without_an_end_all_that_was_fed_counts() -> None:
    history = MelHistory()
    history.feed(speech()[: 10 * HOP])
    assert np.array_equal(history.features(), history.features(10 * HOP))


def test_an_end_is_rounded_down_to_a_hop() -> None:
    history = MelHistory()
    history.feed(speech()[: 100 * HOP])
    assert np.array_equal(history.features(50 * HOP + HOP - 1), history.features(50 * HOP))


@pytest.mark.parametrize("end", [-5, 0])
def test_before_the_first_sample_there_is_silence(end: int) -> None:
    history = MelHistory()
    history.feed(speech()[:RATE])
    assert np.abs(history.features(end) - SILENT_PICTURE).max() < 1e-6


def test_a_turn_that_begins_after_the_end_is_silence() -> None:
    history = MelHistory()
    history.feed(speech()[:RATE])
    assert np.abs(history.features(start=2 * RATE) - SILENT_PICTURE).max() < 1e-6


def test_an_end_that_is_not_heard_yet_is_what_was_heard() -> None:
    history = MelHistory()
    history.feed(speech()[:RATE])
    assert np.array_equal(history.features(10 * RATE), history.features())


def test_a_later_turn_has_nothing_of_the_one_before() -> None:
    history = MelHistory()
    history.feed(np.full(RATE, 0.9, np.float32) * (-1) ** np.arange(RATE))
    history.features()
    history.feed(speech()[: 2 * RATE])
    assert np.abs(history.features(start=RATE) - log_mel(speech()[: 2 * RATE])).max() < 1e-5


def test_an_earlier_turn_may_be_asked_for_again() -> None:
    history = MelHistory()
    history.feed(speech()[: 6 * RATE])
    history.features(start=4 * RATE)
    assert np.abs(history.features() - log_mel(speech()[: 6 * RATE])).max() < 1e-5


def test_the_callers_array_may_be_used_again() -> None:
    history, chunk = MelHistory(), speech()[:RATE].copy()
    history.feed(chunk)
    chunk[:] = 0.5
    assert np.abs(history.features() - log_mel(speech()[:RATE])).max() < 1e-5


def test_more_at_once_than_is_kept_is_taken() -> None:
    history = MelHistory()
    history.feed(speech()[: 15 * RATE])
    assert np.abs(history.features() - log_mel(speech()[: 15 * RATE])).max() < 1e-5


def test_a_spectrum_is_taken_once_and_not_before_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts: list[int] = []
    real = features._spectra

    def counting(frames: Floats) -> Floats:
        counts.append(len(frames))
        return real(frames)

    monkeypatch.setattr(features, "_spectra", counting)
    history = MelHistory()
    history.feed(speech()[: 10 * RATE])
    assert counts == []
    history.features()
    counts.clear()
    history.feed(speech()[: 20 * HOP])
    history.features()
    # The new ones, and the three that are mirrored at the edges of the window.
    assert sum(counts) == 20 + 3


def test_a_long_call_takes_no_more_memory() -> None:
    chunk, history = speech()[:1_600], MelHistory()
    tracemalloc.start()
    try:
        for _ in range(1_200):
            history.feed(chunk)
            history.features()
        assert tracemalloc.get_traced_memory()[0] < 1.2e6
    finally:
        tracemalloc.stop()


# The model


@pytest.mark.parametrize(("start", "end"), SENTENCES)
def test_a_finished_sentence_scores_higher_than_one_that_is_cut(
    start: float, end: float, model: SmartTurn, two_cities: Sound
) -> None:
    finished = model.end_of_turn(cut(two_cities, start - 0.2, end + 0.2))
    unfinished = model.end_of_turn(cut(two_cities, start - 0.2, start + 0.7 * (end - start)))
    assert finished > 0.8
    assert unfinished < 0.2


def test_a_stream_scores_as_the_clip_does(model: SmartTurn, beckett: Sound) -> None:
    history, sound = MelHistory(), audio_to_float32(beckett[1])[0]
    for at in range(0, 9 * RATE, 1_000):
        history.feed(sound[at : at + 1_000])
    turn = beckett[0], beckett[1][:, : 9 * RATE]
    found = shared_smart_turn().probability(history.features())
    assert found == pytest.approx(model.end_of_turn(turn), abs=1e-3)


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100, 48_000])
def test_any_rate_gives_the_same_judgement(rate: int, model: SmartTurn, two_cities: Sound) -> None:
    start, end = SENTENCES[0]
    finished = at_rate(cut(two_cities, start - 0.2, end + 0.2), rate)
    assert model.end_of_turn(finished) > 0.8
    assert model.end_of_turn(cut(finished, 0, 2.6)) < 0.2


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
def test_any_dtype_gives_the_same_probability(
    dtype: DTypeLike, model: SmartTurn, phrase: Sound
) -> None:
    rate, samples = phrase
    scale = 32_768 if np.issubdtype(np.dtype(dtype), np.floating) else 1
    same = (samples / scale).astype(dtype)
    assert model.end_of_turn((rate, same)) == model.end_of_turn(phrase)


def test_a_flat_array_is_a_turn_too(model: SmartTurn, phrase: Sound) -> None:
    assert model.end_of_turn((phrase[0], phrase[1][0])) == model.end_of_turn(phrase)


@pytest.mark.pitfall(26)
def test_stereo_is_mixed_and_not_lengthened(model: SmartTurn, phrase: Sound) -> None:
    stereo = np.repeat(phrase[1], 2, axis=0)
    assert model.end_of_turn((phrase[0], stereo)) == model.end_of_turn(phrase)


@pytest.mark.parametrize(
    "audio",
    [
        silence(0),
        silence(1 / RATE),
        silence(9),
        silence(0, 48_000),
        tone(2, RATE),
        (RATE, np.full((1, RATE), np.nan, np.float32)),
        (RATE, np.full((1, RATE), np.inf)),
        (RATE, np.full((1, RATE), 32_767, np.int16)),
    ],
    ids=["nothing", "one", "silence", "nothing at 48k", "tone", "nan", "inf", "constant"],
)
def test_what_is_no_speech_has_a_probability_too(audio: Any, model: SmartTurn) -> None:
    assert 0 <= model.end_of_turn(audio) <= 1


@pytest.mark.parametrize("audio", [(RATE, np.zeros((3, 9))), (RATE, np.array(["a"])), (RATE, None)])
def test_a_turn_that_is_no_audio_is_refused(audio: Any, model: SmartTurn) -> None:
    with pytest.raises((TypeError, ValueError), match="expected audio"):
        model.end_of_turn(audio)


def test_a_turn_is_not_changed(model: SmartTurn, phrase: Sound) -> None:
    before = phrase[1].copy()
    model.end_of_turn(phrase)
    assert np.array_equal(phrase[1], before)


def test_it_is_what_a_users_own_model_would_be(model: SmartTurn) -> None:
    assert isinstance(model, EndOfTurnModel)


# Its weights


def test_the_weights_are_there_and_are_known_to_be() -> None:
    assert not smart_turn_missing()


@pytest.mark.usefixtures("_no_weights")
def test_without_weights_the_model_says_how_to_get_them() -> None:
    with pytest.raises(WeightsError, match=r"pip install --no-deps pipecat-ai==1\.14\.0"):
        SmartTurn()


@pytest.mark.usefixtures("_no_weights")
def test_without_weights_it_is_known_that_they_are_missing() -> None:
    assert smart_turn_missing()


def test_the_package_with_the_weights_is_not_imported_and_the_runtime_only_when_needed() -> None:
    code = (
        "import sys; from fastrtc.models.end_of_turn.smart_turn import SmartTurn;"
        "model = SmartTurn(); early = 'onnxruntime' in sys.modules; model.warmup();"
        "print(early, 'pipecat' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == [
        "False",
        "False",
    ]
