"""Which part of a reply has been heard: its sound, and the words that were yielded with it."""

from __future__ import annotations

from collections import deque
from typing import Final

from fastrtc.turns.record import Heard

WORDS_KEPT: Final = 10_000
"""Words of a reply, before the first are forgotten: an hour and more of talking."""


class Script:
    """Keeps where in the playout a reply began, ended, and has its words.

    Positions are samples as `Playout.heard` counts them.
    """

    def __init__(self, rate: int) -> None:
        """Rate of the playout, in Hz."""
        self._rate = rate
        self._begin: int | None = None
        self._end = 0
        self._words: deque[tuple[int, str]] = deque(maxlen=WORDS_KEPT)

    def add(self, begin: int, end: int, words: tuple[tuple[float, str], ...] = ()) -> None:
        """Sound from ``begin`` to ``end`` was put into the playout.

        ``words``: each with the second after ``begin`` at which it ends.
        """
        if self._begin is None:
            self._begin = begin
        self._end = end
        if words and self._words and _joins(self._words[-1][1], words[0][1]):
            # Sentences that were yielded one by one, with no blank between them.
            self._words.append((self._words[-1][0], " "))
        self._words.extend((begin + round(at * self._rate), word) for at, word in words)

    def heard(self, position: int) -> Heard:
        """What a caller has heard who has heard the playout up to a position."""
        if self._begin is None:
            return Heard()
        until = min(position, self._end)
        if until <= self._begin:
            return Heard()
        seconds = (until - self._begin) / self._rate
        # A word is heard to its end or not at all; one frame is what a position is good for.
        slack = self._rate // 50
        # A copy: the user's thread asks, and the loop adds.
        text = "".join(word for at, word in list(self._words) if at <= until + slack)
        return Heard(seconds, text.strip())


def _joins(before: str, after: str) -> bool:
    """Whether two pieces of text would stick together."""
    return before.endswith((".", "!", "?", ",", ";", ":")) and not after[:1].isspace()
