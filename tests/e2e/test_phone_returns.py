"""A server is killed while people talk on the telephone; another one takes their calls."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

from tests.carrier import Carrier, PhoneCall
from tests.e2e.sockets import Served, served
from tests.peers import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

TOKEN = "the account's own secret"
CALLS = 5
AGAIN_WITHIN = 5.0
"""Seconds from the end of a server until its callers hear the other one."""


@pytest.fixture
def servers() -> Iterator[list[Served]]:
    """Two that speak as soon as they are called, and have a secret in common."""
    with (
        served("greet", "--returns", TWILIO_AUTH_TOKEN=TOKEN) as first,
        served("greet", "--returns", TWILIO_AUTH_TOKEN=TOKEN) as second,
    ):
        yield [first, second]


class End(asyncio.Protocol):
    """One end of a connection that goes through us. What one end loses, the other loses."""

    def __init__(self, other: End | None = None) -> None:
        self.other = other
        self.transport: asyncio.Transport | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.other is not None:
            self.other.join(self)

    def join(self, other: End) -> None:
        assert other.transport is not None
        self.other = other
        other.transport.write(self._early)

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self._early += data
        else:
            self.other.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        # Without a farewell, as from a process that is gone.
        if self.other is not None and self.other.transport is not None:
            self.other.transport.abort()


@contextlib.asynccontextmanager
async def balanced(servers: list[Served]) -> AsyncIterator[str]:
    """The one address of servers: a connection goes to the first of them that lives."""
    loop = asyncio.get_running_loop()
    joining: set[asyncio.Task[None]] = set()
    ends: list[End] = []

    async def join(near: End) -> None:
        for server in servers:
            with contextlib.suppress(OSError):
                port = int(server.url.rpartition(":")[2])
                await loop.create_connection(lambda: End(near), "127.0.0.1", port)
                return

    class Near(End):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            ends.append(self)
            joining.add(loop.create_task(join(self)))

    listener = await loop.create_server(Near, "127.0.0.1", 0)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        await asyncio.gather(*joining)
        for end in ends:
            assert end.transport is not None
            end.transport.abort()


def hears(call: PhoneCall) -> bool:
    """Whether the newest stream of a call has brought a sound."""
    return bool(np.any(np.abs(call.heard[1]) > 500))


async def test_calls_of_a_killed_server_talk_to_another_within_seconds(
    servers: list[Served],
) -> None:
    async with (
        balanced(servers) as url,
        Carrier(f"{url}/telephone/incoming", auth_token=TOKEN) as carrier,
    ):
        calls = await asyncio.gather(*(carrier.dial() for _ in range(CALLS)))
        await eventually(lambda: all(hears(call) for call in calls), 15)
        assert servers[0].stats()["calls"] == CALLS
        servers[0].process.kill()
        killed = time.monotonic()
        await eventually(lambda: all(len(c.streams) == 2 and hears(c) for c in calls), 15)
        took = time.monotonic() - killed
        assert servers[1].stats()["calls"] == CALLS
        for call in calls:
            assert call.said[1] == "One moment, please. The line was interrupted."
            assert call.errors == call.violations == []
            await call.hang_up()
    assert took < AGAIN_WITHIN
