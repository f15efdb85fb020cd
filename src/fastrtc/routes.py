"""The HTTP routes of a stream, on FastAPI."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from fastrtc.stream import Stream


class Offer(BaseModel):
    """What a client posts: an offer, or a candidate."""

    model_config = ConfigDict(extra="ignore")

    webrtc_id: str
    type: str
    sdp: str | None = Field(default=None, max_length=200_000)
    candidate: dict[str, Any] | None = None
    restart: bool = False
    watch: bool = False


def make_router(
    stream: Stream,
    path: str = "",
    tags: list[str] | None = None,
    dependencies: Sequence[Any] | None = None,
) -> APIRouter:
    """The routes of a stream, below a path."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        yield
        await stream.close()

    router = APIRouter(
        prefix=path.rstrip("/"),
        lifespan=lifespan,
        tags=cast("list[str | Enum] | None", tags),
        dependencies=dependencies,
    )

    @router.post("/webrtc/offer")
    async def offer(body: Offer) -> dict[str, Any]:
        return await stream.offer(body)

    @router.get("/webrtc/config")
    async def config() -> dict[str, Any]:
        return {
            "title": stream.ui_args.get("title", "FastRTC"),
            "mode": stream.mode,
            "rtc_configuration": await stream.client_configuration(),
            "track_constraints": stream.track_constraints,
        }

    return router
