"""A server in a process of its own: `python -m tests.e2e.served HANDLER`; prints its port."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import uvicorn
from fastapi import FastAPI

from fastrtc import ReplyOnPause, Stream, StreamHandler
from tests.peers import eventually
from tests.samples import Echo


def reply(audio: Any) -> Iterator[Any]:
    yield audio


def main() -> None:
    handlers: dict[str, Callable[[], StreamHandler]] = {
        "echo": Echo,
        "reply": lambda: ReplyOnPause(reply),
    }
    stream = Stream(
        handlers[sys.argv[1]](),
        concurrency_limit=None,
        server_rtc_configuration={"iceServers": []},
        verbose=False,
    )
    app = FastAPI()
    stream.mount(app)

    @app.get("/stats")
    async def stats() -> dict[str, int]:
        gc.collect()
        process = psutil.Process()
        return {
            "calls": len(stream.connections),
            "memory": process.memory_info().rss,
            "threads": process.num_threads(),
            "tasks": len(asyncio.all_tasks()),
            "files": int(process.num_fds()),
        }

    async def serve() -> None:
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        await eventually(lambda: server.started)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await task

    asyncio.run(serve())


if __name__ == "__main__":
    main()
