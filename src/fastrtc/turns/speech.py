"""From probabilities to evidence: is this voice, is it surely speech, has it stopped?

A judge is told of each 32 ms step and answers with a `Signal`. `SilenceJudge` counts silence;
`WindowJudge` weighs a sliding window, as `AlgoOptions` describe it.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from math import ceil, isfinite
from typing import Final, Protocol

from fastrtc.turns.options import STEP_SECONDS, AlgoOptions, TurnPolicy

LOUD: Final = 0.9
"""Probability that full voice reaches; a fall from there is the first sign of an end."""
NEARLY: Final = 0.99
"""Probability under which a step whose last sound has fallen away is such a sign too: between
words and inside them the probability stays above."""
FALL_DB: Final = 25.0
"""How far under the loudest sound of late a sound has fallen away."""
RECOVERY_DB: Final = 0.16
"""By how much a step lets the loudest sound of late be forgotten: 5 dB a second."""
FULL_STEPS: Final = 3
"""Steps of full voice, before another fall is news: a flicker asks the models only so often."""
LONGEST_FADE: Final = 2
"""Steps; what is still voice after that is speech again."""
FLOOR_DBFS: Final = -60.0
"""Under this a sound is none, however loud the one before it."""


class Signal(Enum):
    """What the newest step of sound says, together with those before it."""

    VOICE = auto()
    """Voice, but too little of it to be called speech."""
    SPEECH = auto()
    """Voice, and enough of it: the caller talks."""
    FADING = auto()
    """The same, but falling away: the caller may be about to stop."""
    QUIET = auto()
    """No voice, but not for long."""
    PAUSE = auto()
    """No voice, for long enough to end a turn."""


class Judge(Protocol):
    """Weighs the steps of one caller."""

    def weigh(self, probability: float, level: float | None = None) -> Signal:
        """Take the next step: its voice probability, and how loud its last sound is, in dBFS."""

    def wait(self, seconds: float) -> Signal:
        """Let a pause be so long from now on, until there is voice again; see what that makes
        of the newest step.
        """

    @property
    def silence(self) -> float:
        """Seconds without voice until now."""

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


class Fade:
    """Whether full voice falls away, before it is gone: by its probability, or its loudness."""

    def __init__(self) -> None:
        self._loudest = FLOOR_DBFS
        self._full = 0
        self._length = 0

    def step(self, probability: float, level: float | None) -> bool:
        """Take a step that is voice."""
        fallen = self._fallen(level)
        if probability >= LOUD and not (fallen and probability < NEARLY):
            self._full += 1
            self._length = 0
            return False
        self._length += 1
        if self._length > LONGEST_FADE:
            self._full = 0
        return self._full >= FULL_STEPS

    def over(self) -> None:
        """The voice has stopped."""
        self._full = 0

    def _fallen(self, level: float | None) -> bool:
        if level is None or not isfinite(level):
            return False
        self._loudest = max(FLOOR_DBFS, level, self._loudest - RECOVERY_DB)
        return level < self._loudest - FALL_DB


class SilenceJudge:
    """Speech is enough voice between two pauses; a pause is enough silence in a row."""

    def __init__(self, policy: TurnPolicy) -> None:
        self._hysteresis = Hysteresis(policy.threshold, policy.release)
        self._fade = Fade()
        self._enough_voice = steps(policy.min_speech)
        self._usual_silence = policy.end_silence
        self._enough_silence = self._usual_silence
        self._voice = 0
        self._silent = steps(self._usual_silence)

    def weigh(self, probability: float, level: float | None = None) -> Signal:
        """See `Judge`."""
        if not self._hysteresis.step(probability):
            self._fade.over()
            self._silent += 1
            return self._quiet()
        self._silent = 0
        self._voice += 1
        fading = self._fade.step(probability, level)
        if fading and self._voice >= self._enough_voice:
            return Signal.FADING
        self._enough_silence = self._usual_silence
        return Signal.SPEECH if self._voice >= self._enough_voice else Signal.VOICE

    def wait(self, seconds: float) -> Signal:
        """See `Judge`."""
        self._enough_silence = seconds
        return self._quiet() if self._silent else Signal.FADING

    @property
    def silence(self) -> float:
        """See `Judge`."""
        return self._silent * STEP_SECONDS

    def reset(self) -> None:
        """See `Judge`."""
        self._voice = 0

    def _quiet(self) -> Signal:
        if self._silent < steps(self._enough_silence):
            return Signal.QUIET
        self._voice = 0
        return Signal.PAUSE


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
        self._silent = 0

    def weigh(self, probability: float, level: float | None = None) -> Signal:
        """See `Judge`; the level says nothing to a window."""
        voiced = self._hysteresis.step(probability)
        self._window.append(voiced)
        return self.decide(self._seconds_of_speech(), voiced)

    def wait(self, seconds: float) -> Signal:
        """See `Judge`: what the user has set is not waited for."""
        return Signal.QUIET

    @property
    def silence(self) -> float:
        """See `Judge`."""
        return self._silent * STEP_SECONDS

    def reset(self) -> None:
        """See `Judge`."""
        self._window.clear()
        self._talking = False

    def decide(self, speech: float, voiced: bool) -> Signal:
        """Judge a window that holds ``speech`` seconds of speech."""
        self._silent = 0 if voiced else self._silent + 1
        if not self._talking and speech > self._options.started_talking_threshold:
            self._talking = True
        elif self._talking and speech < max(self._options.speech_threshold, STEP_SECONDS):
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

    def weigh(self, probability: float, level: float | None = None) -> Signal:
        """Take the seconds of speech in the window, in the place of a probability."""
        return self._window.decide(probability, voiced=probability > 0)

    def wait(self, seconds: float) -> Signal:
        """See `Judge`: the user's model decides."""
        return self._window.wait(seconds)

    @property
    def silence(self) -> float:
        """See `Judge`."""
        return self._window.silence

    def reset(self) -> None:
        """See `Judge`."""
        self._window.reset()


class HeldJudge:
    """Another judge, whose pauses do not end a turn: something else will."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._talking = False

    def weigh(self, probability: float, level: float | None = None) -> Signal:
        """See `Judge`."""
        signal = self._judge.weigh(probability, level)
        self._talking = self._talking or signal is Signal.SPEECH
        return Signal.QUIET if self._talking and signal is Signal.PAUSE else signal

    def wait(self, seconds: float) -> Signal:
        """See `Judge`: nothing is waited for."""
        return Signal.QUIET

    @property
    def silence(self) -> float:
        """See `Judge`."""
        return self._judge.silence

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
