"""What the component's JavaScript asks of Python: its modules, the settings, and the signalling."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary, WeakSet

import gradio as gr
from pydantic import ValidationError

from fastrtc.admission import Refused
from fastrtc.routes import Offer
from fastrtc.stream import Stream
from fastrtc.ui.modules import MODULES

if TYPE_CHECKING:
    from fastrtc.ui.component import WebRTC

logger = logging.getLogger(__name__)

ENDED_WITHIN: Final = 6.0
"""Seconds that calls have to end when the process does."""

_kept: set[asyncio.Task[None]] = set()
_streams: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakSet[Stream]] = WeakKeyDictionary()
"""Streams whose calls end with a loop."""


def make_server_functions(component: WebRTC) -> list[Callable[..., Any]]:
    """Functions for `gradio.HTML`; they go where Gradio's own requests go."""

    async def modules(_: Any) -> list[tuple[str, str]]:
        return MODULES

    async def settings(_: Any, request: gr.Request) -> dict[str, Any]:
        stream = component.serving()
        try:
            # TURN credentials are not for everybody.
            await stream.identify(_connection(request))
            return await stream.client_settings()
        except Refused as refused:
            return refused.as_reply()
        except Exception as error:
            logger.exception("The settings of a call could not be had")
            return Refused("connection_failed", reason=type(error).__name__).as_reply()

    async def offer(body: Any, request: gr.Request) -> dict[str, Any]:
        stream = component.serving()
        _end_with_the_loop(stream)
        try:
            message = Offer.model_validate(body)
        except ValidationError as error:
            return Refused("invalid_offer", reason=str(error)).as_reply()
        reply = await stream.offer(message, _connection(request))
        if reply.get("type") == "answer":
            component.follow(message.webrtc_id)
        return reply

    return [modules, settings, offer]


def _connection(request: Any) -> Any:
    """What Starlette calls a request: Gradio gives it wrapped, or as it is."""
    return getattr(request, "request", None) or request


def _end_with_the_loop(stream: Stream) -> None:
    """End a stream's calls with their event loop: Gradio has no hook for the end of its server."""
    loop = asyncio.get_running_loop()
    if loop not in _streams:
        _streams[loop] = WeakSet()
        task = loop.create_task(_wait_for_the_end())
        _kept.add(task)
        task.add_done_callback(_kept.discard)
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
