"""The one clock of the process: 50 ticks a second, for all calls of an event loop."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from fastrtc.audio.playout import FRAMES_PER_SECOND

logger = logging.getLogger(__name__)

TICK: Final = 1 / FRAMES_PER_SECOND
"""Seconds."""
CATCH_UP: Final = 10
"""Ticks (0.2 s) that are made up for after a stall; what is beyond is skipped."""

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

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> FrameClock:
        """The clock of a loop."""
        if loop not in _clocks:
            _clocks[loop] = cls(loop)
        return _clocks[loop]

    def add(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` at every tick, until the function that is returned is called."""
        self._keys += 1
        key = self._keys
        self._listeners[key] = listener
        if self._timer is None:
            self._due = self._loop.time() + TICK
            self._timer = self._loop.call_at(self._due, self._tick)
        return lambda: self._remove(key)

    def _remove(self, key: int) -> None:
        self._listeners.pop(key, None)
        if not self._listeners and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        behind = int((self._loop.time() - self._due) / TICK)
        if behind > CATCH_UP:
            skipped = behind - CATCH_UP
            self.skipped += skipped
            self._due += skipped * TICK
            logger.warning(
                "The event loop stalled: %.0f ms of sound are late", behind * 1000 * TICK
            )
            behind = CATCH_UP
        for _ in range(1 + max(0, behind)):
            for key in list(self._listeners):
                try:
                    if (listener := self._listeners.get(key)) is not None:
                        listener()
                except Exception:
                    logger.exception("A call failed at a tick")
        self._due += TICK * (1 + max(0, behind))
        self._timer = self._loop.call_at(self._due, self._tick) if self._listeners else None
