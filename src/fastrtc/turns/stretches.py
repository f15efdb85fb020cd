"""Cuts what a caller says into stretches, each of which is read once for stop words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fastrtc.turns.options import STEP_SAMPLES, VAD_RATE

VOICE: Final = 0.5
"""Probability from which a step is voice."""
RELEASE: Final = 0.35
"""While there is voice, it lasts down to this probability."""
PAUSE: Final = 5
"""Steps (0.16 s) of silence that end a stretch. Shorter gaps are inside words."""
LEAST: Final = 3
"""Steps (0.1 s) of voice in a stretch; less is a click, and not read."""
LONGEST: Final = 190
"""Steps (6 s) after which a stretch is cut in its softest spot: who talks without a pause is not
waited for."""
SPOT: Final = 60
"""Steps at its end, among which that spot is looked for."""
LEAD: Final = round(0.3 * VAD_RATE)
"""Samples before the first voice that belong to it: soft onsets score low."""
REACH: Final = 10
"""Steps (0.3 s) by which the end of a word may be off the place that its letters suggest."""
DECIBELS_A_STEP: Final = 2.0
"""How much softer a spot must be to be a step further from that place."""


@dataclass(frozen=True)
class Stretch:
    """A stretch of speech, in samples at `VAD_RATE` since the call began.

    Attributes:
        start: its first sample, a little before the voice.
        end: its last sample + 1.
    """

    start: int
    end: int


class Stretches:
    """Finds the stretches of one caller. No sample is in two of them."""

    def __init__(self) -> None:
        self.position = 0
        """Samples heard so far."""
        self._free = 0
        """Sound before this was in a stretch already, or is not to be read."""
        self._run: list[float] = []
        """The probabilities of the stretch that lasts."""
        self._start = 0
        self._voiced = self._silent = 0
        """Steps of voice in it, and of silence at its end."""

    def hear(self, probability: float) -> Stretch | None:
        """Take the next `STEP_SAMPLES` samples; the stretch that ends with them, if one does.

        ``probability``: that they are voice.
        """
        self.position += STEP_SAMPLES
        voice = probability >= (RELEASE if self._run else VOICE)
        if not self._run:
            if not voice:
                return None
            self._start = max(self._free, self.position - STEP_SAMPLES - LEAD)
        self._run.append(probability)
        self._voiced += voice
        self._silent = 0 if voice else self._silent + 1
        if self._silent >= PAUSE:
            return self._end(len(self._run))
        if len(self._run) >= LONGEST:
            softest = min(range(LONGEST - SPOT, LONGEST), key=lambda n: self._run[n])
            return self._end(softest)
        return None

    def skip(self) -> None:
        """Let a step pass that is not to be read; a stretch that lasts is forgotten."""
        self.position += STEP_SAMPLES
        self.forget()

    def forget(self) -> None:
        """What was said until now is not to be read."""
        self._free = self.position
        self._run, self._voiced, self._silent = [], 0, 0

    def _end(self, steps: int) -> Stretch | None:
        """End the stretch after so many of its steps; the others begin the next one."""
        rest = self._run[steps:]
        end = self.position - len(rest) * STEP_SAMPLES
        spoken = self._voiced >= LEAST
        found = Stretch(self._start, end) if spoken else None
        self._free = self._start = end
        self._run, self._voiced, self._silent = rest, sum(p >= RELEASE for p in rest), 0
        return found


def word_end(levels: Sequence[float], share: float) -> int:
    """Where in a stretch a word ends: the softest step near where it should be.

    Args:
        levels: loudness of the steps from the first voice to the last, in dBFS.
        share: of the letters of all that is said in them, those up to the end of the word.

    Returns:
        The number of steps up to there.
    """
    guess = round(share * len(levels))
    near = range(max(0, guess - REACH), min(len(levels), guess + REACH + 1))
    if not near:
        return len(levels)
    return min(near, key=lambda n: levels[n] + DECIBELS_A_STEP * abs(n - guess)) + 1
