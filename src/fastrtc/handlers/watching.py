"""Those who watch how turns are taken: the client, for its live strip, and the user's hooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from fastrtc.handlers.base import is_async
from fastrtc.handlers.driver import Host
from fastrtc.messages import create_message
from fastrtc.threads import call_soon
from fastrtc.turns.record import Decision, Step, Turn

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
        self._host.send_message(create_message("turn", _rounded(asdict(turn))))


class HookWatcher:
    """A `Watcher` that gives each turn to a function of the user's."""

    def __init__(self, host: Host, hook: Callable[[Turn], Any]) -> None:
        self._host = host
        self._hook = hook

    def step(self, step: Step) -> None:
        """See `Watcher`."""

    def decision(self, decision: Decision) -> None:
        """See `Watcher`."""

    def turn(self, turn: Turn) -> None:
        """See `Watcher`."""
        call_hook(self._host, self._hook, turn, "on_turn")


def call_hook(host: Host, hook: Callable[[Any], Any], value: Any, name: str) -> None:
    """Call a function of the user's that nobody waits for: on a worker, or in a task."""

    async def run_async() -> None:
        try:
            await hook(value)
        except Exception as error:
            host.report(error, name)

    def run() -> None:
        try:
            hook(value)
        except BaseException as error:
            call_soon(host.loop, host.report, error, name)

    if is_async(hook):
        host.spawn(run_async())
    else:
        host.submit(run)


def _rounded(value: Any) -> Any:
    """Milliseconds are enough to be seen."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return value
