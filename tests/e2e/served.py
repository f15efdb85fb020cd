"""A server in a process of its own: `python -m tests.e2e.served HANDLER...`; prints its port.

The first handler is at the root, each further one below its name. `--host` is the address to
serve, which is loopback otherwise. With `--returns` telephone calls come back.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any
from unittest import mock

import psutil
import uvicorn
from fastapi import FastAPI

from fastrtc import (
    AsyncStreamHandler,
    ReplyOnPause,
    Stream,
    StreamHandler,
    get_current_context,
    threads,
)
from fastrtc.transports.sockets.line import LARGEST_MESSAGE
from fastrtc.transports.telephone.exchange import PROVIDERS
from fastrtc.transports.telephone.provider import TelephoneOptions
from tests.conftest import tone
from tests.peers import eventually
from tests.samples import Echo

RATE = 24_000
"""Hz, of what the plain echo hears and says."""


class PlainEcho(Echo):
    """An echo that converts nothing, so that what comes back is what was sent, bit by bit."""

    # Callers count their frames, and low numbers are as quiet as silence.
    catches_up = False

    def __init__(self) -> None:
        StreamHandler.__init__(self, input_sample_rate=RATE, output_sample_rate=RATE)
        self.queue = Queue()

    def copy(self) -> StreamHandler:
        return PlainEcho()


class AsyncEcho(AsyncStreamHandler):
    """The same with coroutines."""

    catches_up = False

    def __init__(self) -> None:
        super().__init__(input_sample_rate=RATE, output_sample_rate=RATE)
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    async def receive(self, frame: Any) -> None:
        self.queue.put_nowait(frame)

    async def emit(self) -> Any:
        return await self.queue.get()

    def copy(self) -> AsyncStreamHandler:
        return AsyncEcho()


def reply(audio: Any) -> Iterator[Any]:
    yield audio


def answer(audio: Any) -> Iterator[Any]:
    """A tone of as many hertz as the last four digits of the caller's number say."""
    phone = get_current_context().phone
    yield tone(0.5, hertz=float(phone.caller[-4:]) if phone else 440.0)


def beep(audio: Any) -> Iterator[Any]:
    yield tone(0.5)


def talk(audio: Any = None) -> Iterator[Any]:
    """A reply that is ready at once, and long."""
    for _ in range(80):
        yield tone(0.1)


HANDLERS: dict[str, Callable[[], StreamHandler | AsyncStreamHandler]] = {
    "async": AsyncEcho,
    "echo": Echo,
    "plain": PlainEcho,
    "reply": lambda: ReplyOnPause(reply),
    "beep": lambda: ReplyOnPause(beep),
    "talk": lambda: ReplyOnPause(talk),
    "greet": lambda: ReplyOnPause(reply, startup_fn=talk),
    "answer": lambda: ReplyOnPause(answer, endpointing="vad"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("handlers", nargs="+", choices=HANDLERS)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--returns", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(format="%(levelname)s: %(name)s: %(message)s")
    app = FastAPI()
    streams = []
    for number, name in enumerate(options.handlers):
        stream = Stream(
            HANDLERS[name](),
            concurrency_limit=None,
            server_rtc_configuration={"iceServers": []},
            telephone=TelephoneOptions(providers=PROVIDERS, returns=options.returns),
            verbose=False,
        )
        stream.mount(app, f"/{name}" if number else "")
        streams.append(stream)

    @app.get("/stats")
    async def stats() -> dict[str, int]:
        gc.collect()
        process = psutil.Process()
        return {
            "calls": sum(len(stream.connections) for stream in streams),
            "memory": process.memory_info().rss,
            "threads": process.num_threads(),
            "tasks": len(asyncio.all_tasks()),
            "files": int(process.num_fds()),
            "cpu_ms": round(1000 * sum(process.cpu_times()[:2])),
        }

    async def serve() -> None:
        config = uvicorn.Config(
            app, host=options.host, port=0, log_level="warning", ws_max_size=2 * LARGEST_MESSAGE
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        await eventually(lambda: server.started)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await task

    # So that no test waits long for threads to end.
    with mock.patch.object(threads, "IDLE_SECONDS", 1.0):
        asyncio.run(serve())


if __name__ == "__main__":
    main()
