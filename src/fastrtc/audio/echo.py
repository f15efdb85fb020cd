"""Is what the microphone hears our own reply, come back from the caller's loudspeaker?

Only two tracks of levels are looked at, the caller's and ours, one value per 32 ms each. An echo
is our track again: later by up to half a second, quieter or louder by a constant (the coupling),
and drawn out by the room. A caller who talks has a track of their own.

1. Nothing is known at first, and then nothing is called an echo.
2. For each delay that an echo may have, the evidence is how much better our track tells the
   changes of the caller's level than not looking at it would. Enough of it gives delay and
   coupling.
3. From then on the echo is foretold, and what is louder than that by a margin is the caller.
4. Where the foretold echo does not come, the caller has put on a headset: all is forgotten.
"""

from __future__ import annotations

from math import isfinite, log10
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import FULL_SCALE, Pcm

STEP_SECONDS: Final = 0.032
"""The sound of one step: the window of the voice detection that asks."""
FLOOR: Final = -100.0
"""dBFS of digital silence; 16 bits end at about -98."""
DELAYS: Final = 33
"""Delays that are tried, half a step apart: 0 to 0.512 s. Whole steps would blur a delay that lies
between two of them."""
QUIET: Final = -55.0
"""dBFS. What we play under this is no sound whose echo a voice detection takes for speech."""
REVERB: Final = 5.0
"""dB by which an echo dies away per step: a room of 0.4 s (RT60), as offices and living rooms."""
TAIL: Final = 6
"""Steps (0.2 s, 30 dB of reverberation) for which an echo may last after its delay."""
SETTLED: Final = 40
"""Steps (1.3 s) of our silence after which nothing is left of what we played: full scale has died
away by `REVERB`, and all delays are over."""
MEMORY: Final = 45.0
"""Steps of our sound (1.4 s) that the evidence goes back."""
WHITENING: Final = 0.5
"""Share of the level before that is taken off each level. Levels of speech move slowly, so that
neighbours say the same thing twice; unwhitened, two people who talk look like an echo too often."""
NOISE: Final = 2.0
"""dB. Agreement closer than this is no better evidence: levels are no finer than that."""
SLOPES: Final = (0.5, 1.2)
"""dB of echo per dB of ours. 1 in a clear line; less where noise fills the valleys."""
ENOUGH: Final = 5.0
"""Evidence, a log-likelihood ratio, from which it is an echo. 4 to 7 were tried: lower, and
a caller who begins to talk together with us may be taken for one; higher, and it takes longer."""
LEAST_LOUD: Final = 6.0
"""Loud steps of ours, with memory, from which a coupling is read."""
LOUD: Final = 15.0
"""Steps of ours within this many dB of our peaks are loud: their echo stands out of noise."""
SPREAD: Final = 7.0
"""dB of standard deviation. A coupling that varies more is none."""
FALL: Final = 0.02
"""dB by which a coupling is lowered at a time (0.3 dB/s); it is raised at once. Vowels and hisses
come back at different strength, and the loudest must not pass for a caller."""
FADE: Final = 0.02
"""dB per step (0.6 dB/s) by which our peaks are forgotten."""
MARGIN: Final = 6.0
"""dB over the foretold echo from which it is the caller."""
LIMIT: Final = 12.0
"""dB over or under at which one step stops to count for more."""
ABSENT: Final = 10.0
"""dB under the foretold echo at which there is none."""
ABSENT_STEPS: Final = 10
"""Loud steps (0.32 s) without an echo after which it is forgotten."""

Levels: TypeAlias = NDArray[np.float64]
Powers: TypeAlias = tuple[float, ...]


def level_dbfs(pcm: Pcm) -> float:
    """RMS level of int16 samples of any shape, in dB of full scale; `FLOOR` at the least."""
    if not pcm.size:
        return FLOOR
    samples = pcm.astype(np.float32).ravel()
    power = float(np.dot(samples, samples)) / samples.size / FULL_SCALE**2
    return max(FLOOR, 10 * log10(power)) if power > 0 else FLOOR


class EchoGuard:
    """Told of both levels every 32 ms, says whether the caller's sound is only our echo.

    One object serves one call: what it has learned holds for the replies that follow.
    """

    def __init__(self) -> None:
        self.coupling: float | None = None
        """dB from the level played to the level of its echo; None while there is no echo."""
        self.delay = 0.0
        """Seconds from playing to hearing, where there is a coupling."""
        self._lag = 0
        self._pairs = _Pairs()
        self._looks = False
        self._echo = np.full(DELAYS + 2, FLOOR)
        self._changed_before: list[float] = []
        self._silent = DELAYS + TAIL
        self._noise = 0.0
        self._peak = FLOOR
        self._played_before = FLOOR
        self._excess: float | None = None
        self._absent = 0

    def step(self, heard: float, playing: float) -> bool:
        """Take the next 32 ms.

        Args:
            heard: level of what came from the caller, dBFS RMS.
            playing: level of what went out to the caller in the same 32 ms, dBFS RMS; `FLOOR`
                where nothing did.

        Returns:
            True if the caller's sound is explained by our own echo. False if it is not, if it
            is not known, and always when we have been silent for over 0.7 s.
        """
        heard, playing = _level(heard), _level(playing)
        self._silent = 0 if playing > QUIET else self._silent + 1
        self._peak = max(self._peak - FADE, playing)
        # Falls at once and rises by 1 dB/s: the quietest that the microphone has been lately.
        self._noise = min(self._noise + STEP_SECONDS, heard)
        theirs = max(heard, self._noise + 3, -85.0)
        if self._silent > SETTLED:
            # Nothing of ours is under way any more, and the most of a call is like this.
            self._changed_before = [QUIET, QUIET, theirs]
            return False
        change = self._play(playing, theirs)
        if self._silent > DELAYS // 2 + TAIL:
            self._excess = None
            return False
        self._pairs.add(change, heard)
        # At every second step, for it costs the most.
        self._looks = not self._looks
        if self._looks:
            self._learn()
        return self.coupling is not None and self._explains(heard, self.coupling)

    def _play(self, playing: float, heard: float) -> float:
        """Note what we play, as its echo would be; the caller's change of level."""
        now = max(playing, float(self._echo[0]) - REVERB)
        between = _mean(now, float(self._echo[0]))
        self._echo[2:] = self._echo[:-2].copy()
        self._echo[:2] = now, between
        levels = [max(now, QUIET), max(between, QUIET), heard]
        before = self._changed_before or levels
        ours, half, theirs = (a - WHITENING * b for a, b in zip(levels, before, strict=True))
        self._changed_before = levels
        weight = float(self._silent <= TAIL)
        # Not what dies away: rooms differ in that, and it would pass for another coupling.
        loud = float(min(playing, self._played_before) > max(QUIET, self._peak - LOUD))
        self._played_before = playing
        self._pairs.play(
            (*_powers(weight, ours), *_powers(loud, now)),
            (*_powers(weight, half), *_powers(loud, between)),
        )
        return theirs

    def _learn(self) -> None:
        evidence = self._pairs.evidence()
        lag = int(evidence.argmax())
        if evidence[lag] < ENOUGH:
            return
        weight, coupling, spread = self._pairs.coupling(lag)
        if weight < LEAST_LOUD or spread > SPREAD:
            return
        lowered = coupling if self.coupling is None else self.coupling - FALL
        self.coupling = max(coupling, lowered)
        self._lag = lag
        self.delay = lag * STEP_SECONDS / 2

    def _explains(self, heard: float, coupling: float) -> bool:
        # The networks' delay moves by a frame or two.
        near: list[float] = self._echo[max(0, self._lag - 2) : self._lag + 3].tolist()
        excess = heard - max(near) - coupling
        excess = min(LIMIT, max(-LIMIT, excess))
        if min(near) > self._peak - LOUD:
            self._absent = self._absent + 1 if excess < -ABSENT else max(0, self._absent - 2)
            if self._absent >= ABSENT_STEPS:
                self._forget()
                return False
        # Over two steps: single ones stray.
        before = excess if self._excess is None else self._excess
        self._excess = excess
        return before + excess <= 2 * MARGIN

    def _forget(self) -> None:
        self.coupling = None
        self._absent = 0
        self._excess = None
        self._pairs.forget()


class _Pairs:
    """Weighted moments of pairs, a value of ours and one of the caller's, for each delay.

    There are two kinds of values: changes, which tell whether there is an echo, and levels, which
    tell how loud it is. What we play waits for as long as the delay, and is then paired with what
    is heard. Kept as sums, so that a step costs the same however far the memory goes back.
    """

    _OURS = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 4, 5])
    """Which row of what was played each sum takes; the caller's powers are 0 1 2 0 1 0, twice."""
    _WEIGHT = np.array([0] * 6 + [3] * 6)
    """Which row weighs it."""

    def __init__(self) -> None:
        self._played = np.zeros((6, DELAYS))
        """Change, then level: weight, weight times value, weight times square; newest first."""
        self._heard = np.ones((12, 1))
        self._sums = np.zeros((12, DELAYS))

    def play(self, now: Powers, between: Powers) -> None:
        """The powers of change and level, as played now and half a step before."""
        self._played[:, 2:] = self._played[:, :-2].copy()
        self._played[:, 0] = now
        self._played[:, 1] = between

    def add(self, change: float, level: float) -> None:
        """Pair the caller's change and level with all that waits.

        Only what we play lets time pass: nothing is forgotten while we are silent.
        """
        a, b = change, level
        self._heard[:, 0] = 1.0, a, a * a, 1.0, a, 1.0, 1.0, b, b * b, 1.0, b, 1.0
        self._sums *= 1.0 - self._played.take(self._WEIGHT, axis=0) / MEMORY
        self._sums += self._heard * self._played.take(self._OURS, axis=0)

    def evidence(self) -> Levels:
        """Log-likelihood ratio of each delay: our changes tell the caller's, or nothing does."""
        weight, heard, heard2, ours, both, ours2 = self._sums[:6]
        n = np.maximum(weight, 1e-9)
        of_heard = np.maximum(heard2 - heard * heard / n, 0)
        of_ours = np.maximum(ours2 - ours * ours / n, 1e-9)
        of_both = both - heard * ours / n
        slope = np.minimum(np.maximum(of_both / of_ours, SLOPES[0]), SLOPES[1])
        left = np.maximum(of_heard + slope * (slope * of_ours - 2 * of_both), 0)
        noise = n * NOISE**2
        ratio: Levels = n / 2 * np.log((of_heard + noise) / (left + noise))
        return ratio

    def coupling(self, lag: int) -> tuple[float, float, float]:
        """Weight, mean and standard deviation of the caller's level over ours at a delay."""
        weight, heard, heard2, ours, both, ours2 = self._sums[6:, lag].tolist()
        if weight <= 0:
            return 0.0, 0.0, 0.0
        mean = (heard - ours) / weight
        variance = (heard2 - 2 * both + ours2) / weight - mean * mean
        return weight, mean, max(0.0, variance) ** 0.5

    def forget(self) -> None:
        self._sums[:] = 0


def _powers(weight: float, value: float) -> Powers:
    return weight, weight * value, weight * value * value


def _level(value: float) -> float:
    """A level that can be reckoned with; no number is silence."""
    return min(0.0, max(FLOOR, float(value))) if isfinite(value) else FLOOR


def _mean(a: float, b: float) -> float:
    """The level of two stretches of the same length together."""
    return 10 * log10((10 ** (a / 10) + 10 ** (b / 10)) / 2)
