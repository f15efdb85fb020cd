import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from fastrtc.audio.resample import StreamResampler
from fastrtc.models.inference import InferencePool, ModelBusy
from fastrtc.models.stt import moonshine, recogniser
from fastrtc.models.stt.moonshine import moonshine_available
from fastrtc.models.stt.recogniser import (
    MoonshineSTT,
    STTModel,
    get_stt_model,
    stt_for_chunks,
)
from fastrtc.models.vad.silero import Silero
from fastrtc.testing import load_speech
from tests.conftest import Sound, human_speech, missing, silence
from tests.models.pools import held, until_on_loop
from tests.words import BECKETT, TWO_CITIES, word_error_rate, words

RATE = 16_000
HEARD = "ever tried ever failed"
"""What is said in the first 3.1 s."""

Reader = Callable[[MoonshineSTT, Any], str]


@pytest.fixture(scope="module")
def model() -> MoonshineSTT:
    return get_stt_model()


@pytest.fixture(scope="module")
def short(beckett: Sound) -> Sound:
    return RATE, beckett[1][:, : round(3.1 * RATE)]


@pytest.fixture(scope="module")
def two_cities() -> Sound:
    """44 s of human speech; 48 kHz, shape (1, n)."""
    return load_speech(human_speech("two_cities.wav"))


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> InferencePool:
    """In the place of the one that all callers share: one thread, and room for one who waits."""
    pool = InferencePool("test", threads=1, longest_queue=1)
    monkeypatch.setattr(recogniser, "listening_pool", lambda: pool)
    return pool


@pytest.fixture
def _no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a model's work is refused."""
    pool = InferencePool("full", threads=1, longest_queue=0)
    monkeypatch.setattr(recogniser, "listening_pool", lambda: pool)


def in_a_coroutine(model: MoonshineSTT, audio: Any) -> str:
    return asyncio.run(model.astt(audio))


readers = pytest.mark.parametrize("read", [MoonshineSTT.stt, in_a_coroutine], ids=["stt", "astt"])


def at_rate(sound: Sound, rate: int) -> Sound:
    resampler = StreamResampler(sound[0], rate)
    return rate, np.concatenate([resampler.process(sound[1]), resampler.flush()], axis=1)


# Any sound


@readers
def test_phrases_are_read_word_for_word(read: Reader, model: MoonshineSTT, beckett: Sound) -> None:
    assert words(read(model, beckett)) == BECKETT


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 24_000, 44_100, 48_000])
def test_any_rate_gives_the_same_words(rate: int, model: MoonshineSTT, short: Sound) -> None:
    assert words(model.stt(at_rate(short, rate))) == HEARD


@pytest.mark.parametrize(
    "samples",
    [
        lambda clip: clip[0],
        lambda clip: clip.T,
        lambda clip: np.concatenate([clip, clip]),
        lambda clip: np.concatenate([clip, clip]).T,
        lambda clip: clip.astype(np.int32),
        lambda clip: (clip / 32768).astype(np.float32),
        lambda clip: clip / 32768,
        lambda clip: ((clip >> 8) + 128).astype(np.uint8),
        lambda clip: clip[0].tolist(),
    ],
    ids=["(n,)", "(n, 1)", "(2, n)", "(n, 2)", "int32", "float32", "float64", "uint8", "list"],
)
def test_any_dtype_and_layout_gives_the_same_words(
    samples: Callable[[NDArray[np.int16]], Any], model: MoonshineSTT, short: Sound
) -> None:
    assert words(model.stt((RATE, samples(short[1])))) == HEARD


def test_quiet_speech_and_loud_speech_are_read(model: MoonshineSTT, short: Sound) -> None:
    for gain in (0.05, 2.0):
        assert words(model.stt((RATE, short[1] / 32768 * gain))) == HEARD


def test_a_clip_is_not_changed(model: MoonshineSTT, short: Sound) -> None:
    clip = short[1].copy()
    clip.flags.writeable = False
    model.stt((RATE, clip))
    assert np.array_equal(clip, short[1])


@pytest.mark.parametrize("seconds", [1.0, 40.0])
def test_silence_before_and_after_speech_adds_no_words(
    seconds: float, model: MoonshineSTT, short: Sound
) -> None:
    quiet = silence(seconds)[1]
    assert words(model.stt((RATE, np.concatenate([quiet, short[1], quiet], axis=1)))) == HEARD


def test_a_long_pause_between_phrases_adds_no_words(model: MoonshineSTT, short: Sound) -> None:
    both = np.concatenate([short[1], silence(35.0)[1], short[1]], axis=1)
    assert words(model.stt((RATE, both))) == f"{HEARD} {HEARD}"


# What is no speech


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.1, 1.0, 35.0])
@readers
def test_silence_says_nothing(read: Reader, seconds: float, model: MoonshineSTT) -> None:
    assert read(model, silence(seconds)) == ""


@pytest.mark.parametrize("amplitude", [0.001, 0.03, 0.3])
def test_noise_says_nothing(amplitude: float, model: MoonshineSTT) -> None:
    noise = np.random.default_rng(1).normal(0, amplitude, 5 * RATE)
    assert model.stt((RATE, noise)) == ""


def test_clicks_say_nothing(model: MoonshineSTT) -> None:
    clip = np.zeros(5 * RATE, np.float32)
    clip[RATE // 2 :: RATE] = 1.0
    assert model.stt((RATE, clip)) == ""


def test_a_hum_says_nothing(model: MoonshineSTT) -> None:
    hum = 0.3 * np.sin(2 * np.pi * 50 * np.arange(5 * RATE) / RATE)
    assert model.stt((RATE, hum)) == ""


def test_samples_that_are_no_numbers_say_nothing(model: MoonshineSTT) -> None:
    assert model.stt((RATE, np.full(RATE, np.nan))) == ""


@pytest.mark.parametrize(
    ("audio", "error", "says"),
    [
        (np.zeros(100), TypeError, r"expected audio as \(rate, array\), got ndarray"),
        (None, TypeError, r"expected audio as \(rate, array\), got NoneType"),
        (("16000", np.zeros(9)), TypeError, "expected a sample rate in Hz"),
        ((0, np.zeros(9)), ValueError, "sample rate of 1000 to 384000 Hz, got 0"),
        ((RATE, np.zeros((3, 9))), ValueError, r"got \(3, 9\)"),
        ((RATE, np.zeros(9, complex)), TypeError, "integer or float dtype, got complex128"),
        ((RATE, "hello"), (TypeError, ValueError), "expected audio of"),
    ],
)
@pytest.mark.usefixtures("_no_room")
@readers
def test_what_is_no_audio_is_said_to_be_none_before_any_work_is_asked_for(
    read: Reader, audio: Any, error: Any, says: str, model: MoonshineSTT
) -> None:
    with pytest.raises(error, match=says):
        read(model, audio)


# Long clips


def test_a_long_recording_is_read_in_pieces(model: MoonshineSTT, two_cities: Sound) -> None:
    text = model.stt(two_cities)
    # What is wrong: "a season" for "the season", twice, and the spelling of "noisiest".
    assert word_error_rate(text, TWO_CITIES) < 0.03


def test_two_minutes_are_read_to_their_end(model: MoonshineSTT, two_cities: Sound) -> None:
    rate, samples = at_rate(two_cities, RATE)
    long = np.concatenate([samples] * 3, axis=1)
    assert long.shape[1] > 130 * rate
    assert word_error_rate(model.stt((rate, long)), " ".join([TWO_CITIES] * 3)) < 0.03


# Many callers


def test_many_threads_at_once_read_what_each_was_given(
    model: MoonshineSTT, beckett: Sound, short: Sound
) -> None:
    with ThreadPoolExecutor(8) as callers:
        found = list(callers.map(model.stt, [beckett, short] * 4))
    assert [words(text) for text in found] == [BECKETT, HEARD] * 4


async def test_many_callers_on_one_loop_read_what_each_was_given(
    model: MoonshineSTT, beckett: Sound, short: Sound
) -> None:
    found = await asyncio.gather(*(model.astt(sound) for sound in [short, beckett] * 4))
    assert [words(text) for text in found] == [HEARD, BECKETT] * 4


@pytest.mark.usefixtures("_no_room")
@readers
def test_who_comes_behind_too_many_is_refused(
    read: Reader, model: MoonshineSTT, short: Sound
) -> None:
    with pytest.raises(ModelBusy):
        read(model, short)


def test_a_job_of_the_pool_may_read_a_clip(
    pool: InferencePool, model: MoonshineSTT, short: Sound
) -> None:
    assert words(pool.run(lambda: model.stt(short))) == HEARD


# On the event loop


async def test_astt_leaves_the_loop_free_while_it_waits_for_its_turn(
    pool: InferencePool, model: MoonshineSTT, short: Sound
) -> None:
    with held(pool) as gate:
        task = asyncio.ensure_future(model.astt(short))
        await until_on_loop(lambda: pool.waiting == 1)
        # Nobody but the loop opens the gate.
        gate.set()
        assert words(await task) == HEARD


async def test_astt_leaves_the_loop_free_while_it_reads(
    model: MoonshineSTT, beckett: Sound
) -> None:
    reading = asyncio.ensure_future(model.astt(beckett))
    ticks = 0
    while not reading.done():
        await asyncio.sleep(0.001)
        ticks += 1
    assert words(reading.result()) == BECKETT
    # It takes 0.3 s; a step of it that blocked the loop would leave a tick or two for each piece.
    assert ticks > 20


async def test_cancelling_astt_takes_it_from_the_queue(
    pool: InferencePool, model: MoonshineSTT, short: Sound
) -> None:
    with held(pool):
        task = asyncio.ensure_future(model.astt(short))
        await until_on_loop(lambda: pool.waiting == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # There is room for one only, and it is free again.
        follower = asyncio.ensure_future(model.astt(short))
        await until_on_loop(lambda: task.done() and pool.waiting == 1)
        assert not follower.done()
    assert words(await follower) == HEARD


async def test_cancelling_astt_leaves_the_pieces_that_follow_unread(
    monkeypatch: pytest.MonkeyPatch, model: MoonshineSTT, short: Sound
) -> None:
    class Counting(InferencePool):
        """Cancels who asks for the first piece to be read."""

        jobs = 0

        def submit(self, job: Callable[[], Any], *, urgent: bool = False) -> Future[Any]:
            self.jobs += 1
            if self.jobs == 2:
                task.cancel()
            return super().submit(job, urgent=urgent)

    pool = Counting("counting", threads=1)
    monkeypatch.setattr(recogniser, "listening_pool", lambda: pool)
    three = np.concatenate([short[1], silence(4.0)[1]] * 3, axis=1)
    task = asyncio.ensure_future(model.astt((RATE, three)))
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_on_loop(lambda: pool.settled)
    assert pool.jobs == 2


# Models and their names


def test_it_is_what_users_may_replace(model: MoonshineSTT) -> None:
    assert isinstance(model, STTModel)


@pytest.mark.usefixtures("model")
def test_the_network_is_loaded_once(monkeypatch: pytest.MonkeyPatch, short: Sound) -> None:
    # Nothing is left to load it from.
    monkeypatch.setitem(moonshine.SIZES, "tiny", ())
    assert words(get_stt_model("moonshine/tiny").stt(short)) == HEARD


@pytest.mark.parametrize("name", ["moonshine", "moonshine/large", "", None, 5])
def test_another_name_is_an_error_that_has_the_right_ones(name: Any) -> None:
    with pytest.raises(ValueError, match="expected one of moonshine/tiny, moonshine/base, got"):
        get_stt_model(name)


def test_the_larger_model_reads_too(short: Sound) -> None:
    name: Literal["moonshine/base"] = "moonshine/base"
    if not moonshine_available("base"):
        missing("the package moonshine-cpp==0.1.4, which carries the larger Moonshine")
    model = get_stt_model(name)
    assert model.model == name
    assert words(model.stt(short)) == HEARD


# Chunks


class Remembering:
    """A recogniser of a user's own, which says how long each clip was."""

    def stt(self, audio: tuple[int, NDArray[Any]]) -> str:
        length = audio[1].shape[-1]
        return "" if length == 100 else f"{audio[0]}:{length}"


def test_the_words_of_chunks_are_joined(model: MoonshineSTT, beckett: Sound) -> None:
    _, chunks = Silero().vad(beckett)
    assert words(stt_for_chunks(model, beckett, chunks)) == BECKETT


def test_only_what_is_in_the_chunks_is_read(model: MoonshineSTT, beckett: Sound) -> None:
    chunk = {"start": round(0.2 * RATE), "end": round(1.6 * RATE)}
    assert words(stt_for_chunks(model, beckett, [chunk])) == "ever tried"


@pytest.mark.parametrize("shape", [(1_000,), (1, 1_000), (2, 1_000)])
def test_chunks_are_cut_by_samples_in_every_layout(shape: tuple[int, ...]) -> None:
    chunks = [{"start": 0, "end": 10}, {"start": 20, "end": 50}]
    text = stt_for_chunks(Remembering(), (8_000, np.zeros(shape)), chunks)
    assert text == "8000:10 8000:30"


def test_a_chunk_without_words_leaves_no_gap() -> None:
    chunks = [{"start": 0, "end": 10}, {"start": 100, "end": 200}, {"start": 300, "end": 320}]
    assert stt_for_chunks(Remembering(), (8_000, np.zeros(1_000)), chunks) == "8000:10 8000:20"


def test_no_chunks_have_no_words() -> None:
    assert stt_for_chunks(Remembering(), (8_000, np.zeros(1_000)), []) == ""


def test_a_chunk_that_reaches_beyond_the_clip_ends_with_it() -> None:
    chunks = [{"start": 900, "end": 5_000}, {"start": 990, "end": 5_000}]
    assert stt_for_chunks(Remembering(), (8_000, np.zeros(1_000)), chunks) == "8000:10"
