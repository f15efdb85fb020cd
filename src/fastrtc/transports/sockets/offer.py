"""Takes the calls of ``/websocket/offer``."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from fastrtc.admission import Refused
from fastrtc.session import Session
from fastrtc.transports.addresses import outside
from fastrtc.transports.origin import is_welcome
from fastrtc.transports.sockets.line import REFUSED, SocketLine
from fastrtc.transports.sockets.wire import Started
from fastrtc.transports.websocket import WebSocketWire

logger = logging.getLogger(__name__)

Identify = Callable[[HTTPConnection], Awaitable[Any]]
"""Says who a caller is, or raises `Refused`."""


class Admit(Protocol):
    """Takes a slot for an id, or raises `Refused`."""

    def __call__(self, session_id: str, /, *, watched: bool, identity: Any) -> Session: ...


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
        origins: see `is_welcome`.
        identify: asked before the socket is accepted.
        admit: asked when the call begins.
    """
    origin = websocket.headers.get("origin")
    if not is_welcome(origin, outside(websocket)[1], origins):
        logger.warning(
            "A WebSocket from a page of %.100s was refused: Stream(allowed_origins=[...]) would "
            "let it in",
            origin,
        )
        await websocket.close(REFUSED)
        return
    try:
        identity = await identify(websocket)
    except Refused:
        await websocket.close(REFUSED)
        return
    await websocket.accept()

    async def start(started: Started) -> Session:
        call_id = started.call_id or secrets.token_hex(12)
        return admit(call_id, watched=started.watched, identity=identity)

    await SocketLine(websocket, WebSocketWire(*rates), start).serve()
