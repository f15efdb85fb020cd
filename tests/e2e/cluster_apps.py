"""Streams to be served on a cluster."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from fastrtc import (
    AdditionalOutputs,
    AsyncStreamHandler,
    CloseStream,
    Stream,
    get_current_context,
)
from fastrtc.server import make_app

GOODBYE = "goodbye"
"""What ends a call that is given it."""


class Echo(AsyncStreamHandler):
    """Says back what it hears, and gives out what it is given, with the process that it is in."""

    # Callers count their frames, and low numbers are as quiet as silence.
    catches_up = False

    def __init__(self) -> None:
        super().__init__(input_sample_rate=24_000, output_sample_rate=24_000)
        self.frames: asyncio.Queue[Any] = asyncio.Queue()

    def copy(self) -> Echo:
        return Echo()

    async def start_up(self) -> None:
        context = get_current_context()
        while True:
            await self.wait_for_args()
            # On a telephone, which has no page to ask, the above does not wait.
            await self.args_set.wait()
            await self.send_outputs(context.webrtc_id, context.reconnected)

    async def send_outputs(self, call_id: str, reconnected: bool) -> None:
        outputs = AdditionalOutputs(os.getpid(), call_id, reconnected, *self.latest_args[1:])
        self.frames.put_nowait(CloseStream() if GOODBYE in self.latest_args else outputs)
        self.args_set.clear()

    async def receive(self, frame: Any) -> None:
        self.frames.put_nowait(frame)

    async def emit(self) -> Any:
        return await self.frames.get()

    async def shutdown(self) -> None:
        pass


stream = Stream(Echo())
few = Stream(Echo(), concurrency_limit=3)


def with_routes(stream: Stream) -> FastAPI:
    """The page, and routes as users write them."""
    app = make_app(stream)

    @app.get("/pid")
    async def pid() -> int:
        return os.getpid()

    @app.post("/input_hook")
    async def hook(request: Request) -> dict[str, str]:
        body = await request.json()
        stream.set_input(body["webrtc_id"], body["text"])
        return {"status": "ok"}

    @app.get("/updates")
    async def updates(webrtc_id: str) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            async for outputs in stream.output_stream(webrtc_id):
                yield f"data: {outputs.args}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    return app
