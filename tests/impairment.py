"""What a bad network does to frames: loss, delay, jitter, outages. Pure: it knows no clock."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from typing import Final

MOST_HELD: Final = 1000
"""Frames on their way at once, as many as the queue of `tc netem` holds; more are lost."""


@dataclass(frozen=True)
class Conditions:
    """How bad it is.

    Attributes:
        loss: the share of frames that are lost, each for itself.
        delay: how long a frame is on its way, in seconds.
        jitter: a frame takes so many seconds less or more, evenly spread, and never less than 0.
        reorder: whether a frame may overtake another; otherwise it waits for those before it.
    """

    loss: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    reorder: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.loss <= 1:
            raise ValueError(f"loss is a share between 0 and 1, not {self.loss}")
        if self.delay < 0 or self.jitter < 0:
            raise ValueError("delay and jitter are seconds, and not negative")


class Impairment:
    """One direction of a bad line: frames go in with a time, and come out at times of their own.

    Times are seconds on any clock that does not go back.
    """

    def __init__(self, seed: int = 1) -> None:
        self.conditions = Conditions()
        """May be changed at any time; it counts for frames that come from then on."""
        self.lost = 0
        self.passed = 0
        self._random = random.Random(seed)
        self._held: list[tuple[float, int, bytes]] = []
        self._count = 0
        self._last_due = 0.0
        self._cut_until = float("-inf")
        self._keeps = False

    @property
    def held(self) -> int:
        """Frames that are on their way."""
        return len(self._held)

    @property
    def next_due(self) -> float | None:
        """When the next frame arrives; None if none is on its way."""
        return self._held[0][0] if self._held else None

    def cut(self, now: float, seconds: float, *, keep: bool = False) -> None:
        """Let nothing in for so many seconds.

        With ``keep`` what comes meanwhile is not lost: all of it arrives when the outage ends, as
        it does where a radio link stalls and repeats.
        """
        self._cut_until = now + seconds
        self._keeps = keep

    def push(self, frame: bytes, now: float) -> None:
        """A frame sets out, or is lost."""
        stalled = now < self._cut_until
        if (stalled and not self._keeps) or len(self._held) >= MOST_HELD:
            self.lost += 1
            return
        if self._random.random() < self.conditions.loss:
            self.lost += 1
            return
        spread = self._random.uniform(-self.conditions.jitter, self.conditions.jitter)
        due = max(now, self._cut_until)
        due += max(0.0, self.conditions.delay + spread)
        if not self.conditions.reorder:
            due = max(due, self._last_due)
        self._last_due = max(due, self._last_due)
        self._count += 1
        heapq.heappush(self._held, (due, self._count, frame))

    def pop(self, now: float) -> list[bytes]:
        """The frames that have arrived by now, in the order of their arrival."""
        arrived = []
        while self._held and self._held[0][0] <= now:
            arrived.append(heapq.heappop(self._held)[2])
        self.passed += len(arrived)
        return arrived
