"""When to ask a tier of models, and when to leave it alone. Knows no clock of its own."""

from __future__ import annotations

from typing import Final

REST: Final = 3.0
"""Seconds for which a tier that failed is left alone."""


class Breaker:
    """Keeps callers from waiting, one after the other, for what has just failed.

    Each method takes the time, in seconds of any clock that does not go back. After a failure
    nobody asks for `REST` seconds; then one caller tries, and the others wait for what it finds.
    """

    def __init__(self) -> None:
        self.down = False
        """Whether the last answer was a failure."""
        self._until = 0.0
        self._tried = False

    def may_ask(self, now: float) -> bool:
        """Whether to ask. Who does says how it ended: `answered`, `failed` or `left`."""
        if not self.down:
            return True
        if now < self._until or self._tried:
            return False
        self._tried = True
        return True

    def answered(self) -> bool:
        """There was an answer in time. True if that ends an outage."""
        was_down, self.down, self._tried = self.down, False, False
        return was_down

    def failed(self, now: float) -> bool:
        """There was none. True if that begins an outage."""
        was_down, self.down, self._tried = self.down, True, False
        self._until = now + REST
        return not was_down

    def left(self) -> None:
        """Who asked has gone before the answer."""
        self._tried = False
