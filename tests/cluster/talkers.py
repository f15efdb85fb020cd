"""What the replicas of tests serve."""

from __future__ import annotations

import asyncio
from typing import Any

from fastrtc import AsyncStreamHandler


class Echo(AsyncStreamHandler):
    """Says back what it hears."""

    def __init__(self) -> None:
        super().__init__(input_sample_rate=24_000, output_sample_rate=24_000)
        self._frames: asyncio.Queue[Any] = asyncio.Queue()

    def copy(self) -> Echo:
        return Echo()

    async def receive(self, frame: Any) -> None:
        self._frames.put_nowait(frame)

    async def emit(self) -> Any:
        return await self._frames.get()
