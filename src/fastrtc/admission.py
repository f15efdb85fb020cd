"""The one door: who may connect, for every transport, before any resource is taken."""

from __future__ import annotations

import os
from typing import Any, Final

from fastrtc.session import Session

CALLS_PER_CORE: Final = 20
"""What `concurrency_limit="default"` allows: well inside what one process keeps in real time."""


class Refused(Exception):
    """A call is not let in.

    Attributes:
        error: the reason, as clients know it.
        facts: what else the client is told.
    """

    def __init__(self, error: str, **facts: Any) -> None:
        super().__init__(error)
        self.error = error
        self.facts = facts


def read_limit(given: Any) -> int | None:
    """What a user's ``concurrency_limit`` means.

    Raises:
        ValueError: it is neither a whole number over 0, nor None, nor ``"default"``.
    """
    if given is None:
        return None
    if given == "default":
        # One process uses one core for media, and the rest for models.
        return CALLS_PER_CORE * max(1, min(4, (os.cpu_count() or 1) // 2))
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ValueError(
            f'expected a concurrency_limit of 1 or more, None or "default", got {given!r}'
        )
    return given


class Door:
    """The live calls of a stream, and how many there may be."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.sessions: dict[str, Session] = {}

    def check(self, session_id: str) -> None:
        """Raise `Refused` if a call with this id may not come in now."""
        if session_id in self.sessions:
            raise Refused("connection_already_exists")
        if self.limit is not None and len(self.sessions) >= self.limit:
            raise Refused("concurrency_limit_reached", limit=self.limit)

    def enter(self, session: Session) -> None:
        """Take a slot."""
        self.check(session.id)
        self.sessions[session.id] = session

    def leave(self, session: Session) -> None:
        """Give the slot back."""
        if self.sessions.get(session.id) is session:
            del self.sessions[session.id]
