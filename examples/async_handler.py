"""Full control, on the event loop: an echo half a second later.

`fastrtc run examples/async_handler.py`
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastrtc import AsyncStreamHandler, Stream, wait_for_item


class LateEcho(AsyncStreamHandler):
    def __init__(self) -> None:
        super().__init__(input_sample_rate=24_000, output_sample_rate=24_000)
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    async def receive(self, frame: Any) -> None:
        asyncio.get_running_loop().call_later(0.5, self.queue.put_nowait, frame)

    async def emit(self) -> Any:
        return await wait_for_item(self.queue)

    def copy(self) -> LateEcho:
        return LateEcho()


stream = Stream(LateEcho(), ui_args={"title": "Late echo"})
