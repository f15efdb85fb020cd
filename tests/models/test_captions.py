"""Text while the caller is still talking."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastrtc.audio.resample import StreamResampler
from fastrtc.models.inference import InferencePool, ModelBusy, listening_pool
from fastrtc.models.place import Here
from fastrtc.models.stt.captions import Transcript, caption
from fastrtc.models.stt.moonshine import RATE
from fastrtc.models.stt.recogniser import MoonshineSTT, get_stt_model
from fastrtc.models.vad import silero
from fastrtc.testing import load_speech
from tests.conftest import Sound, human_speech, silence
from tests.models.pools import PATIENCE, held, until_on_loop
from tests.words import BECKETT, TWO_CITIES, word_error_rate, words

Floats = NDArray[np.float32]
SAID = ["ever tried", "ever failed", "no matter", "try again", "fail again"]
"""The phrases of the recording but for the last one, which alone is read as "fell better"."""


@pytest.fixture(scope="module")
def model() -> MoonshineSTT:
    return get_stt_model()


@pytest.fixture(scope="module")
def two_cities() -> Sound:
    """44 s of human speech; 48 kHz, shape (1, n)."""
    return load_speech(human_speech("two_cities.wav"))


@pytest.fixture
def _unloaded() -> Iterator[None]:
    """As in a process that has heard nobody yet."""
    silero.shared_net.cache_clear()
    yield
    silero.shared_net()


def frames(sound: Sound, seconds: float = 0.1) -> Iterator[Sound]:
    rate, samples = sound
    step = round(seconds * rate)
    for start in range(0, samples.shape[1], step):
        yield rate, samples[:, start : start + step]


def pooled(read: Callable[[Floats], str]) -> Here[str]:
    """A reader on the threads of the recogniser."""
    return Here(lambda: read, listening_pool)


async def live(sound: Sound) -> AsyncIterator[Sound]:
    """A caller with whose pace the recogniser keeps up, whatever machine it is on."""
    for frame in frames(sound):
        yield frame
        # What is to be read is with the recogniser after two turns of the loop.
        for _ in range(5):
            await asyncio.sleep(0)
        await until_on_loop(lambda: listening_pool().settled)


async def collect(stream: AsyncIterator[Transcript]) -> list[Transcript]:
    return [transcript async for transcript in stream]


def finals(transcripts: Iterable[Transcript]) -> list[str]:
    return [words(found.text) for found in transcripts if found.final]


def partials(transcripts: Iterable[Transcript]) -> list[str]:
    return [words(found.text) for found in transcripts if not found.final]


def length(samples: Floats) -> str:
    """Reads a phrase as its number of samples."""
    return str(len(samples))


async def alone() -> None:
    """Wait until no task but this one is left, and the recogniser has nothing to do."""
    await until_on_loop(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    await until_on_loop(lambda: listening_pool().settled)


class Source:
    """A recording as an iterator of either kind, which may end in its own way, or never."""

    def __init__(
        self, sound: Sound, end: Callable[[], Any] = lambda: None, *, endless: bool = False
    ) -> None:
        self.sound, self.end, self.endless = sound, end, endless
        self.closed = threading.Event()

    def plain(self) -> Iterator[Sound]:
        try:
            yield from frames(self.sound)
            while self.endless:
                yield from frames(self.sound)
            self.end()
        finally:
            self.closed.set()

    async def on_loop(self) -> AsyncIterator[Sound]:
        try:
            async for frame in live(self.sound):
                yield frame
            while self.endless:
                async for frame in live(self.sound):
                    yield frame
            self.end()
        finally:
            self.closed.set()


kinds = pytest.mark.parametrize("kind", ["plain", "on_loop"])


def first_phrase(beckett: Sound) -> Sound:
    """The first phrase, and the pause that ends it."""
    return RATE, np.concatenate([beckett[1][:, : round(1.6 * RATE)], silence(1.0)[1]], axis=1)


# Transcripts


@kinds
async def test_final_texts_have_the_words(kind: str, model: MoonshineSTT, beckett: Sound) -> None:
    found = finals(await collect(model.stt_stream(getattr(Source(beckett), kind)())))
    assert found[:-1] == SAID
    assert word_error_rate(" ".join(found), BECKETT) < 0.1


async def test_partial_texts_come_while_the_caller_talks(
    model: MoonshineSTT, two_cities: Sound
) -> None:
    opening = two_cities[0], two_cities[1][:, : 4 * two_cities[0]]
    found = await collect(model.stt_stream(live(opening)))
    assert [transcript.final for transcript in found[:3]] == [False] * 3
    assert len(partials(found)) >= 3
    assert words(found[-1].text).startswith("it was the best of times")
    assert found[-1].final


async def test_partial_texts_grow_into_the_final_one(
    model: MoonshineSTT, two_cities: Sound
) -> None:
    opening = two_cities[0], two_cities[1][:, : 4 * two_cities[0]]
    found = await collect(model.stt_stream(live(opening)))
    starts = {transcript.start for transcript in found if not transcript.final}
    assert starts <= {transcript.start for transcript in found if transcript.final}
    ends = [transcript.end for transcript in found if transcript.start == found[0].start]
    assert ends == sorted(ends)


async def test_partial_texts_come_as_often_as_asked(model: MoonshineSTT, beckett: Sound) -> None:
    phrase = first_phrase(beckett)
    often = partials(await collect(model.stt_stream(live(phrase), every=0.2)))
    seldom = partials(await collect(model.stt_stream(live(phrase), every=0.6)))
    never = partials(await collect(model.stt_stream(live(phrase), every=60)))
    assert len(often) > len(seldom) >= len(never) == 0


async def test_a_long_talk_is_read_to_its_end(model: MoonshineSTT, two_cities: Sound) -> None:
    found = finals(await collect(model.stt_stream(frames(two_cities))))
    assert len(found) > 3
    # Phrase by phrase it errs more than on the whole: "string of hope", "noisy authorities".
    assert word_error_rate(" ".join(found), TWO_CITIES) < 0.13


async def test_a_transcript_says_when_it_was_said(model: MoonshineSTT, beckett: Sound) -> None:
    later = RATE, np.concatenate([silence(2.0)[1], first_phrase(beckett)[1]], axis=1)
    (found,) = [t for t in await collect(model.stt_stream(live(later))) if t.final]
    assert 2.0 <= found.start <= 2.4
    assert 3.4 <= found.end <= 4.0


async def test_final_texts_do_not_overlap_in_time(model: MoonshineSTT, beckett: Sound) -> None:
    found = [t for t in await collect(model.stt_stream(frames(beckett))) if t.final]
    edges = [edge for transcript in found for edge in (transcript.start, transcript.end)]
    assert edges == sorted(edges)
    assert edges[-1] <= beckett[1].shape[1] / RATE


@pytest.mark.parametrize(
    "form",
    [
        lambda clip: (RATE, clip[0]),
        lambda clip: (RATE, np.concatenate([clip, clip])),
        lambda clip: (RATE, clip / 32768),
        lambda clip: (48_000, StreamResampler(RATE, 48_000).process(clip)),
        lambda clip: (8_000, StreamResampler(RATE, 8_000).process(clip)),
    ],
    ids=["(n,)", "stereo", "float", "48 kHz", "8 kHz"],
)
async def test_any_sound_gives_the_same_words(
    form: Any, model: MoonshineSTT, beckett: Sound
) -> None:
    rate, samples = form(np.concatenate([beckett[1][:, : 3 * RATE], silence(1.0)[1]], axis=1))
    step = rate // 50
    parts = ((rate, samples[..., at : at + step]) for at in range(0, samples.shape[-1], step))
    assert finals(await collect(model.stt_stream(parts))) == SAID[:2]


async def test_the_rate_may_change_on_the_way(model: MoonshineSTT, beckett: Sound) -> None:
    phrase = first_phrase(beckett)
    faster = 48_000, StreamResampler(RATE, 48_000).process(phrase[1])
    parts = [*frames(phrase), *frames(faster), *frames(phrase)]
    assert finals(await collect(model.stt_stream(parts))) == ["ever tried"] * 3


async def test_one_frame_may_be_the_whole_clip(model: MoonshineSTT, beckett: Sound) -> None:
    assert finals(await collect(model.stt_stream([beckett])))[:-1] == SAID


async def test_empty_frames_change_nothing(model: MoonshineSTT, beckett: Sound) -> None:
    empty = RATE, np.zeros((1, 0), np.int16)
    parts = [part for frame in frames(first_phrase(beckett)) for part in (empty, frame)]
    assert finals(await collect(model.stt_stream(parts))) == ["ever tried"]


@pytest.mark.parametrize("sound", [silence(0.0), silence(0.01), silence(3.0)])
async def test_silence_has_no_transcripts(sound: Sound, model: MoonshineSTT) -> None:
    assert await collect(model.stt_stream([sound])) == []


async def test_noise_and_clicks_have_no_transcripts(model: MoonshineSTT) -> None:
    noise = np.random.default_rng(1).normal(0, 0.03, 3 * RATE)
    noise[:: RATE // 2] = 1.0
    assert await collect(model.stt_stream([(RATE, noise)])) == []


async def test_two_callers_at_once_do_not_disturb_each_other(
    model: MoonshineSTT, beckett: Sound
) -> None:
    streams = [model.stt_stream(frames(beckett, seconds)) for seconds in (0.02, 0.1)]
    for found in await asyncio.gather(*map(collect, streams)):
        assert finals(found)[:-1] == SAID


# What the sound comes from


@pytest.mark.parametrize("audio", [[], (), iter([])])
async def test_a_stream_that_ends_at_once_has_no_transcripts(
    audio: Any, model: MoonshineSTT
) -> None:
    assert await collect(model.stt_stream(audio)) == []


async def test_an_asynchronous_stream_that_ends_at_once_has_no_transcripts(
    model: MoonshineSTT,
) -> None:
    assert await collect(model.stt_stream(live(silence(0.0)))) == []


async def test_an_iterator_that_blocks_does_not_hold_up_what_came_before_it(
    model: MoonshineSTT, beckett: Sound
) -> None:
    gate = threading.Event()

    def waiting() -> Iterator[Sound]:
        yield from frames(first_phrase(beckett))
        assert gate.wait(PATIENCE)
        yield from frames(first_phrase(beckett))

    found: list[str] = []
    async for transcript in model.stt_stream(waiting()):
        if transcript.final:
            found.append(words(transcript.text))
            # Nobody but the loop opens the gate.
            gate.set()
    assert found == ["ever tried"] * 2


@kinds
async def test_an_error_of_the_iterator_comes_after_the_words_before_it(
    kind: str, model: MoonshineSTT, beckett: Sound
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    source = Source(first_phrase(beckett), fail)
    found: list[Transcript] = []

    async def follow() -> None:
        async for transcript in model.stt_stream(getattr(source, kind)()):
            found.append(transcript)

    with pytest.raises(ZeroDivisionError):
        await follow()
    assert finals(found) == ["ever tried"]
    await alone()


@pytest.mark.parametrize(
    ("audio", "error", "says"),
    [
        (5, TypeError, "not iterable"),
        ([(0, np.zeros(9))], ValueError, "sample rate of 1000 to 384000 Hz, got 0"),
        ([("16000", np.zeros(9))], TypeError, "expected a sample rate in Hz"),
        ([(RATE, np.zeros((3, 9)))], ValueError, r"got \(3, 9\)"),
        ([(RATE, np.zeros(9, complex))], TypeError, "got complex128"),
        ([np.zeros(9)], (TypeError, ValueError), "unpack"),
    ],
)
async def test_a_frame_that_is_no_audio_is_an_error(
    audio: Any, error: Any, says: str, model: MoonshineSTT
) -> None:
    with pytest.raises(error, match=says):
        await collect(model.stt_stream(audio))
    await alone()


@pytest.mark.parametrize("every", [0, -1.0, float("nan")])
async def test_texts_cannot_come_more_often_than_ever(every: float, model: MoonshineSTT) -> None:
    with pytest.raises(ValueError, match="expected every over 0 s"):
        await collect(model.stt_stream([], every=every))


@pytest.mark.usefixtures("_unloaded")
async def test_the_first_caller_of_a_process_does_not_block_the_loop(model: MoonshineSTT) -> None:
    assert await collect(model.stt_stream([silence(1.0)])) == []


async def test_a_list_of_frames_leaves_the_loop_free(beckett: Sound) -> None:
    class Watched(list[Sound]):
        def __iter__(self) -> Iterator[Sound]:
            for frame in super().__iter__():
                asked.append(turns)
                yield frame

    asked: list[int] = []
    turns = 0
    reading = asyncio.ensure_future(collect(caption(Watched(frames(beckett)), pooled(length), 0.6)))
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert asked[-1] - asked[0] > 20


async def test_a_long_frame_leaves_the_loop_free(beckett: Sound) -> None:
    async def once() -> AsyncIterator[Sound]:
        asked.append(turns)
        yield beckett
        asked.append(turns)

    asked: list[int] = []
    turns = 0
    reading = asyncio.ensure_future(collect(caption(once(), pooled(length), 0.6)))
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert asked[-1] - asked[0] > 5


# Stopping early


@kinds
async def test_who_stops_early_leaves_nothing_behind(
    kind: str, model: MoonshineSTT, beckett: Sound
) -> None:
    source = Source(beckett, endless=True)
    async with aclosing(model.stt_stream(getattr(source, kind)())) as stream:
        assert words((await anext(stream)).text).startswith("ever")
    await until_on_loop(source.closed.is_set)
    await alone()


@kinds
async def test_who_is_cancelled_leaves_nothing_behind(
    kind: str, model: MoonshineSTT, beckett: Sound
) -> None:
    source = Source(beckett, endless=True)
    begun = asyncio.Event()

    async def follow() -> None:
        async for _ in model.stt_stream(getattr(source, kind)()):
            begun.set()

    task = asyncio.ensure_future(follow())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_on_loop(source.closed.is_set)
    await alone()


async def test_who_is_cancelled_while_the_recogniser_is_busy_takes_the_job_back(
    model: MoonshineSTT, beckett: Sound
) -> None:
    pool = listening_pool()
    with held(pool):
        task = asyncio.ensure_future(collect(model.stt_stream([beckett])))
        await until_on_loop(lambda: pool.waiting == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await alone()


async def test_a_stream_that_was_never_read_takes_nothing(model: MoonshineSTT) -> None:
    source = Source(silence(1.0))
    await model.stt_stream(source.plain()).aclose()
    await alone()


# Recognisers that are slow, busy, or fail


async def test_a_slow_recogniser_leaves_out_partial_texts_but_no_final_one(
    beckett: Sound,
) -> None:
    over = threading.Event()

    def slow(samples: Floats) -> str:
        assert over.wait(PATIENCE)
        return length(samples)

    source = Source(beckett, over.set)
    found = await collect(caption(source.plain(), pooled(slow), 0.1))
    assert len(partials(found)) <= 1
    quick = await collect(caption(frames(beckett), pooled(length), 0.1))
    assert [t for t in found if t.final] == [t for t in quick if t.final]
    assert len(finals(found)) == 6


async def test_sound_that_comes_faster_than_it_is_read_waits_and_no_final_text_is_lost(
    beckett: Sound,
) -> None:
    given = 0

    async def rush() -> AsyncIterator[Sound]:
        nonlocal given
        for _ in range(6):
            for frame in frames(beckett):
                given += 1
                yield frame

    with held(listening_pool()):
        reading = asyncio.ensure_future(collect(caption(rush(), pooled(lambda samples: "a"), 60)))
        before = -1
        while given == 0 or given > before:
            before = given
            # A frame takes a turn or two.
            for _ in range(20):
                await asyncio.sleep(0)
            await until_on_loop(lambda: bool(given))
        assert given < 6 * len(list(frames(beckett)))
    assert finals(await reading) == ["a"] * 36


async def test_a_phrase_without_words_has_no_transcript(beckett: Sound) -> None:
    assert await collect(caption(frames(beckett), pooled(lambda samples: ""), 0.6)) == []


async def test_an_error_of_the_recogniser_reaches_who_reads(beckett: Sound) -> None:
    def fail(samples: Floats) -> str:
        raise ZeroDivisionError

    source = Source(beckett)
    with pytest.raises(ZeroDivisionError):
        await collect(caption(source.plain(), pooled(fail), 0.6))
    await until_on_loop(source.closed.is_set)
    await alone()


async def test_a_final_text_waits_until_the_recogniser_has_time(
    monkeypatch: pytest.MonkeyPatch, beckett: Sound
) -> None:
    class BusyTwice(InferencePool):
        refused = 0

        def submit(self, job: Any, *, urgent: bool = False) -> Any:
            if self.refused < 2:
                self.refused += 1
                raise ModelBusy
            return super().submit(job, urgent=urgent)

    pool = BusyTwice("busy", threads=1)
    (found,) = await collect(
        caption(live(first_phrase(beckett)), Here(lambda: length, lambda: pool), 60)
    )
    assert found.final
    assert pool.refused == 2
    await alone()


async def test_a_partial_text_that_cannot_be_had_is_left_out(
    monkeypatch: pytest.MonkeyPatch, beckett: Sound
) -> None:
    class BusyOnce(InferencePool):
        refused = 0

        def submit(self, job: Any, *, urgent: bool = False) -> Any:
            if not self.refused:
                self.refused += 1
                raise ModelBusy
            return super().submit(job, urgent=urgent)

    pool = BusyOnce("busy", threads=1)
    found = await collect(
        caption(live(first_phrase(beckett)), Here(lambda: length, lambda: pool), 0.6)
    )
    assert pool.refused == 1
    assert [transcript.final for transcript in found] == [True]
