"""Drivers for `StreamHandler` and `AsyncStreamHandler`: move frames in, and what they emit out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections import deque
from typing import Any, Final

import numpy as np

from fastrtc.audio.convert import Pcm
from fastrtc.audio.playout import FRAMES_PER_SECOND
from fastrtc.handlers.base import AsyncStreamHandler, HandlerBase, StreamHandler, frame_of
from fastrtc.handlers.driver import Host
from fastrtc.handlers.mouth import Mouth
from fastrtc.handlers.values import Item, pieces_of
from fastrtc.threads import Bell, Handover, HandoverClosed, call_soon

logger = logging.getLogger(__name__)

UNHEARD_SECONDS: Final = 1.0
"""How much of the caller's sound may wait for a slow `receive`; older sound is dropped."""
AHEAD_SECONDS: Final = 0.1
"""How much an `emit` may be ahead of the playout: little, as it may answer live sound."""
PLAYOUT_SECONDS: Final = 0.06
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


class Pump:
    """What both pumps share: the way out."""

    def __init__(self, handler: HandlerBase, host: Host) -> None:
        self.host = host
        self.name = type(handler).__name__
        self.complaints = _Complaints(host)
        self.out: Handover[Item] = Handover(AHEAD_SECONDS)
        self.mouth = Mouth(host)

    def tick(self) -> None:
        """Move what was emitted into the playout."""
        while self.host.playout.buffered < PLAYOUT_SECONDS:
            item = self.out.drain_one()
            if item is None:
                break
            self.mouth.say(item)

    def clear(self) -> None:
        """Drop what was emitted."""
        self.out.clear()

    def too_slow(self) -> None:
        """Say once that sound was dropped."""
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

    def hear(self, pcm: Pcm) -> None:
        """See `Driver`."""
        before = self.inbox.dropped
        self.inbox.offer(pcm, 1 / FRAMES_PER_SECOND)
        if self.inbox.dropped and not before:
            self.too_slow()

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
        await self._shut_down()
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
            with contextlib.suppress(Exception):
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
        except Exception as error:
            if not self.out.closed:
                call_soon(self.host.loop, self.complaints.report, error, "emitting")
            return False
        before = self.out.clearings
        for item, seconds in items:
            if not self.out.put(item, seconds, since=before):
                break
        return bool(items)

    def _attempt(self, method: Any, doing: str) -> None:
        try:
            method()
        except Exception as error:
            call_soon(self.host.loop, self.complaints.report, error, doing)

    async def _emit_ended(self) -> None:
        if self._emitting.is_set():
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._emitted.wait(), WAKE_SECONDS)

    async def _shut_down(self) -> None:
        try:
            await asyncio.wait_for(self.host.workers.call(self.handler.shutdown), SHUTDOWN_SECONDS)
        except (TimeoutError, asyncio.TimeoutError):
            logger.warning("%s.shutdown did not return within 5 s", self.name)
        except Exception as error:
            self.host.report(error, "shutdown")

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
        self._inbox: deque[Pcm] = deque(maxlen=round(UNHEARD_SECONDS * FRAMES_PER_SECOND))
        self._heard: asyncio.Future[None] | None = None
        self._ticked: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._slow = False

    def start(self) -> None:
        """See `Driver`."""
        self._tasks = [self.host.spawn(self._start_up()), self.host.spawn(self._emit_loop())]
        if self.host.mode != "receive":
            self._tasks.append(self.host.spawn(self._receive_loop()))

    def hear(self, pcm: Pcm) -> None:
        """See `Driver`."""
        if len(self._inbox) == self._inbox.maxlen and not self._slow:
            self._slow = True
            self.too_slow()
        self._inbox.append(pcm)
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
        shutdown = self.host.spawn(self.handler.shutdown())
        done, _ = await asyncio.wait([shutdown], timeout=SHUTDOWN_SECONDS)
        if not done:
            shutdown.cancel()
            logger.warning("%s.shutdown did not return within 5 s", self.name)
        elif not shutdown.cancelled() and (error := shutdown.exception()):
            self.host.report(error, "shutdown")

    async def _start_up(self) -> None:
        try:
            await self.handler.start_up()
        except Exception as error:
            self.host.report(error, "start_up")

    async def _receive_loop(self) -> None:
        rate = self.handler.input_sample_rate
        while True:
            while not self._inbox:
                self._heard = self.host.loop.create_future()
                await self._heard
            try:
                await self.handler.receive(frame_of(rate, self._inbox.popleft()))
            except Exception as error:
                self.complaints.report(error, "receive")

    async def _emit_loop(self) -> None:
        with contextlib.suppress(HandoverClosed):
            while True:
                try:
                    items = list(pieces_of(await self.handler.emit()))
                except Exception as error:
                    items = []
                    self.complaints.report(error, "emitting")
                before = self.out.clearings
                for item, seconds in items:
                    while self.out.full:
                        await self._next_tick()
                    if not self.out.put(item, seconds, since=before):
                        break
                if not items:
                    await self._next_tick()

    async def _next_tick(self) -> None:
        self._ticked = self.host.loop.create_future()
        await self._ticked


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
