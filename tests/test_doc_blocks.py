"""Every block of code in the README and the documentation runs as it stands there.

The blocks of a page run in their order and share their names, as if a reader had typed them in.
Each stream that they make is called, and must answer without an error; each test that they define
is run. Models and services of others have stand-ins.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from fastrtc import AudioEmitType, ReplyOnPause, ReplyOnStopWords, Spoken, Stream, Transcript
from fastrtc.testing import VirtualCall
from tests.conftest import Sound, missing, tone
from tests.e2e.browser import write_wav

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^ *```$", re.M | re.S)
SCRIPT = re.compile(r"<script[^>]*>(.*?)</script>", re.S)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """What stands between fences, with the line on which it begins."""
    text = page.read_text("utf-8")
    return [
        Block(page, text.count("\n", 0, m.start()) + 2, m["language"], dedent(m["code"]))
        for m in FENCE.finditer(text)
    ]


def blocks_in(*languages: str) -> list[Any]:
    found = [block for page in PAGES for block in blocks_of(page) if block.language in languages]
    return [pytest.param(block, id=str(block)) for block in found]


class Hears:
    """Stands for speech to text: reads the same out of everything."""

    def stt(self, audio: Sound) -> str:
        return "hello"

    async def astt(self, audio: Sound) -> str:
        return "hello"

    async def stt_stream(self, frames: Iterable[Sound]) -> AsyncIterator[Transcript]:
        assert list(frames)
        yield Transcript("hello", final=True, start=0.0, end=1.0)


class Speaks:
    """Stands for text to speech: each piece of a text is a tenth of a second of tone."""

    def tts(self, text: str, options: Any = None) -> AudioEmitType:
        return tone(0.1)

    def stream_tts_sync(self, text: str | Iterable[str], options: Any = None) -> Iterator[Spoken]:
        for piece in [text] if isinstance(text, str) else text:
            yield Spoken(*tone(0.1), piece)

    async def stream_tts(
        self, text: str | AsyncIterable[str], options: Any = None
    ) -> AsyncIterator[Spoken]:
        if isinstance(text, str):
            yield Spoken(*tone(0.1), text)
        else:
            async for piece in text:
                yield Spoken(*tone(0.1), piece)


def chunks() -> list[Any]:
    """The tokens of a language model, as a client of OpenAI's gives them."""
    choices = [SimpleNamespace(delta=SimpleNamespace(content=text)) for text in ("Half ", "past.")]
    return [SimpleNamespace(choices=[choice]) for choice in choices]


class Writes:
    """Stands for a client of a language model."""

    def __init__(self, **options: Any) -> None:
        self.chat = self.completions = self

    def create(self, **request: Any) -> list[Any]:
        assert request["messages"]
        return chunks()


class WritesAsync(Writes):
    """The same, of the other kind."""

    async def create(self, **request: Any) -> Any:  # type: ignore[override]
        async def tokens() -> AsyncIterator[Any]:
            for chunk in chunks():
                yield chunk

        return tokens()


class SilentSocket:
    """Stands for a realtime service: takes what comes, and says nothing."""

    async def __aenter__(self) -> SilentSocket:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    def __aiter__(self) -> SilentSocket:
        return self

    async def __anext__(self) -> str:
        raise StopAsyncIteration

    async def send(self, message: str) -> None:
        assert json.loads(message)["type"] == "input_audio_buffer.append"

    async def close(self) -> None:
        pass


async def answers(self: Any, url: str, **options: Any) -> httpx.Response:
    return httpx.Response(200, text="Half past nine.")


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, phrase: Sound) -> None:
    """No models, no services, no servers that run for ever; a recording to be played."""
    for name in ("TWILIO_AUTH_TOKEN", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OPENAI_API_KEY", "ACME_SECRET"):
        monkeypatch.setenv(name, "a key")
    monkeypatch.setattr("fastrtc.get_stt_model", lambda *_, **__: Hears())
    monkeypatch.setattr("fastrtc.get_tts_model", lambda *_, **__: Speaks())
    monkeypatch.setattr("openai.OpenAI", Writes)
    monkeypatch.setattr("openai.AsyncOpenAI", WritesAsync)
    monkeypatch.setattr("httpx.AsyncClient.get", answers)
    monkeypatch.setattr("websockets.connect", lambda *_, **__: SilentSocket())
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    monkeypatch.setattr("uvicorn.run", lambda *_, **__: None)
    monkeypatch.setattr(Stream, "run", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "question.wav", phrase[0], phrase[1][0])


@pytest.fixture(name="made")
def _made(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    """The streams that were made and not called yet."""
    streams: list[Stream] = []
    make = Stream.__init__

    def made(self: Stream, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        streams.append(self)

    monkeypatch.setattr(Stream, "__init__", made)
    return streams


def errors_of(stream: Stream, phrase: Sound) -> list[str]:
    """Talk to a stream as a page would, which answers when it is asked for inputs."""
    handler = stream.handler
    replies = isinstance(handler, ReplyOnPause) and not isinstance(handler, ReplyOnStopWords)
    inputs = ["Ada", True]
    if stream.additional_inputs is not None:
        inputs = [component.value for component in stream.additional_inputs]
    with VirtualCall(stream, inputs=inputs) as call:
        call.wait(0.5)
        call.say(phrase)
        call.wait(2.0)
    assert call.turns or not replies
    return call.errors


def pages_with(language: str) -> list[Any]:
    found = [page for page in PAGES if language in {b.language for b in blocks_of(page)}]
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in found]


@pytest.mark.parametrize("page", pages_with("python"))
def test_the_python_of_a_page_runs(
    page: Path, made: list[Stream], phrase: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ".launch(" in page.read_text("utf-8"):  # Gradio costs seconds
        monkeypatch.setattr("gradio.Blocks.launch", lambda *_, **__: None)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks_of(page):
        if block.language != "python":
            continue
        before = set(names)
        # The empty lines let a traceback show the line of the page.
        exec(
            compile("\n" * (block.line - 1) + block.code, str(page), "exec", dont_inherit=True),
            names,
        )
        while made:
            for error in errors_of(made.pop(), phrase):
                assert error in block.code, "an error that the page does not show"
        for name in sorted(set(names) - before):
            if name.startswith("test_"):
                names[name]()
                made.clear()


@pytest.mark.parametrize("block", blocks_in("js", "html"))
def test_the_javascript_of_a_page_is_javascript(block: Block, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        missing("Node")
    scripts = SCRIPT.findall(block.code) if block.language == "html" else [block.code]
    assert scripts
    for script in scripts:
        place = tmp_path / "block.mjs"
        place.write_text(script, "utf-8")
        subprocess.run([str(node), "--check", str(place)], check=True)


@pytest.mark.parametrize("block", blocks_in("json"))
def test_the_json_of_a_page_is_json(block: Block) -> None:
    json.loads(block.code)


def test_every_fence_is_closed_and_found() -> None:
    for page in PAGES:
        assert page.read_text("utf-8").count("```") == 2 * len(blocks_of(page)), page
