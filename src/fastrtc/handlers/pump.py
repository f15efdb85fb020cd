"""Drivers for `StreamHandler` and `AsyncStreamHandler`: move frames in, and what they emit out."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from fastrtc import metrics
from fastrtc.audio.convert import Pcm
from fastrtc.audio.pace import Pace
from fastrtc.audio.playout import FRAMES_PER_SECOND
from fastrtc.handlers.base import AsyncStreamHandler, HandlerBase, StreamHandler, frame_of
from fastrtc.handlers.driver import Host
from fastrtc.handlers.mouth import Mouth
from fastrtc.handlers.values import CloseStream, Item, pieces_of
from fastrtc.threads import Bell, Handover, HandoverClosed, call_soon, contained

logger = logging.getLogger(__name__)

UNHEARD_SECONDS: Final = 3.0
"""How much of the caller's sound may wait for `receive`; older sound is dropped. What a stall of
the network held back comes all at once, and is no fault of the handler."""
AHEAD_SECONDS: Final = 0.1
"""How much an `emit` may be ahead of the playout: little, as it may answer live sound."""
PLAYOUT_SECONDS: Final = 0.06
ITEMS_A_TICK: Final = 50
"""Items that are moved at a tick: a handler that floods must not keep the loop."""
SHUTDOWN_SECONDS: Final = 5.0
WAKE_SECONDS: Final = 0.5
"""How long a blocked `emit` is waited for, after each way to wake it."""


class _Complaints:
    """Errors of a method that is called 50 times a second: not every one is news."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._next = 0.0

    def report(self, error: BaseException, doing: str) -> None:
        """On the event loop."""
        now = self._host.loop.time()
        if now >= self._next:
            self._next = now + 1.0
            self._host.report(error, doing)


async def shut_down(handler: StreamHandler, host: Host) -> None:
    """Call `StreamHandler.shutdown` on a worker, and wait for it, but not for ever."""
    try:
        await asyncio.wait_for(host.workers.call(handler.shutdown), SHUTDOWN_SECONDS)
    except (TimeoutError, asyncio.TimeoutError):
        logger.warning("%s.shutdown did not return within 5 s", type(handler).__name__)
    except Exception as error:
        host.report(error, "shutdown")


class Pump:
    """What both pumps share: the way out."""

    def __init__(self, handler: HandlerBase, host: Host) -> None:
        self.host = host
        self.name = type(handler).__name__
        self.complaints = _Complaints(host)
        self.out: Handover[Item] = Handover(AHEAD_SECONDS)
        self.mouth = Mouth(host)
        answers = handler.catches_up and host.mode == "send-receive"
        self._pace = Pace(handler.input_sample_rate) if answers else None
        self._slow = False

    def hear(self, pcm: Pcm) -> None:
        """See `Driver`."""
        if self._pace is None or not self._pace.leaves_out(pcm):
            self.take(pcm)

    def take(self, pcm: Pcm) -> None:
        """Keep sound for `receive`."""
        raise NotImplementedError

    def tick(self) -> None:
        """20 ms have passed: move what was emitted into the playout."""
        if self._pace is not None:
            self._pace.tick()
        self.mouth.tick()
        self.move()

    def move(self) -> None:
        """Move what is due."""
        for _ in range(ITEMS_A_TICK):
            if self.host.playout.buffered >= PLAYOUT_SECONDS:
                break
            item = self.out.drain_one()
            if item is None:
                break
            self.mouth.say(item)

    def clear(self) -> None:
        """Drop what was emitted."""
        self.out.clear()

    def too_slow(self, frames: int) -> None:
        """Count the frames that were dropped, if any, and say once that there are some."""
        if not frames:
            return
        metrics.dropped.add("slow_handler_frame", frames)
        if not self._slow:
            self._slow = True
            logger.warning(
                "%s.receive of call %s is slower than the caller talks; sound was dropped",
                self.name,
                self.host.context.webrtc_id,
            )


class ThreadPump(Pump):
    """Runs a `StreamHandler`: `receive` on one thread, `emit` on another."""

    def __init__(self, handler: StreamHandler, host: Host) -> None:
        super().__init__(handler, host)
        self.handler = handler
        self.inbox: Handover[Pcm] = Handover(UNHEARD_SECONDS)
        self._ticked = Bell()
        self._emitting = threading.Event()
        self._emitted = asyncio.Event()

    def start(self) -> None:
        """See `Driver`."""
        self.host.submit(self._start_up)
        if self.host.mode != "receive":
            self.host.submit(self._receive_loop)
        self._emitting.set()
        self.host.submit(self._emit_loop)

    def take(self, pcm: Pcm) -> None:
        """See `Pump`."""
        before = self.inbox.dropped
        self.inbox.offer(pcm, pcm.shape[1] / self.handler.input_sample_rate)
        self.too_slow(self.inbox.dropped - before)

    def tick(self) -> None:
        """See `Driver`."""
        super().tick()
        self._ticked.ring()

    async def close(self) -> None:
        """See `Driver`."""
        self.inbox.close()
        self.out.close()
        self._ticked.ring()
        await self._emit_ended()
        await shut_down(self.handler, self.host)
        if self._emitting.is_set():
            self._poke_queues()
            await self._emit_ended()
        if self._emitting.is_set():
            logger.warning(
                "%s.emit of call %s still blocks after the call; its thread stays until it "
                "returns. emit should return None when there is nothing to say.",
                self.name,
                self.host.context.webrtc_id,
            )

    def _start_up(self) -> None:
        self._attempt(self.handler.start_up, "start_up")

    def _receive_loop(self) -> None:
        rate = self.handler.input_sample_rate
        with contextlib.suppress(HandoverClosed):
            while True:
                pcm = self.inbox.take()
                self._attempt(lambda pcm=pcm: self.handler.receive(frame_of(rate, pcm)), "receive")
        if self._emitting.is_set():
            # Many a handler waits in emit for what receive puts into a queue: one last frame,
            # of silence, lets it return.
            channels = 2 if self.handler.expected_layout == "stereo" else 1
            silence = np.zeros((channels, rate // FRAMES_PER_SECOND), np.int16)
            with contextlib.suppress(BaseException):
                self.handler.receive((rate, silence))

    def _emit_loop(self) -> None:
        try:
            while not self.out.closed:
                if not self._emit_once():
                    self._ticked.sleep()
        except HandoverClosed:
            pass
        finally:
            self._emitting.clear()
            call_soon(self.host.loop, self._emitted.set)

    def _emit_once(self) -> bool:
        """Emit; False when there was nothing."""
        try:
            with self.host.workers.may_block():
                emitted = self.handler.emit()
            items = list(pieces_of(emitted))
        except BaseException as error:
            if not self.out.closed:
                call_soon(self.host.loop, self.complaints.report, contained(error), "emitting")
            return False
        before = self.out.clearings
        for item, seconds in items:
            if not self.out.put(item, seconds, since=before):
                break
            self.mouth.hurry(item, self.move)
            if isinstance(item, CloseStream):
                raise HandoverClosed  # Nothing is asked for after the end.
        return bool(items)

    def _attempt(self, method: Any, doing: str) -> None:
        try:
            method()
        except BaseException as error:
            call_soon(self.host.loop, self.complaints.report, contained(error), doing)

    async def _emit_ended(self) -> None:
        if self._emitting.is_set():
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._emitted.wait(), WAKE_SECONDS)

    def _poke_queues(self) -> None:
        """Wake an `emit` that waits on a queue of the handler's own that receive does not fill."""
        for value in list(vars(self.handler).values()):
            if isinstance(value, queue.Queue):
                with contextlib.suppress(queue.Full):
                    value.put_nowait(None)


class TaskPump(Pump):
    """Runs an `AsyncStreamHandler`: three tasks on the event loop."""

    def __init__(self, handler: AsyncStreamHandler, host: Host) -> None:
        super().__init__(handler, host)
        self.handler = handler
        self._inbox: deque[Pcm] = deque()
        self._unheard = 0
        """Samples in it."""
        self._heard: asyncio.Future[None] | None = None
        self._ticked: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self) -> None:
        """See `Driver`."""
        self._tasks = [self.host.spawn(self._start_up()), self.host.spawn(self._emit_loop())]
        if self.host.mode != "receive":
            self._tasks.append(self.host.spawn(self._receive_loop()))

    def take(self, pcm: Pcm) -> None:
        """See `Pump`."""
        self._inbox.append(pcm)
        self._unheard += pcm.shape[1]
        while self._unheard > UNHEARD_SECONDS * self.handler.input_sample_rate:
            if len(self._inbox) == 1:
                break
            self._unheard -= self._inbox.popleft().shape[1]
            self.too_slow(1)
        _wake(self._heard)

    def tick(self) -> None:
        """See `Driver`."""
        super().tick()
        _wake(self._ticked)

    async def close(self) -> None:
        """See `Driver`."""
        self.out.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, stuck = await asyncio.wait(self._tasks, timeout=SHUTDOWN_SECONDS)
            if stuck:
                logger.warning("%s does not let itself be cancelled", self.name)
        shutdown = self.host.spawn(self._attempt(self.handler.shutdown, "shutdown"))
        _, late = await asyncio.wait([shutdown], timeout=SHUTDOWN_SECONDS)
        if late:
            shutdown.cancel()
            logger.warning("%s.shutdown did not return within 5 s", self.name)

    async def _start_up(self) -> None:
        await self._attempt(self.handler.start_up, "start_up")

    async def _attempt(self, method: Callable[[], Any], doing: str) -> Any:
        """Call a method of the user's, whose errors must not end the task that calls it."""
        try:
            made = method()
            return await made if inspect.isawaitable(made) else made
        except asyncio.CancelledError:
            if self.out.closed:
                raise
            # Something that the method waits for was cancelled, and not this task.
            self.complaints.report(RuntimeError("what it waited for was cancelled"), doing)
        except (Exception, SystemExit) as error:
            self.complaints.report(contained(error), doing)
        return None

    async def _receive_loop(self) -> None:
        rate = self.handler.input_sample_rate
        while True:
            while not self._inbox:
                self._heard = self.host.loop.create_future()
                await self._heard
            pcm = self._inbox.popleft()
            self._unheard -= pcm.shape[1]
            frame = frame_of(rate, pcm)
            await self._attempt(functools.partial(self.handler.receive, frame), "receive")

    async def _emit_loop(self) -> None:
        with contextlib.suppress(HandoverClosed):
            while True:
                emitted = await self._attempt(self.handler.emit, "emitting")
                try:
                    items = list(pieces_of(emitted))
                except (TypeError, ValueError) as error:
                    items = []
                    self.complaints.report(error, "emitting")
                before = self.out.clearings
                for item, seconds in items:
                    while self.out.full:
                        await self._next_tick()
                    if not self.out.put(item, seconds, since=before):
                        break
                    self.mouth.hurry(item, self.move)
                    if isinstance(item, CloseStream):
                        return
                if not items:
                    await self._next_tick()

    async def _next_tick(self) -> None:
        self._ticked = self.host.loop.create_future()
        await self._ticked


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
