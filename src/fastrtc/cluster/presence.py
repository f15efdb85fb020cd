"""Whether a replica is still one of those that Serve runs. Knows no Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

AWAY_FOR: Final = 3.0
"""Seconds that a replica is missing until it is taken to leave. While Serve changes the options of
one that stays, such as how far it may scale, it is missing, too, for a moment."""

Tell = Callable[[frozenset[str]], object]

_watchers: Final[list[tuple[str, str, Tell]]] = []


def watch(app: str, deployment: str, tell: Tell) -> None:
    """Be told of the ids of the replicas of a deployment that run, whenever a router of this
    process learns of them. On the router's thread.
    """
    _watchers.append((app, deployment, tell))


def tell(app: str, deployment: str, running: frozenset[str]) -> None:
    """A router has learnt which replicas of a deployment run."""
    for *watched, told in _watchers:
        # A user's code may have handles to other streams, too.
        if watched == [app, deployment]:
            told(running)


class Presence:
    """Tells once that a replica leaves. On the event loop."""

    def __init__(self, replica: str, gone: Callable[[], object]) -> None:
        """``gone`` is called when ``replica`` has been there, and has been missing for long."""
        self.left = False
        """Whether it has been called."""
        self.back = False
        """Whether the replica runs for Serve all the same."""
        self._replica = replica
        self._gone = gone
        self._seen = False
        self._missing: asyncio.TimerHandle | None = None

    def look(self, running: Collection[str]) -> None:
        """These run now."""
        if self._replica in running:
            self._seen = True
            self.back = self.left
            if self._missing is not None:
                self._missing.cancel()
                self._missing = None
        elif self._seen and self._missing is None:
            self._missing = asyncio.get_running_loop().call_later(AWAY_FOR, self._leave)

    def _leave(self) -> None:
        if not self.left:
            self.left = True
            self._gone()
