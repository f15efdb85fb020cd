"""One WebRTC connection: ICE, DTLS, a data channel, and our own media path."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import secrets
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, cast

import aioice
import pylibsrtp
from aiortc import RTCCertificate, RTCDataChannel
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport

from fastrtc import metrics
from fastrtc.audio.convert import Pcm
from fastrtc.audio.playout import FRAMES_PER_SECOND
from fastrtc.transports.rtp import Quota, parse_rtp
from fastrtc.transports.webrtc.aiortc_engine.gathering import MediaSockets
from fastrtc.transports.webrtc.aiortc_engine.ice import IceLink
from fastrtc.transports.webrtc.candidates import RemoteCandidate
from fastrtc.transports.webrtc.engine import PeerEvents, Sound
from fastrtc.transports.webrtc.media import Incoming, Outgoing
from fastrtc.transports.webrtc.place import MediaPlace
from fastrtc.transports.webrtc.rtp import reported_loss, write_report
from fastrtc.transports.webrtc.sdp import ANSWERED, Answerer, Offer, write_answer

logger = logging.getLogger(__name__)

SCTP_PORT: Final = 5000
LARGEST_PACKET: Final = 1_500
"""Bytes of a packet of media: what pylibsrtp has room for, and an Ethernet frame."""
REPORTS: Final = 10
REPORTS_AT_ONCE: Final = 20
"""Reports of a client that are read in a second, and after a stall. Browsers send one or two."""
REPORT_TICKS: Final = 125
"""Ticks of 20 ms between two RTCP reports (2.5 s)."""
ALIVE_TICKS: Final = 10
"""Ticks (0.2 s) without a packet after which an empty report is sent: a client to whom nothing
comes any more knows soon that we are gone."""
MESSAGES_KEPT: Final = 100
"""Messages that wait for the data channel to open."""
MESSAGE_BYTES_WAITING: Final = 1 << 20
"""Bytes that may wait in the data channel of a client that does not read."""


class MediaDtls(RTCDtlsTransport):
    """DTLS whose media packets go to our media path, without aiortc's receivers and senders.

    It reads the SRTP sessions that aiortc keeps for itself: the version is pinned for their sake,
    and every call in the tests would be silent if they moved.
    """

    def __init__(self, link: IceLink, peer: AiortcPeer) -> None:
        super().__init__(cast(Any, link), [RTCCertificate.generateCertificate()])
        self._link = link
        self._peer: AiortcPeer | None = peer
        link.on_media = self._media_came

    def _media_came(self, data: bytes) -> None:
        session, peer = self._rx_srtp, self._peer
        if session is None or peer is None or not 2 <= len(data) <= LARGEST_PACKET:
            return
        try:
            # Reports are told from media by their second byte (RFC 5761, 4).
            if 191 < data[1] < 224:
                peer.report_came(session.unprotect_rtcp(data))
            else:
                peer.media_came(session.unprotect(data))
        except pylibsrtp.Error:
            return  # Not from our client, or damaged, or a repetition.

    def send_media(self, data: bytes, *, rtcp: bool = False) -> None:
        """Encrypt a packet and send it at once."""
        session = self._tx_srtp
        if session is None:
            return
        try:
            secret = session.protect_rtcp(data) if rtcp else session.protect(data)
        except pylibsrtp.Error as error:
            logger.warning("A packet could not be encrypted: %s", error)
            return
        self._link.send_now(secret)

    def let_go(self) -> None:
        """Forget the peer: the transport is kept alive by its tasks for a while."""
        self._peer = None


class AiortcPeer:
    """See `Peer`."""

    def __init__(self, events: PeerEvents, sound: Sound, sockets: MediaSockets) -> None:
        self._events = events
        self._sound = sound
        self._link = IceLink(sockets)
        self._dtls = MediaDtls(self._link, self)
        self._sctp: RTCSctpTransport | None = None
        self._channel: RTCDataChannel | None = None
        self._unsent: deque[str] = deque(maxlen=MESSAGES_KEPT)
        self._incoming: Incoming | None = None
        self._outgoing: Outgoing | None = None
        self._reports = Quota(REPORTS, REPORTS_AT_ONCE)
        self._cname = secrets.token_hex(8)
        self._origin = secrets.randbits(62)
        self._version = 0
        self._ticks = 0
        self._quiet = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # See `Peer`.

    @property
    def channel(self) -> RTCDataChannel | None:
        return self._channel

    async def answer(self, offer: Offer, configuration: dict[str, Any] | None) -> str:
        sound = self._sound
        if offer.opus is not None:
            number, direction = offer.opus.payload_type, ANSWERED[offer.direction]
            if direction in ("sendrecv", "recvonly"):
                self._incoming = Incoming(number, sound.channels, sound.rate_in)
            if direction in ("sendrecv", "sendonly"):
                self._outgoing = Outgoing(number, sound.rate_out, sound.channels, sound.opus)
        if offer.data is not None:
            self._open_sctp()
        self._dtls._set_role("server" if offer.setup == "active" else "client")
        connection = await self._link.gather(offer, configuration)
        self._spawn(self._run(connection, offer))
        return self._write(offer, connection)

    async def restart(self, offer: Offer, configuration: dict[str, Any] | None) -> str:
        connection = await self._link.gather(offer, configuration)
        self._spawn(self._reconnect(connection))
        return self._write(offer, connection)

    async def add_candidate(self, candidate: RemoteCandidate | None) -> None:
        await self._link.add(candidate)

    def send_frame(self, frame: Pcm | None) -> None:
        self._ticks += 1
        packets = [] if self._outgoing is None else self._outgoing.next(frame)
        for packet in packets:
            self._dtls.send_media(packet)
        self._quiet = 0 if packets else self._quiet + 1
        if self._ticks % REPORT_TICKS == 1:
            self._report()
        elif self._quiet >= ALIVE_TICKS:
            self._quiet = 0
            self._dtls.send_media(self._sign_of_life, rtcp=True)

    def send_message(self, message: str) -> None:
        channel = self._channel
        if channel is None or channel.readyState != "open":
            if len(self._unsent) == MESSAGES_KEPT:
                metrics.dropped.add("unread_message")
            self._unsent.append(message)
        elif channel.bufferedAmount > MESSAGE_BYTES_WAITING:
            logger.warning("A client does not read its data channel: a message was dropped")
            metrics.dropped.add("unread_message")
        else:
            channel.send(message)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._flush()
            self._dtls.let_go()
            if self._sctp is not None:
                self._sctp.remove_all_listeners()
                await self._sctp.stop()
        finally:
            for task in self._tasks - {asyncio.current_task()}:
                task.cancel()
            try:
                await self._dtls.stop()
                self._dtls.remove_all_listeners()
            finally:
                await self._link.close()

    # Inside.

    def media_came(self, data: bytes) -> None:
        """A decrypted packet of media came."""
        packet, incoming = parse_rtp(data), self._incoming
        if packet is not None and incoming is not None:
            for pcm in incoming.add(packet, time.monotonic()):
                self._events.heard(incoming.rate, pcm)

    def report_came(self, data: bytes) -> None:
        """A decrypted packet of reports came."""
        out = self._outgoing
        if not self._reports.allows(time.monotonic()):
            metrics.dropped.add("flood_packet")
        elif out is not None and (share := reported_loss(data, out.ssrc)) is not None:
            out.lost(share)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._closed:
            work.close()
            raise ConnectionError("the call has ended")
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, connection: aioice.Connection, offer: Offer) -> None:
        """Connect, then wait for the end."""
        reason = "the connection failed"
        try:
            if not await self._link.connected(connection):
                reason = "no way to the client was found"
                return
            over = asyncio.Event()

            def follow() -> None:
                if self._dtls.state == "closed":
                    over.set()

            self._dtls.on("statechange", follow)
            prints = [RTCDtlsFingerprint(name, value) for name, value in offer.fingerprints]
            await self._dtls.start(RTCDtlsParameters(fingerprints=prints))
            if self._dtls.state != "connected":
                reason = "encryption could not be agreed on"
                return
            self._events.connected()
            if self._sctp is not None and offer.data is not None:
                section = offer.sections[offer.data]
                largest = _number(section.first("max-message-size"), 65_536)
                port = _number(section.first("sctp-port"), SCTP_PORT)
                await self._sctp.start(RTCSctpCapabilities(maxMessageSize=largest), port)
            await over.wait()
            reason = "the client has gone"
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logger.exception("A connection failed")
            reason = str(error)
        finally:
            if not self._closed:
                self._events.closed(reason)

    async def _reconnect(self, connection: aioice.Connection) -> None:
        if not await self._link.connect(connection):
            logger.info("An ICE restart found no way to the client")

    def _open_sctp(self) -> None:
        self._sctp = RTCSctpTransport(self._dtls, SCTP_PORT)
        self._sctp.mid = "data"
        self._sctp.on("datachannel", self._channel_opened)

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        while self._unsent:
            channel.send(self._unsent.popleft())

    async def _flush(self) -> None:
        """Let the last messages leave: the goodbye of a call is often its most important one."""
        for _ in range(10):
            if self._channel is None or not self._channel.bufferedAmount:
                break
            await asyncio.sleep(0.02)

    def _report(self) -> None:
        out, incoming = self._outgoing, self._incoming
        sent = None if out is None or not out.packets else (out.timestamp, out.packets, out.bytes)
        reception = None if incoming is None else incoming.reception
        if sent is None and reception is None:
            return
        report = write_report(self._ssrc, self._cname, sent, time.time(), reception)
        self._dtls.send_media(report, rtcp=True)

    @functools.cached_property
    def _sign_of_life(self) -> bytes:
        """The cheapest packet that every client takes: a report on nothing (RFC 3550, 6.4.2)."""
        return write_report(self._ssrc, self._cname, None, 0.0, None)

    @property
    def _ssrc(self) -> int:
        return 1 if self._outgoing is None else self._outgoing.ssrc

    def _write(self, offer: Offer, connection: aioice.Connection) -> str:
        self._version += 1
        local = self._dtls.getLocalParameters().fingerprints
        ours = Answerer(
            session=(self._origin, self._version),
            ufrag=connection.local_username,
            password=connection.local_password,
            candidates=[candidate.to_sdp() for candidate in connection.local_candidates],
            fingerprints=[(f.algorithm, f.value) for f in local],
            setup="passive" if self._dtls._role == "server" else "active",
            ssrc=self._ssrc,
            cname=self._cname,
            stereo=self._sound.channels == 2,
            data_port=SCTP_PORT,
            # A connection of messages alone has no keys for reports.
            alive=0 if offer.opus is None else ALIVE_TICKS * 1000 // FRAMES_PER_SECOND,
        )
        return write_answer(offer, ours)


class AiortcEngine:
    """See `Engine`."""

    def __init__(self, place: MediaPlace | None = None) -> None:
        """``place``: where media are reached; None for anywhere."""
        self._sockets = MediaSockets(place or MediaPlace())

    def peer(self, events: PeerEvents, sound: Sound) -> AiortcPeer:
        return AiortcPeer(events, sound, self._sockets)


def _number(text: str | None, default: int) -> int:
    with contextlib.suppress(TypeError, ValueError):
        return int(text or default)
    return default
