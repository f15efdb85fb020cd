"""One live caller: joins a transport to a handler, and owns all that the call started."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import numpy as np

from fastrtc import metrics
from fastrtc.audio.convert import Pcm, with_channels
from fastrtc.audio.playout import FRAMES_PER_SECOND, Mark, Playout
from fastrtc.audio.resample import StreamResampler
from fastrtc.clock import FrameClock
from fastrtc.context import Context, PhoneCall, current_context
from fastrtc.errors import Warning, WebRTCError
from fastrtc.handlers.base import HandlerBase
from fastrtc.handlers.values import AdditionalOutputs
from fastrtc.handlers.watching import Hook
from fastrtc.messages import create_message
from fastrtc.outputs import Outputs
from fastrtc.runtime import Runtime
from fastrtc.threads import call_soon, keep
from fastrtc.tracing import Span

logger = logging.getLogger(__name__)

UNHEARD_TICKS: Final = 10
"""Ticks (0.2 s) without a sound from the transport after which time passes as silence: a client
whose packets stop, by DTX or by a cut, must still come to the end of its turn."""
MODELS: Final = ("endpointing", "voice detection")
"""What models do, among all in which there may be an error."""


class Line(Protocol):
    """What a session may ask of its transport. On the event loop."""

    @property
    def channel(self) -> Any:
        """What carries messages."""

    def send_message(self, message: str) -> None:
        """Send text to the client, or drop it if there is no way."""

    def tick(self) -> int:
        """20 ms have passed: how many frames may be sent now."""

    def send_frame(self, frame: Pcm | None) -> None:
        """Send 20 ms of sound at the handler's output rate; None is silence."""

    def mark(self, reached: Callable[[], None]) -> None:
        """Call ``reached`` when the far side has played all that was sent, unless it is cleared."""

    @property
    def unheard(self) -> float:
        """Seconds of sound that were sent, and that the far side is known not to have played."""

    def clear(self) -> bool:
        """Let the far side drop the sound that it buffers, and its marks; whether it had any."""

    def take_back(self) -> list[Pcm | Mark] | None:
        """Let the far side drop the sound that it buffers, to be sent again; None if it cannot."""

    async def close(self) -> None:
        """Hang up."""


class Session:
    """One call, from its admission to its end. All methods belong to the event loop, except
    those that say otherwise.
    """

    def __init__(
        self,
        session_id: str,
        handler: HandlerBase,
        runtime: Runtime,
        *,
        mode: str = "send-receive",
        transport: str = "webrtc",
        phone_mode: bool = False,
        phone: PhoneCall | None = None,
        identity: Any = None,
        reconnected: bool = False,
        watched: bool = False,
        time_limit: float | None = None,
        on_dtmf: Callable[[str], Any] | None = None,
        on_ended: Callable[[Session], None] = lambda session: None,
    ) -> None:
        """Set up a call; `start` begins it."""
        self.id = session_id
        self.handler = handler
        self.mode = mode
        self.transport = transport
        self.phone_mode = phone_mode
        self.watched = watched
        self.time_limit = time_limit
        self.loop = asyncio.get_running_loop()
        self.workers = runtime.workers
        self.vad = runtime.vad
        self.endpoint = runtime.endpoint
        self.context = Context(
            session_id,
            session_id,
            phone=phone,
            reconnected=reconnected,
            identity=identity,
            notices=self,
        )
        self.channels = 2 if handler.expected_layout == "stereo" else 1
        self.playout = Playout(handler.output_sample_rate, self.channels)
        self.outputs = Outputs()
        self.line: Line | None = None
        self.closed = asyncio.Event()
        self._context = contextvars.copy_context()
        self._context.run(current_context.set, self.context)
        self.span = Span(
            "fastrtc.call",
            call_id=session_id,
            transport=transport,
            reconnected=reconnected or None,
        )
        self._context.run(self.span.enter)
        self.ended_by = ""
        """Why our side has ended the call; empty while it goes on, and when the line is gone."""
        self._on_ended = on_ended
        self._input: StreamResampler | None = None
        self._unheard = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closers: list[Callable[[], object]] = []
        self._stop_clock: Callable[[], None] | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._started = False
        self._ending = False
        self._sent: list[Callable[[], None]] = []
        """What waits for the far side to play the sound that was sent."""
        self._going: deque[Pcm] = deque()
        """Frames that were sent, and that are played one a tick."""
        self.playing: Pcm | None = None
        """The frame that is played now; None for silence."""
        hooks = [handler.on_dtmf] if on_dtmf is None else [on_dtmf, handler.on_dtmf]
        self._on_dtmf = [Hook(self, hook, "on_dtmf") for hook in hooks]
        self.thread = threading.get_ident()
        try:
            self.driver = self._context.copy().run(handler._join, self)
        except BaseException as error:
            self.span.failed(f"{type(error).__name__}: {error}")
            self.span.end()
            raise

    # From the transport.

    def start(self, line: Line) -> None:
        """The call is connected: begin to listen and to speak."""
        if self._started or self._ending:
            return
        self._started = True
        self.line = line
        self._stop_clock = FrameClock.of(self.loop).add(self._tick)
        if self.time_limit is not None:
            self._limit = self.loop.call_later(self.time_limit, self._time_is_up)
        self._context.copy().run(self.driver.start)

    def hear(self, rate: int, pcm: Pcm) -> None:
        """Take what the caller said: int16 of shape ``(channels, n)``. Never waits."""
        if not self._started or self._ending or self.mode == "receive":
            return
        # A long chunk is followed by nothing for as long as it lasts.
        self._unheard = -round(pcm.shape[1] / rate * FRAMES_PER_SECOND)
        pcm = with_channels(pcm, self.channels)
        if self._input is None or self._input.rate_in != rate:
            self._input = StreamResampler(rate, self.handler.input_sample_rate, self.channels)
        pcm = self._input.process(pcm)
        if pcm.shape[1]:
            self.driver.hear(pcm)

    def press(self, digit: str) -> None:
        """The caller has pressed a key of the telephone."""
        if self._started and not self._ending:
            for hook in self._on_dtmf:
                hook.tell(digit)

    async def close(self) -> None:
        """End the call and give back everything, once; later callers wait for the first."""
        self.hang_up()
        await self.closed.wait()

    async def _close(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        if self._stop_clock is not None:
            self._stop_clock()
        closers, self._closers = self._closers, []
        for closer in closers:
            self._quietly(closer)
        steps: list[Coroutine[Any, Any, Any]] = []
        if self._started:
            steps.append(self.driver.close())
        if self.line is not None:
            steps.append(self.line.close())
        # One that fails is logged where every task is, and does not keep the other from its work.
        await asyncio.gather(*map(self.spawn, steps), return_exceptions=True)
        for task in list(self._tasks):
            task.cancel()
        self.outputs.close()
        self.span.end()
        self.closed.set()
        self._quietly(lambda: self._on_ended(self))

    @property
    def ended(self) -> bool:
        """See `Host`."""
        return self.closed.is_set()

    @property
    def started(self) -> bool:
        """Whether the call has been connected."""
        return self._started

    @property
    def ending(self) -> bool:
        """Whether the end has begun."""
        return self._ending

    # For the driver, see `Host`.

    @property
    def heard_until(self) -> int:
        """See `Host`. From any thread."""
        unheard = 0.0 if self.line is None else self.line.unheard
        return max(0, self.playout.heard - round(unheard * self.playout.rate))

    @property
    def channel(self) -> Any:
        """See `Host`."""
        return None if self.line is None else self.line.channel

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """See `Host`."""
        task: asyncio.Task[Any] = self._context.copy().run(self.loop.create_task, work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def submit(self, work: Callable[[], object]) -> None:
        """See `Host`."""
        self._context.copy().run(self.workers.submit, work)

    def send_message(self, message: str) -> None:
        """See `Host`. From any thread."""
        if threading.get_ident() == self.thread:
            self._send_message(message)
        else:
            call_soon(self.loop, self._send_message, message)

    def deliver(self, outputs: AdditionalOutputs) -> None:
        """See `Host`."""
        if self.phone_mode:
            # Nobody can fill in inputs on a telephone: what was given out comes in again.
            self.handler.set_args(list(outputs.args))
        self.outputs.put(outputs)
        self._send_message(create_message("fetch_output"))

    def report(self, error: BaseException, doing: str) -> None:
        """See `Host`."""
        if isinstance(error, Warning):
            if not error.sent:
                self._send_message(create_message("warning", error.message))
            return
        if isinstance(error, WebRTCError):
            logger.info("Call %s, %s: %s", self.id, doing, error)
            text = error.message
        else:
            logger.error("Call %s: an error in %s", self.id, doing, exc_info=error)
            metrics.errors.add("model" if doing in MODELS else "handler")
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        self._send_message(create_message("error", text))

    def clear_queue(self) -> None:
        """See `Host`. From any thread."""
        call_soon(self.loop, self._clear_queue)

    def silence(self) -> None:
        """See `Host`."""
        cleared = self.line is not None and self.line.clear()
        self.playout.interrupt(fade=not cleared)
        self._sent.clear()
        if cleared:
            self._going.clear()

    def hold(self) -> None:
        """See `Host`."""
        if self.playout.held:
            return
        back = None if self.line is None else self.line.take_back()
        if back:
            # Marks too will go out again, and have to be heard then.
            self.playout.put_back(
                [self._sent_mark(it.reached) if isinstance(it, Mark) else it for it in back]
            )
            self._going.clear()
        self.playout.hold(fade=not back)

    def when_heard(self, action: Callable[[], None]) -> None:
        """See `Host`."""
        self.playout.mark(self._sent_mark(action).reached)

    def end(self, reason: str) -> None:
        """See `Host`."""
        if not self._ending:
            self._send_message(create_message("end_stream", reason))
            self._send_message(create_message("update_connection", "closed"))
            self.hang_up(reason or "the server")

    def hang_up(self, reason: str = "") -> None:
        """Close the call from code that cannot wait.

        ``reason``: why, if it is not the line that is gone.
        """
        if not self._ending:
            self._ending = True
            self.ended_by = reason
            self.span.note(ended_by=reason or "the line")
            # None of the call's own tasks, and not of who asked: either may be cancelled.
            keep(self.loop.create_task(self._close()))

    def on_close(self, action: Callable[[], object]) -> None:
        """Call something when the call ends, or now if it has."""
        if self._ending:
            action()
        else:
            self._closers.append(action)

    # Inside.

    def _tick(self) -> None:
        self._unheard += 1
        if self._unheard > UNHEARD_TICKS and self.mode != "receive":
            rate = self.handler.input_sample_rate
            silence = np.zeros((self.channels, rate // FRAMES_PER_SECOND), np.int16)
            self.driver.hear(silence)
        self.playing = self._going.popleft() if self._going else None
        self.driver.tick()
        self._speak()

    def _speak(self) -> None:
        """Send what is due: a frame, and more where the far side has room for a lead."""
        assert self.line is not None
        for _ in range(self.line.tick()):
            frame = self.playout.next_frame()
            self.line.send_frame(frame if self.mode != "send" else None)
            if frame is not None:
                self._going.append(frame)
            # After the frame: it carries the sound that was waited for.
            sent, self._sent = self._sent, []
            for action in sent:
                self.line.mark(action)
            if frame is None or self._ending:
                break

    def _sent_mark(self, action: Callable[[], None]) -> Mark:
        """Stands behind sound that, once it has been sent, is still to be heard."""
        return Mark(lambda: self._sent.append(action))

    def _send_message(self, message: str) -> None:
        if self.line is not None:
            self.line.send_message(message)

    def _clear_queue(self) -> None:
        self.driver.clear()
        self.silence()

    def _time_is_up(self) -> None:
        self.end(f"The time limit of {self.time_limit:g} s is over")

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A task of call %s failed", self.id, exc_info=error)
            metrics.errors.add("internal")

    def _quietly(self, closer: Callable[[], object]) -> None:
        try:
            closer()
        except Exception:
            logger.exception("Call %s could not be closed cleanly", self.id)
