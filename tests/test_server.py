"""`Stream.run`, `fastrtc run`, and the handlers that they refuse."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from fastrtc import ReplyOnPause, Stream, StreamHandler
from fastrtc.cli import load_stream
from fastrtc.server import add_page, check_port
from tests.peers import make_stream, serving

APP = """
from fastrtc import ReplyOnPause, Stream

def echo(audio):
    yield audio

stream = Stream(ReplyOnPause(echo))
stream.run(port=1)
"""


def test_a_module_that_ends_with_run_can_be_served_by_the_command(tmp_path: Path) -> None:
    path = tmp_path / "voice_app.py"
    path.write_text(APP)
    assert isinstance(load_stream(f"{path}:stream"), Stream)
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
async def test_the_page_and_its_files_are_served_below_its_path(path: str) -> None:
    app = FastAPI()
    make_stream(ReplyOnPause(print)).mount(app, path=path)
    add_page(app, path)
    async with serving(app) as http:
        page = await http.get(f"{path}/")
        assert "text/html" in page.headers["content-type"]
        for name in (
            "client.js",
            "signalling.js",
            "page.js",
            "strip.js",
            "style.css",
            "client.d.ts",
        ):
            assert (await http.get(f"{path}/web/{name}")).status_code == 200
        assert (await http.get(f"{path}/web/server.py")).status_code == 404


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
