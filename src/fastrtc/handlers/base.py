"""`StreamHandler` and `AsyncStreamHandler`: full control over what is heard and said."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import logging
import threading
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import Pcm
from fastrtc.audio.playout import FRAMES_PER_SECOND
from fastrtc.handlers.values import AudioEmitType, WebRTCData
from fastrtc.messages import create_message
from fastrtc.models import place

if TYPE_CHECKING:
    from fastrtc.handlers.driver import Driver, Host
    from fastrtc.models.end_of_turn.source import EndpointSource
    from fastrtc.models.vad.batcher import VadSource

logger = logging.getLogger(__name__)

WEBRTC_VALUE: Final = "__webrtc_value__"
"""What stands in `latest_args` in the place of the call itself."""
INPUTS_WITHIN: Final = 60.0
"""Seconds that a client has to answer ``send_input``."""
TEXTS_KEPT: Final = 100
"""Texts of a caller that wait for their reply, before the oldest is dropped."""


class HandlerBase(ABC):
    """What all handlers have: rates, inputs, messages, and a copy for each call."""

    takes_text = False
    """Whether the page has a text box: a reply function then gets `WebRTCData`, and no pair of
    rate and samples, as its first argument."""

    catches_up = True
    """Whether a `StreamHandler` that is behind after a stall of the network is given less silence
    than there was, so that what answers sound with sound is not late for the rest of the call.
    Set it to False where every sample counts, as for a recording."""

    def __init__(
        self,
        expected_layout: Literal["mono", "stereo"] = "mono",
        output_sample_rate: int = 24_000,
        output_frame_size: int | None = None,
        input_sample_rate: int = 48_000,
        fps: int = 30,
    ) -> None:
        """Set up a handler.

        Args:
            expected_layout: ``"mono"`` hands arrays of shape ``(1, n)`` to `receive`,
                ``"stereo"`` arrays of shape ``(2, n)``.
            output_sample_rate: Hz, a multiple of 50. What is emitted at another rate is
                converted.
            output_frame_size: deprecated and ignored; a frame is 20 ms.
            input_sample_rate: Hz, a multiple of 50; the rate of what `receive` gets.
            fps: accepted for old code.

        Raises:
            ValueError: a rate or a layout is none that can be served.
        """
        for name, rate in (("output", output_sample_rate), ("input", input_sample_rate)):
            if rate <= 0 or rate % FRAMES_PER_SECOND:
                raise ValueError(
                    f"expected an {name}_sample_rate that is a multiple of "
                    f"{FRAMES_PER_SECOND} Hz, got {rate}"
                )
        if expected_layout not in ("mono", "stereo"):
            raise ValueError(f'expected the layout "mono" or "stereo", got {expected_layout!r}')
        if output_frame_size is not None:
            warnings.warn(
                "output_frame_size is deprecated and ignored: a frame is 20 ms.",
                UserWarning,
                stacklevel=3,
            )
        self.expected_layout: Literal["mono", "stereo"] = expected_layout
        self.output_sample_rate = output_sample_rate
        self.output_frame_size = output_sample_rate // FRAMES_PER_SECOND
        self.input_sample_rate = input_sample_rate
        self.fps = fps
        self.latest_args: list[Any] = [WEBRTC_VALUE]
        self.args_set = asyncio.Event()
        self.typed: deque[str] = deque(maxlen=TEXTS_KEPT)
        """Texts that wait for their reply."""
        self._host: Host | None = None

    # What a session does with a handler.

    @abstractmethod
    def copy(self) -> HandlerBase:
        """A fresh handler for one call."""

    @abstractmethod
    def _driver(self, host: Host) -> Driver:
        """What runs this handler in a session."""

    def _prepare(self, vad: VadSource, endpoint: EndpointSource) -> None:
        """Load what is slow to load before the first call."""
        place.prepare()

    def _check_phone(self) -> None:  # noqa: B027
        """Find out whether this can serve a telephone, where nobody fills in inputs.

        Raises:
            ValueError: it cannot; the text says why.
        """

    def _join(self, host: Host) -> Driver:
        """Become the handler of a session."""
        self._host = host
        return self._driver(host)

    def on_dtmf(self, digit: str) -> Any:  # noqa: B027
        """Called when the caller presses a key of the telephone."""

    # Inputs.

    def set_args(self, args: list[Any]) -> None:
        """Take the values of the page's inputs; before them, what was typed, if anything was."""
        if args and isinstance(args[0], WebRTCData):
            self.latest_args = list(args)
            self.typed.append(args[0].textbox)
        else:
            self.latest_args = [WEBRTC_VALUE, *args]
        self.args_set.set()

    async def wait_for_args(self) -> None:
        """Ask the client for its inputs and wait for them; then read `latest_args`.

        Raises:
            TimeoutError: they did not come within a minute.
        """
        if self.args_set.is_set() or self.phone_mode:
            # Who asks again and again must not keep the event loop.
            await asyncio.sleep(0)
            return
        logger.info(
            "Call %s waits for its inputs: stream.set_input(id, ...) gives them",
            self.host.context.webrtc_id,
        )
        self._send(create_message("send_input"))
        try:
            await asyncio.wait_for(self.args_set.wait(), INPUTS_WITHIN)
        except (TimeoutError, asyncio.TimeoutError):
            raise TimeoutError(
                f"The client sent no inputs within {INPUTS_WITHIN:.0f} s of being asked."
            ) from None

    def wait_for_args_sync(self) -> None:
        """The same from a worker thread, such as that of a `StreamHandler`'s methods.

        Raises:
            TimeoutError: they did not come within a minute, or the call ended.
            RuntimeError: this is the thread of the event loop.
        """
        if self.args_set.is_set() or self.phone_mode:
            return
        host = self.host
        if threading.get_ident() == host.thread:
            raise RuntimeError(
                "wait_for_args_sync() would block the event loop: there, await wait_for_args()."
            )
        answer: concurrent.futures.Future[None] = concurrent.futures.Future()

        def ended(task: asyncio.Task[None]) -> None:
            if task.cancelled():
                answer.cancel()
            elif (error := task.exception()) is not None:
                answer.set_exception(error)
            else:
                answer.set_result(None)

        def begin() -> None:
            if host.ended:
                answer.cancel()
            else:
                # The call's own task, which ends with the call.
                host.spawn(self.wait_for_args()).add_done_callback(ended)

        host.loop.call_soon_threadsafe(begin)
        try:
            answer.result()
        except concurrent.futures.CancelledError:
            raise TimeoutError("The call ended before its inputs came.") from None

    def reset(self) -> None:
        """Forget that inputs were set, so that the next wait asks for them again."""
        self.args_set.clear()

    # The call.

    @property
    def host(self) -> Host:
        """The session that this handler serves. RuntimeError outside one."""
        if self._host is None:
            raise RuntimeError("This handler is in no call: a stream makes a copy for each call.")
        return self._host

    @property
    def phone_mode(self) -> bool:
        """Whether the caller is on a telephone, where nobody can fill in inputs."""
        return self._host is not None and self._host.phone_mode

    @property
    def channel(self) -> Any:
        """The data channel, or whatever else carries messages; None outside a call."""
        return None if self._host is None else self._host.channel

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the call."""
        return self.host.loop

    def clear_queue(self) -> None:
        """Drop the sound that waits to be heard, as at an interruption. From any thread."""
        if self._host is not None:
            self._host.clear_queue()

    async def send_message(self, message: str) -> None:
        """Send text, usually JSON, to the client."""
        self._send(message)

    def send_message_sync(self, message: str) -> None:
        """The same from any thread."""
        self._send(message)

    def _send(self, message: str) -> None:
        if self._host is not None:
            self._host.send_message(message)


class StreamHandler(HandlerBase):
    """A handler whose methods run on threads of their own, and so may block."""

    @abstractmethod
    def receive(self, frame: tuple[int, NDArray[np.int16]]) -> None:
        """Take what the caller said: rate in Hz, and int16 of shape ``(1, n)`` or ``(2, n)``."""

    @abstractmethod
    def emit(self) -> AudioEmitType:
        """What to say next, or None if there is nothing yet."""

    @abstractmethod
    def copy(self) -> StreamHandler:
        """A fresh handler for one call."""

    def start_up(self) -> Any:
        """Called once when the call is connected, beside `receive` and `emit`."""

    def on_dtmf(self, digit: str) -> Any:
        """Called when the caller presses a key of the telephone: 0 to 9, ``*``, ``#``, A to D."""

    def shutdown(self) -> Any:
        """Called exactly once when the call has ended, whatever ended it."""

    def _driver(self, host: Host) -> Driver:
        from fastrtc.handlers.pump import ThreadPump

        return ThreadPump(self, host)


class AsyncStreamHandler(HandlerBase):
    """A handler whose methods are coroutines and run on the event loop."""

    @abstractmethod
    async def receive(self, frame: tuple[int, NDArray[np.int16]]) -> None:
        """Take what the caller said: rate in Hz, and int16 of shape ``(1, n)`` or ``(2, n)``."""

    @abstractmethod
    async def emit(self) -> AudioEmitType:
        """What to say next, or None if there is nothing yet."""

    @abstractmethod
    def copy(self) -> AsyncStreamHandler:
        """A fresh handler for one call."""

    async def start_up(self) -> Any:
        """Called once when the call is connected, beside `receive` and `emit`."""

    async def on_dtmf(self, digit: str) -> Any:
        """Called when the caller presses a key of the telephone: 0 to 9, ``*``, ``#``, A to D."""

    async def shutdown(self) -> Any:
        """Called exactly once when the call has ended, whatever ended it."""

    def _driver(self, host: Host) -> Driver:
        from fastrtc.handlers.pump import TaskPump

        return TaskPump(self, host)


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine or an async generator; sees through partials."""
    while hasattr(fn, "func") and hasattr(fn, "keywords"):
        fn = fn.func
    if not inspect.isroutine(fn) and not isinstance(fn, type):
        fn = type(fn).__call__
    return inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn)


def frame_of(rate: int, pcm: Pcm) -> tuple[int, NDArray[np.int16]]:
    """What `receive` gets, with its samples in one piece."""
    return rate, np.ascontiguousarray(pcm)
