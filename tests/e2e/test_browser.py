"""The built-in page in a real Chromium, with a recorded human voice as its microphone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from fastrtc.server import make_app
from tests.conftest import Sound
from tests.e2e import apps
from tests.e2e.browser import (
    browsing,
    free_port,
    opened,
    running,
    script,
    state_is,
    turn_is,
    write_wav,
)
from tests.peers import serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

APPS = "tests/e2e/apps.py"


@pytest.fixture
def voice(tmp_path: Path, phrase: Sound) -> Path:
    """Three phrases: one to be answered, one to be answered at length, one that interrupts."""
    path = tmp_path / "voice.wav"
    write_wav(path, phrase[0], script(phrase, [1.0, 3.5, 2.5, 6.0]))
    return path


@pytest.fixture
def app() -> FastAPI:
    """The conversation, to be served in the test's own process."""
    apps.conversation.server_rtc_configuration = {"iceServers": []}
    return make_app(apps.conversation)


async def test_a_conversation_of_three_turns_with_an_interruption(voice: Path) -> None:
    with running(f"{APPS}:conversation") as url:
        async with browsing(voice) as browser:
            page = await opened(browser, url)
            assert await page.inner_text("h1") == "Conversation"
            await page.click("#talk")
            await state_is(page, "connected")
            for state in ("hearing", "speaking", "listening"):
                await turn_is(page, state)
            await turn_is(page, "speaking")
            # The third phrase comes over the second reply.
            await turn_is(page, "hearing")
            await turn_is(page, "speaking")
            seen = await page.evaluate("seen")
            assert seen["input"] > 30
            assert seen["output"] > 30
            kinds = await page.evaluate("seen.turns")
            assert kinds.index("hearing") < kinds.index("thinking") < kinds.index("speaking")
            assert "interrupted" in kinds
            assert not await page.query_selector("#messages [role=alert]")

            await page.click("#mute")
            assert await page.get_attribute("#mute", "aria-pressed") == "true"
            await page.wait_for_selector('#input-level[aria-valuenow="0"]')
            await page.click("#talk")
            await state_is(page, "closed")


@pytest.mark.pitfall(34)
async def test_a_call_whose_path_breaks_is_mended_by_an_ice_restart(
    voice: Path, app: FastAPI
) -> None:
    stream = apps.conversation
    async with serving(app) as http, browsing(voice) as browser:
        page = await opened(browser, str(http.base_url))
        await page.click("#talk")
        await turn_is(page, "speaking")
        (session,) = stream.connections.values()
        line: Any = session.line
        # The network between the two goes away; everything above it stays.
        await line.peer._link._connection.close()
        await page.wait_for_function("seen.states.includes('reconnecting')", timeout=20_000)
        await state_is(page, "connected", 20)
        await turn_is(page, "hearing", 20)
        await turn_is(page, "speaking", 20)
        assert list(stream.connections.values()) == [session]
        assert await page.evaluate("fastrtc.id") == session.id


async def test_a_server_that_comes_back_is_called_again(voice: Path) -> None:
    port = free_port()
    async with browsing(voice) as browser:
        with running(f"{APPS}:conversation", port, crash=True) as url:
            page = await opened(browser, url)
            await page.click("#talk")
            await turn_is(page, "speaking")
        await state_is(page, "reconnecting", 20)
        with running(f"{APPS}:conversation", port):
            await state_is(page, "connected", 30)
            await turn_is(page, "speaking", 30)


async def test_a_full_server_says_so_in_plain_words(voice: Path) -> None:
    with running(f"{APPS}:single") as url:
        async with browsing(voice) as browser:
            first = await opened(browser, url)
            await first.click("#talk")
            await state_is(first, "connected")
            second = await opened(browser, url)
            await second.click("#talk")
            alert = await second.wait_for_selector("#messages [role=alert]")
            assert alert is not None
            text = (await alert.inner_text()).lower()
            assert "1" in text
            assert "call" in text or "full" in text or "busy" in text


async def test_an_error_of_the_function_is_shown(voice: Path) -> None:
    with running(f"{APPS}:failing") as url:
        async with browsing(voice) as browser:
            page = await opened(browser, url)
            await page.click("#talk")
            alert = await page.wait_for_selector("#messages [role=alert]")
            assert alert is not None
            assert "The kitchen is closed." in await alert.inner_text()
            assert await page.evaluate("fastrtc.state") == "connected"


async def test_a_denied_microphone_is_explained() -> None:
    with running(f"{APPS}:conversation") as url:
        async with browsing(None, "--deny-permission-prompts") as browser:
            page = await opened(browser, url)
            await page.click("#talk")
            alert = await page.wait_for_selector("#messages [role=alert]")
            assert alert is not None
            assert "microphone" in (await alert.inner_text()).lower()


async def test_the_radio_is_heard_without_a_microphone() -> None:
    with running(f"{APPS}:receiver") as url:
        async with browsing(None, "--deny-permission-prompts") as browser:
            page = await opened(browser, url)
            await page.click("#talk")
            await state_is(page, "connected")
            await page.wait_for_function("seen.output > 30", timeout=10_000)


async def test_the_page_works_by_keyboard_and_names_its_controls(voice: Path) -> None:
    with running(f"{APPS}:conversation") as url:
        async with browsing(voice) as browser:
            page = await opened(browser, url, viewport={"width": 360, "height": 740})
            await page.focus("#talk")
            await page.keyboard.press("Enter")
            await state_is(page, "connected")
            await page.keyboard.press("m")
            assert await page.get_attribute("#mute", "aria-pressed") == "true"
            for control in ("#talk", "#mute", "#microphone", "#input-level", "#output-level"):
                element = await page.query_selector(control)
                assert element is not None
                name = await element.evaluate(
                    "e => e.ariaLabel || e.innerText || e.labels?.[0]?.innerText"
                    " || document.getElementById(e.getAttribute('aria-labelledby'))?.innerText"
                )
                assert name, control
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 360
