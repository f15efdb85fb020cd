"""Parts of calls whose every step a test can foretell, and what several tests ask of a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrtc import InterruptionPolicy, ReplyOnPause, Spoken, Stream
from fastrtc.models.end_of_turn.source import (
    Deliver,
    EndpointSource,
    EndpointStream,
    Fail,
    Question,
)
from fastrtc.models.vad.batcher import VadStream
from fastrtc.models.vad.silero import WINDOW
from fastrtc.session import Session
from fastrtc.testing import VirtualCall
from tests.conftest import Sound

Audio = tuple[int, NDArray[np.int16]]
STEP = 0.032
"""Seconds."""
RATE = 24_000
"""Hz of the replies here: that of the playout, so that samples can be compared."""


class LoudVad:
    """Voice detection for which what is loud is voice, whatever it is."""

    def prepare(self) -> None: ...

    def open(self, deliver: Callable[[float], None], fail: Fail) -> VadStream:
        return _LoudStream(deliver)


class _LoudStream:
    def __init__(self, deliver: Callable[[float], None]) -> None:
        self._deliver: Callable[[float], None] | None = deliver
        self._rest = np.zeros(0, np.float32)

    def feed(self, samples: NDArray[np.float32]) -> None:
        self._rest = np.concatenate([self._rest, samples])
        while len(self._rest) >= WINDOW and self._deliver is not None:
            window, self._rest = self._rest[:WINDOW], self._rest[WINDOW:]
            self._deliver(1.0 if float(np.abs(window).mean()) > 0.01 else 0.0)

    def close(self) -> None:
        self._deliver = None


class Advice:
    """An `EndpointSource` that says the same to every question, after 0.1 s.

    The words, if any, are those of short sounds over a reply; those of turns say nothing.
    """

    available, reason = True, ""

    def __init__(
        self, probability: float | None = None, words: str | None = None, seconds: float = 0.1
    ) -> None:
        self.probability = probability
        self.words = words
        self.seconds = seconds
        self.reads_words = words is not None
        self.questions: list[Question] = []
        self.opened = 0

    def fetch(self) -> None: ...

    def prepare(self) -> None: ...

    def open(self, deliver: Deliver, fail: Fail) -> EndpointStream:
        self.opened += 1
        return _AdviceStream(self, deliver)


class _AdviceStream:
    def __init__(self, advice: Advice, deliver: Deliver) -> None:
        self._advice = advice
        self._deliver: Deliver | None = deliver

    def feed(self, samples: NDArray[np.float32]) -> None: ...

    def forget(self) -> None: ...

    def ask(self, question: Question) -> None:
        self._advice.questions.append(question)
        loop = asyncio.get_running_loop()
        loop.call_later(self._advice.seconds, self._answer, question)

    def close(self) -> None:
        self._deliver = None

    def _answer(self, question: Question) -> None:
        advice = self._advice
        words = "That is all." if advice.reads_words and question.sound else advice.words
        if self._deliver is not None:
            self._deliver(question.ticket, advice.probability if question.sound else None, words)


class Line(VirtualCall):
    """A call in which what is loud is voice, and silence or a given source ends a turn."""

    def __init__(
        self,
        target: Stream | ReplyOnPause,
        *,
        endpoint: EndpointSource | None = None,
        inputs: list[Any] | None = None,
    ) -> None:
        super().__init__(target, rate=16_000, vad=LoudVad(), inputs=inputs)
        if endpoint is not None:
            self._runtime.endpoint = endpoint

    def __enter__(self) -> Line:
        super().__enter__()
        return self

    def kinds(self) -> list[str]:
        """What the turn machine said, in order."""
        return [decision.kind for decision in self.decisions]

    def at(self, kind: str) -> float:
        """When the turn machine first said it."""
        return next(decision.at for decision in self.decisions if decision.kind == kind)

    def heard_sound(self) -> NDArray[np.int16]:
        """All that was heard, without silence, and without the fades before a silence."""
        frame = RATE // 50
        frames = self.heard[1][0].reshape(-1, frame)
        return np.concatenate([f for f in frames if f[frame // 2 :].any()] or [frames[:0].ravel()])


class Watched(Stream):
    """A stream whose clients all want to see how turns are taken."""

    def admit(self, session_id: str, **options: Any) -> Session:
        return super().admit(session_id, **{**options, "watched": True})


class Hook:
    """A hook that notes what it is called with."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def __call__(self, value: Any) -> None:
        self.got.append(value)


def voice(seconds: float) -> Sound:
    """What `LoudVad` takes for a voice; 16 kHz."""
    noise = np.random.default_rng(7).integers(-6_000, 6_000, (1, round(seconds * 16_000)))
    return 16_000, noise.astype(np.int16)


def noise(seconds: float, seed: int = 1) -> Sound:
    """Sound in which no two places are alike, and no sample is 0."""
    size = (1, round(seconds * RATE))
    rng = np.random.default_rng(seed)
    return RATE, (rng.integers(500, 8_000, size) * rng.choice([-1, 1], size)).astype(np.int16)


def matches(heard: NDArray[np.int16], said: Sound, fades: int = 0) -> bool:
    """Whether it was heard from its first sample to its last, but for so many fades of 5 ms."""
    samples = said[1][0]
    if len(heard) != len(samples):
        return False
    return bool((heard != samples).sum() <= fades * RATE * 0.005)


class Talker:
    """Replies with the same sound in pieces of an odd length; notes what it was given."""

    def __init__(self, piece: int = 1_111) -> None:
        self.piece = piece
        self.said: list[Audio] = []

    def __call__(self, audio: Audio | None = None) -> Iterator[Any]:
        if audio is not None:
            self.said.append(audio)
        rate, samples = noise(4.0)
        for start in range(0, samples.shape[1], self.piece):
            yield rate, samples[:, start : start + self.piece]


def answered(call: VirtualCall) -> None:
    """Say something, and hear a second of the reply."""
    call.say(voice(0.5))
    # Not less: steady sounds that begin together look like an echo.
    call.wait(1.5)


TALK = InterruptionPolicy().min_speech + 0.1
"""Seconds of voice that end a reply."""
WORDS = [f"w{number:02d}" for number in range(50)]
"""What `tell` says, in 0.1 s each."""


def tell(audio: Audio | None = None) -> Iterator[Any]:
    """A reply of 5 s with its words."""
    yield Spoken(*noise(5.0), " ".join(WORDS))


def interrupted(call: Line, after: float = 1.5) -> float:
    """Say something, and interrupt a reply of 5 s; seconds of it that were heard."""
    call.say(voice(0.5))
    call.wait(after)
    call.say(voice(TALK))
    heard = call.heard_sound()
    assert matches(heard, (RATE, noise(5.0)[1][:, : len(heard)]))
    return len(heard) / RATE
