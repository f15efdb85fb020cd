"""The two sides that a session joins: what drives a handler, and what it may ask of the session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from fastrtc.audio.convert import Pcm
from fastrtc.audio.playout import Playout
from fastrtc.context import Context
from fastrtc.handlers.values import AdditionalOutputs
from fastrtc.models.end_of_turn.source import EndpointSource
from fastrtc.models.vad.batcher import VadSource
from fastrtc.threads import Workers
from fastrtc.tracing import Span


class Driver(Protocol):
    """Runs one handler for one call. All methods are called on the event loop."""

    def start(self) -> None:
        """The call is connected."""

    def hear(self, pcm: Pcm) -> None:
        """Take some of the caller's sound, at the handler's input rate. Must not wait."""

    def tick(self) -> None:
        """20 ms have passed: move what is ready into the playout."""

    def clear(self) -> None:
        """Drop what has been emitted and does not yet stand in the playout."""

    async def close(self) -> None:
        """Give back everything, and call `shutdown`. Must not raise, nor wait for ever."""


class Host(Protocol):
    """What a driver may ask of its session."""

    context: Context
    loop: asyncio.AbstractEventLoop
    playout: Playout
    playing: Pcm | None
    """The frame that the caller hears now; None for silence."""
    workers: Workers
    vad: VadSource
    endpoint: EndpointSource
    watched: bool
    """Whether the client wants to see how turns are taken."""
    phone_mode: bool
    mode: str
    thread: int
    """The event loop's."""
    span: Span
    """Of the call."""

    @property
    def ended(self) -> bool:
        """Whether the call has given everything back."""

    @property
    def heard_until(self) -> int:
        """How much of the playout the caller has heard, in samples. From any thread."""

    @property
    def channel(self) -> Any:
        """What carries messages."""

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in the context of this call."""

    def submit(self, work: Callable[[], object]) -> None:
        """Run a function on a worker thread in the context of this call."""

    def send_message(self, message: str) -> None:
        """Send text to the client, from any thread."""

    def deliver(self, outputs: AdditionalOutputs) -> None:
        """Give outputs to whoever reads them."""

    def report(self, error: BaseException, doing: str) -> None:
        """Log an error of the user's code with its traceback, and tell the client."""

    def clear_queue(self) -> None:
        """Drop the sound that waits to be heard, from any thread."""

    def silence(self) -> None:
        """Drop the sound that waits to be heard, here and where the far side buffers it."""

    def hold(self) -> None:
        """Fall silent, and keep the sound that waits, until `Playout.resume`."""

    def when_heard(self, action: Callable[[], None]) -> None:
        """Call something when the caller has heard all that stands in the playout now.

        What `silence` drops is not heard, and what waits for it is forgotten.
        """

    def end(self, reason: str) -> None:
        """End the call, and tell the client why."""
