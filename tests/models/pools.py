"""Pools of threads that a test holds still."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastrtc.models.inference import InferencePool

PATIENCE = 10.0


def until(ready: Callable[[], bool]) -> None:
    """Wait for what is sure to come."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.001)


async def until_on_loop(ready: Callable[[], bool]) -> None:
    """The same on the event loop, which it leaves free."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.001)


@contextmanager
def held(pool: InferencePool) -> Iterator[threading.Event]:
    """Keep all of a pool's threads busy, until the event is set or the block is left."""
    gate = threading.Event()
    jobs = [pool.submit(lambda: gate.wait(PATIENCE)) for _ in range(pool.threads)]
    until(lambda: all(job.running() for job in jobs))
    try:
        yield gate
    finally:
        gate.set()
        assert all(job.result(PATIENCE) for job in jobs)
