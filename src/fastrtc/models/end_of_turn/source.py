"""Judgements of whether callers have finished: one thread for all calls, or a user's model.

Judging costs some 60 ms for the sound and as much for the words, so it is done when it is asked
for, and never on the event loop.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fastrtc import metrics
from fastrtc.audio.convert import FULL_SCALE, audio_to_float32, audio_to_int16
from fastrtc.models.end_of_turn.features import MelHistory
from fastrtc.models.end_of_turn.protocol import EndOfTurnModel
from fastrtc.models.end_of_turn.smart_turn import (
    SMART_TURN,
    shared_smart_turn,
    smart_turn_missing,
)
from fastrtc.models.stt.moonshine import moonshine_available, shared_moonshine
from fastrtc.models.stt.moonshine_weights import TINY
from fastrtc.models.vad.silero import RATE
from fastrtc.models.weights import WeightsError
from fastrtc.threads import call_soon

logger = logging.getLogger(__name__)

SOUND_SECONDS: Final = 8.0
"""What Smart Turn hears."""
WORDS_SECONDS: Final = 4.0
"""What is read for words: the last ones count, and every second costs 28 ms."""
MODEL_SECONDS: Final = 30.0
"""What a model of the user's own is given at most."""
IN_TIME: Final = 0.1
"""Seconds from question to answer that nobody notices: a turn lasts as long anyway."""
LEARNS: Final = 0.2
"""Weight of the newest answer in the mean of what they take."""
TYPICAL_SECONDS: Final = 0.12
"""What a judgement takes on one core; what it takes in virtual time."""

Deliver = Callable[[int, "float | None", "str | None"], None]
"""Takes a ticket, the probability that the caller has finished, and the words; on the loop."""
Fail = Callable[[Exception], None]


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        ticket: comes back with the answer.
        start: the sample at 16 kHz with which the turn begins.
        sound: whether the sound of it is to be judged.
        words: whether its words are to be read.
    """

    ticket: int
    start: int
    sound: bool = True
    words: bool = True


class EndpointStream(Protocol):
    """The judgements of one caller. All methods belong to the event loop."""

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Take mono samples at 16 kHz, shape ``(n,)``."""

    def ask(self, question: Question) -> None:
        """Have what was heard until now judged. A question that still waits is dropped for it."""

    def forget(self) -> None:
        """Drop a question that still waits: its answer would say nothing any more."""

    def close(self) -> None:
        """Deliver nothing more."""


class EndpointSource(Protocol):
    """What opens an `EndpointStream`."""

    @property
    def available(self) -> bool:
        """Whether there is any model to ask."""

    @property
    def reason(self) -> str:
        """Why the sound of a turn is not judged; empty where it is, or nothing is to be."""

    @property
    def reads_words(self) -> bool:
        """Whether the answers have words in them."""

    def fetch(self) -> None:
        """See that the models are on this machine, as far as they can be had. It may take long."""

    def prepare(self) -> None:
        """Load what is slow to load, off the event loop, before the first caller needs it."""

    def open(self, deliver: Deliver, fail: Fail) -> EndpointStream:
        """Begin with a caller."""


EMPTY: Final[NDArray[np.float32]] = np.zeros(0, np.float32)


class Ring:
    """The last seconds of a stream, by the sample numbers of the whole stream. Any thread.

    Kept as int16: every call has one.
    """

    def __init__(self, seconds: float) -> None:
        self._kept = np.zeros(round(seconds * RATE), np.int16)
        self._lock = threading.Lock()
        self.end = 0

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples, shape ``(n,)``."""
        size = len(self._kept)
        # Not by audio_to_int16, which takes ten times as long for what cannot come here.
        newest = np.clip(samples[-size:] * FULL_SCALE, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        with self._lock:
            at = (self.end + len(samples) - len(newest)) % size
            first = newest[: size - at]
            self._kept[at : at + len(first)] = first
            self._kept[: len(newest) - len(first)] = newest[len(first) :]
            self.end += len(samples)

    def last(self, since: int) -> tuple[int, NDArray[np.float32]]:
        """What is kept from a sample number on, and the number that it really begins with."""
        size = len(self._kept)
        with self._lock:
            since = min(self.end, max(since, self.end - size, 0))
            first, behind = since % size, self.end % size
            if since == self.end:
                return since, EMPTY
            parts = [self._kept[first:behind]]
            if first >= behind:
                parts = [self._kept[first:], self._kept[:behind]]
            kept = np.concatenate(parts)
        return since, audio_to_float32(kept)


class Listener:
    """Answers the questions of one caller, on whatever thread asks it to."""

    def __init__(self, *, sound: bool, words: bool) -> None:
        self.ring = Ring(SOUND_SECONDS)
        self._sound = sound
        self._words = words
        self._mel = MelHistory()
        self._mel_start = 0
        self._mel_end = 0

    def answer(
        self, question: Question, hurry: Callable[[], bool] = lambda: False
    ) -> tuple[float | None, str | None]:
        """Judge what was heard until now.

        ``hurry``: whether the words may be left out, for the sake of others; asked once the sound
        has been judged.
        """
        probability = self._judge(question.start) if self._sound and question.sound else None
        words = None
        if self._words and question.words and (probability is None or not hurry()):
            try:
                words = self._read(question.start)
            except Exception:
                # What it sounds like is worth as much.
                logger.exception("The words of a turn could not be read")
        return probability, words

    def _judge(self, start: int) -> float:
        begins, fresh = self.ring.last(self._mel_end)
        if begins > self._mel_end:
            # Nobody has asked for longer than is kept.
            self._mel, self._mel_start = MelHistory(), begins
        self._mel.feed(fresh)
        self._mel_end = begins + len(fresh)
        features = self._mel.features(start=max(0, start - self._mel_start))
        return shared_smart_turn().probability(features)

    def _read(self, start: int) -> str:
        _, samples = self.ring.last(max(start, self.ring.end - round(WORDS_SECONDS * RATE)))
        return shared_moonshine().transcribe(samples)


class _Stream:
    """A caller of an `EndpointWorker`."""

    def __init__(
        self, worker: EndpointWorker, listener: Listener, deliver: Deliver, fail: Fail
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.listener = listener
        self.question: Question | None = None
        """What waits."""
        self.asked: Question | None = None
        """What is being answered, unless it has been forgotten."""
        self.asked_at = 0.0
        """When what waits was asked, on the monotonic clock."""
        self._worker = worker
        self._deliver: Deliver | None = deliver
        self._fail: Fail | None = fail

    def feed(self, samples: NDArray[np.float32]) -> None:
        self.listener.ring.feed(samples)

    def ask(self, question: Question) -> None:
        self._worker.submit(self, question)

    def forget(self) -> None:
        self.question = self.asked = None

    def close(self) -> None:
        self._deliver = self._fail = None
        self.forget()

    def answered(self, ticket: int, probability: float | None, words: str | None) -> None:
        """On the event loop."""
        if self._deliver is not None:
            self._deliver(ticket, probability, words)

    def failed(self, error: Exception) -> None:
        """On the event loop."""
        if self._fail is not None:
            self._fail(error)


WARMED_WITHIN: Final = 10.0
"""Seconds that a process which ends waits for models that are being loaded."""


class EndpointWorker:
    """The thread that judges for all calls, first come, first served.

    Words are left unread where that would make the next caller's answer late.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Stream] = deque()
        self._wake = threading.Condition()
        self._sound_takes = self._words_take = 0.0
        self._thread: threading.Thread | None = None
        self._warmed = threading.Event()
        """The models are loaded."""

    @cached_property
    def available(self) -> bool:
        """See `EndpointSource`: words alone are much better than nothing."""
        return not self.reason or self.reads_words

    @cached_property
    def reason(self) -> str:
        """See `EndpointSource`."""
        return smart_turn_missing()

    @cached_property
    def reads_words(self) -> bool:
        """See `EndpointSource`."""
        return moonshine_available()

    def fetch(self) -> None:
        """See `EndpointSource`."""
        for model in ((SMART_TURN,), TINY):
            try:
                for weights in model:
                    if not weights.find():
                        weights.fetch()
            except WeightsError:
                # The log says what is missing where it matters, with how to get it.
                logger.debug("A model of turn-taking cannot be had", exc_info=True)

    def prepare(self) -> None:
        """See `EndpointSource`."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._run, name="fastrtc-endpointing", daemon=True
            )
            self._warmed.clear()
            self._thread.start()
            # A process that ends while a network is being loaded is aborted: the library's own
            # threads cannot be unwound.
            atexit.register(self._warmed.wait, WARMED_WITHIN)

    def open(self, deliver: Deliver, fail: Fail) -> EndpointStream:
        """See `EndpointSource`."""
        self.prepare()
        listener = Listener(sound=not self.reason, words=self.reads_words)
        return _Stream(self, listener, deliver, fail)

    def submit(self, stream: _Stream, question: Question) -> None:
        """Queue a question."""
        with self._wake:
            if stream not in self._waiting:
                self._waiting.append(stream)
            stream.asked_at = time.monotonic()
            stream.question = question
            self._wake.notify()

    def _run(self) -> None:
        try:
            _warm_up(Listener(sound=not self.reason, words=self.reads_words))
        finally:
            self._warmed.set()
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting)
                stream = self._waiting.popleft()
                question = stream.asked = stream.question
                stream.question = None
            # A caller who has hung up meanwhile asks nothing.
            if question is not None:
                metrics.model_queue.note(time.monotonic() - stream.asked_at, "endpointing")
                self._answer(stream, question)
            del stream

    def _answer(self, stream: _Stream, question: Question) -> None:
        began = time.monotonic()
        judged = began

        def hurry() -> bool:
            nonlocal judged
            judged = time.monotonic()
            self._sound_takes += LEARNS * (judged - began - self._sound_takes)
            return stream.asked is not question or self._would_be_late(judged)

        try:
            answer = stream.listener.answer(question, hurry)
            if answer[1] is not None and judged > began:
                self._words_take += LEARNS * (time.monotonic() - judged - self._words_take)
        except Exception as error:
            call_soon(stream.loop, stream.failed, error)
        else:
            call_soon(stream.loop, stream.answered, question.ticket, *answer)

    def _would_be_late(self, now: float) -> bool:
        """Whether somebody who waits is answered too late if words are read first.

        With the sound alone callers are cut in upon more often. That is better than to answer all
        of them late, which is what a queue does once the work is more than a core can do.
        """
        with self._wake:
            asked = [stream.asked_at for stream in self._waiting if stream.question is not None]
        end = now + self._words_take
        return any(
            end + place * self._sound_takes > at + IN_TIME for place, at in enumerate(asked, 1)
        )


def _warm_up(listener: Listener) -> None:
    """Load, and run once: the first run is slow. An error comes again with the first question."""
    try:
        listener.ring.feed(np.zeros(RATE, np.float32))
        listener.answer(Question(0, 0))
    except Exception:
        logger.exception("The models of turn-taking could not be loaded")


class NoEndpoint:
    """Nobody to ask: silence alone ends a turn."""

    available = reads_words = False
    reason = ""

    def fetch(self) -> None:
        """See `EndpointSource`."""

    def prepare(self) -> None:
        """See `EndpointSource`."""

    def open(self, deliver: Deliver, fail: Fail) -> EndpointStream:
        """See `EndpointSource`."""
        raise NotImplementedError("there is no model to ask: look at `available` first")


class InlineEndpoint:
    """The same in virtual time: it answers after the time that an answer takes."""

    def __init__(self, seconds: float = TYPICAL_SECONDS) -> None:
        self.seconds = seconds
        self.reason = smart_turn_missing()
        self.reads_words = moonshine_available()
        self.available = not self.reason or self.reads_words

    def fetch(self) -> None:
        """See `EndpointSource`: a test takes what there is."""

    def prepare(self) -> None:
        """See `EndpointSource`: it is loaded when it is asked."""

    def open(self, deliver: Deliver, fail: Fail) -> EndpointStream:
        """See `EndpointSource`."""
        return _InlineStream(self, deliver, fail)


class _InlineStream:
    def __init__(self, source: InlineEndpoint, deliver: Deliver, fail: Fail) -> None:
        self._fail = fail
        self._seconds = source.seconds
        self._listener = Listener(sound=not source.reason, words=source.reads_words)
        self._deliver: Deliver | None = deliver

    def feed(self, samples: NDArray[np.float32]) -> None:
        self._listener.ring.feed(samples)

    def ask(self, question: Question) -> None:
        try:
            probability, words = self._listener.answer(question)
        except Exception as error:
            self._fail(error)
            return
        loop = asyncio.get_running_loop()
        loop.call_later(self._seconds, self._answered, question.ticket, probability, words)

    def forget(self) -> None:
        """The answer is on its way."""

    def close(self) -> None:
        self._deliver = None

    def _answered(self, ticket: int, probability: float | None, words: str | None) -> None:
        if self._deliver is not None:
            self._deliver(ticket, probability, words)


Run = Callable[[Callable[[], float], Callable[[float], None], Fail], None]
"""Runs a function off the loop; then calls, on the loop, one of the two others."""


class CustomEndpoint:
    """Asks an `EndOfTurnModel` of the user's own."""

    available, reason = True, ""
    reads_words = False

    def __init__(self, model: EndOfTurnModel, run: Run) -> None:
        self.model = model
        self.run = run

    def fetch(self) -> None:
        """See `EndpointSource`."""

    def prepare(self) -> None:
        """See `EndpointSource`: it is warmed up when the stream is made."""

    def open(self, deliver: Deliver, fail: Fail) -> EndpointStream:
        """See `EndpointSource`."""
        return _CustomStream(self, deliver, fail)


class _CustomStream:
    def __init__(self, source: CustomEndpoint, deliver: Deliver, fail: Fail) -> None:
        self._source = source
        self._deliver: Deliver | None = deliver
        self._fail = fail
        self._ring = Ring(MODEL_SECONDS)
        self._busy = False
        self._next: Question | None = None

    def feed(self, samples: NDArray[np.float32]) -> None:
        self._ring.feed(samples)

    def ask(self, question: Question) -> None:
        self._next = question
        if not self._busy:
            self._ask()

    def forget(self) -> None:
        self._next = None

    def close(self) -> None:
        self._deliver = self._next = None

    def _ask(self) -> None:
        question, self._next = self._next, None
        if question is None or not question.sound:
            return
        self._busy = True
        _, samples = self._ring.last(question.start)
        model = self._source.model

        def judge() -> float:
            probability = float(model.end_of_turn((RATE, audio_to_int16(samples)[None])))
            if not 0 <= probability <= 1:
                raise ValueError(f"expected a probability in [0, 1], got {probability}")
            return probability

        def answered(probability: float) -> None:
            self._busy = False
            if self._deliver is not None:
                self._deliver(question.ticket, probability, None)
            self._ask()

        def failed(error: Exception) -> None:
            self._busy = False
            if self._deliver is not None:
                self._fail(error)
            self._ask()

        self._source.run(judge, answered, failed)
