"""How much a client may send. Pure: the caller brings the time."""

from __future__ import annotations

from typing import Final

MESSAGES: Final = 1_000.0
"""Messages a second: pages that send each 128 samples of 48 kHz send 375."""
SOUND: Final = 2.0
"""Seconds of sound a second, for a client that makes up for a stall."""
BURST: Final = 5.0
"""Seconds for which it may send at once."""


class Allowance:
    """A bucket that fills with time and is emptied by what comes in."""

    def __init__(self, rate: float) -> None:
        """``rate``: how much may come in a second; the bucket holds that of `BURST` seconds."""
        self._rate = rate
        self._left = rate * BURST
        self._last = self._eased = 0.0

    def take(self, amount: float, now: float) -> float:
        """Take what has come in; for how many seconds no more should be read."""
        # A clock that begins at any number: the first time finds the bucket full.
        self._left = min(self._rate * BURST, self._left + self._rate * (now - self._last))
        self._last = now
        if self._left > self._rate:
            self._eased = now
        self._left -= amount
        return max(0.0, -self._left / self._rate)

    @property
    def strained(self) -> float:
        """For how many seconds there has been less left than what may come in a second."""
        return self._last - self._eased
