"""An event loop whose time passes only when nothing is left to do."""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import Any, Final

from fastrtc.models.inference import settled
from fastrtc.threads import Workers, readers

PATIENCE: Final = 60.0
"""Real seconds that user code on a thread may take before a test is given up."""
YIELD: Final = 0.001
"""Real seconds that threads inside a blocking `emit` get at every step of time."""


class _Selector(selectors.DefaultSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        workers = self.loop.workers
        if workers.lenient:
            time.sleep(YIELD)
        deadline = time.monotonic() + PATIENCE
        while not (workers.settled and readers.settled and settled()):
            if ready := super().select(YIELD):
                return ready
            if time.monotonic() > deadline:
                raise TimeoutError(f"A function has not returned within {PATIENCE:.0f} s.")
        # A worker hands over first and settles then, so this look misses nothing.
        if ready := super().select(0):
            return ready
        if timeout is None:
            return super().select(YIELD)
        self.loop.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time stands still while a callback, a task or a worker thread has something to do, and
    then jumps to the next timer. A function that sleeps on a thread takes no virtual time; one
    that awaits `asyncio.sleep` takes exactly what it asks for.
    """

    def __init__(self, workers: Workers) -> None:
        self.now = 0.0
        self.workers = workers
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds."""
        return self.now
