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

from fastrtc.transports.webrtc.aiortc_engine.gathering import (
    Connection,
    MediaSockets,
    as_aioice,
)
from fastrtc.transports.webrtc.candidates import RemoteCandidate, parse_candidate_text
from fastrtc.transports.webrtc.sdp import Offer

logger = logging.getLogger(__name__)

DEFAULT_SERVERS: Final = ({"urls": "stun:stun.l.google.com:19302"},)
"""As browsers' samples and older servers have it: a host behind NAT needs to learn its address."""
GRACE_SECONDS: Final = 15.0
"""How long a broken way may take to be mended by an ICE restart before the call is over."""
MOST_CANDIDATES: Final = 100
UNSENT: Final = 50
"""Packets (1 s) that may wait for a TURN server before more are dropped."""


def _connection_options(configuration: dict[str, Any] | None) -> dict[str, Any]:
    """What an aioice connection takes from an RTCConfiguration."""
    configuration = configuration or {"iceServers": DEFAULT_SERVERS}
    servers = configuration.get("iceServers") or ()
    options = connection_kwargs(
        [
            RTCIceServer(
                urls=server["urls"],
                username=server.get("username"),
                credential=server.get("credential"),
            )
            for server in ([servers] if isinstance(servers, dict) else servers)
        ]
    )
    if configuration.get("iceTransportPolicy") == "relay":
        options["transport_policy"] = aioice.TransportPolicy.RELAY
    return dict(options)


class IceLink:
    """Stands below DTLS in the place of aiortc's `RTCIceTransport`.

    aiortc's own cannot restart ICE, and takes a broken way for the end of the call. Here the
    connection below can be replaced: DTLS only notices a pause.
    """

    def __init__(self, sockets: MediaSockets) -> None:
        self._sockets = sockets
        self.on_media: Callable[[bytes], None] = lambda data: None
        """Takes every packet of RTP and RTCP, still encrypted."""
        self.role = "controlled"
        self.state = "new"
        self._connection: aioice.Connection | None = None
        self._next: aioice.Connection | None = None
        self._candidates = 0
        self._changed = asyncio.Event()
        self._closed = False
        self._unsent: set[asyncio.Task[None]] = set()
        self._resolving: set[asyncio.Task[None]] = set()
        self._early: list[RemoteCandidate | None] | None = []
        """Candidates that came before the connection that they are for."""

    async def gather(self, offer: Offer, configuration: dict[str, Any] | None) -> aioice.Connection:
        """A connection for an offer, with our candidates gathered. `connect` makes it ours.

        Raises:
            ConnectionError: the link was closed meanwhile.
            NoUdpPort: no port is free for it.
        """
        self._early = self._early or []
        connection = Connection(
            ice_controlling=offer.lite, components=1, **_connection_options(configuration)
        )
        connection.on_media = self.on_media
        connection.sockets = self._sockets
        try:
            await connection.gather_candidates()
            if self._closed:
                raise ConnectionError("the call has ended")
        except BaseException:
            if self._next is not None:
                self._early = None  # Candidates go on to the connection that there is.
            await connection.close()
            raise
        connection.remote_is_lite = offer.lite
        connection.remote_username = offer.ufrag
        connection.remote_password = offer.password
        self.role = "controlling" if offer.lite else "controlled"
        superseded, self._next, self._candidates = self._next, connection, 0
        # The connection in use stays so until the new one is ready.
        if superseded is not None and superseded is not self._connection:
            await superseded.close()
        early, self._early = self._early, None
        for text in offer.candidates[:MOST_CANDIDATES]:
            with contextlib.suppress(ValueError):
                await self.add(parse_candidate_text(text))
        for candidate in early or []:
            await self.add(candidate)
        if offer.ended:
            await self.add(None)
        return connection

    async def connected(self, connection: aioice.Connection) -> bool:
        """Connect, or let a restart that came meanwhile do so; False when there is no way."""
        if await self.connect(connection):
            return True
        if self._closed or connection is self._next:
            return False
        await self._changed.wait()
        return not self._closed

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
        if self._early is not None:
            if len(self._early) < MOST_CANDIDATES:
                self._early.append(candidate)
            return
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
        # An mDNS name takes up to a second to resolve, and the client's request need not wait.
        task = asyncio.ensure_future(self._add(connection, as_aioice(candidate)))
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
