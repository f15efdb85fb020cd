"""Text to speech as users have it: Kokoro speaks, and Moonshine listens."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from fastrtc import KokoroTTSOptions, ModelBusy, MoonshineSTT, Spoken, get_stt_model, get_tts_model
from fastrtc.models.inference import InferencePool
from fastrtc.models.tts import speaker
from fastrtc.models.tts.clauses import SENTENCE
from fastrtc.models.tts.kokoro import QUIET, RATE, KokoroNet
from fastrtc.models.tts.speaker import KokoroTTSModel
from tests.peers import eventually

Floats = NDArray[np.float32]
TEXT = "Yes. No. Six."
PATIENCE = 30.0
"""Real seconds, after which a test is given up."""


class Voice:
    """What the network was asked to say, in order. It says the same words only once, for all."""

    made: ClassVar[dict[tuple[Any, ...], Floats]] = {}

    def __init__(self, say: Callable[..., Floats]) -> None:
        self._say = say
        self.said: list[str] = []
        self.before: Callable[[], object] = lambda: None
        """Called on the thread that speaks, before each clause."""

    def __call__(self, net: KokoroNet, text: str, *options: Any) -> Floats:
        self.said.append(text)
        self.before()
        key = (text, *options)
        if key not in self.made:
            self.made[key] = self._say(net, text, *options)
        return self.made[key]


@pytest.fixture(scope="module")
def tts() -> KokoroTTSModel:
    return get_tts_model("kokoro")


@pytest.fixture(scope="module")
def ears() -> MoonshineSTT:
    return get_stt_model()


@pytest.fixture
def voice(monkeypatch: pytest.MonkeyPatch) -> Voice:
    found = Voice(KokoroNet.say)
    monkeypatch.setattr(KokoroNet, "say", lambda *args: found(*args))
    return found


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> InferencePool:
    """One thread that speaks, for a queue that a test can fill."""
    found = InferencePool("test", threads=1, longest_queue=2)
    monkeypatch.setattr(speaker, "speaking_pool", lambda: found)
    return found


class Source:
    """Pieces of text in the shape of a stream of tokens, with a note of what became of it."""

    def __init__(self, pieces: Iterable[Any], error: Exception | None = None) -> None:
        self.pieces = list(pieces)
        self.error = error
        self.given = 0
        self.closed = False

    def sync(self) -> Generator[Any, None, None]:
        try:
            for piece in self.pieces:
                self.given += 1
                yield piece
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True

    async def anext(self) -> AsyncGenerator[Any, None]:
        try:
            for piece in self.pieces:
                await asyncio.sleep(0)
                self.given += 1
                yield piece
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


async def collected(chunks: AsyncIterable[Spoken]) -> list[Spoken]:
    return [chunk async for chunk in chunks]


def texts(chunks: Iterable[Spoken]) -> list[str]:
    return [chunk.text for chunk in chunks]


def same_sound(chunks: Iterable[Spoken], others: Iterable[Spoken]) -> bool:
    one, other = (np.concatenate([samples for _, samples in c]) for c in (chunks, others))
    # Not bit for bit: cores that share the work may add in another order.
    return len(one) == len(other) and float(np.abs(one - other).max()) < 0.01


def wait_until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# Sound


async def test_all_at_once_in_chunks_and_on_the_loop_it_is_the_same_sound(
    tts: KokoroTTSModel,
) -> None:
    rate, samples = await asyncio.to_thread(tts.tts, "Yes. No.")
    in_chunks = await asyncio.to_thread(lambda: list(tts.stream_tts_sync("Yes. No.")))
    on_the_loop = await collected(tts.stream_tts("Yes. No."))
    assert texts(in_chunks) == texts(on_the_loop) == ["Yes. ", "No."]
    assert same_sound(in_chunks, [Spoken(rate, samples)])
    assert same_sound(in_chunks, on_the_loop)


def test_a_chunk_is_24_khz_and_float32_and_knows_its_text(
    tts: KokoroTTSModel, voice: Voice
) -> None:
    for chunk in tts.stream_tts_sync(TEXT):
        rate, samples = chunk
        assert rate == 24_000
        assert samples.dtype == np.float32
        assert samples.ndim == 1
        assert 0.1 < np.abs(samples).max() <= 1.0
        assert isinstance(chunk, Spoken)
        assert chunk.text.strip() in TEXT


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("That comes to $42.50.", r"comes to (\$42\.50|42 dollars|forty[- ]two dollars)"),
        ("**My name** is _Peter_ 🎉.", r"my name is peter\W*$"),
        ("Dr. Smith is here at 10:30.", r"(dr\.?|doctor) smith is here at (10[:. ]?30|ten thirty)"),
    ],
)
def test_what_is_written_is_heard_as_a_person_would_read_it(
    written: str, heard: str, tts: KokoroTTSModel, ears: MoonshineSTT
) -> None:
    assert re.search(heard, ears.stt(tts.tts(written)).lower())


def test_between_sentences_there_is_a_pause_and_behind_the_last_there_is_none(
    tts: KokoroTTSModel, voice: Voice
) -> None:
    rate, samples = tts.tts(TEXT)
    spans = np.split(samples, np.flatnonzero(np.diff(np.abs(samples) > QUIET)) + 1)
    silences = [len(span) / rate for span in spans if np.abs(span).max() <= QUIET]
    assert sum(SENTENCE < seconds < SENTENCE + 0.1 for seconds in silences) == 2
    assert max(silences) < SENTENCE + 0.1
    assert len(spans[0]) <= 0.02 * rate
    assert len(spans[-1]) <= 0.06 * rate


def test_where_chunks_meet_nothing_clicks(tts: KokoroTTSModel, voice: Voice) -> None:
    chunks = list(tts.stream_tts_sync(["Yes. ", "No. ", "Six."]))
    assert len(chunks) == 3
    for _, samples in chunks:
        assert samples[0] == samples[-1] == 0.0


# Clause by clause


def test_the_first_chunk_is_the_first_clause_and_comes_before_the_second_is_made(
    tts: KokoroTTSModel, voice: Voice
) -> None:
    chunks = tts.stream_tts_sync("Sure, let me see. Yes.")
    assert voice.said == []
    assert next(chunks).text == "Sure, "
    assert voice.said == ["Sure,"]
    assert next(chunks).text == "let me see. "
    assert voice.said == ["Sure,", "let me see."]


async def test_on_the_loop_too_the_first_chunk_comes_before_the_second_is_made(
    tts: KokoroTTSModel, voice: Voice
) -> None:
    async with aclosing(tts.stream_tts("Sure, let me see. Yes.")) as chunks:
        assert (await anext(chunks)).text == "Sure, "
        assert voice.said == ["Sure,"]


@pytest.mark.parametrize(
    "text",
    [
        "Yes.",
        "  Yes.\n\n No. ",
        "# Yes.\n\n- **No.** 🎉\n- _Six._",
        "```\nx = 1\n```\nYes.\n\n| No |\n|---|\nSix.",
    ],
)
def test_the_texts_of_the_chunks_joined_are_the_text(
    text: str, tts: KokoroTTSModel, voice: Voice
) -> None:
    assert "".join(texts(tts.stream_tts_sync(text))) == text


def test_of_a_very_long_text_no_more_is_made_than_is_taken(
    tts: KokoroTTSModel, voice: Voice
) -> None:
    text = "Yes. No. " * 1_112
    assert len(text) > 10_000
    chunks = tts.stream_tts_sync(text)
    assert [next(chunks).text for _ in range(3)] == ["Yes. ", "No. ", "Yes. "]
    chunks.close()
    assert voice.said == ["Yes.", "No.", "Yes."]


def test_a_run_of_10_000_letters_is_not_said(tts: KokoroTTSModel, voice: Voice) -> None:
    assert texts(tts.stream_tts_sync("x" * 10_000 + " Yes.")) == ["x" * 10_000 + " Yes."]
    assert voice.said == ["Yes."]


@pytest.mark.parametrize(
    "text", ["", " ", "\n \t\n", "🎉", "👍🏽 ✓ 🎉", "...", "---", "```\nx\n```"]
)
async def test_a_text_without_words_comes_to_nothing(
    text: str, tts: KokoroTTSModel, voice: Voice
) -> None:
    rate, samples = tts.tts(text)
    assert (rate, samples.shape) == (RATE, (0,))
    assert samples.dtype == np.float32
    assert await collected(tts.stream_tts(text)) == []
    assert voice.said == []


# Pieces


def kinds(pieces: list[Any]) -> list[Any]:
    """The same pieces as each kind of iterable that can be given."""
    return [pieces, tuple(pieces), iter(pieces), Source(pieces).sync(), Source(pieces).anext()]


@pytest.mark.parametrize("kind", range(5))
async def test_pieces_may_come_in_any_iterable(
    kind: int, tts: KokoroTTSModel, voice: Voice
) -> None:
    chunks = await collected(tts.stream_tts(kinds(["Yes. ", "No. ", "Six."])[kind]))
    assert texts(chunks) == ["Yes. ", "No. ", "Six."]


@pytest.mark.parametrize("kind", range(4))
def test_without_a_loop_too_pieces_may_come_in_any_iterable(
    kind: int, tts: KokoroTTSModel, voice: Voice
) -> None:
    chunks = tts.stream_tts_sync(kinds(["Yes. ", "No. ", "Six."])[kind])
    assert texts(chunks) == ["Yes. ", "No. ", "Six."]


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_tokens_may_cut_the_text_anywhere(length: int, tts: KokoroTTSModel, voice: Voice) -> None:
    text = "**Yes.** 🎉 No, $6.50.\n\nSix."
    tokens = [text[start : start + length] for start in range(0, len(text), length)]
    whole = list(tts.stream_tts_sync(text))
    chunks = list(tts.stream_tts_sync(tokens))
    assert texts(chunks) == texts(whole)
    assert sum(len(samples) for _, samples in chunks) == sum(len(samples) for _, samples in whole)


def test_pieces_that_are_none_or_empty_are_no_text(tts: KokoroTTSModel, voice: Voice) -> None:
    pieces: list[Any] = [None, "Y", "", "es", None, ".", None]
    assert texts(tts.stream_tts_sync(pieces)) == ["Yes."]
    assert list(tts.stream_tts_sync([None, None])) == []


def test_a_clause_is_said_before_the_piece_behind_it_is_asked_for(
    tts: KokoroTTSModel, voice: Voice
) -> None:
    source = Source(["Yes", ". ", "No. ", "Six."])
    chunks = tts.stream_tts_sync(source.sync())
    assert next(chunks).text == "Yes. "
    assert source.given == 2


async def test_on_the_loop_too_a_clause_is_said_before_the_piece_behind_it_is_asked_for(
    tts: KokoroTTSModel, voice: Voice
) -> None:
    source = Source(["Yes", ". ", "No. ", "Six."])
    async with aclosing(tts.stream_tts(source.anext())) as chunks:
        assert (await anext(chunks)).text == "Yes. "
        assert source.given == 2


@pytest.mark.parametrize("text", [None, 1, b"Yes.", {"text": "Yes."}, object()])
def test_what_is_no_text_is_refused_at_once(text: Any, tts: KokoroTTSModel, voice: Voice) -> None:
    message = f"expected text.*got {type(text).__name__}"
    for method in (tts.tts, tts.stream_tts_sync, tts.stream_tts):
        with pytest.raises(TypeError, match=message):
            method(text)


@pytest.mark.parametrize("piece", [1, b"No. ", ["No. "], {"text": "No. "}])
def test_a_piece_that_is_no_text_is_refused_when_it_comes(
    piece: Any, tts: KokoroTTSModel, voice: Voice
) -> None:
    source = Source(["Yes. ", piece, "Six."])
    pieces = source.sync()
    chunks = tts.stream_tts_sync(pieces)
    assert next(chunks).text == "Yes. "
    with pytest.raises(TypeError, match=f"expected text.*got {type(piece).__name__}"):
        next(chunks)
    assert source.closed


async def test_on_the_loop_too_a_piece_that_is_no_text_is_refused_when_it_comes(
    tts: KokoroTTSModel, voice: Voice
) -> None:
    source = Source(["Yes. ", b"No. "])
    pieces = source.anext()
    chunks = tts.stream_tts(pieces)
    assert (await anext(chunks)).text == "Yes. "
    with pytest.raises(TypeError, match=r"expected text.*got bytes"):
        await anext(chunks)
    assert source.closed


@pytest.mark.parametrize("kind", ["sync", "anext"])
async def test_a_stream_that_fails_is_spoken_as_far_as_clauses_are_whole(
    kind: str, tts: KokoroTTSModel, voice: Voice
) -> None:
    source = Source(["Yes. ", "No. ", "And then"], ConnectionError("cut off"))
    chunks = tts.stream_tts(getattr(source, kind)())
    assert [(await anext(chunks)).text for _ in range(2)] == ["Yes. ", "No. "]
    with pytest.raises(ConnectionError, match="cut off"):
        await anext(chunks)
    assert voice.said == ["Yes.", "No."]


def test_without_a_loop_too_a_stream_that_fails_is_spoken_so_far(
    tts: KokoroTTSModel, voice: Voice
) -> None:
    chunks = tts.stream_tts_sync(Source(["Yes. ", "And"], ConnectionError("cut off")).sync())
    assert next(chunks).text == "Yes. "
    with pytest.raises(ConnectionError, match="cut off"):
        next(chunks)


# Who stops listening


def test_closing_it_closes_the_source_and_nothing_more_is_said(
    tts: KokoroTTSModel, voice: Voice
) -> None:
    source = Source(["Yes. ", "No. ", "Six."])
    # Held here, so that nothing but `close` closes it.
    pieces = source.sync()
    chunks = tts.stream_tts_sync(pieces)
    next(chunks)
    chunks.close()
    assert source.closed
    assert source.given == 1
    assert voice.said == ["Yes."]


@pytest.mark.parametrize("kind", ["sync", "anext"])
async def test_closing_it_on_the_loop_closes_the_source_and_nothing_more_is_said(
    kind: str, tts: KokoroTTSModel, voice: Voice
) -> None:
    source = Source(["Yes. ", "No. ", "Six."])
    pieces = getattr(source, kind)()
    chunks = tts.stream_tts(pieces)
    await anext(chunks)
    await chunks.aclose()
    # A plain generator may block while it tidies up, so that is done on a thread.
    await eventually(lambda: source.closed)
    assert source.given == 1
    assert voice.said == ["Yes."]


def test_a_source_that_cannot_be_closed_is_left_alone(tts: KokoroTTSModel, voice: Voice) -> None:
    chunks = tts.stream_tts_sync(iter(["Yes. ", "No."]))
    next(chunks)
    chunks.close()
    assert list(chunks) == []


async def test_cancelling_it_takes_its_clause_from_the_queue(
    tts: KokoroTTSModel, voice: Voice, pool: InferencePool
) -> None:
    gate = threading.Event()
    pool.submit(lambda: gate.wait(PATIENCE))
    listener = asyncio.create_task(collected(tts.stream_tts("Yes.")))
    await asyncio.to_thread(wait_until, lambda: bool(pool.waiting))
    listener.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listener
    gate.set()
    await pool.arun(lambda: None)
    assert voice.said == []


# Options


def test_voice_speed_and_language_are_those_of_the_options(
    tts: KokoroTTSModel, voice: Voice
) -> None:
    options = KokoroTTSOptions(voice="jm_kumo", speed=1.5, lang="en-gb")
    tts.tts("Yes.", options)
    assert ("Yes.", "jm_kumo", 1.5, "en-gb") in voice.made
    assert options == KokoroTTSOptions("jm_kumo", 1.5, "en-gb")


@pytest.mark.parametrize("name", ["", "nobody", "AF_HEART", "af_heart.bin", "../af_heart"])
def test_a_voice_that_nobody_has_is_refused_with_the_names_of_those_there_are(name: str) -> None:
    with pytest.raises(ValueError, match=f"af_heart, .*bm_george.* got {name!r}"):
        KokoroTTSOptions(voice=name)


@pytest.mark.parametrize("speed", [0, 0.49, 2.01, -1, float("nan"), float("inf")])
def test_a_speed_that_cannot_be_is_refused_with_those_that_can(speed: float) -> None:
    with pytest.raises(ValueError, match=f"speed of 0.5 to 2, got {speed}"):
        KokoroTTSOptions(speed=speed)


def test_a_language_that_nobody_knows_is_refused_with_one_that_is(tts: KokoroTTSModel) -> None:
    with pytest.raises(ValueError, match="such as 'en-us', got 'klingon'"):
        tts.tts("Yes.", KokoroTTSOptions(lang="klingon"))


def test_options_that_became_wrong_are_refused_at_once(tts: KokoroTTSModel) -> None:
    options = KokoroTTSOptions()
    options.voice = "nobody"
    with pytest.raises(ValueError, match="got 'nobody'"):
        tts.stream_tts_sync("Yes.", options)
    with pytest.raises(ValueError, match="got 'nobody'"):
        tts.stream_tts("Yes.", options)


def test_options_that_change_meanwhile_change_nothing(tts: KokoroTTSModel, voice: Voice) -> None:
    options = KokoroTTSOptions()
    chunks = tts.stream_tts_sync("Yes. No.", options)
    options.speed = 99.0
    assert texts(chunks) == ["Yes. ", "No."]


@pytest.mark.parametrize("options", ["af_heart", {"voice": "af_heart"}, 1.0])
def test_options_of_another_type_are_refused(options: Any, tts: KokoroTTSModel) -> None:
    with pytest.raises(TypeError, match=f"expected KokoroTTSOptions, got {type(options).__name__}"):
        tts.tts("Yes.", options)


def test_a_model_that_there_is_not_is_refused_with_those_there_are() -> None:
    get: Callable[..., Any] = get_tts_model
    with pytest.raises(ValueError, match="expected 'kokoro' or 'cartesia', got 'festival'"):
        get("festival")


# Many callers


def test_many_threads_at_once_each_hear_their_own_text(tts: KokoroTTSModel, voice: Voice) -> None:
    asked = ["Yes. No.", "No. Yes.", "Six. Yes.", "No. Six."]
    alone = [tts.tts(text)[1] for text in asked]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda text: tts.tts(text)[1], asked))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)


async def test_who_would_wait_too_long_is_told_at_once(
    tts: KokoroTTSModel, voice: Voice, pool: InferencePool
) -> None:
    pool.longest_queue = 0
    source = Source(["Yes. "])
    pieces = source.anext()
    with pytest.raises(ModelBusy):
        await asyncio.to_thread(tts.tts, "Yes.")
    with pytest.raises(ModelBusy):
        await collected(tts.stream_tts(pieces))
    assert source.closed
    assert voice.said == []


def test_who_waits_in_silence_is_served_before_who_hears_something_already(
    tts: KokoroTTSModel, voice: Voice, pool: InferencePool
) -> None:
    begun = tts.stream_tts_sync("Yes. No. ")
    next(begun)
    gate = threading.Event()
    pool.submit(lambda: gate.wait(PATIENCE))
    with ThreadPoolExecutor(2) as threads:
        threads.submit(next, begun)
        wait_until(lambda: pool.waiting == 1)
        threads.submit(next, tts.stream_tts_sync("Six."))
        wait_until(lambda: pool.waiting == 2)
        gate.set()
    assert voice.said == ["Yes.", "Six.", "No."]


async def test_the_loop_goes_on_while_a_clause_is_made(tts: KokoroTTSModel, voice: Voice) -> None:
    went_on = threading.Event()
    seen = []
    voice.before = lambda: seen.append(went_on.wait(PATIENCE))
    listener = asyncio.create_task(collected(tts.stream_tts("Yes.")))
    await asyncio.to_thread(wait_until, lambda: bool(voice.said))
    went_on.set()
    assert texts(await listener) == ["Yes."]
    assert seen == [True]


async def test_the_loop_goes_on_while_a_piece_is_waited_for(
    tts: KokoroTTSModel, voice: Voice
) -> None:
    asked, went_on = threading.Event(), threading.Event()

    def tokens() -> Iterator[str]:
        asked.set()
        yield "Yes." if went_on.wait(PATIENCE) else "blocked"

    listener = asyncio.create_task(collected(tts.stream_tts(tokens())))
    await asyncio.to_thread(wait_until, asked.is_set)
    went_on.set()
    assert texts(await listener) == ["Yes."]
