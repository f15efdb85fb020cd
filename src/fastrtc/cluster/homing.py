"""Sees that a request reaches the replica that has its call. The outermost of an app's layers."""

from __future__ import annotations

import logging
from typing import Final

from starlette.datastructures import Headers

from fastrtc import metrics
from fastrtc.admission import Refused
from fastrtc.cluster.board import Home
from fastrtc.cluster.incoming import Incoming, has_body
from fastrtc.cluster.keys import Key, read_key, refusal_in
from fastrtc.cluster.neighbours import Neighbours
from fastrtc.cluster.passing import PASSED, Answer, App, Lost, Receive, Scope, Send
from fastrtc.elsewhere import REFUSED
from fastrtc.stream import Stream
from fastrtc.tracing import Span, continued, onward

MOST_READ: Final = 2**20
"""Bytes of a body that is looked through; larger ones belong to no call."""
TRIES: Final = 3
"""Replicas that are asked to take a call."""
TURNED_DOWN: Final = ("shutting_down", "concurrency_limit_reached")
"""Answers after which another replica is asked: this one knew better than the board."""

logger = logging.getLogger(__name__)


class Homing:
    """An ASGI app around that of a stream."""

    def __init__(self, app: App, stream: Stream, neighbours: Neighbours) -> None:
        """``app``: has the routes of the stream."""
        self._app = app
        self._stream = stream
        self._neighbours = neighbours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, socket or lifespan."""
        if scope["type"] != "http" or PASSED in scope:
            await self._app(scope, receive, send)
            return
        incoming = Incoming(receive)
        body = b""
        if _is_small_json(scope) or not has_body(scope):
            body = await incoming.look(MOST_READ) or b""
        key = read_key(scope["path"], scope.get("query_string", b""), body)
        if not key or key.call in self._stream.connections:
            await self._app(scope, incoming.again(), send)
        elif key.begins:
            await self._begin(key, scope, incoming, send)
        else:
            await self._pass_on(await self._find(key), scope, incoming, send)

    async def _find(self, key: Key) -> Home | None:
        home = await self._neighbours.find(key.call) if key.call else None
        if home is None and key.page:
            home = await self._neighbours.home_of_page(key.page)
        return home

    async def _pass_on(
        self, home: Home | None, scope: Scope, incoming: Incoming, send: Send
    ) -> None:
        if home is not None:
            try:
                await self._neighbours.messenger.relay(home, scope, incoming, send)
                metrics.passed_on.add("request")
                return
            except Lost:
                metrics.passed_on.add("lost")
                # There is no such call here either, which is what its client has to know.
                await self._neighbours.lose(home)
        await self._app(scope, incoming.again(), send)

    async def _begin(self, key: Key, scope: Scope, incoming: Incoming, send: Send) -> None:
        """Answer the offer of a call, which its trace begins with."""
        replica, again = self._neighbours.replica, key.again or None
        with (
            continued(Headers(scope=scope)),
            Span("fastrtc.offer", call_id=key.call, replica=replica, reconnected=again) as span,
        ):
            # In its headers, too: it may be passed on, and FastAPI looks nowhere else.
            told = {**scope, "headers": onward(scope["headers"])}
            await self._answer(key, span, told, incoming, send)

    async def _answer(
        self, key: Key, span: Span, scope: Scope, incoming: Incoming, send: Send
    ) -> None:
        """Have an offer answered by the replica that has the call, or by one with room."""
        neighbours = self._neighbours
        # A caller who lost a call knows sooner than the board that its replica is gone.
        home = await neighbours.find(key.call, doubtful=key.again)
        near = await neighbours.home_of_page(key.page) if key.page else None
        # The board may not know it yet.
        avoid = {neighbours.replica} if self._stream.refusal is not None else set()
        kept = False  # whether there is a place that the call has not taken
        try:
            for _ in range(TRIES):
                kind = "call" if home is None else "request"
                if home is None:
                    kept = True
                    home = await neighbours.place(
                        key.call, near=near, rather=bool(key.page), avoid=avoid
                    )
                if home is None:
                    break
                answer = await self._ask(home, scope, incoming)
                refusal = "" if answer is None else refusal_in(answer.body)
                if answer is not None and refusal not in TURNED_DOWN:
                    metrics.passed_on.add(kind)
                    span.note(passed_on=True, home=home.replica)
                    kept = kept and (refusal != "" or answer.status >= 400)
                    await _give(send, answer)
                    return
                avoid.add(home.replica)
                home = near = None
            span.note(passed_on=False)
            await self._app(scope, incoming.again(), send)
        except Refused as refused:
            span.note(refused=refused.why)
            await self._app({**scope, REFUSED: refused}, incoming.again(), send)
        finally:
            # Its client may have gone meanwhile, too.
            if kept and key.call not in self._stream.connections:
                await neighbours.release(key.call)

    async def _ask(self, home: Home, scope: Scope, incoming: Incoming) -> Answer | None:
        """What another replica answers to an offer; None if it does not."""
        try:
            return await self._neighbours.messenger.pass_on(home, scope, incoming.whole or b"")
        except Lost:
            metrics.passed_on.add("lost")
            await self._neighbours.lose(home)
            return None


def _is_small_json(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    # Where it is not said what it is, FastAPI may take it as JSON, too.
    if b"json" not in headers.get(b"content-type", b"json").lower():
        return False
    length = headers.get(b"content-length", b"")
    return not length.isdigit() or int(length) <= MOST_READ


async def _give(send: Send, answer: Answer) -> None:
    start = {"status": answer.status, "headers": answer.headers}
    await send({"type": "http.response.start", **start})
    await send({"type": "http.response.body", "body": answer.body})
