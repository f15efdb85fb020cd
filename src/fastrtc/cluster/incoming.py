"""The body of a request on its way through: looked at, and then read by somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, MutableMapping
from typing import Any

from fastrtc.cluster.passing import Broken, Receive, Scope


class Incoming:
    """The body of a request: it may be looked at, and is there for whoever reads it then."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._looked_at: list[MutableMapping[str, Any]] = []
        self._ended = asyncio.Event()
        self.whole: bytes | None = None
        """All of it, if it was looked at, and was not too large."""
        self.gone = asyncio.Event()
        """Whether the client has gone."""

    async def look(self, most: int) -> bytes | None:
        """All of it; None if it is larger, or its client has gone."""
        size = 0
        while size <= most:
            message = await self._next()
            self._looked_at.append(message)
            size += len(message.get("body", b""))
            if self.gone.is_set():
                return None
            if self._ended.is_set():
                self.whole = b"".join(part.get("body", b"") for part in self._looked_at)
                return self.whole if size <= most else None
        return None

    def again(self) -> Receive:
        """Gives all of it, from its beginning."""
        parts = iter(self._looked_at)

        async def receive() -> MutableMapping[str, Any]:
            message = next(parts, None)
            return await self._next() if message is None else message

        return receive

    async def parts(self) -> AsyncIterator[bytes]:
        """All of it, as it comes. Raises `Broken` where its client goes."""
        receive = self.again()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise Broken("the client has gone")
            yield message.get("body", b"")
            if not message.get("more_body", False):
                return

    async def until_gone(self) -> None:
        """Wait for the client to go, once it has sent all."""
        if self.whole is None:
            await self._ended.wait()
        while not self.gone.is_set():
            await self._next()

    async def while_there(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that is in vain once the client has gone."""
        working = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self.until_gone())
        try:
            await asyncio.wait([working, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            working.cancel()
            gone.cancel()
            await asyncio.wait([working, gone])
        if not working.cancelled():
            working.result()

    async def _next(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        if message["type"] != "http.request":
            self.gone.set()
        if not message.get("more_body", False):
            self._ended.set()
        return message


async def read_body(receive: Receive, most: int) -> bytes | None:
    """The body of a request; None if it is larger, or its client has gone."""
    return await Incoming(receive).look(most)


def has_body(scope: Scope) -> bool:
    """Whether a request has a body."""
    headers = dict(scope["headers"])
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
