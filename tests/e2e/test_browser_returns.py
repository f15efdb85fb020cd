"""A call whose server is killed comes back to another by itself, in a real Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import Sound
from tests.e2e.browser import browsing, opened, running, script, state_is, write_wav

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

APP = "tests/e2e/apps.py:greeting"
TOLD_SECONDS = 3.0
"""1.8 where the machine has nothing else to do; without a watchdog the browser takes 5 to 7."""
TALKS_SECONDS = 5.0

NOTED = """() => {
    window.noted = {};
    setInterval(() => {
        const note = (name) => { noted[name] ??= Date.now() / 1000; };
        if (fastrtc.state === 'reconnecting') note('told');
        if (noted.told && fastrtc.state === 'connected') note('back');
        if (noted.back && fastrtc.outputLevel > 0) note('heard');
    }, 10);
}"""
"""Notes the time of what happens after a loss, in Unix seconds."""


@contextlib.asynccontextmanager
async def in_front_of(urls: list[str]) -> AsyncIterator[str]:
    """One address for several servers; whoever comes is passed to the first that answers."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for url in urls:
            port = int(url.rsplit(":", 1)[1])
            with contextlib.suppress(OSError):
                there, back = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(pump(reader, back), pump(there, writer))
                return
        writer.close()

    front = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{front.sockets[0].getsockname()[1]}"
    front.close()


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
async def test_a_caller_whose_server_is_killed_talks_to_another_within_seconds(
    tmp_path: Path, phrase: Sound, transport: str
) -> None:
    voice = tmp_path / "voice.wav"
    # Nothing is said for as long as it takes: only who comes back is spoken to.
    write_wav(voice, phrase[0], script(phrase, [60.0]))
    async with contextlib.AsyncExitStack() as stack:
        killed = contextlib.ExitStack()
        stack.enter_context(killed)
        first = killed.enter_context(running(APP, crash=True))
        second = stack.enter_context(running(APP))
        url = await stack.enter_async_context(in_front_of([first, second]))
        browser = await stack.enter_async_context(browsing(voice))
        page = await opened(browser, f"{url}/?transport={transport}")
        await page.evaluate(NOTED)
        await page.click("#talk")
        await state_is(page, "connected")
        call_id = await page.evaluate("fastrtc.id")
        # Long enough for the silence of the server to be the usual.
        await asyncio.sleep(2.0)
        assert await page.evaluate("fastrtc.state") == "connected"

        at = time.time()
        killed.close()
        await page.wait_for_function("noted.heard", timeout=20_000)
        noted = await page.evaluate("noted")
        assert noted["told"] - at < TOLD_SECONDS
        assert noted["heard"] - at < TALKS_SECONDS
        assert await page.evaluate("fastrtc.id") == call_id


async def test_a_server_that_stands_still_for_a_moment_keeps_its_call(
    tmp_path: Path, phrase: Sound
) -> None:
    voice = tmp_path / "voice.wav"
    write_wav(voice, phrase[0], script(phrase, [60.0]))
    with running(APP) as url:
        (server,) = (
            it for it in psutil.Process().children() if url.rsplit(":", 1)[1] in it.cmdline()
        )
        async with browsing(voice) as browser:
            page = await opened(browser, f"{url}/?transport=webrtc")
            await page.evaluate(NOTED)
            await page.click("#talk")
            await state_is(page, "connected")
            call_id = await page.evaluate("fastrtc.id")
            server.suspend()
            await state_is(page, "reconnecting")
            server.resume()
            await state_is(page, "connected")
            await asyncio.sleep(2.0)
            assert await page.evaluate("fastrtc.state") == "connected"
            assert await page.evaluate("fastrtc.id") == call_id
            # A call that had begun anew would have been greeted.
            assert not await page.evaluate("noted.heard")
