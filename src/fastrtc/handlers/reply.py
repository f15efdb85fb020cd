"""Runs a user's function for one reply, and is never waited for."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from fastrtc.handlers.base import is_async
from fastrtc.handlers.driver import Host
from fastrtc.handlers.mouth import Mouth
from fastrtc.handlers.values import Chunk, Item, pieces_of
from fastrtc.threads import Handover, HandoverClosed, call_soon

LEAD_SECONDS: Final = 10.0
"""How far a function may run ahead of what has been heard."""
PLAYOUT_SECONDS: Final = 0.2
"""How much of that stands converted in the playout; enough for a late tick or two."""

ANY_NUMBER: Final = 1_000


class _End:
    """The function has returned, or raised ``error``."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Reply:
    """One call of a user's function, from the start to the last sound that it yields.

    A sync function runs on a worker thread, an async one on the event loop. After `cancel`,
    whatever it still yields goes nowhere; its generator is closed as soon as it yields.
    """

    def __init__(
        self,
        epoch: int,
        host: Host,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        *,
        on_sound: Callable[[], None],
        on_heard: Callable[[], None],
    ) -> None:
        """Set up a reply.

        Args:
            epoch: counts the replies of a call, for the log.
            host: the session.
            function: a sync or async generator function, or whatever returns an iterator.
            args: what to call it with.
            on_sound: called when its first sound goes into the playout.
            on_heard: called when its last sound has been heard, or it had none.
        """
        self.epoch = epoch
        self.running = False
        """Whether the user's function has been called and has not come back."""
        self._host = host
        self._function = function
        self._args = args
        self._on_sound: Callable[[], None] | None = on_sound
        self._on_heard = on_heard
        self._out: Handover[Item | _End] = Handover(LEAD_SECONDS)
        self._mouth = Mouth(host)
        self._task: asyncio.Task[Any] | None = None
        self._room: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Call the function."""
        self.running = True
        if is_async(self._function):
            self._task = self._host.spawn(self._run_async(None))
        else:
            self._host.submit(self._run_sync)

    def tick(self) -> None:
        """Move what is due into the playout."""
        playout = self._host.playout
        while playout.buffered < PLAYOUT_SECONDS:
            item = self._out.drain_one()
            if item is None:
                break
            if isinstance(item, _End):
                self._finish(item.error)
                break
            if isinstance(item, Chunk) and self._on_sound is not None:
                self._on_sound()
                self._on_sound = None
            self._mouth.say(item)
        if self._room is not None and not self._out.full and not self._room.done():
            self._room.set_result(None)

    def cancel(self) -> None:
        """Forget the reply. The function is told when it next yields or awaits."""
        self._out.close()
        if self._task is not None:
            self._task.cancel()

    def _finish(self, error: BaseException | None) -> None:
        if error is not None:
            self._host.report(error, "replying")
        self._mouth.finish()
        self._host.playout.mark(self._on_heard)

    def _run_sync(self) -> None:
        """On a worker thread."""
        error: BaseException | None = None
        try:
            made = self._function(*self._args)
            if hasattr(made, "__anext__") or inspect.isawaitable(made):
                if call_soon(self._host.loop, self._go_on_async, made):
                    return
            else:
                self._drain_sync(made)
        except HandoverClosed:
            pass
        except BaseException as raised:
            error = raised
        self.running = False
        self._end(error)

    def _drain_sync(self, made: Any) -> None:
        if not hasattr(made, "__next__"):
            self._put_all(made)
            return
        values: Iterator[Any] = made
        try:
            for value in values:
                self._put_all(value)
                if self._out.closed:
                    break
        finally:
            if hasattr(values, "close"):
                values.close()

    def _put_all(self, value: Any) -> None:
        for item, seconds in pieces_of(value):
            self._out.put(item, seconds)

    def _end(self, error: BaseException | None) -> None:
        if self._out.closed:
            # The reply was interrupted: nobody waits for it, but its error is still news.
            if error is not None:
                call_soon(self._host.loop, self._host.report, error, "ending a reply")
            return
        with contextlib.suppress(HandoverClosed):
            self._out.put(_End(error), 0.0)

    def _go_on_async(self, made: Any) -> None:
        self._task = self._host.spawn(self._run_async(made))
        if self._out.closed:
            self._task.cancel()

    async def _run_async(self, made: Any) -> None:
        error: BaseException | None = None
        try:
            made = self._function(*self._args) if made is None else made
            if inspect.isawaitable(made):
                made = await made
            if hasattr(made, "__anext__"):
                await self._drain_async(made)
            elif hasattr(made, "__next__"):
                # An async function that returns a plain iterator: that may block.
                await self._host.workers.call(self._drain_sync, made)
            else:
                await self._put_all_async(made)
        except (HandoverClosed, asyncio.CancelledError):
            pass
        except BaseException as raised:
            error = raised
        self.running = False
        if self._out.closed:
            self._end(error)
        else:
            self._out.offer(_End(error), 0.0)

    async def _drain_async(self, values: AsyncIterator[Any]) -> None:
        try:
            async for value in values:
                await self._put_all_async(value)
        finally:
            if hasattr(values, "aclose"):
                await values.aclose()

    async def _put_all_async(self, value: Any) -> None:
        for item, seconds in pieces_of(value):
            while self._out.full:
                self._room = self._host.loop.create_future()
                await self._room
            self._out.put(item, seconds)


def inputs_wanted(function: Callable[..., Any], after: int) -> tuple[int, int]:
    """How many inputs a function takes after its first arguments: at least, and at most."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return 0, 0
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 0, ANY_NUMBER
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    return max(0, len(required) - after), max(0, len(positional) - after)
