"""`Stream.run`, `fastrtc run`, and the handlers that they refuse."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import Depends, FastAPI, HTTPException

from fastrtc import AdditionalOutputs, ReplyOnPause, Stream, StreamHandler
from fastrtc.loading import load_stream
from fastrtc.server import add_page, check_port
from tests.peers import Caller, make_stream, serving

APP = """
from fastrtc import ReplyOnPause, Stream

def echo(audio):
    yield audio

stream = Stream(ReplyOnPause(echo))
stream.run(port=1)
"""


@pytest.fixture
def stream() -> Stream:
    return make_stream(ReplyOnPause(print))


def test_a_module_that_ends_with_run_can_be_served_by_the_command(tmp_path: Path) -> None:
    path = tmp_path / "voice_app.py"
    path.write_text(APP)
    assert isinstance(load_stream(f"{path}:stream"), Stream)
    assert isinstance(load_stream(str(path)), Stream)


def test_a_file_is_read_once_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "read_once.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    assert load_stream("read_once.py") is load_stream(str(tmp_path / "read_once.py"))


def test_a_file_that_could_not_be_read_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "mended.py"
    path.write_text("raise RuntimeError('a mistake')")
    with pytest.raises(RuntimeError, match="a mistake"):
        load_stream(str(path))
    path.write_text(f"# mended\n{APP}")
    assert isinstance(load_stream(str(path)), Stream)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nowhere.py", "no file nowhere.py"),
        ("nowhere_at_all:stream", "no module nowhere_at_all"),
        ("json:dumps", "found function"),
        ("json:nothing", "found nothing"),
    ],
)
def test_a_target_that_is_no_stream_is_refused_in_words(target: str, says: str) -> None:
    with pytest.raises(SystemExit, match=says):
        load_stream(target)


def test_a_port_that_is_taken_is_refused_in_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"Port {port}"):
            check_port("127.0.0.1", port)


@pytest.mark.parametrize("port", [80_000, -1, "7860"])
def test_what_is_no_port_is_refused_in_words(port: Any) -> None:
    with pytest.raises(SystemExit, match="cannot be used"):
        check_port("127.0.0.1", port)


@pytest.mark.parametrize("path", ["", "/voice"])
async def test_the_page_and_its_files_are_served_below_its_path(stream: Stream, path: str) -> None:
    app = FastAPI()
    stream.mount(app, path=path)
    add_page(app, stream, path)
    async with serving(app) as http:
        page = await http.get(f"{path}/")
        assert "text/html" in page.headers["content-type"]
        for name in (
            "client.js",
            "signalling.js",
            "page.js",
            "strip.js",
            "transcript.js",
            "chime.js",
            "style.css",
            "client.d.ts",
        ):
            assert (await http.get(f"{path}/web/{name}")).status_code == 200
        assert (await http.get(f"{path}/web/server.py")).status_code == 404


async def test_who_may_not_use_the_stream_gets_nothing_of_its_page(stream: Stream) -> None:
    def refuse() -> None:
        raise HTTPException(401)

    app = FastAPI()
    add_page(app, stream, dependencies=[Depends(refuse)])
    stream.admit("a")
    async with serving(app) as http:
        for path in ("/", "/web/page.js", "/outputs?webrtc_id=a"):
            assert (await http.get(path)).status_code == 401
    await stream.close()


@contextlib.asynccontextmanager
async def outputs_of(http: httpx.AsyncClient, url: str) -> AsyncIterator[AsyncIterator[Any]]:
    """The data of the events at a URL, as they come."""

    async def events() -> AsyncIterator[Any]:
        lines = reply.aiter_lines()
        async for line in lines:
            assert line.startswith("data: ")
            yield json.loads(line.removeprefix("data: "))
            assert await anext(lines) == ""

    async with http.stream("GET", url) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/event-stream")
        yield events()


@pytest.fixture
async def http(stream: Stream) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the page's server."""
    app = FastAPI()
    add_page(app, stream, "/voice")
    async with serving(app) as client:
        yield client
        await stream.close()


async def test_the_page_reads_the_outputs_of_a_call_until_it_ends(
    stream: Stream, http: httpx.AsyncClient
) -> None:
    line = {"role": "user", "content": "Tschüß\n\ndata: no"}
    session = stream.admit("a")
    session.deliver(AdditionalOutputs(line, "note"))
    async with outputs_of(http, "/voice/outputs?webrtc_id=a") as events:
        assert await anext(events) == [line, "note"]
        session.deliver(AdditionalOutputs())
        assert await anext(events) == []
        await session.close()
        assert [data async for data in events] == []


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (np.float32(0.5), "0.5"),
        (np.zeros(2), "[0. 0.]"),
        ({"at": Path("a")}, {"at": "a"}),
        (float("nan"), "nan"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        ("\ud800", "\ud800"),
    ],
)
async def test_what_is_no_json_is_sent_as_its_text(
    stream: Stream, http: httpx.AsyncClient, value: Any, sent: Any
) -> None:
    session = stream.admit("a")
    session.deliver(AdditionalOutputs(value, 1))
    async with outputs_of(http, "/voice/outputs?webrtc_id=a") as events:
        assert await anext(events) == [sent, 1]


@pytest.mark.parametrize(
    ("query", "status"), [({"webrtc_id": "b"}, 404), ({"webrtc_id": ""}, 404), ({}, 422)]
)
async def test_the_outputs_of_an_unknown_call_are_not_found(
    stream: Stream, http: httpx.AsyncClient, query: dict[str, str], status: int
) -> None:
    stream.admit("a")
    assert (await http.get("/voice/outputs", params=query)).status_code == status


async def test_the_outputs_of_a_call_that_is_over_are_not_found(
    stream: Stream, http: httpx.AsyncClient
) -> None:
    await stream.admit("a").close()
    assert (await http.get("/voice/outputs", params={"webrtc_id": "a"})).status_code == 404


TALKATIVE = """
from fastrtc import AdditionalOutputs, AsyncStreamHandler, Stream

class Talkative(AsyncStreamHandler):
    told = False

    async def receive(self, frame): ...

    async def emit(self):
        if not self.told:
            self.told = True
            return AdditionalOutputs("hello")

    def copy(self):
        return Talkative()

stream = Stream(Talkative())
"""


async def test_a_server_that_is_stopped_does_not_wait_for_a_page_that_reads_outputs(
    tmp_path: Path,
) -> None:
    path = tmp_path / "app.py"
    path.write_text(TALKATIVE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "fastrtc.cli", "run", str(path), "--port", str(port)]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert server.stdout is not None
        async for text in server.stdout:
            if b"Open" in text:
                break
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
            caller = Caller(http)
            await caller.connect()
            async with outputs_of(http, f"/outputs?webrtc_id={caller.id}") as events:
                assert await anext(events) == ["hello"]
                server.send_signal(signal.SIGINT)
                assert [data async for data in events] == []
            await asyncio.wait_for(server.wait(), 20)
            await caller.hang_up()
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()


class Forgetful(StreamHandler):
    def __init__(self) -> None: ...

    def receive(self, frame: Any) -> None: ...

    def emit(self) -> Any: ...

    def copy(self) -> StreamHandler:
        return Forgetful()


class Copyless(Forgetful):
    def copy(self) -> StreamHandler:
        return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("handler", "says"), [(Forgetful, "super().__init__()"), (Copyless, "copy() must return")]
)
async def test_a_handler_that_is_made_wrong_is_named(handler: Any, says: str) -> None:
    stream = Stream(handler())
    with pytest.raises(TypeError) as error:
        stream.admit("a")
    assert says in str(error.value)
    assert not stream.connections
