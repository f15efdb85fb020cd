"""The board of a stream as an actor, and the way of a replica to it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Collection
from typing import Any, Final

import ray

from fastrtc.cluster.board import Board, Full, Home, Report, Unreachable

NAMESPACE: Final = "fastrtc"
VERSION: Final = 1
"""Of what the actor is asked: replicas of another one have an actor of their own."""
ANSWERS_WITHIN: Final = 1.0
"""Seconds."""
RESTS: Final = 1.0
"""Seconds for which it is not asked after it did not answer."""
DRAINS_WITHIN: Final = 1.0
"""Seconds in which all replicas know that they are to leave: two reports."""
ENDED_EVERY: Final = 0.2
"""Seconds between two looks whether the last call has ended."""
ENDS_KEPT: Final = 10_000
"""Telephone calls whose end is remembered."""
LONELY: Final = 600.0
"""Seconds without a report after which the actor ends: the stream is served no more."""
ON_THE_HEAD: Final = {"node:__internal_head__": 0.001}
"""A share of what only the head node of a cluster has: where that is gone, so is the cluster."""
UNSURE: Final = "unsure"
"""What the actor answers where `Board` raises `Unreachable`."""

logger = logging.getLogger(__name__)


class SwitchboardActor:
    """What the replicas of a stream know in common. All of it may be lost at any time."""

    def __init__(self, secret: str) -> None:
        """``secret``: see `join`. It is given, as one who is started again must have the same:
        replicas that joined before and after it would not know each other.
        """
        self._board = Board()
        self._secret = secret
        self._ended: dict[str, None] = {}
        self._heard = time.monotonic()
        self._watching: asyncio.Task[None] | None = None

    async def join(self) -> str:
        """The secret by which replicas know each other; the actor lives while they report."""
        self._heard = time.monotonic()
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        return self._secret

    async def report(self, report: Report) -> tuple[list[Home], bool]:
        """A replica says what it has, and is told of all that do, and whether they are to leave."""
        self._heard = time.monotonic()
        self._board.take(report, self._heard)
        return self._board.homes(self._heard), self._board.drains

    async def drain(self) -> None:
        """All replicas are to leave."""
        self._board.drains = True

    async def live(self) -> int:
        """See `Board.calls`."""
        return self._board.calls(time.monotonic())

    async def find(self, call_id: str, besides: str) -> Home | str | None:
        """See `Board.find`."""
        try:
            return self._board.find(call_id, time.monotonic(), besides=besides)
        except Unreachable:
            return UNSURE

    async def find_page(self, page: str, here: str) -> Home | None:
        """See `Board.find_page`."""
        return self._board.find_page(page, here, time.monotonic())

    async def place(
        self,
        call_id: str,
        here: str,
        limit: int | None,
        stays: bool,
        rather: bool,
        avoid: frozenset[str],
    ) -> Home | tuple[int, str] | str:
        """See `Board.place`; what `Full` has, where there is no room."""
        try:
            return self._board.place(
                call_id, here, limit, time.monotonic(), stays=stays, rather=rather, avoid=avoid
            )
        except Full as full:
            return full.limit, full.why
        except Unreachable:
            return UNSURE

    async def release(self, call_id: str) -> None:
        """See `Board.release`."""
        self._board.release(call_id)

    async def room(self, limit: int | None) -> int | str:
        """See `Board.room`."""
        try:
            return self._board.room(limit, time.monotonic())
        except Unreachable:
            return UNSURE

    async def lose(self, replica: str) -> None:
        """See `Board.lose`."""
        self._board.lose(replica)

    async def note_end(self, call_id: str) -> None:
        """A telephone call has been ended on purpose."""
        self._ended[call_id] = None
        while len(self._ended) > ENDS_KEPT:
            del self._ended[next(iter(self._ended))]

    async def has_ended(self, call_id: str) -> bool:
        """Whether a telephone call has been ended on purpose."""
        return call_id in self._ended

    async def _watch(self) -> None:
        while (left := self._heard + LONELY - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left)
        ray.actor.exit_actor()


def let_end(name: str, grace: float) -> None:
    """Let the calls of a stream end while it still answers for them, and takes no more. It blocks.

    Args:
        name: of the stream's application.
        grace: seconds that they have.
    """
    deadline = time.monotonic() + grace
    try:
        actor: Any = ray.get_actor(_title(name), NAMESPACE)
        ray.get(actor.drain.remote(), timeout=DRAINS_WITHIN)
        # Until then a replica may not know yet, and take one more.
        time.sleep(DRAINS_WITHIN)
        while time.monotonic() < deadline and ray.get(actor.live.remote(), timeout=DRAINS_WITHIN):
            time.sleep(ENDED_EVERY)
    except (ValueError, ray.exceptions.RayError) as error:
        logger.warning("Nobody knows whether all calls have ended: %s", error)


def _title(name: str) -> str:
    return f"switchboard {VERSION} {name}"


class Switchboard:
    """The way of a replica to the actor. On the event loop."""

    def __init__(self, name: str) -> None:
        """Find the actor, or start it. ``name``: of the stream's application."""
        self._name = _title(name)
        self._secret = secrets.token_hex()
        self._actor = self._found()
        self._rests_until = 0.0

    async def join(self) -> str:
        """See `SwitchboardActor.join`; waits until it is there."""
        self._secret = await self._actor.join.remote()
        return self._secret

    async def report(self, report: Report) -> tuple[list[Home], bool]:
        """See `SwitchboardActor.report`. Raises `Unreachable`."""
        told: tuple[list[Home], bool]
        told = await self._ask(lambda: self._actor.report.remote(report))
        return told

    async def find(self, call_id: str, *, besides: str = "") -> Home | None:
        """See `Board.find`. Raises `Unreachable`."""
        home: Home | None = await self._ask(lambda: self._actor.find.remote(call_id, besides))
        return home

    async def find_page(self, page: str, here: str) -> Home | None:
        """See `Board.find_page`. Raises `Unreachable`."""
        home: Home | None = await self._ask(lambda: self._actor.find_page.remote(page, here))
        return home

    async def place(
        self,
        call_id: str,
        here: str,
        limit: int | None,
        *,
        stays: bool = False,
        rather: bool = False,
        avoid: Collection[str] = (),
    ) -> Home:
        """See `Board.place`. Raises `Full`, `Unreachable`."""
        found = await self._ask(
            lambda: self._actor.place.remote(call_id, here, limit, stays, rather, frozenset(avoid))
        )
        if isinstance(found, Home):
            return found
        raise Full(*found)

    async def release(self, call_id: str) -> None:
        """See `Board.release`. Raises `Unreachable`."""
        await self._ask(lambda: self._actor.release.remote(call_id))

    async def room(self, limit: int | None) -> int:
        """See `Board.room`. Raises `Unreachable`."""
        room: int = await self._ask(lambda: self._actor.room.remote(limit))
        return room

    async def lose(self, replica: str) -> None:
        """See `Board.lose`. Raises `Unreachable`."""
        await self._ask(lambda: self._actor.lose.remote(replica))

    async def note_end(self, call_id: str) -> None:
        """See `SwitchboardActor.note_end`. Raises `Unreachable`."""
        await self._ask(lambda: self._actor.note_end.remote(call_id))

    async def has_ended(self, call_id: str) -> bool:
        """See `SwitchboardActor.has_ended`. Raises `Unreachable`."""
        ended: bool = await self._ask(lambda: self._actor.has_ended.remote(call_id))
        return ended

    def _found(self) -> Any:
        actor: Any = ray.remote(SwitchboardActor)
        return actor.options(
            name=self._name,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            num_cpus=0,
            resources=ON_THE_HEAD,
        ).remote(self._secret)

    async def _ask(self, question: Callable[[], Any]) -> Any:
        now = time.monotonic()
        if now < self._rests_until:
            raise Unreachable("it did not answer a moment ago")
        try:
            answer = await asyncio.wait_for(question(), ANSWERS_WITHIN)
        except (ray.exceptions.RayError, TimeoutError, asyncio.TimeoutError) as error:
            self._rests_until = time.monotonic() + RESTS
            if isinstance(error, ray.exceptions.ActorDiedError):
                # It ends only by itself, where it heard nothing for long.
                self._actor = self._found()
            raise Unreachable(str(error) or "it did not answer in time") from error
        if answer == UNSURE:
            raise Unreachable("it does not know all replicas yet")
        return answer
