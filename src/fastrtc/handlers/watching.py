"""Those who watch how turns are taken: the client, for its live strip, and the user's hooks."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastrtc import metrics
from fastrtc.handlers.base import is_async
from fastrtc.handlers.driver import Host
from fastrtc.messages import create_message
from fastrtc.threads import call_soon, contained
from fastrtc.turns.record import Decision, Step, Turn

NEWS_KEPT: Final = 100
"""Calls of a hook that wait for one that does not return."""
STEPS_A_MESSAGE: Final = 5
"""Steps that are sent at once: six messages a second."""


class ClientWatcher:
    """A `Watcher` that tells the client of a call."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._steps: list[Step] = []

    def step(self, step: Step) -> None:
        """See `Watcher`."""
        self._steps.append(step)
        if len(self._steps) >= STEPS_A_MESSAGE:
            rows = [
                [round(s.probability, 2), round(s.level), round(s.playing), s.state]
                for s in self._steps
            ]
            self._steps = []
            self._host.send_message(
                create_message("steps", {"end": round(step.at, 3), "steps": rows})
            )

    def decision(self, decision: Decision) -> None:
        """See `Watcher`."""
        evidence = decision.evidence
        facts = {
            "at": decision.at,
            "kind": decision.kind,
            "finished": evidence and evidence.finished,
            "patience": evidence and evidence.patience,
            "words": evidence and evidence.opinion.words,
        }
        self._host.send_message(create_message("decision", _rounded(facts)))

    def turn(self, turn: Turn) -> None:
        """See `Watcher`."""
        self._host.send_message(create_message("turn", _rounded(turn.as_dict())))


class HookWatcher:
    """A `Watcher` that gives each turn to a function of the user's."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    def step(self, step: Step) -> None:
        """See `Watcher`."""

    def decision(self, decision: Decision) -> None:
        """See `Watcher`."""

    def turn(self, turn: Turn) -> None:
        """See `Watcher`."""
        self._hook.tell(turn)


class Hook:
    """A function of the user's that is told of things, one after the other.

    A plain function runs on a worker thread, an async one in a task. It may raise or block: then
    the next news wait, and the oldest of them are dropped.
    """

    def __init__(self, host: Host, function: Callable[[Any], Any], name: str) -> None:
        self._host = host
        self._function = function
        self._name = name
        self._news: deque[Any] = deque(maxlen=NEWS_KEPT)
        self._busy = False
        self._idle = asyncio.Event()
        self._idle.set()

    def tell(self, value: Any) -> None:
        """Call the function with a value, when it has returned from the last call."""
        if len(self._news) == NEWS_KEPT:
            metrics.dropped.add("hook_call")
        self._news.append(value)
        if not self._busy:
            self._next()

    async def wait(self, seconds: float) -> None:
        """Wait until all has been told, but not for longer."""
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)

    def _next(self) -> None:
        self._busy = bool(self._news)
        if not self._busy:
            self._idle.set()
            return
        self._idle.clear()
        value = self._news.popleft()
        if is_async(self._function):
            self._host.spawn(self._run_async(lambda: self._function(value)))
        else:
            self._host.submit(lambda: self._run(value))

    async def _run_async(self, make: Callable[[], Awaitable[Any]]) -> None:
        try:
            await make()
        except (Exception, SystemExit) as error:
            self._host.report(contained(error), self._name)
        self._next()

    def _run(self, value: Any) -> None:
        made: Any = None
        try:
            made = self._function(value)
        except BaseException as error:
            call_soon(self._host.loop, self._host.report, contained(error), self._name)
        call_soon(self._host.loop, self._ran, made)

    def _ran(self, made: Any) -> None:
        if inspect.isawaitable(made):
            self._host.spawn(self._run_async(lambda: made))
        else:
            self._next()


def _rounded(value: Any) -> Any:
    """Milliseconds are enough to be seen."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return value
