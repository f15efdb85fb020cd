"""The examples and the demo: real speech in over WebRTC, real models, and what is heard is read."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from fastrtc import KokoroTTSOptions, MoonshineSTT, get_stt_model, get_tts_model
from fastrtc.server import make_app
from tests.carrier import Carrier, PhoneCall
from tests.conftest import Sound, level
from tests.e2e.browser import ROOT, browsing, opened, running, state_is, turn_is, write_wav
from tests.peers import Caller, eventually, serving
from tests.standins import chat_endpoint
from tests.standins.chat import Messages

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def stt() -> MoonshineSTT:
    return get_stt_model()


def spoken(text: str, voice: str = "af_heart") -> Sound:
    rate, samples = get_tts_model().tts(text, KokoroTTSOptions(voice=voice))
    return rate, (samples * 32_767).astype(np.int16)[None]


@pytest.fixture(scope="module")
def tell_me() -> Sound:
    return spoken("Tell me about Paris.")


@pytest.fixture(scope="module")
def computer() -> Sound:
    return spoken("Computer, what time is it?")


@pytest.fixture(scope="module")
def favourite() -> Sound:
    return spoken("My favourite colour is blue.", "am_michael")


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


async def example(name: str) -> Any:
    """The module of an example, loaded as `fastrtc run` loads it."""

    def load() -> Any:
        spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    # Loading models takes its time.
    module = await asyncio.to_thread(load)
    module.stream.server_rtc_configuration = {"iceServers": []}
    return module


class Page:
    """Reads the outputs of a call, as the built-in page does."""

    def __init__(self, http: httpx.AsyncClient, call: str) -> None:
        self.outputs: list[Any] = []
        self._http = http
        self._call = call
        self._task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        url = f"/outputs?webrtc_id={self._call}"
        async with self._http.stream("GET", url, timeout=60) as events:
            async for line in events.aiter_lines():
                if line.startswith("data:"):
                    self.outputs += json.loads(line.removeprefix("data:"))

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def heard_by(caller: Caller, stt: MoonshineSTT, start: float = 0.0) -> str:
    return await stt.astt((48_000, caller.sound(start)))


ANSWER = (
    "Paris is the capital of France. It lies on the river Seine, and two million people live "
    "there. Its tower was built for a fair, and was to be taken down after twenty years."
)


def language_model(asked: list[Messages]) -> FastAPI:
    """A stand-in for an OpenAI-compatible endpoint: notes what it is asked."""

    def answer(messages: Messages) -> str:
        asked.append(messages)
        return ANSWER

    app = FastAPI()
    app.include_router(chat_endpoint(answer))
    return app


async def test_the_voice_chat_knows_what_an_interrupted_caller_has_heard(
    tell_me: Sound, stt: MoonshineSTT, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Messages] = []
    async with serving(language_model(asked)) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{endpoint.base_url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        chat = await example("voice_chat")
        async with serving(make_app(chat.stream)) as http:
            caller = Caller(http)
            await caller.connect()
            page = Page(http, caller.id)
            await caller.say(tell_me)
            await caller.until("response_starting")
            # Into the second sentence.
            await asyncio.sleep(4.0)
            await caller.say(tell_me)
            await caller.until("interrupted")
            await caller.until("response_starting", 2)
            await asyncio.sleep(1.5)
            heard = await heard_by(caller, stt)
            await caller.hang_up()
            await page.close()
        await chat.stream.close()
    assert words(heard)[:6] == words("Paris is the capital of France")
    first, second = asked
    assert words(first[-1]["content"]) == words("Tell me about Paris")
    (answer,) = [message for message in second if message["role"] == "assistant"]
    assert 3 <= len(answer["content"].split()) < len(ANSWER.split())
    assert ANSWER.startswith(answer["content"].rstrip())
    assert page.outputs[0][0] == {"role": "user", "content": first[-1]["content"]}


class HalfPastTen(datetime):
    """A clock of which we know what is heard: not every time is spoken as clearly."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> HalfPastTen:
        return cls(2026, 1, 1, 10, 30, tzinfo=tz)


async def test_hello_computer_answers_what_follows_the_word_and_nothing_else(
    tell_me: Sound, computer: Sound, stt: MoonshineSTT
) -> None:
    hello = await example("hello_computer")
    hello.datetime = HalfPastTen
    async with serving(make_app(hello.stream)) as http:
        caller = Caller(http)
        await caller.connect()
        await caller.say(tell_me)
        await asyncio.sleep(1.5)
        assert {m["data"] for m in caller.messages} <= {"asleep"}
        await caller.say(computer)
        await caller.until("response_finished")
        assert "stopword" in [m["type"] for m in caller.messages]
        heard = await heard_by(caller, stt)
        await caller.hang_up()
    await hello.stream.close()
    assert re.search(r"10[:. ]?30|ten thirty", heard.lower()), heard


@pytest.fixture(scope="module")
def opening() -> Sound:
    return spoken("When are you open?")


@pytest.fixture(scope="module")
def good_bye() -> Sound:
    return spoken("Thank you, good bye.")


async def answer_on(call: PhoneCall, start: float, last: str, stt: MoonshineSTT) -> str:
    """What is said on a telephone from then on, until a second of silence after a last word.

    On a busy machine a voice may pause before that.
    """

    def sound() -> Sound:
        rate, samples = call.heard
        return rate, samples[round(start * rate) :]

    def is_silent() -> bool:
        rate, samples = sound()
        return level(samples) > -50 and level(samples[-rate:]) < -60

    await eventually(is_silent, 20)
    while last not in words(said := await stt.astt(sound())):
        await eventually(lambda: not is_silent(), 20)
        await eventually(is_silent, 20)
    return said


async def test_the_phone_assistant_answers_keys_and_words_and_hangs_up(
    opening: Sound, good_bye: Sound, stt: MoonshineSTT
) -> None:
    assistant = await example("phone_assistant")
    async with serving(make_app(assistant.stream)) as http:
        webhook = f"{str(http.base_url).rstrip('/')}/telephone/incoming"
        async with Carrier(webhook) as carrier:
            call = await carrier.dial()
            await eventually(lambda: level(call.heard[1]) > -50, 20)
            # In the middle of the greeting.
            start = call.seconds
            await call.press("2")
            address = await answer_on(call, start + 0.5, "road", stt)
            start = call.seconds
            await call.say(opening)
            hours = await answer_on(call, start, "six", stt)
            start = call.seconds
            await call.say(good_bye)
            await call.wait_ended(20)
            rate, samples = call.heard
            farewell = await stt.astt((rate, samples[round(start * rate) :]))
    await assistant.stream.close()
    assert "station" in words(address)
    assert "nine" in words(hours)
    assert "calling" in words(farewell)
    assert call.said == []
    assert call.held == 0
    assert call.violations == []


async def test_captions_come_while_the_caller_talks(beckett: Sound) -> None:
    captions = await example("captions")
    rate, samples = beckett
    async with serving(make_app(captions.stream)) as http:
        caller = Caller(http)
        await caller.connect()
        page = Page(http, caller.id)
        await caller.say((rate, samples[:, : 6 * rate]))
        partials = [line for line in page.outputs if line["partial"]]
        await eventually(lambda: any(not line["partial"] for line in page.outputs), 10)
        await asyncio.sleep(1.0)
        await caller.hang_up()
        await page.close()
    await captions.stream.close()
    assert partials
    final = " ".join(line["content"] for line in page.outputs if not line["partial"])
    assert words(final)[:4] == ["ever", "tried", "ever", "failed"]


async def test_the_demo_writes_down_what_is_said_and_a_voice_answers(
    tmp_path: Path, favourite: Sound
) -> None:
    rate, samples = favourite
    line = np.zeros(rate * 12, np.int16)
    # After the greeting.
    line[rate * 5 : rate * 5 + samples.shape[1]] = samples[0]
    voice = tmp_path / "voice.wav"
    write_wav(voice, rate, line)
    with running("fastrtc.demo:stream") as url:
        async with browsing(voice) as browser:
            page = await opened(browser, url)
            await page.click("#talk")
            await state_is(page, "connected")
            await turn_is(page, "speaking")
            await page.wait_for_function(
                "document.querySelector('[role=log]').textContent.includes('You said')",
                timeout=25_000,
            )
            log = await page.inner_text("[role=log]")
            seen = await page.evaluate("seen")
    assert "Say something" in log
    assert words(log).count("blue") == 2
    assert seen["output"] > 30
