"""How a server is told where its media are reached: `Stream.run` and `fastrtc run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastrtc import ReplyOnPause, Stream, server
from fastrtc.cli import main
from fastrtc.transports.webrtc.place import MediaPlace
from tests.peers import make_stream

APP = """
from fastrtc import ReplyOnPause, Stream

def echo(audio):
    yield audio

stream = Stream(ReplyOnPause(echo))
"""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[MediaPlace]:
    """Where the media of streams are that would be served now."""
    places: list[MediaPlace] = []

    def serve(stream: Stream, *arguments: Any, **options: Any) -> None:
        assert not {"media_address", "media_ports"} & set(options)
        places.append(stream.media_place)

    monkeypatch.setattr(server, "serve", serve)
    return places


@pytest.fixture
def app(tmp_path: Path) -> str:
    path = tmp_path / "voice_app.py"
    path.write_text(APP)
    return f"{path}:stream"


@pytest.fixture
def stream() -> Stream:
    return make_stream(ReplyOnPause(print))


def test_the_command_says_where_media_are_reached(app: str, served: list[MediaPlace]) -> None:
    place = ["--media-address", "203.0.113.7", "--media-ports", "50000-50199"]
    main(["run", app, *place])
    assert served == [MediaPlace("203.0.113.7", (50_000, 50_199))]


@pytest.mark.parametrize(
    ("options", "ports"),
    [(["--media-ports", "50000-50199"], (50_000, 50_199)), ([], (40_000, 40_009))],
)
def test_the_environment_says_what_the_command_does_not(
    options: list[str],
    ports: tuple[int, int],
    app: str,
    served: list[MediaPlace],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FASTRTC_MEDIA_ADDRESS", "203.0.113.8")
    monkeypatch.setenv("FASTRTC_MEDIA_PORTS", "40000-40009")
    main(["run", app, *options])
    assert served == [MediaPlace("203.0.113.8", ports)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--media-ports", "many"], "expected ports as FIRST-LAST"),
        (["--media-ports", "9-8"], "in order"),
        (["--media-address", "voice.example.com"], "a host's name is not looked up"),
        (["--media-address", ""], "expected an IP address"),
    ],
)
def test_the_command_refuses_what_is_no_place_in_words(
    options: list[str], says: str, app: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["run", app, *options])
    assert says in capsys.readouterr().err


def test_the_command_names_a_variable_that_is_wrong(
    app: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTRTC_MEDIA_PORTS", "many")
    with pytest.raises(SystemExit):
        main(["run", app])
    assert "FASTRTC_MEDIA_PORTS: expected ports" in capsys.readouterr().err


def test_run_keeps_what_a_stream_was_told_before(stream: Stream, served: list[MediaPlace]) -> None:
    stream.media_place = MediaPlace("203.0.113.7", (50_000, 50_199))
    stream.run()
    stream.run(media_ports=(40_000, 40_009))
    assert served == [
        MediaPlace("203.0.113.7", (50_000, 50_199)),
        MediaPlace("203.0.113.7", (40_000, 40_009)),
    ]


@pytest.mark.parametrize("wrong", [{"media_address": ""}, {"media_ports": "9-8"}])
def test_run_refuses_what_is_no_place(wrong: Any, stream: Stream) -> None:
    with pytest.raises(ValueError, match="expected"):
        stream.run(**wrong)


@pytest.mark.parametrize(("limit", "warned"), [(3, True), (2, False), (None, False)])
def test_fewer_ports_than_calls_are_warned_of(
    limit: int | None, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    stream = make_stream(ReplyOnPause(print), concurrency_limit=limit)
    stream.media_place = MediaPlace(ports=(50_000, 50_001))
    server.warn_of_few_ports(stream)
    assert ("there are 2 UDP ports" in caplog.text) is warned
