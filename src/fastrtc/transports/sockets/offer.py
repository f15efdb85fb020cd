"""Takes the calls of ``/websocket/offer``."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from fastrtc import metrics
from fastrtc.admission import Refused
from fastrtc.session import Session
from fastrtc.transports.addresses import is_from_welcome_page
from fastrtc.transports.sockets.line import REFUSED, SocketLine
from fastrtc.transports.sockets.wire import Started
from fastrtc.transports.websocket import WebSocketWire

Identify = Callable[[HTTPConnection], Awaitable[Any]]
"""Says who a caller is, or raises `Refused`."""


class Admit(Protocol):
    """Takes a slot for an id, or raises `Refused`."""

    async def __call__(
        self,
        session_id: str,
        /,
        *,
        transport: str,
        watched: bool,
        identity: Any,
        reconnected: bool,
    ) -> Session: ...


async def serve_offer(
    websocket: WebSocket,
    rates: tuple[int, int],
    *,
    origins: Sequence[str] | None,
    identify: Identify,
    admit: Admit,
) -> None:
    """Serve a call over a WebSocket, from its acceptance to its end.

    Args:
        websocket: not accepted yet.
        rates: Hz, of what the handler hears and of what it says.
        origins: the pages that may open a socket; see `is_welcome`.
        identify: asked before the socket is accepted.
        admit: asked when the call begins.
    """
    if not is_from_welcome_page(websocket, origins):
        metrics.refused.add("unwelcome_origin")
        await websocket.close(REFUSED)
        return
    try:
        identity = await identify(websocket)
    except Refused as refused:
        metrics.refused.add(refused.why)
        await websocket.close(REFUSED)
        return
    await websocket.accept()

    async def start(started: Started) -> Session:
        call_id = started.call_id or secrets.token_hex(12)
        return await admit(
            call_id,
            transport="websocket",
            watched=started.watched,
            identity=identity,
            reconnected=started.reconnected,
        )

    await SocketLine(websocket, WebSocketWire(*rates), start).serve()
