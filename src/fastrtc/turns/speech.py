"""From probabilities to evidence: is this voice, is it surely speech, has it stopped?

A judge is told of each 32 ms step and answers with a `Signal`. `SilenceJudge` counts silence;
`WindowJudge` weighs a sliding window, as `AlgoOptions` describe it.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from math import ceil
from typing import Protocol

from fastrtc.turns.options import STEP_SECONDS, AlgoOptions, TurnPolicy


class Signal(Enum):
    """What the newest step of sound says, together with those before it."""

    VOICE = auto()
    """Voice, but too little of it to be called speech."""
    SPEECH = auto()
    """Voice, and enough of it: the caller talks."""
    QUIET = auto()
    """No voice, but not for long."""
    PAUSE = auto()
    """No voice, for long enough to end a turn."""


class Judge(Protocol):
    """Weighs the steps of one caller."""

    def weigh(self, probability: float) -> Signal:
        """Take the voice probability of the next step."""

    def reset(self) -> None:
        """A turn is over: what was said so far belongs to it."""


class Hysteresis:
    """Voice or not, without flicker between syllables."""

    def __init__(self, threshold: float, release: float) -> None:
        self.threshold = threshold
        self.release = release
        self.voiced = False

    def step(self, probability: float) -> bool:
        """Whether the step with this probability is voice; a NaN is not."""
        self.voiced = probability >= (self.release if self.voiced else self.threshold)
        return self.voiced


class SilenceJudge:
    """Speech is enough voice between two pauses; a pause is enough silence in a row."""

    def __init__(self, policy: TurnPolicy) -> None:
        self._hysteresis = Hysteresis(policy.threshold, policy.release)
        self._enough_voice = steps(policy.min_speech)
        self._enough_silence = steps(policy.end_silence)
        self._voice = 0
        self._silence = self._enough_silence

    def weigh(self, probability: float) -> Signal:
        """See `Judge`."""
        if self._hysteresis.step(probability):
            self._silence = 0
            self._voice += 1
            return Signal.SPEECH if self._voice >= self._enough_voice else Signal.VOICE
        self._silence += 1
        if self._silence < self._enough_silence:
            return Signal.QUIET
        self._voice = 0
        return Signal.PAUSE

    def reset(self) -> None:
        """See `Judge`."""
        self._voice = 0


class WindowJudge:
    """Speech and pause by the seconds of speech in the last seconds of sound.

    As in Silero's own segmentation, a run of voice shorter than ``min_speech`` is none, and a
    gap shorter than ``min_gap`` between two runs is none either.
    """

    def __init__(self, policy: TurnPolicy, options: AlgoOptions) -> None:
        self._hysteresis = Hysteresis(policy.threshold, policy.release)
        self._options = options
        self._min_speech = steps(policy.min_speech)
        self._min_gap = steps(policy.min_gap)
        self._window: deque[bool] = deque(maxlen=steps(options.audio_chunk_duration))
        self._talking = False

    def weigh(self, probability: float) -> Signal:
        """See `Judge`."""
        voiced = self._hysteresis.step(probability)
        self._window.append(voiced)
        return self.decide(self._seconds_of_speech(), voiced)

    def reset(self) -> None:
        """See `Judge`."""
        self._window.clear()
        self._talking = False

    def decide(self, speech: float, voiced: bool) -> Signal:
        """Judge a window that holds ``speech`` seconds of speech."""
        if not self._talking and speech > self._options.started_talking_threshold:
            self._talking = True
        elif self._talking and speech < self._options.speech_threshold:
            self._talking = False
            return Signal.PAUSE
        if voiced:
            return Signal.SPEECH if self._talking else Signal.VOICE
        return Signal.QUIET if self._talking or any(self._window) else Signal.PAUSE

    def _seconds_of_speech(self) -> float:
        runs: list[list[int]] = []
        for index, voiced in enumerate(self._window):
            if not voiced:
                continue
            if runs and index - runs[-1][1] <= self._min_gap:
                runs[-1][1] = index + 1
            else:
                runs.append([index, index + 1])
        # What the window's edge has cut short was longer than it looks.
        least = 1 if self._talking else self._min_speech
        return STEP_SECONDS * sum(b - a for a, b in runs if b - a >= least)


class ReportedJudge:
    """As `WindowJudge`, where the user's own model counts the seconds of speech."""

    def __init__(self, options: AlgoOptions) -> None:
        self._window = WindowJudge(TurnPolicy(), options)

    def weigh(self, probability: float) -> Signal:
        """Take the seconds of speech in the window, in the place of a probability."""
        return self._window.decide(probability, voiced=probability > 0)

    def reset(self) -> None:
        """See `Judge`."""
        self._window.reset()


class HeldJudge:
    """Another judge, whose pauses do not end a turn: something else will."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._talking = False

    def weigh(self, probability: float) -> Signal:
        """See `Judge`."""
        signal = self._judge.weigh(probability)
        self._talking = self._talking or signal is Signal.SPEECH
        return Signal.QUIET if self._talking and signal is Signal.PAUSE else signal

    def reset(self) -> None:
        """See `Judge`."""
        self._talking = False
        self._judge.reset()


def make_judge(policy: TurnPolicy) -> Judge:
    """The judge that a policy asks for."""
    if policy.window is not None:
        return WindowJudge(policy, policy.window)
    return SilenceJudge(policy)


def steps(seconds: float) -> int:
    """How many whole steps fill this many seconds, at least one."""
    return max(1, ceil(seconds / STEP_SECONDS - 1e-9))
