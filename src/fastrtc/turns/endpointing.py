"""Has the caller finished? From evidence to the silence that it takes to be sure.

A silence timer alone must choose between slow and rude. So how long a silence has to last depends
on what came before it: how it sounded, what the words were, how much was said, and how long this
caller usually pauses.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import exp, log
from typing import Final

from fastrtc.turns.options import EndpointPolicy
from fastrtc.turns.words import end_hint

BIAS: Final = 0.7
SOUND_WEIGHT: Final = 0.3
"""Of a logistic regression on 500 made and human turns, finished and not; with the log-odds of
`words.end_hint`, which come from the same."""
SURE_SOUND: Final = 0.99
"""A model is taken at its word up to here and no further."""
STORY: Final = 8.0
"""Seconds of speech from which on a caller tells a story, and pauses more than others."""
STORY_WEIGHT: Final = -0.5
CUT_IN_WEIGHT: Final = -0.4
"""For each time, up to three, that this caller was cut in upon lately."""

SHORTEST_PAUSE: Final = 0.1
"""Seconds. Shorter gaps belong to the words."""
PAUSES_KEPT: Final = 8
ROOM: Final = 1.25
"""A pause may last this much longer than the caller's usual one."""
LONGEST_WAIT: Final = 2.5
LONGEST_VAD_WAIT: Final = 1.0
"""Seconds of silence that end a turn, whatever was learned; by a timer alone, and else."""


@dataclass(frozen=True)
class Opinion:
    """What the models say about a turn so far.

    Attributes:
        probability: that the caller has finished, by the sound of it; None without a model.
        words: what was said lately, as a recogniser wrote it; None without one.
    """

    probability: float | None = None
    words: str | None = None


@dataclass(frozen=True)
class Evidence:
    """Why a turn ended, or has not ended.

    Attributes:
        opinion: what the models say.
        speech: seconds since the turn began.
        finished: probability that the caller has finished, all in all.
        patience: seconds of silence that this asks for.
    """

    opinion: Opinion
    speech: float
    finished: float
    patience: float


class Habits:
    """How this caller pauses, learned during the call."""

    def __init__(self) -> None:
        self._pauses: deque[float] = deque(maxlen=PAUSES_KEPT)
        self._cut_in = 0.0

    def went_on(self, pause: float) -> None:
        """The caller paused for so many seconds and went on."""
        if pause >= SHORTEST_PAUSE:
            self._pauses.append(pause)

    def was_cut_in(self, pause: float) -> None:
        """The turn was ended in a pause after which the caller went on."""
        self.went_on(pause)
        self._cut_in = min(3.0, self._cut_in + 1)

    def had_finished(self) -> None:
        """The turn was ended, and rightly."""
        self._cut_in = max(0.0, self._cut_in - 0.25)

    @property
    def usual(self) -> float:
        """Seconds that four of five of this caller's pauses stay under; 0 if none is known."""
        if not self._pauses:
            return 0.0
        return sorted(self._pauses)[int(0.8 * (len(self._pauses) - 1) + 0.5)]

    @property
    def cut_ins(self) -> float:
        """How often this caller was cut in upon lately."""
        return self._cut_in

    def patience(self, seconds: float) -> float:
        """Silence that ends a turn by a timer alone, which is ``seconds`` for a new caller."""
        if not self._cut_in:
            return seconds
        return max(seconds, min(LONGEST_VAD_WAIT, ROOM * self.usual))


def weigh(opinion: Opinion, speech: float, habits: Habits, policy: EndpointPolicy) -> Evidence:
    """All the evidence together. ``speech``: seconds since the turn began."""
    odds = BIAS + CUT_IN_WEIGHT * habits.cut_ins
    if opinion.probability is not None:
        odds += SOUND_WEIGHT * _log_odds(opinion.probability)
    if opinion.words is not None:
        odds += end_hint(opinion.words)
    if speech >= STORY:
        odds += STORY_WEIGHT
    finished = 1 / (1 + exp(-odds))
    return Evidence(opinion, speech, finished, _patience(finished, habits, policy))


def _patience(finished: float, habits: Habits, policy: EndpointPolicy) -> float:
    late = max(policy.late, min(LONGEST_WAIT, ROOM * habits.usual))
    doubt = (policy.sure - finished) / (policy.sure - policy.unsure)
    return float(policy.soon * (late / policy.soon) ** min(1.0, max(0.0, doubt)))


def _log_odds(probability: float) -> float:
    sure = min(SURE_SOUND, max(1 - SURE_SOUND, probability))
    return log(sure / (1 - sure))
