"""Text while the caller is still talking."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import as_pcm
from fastrtc.models.inference import ModelBusy
from fastrtc.models.place import Runner
from fastrtc.models.stt.moonshine import RATE
from fastrtc.models.vad.feed import VadFeed
from fastrtc.models.vad.silero import HYSTERESIS, WINDOW, shared_net
from fastrtc.models.vad.stream import SileroStream
from fastrtc.threads import in_turn, readers

THRESHOLD: Final = 0.5
"""Probability from which a step is voice."""
LEAST_VOICE: Final = 0.1
"""Seconds of voice that are speech."""
PHRASE_PAUSE: Final = 0.5
"""Seconds of silence that end a phrase."""
MARGIN: Final = 0.3
"""Seconds of sound around a phrase that belong to it."""
LONGEST_PHRASE: Final = 15.0
"""Seconds after which a phrase ends at its next soft spot, and, twice that, anywhere."""
SOFT: Final = 0.7
"""Probability under which a step of a long phrase is a soft spot."""
AT_ONCE: Final = 0.1
"""Seconds of sound that are judged in one step."""
BUSY_SECONDS: Final = 0.2
"""Until a recogniser that was too busy is asked again."""
PHRASES_KEPT: Final = 20
"""Phrases that may wait for the recogniser, before no more sound is taken."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Transcript:
    """What was said, as far as it is known.

    Attributes:
        text: the words of the phrase.
        final: whether the phrase is over; else the next transcript replaces this one.
        start, end: seconds since the stream began.
    """

    text: str
    final: bool
    start: float
    end: float


@dataclass(frozen=True)
class Phrase:
    """Sound that is to be read. ``samples``: at `RATE`; ``start``: its first one's number."""

    samples: Floats
    start: int
    final: bool


class Phrases:
    """Cuts a stream into phrases. Knows no clock and no threads.

    `waiting` has the phrases that are over and not yet read, oldest first; `newest` the one that
    lasts, when it has grown enough to be read anew.
    """

    def __init__(self, every: float) -> None:
        """``every``: seconds of new speech after which the phrase that lasts is read anew."""
        self.waiting: deque[Phrase] = deque()
        self.newest: Phrase | None = None
        self._every = every * RATE
        self._vad = SileroStream()
        self._kept: Floats = np.zeros(0, np.float32)
        """From `_first` on: the phrase, or the margin before the next one."""
        self._first = 0
        self._stepped = 0
        """How many samples have been judged."""
        self._start: int | None = None
        """Where the voice of the phrase began."""
        self._end = 0
        """Where it was last heard."""
        self._voiced = 0
        self._read_at = 0

    def hear(self, samples: Floats) -> None:
        """Take the next samples, shape ``(n,)``."""
        self._kept = np.concatenate([self._kept, samples])
        while self._stepped + WINDOW <= self._first + len(self._kept):
            at = self._stepped - self._first
            self._stepped += WINDOW
            self._step(self._vad.step(self._kept[at : at + WINDOW]))

    def finish(self) -> None:
        """Nothing more follows: what lasts is over."""
        if self._start is not None:
            self._over()

    def _step(self, probability: float) -> None:
        talking = self._start is not None
        if probability >= (THRESHOLD - HYSTERESIS if talking else THRESHOLD):
            self._voice(probability)
        elif self._start is not None and self._stepped - self._end >= PHRASE_PAUSE * RATE:
            self._over()
        if self._start is None:
            self._forget(self._stepped - round(MARGIN * RATE))

    def _voice(self, probability: float) -> None:
        if self._start is None:
            self._start = self._read_at = self._stepped - WINDOW
        self._end = self._stepped
        self._voiced += WINDOW
        length = (self._stepped - self._start) / RATE
        if length >= 2 * LONGEST_PHRASE or (length >= LONGEST_PHRASE and probability < SOFT):
            self._over()
        elif self._stepped - self._read_at >= self._every and self._is_speech:
            self._read_at = self._stepped
            self.newest = Phrase(self._kept.copy(), self._first, final=False)

    def _over(self) -> None:
        end = min(self._end + round(MARGIN * RATE), self._stepped)
        self.newest = None
        if self._is_speech:
            samples = self._kept[: end - self._first].copy()
            self.waiting.append(Phrase(samples, self._first, final=True))
        self._start, self._voiced = None, 0
        self._forget(end)

    @property
    def _is_speech(self) -> bool:
        return self._voiced >= LEAST_VOICE * RATE

    def _forget(self, before: int) -> None:
        if before > self._first:
            self._kept = self._kept[before - self._first :]
            self._first = before


async def caption(
    audio: AsyncIterable[tuple[int, NDArray[Any]]] | Iterable[tuple[int, NDArray[Any]]],
    reader: Runner[str],
    every: float,
) -> AsyncGenerator[Transcript, None]:
    """The `Transcript`s of a stream of sound; ``reader`` reads its phrases."""
    if isinstance(audio, tuple) and len(audio) == 2 and isinstance(audio[1], np.ndarray):
        raise TypeError("expected an iterable of frames, each (rate, array), got a single frame")
    # The first caller of a process loads it.
    await readers.call(shared_net)
    phrases = Phrases(every)
    shown = False
    news, room = asyncio.Event(), asyncio.Event()
    listening = asyncio.ensure_future(_listen(audio, phrases, news, room))
    listening.add_done_callback(lambda task: news.set())
    try:
        while not listening.done() or phrases.waiting:
            await news.wait()
            news.clear()
            while phrases.waiting or phrases.newest:
                phrase = phrases.waiting.popleft() if phrases.waiting else phrases.newest
                assert phrase is not None
                room.set()
                if not phrase.final:
                    phrases.newest = None
                text = await _text(phrase, reader)
                # An empty final text takes back what was shown of the phrase.
                if (text and not phrases.waiting) or (phrase.final and (text or shown)):
                    shown = not phrase.final
                    start, end = phrase.start, phrase.start + len(phrase.samples)
                    yield Transcript(text, phrase.final, start / RATE, end / RATE)
        await listening
    finally:
        listening.cancel()
        await asyncio.wait([listening])


async def _text(phrase: Phrase, reader: Runner[str]) -> str:
    while True:
        try:
            return await reader.arun(phrase.samples, urgent=phrase.final)
        except ModelBusy:
            if not phrase.final:
                # The next reading has all the words of this one.
                return ""
            # No more sound is taken while many phrases wait, so nothing grows meanwhile.
            await asyncio.sleep(BUSY_SECONDS)


async def _listen(
    audio: AsyncIterable[tuple[int, NDArray[Any]]] | Iterable[tuple[int, NDArray[Any]]],
    phrases: Phrases,
    news: asyncio.Event,
    room: asyncio.Event,
) -> None:
    """Cut sound into phrases; ``news``: there is one; ``room``: one has been taken."""
    feed: VadFeed | None = None
    rate = 0
    async with contextlib.aclosing(in_turn(audio)) as frames:
        async for given, samples in frames:
            given, pcm = as_pcm(given, np.asarray(samples))
            if feed is None or given != rate:
                feed, rate = VadFeed(given), given
            # A long frame must not keep the loop.
            length = round(AT_ONCE * rate)
            for start in range(0, pcm.shape[1], length):
                before = phrases.newest
                phrases.hear(feed.add(pcm[:, start : start + length]))
                if phrases.waiting or phrases.newest is not before:
                    news.set()
                while len(phrases.waiting) >= PHRASES_KEPT:
                    room.clear()
                    await room.wait()
                await asyncio.sleep(0)
    phrases.finish()
