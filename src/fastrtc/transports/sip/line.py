"""One SIP call: a `Session` on one side, a UDP port for its sound on the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from fastrtc.audio.convert import Pcm
from fastrtc.session import Session
from fastrtc.transports.ports import UdpPorts
from fastrtc.transports.sip.messages import Address
from fastrtc.transports.sip.rtp import RATE, Incoming, Outgoing
from fastrtc.transports.sip.sdp import Media

logger = logging.getLogger(__name__)

SILENT_SECONDS: Final = 60.0
"""A call ends that has brought no packet for so long, except on hold."""
CHECK_SECONDS: Final = 5.0
"""How often that is looked at."""


class SipLine(asyncio.DatagramProtocol):
    """See `Line`."""

    def __init__(self, session: Session, caller: str, hang_up: Callable[[], None]) -> None:
        """Set up a line.

        Args:
            session: the call.
            caller: the host that called.
            hang_up: tells the caller that the call is over; may be called when it is.
        """
        self._session = session
        self._caller = caller
        self._hang_up = hang_up
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._media: Media | None = None
        self._incoming: Incoming | None = None
        self._outgoing: Outgoing | None = None
        self._check: asyncio.TimerHandle | None = None
        session.line = self

    async def open(self, host: str, ports: UdpPorts) -> int:
        """Open a port for the sound; its number.

        Raises:
            NoUdpPort: none is free.
        """
        (opened,) = ports.open([host])
        transport, _ = await self._loop.create_datagram_endpoint(lambda: self, sock=opened)
        if self._session.ending:
            transport.close()
        self._transport = transport
        port: int = transport.get_extra_info("sockname")[1]
        return port

    def follow(self, media: Media) -> None:
        """Take what the caller says of its sound, at first and whenever that changes."""
        now = self._loop.time()
        self._media = media
        if self._incoming is None or self._outgoing is None:
            self._incoming = Incoming(media, now, self._caller)
            self._outgoing = Outgoing(media, self._session.handler.output_sample_rate)
            self._check = self._loop.call_later(CHECK_SECONDS, self._look)
        else:
            self._incoming.follow(media, now)
            self._outgoing.follow(media)

    # From the network.

    def datagram_received(self, data: bytes, source: Address) -> None:
        """See `asyncio.DatagramProtocol`."""
        if self._incoming is None:
            return
        heard = self._incoming.add(data, source, self._loop.time())
        for pcm in heard.sound:
            self._session.hear(RATE, pcm)
        for key in heard.keys:
            self._session.press(key)

    def error_received(self, error: Exception) -> None:
        """See `asyncio.DatagramProtocol`: the caller's port is closed, or not open yet."""
        logger.debug("Call %s: a packet could not be sent: %s", self._session.id, error)

    # From the session, see `Line`.

    @property
    def channel(self) -> Any:
        """See `Line`: a telephone has none."""
        return None

    def send_message(self, message: str) -> None:
        """See `Line`: a telephone shows nothing."""

    def tick(self) -> int:
        """See `Line`: a telephone is sent each frame when it is due."""
        return 1

    def send_frame(self, frame: Pcm | None) -> None:
        """See `Line`."""
        if self._outgoing is None or self._incoming is None or self._media is None:
            return
        packet = self._outgoing.next(frame)
        if self._media.listens and self._transport is not None:
            to = self._incoming.source or (self._media.host, self._media.port)
            self._transport.sendto(packet, to)

    def mark(self, reached: Callable[[], None]) -> None:
        """See `Line`: what was sent is as good as heard."""
        reached()

    @property
    def unheard(self) -> float:
        """See `Line`: what a telephone's jitter buffer holds is not known."""
        return 0.0

    def clear(self) -> bool:
        """See `Line`: a telephone buffers a few packets only."""
        return False

    def take_back(self) -> None:
        """See `Line`: there is nothing to take."""

    async def close(self) -> None:
        """See `Line`."""
        self._hang_up()
        if self._check is not None:
            self._check.cancel()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    # Inside.

    def _look(self) -> None:
        """End a call whose caller has gone without a word."""
        self._check = self._loop.call_later(CHECK_SECONDS, self._look)
        assert self._media is not None
        assert self._incoming is not None
        quiet = self._loop.time() - self._incoming.last
        if self._media.speaks and quiet > SILENT_SECONDS:
            logger.info("Call %s has brought no sound for %.0f s", self._session.id, quiet)
            self._session.hang_up()
