"""The one clock of the process: 50 ticks a second, for all calls of an event loop."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from fastrtc import metrics
from fastrtc.audio.playout import FRAMES_PER_SECOND

logger = logging.getLogger(__name__)

TICK: Final = 1 / FRAMES_PER_SECOND
"""Seconds."""
CATCH_UP: Final = 10
"""Ticks (0.2 s) that are made up for after a stall; what is beyond is skipped."""

COMPLAINS_EVERY: Final = 10.0
"""Seconds between two lines in the log about stalls; the figures count each."""
WATCHED: Final = 250
"""Ticks (5 s) by which it is judged whether the loop keeps up."""

_clocks: WeakKeyDictionary[asyncio.AbstractEventLoop, FrameClock] = WeakKeyDictionary()


class FrameClock:
    """Calls every listener 50 times a second, on a schedule that does not drift.

    It runs only while it has listeners. A tick that comes late is made up for, so that media
    keep real time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # The loop's entry in `_clocks` must not keep the loop.
        self._loop: asyncio.AbstractEventLoop = weakref.proxy(loop)
        self._listeners: dict[int, Callable[[], None]] = {}
        self._keys = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.skipped = 0
        """Ticks that were given up because the loop was stalled for too long."""
        self._complains_at = 0.0
        self._late: deque[bool] = deque(maxlen=WATCHED)
        self.lateness = 0.0
        """Seconds by which the last tick was late."""

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> FrameClock:
        """The clock of a loop."""
        if loop not in _clocks:
            _clocks[loop] = cls(loop)
        return _clocks[loop]

    @property
    def overloaded(self) -> bool:
        """Whether the loop has more to do than it can: half of the ticks of the last seconds were
        late by a whole frame. A single stall, however long, is none.
        """
        return sum(self._late) > WATCHED // 2

    def add(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` at every tick, until the function that is returned is called."""
        self._keys += 1
        key = self._keys
        self._listeners[key] = listener
        if self._timer is None:
            self._due = self._loop.time() + TICK
            self._timer = self._loop.call_at(self._due, self._tick)
        return lambda: self._remove(key)

    @property
    def overdue(self) -> float:
        """Seconds by which the next tick is late already; 0 while nobody listens."""
        return 0.0 if self._timer is None else max(0.0, self._loop.time() - self._due)

    def _remove(self, key: int) -> None:
        self._listeners.pop(key, None)
        if not self._listeners and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            # Nobody is late any more, and the next one must be let in to find out.
            self.lateness = 0.0
            self._late.clear()

    def _tick(self) -> None:
        self.lateness = max(0.0, self._loop.time() - self._due)
        metrics.frame_lateness.note(self.lateness)
        late = self.lateness
        behind = int(late / TICK)
        if behind > CATCH_UP:
            skipped = behind - CATCH_UP
            self.skipped += skipped
            metrics.dropped.add("tick", skipped)
            self._due += skipped * TICK
            late -= skipped * TICK
            if self._loop.time() >= self._complains_at:
                self._complains_at = self._loop.time() + COMPLAINS_EVERY
                logger.warning(
                    "The event loop stalled: %.0f ms of sound are late", behind * 1000 * TICK
                )
            behind = CATCH_UP
        for place in range(1 + max(0, behind)):
            self._late.append(place < behind)
            if place:
                # What is made up for is late, too, each a tick less than the one before.
                metrics.frame_lateness.note(max(0.0, late - place * TICK))
            for key in list(self._listeners):
                try:
                    if (listener := self._listeners.get(key)) is not None:
                        listener()
                except Exception:
                    logger.exception("A call failed at a tick")
                    metrics.errors.add("internal")
        self._due += TICK * (1 + max(0, behind))
        self._timer = self._loop.call_at(self._due, self._tick) if self._listeners else None


def overloaded() -> bool:
    """Whether the loop that this is called on has more to do than it can."""
    return FrameClock.of(asyncio.get_running_loop()).overloaded
