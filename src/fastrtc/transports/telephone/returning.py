"""Calls whose media socket broke, and that come back: how often, and which have really ended.

A platform whose socket to us is gone goes on with its document, whether we have hung up or were
killed. So the document ends with a question to our webhook, which carries a `Ticket`; and what
we end ourselves is noted in a `Ledger` before the socket is closed, so that whoever answers the
question can tell the two apart.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from fastrtc.transports.telephone.tokens import Seal, new_line

MOST_BREAKS: Final = 3
"""Times that a call comes back within `BREAK_SECONDS`: a server that breaks all calls must not
keep them for ever, as they cost money."""
BREAK_SECONDS: Final = 120
"""Seconds, from the first of these breaks."""
MOST_ENDED: Final = 4_096
"""Ends that one process remembers, the newest."""
ENDED_SECONDS: Final = 600.0
"""Seconds for which it does; platforms ask at once."""
LEDGER_SECONDS: Final = 1.0
"""Seconds that a ledger has to answer: callers hear nothing meanwhile."""

logger = logging.getLogger(__name__)


class Ledger(Protocol):
    """Which calls our side has ended. Whoever answers a webhook must know what others noted."""

    async def note_end(self, call_id: str) -> None:
        """Our side ends a call now. ``call_id`` is an id of ours, new with each connection."""

    async def has_ended(self, call_id: str) -> bool:
        """Whether that was noted. To have forgotten it costs the caller a sentence too many."""


class OwnLedger:
    """See `Ledger`: in the memory of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ended: dict[str, float] = {}

    async def note_end(self, call_id: str) -> None:
        """See `Ledger`."""
        self._ended[call_id] = self._clock()
        self._forget()

    async def has_ended(self, call_id: str) -> bool:
        """See `Ledger`."""
        self._forget()
        return call_id in self._ended

    def _forget(self) -> None:
        old = self._clock() - ENDED_SECONDS
        for call_id, at in list(self._ended.items()):
            if at >= old and len(self._ended) <= MOST_ENDED:
                break
            del self._ended[call_id]


@dataclass
class Returns:
    """Whether and how telephone calls come back; a stream has one, and a cluster sets it up.

    Attributes:
        by_default: whether they do where ``TelephoneOptions.returns`` does not say. It is of
            use where another server answers for one that is gone.
        ledger: which calls our side has ended.
    """

    by_default: bool = False
    ledger: Ledger = field(default_factory=OwnLedger)

    async def note_end(self, call_id: str) -> None:
        """See `Ledger`; one that fails is logged."""
        await self._ask(self.ledger.note_end(call_id))

    async def has_ended(self, call_id: str) -> bool:
        """See `Ledger`; with one that fails, no call has."""
        return bool(await self._ask(self.ledger.has_ended(call_id)))

    async def _ask(self, question: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await asyncio.wait_for(question, LEDGER_SECONDS)
        except Exception:
            logger.exception("The ledger of telephone calls that have ended does not answer")
            return None


@dataclass(frozen=True)
class Ticket:
    """What the question after a connection carries.

    Attributes:
        line: the id of the connection.
        breaks: how often the call has come back since then.
        since: when the first of these breaks was, in seconds since the epoch.
    """

    line: str = field(default_factory=new_line)
    breaks: int = 0
    since: int = 0

    def after_break(self, now: float) -> Ticket | None:
        """The ticket of the next connection; None if there were too many."""
        fresh = replace(self, line=new_line())
        if not self.breaks or now - self.since > BREAK_SECONDS:
            return replace(fresh, breaks=1, since=int(now))
        return replace(fresh, breaks=self.breaks + 1) if self.breaks < MOST_BREAKS else None


class Tickets:
    """Writes tickets for addresses, and reads those that we have written."""

    def __init__(self, secret: str) -> None:
        self._seal = Seal("telephone ticket", secret)

    def write(self, ticket: Ticket) -> str:
        """A ticket as letters, digits, and signs that addresses take as they are."""
        return self._seal.close(f"{ticket.breaks}.{ticket.since:x}.{ticket.line}")

    def read(self, text: str) -> Ticket | None:
        """A ticket; None if it is none of ours."""
        body = self._seal.open(text)
        if not body:
            return None
        breaks, since, line = body.split(".")
        return Ticket(line, int(breaks), int(since, 16))
