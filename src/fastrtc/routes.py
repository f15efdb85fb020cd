"""The HTTP routes of a stream, on FastAPI."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from fastapi import APIRouter, HTTPException, Request, Response, WebSocket
from pydantic import BaseModel, ConfigDict, Field

from fastrtc.admission import Refused
from fastrtc.transports.sockets.line import REFUSED

if TYPE_CHECKING:
    from fastrtc.stream import Stream

logger = logging.getLogger(__name__)


class Offer(BaseModel):
    """What a client posts: an offer, or a candidate."""

    model_config = ConfigDict(extra="ignore")

    webrtc_id: str
    type: str
    sdp: str | None = Field(default=None, max_length=200_000)
    candidate: dict[str, Any] | None = None
    restart: bool = False
    watch: bool = False
    reconnected: Any = False


def make_router(
    stream: Stream,
    path: str = "",
    tags: list[str] | None = None,
    dependencies: Sequence[Any] | None = None,
) -> APIRouter:
    """The routes of a stream, below a path."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        stream._door.open()
        if stream.telephone is not False:
            stream.phones.warn()
        yield
        await stream.close()

    router = APIRouter(
        prefix=path.rstrip("/"),
        lifespan=lifespan,
        tags=cast("list[str | Enum] | None", tags),
        dependencies=dependencies,
    )

    @router.post("/webrtc/offer")
    async def offer(body: Offer, request: Request, response: Response) -> dict[str, Any]:
        answer = await stream.offer(body, request)
        if answer.get("meta", {}).get("error") == "not_authorized":
            response.status_code = 403
        return answer

    @router.get("/webrtc/config")
    async def config(request: Request) -> dict[str, Any]:
        try:
            # TURN credentials are not for everybody.
            await stream.identify(request)
        except Refused as refused:
            raise HTTPException(403, "not_authorized") from refused
        return await stream.client_settings()

    @router.websocket("/websocket/offer")
    async def websocket_offer(websocket: WebSocket) -> None:
        await stream.websocket_offer(websocket)

    if stream.telephone is not False:
        _add_telephone(router, stream)
    return router


def _add_telephone(router: APIRouter, stream: Stream) -> None:
    """The webhooks and media sockets of the telephone platforms; of Twilio without a name."""

    @router.api_route("/telephone/incoming", methods=["GET", "POST"])
    @router.api_route("/telephone/incoming-call", methods=["GET", "POST"])
    @router.api_route("/telephone/{provider}/incoming", methods=["GET", "POST"])
    async def incoming(request: Request, provider: str = "twilio") -> Response:
        if provider not in stream.phones.names:
            raise HTTPException(404)
        try:
            return await stream.handle_incoming_call(request, provider)
        except ValueError as error:
            logger.error("A telephone call could not be taken: %s", error)
            raise HTTPException(500, str(error)) from error

    @router.websocket("/telephone/handler")
    @router.websocket("/telephone/{provider}/handler")
    async def handler(websocket: WebSocket, provider: str = "twilio") -> None:
        if provider not in stream.phones.names:
            await websocket.close(REFUSED)
            return
        try:
            await stream.telephone_handler(websocket, provider)
        except ValueError as error:
            logger.error("A telephone call could not be taken: %s", error)
            await websocket.close(REFUSED)
