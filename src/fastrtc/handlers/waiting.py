"""Waiting for the next item without blocking `emit`."""

from __future__ import annotations

import asyncio
import sys
from typing import TypeVar

T = TypeVar("T")


async def wait_for_item(queue: asyncio.Queue[T], timeout: float = 0.1) -> T | None:
    """The next item of a queue, or None when none comes within ``timeout`` seconds."""
    if not queue.empty():
        return queue.get_nowait()
    try:
        if sys.version_info < (3, 11):
            return await asyncio.wait_for(queue.get(), timeout)
        # Without a task for each item.
        async with asyncio.timeout(timeout):
            return await queue.get()
    except (TimeoutError, asyncio.TimeoutError):
        return None
