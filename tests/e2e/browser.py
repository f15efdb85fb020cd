"""A real Chromium with a recorded voice as its microphone, and a server for it to call."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from playwright.async_api import Browser, Error, Page, async_playwright

from tests.conftest import Sound, missing

ROOT = Path(__file__).parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str:
    """The browser's path."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing("Chromium (set CHROMIUM to its path)")
    assert found is not None
    return found


def write_wav(path: Path, rate: int, samples: NDArray[np.int16]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def script(phrase: Sound, pauses: list[float]) -> NDArray[np.int16]:
    """Pause, phrase, pause, phrase, ... pause; at the phrase's rate, over faint noise."""
    rate, samples = phrase
    parts: list[NDArray[np.int16]] = []
    for index, seconds in enumerate(pauses):
        parts += [samples[0]] if index else []
        parts.append(np.zeros(round(seconds * rate), np.int16))
    line = np.concatenate(parts)
    return line + np.random.default_rng(2).normal(0, 6, len(line)).astype(np.int16)


@contextlib.asynccontextmanager
async def browsing(
    voice: Path | None, *flags: str, program: str | Path | None = None
) -> AsyncIterator[Browser]:
    """A browser; without a voice it has a microphone that beeps.

    ``program``: what starts it, if that is not `chromium` itself.
    """
    arguments = [
        "--no-sandbox",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--use-fake-device-for-media-stream",
        *flags,
    ]
    if voice is not None:
        arguments += [
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={voice}",
        ]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program or chromium(), args=arguments, headless=True
        )
        try:
            yield browser
        finally:
            with contextlib.suppress(Error):  # it has crashed, or was closed
                # Pages hang up where they are left. A browser that is closed just goes silent,
                # and servers wait for it for as long as for a broken network.
                for page in [page for context in browser.contexts for page in context.pages]:
                    await page.goto("about:blank")
            await browser.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(target: str, port: int | None = None, *, crash: bool = False) -> Iterator[str]:
    """`fastrtc run TARGET` in a process of its own; yields its address.

    It is asked to stop at the end, or with ``crash`` killed.
    """
    port = port or free_port()
    command = [sys.executable, "-m", "fastrtc.cli", "run", target, "--port", str(port)]
    command += ["--grace", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 30
            while True:
                with contextlib.suppress(httpx.TransportError):
                    httpx.get(url)
                    break
                assert server.poll() is None, "the server has ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.1)
            yield url
        finally:
            server.kill() if crash else server.terminate()


WATCH = """() => {
    window.seen = {turns: [], states: [], input: 0, output: 0};
    const note = (list, value) => { if (value && list.at(-1) !== value) list.push(value); };
    const look = () => {
        const read = (id) => document.getElementById(id);
        note(seen.turns, read('turn').dataset.turn);
        note(seen.states, read('status').dataset.state);
        const level = (id) => Number(read(id).getAttribute('aria-valuenow'));
        seen.input = Math.max(seen.input, level('input-level'));
        seen.output = Math.max(seen.output, level('output-level'));
    };
    new MutationObserver(look).observe(
        document.body, {subtree: true, attributes: true, childList: true});
    look();
}"""


async def opened(browser: Browser, url: str, **options: Any) -> Page:
    """The page, with everything that it shows noted in `window.seen`."""
    page = await browser.new_page(**options)
    await page.goto(url)
    await page.evaluate(WATCH)
    return page


async def turn_is(page: Page, state: str, seconds: float = 15) -> None:
    await page.wait_for_selector(f'#turn[data-turn="{state}"]', timeout=seconds * 1000)


async def state_is(page: Page, state: str, seconds: float = 15) -> None:
    await page.wait_for_selector(f'#status[data-state="{state}"]', timeout=seconds * 1000)
