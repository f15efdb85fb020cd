"""The datagram way to the client: an aioice connection that can be replaced while it is used."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Final

import aioice
from aiortc import RTCIceServer
from aiortc.rtcicetransport import connection_kwargs

from fastrtc.transports.webrtc.candidates import RemoteCandidate, parse_candidate_text
from fastrtc.transports.webrtc.sdp import Offer

logger = logging.getLogger(__name__)

DEFAULT_SERVERS: Final = ({"urls": "stun:stun.l.google.com:19302"},)
"""As browsers' samples and older servers have it: a host behind NAT needs to learn its address."""
GATHER_SECONDS: Final = 1.5
"""A STUN or TURN server that does not answer in this time is done without."""
GRACE_SECONDS: Final = 15.0
"""How long a broken way may take to be mended by an ICE restart before the call is over."""
MOST_CANDIDATES: Final = 100
UNSENT: Final = 50
"""Packets (1 s) that may wait for a TURN server before more are dropped."""


class _Connection(aioice.Connection):
    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = 5
    ) -> list[aioice.Candidate]:
        return await super().get_component_candidates(component, addresses, GATHER_SECONDS)  # type: ignore[arg-type]


class IceLink:
    """Stands below DTLS in the place of aiortc's `RTCIceTransport`.

    aiortc's own cannot restart ICE, and takes a broken way for the end of the call. Here the
    connection below can be replaced: DTLS only notices a pause.
    """

    def __init__(self, configuration: dict[str, Any] | None) -> None:
        servers = DEFAULT_SERVERS if configuration is None else configuration.get("iceServers", ())
        if isinstance(servers, dict):
            servers = [servers]
        self._kwargs = connection_kwargs(
            [
                RTCIceServer(
                    urls=server["urls"],
                    username=server.get("username"),
                    credential=server.get("credential"),
                )
                for server in servers
            ]
        )
        self.role = "controlled"
        self.state = "new"
        self._connection: aioice.Connection | None = None
        self._next: aioice.Connection | None = None
        self._candidates = 0
        self._changed = asyncio.Event()
        self._closed = False
        self._unsent: set[asyncio.Task[None]] = set()
        self._resolving: set[asyncio.Task[None]] = set()
        self.on_lost: Callable[[], None] = lambda: None

    async def gather(self, offer: Offer) -> aioice.Connection:
        """A connection for an offer, with our candidates gathered. `connect` makes it ours."""
        connection = _Connection(ice_controlling=offer.lite, components=1, **self._kwargs)
        try:
            await connection.gather_candidates()
        except BaseException:
            await connection.close()
            raise
        connection.remote_is_lite = offer.lite
        connection.remote_username = offer.ufrag
        connection.remote_password = offer.password
        self.role = "controlling" if offer.lite else "controlled"
        superseded, self._next, self._candidates = self._next, connection, 0
        if superseded is not None:
            await superseded.close()
        for text in offer.candidates[:MOST_CANDIDATES]:
            with contextlib.suppress(ValueError):
                await self.add(parse_candidate_text(text))
        if offer.ended:
            await self.add(None)
        return connection

    async def connect(self, connection: aioice.Connection) -> bool:
        """Find a way to the client and use it from now on; False when there is none."""
        try:
            await connection.connect()
        except ConnectionError:
            await connection.close()
            return False
        if self._closed or connection is not self._next:
            await connection.close()
            return False
        old, self._connection = self._connection, connection
        self.state = "completed"
        self._changed.set()
        if old is not None:
            await old.close()
        return True

    async def add(self, candidate: RemoteCandidate | None) -> None:
        """Give a candidate of the client to the newest connection."""
        connection = self._next
        if connection is None or self._closed:
            return
        if candidate is None:
            with contextlib.suppress(ValueError):
                await connection.add_remote_candidate(None)
            return
        self._candidates += 1
        if candidate.transport != "udp" or self._candidates > MOST_CANDIDATES:
            return
        ours = aioice.Candidate(
            foundation=candidate.foundation,
            component=candidate.component,
            transport=candidate.transport,
            priority=candidate.priority,
            host=candidate.host,
            port=candidate.port,
            type=candidate.type,
            related_address=candidate.related_host,
            related_port=candidate.related_port,
            tcptype=candidate.tcp_type,
        )
        # An mDNS name takes up to a second to resolve, and the client's request need not wait.
        task = asyncio.ensure_future(self._add(connection, ours))
        self._resolving.add(task)
        task.add_done_callback(self._resolving.discard)
        await asyncio.sleep(0)

    async def _add(self, connection: aioice.Connection, candidate: aioice.Candidate) -> None:
        try:
            await connection.add_remote_candidate(candidate)
        except (ValueError, OSError) as error:
            logger.info("A candidate of the client was left out: %s", error)

    def send_now(self, data: bytes) -> None:
        """Send a datagram without waiting, or drop it if there is no way."""
        connection = self._connection
        if connection is None or self._closed:
            return
        sending = connection.send(data)
        try:
            # To a host this runs to its end at once; only a TURN server may make it wait.
            sending.send(None)
        except (StopIteration, ConnectionError, OSError):
            return
        sending.close()
        if len(self._unsent) < UNSENT:
            task = asyncio.ensure_future(self._send_later(connection, data))
            self._unsent.add(task)
            task.add_done_callback(self._unsent.discard)

    async def _send_later(self, connection: aioice.Connection, data: bytes) -> None:
        with contextlib.suppress(ConnectionError, OSError, aioice.stun.TransactionError):
            await connection.send(data)

    # What RTCDtlsTransport calls.

    async def _send(self, data: bytes) -> None:
        # While the way is broken packets are lost, as on any network.
        with contextlib.suppress(ConnectionError):
            if self._connection is not None:
                await self._connection.send(data)

    async def _recv(self) -> bytes:
        while True:
            connection = self._connection
            if connection is None:
                raise ConnectionError("not connected")
            try:
                return await connection.recv()
            except ConnectionError:
                if self._closed:
                    raise
            if connection is self._connection:
                await self._wait_for_restart()

    async def _wait_for_restart(self) -> None:
        self.state = "disconnected"
        self._changed.clear()
        self.on_lost()
        try:
            await asyncio.wait_for(self._changed.wait(), GRACE_SECONDS)
        except (TimeoutError, asyncio.TimeoutError):
            raise ConnectionError("the client did not come back") from None
        if self._closed:
            raise ConnectionError("closed")

    async def close(self) -> None:
        """Close the connections, and wake whoever waits for one."""
        self._closed = True
        self.state = "closed"
        self._changed.set()
        pending = [*self._unsent, *self._resolving]
        for task in pending:
            task.cancel()
        # aioice holds a lock while it resolves a name, and wants it again to close.
        await asyncio.gather(*pending, return_exceptions=True)
        for connection in {self._connection, self._next} - {None}:
            assert connection is not None
            await connection.close()
