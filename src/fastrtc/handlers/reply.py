"""Runs a user's function for one reply, and is never waited for."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from fastrtc.context import current_reply
from fastrtc.handlers.base import is_async
from fastrtc.handlers.driver import Host
from fastrtc.handlers.mouth import Mouth
from fastrtc.handlers.values import Chunk, Item, pieces_of
from fastrtc.threads import Handover, HandoverClosed, call_soon
from fastrtc.tracing import Span
from fastrtc.turns.record import Heard

logger = logging.getLogger(__name__)

LEAD_SECONDS: Final = 10.0
"""How far a function may run ahead of what has been heard."""
PLAYOUT_SECONDS: Final = 0.2
"""How much of that stands converted in the playout; enough for a late tick or two."""

ITEMS_A_TICK: Final = 100
"""Items that are moved at a tick: a function that floods must not keep the loop."""
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
        on_heard: Callable[[], None],
        on_output: Callable[[], None] = lambda: None,
        on_sound: Callable[[], None] = lambda: None,
        held: bool = False,
        span: Span | None = None,
    ) -> None:
        """Set up a reply.

        Args:
            epoch: counts the replies of a call, for the log.
            host: the session.
            function: a sync or async generator function, or whatever returns an iterator.
            args: what to call it with.
            on_heard: called when its last sound has been heard, or it had none.
            on_output: called when the function has yielded its first value.
            on_sound: called when its first sound goes into the playout.
            held: keep all that it yields until `release`.
            span: what the function's own spans are parts of, if not those of the call.
        """
        self.epoch = epoch
        self.running = False
        """Whether the user's function has been called and has not come back."""
        self._host = host
        self._function = function
        self._args = args
        self.held = held
        self._span = span
        self.error: BaseException | None = None
        """What the function raised."""
        self._on_output: Callable[[], None] | None = on_output
        self._on_sound: Callable[[], None] | None = on_sound
        self._on_heard = on_heard
        self._out: Handover[Item | _End] = Handover(LEAD_SECONDS)
        self._mouth = Mouth(host)
        self._task: asyncio.Task[Any] | None = None
        self._room: asyncio.Future[None] | None = None
        self._quiet = self._yielded = False
        self._heard: Heard | None = None
        """Set when no more will be heard."""

    @property
    def heard(self) -> Heard:
        """What the caller has heard of it. From any thread."""
        if self._heard is not None:
            return self._heard
        return self._mouth.script.heard(self._host.heard_until)

    @property
    def remaining(self) -> float | None:
        """Seconds that are still to be heard; None while the function has not returned."""
        return None if self.running else self._out.weight + self._host.playout.buffered

    def start(self) -> None:
        """Call the function."""
        self.running = True
        if is_async(self._function):
            self._follow(None)
        else:
            self._host.submit(self._run_sync)

    def tick(self) -> None:
        """20 ms have passed: move what is due into the playout."""
        self._mouth.tick()
        self._move()

    def _move(self) -> None:
        if self._on_output is not None and self._yielded:
            self._on_output()
            self._on_output = None
        playout = self._host.playout
        if self.held or playout.held:
            return
        for _ in range(ITEMS_A_TICK):
            if playout.buffered >= PLAYOUT_SECONDS:
                break
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

    def release(self) -> None:
        """Let it be heard."""
        self.held = False
        self.tick()

    def cancel(self, *, quietly: bool = False) -> None:
        """Forget the reply. The function is told when it next yields or awaits.

        ``quietly``: an error that it may still raise is for the log alone.
        """
        self._quiet = quietly
        self._heard = self.heard
        self._out.close()
        if self._task is not None:
            self._task.cancel()

    async def wait(self, seconds: float) -> None:
        """Let a cancelled async function clean up, for so long."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)

    def _finish(self, error: BaseException | None) -> None:
        if error is not None:
            self._host.report(error, "replying")
        self._mouth.finish()
        self._host.when_heard(self._ended)

    def _ended(self) -> None:
        self._heard = self._mouth.script.heard(self._host.playout.heard)
        self._on_heard()

    def _enter(self) -> None:
        """Let the function find what it is called for. Its context is a copy, and ends with it."""
        current_reply.set(self)
        if self._span is not None:
            self._span.enter()

    # A sync function, on a worker thread.

    def _run_sync(self) -> None:
        self._enter()
        if self._out.closed:
            self._returned(None)
            return
        try:
            made = self._function(*self._args)
        except BaseException as error:
            self._returned(error)
            return
        if hasattr(made, "__anext__") or inspect.isawaitable(made):
            call_soon(self._host.loop, self._follow, made)
        else:
            self._run_made(made)

    def _run_made(self, made: Any) -> None:
        """Take what the function has made: an iterator, or one value."""
        self._enter()
        error: BaseException | None = None
        try:
            if hasattr(made, "__next__"):
                self._drain_sync(made)
            else:
                self._put_all(made)
        except HandoverClosed:
            pass
        except BaseException as raised:
            error = raised
        self._returned(error)

    def _drain_sync(self, values: Iterator[Any]) -> None:
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
            self._yielded = True
            self._mouth.hurry(item, self._move)

    def _returned(self, error: BaseException | None) -> None:
        """The function has come back. From any thread."""
        self.running = False
        self.error = error
        if not self._out.closed:
            self._out.put_last(_End(error))
        elif error is not None:
            # The reply was interrupted: nobody waits for it, but its error is still news.
            call_soon(self._host.loop, self._late_error, error)

    def _late_error(self, error: BaseException) -> None:
        if self._quiet:
            self.log_error(error)
        else:
            self._host.report(error, "ending a reply")

    def log_error(self, error: BaseException) -> None:
        """Log an error of a reply that was given up before anybody knew of it."""
        logger.warning(
            "Call %s: an error in a reply that was begun early and discarded",
            self._host.context.webrtc_id,
            exc_info=error,
        )

    # An async function, in a task.

    def _follow(self, made: Any) -> None:
        """Run the function, or what it has made, in a task."""
        self._task = self._host.spawn(self._run_async(made))
        self._task.add_done_callback(lambda task: self._never_began(task, made))
        if self._out.closed:
            self._task.cancel()

    def _never_began(self, task: asyncio.Task[Any], made: Any) -> None:
        """A task that is cancelled before its first step runs no clean-up of its own."""
        if task.cancelled():
            self.running = False
            if inspect.iscoroutine(made):
                made.close()

    async def _run_async(self, made: Any) -> None:
        self._enter()
        error: BaseException | None = None
        try:
            made = self._function(*self._args) if made is None else made
            if inspect.isawaitable(made):
                made = await made
            if hasattr(made, "__next__"):
                # An async function that returns a plain iterator: that may block.
                self._host.submit(functools.partial(self._run_made, made))
                return
            if hasattr(made, "__anext__"):
                await self._drain_async(made)
            else:
                await self._put_all_async(made)
        except HandoverClosed:
            pass
        except asyncio.CancelledError:
            if not self._out.closed:
                error = RuntimeError("what the function waited for was cancelled")
        except BaseException as raised:
            error = raised
        self._returned(error)

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
            self._yielded = True
            self._mouth.hurry(item, self._move)


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


def check_defaults(function: Callable[..., Any], after: int) -> None:
    """Find out whether a function can be called without inputs.

    Raises:
        ValueError: it cannot.
    """
    least, _ = inputs_wanted(function, after)
    if least:
        name = getattr(function, "__name__", type(function).__name__)
        raise ValueError(
            f"On a telephone nobody fills in inputs, and {name}() has {least} without a default: "
            "give every argument but the audio a default. What it yields as AdditionalOutputs "
            "comes in again as the inputs of its next call."
        )
