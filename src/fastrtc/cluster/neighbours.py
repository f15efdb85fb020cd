"""A replica among the others: what it tells of itself, and what it asks of them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import pickle
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, quote

from fastrtc import metrics
from fastrtc.admission import REPLACED_WITHIN, Refused
from fastrtc.clock import overloaded
from fastrtc.cluster.board import Full, Home, Report, Unreachable
from fastrtc.cluster.figures import merge, own_page
from fastrtc.cluster.incoming import Incoming, read_body
from fastrtc.cluster.passing import Lost, Messenger, Receive, Scope, Send, reply
from fastrtc.handlers.values import AdditionalOutputs
from fastrtc.stream import Stream
from fastrtc.threads import call_soon, keep

REPORTS_EVERY: Final = 0.5
"""Seconds; sooner where a call has come or gone."""
AT_MOST_EVERY: Final = 0.05
FOUND_WITHIN: Final = 0.5
"""Seconds in which a neighbour says whether it has a call."""
FIGURES_WITHIN: Final = 2.0
"""Seconds in which a neighbour gives its figures: who asks for all of them waits for the last."""
ENDED_WITHIN: Final = REPLACED_WITHIN + 1.0
"""Seconds in which a neighbour ends a call whose caller has come to us."""
LARGEST_INPUT: Final = 16 * 2**20
"""Bytes of the inputs of a call."""
PAGES_KEPT: Final = 1_000
"""Gradio pages whose state is here; those that were used last."""

logger = logging.getLogger(__name__)


class Directory(Protocol):
    """What knows of all replicas; see `Board`. Every method raises `Unreachable`."""

    async def report(self, report: Report) -> tuple[list[Home], bool]:
        """Say what is here, and be told of all replicas, and whether they are to leave."""

    async def find(self, call_id: str, *, besides: str = "") -> Home | None:
        """See `Board.find`."""

    async def find_page(self, page: str, here: str) -> Home | None:
        """See `Board.find_page`."""

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
        """See `Board.place`."""

    async def release(self, call_id: str) -> None:
        """See `Board.release`."""

    async def room(self, limit: int | None) -> int:
        """See `Board.room`."""

    async def lose(self, replica: str) -> None:
        """See `Board.lose`."""


class Neighbours:
    """The others, seen from one replica. See `Elsewhere`, which this is for its stream.

    Where the switchboard does not answer, a replica goes on by itself: it takes calls as one
    process would, and asks the others one by one.
    """

    def __init__(
        self, stream: Stream, switchboard: Directory, replica: str, slots: int, limit: int | None
    ) -> None:
        """Set up.

        Args:
            stream: which this replica serves.
            switchboard: what they all tell.
            replica: our id.
            slots: calls that there is room for here.
            limit: calls that there may be in all; None for no limit.
        """
        self._stream = stream
        self._switchboard = switchboard
        self._replica = replica
        self._slots = slots
        self._limit = limit
        self.on_drain: Callable[[], object] = lambda: None
        """Called, more than once, when all replicas are to leave."""
        self._address = ""
        self._messenger: Messenger | None = None
        self._homes: list[Home] = []
        self._pages: dict[str, None] = {}
        self._inputs: dict[str, list[Any]] = {}
        """Of calls of other replicas, on their way."""
        self._news = asyncio.Event()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._reporting: asyncio.Task[None] | None = None

    async def open(self, address: str, messenger: Messenger) -> None:
        """Begin to report. ``address``: of our inner door."""
        self._address = address
        self._messenger = messenger
        await self._report()
        self._reporting = asyncio.create_task(self._keep_reporting())

    async def close(self) -> None:
        """Report no more: this replica is gone."""
        # Not cancelled: `asyncio.wait_for` forgets that before Python 3.12, if it has news.
        self._closed = True
        self._news.set()
        if self._reporting is not None:
            await self._reporting
        with contextlib.suppress(Unreachable):
            await self._switchboard.lose(self._replica)

    @property
    def replica(self) -> str:
        """See `Elsewhere`."""
        return self._replica

    @property
    def homes(self) -> list[Home]:
        """All replicas that were there at the last report."""
        return self._homes

    @property
    def messenger(self) -> Messenger:
        """What asks them."""
        assert self._messenger is not None
        return self._messenger

    # For the stream, see `Elsewhere`.

    def changed(self) -> None:
        """See `Elsewhere`."""
        self._news.set()

    async def reserve(self, call_id: str, identity: Any, *, again: bool) -> None:
        """See `Elsewhere`."""
        # It is asked itself: the board does not know at once that a call has ended.
        home = await self.find(call_id, doubtful=True, besides=self._replica)
        if home is not None and not again:
            raise Refused("connection_already_exists")
        await self.place(call_id, stays=True)
        if home is not None:
            try:
                await self._end_there(home, call_id, identity)
            except BaseException:
                await self.release(call_id)
                raise

    async def refusal(self) -> Refused | None:
        """See `Elsewhere`."""
        try:
            room = await self._switchboard.room(self._limit)
        except Unreachable:
            return self._stream.refusal
        if room > 0:
            return None
        own = self._stream.refusal
        if own is not None and own.error == "shutting_down":
            return own
        return Refused("concurrency_limit_reached", limit=self._most)

    def set_input(self, call_id: str, args: list[Any]) -> None:
        """See `Elsewhere`."""
        call_soon(self._loop, self._note_inputs, call_id, args)

    async def outputs(self, call_id: str) -> AsyncIterator[AdditionalOutputs]:
        """See `Elsewhere`."""
        async for outputs in self._read(call_id, "outputs"):
            yield outputs

    async def latest(self, call_id: str) -> AdditionalOutputs:
        """See `Elsewhere`."""
        async for outputs in self._read(call_id, "latest"):
            return outputs
        raise ValueError(f"The call {call_id!r} ended without outputs.")

    async def figures(self) -> bytes:
        """See `Elsewhere`. A replica that does not answer in time is left out, and said to be."""
        others = [home for home in self._homes if not self.is_ours(home)]
        own, *theirs = await asyncio.gather(self._figures(), *map(self._figures_of, others))
        pages = {self._replica: own}
        pages.update(zip((home.replica for home in others), theirs, strict=True))
        return await asyncio.to_thread(merge, pages)

    # For requests.

    def is_ours(self, home: Home) -> bool:
        """Whether this is us."""
        return home.replica == self._replica

    async def find(self, call_id: str, *, doubtful: bool = False, besides: str = "") -> Home | None:
        """Where a call is that is not here; None if no other has it.

        Args:
            call_id: its id.
            doubtful: whether its replica may be gone, so that it is asked first.
            besides: see `Board.find`.
        """
        try:
            home = await self._switchboard.find(call_id, besides=besides)
        except Unreachable:
            return await self._ask_around(call_id)
        if home is None or self.is_ours(home):
            return None
        # It may be gone, or only its reports are: a call that is live there is still there.
        return await self._ask_whether(home, call_id) if home.silent or doubtful else home

    async def place(
        self,
        call_id: str,
        *,
        near: Home | None = None,
        stays: bool = False,
        rather: bool = False,
        avoid: Collection[str] = (),
    ) -> Home | None:
        """Find a replica for a new call: another one, or None for this one.

        Args:
            call_id: its id.
            near: the replica that it should be at, all else being equal; None for this one.
            stays: see `Board.place`.
            rather: the same.
            avoid: the same.

        Raises:
            Refused: there is room nowhere.
        """
        here = self._replica if near is None else near.replica
        try:
            home = await self._switchboard.place(
                call_id, here, self._limit, stays=stays, rather=rather, avoid=avoid
            )
        except Full as full:
            if full.why == "shutting_down":
                raise Refused(full.why) from None
            raise Refused("concurrency_limit_reached", why=full.why, limit=full.limit) from None
        except Unreachable:
            most = self._slots if self._limit is None else min(self._slots, self._limit)
            if len(self._stream.connections) >= most:
                raise Refused("concurrency_limit_reached", limit=most) from None
            return None
        return None if self.is_ours(home) else home

    async def release(self, call_id: str) -> None:
        """A call that was placed has not begun: its place is free."""
        with contextlib.suppress(Unreachable):
            await self._switchboard.release(call_id)

    async def lose(self, home: Home) -> None:
        """Another replica does not answer."""
        logger.warning("The replica at %s does not answer", home.address)
        with contextlib.suppress(Unreachable):
            await self._switchboard.lose(home.replica)

    async def home_of_page(self, page: str) -> Home | None:
        """Which other replica keeps the state of a page; None where it is this one, from now on
        if need be.
        """
        if page not in self._pages:
            try:
                home = await self._switchboard.find_page(page, self._replica)
            except Unreachable:
                return None
            if home is None or not self.is_ours(home):
                return home
        self._pages.pop(page, None)
        self._pages[page] = None
        while len(self._pages) > PAGES_KEPT:
            del self._pages[next(iter(self._pages))]
        return None

    # From the inner door.

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer another replica."""
        if scope["path"] == "/.fastrtc/figures":
            await reply(send, 200, await self._figures())
            return
        asked = parse_qs(scope["query_string"].decode("latin-1"))
        call_id = asked.get("call", [""])[0]
        session = self._stream.connections.get(call_id)
        if session is None:
            await reply(send, 404)
        elif scope["path"] == "/.fastrtc/input":
            body = await read_body(receive, LARGEST_INPUT)
            if body is not None:
                self._stream.set_input(call_id, *pickle.loads(body))
            await reply(send, 413 if body is None else 200)
        elif scope["path"] == "/.fastrtc/end":
            body = await read_body(receive, LARGEST_INPUT)
            if body is None:
                await reply(send, 413)
            else:
                await reply(send, 200, await self._make_way(call_id, pickle.loads(body)))
        elif scope["path"] in ("/.fastrtc/outputs", "/.fastrtc/latest"):
            incoming = Incoming(receive)
            await incoming.look(0)
            read = session.outputs.read()
            if scope["path"] == "/.fastrtc/latest":
                read = self._newest(call_id)
            await incoming.while_there(_write(read, send))
        else:
            await reply(send, 200)

    # Inside.

    @property
    def _most(self) -> int:
        places = max(1, len(self._homes)) * self._slots
        return places if self._limit is None else min(places, self._limit)

    async def _read(self, call_id: str, which: str) -> AsyncIterator[AdditionalOutputs]:
        home = await self.find(call_id)
        if home is None:
            raise ValueError(f"There is no live call with the id {call_id!r}.")
        path = f"/.fastrtc/{which}?call={quote(call_id, safe='')}"
        with contextlib.suppress(Lost, LookupError):  # it has ended
            async for line in self.messenger.listen(home, path):
                outputs: AdditionalOutputs = pickle.loads(base64.b64decode(line))
                yield outputs

    async def _newest(self, call_id: str) -> AsyncIterator[AdditionalOutputs]:
        with contextlib.suppress(ValueError):  # it ended without any
            yield await self._stream.fetch_latest_output(call_id)

    async def _end_there(self, home: Home, call_id: str, identity: Any) -> None:
        """Let another replica end a call whose caller has lost it. Raises `Refused`."""
        path = f"/.fastrtc/end?call={quote(call_id, safe='')}"
        body = pickle.dumps(identity)
        try:
            why = await self.messenger.ask(home, "POST", path, body, within=ENDED_WITHIN)
        except LookupError:
            return  # it has ended
        except Lost:
            if not await self._has(home, call_id):
                return
            why = b"connection_already_exists"
        if why:
            raise Refused(why.decode())

    async def _make_way(self, call_id: str, identity: Any) -> bytes:
        """End a call for its caller, who is elsewhere now; why not, if it is not ended."""
        try:
            await self._stream.make_way(call_id, identity)
        except Refused as refused:
            return refused.error.encode()
        return b""

    def _note_inputs(self, call_id: str, args: list[Any]) -> None:
        waiting = call_id in self._inputs
        self._inputs[call_id] = args
        if not waiting:
            keep(self._loop.create_task(self._send_inputs(call_id)))

    async def _send_inputs(self, call_id: str) -> None:
        """Send them one after the other: of those that come meanwhile the last ones count."""
        sent = None
        try:
            while (args := self._inputs[call_id]) is not sent:
                await self._set_input(call_id, args)
                sent = args
        finally:
            del self._inputs[call_id]

    async def _set_input(self, call_id: str, args: list[Any]) -> None:
        # A user's route may give us whatever its client sent.
        try:
            home = await self.find(call_id)
            if home is None:
                raise LookupError(call_id)
            path = f"/.fastrtc/input?call={quote(call_id, safe='')}"
            body = pickle.dumps(args)
            await self.messenger.ask(home, "POST", path, body, within=FOUND_WITHIN * 4)
        except LookupError:
            logger.warning("Inputs for call %.80r came when it was not live", call_id)
        except Exception:
            logger.exception("Inputs could not be sent to the replica of call %.80r", call_id)

    async def _ask_around(self, call_id: str) -> Home | None:
        others = [home for home in self._homes if not self.is_ours(home)]
        found = await asyncio.gather(*(self._has(home, call_id) for home in others))
        return next((home for home, has in zip(others, found, strict=True) if has), None)

    async def _ask_whether(self, home: Home, call_id: str) -> Home | None:
        has = await self._has(home, call_id)
        if has is None:
            await self.lose(home)
        return home if has else None

    async def _has(self, home: Home, call_id: str) -> bool | None:
        """Whether another replica has a call; None if it does not answer."""
        path = f"/.fastrtc/has?call={quote(call_id, safe='')}"
        try:
            await self.messenger.ask(home, "GET", path, within=FOUND_WITHIN)
        except LookupError:
            return False
        except Lost:
            return None
        return True

    @property
    def _leaving(self) -> bool:
        refusal = self._stream.refusal
        return refusal is not None and refusal.why == "shutting_down"

    async def _figures(self) -> bytes:
        return await asyncio.to_thread(own_page, leaving=self._leaving)

    async def _figures_of(self, home: Home) -> bytes | None:
        with contextlib.suppress(Lost, LookupError):
            return await self.messenger.ask(home, "GET", "/.fastrtc/figures", within=FIGURES_WITHIN)
        return None

    async def _report(self) -> None:
        report = Report(
            self._replica,
            self._address,
            self._slots,
            frozenset(self._stream.connections),
            frozenset(self._pages),
            late=overloaded(),
            leaving=self._leaving,
        )
        try:
            self._homes, drains = await self._switchboard.report(report)
            if drains:
                self.on_drain()
        except Unreachable:
            metrics.unreachable.add()

    async def _keep_reporting(self) -> None:
        while not self._closed:
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), REPORTS_EVERY)
                await asyncio.sleep(AT_MOST_EVERY)
            self._news.clear()
            try:
                await self._report()
            except Exception:
                logger.exception("The switchboard could not be told what is here")


async def _write(read: AsyncIterator[AdditionalOutputs], send: Send) -> None:
    """Answer with outputs as they come, one a line."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    async for outputs in read:
        line = base64.b64encode(pickle.dumps(outputs)) + b"\n"
        await send({"type": "http.response.body", "body": line, "more_body": True})
    await send({"type": "http.response.body"})
