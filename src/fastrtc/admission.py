"""The one door: who may connect, for every transport, before any resource is taken."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

from fastrtc.session import Session
from fastrtc.threads import Workers

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from fastrtc.elsewhere import Elsewhere

logger = logging.getLogger(__name__)

Authorize = Callable[["HTTPConnection"], Any]
"""Says whether a caller may come in: False or None for no, True for yes, anything else for yes
and who it is. Sync or async."""

AUTHORIZED_WITHIN: Final = 5.0
"""Seconds that it has."""

DEFAULT_LIMIT: Final = 40
"""What `concurrency_limit="default"` allows: the sound of all calls is the work of one core."""

REPLACED_WITHIN: Final = 5.0
"""Seconds that a call has to end whose caller has lost it and comes back. Clients wait for 10."""


class Refused(Exception):
    """A call is not let in.

    Attributes:
        error: the reason, as clients know it.
        why: the reason, as the operator should know it.
        facts: what else the client is told.
    """

    def __init__(self, error: str, *, why: str = "", **facts: Any) -> None:
        super().__init__(error)
        self.error = error
        self.why = why or error
        self.facts = facts

    def as_reply(self) -> dict[str, Any]:
        """The refusal, in the form that clients know."""
        return {"status": "failed", "meta": {"error": self.error, **self.facts}}


def read_limit(given: Any) -> int | None:
    """What a user's ``concurrency_limit`` means.

    Raises:
        ValueError: it is neither a whole number over 0, nor None, nor ``"default"``.
    """
    if given is None:
        return None
    if given == "default":
        return DEFAULT_LIMIT
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ValueError(
            f'expected a concurrency_limit of 1 or more, None or "default", got {given!r}'
        )
    return given


async def identify(
    authorize: Authorize | None, connection: HTTPConnection | None, workers: Workers
) -> Any:
    """Ask the user's function who a caller is; None where it does not say.

    Raises:
        Refused: the caller may not come in, or the function failed.
    """
    if authorize is None:
        return None
    if connection is None:
        logger.error(
            "A caller was refused: the stream has an authorize function, so offer() needs the "
            "request, as in stream.offer(body, request)"
        )
        raise Refused("not_authorized")
    try:
        found = await asyncio.wait_for(workers.ask(authorize, connection), AUTHORIZED_WITHIN)
    except Exception as error:
        logger.exception("A caller was refused: the authorize function failed")
        raise Refused("not_authorized") from error
    if found is None or found is False:
        raise Refused("not_authorized")
    return None if found is True else found


class Door:
    """The live calls of a stream, and how many there may be."""

    def __init__(self, limit: int | None, overloaded: Callable[[], bool] = lambda: False) -> None:
        """``overloaded``: whether there is too little time for the calls that there are."""
        self.limit = limit
        self._overloaded = overloaded
        self.sessions: dict[str, Session] = {}
        self.elsewhere: Elsewhere | None = None
        """The other replicas, which then count the calls together."""
        self.closing = False
        """Whether nobody is let in any more."""
        self._kept: Counter[str] = Counter()
        """Ids whose places are kept while their callers come back."""

    def check(self, session_id: str) -> None:
        """Raise `Refused` if a call with this id may not come in now."""
        if session_id in self.sessions:
            raise Refused("connection_already_exists")
        if session_id in self._kept and not self.closing:
            return
        if (refusal := self.refusal) is not None:
            if refusal.why == "overloaded":
                live = len(self.sessions)
                logger.warning("A call was refused: this process is late with %d calls", live)
            raise refusal

    @property
    def refusal(self) -> Refused | None:
        """Why nobody may come in now; None while there is room."""
        if self.closing:
            return Refused("shutting_down")
        alone = self.elsewhere is None
        taken = self.sessions.keys() | self._kept.keys() if self._kept else self.sessions
        if alone and self.limit is not None and len(taken) >= self.limit:
            return Refused("concurrency_limit_reached", limit=self.limit)
        if self._overloaded():
            # Who is inside keeps real time. Clients know this word for "try again later".
            live = max(1, len(self.sessions))
            return Refused("concurrency_limit_reached", why="overloaded", limit=live)
        return None

    async def find_refusal(self) -> Refused | None:
        """The same, where other replicas may take calls that this one does not."""
        return self.refusal if self.elsewhere is None else await self.elsewhere.refusal()

    def enter(self, session: Session) -> None:
        """Take a slot."""
        self.check(session.id)
        self.sessions[session.id] = session
        self._changed()

    @contextlib.asynccontextmanager
    async def returning(self, session_id: str, identity: Any) -> AsyncIterator[None]:
        """Let a caller come back who has lost a call of this id.

        Where that call is still live here, it is ended first, and inside the caller may `enter`
        even if there is no room: the place is the one that the call had.

        Raises:
            Refused: the call is somebody else's, it does not end in time, or nobody is let in.
        """
        if session_id not in self.sessions:
            yield
            return
        self._check_caller(self.sessions[session_id], identity)
        if self.closing:
            # Whoever leaves is not hung up on for a call that may not begin.
            raise Refused("shutting_down")
        self._kept[session_id] += 1
        try:
            await self.make_way(session_id, identity)
            yield
        finally:
            self._kept[session_id] -= 1
            self._kept = +self._kept

    async def make_way(self, session_id: str, identity: Any) -> None:
        """End a call that its caller has lost, and begins anew.

        Raises:
            Refused: the call is somebody else's, or it does not end in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + REPLACED_WITHIN
        # More than one, if the caller comes back more than once.
        while (session := self.sessions.get(session_id)) is not None:
            self._check_caller(session, identity)
            logger.info("Call %s gives way to its caller, who comes back", session_id)
            try:
                await asyncio.wait_for(session.close(), deadline - loop.time())
            except (TimeoutError, asyncio.TimeoutError):
                raise Refused("connection_already_exists", why="call_does_not_end") from None

    @staticmethod
    def _check_caller(session: Session, identity: Any) -> None:
        if session.context.identity != identity:
            raise Refused("not_authorized")

    def open(self) -> None:
        """Let callers in: a server has started."""
        self.closing = False

    async def close(self, grace: float) -> None:
        """Let nobody in any more, and wait for those inside to leave, but not for longer."""
        self.closing = True
        self._changed()
        if grace > 0 and self.sessions:
            logger.info("%d calls have %g s to end", len(self.sessions), grace)
            ends = asyncio.gather(*(session.closed.wait() for session in self.sessions.values()))
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(ends, grace)

    def leave(self, session: Session) -> None:
        """Give the slot back."""
        if self.sessions.get(session.id) is session:
            del self.sessions[session.id]
            self._changed()

    def _changed(self) -> None:
        if self.elsewhere is not None:
            self.elsewhere.changed()
