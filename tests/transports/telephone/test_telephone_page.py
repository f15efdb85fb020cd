"""The examples of the page on the telephone work as they stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from fastrtc import PhoneCall, ReplyOnPause, Stream
from fastrtc.audio.g711 import MULAW
from fastrtc.audio.resample import StreamResampler
from fastrtc.testing import VirtualCall
from tests.conftest import Sound, level, tone
from tests.peers import line

PAGE = Path(__file__).parents[3] / "docs" / "telephone.md"
RATE = 8_000


class Hears:
    """Stands for speech to text: reads the same out of everything."""

    def stt(self, audio: Sound) -> str:
        return "hello"


class Speaks:
    """Stands for text to speech: every text is half a second of tone."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def stream_tts_sync(self, text: str) -> Iterator[Sound]:
        self.texts.append(text)
        yield tone(0.5)


@pytest.fixture(name="page")
def _page(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the blocks make, run one after the other; streams in their order."""
    monkeypatch.delenv("TWILIO_AUTH_TOKEN", raising=False)
    monkeypatch.setattr("fastrtc.get_stt_model", Hears)
    monkeypatch.setattr("fastrtc.get_tts_model", Speaks)
    names: dict[str, Any] = {}
    streams: list[Stream] = []
    for block in re.findall(r"^ *```python\n(.*?)^ *```$", PAGE.read_text("utf-8"), re.M | re.S):
        exec(compile(dedent(block), str(PAGE), "exec", dont_inherit=True), names)
        if names["stream"] not in streams:
            streams.append(names["stream"])
    return {**names, "streams": streams}


def test_the_first_app_greets_and_answers(page: dict[str, Any], phrase: Sound) -> None:
    with VirtualCall(page["streams"][0], phone_mode=True) as call:
        call.wait(1.0)
        call.say(phrase)
        call.wait(3.0)
    assert page["tts"].texts == ["Hello! Say something.", "You said: hello"]


def test_what_is_given_out_comes_in_again(page: dict[str, Any], phrase: Sound) -> None:
    with VirtualCall(ReplyOnPause(page["count"]), phone_mode=True) as call:
        for _ in range(2):
            call.say(phrase)
            call.wait(3.0)
    assert [output.args for output in call.outputs] == [(1,), (2,)]


def test_the_test_on_the_page_passes(page: dict[str, Any]) -> None:
    page["test_zero_hangs_up"]()


def test_a_key_is_answered_over_what_is_being_said(page: dict[str, Any], phrase: Sound) -> None:
    with VirtualCall(page["Menu"](page["choose"]), phone_mode=True) as call:
        call.say(phrase)
        call.wait(1.2)
        call.do(lambda: call.session.press("5"))
        call.wait(2.0)
    assert page["tts"].texts == ["That was hello.", "That was 5."]


@pytest.mark.parametrize(
    ("app", "webhook", "socket"),
    [
        ("app", "/hotline", "wss://shop.example/telephone/handler"),
        ("app", "/night", "wss://example.com/telephone/handler"),
        ("own", "/sales/incoming", "wss://shop.example/sales/handler"),
    ],
)
def test_its_webhooks_connect_with_a_socket(
    page: dict[str, Any], app: str, webhook: str, socket: str
) -> None:
    server: FastAPI = page[app]
    answer = TestClient(server, base_url="https://shop.example").post(webhook)
    assert answer.status_code == 200
    assert f'<Stream url="{socket}"' in answer.text


def test_its_options_are_in_the_document(page: dict[str, Any]) -> None:
    app = FastAPI()
    page["streams"][1].mount(app)
    document = TestClient(app).post("/telephone/incoming").text
    assert document.count("<Say") == 1
    assert '<Say language="en-GB">Thank you for calling.</Say>' in document


def test_its_authorize_knows_who_calls(page: dict[str, Any]) -> None:
    def ask(caller: str) -> Any:
        phone = PhoneCall("twilio", "CA1", "MZ1", caller=caller)
        return page["authorize"](SimpleNamespace(state=SimpleNamespace(phone=phone)))

    assert ask("+15550001111") == "Ada"
    assert ask("+15550002222") is None
    assert page["authorize"](SimpleNamespace(state=SimpleNamespace())) is True


async def test_its_telephone_hears_an_answer(page: dict[str, Any], phrase: Sound) -> None:
    rate, samples = phrase
    said = StreamResampler(rate, RATE).process(samples)
    handler = ReplyOnPause(page["reply"], endpointing="vad")
    async with line(handler) as (_, http):
        url = str(http.base_url).rstrip("/").replace("http", "ws") + "/telephone/handler"
        heard = MULAW.decode(await page["telephone"](MULAW.encode(said), url, 5.0))[0]
    assert len(heard) == 5 * RATE
    assert level(heard[: said.shape[1]]) < -60
    loud = np.flatnonzero(np.abs(heard) > 1_000)
    assert (loud[-1] - loud[0]) / RATE == pytest.approx(0.5, abs=0.05)
