"""The end of calls whose server ends without a word: Gradio has no hook for that."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
from typing import Final
from weakref import WeakKeyDictionary, WeakSet

from fastrtc.stream import Stream
from fastrtc.threads import keep

ENDED_WITHIN: Final = 6.0
"""Seconds that calls have to end when the process does."""

_streams: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakSet[Stream]] = WeakKeyDictionary()
"""Streams whose calls end with a loop."""


def end_with_the_loop(stream: Stream) -> None:
    """End a stream's calls with their event loop: Gradio has no hook for the end of its server."""
    loop = asyncio.get_running_loop()
    if loop not in _streams:
        _streams[loop] = WeakSet()
        keep(loop.create_task(_wait_for_the_end()))
    _streams[loop].add(stream)


async def _wait_for_the_end() -> None:
    """Wait for the end of this loop, which cancels all tasks."""
    try:
        await asyncio.Event().wait()
    finally:
        await _end_calls()


async def _end_calls() -> None:
    """End the calls of this loop."""
    loop = asyncio.get_running_loop()
    found = [call for stream in _streams[loop] for call in stream.connections.values()]
    calls = [call for call in found if call.loop is loop]
    for call in calls:
        call.end("The server is stopping")
    await asyncio.gather(*(call.close() for call in calls))


@atexit.register
def _end_all_calls() -> None:
    """Gradio's SSR mode leaves without stopping its server's thread."""
    for loop in list(_streams):
        if loop.is_running():
            ended = asyncio.run_coroutine_threadsafe(_end_calls(), loop)
            with contextlib.suppress(TimeoutError, concurrent.futures.TimeoutError):
                ended.result(ENDED_WITHIN)
