"""Plain functions as handlers: one that speaks (`receive`), or one that listens (`send`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from fastrtc.audio.convert import Pcm
from fastrtc.audio.playout import FRAMES_PER_SECOND
from fastrtc.handlers.base import HandlerBase, frame_of, is_async
from fastrtc.handlers.driver import Driver, Host
from fastrtc.handlers.pump import SHUTDOWN_SECONDS, UNHEARD_SECONDS, Pump
from fastrtc.handlers.reply import Reply, check_defaults, inputs_wanted
from fastrtc.handlers.values import Chunk, read_emitted
from fastrtc.threads import Handover, HandoverClosed, call_soon, contained

OUTPUTS_KEPT: Final = 1_000
"""Outputs of a function that listens, before the oldest is dropped."""


class FunctionHandler(HandlerBase):
    """A function in the place of a handler.

    In the mode ``"receive"`` it is called once with the page's inputs, and what it yields is
    heard; the call ends when that has been heard. In the mode ``"send"`` it is called with every
    20 ms of the caller's sound and the inputs, and may return or yield `AdditionalOutputs`.
    """

    def __init__(self, function: Callable[..., Any], mode: str) -> None:
        super().__init__()
        self.function = function
        self.mode = mode

    def copy(self) -> FunctionHandler:
        """A fresh handler for one call."""
        return FunctionHandler(self.function, self.mode)

    def _check_phone(self) -> None:
        check_defaults(self.function, after=0 if self.mode == "receive" else 1)

    def _driver(self, host: Host) -> Driver:
        return Speaker(self, host) if self.mode == "receive" else Listener(self, host)


class Speaker:
    """Drives a function that speaks."""

    def __init__(self, handler: FunctionHandler, host: Host) -> None:
        self.handler = handler
        self.host = host
        self._reply: Reply | None = None
        self._starting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """See `Driver`."""
        self._starting = self.host.spawn(self._start())

    def hear(self, pcm: Pcm) -> None:
        """See `Driver`: it does not listen."""

    def tick(self) -> None:
        """See `Driver`."""
        if self._reply is not None:
            self._reply.tick()

    def clear(self) -> None:
        """See `Driver`: there is nothing here that the playout does not hold."""

    async def close(self) -> None:
        """See `Driver`."""
        if self._starting is not None:
            self._starting.cancel()
        if self._reply is not None:
            self._reply.cancel()
            await self._reply.wait(SHUTDOWN_SECONDS)

    async def _start(self) -> None:
        least, most = inputs_wanted(self.handler.function, after=0)
        if least:
            try:
                await self.handler.wait_for_args()
            except TimeoutError as error:
                self.host.report(error, "waiting for inputs")
                self._ended()
                return
        self._reply = Reply(
            1,
            self.host,
            self.handler.function,
            tuple(self.handler.latest_args[1:][:most]),
            on_heard=self._ended,
        )
        self._reply.start()

    def _ended(self) -> None:
        self.host.end("The stream has ended")


class Listener(Pump):
    """Drives a function that listens: on a worker thread, or in a task if it is async."""

    def __init__(self, handler: FunctionHandler, host: Host) -> None:
        super().__init__(handler, host)
        self.handler = handler
        self._inputs = inputs_wanted(handler.function, after=1)
        self.inbox: Handover[Pcm] = Handover(UNHEARD_SECONDS)
        self.out = Handover(OUTPUTS_KEPT / FRAMES_PER_SECOND)
        self._arrived: asyncio.Event = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None

    def start(self) -> None:
        """See `Driver`."""
        self._task = self.host.spawn(self._run())

    def hear(self, pcm: Pcm) -> None:
        """See `Driver`."""
        before = self.inbox.dropped
        self.inbox.offer(pcm, pcm.shape[1] / self.handler.input_sample_rate)
        self.too_slow(self.inbox.dropped - before)
        self._arrived.set()

    async def close(self) -> None:
        """See `Driver`."""
        self.inbox.close()
        self.out.close()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        if self._inputs[0]:
            try:
                await self.handler.wait_for_args()
            except TimeoutError as error:
                self.host.report(error, "waiting for inputs")
                return
        if not is_async(self.handler.function):
            self.host.submit(self._listen)
            return
        while True:
            self._arrived.clear()
            while (pcm := self.inbox.drain_one()) is not None:
                try:
                    await self._hear_async(pcm)
                except (Exception, SystemExit) as error:
                    self.complaints.report(contained(error), "listening")
            await self._arrived.wait()

    def _call(self, pcm: Pcm) -> Any:
        inputs = self.handler.latest_args[1:][: self._inputs[1]]
        return self.handler.function(frame_of(self.handler.input_sample_rate, pcm), *inputs)

    def _listen(self) -> None:
        with contextlib.suppress(HandoverClosed):
            while True:
                pcm = self.inbox.take()
                try:
                    made = self._call(pcm)
                    for value in made if hasattr(made, "__next__") else [made]:
                        self._give(value)
                except HandoverClosed:
                    raise
                except BaseException as error:
                    call_soon(self.host.loop, self.complaints.report, contained(error), "listening")

    async def _hear_async(self, pcm: Pcm) -> None:
        made = self._call(pcm)
        if hasattr(made, "__anext__"):
            async for value in made:
                self._give(value)
        else:
            self._give(await made)

    def _give(self, value: Any) -> None:
        for item in read_emitted(value):
            # Sound has nobody to hear it in this mode.
            if not isinstance(item, Chunk):
                self.out.offer(item, 1 / FRAMES_PER_SECOND)
                self.mouth.hurry(item, self.move)
