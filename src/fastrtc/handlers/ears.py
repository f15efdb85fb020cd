"""What a conversation hears with: from frames of sound to one step of evidence per 32 ms."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isfinite, log10
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.canceller import EchoCanceller
from fastrtc.audio.convert import Pcm, with_channels
from fastrtc.audio.echo import FLOOR, EchoGuard, level_dbfs
from fastrtc.audio.playout import FRAMES_PER_SECOND
from fastrtc.audio.resample import StreamResampler
from fastrtc.models.vad.batcher import VadSource
from fastrtc.models.vad.feed import VadFeed
from fastrtc.models.vad.silero import RATE, WINDOW

NEWEST: Final = RATE // 50
"""Samples whose loudness tells first that a voice has fallen away: 20 ms."""


@dataclass(frozen=True)
class Loudness:
    """How loud a step of 32 ms was, in dBFS.

    Attributes:
        caller: the caller's sound.
        newest: the last 20 ms of it.
        playing: what was played to the caller meanwhile.
    """

    caller: float = FLOOR
    newest: float = FLOOR
    playing: float = FLOOR


class Listener(Protocol):
    """Whoever hears the same as voice detection does."""

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Take mono samples at 16 kHz, shape ``(n,)``."""

    def close(self) -> None:
        """Nothing more comes."""


UNANSWERED: Final = 1_000
"""Steps (32 s) that a voice detector may be behind."""
Hear = Callable[[float, Loudness], None]
"""Takes a step: the probability that it is the caller's voice, and how loud it was."""


class Ears:
    """Takes the caller's frames and what was played to them meanwhile; gives out steps.

    Where the caller's sound is only our own, come back from a loudspeaker, its probability of
    being voice is 0.
    """

    def __init__(
        self,
        rate: int,
        vad: VadSource,
        listeners: Iterable[Listener],
        hear: Hear,
        fail: Callable[[Exception], None],
        canceller: EchoCanceller | None = None,
    ) -> None:
        """Set up.

        Args:
            rate: of the caller's frames, in Hz.
            vad: what tells voice from silence.
            listeners: what judges and reads what is said.
            hear: takes the steps.
            fail: takes the errors of voice detection.
            canceller: takes our own sound out of the caller's; mono callers only.
        """
        self._rate = rate
        self._feed = VadFeed(rate)
        self._listeners = list(listeners)
        self._hear = hear
        self._canceller = canceller
        self._to_rate: StreamResampler | None = None
        self._reference: list[Pcm] = []
        self._guard = EchoGuard()
        self._played: list[float] = []
        """How loud was what was played since the last step, frame by frame."""
        self._rest: NDArray[np.float32] = np.zeros(0, np.float32)
        self._unanswered: deque[Loudness] = deque(maxlen=UNANSWERED)
        """Of the steps that voice detection has not answered yet."""
        self._vad = vad.open(self._step, fail)

    def add(self, listener: Listener) -> None:
        """Let somebody else hear the same, from the beginning of the call."""
        self._listeners.append(listener)

    def hear(self, pcm: Pcm) -> Pcm:
        """Take a frame of shape ``(channels, n)``. Gives it back, without echo if it can."""
        if self._canceller is not None:
            nothing = np.zeros((1, 0), np.int16)
            reference = np.concatenate([nothing, *self._reference], axis=1)
            self._reference = []
            pcm = self._canceller.process(pcm, reference)
        samples = self._feed.add(pcm)
        if len(samples):
            self._measure(samples)
            for listener in self._listeners:
                listener.feed(samples)
            self._vad.feed(samples)
        return pcm

    def played(self, frame: Pcm | None, rate: int) -> None:
        """Take the 20 ms that have just gone out to the caller; None is silence."""
        self._played = self._played[-9:]
        self._played.append(FLOOR if frame is None else level_dbfs(frame))
        if self._canceller is not None:
            if frame is None:
                frame = np.zeros((1, rate // FRAMES_PER_SECOND), np.int16)
            if self._to_rate is None:
                self._to_rate = StreamResampler(rate, self._rate)
            self._reference = self._reference[-24:]
            self._reference.append(self._to_rate.process(with_channels(frame, 1)))

    def close(self) -> None:
        """Hear nothing more."""
        self._vad.close()
        for listener in self._listeners:
            listener.close()

    def _measure(self, samples: NDArray[np.float32]) -> None:
        self._rest = np.concatenate([self._rest, samples])
        while len(self._rest) >= WINDOW:
            step, self._rest = self._rest[:WINDOW], self._rest[WINDOW:]
            played = max(self._played, default=FLOOR)
            self._played = self._played[-1:]
            self._unanswered.append(
                Loudness(
                    decibels(float(np.dot(step, step)) / WINDOW),
                    decibels(float(np.dot(step[-NEWEST:], step[-NEWEST:])) / NEWEST),
                    played,
                )
            )

    def _step(self, probability: float) -> None:
        loudness = self._unanswered.popleft() if self._unanswered else Loudness()
        echo = self._guard.step(loudness.caller, loudness.playing)
        if echo or not isfinite(probability):
            probability = 0.0
        self._hear(probability, loudness)


def decibels(mean_square: float) -> float:
    """DBFS of a mean square, at least `FLOOR`."""
    return max(FLOOR, 10 * log10(mean_square + 1e-12))
