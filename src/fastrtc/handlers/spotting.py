"""Finds stop words in what a caller says: in the words that are read, or by their sound."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fastrtc.handlers.driver import Host
from fastrtc.models.end_of_turn.source import Ring
from fastrtc.models.wake_words import WakeWordListener, WakeWords
from fastrtc.threads import call_soon, contained
from fastrtc.turns.options import STEP_SAMPLES, VAD_RATE
from fastrtc.turns.stretches import LONGEST, RELEASE, Stretch, Stretches, word_end

logger = logging.getLogger(__name__)

TAPE_SECONDS: Final = 12.0
"""What is kept for the recogniser, should it be late."""
WAITING: Final = 8
"""Stretches that wait for it, before the oldest is given up."""
SAME_BREATH: Final = round(0.8 * VAD_RATE)
"""Samples between two stretches that may hold two words of one stop word."""
SOUND_LATE: Final = 4 * STEP_SAMPLES
"""Samples by which a stop word is known later by its sound than it was said; measured."""
SOUND_GAP: Final = 2
"""Steps of silence after it that are a gap."""
SOUND_GOES_ON: Final = 8
"""Steps (0.26 s) without such a gap after it, and the caller goes on in the same breath."""
VOWELS: Final = frozenset("aeiouy")
LEVELS_KEPT: Final = 2 * LONGEST
EDGE_DB: Final = 30.0
"""How far under the loudest step of a stretch its voice begins and ends."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Spotted:
    """A stop word was heard.

    Attributes:
        cut: the sample at `VAD_RATE` at which what follows it begins.
        rest: what was read behind it.
        read_until: up to which sample it was read.
    """

    cut: int
    rest: str = ""
    read_until: int = 0


class Spotter(Protocol):
    """Listens to one caller who has not yet said a stop word. On the event loop."""

    def feed(self, samples: Floats) -> None:
        """Take mono samples at `VAD_RATE`, shape ``(n,)``; always."""

    def step(self, probability: float, level: float) -> None:
        """Take a step: the probability that it is voice, and its loudness in dBFS."""

    def skip(self) -> None:
        """Let a step pass in which nobody looks for a stop word."""

    def forget(self) -> None:
        """What was said until now has been heard by somebody else."""

    def close(self) -> None:
        """Find nothing more."""


Found = Callable[[Spotted], None]


class TextSpotter:
    """Reads every stretch of speech once, and looks into the text."""

    def __init__(
        self,
        host: Host,
        read: Callable[[Floats], Awaitable[str]],
        look: Callable[[str], Awaitable[tuple[int, int] | None]],
        found: Found,
        fail: Callable[[Exception], None],
    ) -> None:
        """Set up.

        Args:
            host: the session.
            read: the words of a stretch, off the event loop.
            look: where in a text a stop word begins and ends.
            found: is told of it.
            fail: takes the errors of ``read`` and ``look``.
        """
        self._host = host
        self._read = read
        self._look = look
        self._found = found
        self._fail = fail
        self._tape = Ring(TAPE_SECONDS)
        self._stretches = Stretches()
        self._levels: deque[float] = deque(maxlen=LEVELS_KEPT)
        self._waiting: deque[tuple[Stretch, list[float]]] = deque(maxlen=WAITING)
        self._task: asyncio.Task[None] | None = None
        self._before: tuple[str, int] | None = None
        """What was read before, and where it ended."""
        self._spotting = self._closed = False

    def feed(self, samples: Floats) -> None:
        """See `Spotter`."""
        self._tape.feed(samples)

    def step(self, probability: float, level: float) -> None:
        """See `Spotter`."""
        self._spotting = True
        self._levels.append(level)
        stretch = self._stretches.hear(probability)
        if stretch is not None:
            behind = (self._stretches.position - stretch.end) // STEP_SAMPLES
            begin = (self._stretches.position - stretch.start) // STEP_SAMPLES
            levels = list(self._levels)[-begin : -behind or None]
            self._waiting.append((stretch, levels))
            if self._task is None:
                self._task = self._host.spawn(self._work())

    def skip(self) -> None:
        """See `Spotter`."""
        self._stretches.skip()
        self.forget()

    def forget(self) -> None:
        """See `Spotter`."""
        self._spotting = False
        self._stretches.forget()
        self._levels.clear()
        self._waiting.clear()
        self._before = None

    def close(self) -> None:
        """See `Spotter`."""
        self._closed = True
        self._waiting.clear()

    async def _work(self) -> None:
        try:
            while self._waiting:
                stretch, levels = self._waiting.popleft()
                try:
                    await self._examine(stretch, levels)
                except (Exception, SystemExit) as error:
                    self._fail(contained(error))
        finally:
            self._task = None

    async def _examine(self, stretch: Stretch, levels: list[float]) -> None:
        start, samples = self._tape.last(stretch.start)
        if start > stretch.start:
            raise RuntimeError(
                f"the recogniser is {TAPE_SECONDS:.0f} s late; what was said then was not read"
            )
        text = await self._read(samples[: stretch.end - start])
        logger.debug("call %s: waiting for a stop word: %r", self._host.context.webrtc_id, text)
        before = ""
        if self._before is not None and stretch.start - self._before[1] <= SAME_BREATH:
            before = self._before[0] + " "
        self._before = (text, stretch.end)
        end = await self._end_of_word(before, text)
        # Meanwhile somebody else may have begun to listen.
        if end is None or self._closed or not self._spotting:
            return
        self._before = None
        rest = text[end:].lstrip(" ,.;:!?-\u2026")
        cut = stretch.end
        if any(character.isalnum() for character in rest):
            cut = stretch.start + _voice_until(levels, text, end) * STEP_SAMPLES
        else:
            rest = ""
        self._found(Spotted(cut, rest, stretch.end))

    async def _end_of_word(self, before: str, text: str) -> int | None:
        """Where in a text a stop word ends, of which a part may be in what was read before."""
        for lead in (before, "") if before else ("",):
            place = await self._look(lead + text)
            if place is not None and place[1] > len(lead):
                return place[1] - len(lead)
        return None


class SoundSpotter:
    """Knows a few stop words by their sound."""

    def __init__(
        self, host: Host, words: WakeWords, found: Found, fail: Callable[[Exception], None]
    ) -> None:
        """Set up: the session, what listens, and who is told."""
        self._found = found
        self._fail = fail
        self._position = 0
        self._heard = self._sounding = self._closed = False
        self._since: int | None = None
        """Steps since a word was heard, while it is not known whether anything follows."""
        self._silent = 0
        self._listener: WakeWordListener | None = None
        host.submit(lambda: self._open(host, words))

    def feed(self, samples: Floats) -> None:
        """See `Spotter`."""
        if self._listener is None:
            return
        try:
            # The network goes on while nobody asks, as its memory is of the last seconds. It
            # hears a word for as long as that is in it.
            sounding, before = self._listener.hear(samples), self._sounding
        except Exception as error:
            self._fail(error)
            return
        self._sounding = sounding
        self._heard = self._heard or (sounding and not before)

    def step(self, probability: float, level: float) -> None:
        """See `Spotter`."""
        self._position += STEP_SAMPLES
        if self._heard and self._since is None:
            self._since = self._silent = 0
        self._heard = False
        if self._since is None:
            return
        self._since += 1
        self._silent = self._silent + 1 if probability < RELEASE else 0
        # The end of the word itself must not be taken for what follows it.
        if self._silent >= SOUND_GAP:
            self._spotted(self._position)
        elif self._since >= SOUND_GOES_ON:
            self._spotted(self._position - self._since * STEP_SAMPLES - SOUND_LATE)

    def skip(self) -> None:
        """See `Spotter`."""
        self._position += STEP_SAMPLES
        self.forget()

    def forget(self) -> None:
        """See `Spotter`."""
        self._heard, self._since = False, None

    def close(self) -> None:
        """See `Spotter`."""
        self._closed = True
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _spotted(self, cut: int) -> None:
        self._since = None
        self._found(Spotted(cut))

    def _open(self, host: Host, words: WakeWords) -> None:
        """On a worker thread: it reads files."""
        try:
            call_soon(host.loop, self._opened, words.open())
        except Exception as error:
            call_soon(host.loop, self._fail, error)

    def _opened(self, listener: WakeWordListener) -> None:
        if self._closed:
            listener.close()
        else:
            self._listener = listener


def _voice_until(levels: list[float], text: str, end: int) -> int:
    """After how many steps of a stretch the words up to a place in its text have been said."""
    if not levels:
        return 0
    edge = max(levels) - EDGE_DB
    voiced = [index for index, level in enumerate(levels) if level >= edge]
    first, last = voiced[0], voiced[-1] + 1
    return first + word_end(levels[first:last], _weight(text[:end]) / max(1, _weight(text)))


def _weight(text: str) -> int:
    """How long a text takes to say, in no particular unit: vowels take longer."""
    return sum(2 if letter in VOWELS else 1 for letter in text.lower() if letter.isalnum())
