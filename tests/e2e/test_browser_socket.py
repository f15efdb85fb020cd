"""The built-in page over a WebSocket, in a real Chromium with a recorded human voice."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.conftest import Sound
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

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

APPS = "tests/e2e/apps.py"
NO_UDP = "--webrtc-ip-handling-policy=disable_non_proxied_udp"
"""What a firewall does that lets no UDP through."""

OVERHEARD = """() => {
    window.overheard = null;
    let loud = -Infinity, onset = null, heard = null;
    setInterval(() => {
        const now = performance.now();
        if (fastrtc.inputLevel > 0.3) {
            if (now - loud > 500) onset = now;
            loud = now;
        }
        if (fastrtc.outputLevel > 0) heard = now;
    }, 5);
    fastrtc.addEventListener('turn', ({detail: {turn}}) => {
        if (turn === 'interrupted') setTimeout(() => { overheard = heard - onset; }, 300);
    });
}"""
"""Notes for how many milliseconds of an interruption the reply was still heard."""
CUT_SHORT = 5_000
"""Of these, fewer than are left of a reply that is not interrupted: 9 s. How quick it is when the
machine has nothing else to do is for the benchmarks to say."""


@pytest.fixture
def voice(tmp_path: Path, phrase: Sound) -> Path:
    """Three phrases: one to be answered, one to be answered at length, one that interrupts."""
    path = tmp_path / "voice.wav"
    write_wav(path, phrase[0], script(phrase, [1.0, 3.5, 2.5, 6.0]))
    return path


async def transport_is(page: Page, name: str, seconds: float = 15) -> None:
    """Wait until the page shows a transport."""
    shown = page.locator("#transport", has_text=name)
    await shown.wait_for(state="visible", timeout=seconds * 1000)


async def test_a_conversation_over_a_websocket_is_heard_and_can_be_interrupted(
    voice: Path,
) -> None:
    with running(f"{APPS}:conversation") as url:
        async with browsing(voice) as browser:
            page = await opened(browser, f"{url}/?transport=websocket")
            await page.evaluate(OVERHEARD)
            await page.click("#talk")
            await transport_is(page, "WebSocket")
            for state in ("hearing", "speaking", "listening", "speaking", "hearing", "speaking"):
                await turn_is(page, state)
            seen = await page.evaluate("seen")
            assert seen["input"] > 30
            assert seen["output"] > 30
            assert "interrupted" in seen["turns"]
            assert not await page.query_selector("#messages [role=alert]")
            assert 0 < await page.evaluate("overheard") < CUT_SHORT

            await page.click("#talk")
            await state_is(page, "closed")
            assert not await page.is_visible("#transport")


async def test_where_udp_is_blocked_the_page_calls_over_a_websocket_by_itself(
    voice: Path,
) -> None:
    # The attempt over WebRTC has held the only slot.
    with running(f"{APPS}:single") as url:
        async with browsing(voice, NO_UDP) as browser:
            page = await opened(browser, url)
            await page.click("#talk")
            await transport_is(page, "WebSocket", 7)
            await state_is(page, "connected", 2)
            await turn_is(page, "speaking")
            assert not await page.query_selector("#messages [role=alert]")


async def test_webrtc_that_is_wished_for_does_not_fall_back(voice: Path) -> None:
    with running(f"{APPS}:conversation") as url:
        async with browsing(voice, NO_UDP) as browser:
            page = await opened(browser, f"{url}/?transport=webrtc")
            await page.click("#talk")
            alert = await page.wait_for_selector("#messages [role=alert]")
            assert alert is not None
            assert "firewall" in await alert.inner_text()


async def test_where_udp_passes_the_page_says_webrtc(voice: Path) -> None:
    with running(f"{APPS}:conversation") as url:
        async with browsing(voice) as browser:
            page = await opened(browser, url)
            await page.click("#talk")
            await state_is(page, "connected")
            await transport_is(page, "WebRTC")


async def test_a_socket_whose_server_comes_back_is_called_again(voice: Path) -> None:
    port = free_port()
    async with browsing(voice) as browser:
        with running(f"{APPS}:conversation", port, crash=True) as url:
            page = await opened(browser, f"{url}/?transport=websocket")
            await page.click("#talk")
            await turn_is(page, "speaking")
        await state_is(page, "reconnecting", 20)
        with running(f"{APPS}:conversation", port):
            await state_is(page, "connected", 30)
            await turn_is(page, "speaking", 30)


async def test_a_full_server_refuses_a_socket_in_plain_words(voice: Path) -> None:
    with running(f"{APPS}:single") as url:
        async with browsing(voice) as browser:
            first = await opened(browser, f"{url}/?transport=websocket")
            await first.click("#talk")
            await state_is(first, "connected")
            second = await opened(browser, f"{url}/?transport=websocket")
            await second.click("#talk")
            alert = await second.wait_for_selector("#messages [role=alert]")
            assert alert is not None
            assert "busy" in await alert.inner_text()


async def test_the_radio_is_heard_over_a_websocket_without_a_microphone() -> None:
    with running(f"{APPS}:receiver") as url:
        async with browsing(None, "--deny-permission-prompts") as browser:
            page = await opened(browser, f"{url}/?transport=websocket")
            await page.click("#talk")
            await state_is(page, "connected")
            await page.wait_for_function("seen.output > 30", timeout=10_000)


async def test_a_client_that_only_sends_is_heard_over_a_websocket(voice: Path) -> None:
    with running(f"{APPS}:conversation") as url:
        async with browsing(voice) as browser:
            page = await opened(browser, url)
            await page.evaluate(
                """async () => {
                    const {FastRTCClient} = await import('/web/client.js');
                    window.sender = new FastRTCClient({transport: 'websocket', mode: 'send'});
                    await sender.connect();
                }"""
            )
            await page.wait_for_function("sender.turn === 'speaking'", timeout=15_000)
            assert await page.evaluate("sender.remoteStream") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_shows_its_transport_on_a_narrow_screen(voice: Path, scheme: str) -> None:
    with running(f"{APPS}:conversation") as url:
        async with browsing(voice) as browser:
            page = await opened(
                browser,
                f"{url}/?transport=websocket",
                viewport={"width": 360, "height": 740},
                color_scheme=scheme,
            )
            await page.click("#talk")
            await state_is(page, "connected")
            await transport_is(page, "WebSocket")
            box = await page.locator("#transport").bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360
            assert await page.evaluate("document.documentElement.scrollWidth") <= 360
