"""The end of a server: nobody is let in, and who is inside may finish."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from fastrtc import ReplyOnPause, Stream
from fastrtc.admission import Refused
from fastrtc.testing import VirtualCall
from tests.peers import Caller, eventually, make_stream, serving

SHUTTING_DOWN = {"status": "failed", "meta": {"error": "shutting_down"}}


class Closing:
    """A call of a stream that is being closed."""

    def __init__(self, grace: float) -> None:
        self.stream = Stream(ReplyOnPause(print))
        self.call = VirtualCall(self.stream)
        self.grace = grace

    def __enter__(self) -> Closing:
        self.call.__enter__()
        self.task = self.close(self.grace)
        return self

    def __exit__(self, *error: Any) -> None:
        self.call.__exit__(*error)

    def close(self, grace: float) -> asyncio.Future[None]:
        return self.call.do(lambda: asyncio.ensure_future(self.stream.close(grace)))


def test_a_call_goes_on_for_the_grace_time_and_ends_then() -> None:
    with Closing(grace=5.0) as closing:
        closing.call.wait(4.9)
        assert closing.call.connected
        closing.call.wait(0.2)
        assert not closing.call.connected
        assert closing.task.done()
        ends = [m for m in closing.call.messages if m.type == "end_stream"]
    assert [(m.at, m.data) for m in ends] == [(pytest.approx(5.0), "The server is stopping")]


def test_without_a_grace_time_a_call_ends_at_once() -> None:
    with Closing(grace=0.0) as closing:
        closing.call.wait(0.04)
        assert not closing.call.connected
        assert closing.task.done()


def test_nobody_waits_longer_than_the_last_call_lasts() -> None:
    with Closing(grace=60.0) as closing:
        closing.call.wait(1.0)
        assert not closing.task.done()
        closing.call.hang_up()
        closing.call.wait(0.1)
        assert closing.task.done()


def test_who_is_in_a_hurry_ends_the_grace_time_of_another() -> None:
    with Closing(grace=60.0) as closing:
        closing.call.wait(1.0)
        second = closing.close(0.0)
        closing.call.wait(0.1)
        assert not closing.call.connected
        assert second.done()
        assert closing.task.done()


def test_a_stream_without_calls_is_closed_at_once() -> None:
    with Closing(grace=0.0) as closing:
        closing.call.wait(0.1)
        task = closing.close(60.0)
        closing.call.wait(0.1)
        assert task.done()


def test_nobody_is_let_in_from_the_beginning_of_the_end() -> None:
    with Closing(grace=5.0) as closing, pytest.raises(Refused) as error:
        closing.call.do(lambda: closing.stream.admit("another"))
    assert error.value.as_reply() == SHUTTING_DOWN


async def test_a_stream_whose_server_starts_again_takes_calls_again() -> None:
    stream, app = make_stream(ReplyOnPause(print)), FastAPI()
    stream.mount(app)
    for _ in range(2):
        async with serving(app) as http:
            assert stream.refusal is None
            caller = Caller(http)
            assert "sdp" in await caller.post(await caller.offer())
            await caller.hang_up()
        assert stream.refusal is not None


APP = """
import atexit
from fastrtc import AsyncStreamHandler, Stream

class Parrot(AsyncStreamHandler):
    def __init__(self):
        super().__init__()
        self.heard = []

    async def receive(self, frame):
        self.heard.append(frame)

    async def emit(self):
        return self.heard.pop(0) if self.heard else None

    def copy(self):
        return Parrot()

stream = Stream(Parrot())
atexit.register(print, "what the exit of a process is for", flush=True)
"""


async def until_unready(http: httpx.AsyncClient) -> Any:
    """Why a server takes no calls, as soon as it takes none."""
    for _ in range(200):
        ready = await http.get("/readyz")
        if ready.status_code != 200:
            return ready.json()
        await asyncio.sleep(0.02)
    raise TimeoutError("the server has taken calls for 4 s")


async def test_sigterm_lets_calls_go_on_and_a_second_one_ends_them(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text(APP)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [str(path), "--port", str(port), "--grace", "100"]
    command = [sys.executable, "-m", "fastrtc.cli", "run", *options]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert server.stdout is not None
        async for text in server.stdout:
            if b"Open" in text:
                break
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
            inside, late = Caller(http), Caller(http)
            await inside.connect()
            server.send_signal(signal.SIGTERM)
            assert await until_unready(http) == {"status": "shutting_down"}
            assert (await http.get("/healthz")).json()["live"] == 1
            assert await late.post(await late.offer()) == SHUTTING_DOWN
            since = time.monotonic()
            inside.microphone.say((48_000, np.full((1, 48_000), 8_000, np.int16)))
            await eventually(lambda: bool(np.abs(inside.sound(since)).max(initial=0) > 4_000))
            server.send_signal(signal.SIGTERM)
            await inside.until("The server is stopping")
            rest = await asyncio.wait_for(server.stdout.read(), 20)
            assert await asyncio.wait_for(server.wait(), 20) == 0
            assert b"what the exit of a process is for" in rest
            await inside.hang_up()
            await late.hang_up()
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()
