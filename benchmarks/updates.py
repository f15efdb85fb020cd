"""How long an update is on its way from a handler to what a Gradio page shows.

    python -m benchmarks.updates

From the root of the repository, as it opens the browser of the tests. The page, in a real Chromium
on the same machine, and so on the same clock, notes when it shows what the handler has yielded:
the time. Between lie the data channel, the page's request, the function that merges, and Gradio.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import gradio as gr
import numpy as np

from fastrtc import AdditionalOutputs, Stream
from tests.e2e.browser import browsing

UPDATES: Final = 200
EVERY: Final = 0.2
"""Seconds from one to the next, so that none is shown together with another."""
WARM_UP: Final = 5
"""Updates before those that count."""
TIMEOUT: Final = 60_000
"""Milliseconds."""

WATCH: Final = """() => {
    window.late = [];
    const shown = document.querySelector("#stamp");
    let last = 0;
    const note = () => {
        const made = Number(shown.textContent);
        const now = performance.timeOrigin + performance.now();
        if (!(made > last)) return;
        last = made;
        late.push(now - 1000 * made);
    };
    new MutationObserver(note).observe(
        shown, {subtree: true, childList: true, characterData: true});
}"""


async def tell_the_time() -> AsyncIterator[Any]:
    for _ in range(WARM_UP + UPDATES):
        await asyncio.sleep(EVERY)
        yield AdditionalOutputs(time.time())


def make_page() -> gr.Blocks:
    stream = Stream(
        tell_the_time,
        mode="receive",
        server_rtc_configuration={"iceServers": []},
        additional_outputs=[gr.HTML(elem_id="stamp")],
        additional_outputs_handler=lambda shown, now: f"{now:.6f}",
        verbose=False,
    )
    page: gr.Blocks = stream.ui
    return page


async def measure(url: str) -> list[float]:
    """Milliseconds from the yield of each update to its being shown."""
    async with browsing(None) as browser:
        page = await browser.new_page()
        await page.goto(url)
        await page.wait_for_selector("#stamp", state="attached", timeout=TIMEOUT)
        await page.evaluate(WATCH)
        await page.click(".fastrtc-talk")
        await page.wait_for_selector('.fastrtc[data-state="closed"]', timeout=TIMEOUT)
        late: list[float] = await page.evaluate("late")
    return late[WARM_UP:]


def main() -> None:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    blocks = make_page()
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True)
    late = asyncio.run(measure(url))
    blocks.close()
    middle, most = np.percentile(late, [50, 95])
    print(f"{len(late)} of {UPDATES} updates shown: median {middle:.0f} ms, p95 {most:.0f} ms")


if __name__ == "__main__":
    main()
