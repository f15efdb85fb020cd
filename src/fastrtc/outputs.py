"""The `AdditionalOutputs` of a call, on their way to whoever reads them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from fastrtc import metrics
from fastrtc.handlers.values import AdditionalOutputs

logger = logging.getLogger(__name__)

OUTPUTS_KEPT: Final = 1_000
"""Outputs that wait for a slow reader, or for the first one, before the oldest is dropped."""


class Outputs:
    """The `AdditionalOutputs` of a call, for any number of readers."""

    def __init__(self) -> None:
        self.latest: AdditionalOutputs | None = None
        self._unread: deque[AdditionalOutputs] = deque(maxlen=OUTPUTS_KEPT)
        self._readers: list[OutputsReader] = []
        self._closed = False

    def put(self, outputs: AdditionalOutputs) -> None:
        """Give outputs to every reader, or keep them for the first one."""
        self.latest = outputs
        if not self._readers:
            if len(self._unread) == OUTPUTS_KEPT:
                metrics.dropped.add("output")
            self._unread.append(outputs)
        for reader in self._readers:
            reader.put(outputs)

    def close(self) -> None:
        """End every reader, after what it has not read yet."""
        self._closed = True
        for reader in self._readers:
            reader.put(None)

    def reader(self) -> OutputsReader:
        """Read from now on; the first reader also gets what came before it."""
        reader = OutputsReader()
        while self._unread:
            reader.put(self._unread.popleft())
        if self._closed:
            reader.put(None)
        self._readers.append(reader)
        return reader

    async def read(self) -> AsyncIterator[AdditionalOutputs]:
        """The same as they come, until the call ends."""
        reader = self.reader()
        try:
            while (outputs := await reader.next()) is not None:
                yield outputs
        finally:
            self._readers.remove(reader)


class OutputsReader:
    """What one reader has not read yet."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[AdditionalOutputs | None] = asyncio.Queue()
        self._dropped = False

    def put(self, outputs: AdditionalOutputs | None) -> None:
        """Take outputs in, and let the oldest go where too many wait; None ends the reading."""
        if self._queue.qsize() >= OUTPUTS_KEPT:
            self._queue.get_nowait()
            metrics.dropped.add("output")
            if not self._dropped:
                logger.warning("Outputs are read too slowly: the oldest are dropped")
            self._dropped = True
        self._queue.put_nowait(outputs)

    @property
    def waiting(self) -> int:
        """How many there are."""
        return self._queue.qsize()

    async def next(self) -> AdditionalOutputs | None:
        """The next outputs, when they are there; None at the end of the call."""
        return await self._queue.get()

    def take(self) -> AdditionalOutputs | None:
        """The next outputs, or None if there are none now."""
        return None if self._queue.empty() else self._queue.get_nowait()
