"""Puts packets of a call back in order, holding them no longer than that takes.

Sound that comes in order passes at once: the listener behind it counts samples and has no clock
to please, so every millisecond of prefetch would only make the answer late.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

T = TypeVar("T")

MISSING_AFTER: Final = 3
"""A packet counts as lost when this many later ones are there: 60 ms."""
MOST_MISSING: Final = 10
"""As many as that (0.2 s) on a network where packets are seen to come so late."""
CALMS_AFTER: Final = 500
"""Packets (10 s) without one that came too late, after which one fewer is waited for."""
LONGEST_GAP: Final = 25
"""A hole of more packets than this (0.5 s) is a new start, not a loss to conceal."""


class JitterBuffer(Generic[T]):
    """Takes numbered packets in any order and gives them out by number.

    Holds at most `MOST_MISSING` packets. Not for wall time: a gap is judged by what came after.
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self._waiting: dict[int, T] = {}
        self._straggler = -(1 << 32)
        self._patience = MISSING_AFTER
        self._calm = 0
        self._given_up: deque[int] = deque(maxlen=MOST_MISSING)
        self.lost = 0
        self.late = 0

    def add(self, number: int, packet: T) -> list[T | None]:
        """Take the packet with a 16-bit sequence number; what may be played now, in order.

        None stands for a packet that was lost.
        """
        number = self._unwrap(number)
        if self._next is None or number - self._next > LONGEST_GAP or self._starts_again(number):
            waiting, self._waiting = self._waiting, {}
            self._next = number + 1
            return [*(waiting[key] for key in sorted(waiting)), packet]
        if number < self._next or number in self._waiting:
            self.late += 1
            if number in self._given_up:
                # It was not lost but slow. Its followers had come by the time it was given up.
                self._given_up.remove(number)
                if self._next - number < MOST_MISSING:
                    self._patience = max(self._patience, self._next - number + 1)
                    self._calm = 0
            return []
        self._calm += 1
        if self._calm >= CALMS_AFTER and self._patience > MISSING_AFTER:
            self._patience, self._calm = self._patience - 1, 0
        self._waiting[number] = packet
        ready: list[T | None] = []
        while self._waiting:
            if self._next in self._waiting:
                ready.append(self._waiting.pop(self._next))
            elif len(self._waiting) >= self._patience:
                ready.append(None)
                self._given_up.append(self._next)
                self.lost += 1
            else:
                break
            self._next += 1
        return ready

    def _starts_again(self, number: int) -> bool:
        """Whether a sender counts anew: two in a row from long ago are no stragglers."""
        assert self._next is not None
        if self._next - number <= LONGEST_GAP:
            return False
        again = number == self._straggler + 1
        self._straggler = number
        return again

    def _unwrap(self, number: int) -> int:
        if self._next is None:
            return number
        return self._next + ((number - self._next + 0x8000) & 0xFFFF) - 0x8000
