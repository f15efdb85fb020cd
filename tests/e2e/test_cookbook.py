"""Apps as users write them, in a real browser: by their Gradio page, and by the built-in one.

Both pages call at once, so that each test is also one of two callers.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page, TimeoutError, ViewportSize

from fastrtc.testing import load_speech
from tests.conftest import Sound, level, missing, silence
from tests.e2e.browser import ROOT, browsing
from tests.e2e.cookbook import ANSWER_SECONDS
from tests.spoken import ASKED, read, said

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

APPS = (
    "captions",
    "chatbot",
    "echo",
    "gemini_live",
    "hello_computer",
    "openai_realtime",
    "radio",
    "recorder",
    "text_or_voice",
    "voice_form",
)
PATIENCE = 30_000
"""Milliseconds for anything to be seen."""
SMALL: ViewportSize = {"width": 360, "height": 740}
FRANCE = "What is the capital of France?"
ITALY = "What is the capital of Italy?"
ANNA = "My name is Anna, and I live in Paris."
QUIET = 2
"""The level under which a meter shows silence."""
PAUSE_MS = 1_200
"""Of silence that ends a stretch of sound: longer than pauses between sentences, and shorter than
what is said to interrupt."""

WATCH = """([state, turn, reply]) => {
    window.seen = {states: [], turns: [], sounds: []};
    const note = (list, value) => { if (value && list.at(-1) !== value) list.push(value); };
    const look = () => {
        const read = (place) => document.querySelector(place.split('@')[0])
            ?.getAttribute(place.split('@')[1]);
        note(seen.states, read(state));
        note(seen.turns, read(turn));
        const [level, now] = [Number(read(reply)), performance.now()];
        const last = seen.sounds.at(-1);
        if (level > QUIET) {
            if (last && now - last.end < PAUSE_MS)
                Object.assign(last, {end: now, level: Math.max(last.level, level)});
            else seen.sounds.push({start: now, end: now, level});
        }
        requestAnimationFrame(look);
    };
    look();
}""".replace("QUIET", str(QUIET)).replace("PAUSE_MS", str(PAUSE_MS))
"""Notes states, turns, and stretches of sound of the reply."""

MICROPHONE = """
    navigator.mediaDevices.getUserMedia = async () => {
        const context = new AudioContext();
        const microphone = context.createMediaStreamDestination();
        window.say = (pcm, rate) => new Promise((done) => {
            const bytes = Uint8Array.from(atob(pcm), (letter) => letter.charCodeAt(0));
            const samples = new Int16Array(bytes.buffer);
            const clip = context.createBuffer(1, samples.length, rate);
            clip.copyToChannel(Float32Array.from(samples, (sample) => sample / 32768), 0);
            const source = context.createBufferSource();
            source.buffer = clip;
            source.onended = done;
            source.connect(microphone);
            source.start();
        });
        return microphone.stream;
    };
"""
"""A microphone that hears what the test says, when it says it: no test depends on how long a busy
machine takes to answer."""

ANSWER_INPUTS = """(values) => fastrtc.addEventListener("message", ({detail}) => {
    if (detail.type === "send_input") fetch(`inputs?webrtc_id=${fastrtc.id}`, {
        method: "POST",
        headers: {"Content-Type": "application/json"},
        body: JSON.stringify(eval(values)()),
    });
})"""
"""What a page of one's own does when it is asked for inputs; ``values`` is a function that reads
them off the page."""


@dataclass(frozen=True)
class Face:
    """How a page shows a call: places are ``selector@attribute``."""

    path: str
    talk: str
    state: str
    turn: str
    reply: str
    user: str
    assistant: str


BUILT_IN = Face(
    path="/",
    talk="#talk",
    state="#status@data-state",
    turn="#turn@data-turn",
    reply="#output-level@aria-valuenow",
    user="[role=log] [data-role=user]",
    assistant="[role=log] [data-role=assistant]",
)
GRADIO = Face(
    path="/ui/",
    talk=".fastrtc-talk",
    state=".fastrtc@data-state",
    turn=".fastrtc@data-turn",
    reply=".fastrtc-level[data-side=reply]@aria-valuenow",
    user="[data-testid=user]",
    assistant="[data-testid=bot]",
)


@dataclass
class Tab:
    """A page that calls an app."""

    page: Page
    face: Face
    said: dict[str, Sound]

    async def call(self) -> None:
        await self.page.click(self.face.talk)
        await self.until("seen.states.at(-1) === 'connected'")

    async def say(self, *parts: str | Sound) -> None:
        """Say sentences, and sounds; returns when the last of them is over."""
        for part in parts:
            rate, samples = self.said[part] if isinstance(part, str) else part
            pcm = base64.b64encode(samples.astype("<i2").tobytes()).decode()
            await self.page.evaluate("([pcm, rate]) => say(pcm, rate)", [pcm, rate])

    async def turn_is(self, turn: str) -> None:
        await self.until(f"seen.turns.at(-1) === '{turn}'")

    async def until(self, condition: str) -> None:
        """Wait until an expression is true."""
        try:
            await self.page.wait_for_function(condition, timeout=PATIENCE)
        except TimeoutError as error:
            shown = await self.page.evaluate("[seen, document.body.innerText]")
            raise AssertionError(f"{self.face.path} never had {condition}: {shown}") from error

    async def reply_is_heard(self) -> None:
        await self.until("seen.sounds.some(({level}) => level > 30)")

    async def shows(self, place: str, *words: str) -> None:
        """Wait until the elements of a place show words, in this order."""
        pattern = ".*".join(words)
        await self.until(
            f"/{pattern}/is.test([...document.querySelectorAll('{place}')]"
            ".map((element) => element.textContent).join(' '))"
        )

    async def field_is(self, label: str, value: str) -> None:
        """Wait until the field of a label matches a pattern."""
        field = f"document.querySelector('[data-field=\"{label}\"]')"
        await self.page.get_by_label(label, exact=True).evaluate(
            "(element, label) => element.dataset.field = label", label
        )
        await self.until(f"/{value}/is.test({field}.value)")

    async def seen(self) -> dict[str, Any]:
        seen: dict[str, Any] = await self.page.evaluate("seen")
        return seen

    async def alerts(self) -> list[str]:
        return await self.page.locator(
            "#messages [role=alert], .toast-body.error"
        ).all_inner_texts()


@dataclass
class Cookbook:
    """Where the apps are served, each below its name, and what callers say to them."""

    url: str
    recordings: Path
    said: dict[str, Sound]


@pytest.fixture(scope="module")
def cookbook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cookbook]:
    if importlib.util.find_spec("gradio") is None:
        missing("Gradio")
    recordings = tmp_path_factory.mktemp("recordings")
    command = [sys.executable, "-m", "tests.e2e.cookbook", *APPS]
    environment = {**os.environ, "RECORDINGS": str(recordings)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            # While the server loads its models.
            sentences = {text: said(text) for text in (FRANCE, ITALY, ANNA, ASKED)}
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            assert address, "the server has ended"
            yield Cookbook(f"http://{address}", recordings, sentences)
        finally:
            server.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def windows() -> AsyncIterator[dict[Face, BrowserContext]]:
    """A window for each kind of page, which loads what all apps share but once."""
    async with browsing(None) as browser:
        found = {}
        for face in (BUILT_IN, GRADIO):
            # Little is drawn, as two pages and the server share the machine.
            window = await browser.new_context(viewport=SMALL, reduced_motion="reduce")
            await window.add_init_script(MICROPHONE)
            found[face] = window
        yield found


Opened = Callable[[str], contextlib.AbstractAsyncContextManager[tuple[Tab, Tab]]]


@pytest.fixture
def opened(cookbook: Cookbook, windows: dict[Face, BrowserContext]) -> Opened:
    """Opens the built-in page of an app, and its Gradio page."""

    @contextlib.asynccontextmanager
    async def tabs(name: str) -> AsyncIterator[tuple[Tab, Tab]]:
        async def open_tab(face: Face) -> Tab:
            page = await windows[face].new_page()
            await page.goto(f"{cookbook.url}/{name}{face.path}")
            await page.wait_for_selector(face.talk, timeout=PATIENCE)
            await page.evaluate(WATCH, [face.state, face.turn, face.reply])
            return Tab(page, face, cookbook.said)

        pages = await asyncio.gather(open_tab(BUILT_IN), open_tab(GRADIO))
        yield pages[0], pages[1]
        for tab in pages:
            await tab.page.close()

    return tabs


async def both(pages: tuple[Tab, Tab], act: Callable[[Tab], Awaitable[None]]) -> None:
    """Do the same in both pages at once."""
    await asyncio.gather(*(act(tab) for tab in pages))


async def test_the_echo_says_again_what_was_said(opened: Opened, phrase: Sound) -> None:
    async def talk(tab: Tab) -> None:
        await tab.call()
        await tab.say(phrase)
        await tab.turn_is("speaking")
        await tab.reply_is_heard()
        assert await tab.alerts() == []

    async with opened("echo") as pages:
        await both(pages, talk)


async def test_the_model_knows_what_is_in_the_chatbot(opened: Opened) -> None:
    async def talk(tab: Tab) -> None:
        await tab.call()
        await tab.say(FRANCE)
        await tab.shows(tab.face.assistant, "It is Paris")
        await tab.reply_is_heard()
        await tab.turn_is("listening")
        await tab.say(ITALY)
        await tab.shows(tab.face.user, "France", "Italy")
        await tab.shows(tab.face.assistant, "It is Paris", "It is Rome, after Paris")

    async with opened("chatbot") as pages:
        built_in, _ = pages
        lines = """() => [[...document.querySelectorAll("[role=log] [data-role]")].map((line) =>
            ({role: line.dataset.role, content: line.lastChild.textContent}))]"""
        await built_in.page.evaluate(ANSWER_INPUTS, lines)
        await both(pages, talk)


async def test_the_computer_answers_who_calls_it_and_nobody_else(opened: Opened) -> None:
    async def talk(tab: Tab) -> None:
        await tab.call()
        await tab.turn_is("asleep")
        await tab.say(FRANCE, silence(1.0), ASKED)
        await tab.turn_is("speaking")
        await tab.reply_is_heard()
        turns = (await tab.seen())["turns"]
        assert turns.count("thinking") <= 1
        assert turns.count("speaking") == 1

    async with opened("hello_computer") as pages:
        await both(pages, talk)
        built_in, _ = pages
        await built_in.shows(BUILT_IN.user, "what time is it")
        await built_in.shows(BUILT_IN.assistant, "It is \\d")


@pytest.mark.parametrize("name", ["openai_realtime", "gemini_live"])
async def test_a_model_behind_a_socket_falls_silent_when_it_is_interrupted(
    opened: Opened, name: str
) -> None:
    async def interrupt(tab: Tab) -> None:
        await tab.call()
        await tab.say(FRANCE)
        await tab.reply_is_heard()
        await tab.say(ITALY)
        await tab.shows(tab.face.user, "France", "Italy")
        await tab.shows(tab.face.assistant, "Ever tried", "Try again")
        first = (await tab.seen())["sounds"][0]
        assert first["end"] - first["start"] < 1000 * (ANSWER_SECONDS - 1.5)
        assert await tab.alerts() == []

    async with opened(name) as pages:
        await both(pages, interrupt)


async def test_captions_are_written_while_the_caller_talks(opened: Opened, beckett: Sound) -> None:
    rate, samples = beckett

    async def talk(tab: Tab) -> None:
        await tab.call()
        talking = asyncio.ensure_future(tab.say((rate, samples[:, : 5 * rate])))
        if tab.face is GRADIO:
            await tab.field_is("Saying", "ever")
            assert not talking.done()
            await tab.field_is("Said", "ever tried.*ever failed")
        else:
            await tab.shows(tab.face.user, "ever")
            assert not talking.done()
            await tab.shows(tab.face.user, "ever tried", "ever failed")
        await talking

    async with opened("captions") as pages:
        await both(pages, talk)


async def test_what_is_typed_is_answered_like_what_is_said(opened: Opened) -> None:
    async def talk(tab: Tab) -> None:
        if tab.face is GRADIO:
            await tab.page.fill(".fastrtc-text", "good morning")
            await tab.page.click(".fastrtc-send")
            await tab.shows(tab.face.user, "good morning")
            await tab.shows(tab.face.assistant, "2 words: good morning")
            await tab.reply_is_heard()
        await tab.call()
        await tab.turn_is("listening")
        await tab.say(FRANCE)
        await tab.shows(tab.face.user, "capital of France")
        await tab.shows(tab.face.assistant, "words: .*capital of France")
        await tab.reply_is_heard()

    async with opened("text_or_voice") as pages:
        await both(pages, talk)
        _, gradio = pages
        await gradio.shows(GRADIO.user, "good morning", "capital of France")


async def test_a_form_takes_what_is_said_and_keeps_what_was_typed(opened: Opened) -> None:
    async def talk(tab: Tab) -> None:
        if tab.face is GRADIO:
            await tab.page.get_by_label("Email", exact=True).fill("anna@example.com")
        else:
            await tab.page.evaluate(ANSWER_INPUTS, "() => ['', '', 'anna@example.com']")
        await tab.call()
        await tab.say(ANNA)
        thanks = "Thank you, Anna from Paris. I write to anna@example.com."
        if tab.face is GRADIO:
            await tab.field_is("Assistant", thanks)
            await tab.field_is("Name", "^Anna$")
            await tab.field_is("City", "^Paris$")
            await tab.field_is("Email", "^anna@example.com$")
        else:
            await tab.shows("[role=log]", thanks)
        await tab.reply_is_heard()

    async with opened("voice_form") as pages:
        await both(pages, talk)


async def test_the_radio_plays(opened: Opened) -> None:
    async def listen(tab: Tab) -> None:
        await tab.call()
        await tab.reply_is_heard()

    async with opened("radio") as pages:
        await both(pages, listen)


async def test_the_recorder_keeps_what_was_said(opened: Opened, cookbook: Cookbook) -> None:
    async def talk(tab: Tab) -> None:
        await tab.call()
        await tab.say(FRANCE)
        if tab.face is GRADIO:
            await tab.field_is("Recorded", "3 s, -\\d+ dB")
        else:
            await tab.shows("[role=log]", "1 s", "3 s, -\\d+ dB")

    async with opened("recorder") as pages:
        await both(pages, talk)
    files = cookbook.recordings.glob("*.wav")
    recorded = await asyncio.to_thread(lambda: [load_speech(file) for file in files])
    assert len(recorded) == 2
    for sound in recorded:
        assert level(sound[1]) > -45
        assert "capital of france" in await asyncio.to_thread(read, sound)
