"""The process of the server: a stream of ours, or the user's, as ``fastrtc run`` would serve it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np

from fastrtc.audio.convert import Pcm
from fastrtc.handlers.base import AsyncStreamHandler
from fastrtc.handlers.reply_on_pause import ReplyOnPause
from fastrtc.handlers.waiting import wait_for_item
from fastrtc.loading import load_stream
from fastrtc.stream import Stream
from fastrtc.turns.options import InterruptionPolicy

HOST: Final = "127.0.0.1"
RATE: Final = 24_000
ANSWER_SECONDS: Final = 0.4
LEAVE_SECONDS: Final = 3.0
"""How long the server may take to end its calls."""


@dataclass(frozen=True)
class Usage:
    """What the process has used so far.

    Attributes:
        at: seconds, on any clock.
        cpu: seconds, of all its threads.
        memory: resident bytes; None where the system does not say. On other systems than
            Linux: the most so far.
        core: seconds that anything has used of the core that this process is pinned to; None
            where it is not, or the system does not say.
    """

    at: float
    cpu: float
    memory: int | None
    core: float | None = None


class Echo(AsyncStreamHandler):
    """Sends back every frame, on the event loop."""

    def __init__(self) -> None:
        super().__init__()
        self._frames: asyncio.Queue[tuple[int, Pcm]] = asyncio.Queue()

    async def receive(self, frame: tuple[int, Any]) -> None:
        """See `AsyncStreamHandler`."""
        self._frames.put_nowait(frame)

    async def emit(self) -> Any:
        """See `AsyncStreamHandler`."""
        return await wait_for_item(self._frames)

    def copy(self) -> Echo:
        """See `AsyncStreamHandler`."""
        return Echo()


def answer(audio: tuple[int, Any]) -> Iterator[tuple[int, Pcm]]:
    """A tone, at once."""
    time = np.arange(round(ANSWER_SECONDS * RATE)) / RATE
    yield RATE, (8_000 * np.sin(2 * np.pi * 1_000 * time)).astype(np.int16)[None]


def make_stream(target: str) -> Stream:
    """``"echo"``, ``"reply"``, or the stream that ``module:stream`` names.

    A reply comes after a silence, without models of the end of a turn and of speech: they would
    have to guess at what was never said.

    Raises:
        SystemExit: there is none; the text says why.
    """
    if target == "echo":
        return Stream(Echo(), concurrency_limit=None, telephone=False, verbose=False)
    if target == "reply":
        wordless = InterruptionPolicy(words=False)
        handler = ReplyOnPause(answer, endpointing="vad", interruption=wordless)
        return Stream(handler, concurrency_limit=None, telephone=False, verbose=False)
    return load_stream(target)


def serve(pipe: Connection, target: str, port: int) -> None:
    """Serve a stream, and answer each word that comes through the pipe with ``("done", Usage)``,
    until the pipe is closed. The first answer is ``("done", url)``, or ``("failed", text)``.
    """
    # What the user's stream prints must not come between the rows of our table.
    sys.stdout.flush()
    os.dup2(2, 1)
    # Every stall would be a line, and the figures tell of them.
    logging.getLogger("fastrtc.clock").setLevel(logging.ERROR)
    try:
        listener = listen(port)
        stream = make_stream(target)
        if stream.server_rtc_configuration is None:
            # Only this machine calls, so there is no outside address to ask for.
            stream.server_rtc_configuration = {"iceServers": []}
        asyncio.run(_serve(pipe, stream, listener))
    except SystemExit as error:
        pipe.send(("failed", str(error)))
    except Exception as error:
        traceback.print_exc()
        pipe.send(("failed", f"The server failed: {type(error).__name__}: {error}"))


def listen(port: int) -> socket.socket:
    """A socket that waits for callers; 0 is any port that is free.

    Raises:
        SystemExit: there is none; the text says why.
    """
    try:
        return socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        which = f"Port {port} of {HOST} cannot" if port else f"No port of {HOST} can"
        raise SystemExit(f"{which} be used: {getattr(error, 'strerror', None) or error}.") from None


async def _serve(pipe: Connection, stream: Stream, listener: socket.socket) -> None:
    import uvicorn

    from fastrtc.server import make_app

    config = uvicorn.Config(make_app(stream), log_level="warning", ws_max_size=1 << 20)
    server = uvicorn.Server(config)

    def watch() -> None:
        try:
            while pipe.recv():
                pipe.send(("done", usage()))
        except (EOFError, OSError):
            server.should_exit = True
            threading.Timer(LEAVE_SECONDS, os._exit, [0]).start()

    host, port = listener.getsockname()[:2]
    pipe.send(("done", f"http://{host}:{port}"))
    threading.Thread(target=watch, daemon=True).start()
    try:
        await server.serve(sockets=[listener])
    finally:
        await stream.close()


def usage() -> Usage:
    """What this process has used so far."""
    return Usage(time.perf_counter(), time.process_time(), memory(), core())


def memory() -> int | None:
    """Resident bytes; see `Usage`."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def core() -> float | None:
    """Busy seconds of the one core that this process may use; see `Usage`."""
    if not hasattr(os, "sched_getaffinity") or len(mine := os.sched_getaffinity(0)) != 1:
        return None
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return None
    times = next((line.split()[1:] for line in lines if line.split()[0] == f"cpu{min(mine)}"), [])
    # user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already: proc(5).
    busy = [int(ticks) for place, ticks in enumerate(times[:8]) if place not in (3, 4)]
    return sum(busy) / os.sysconf("SC_CLK_TCK") if busy else None
