"""One caller: offers a call, sends packets that were encoded beforehand, keeps what comes back.

It stands on the same parts as the server, from the other side of the line. Nothing is encoded
while it calls and nothing decoded, so that many callers are light enough not to be what is
measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from time import perf_counter
from typing import Any, Final, cast
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from aiortc import RTCDataChannel, RTCDataChannelParameters
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport

from fastrtc.bench.figures import PACKET
from fastrtc.bench.sounds import Clip
from fastrtc.transports.rtp import RtpPacket, parse_rtp, write_rtp
from fastrtc.transports.webrtc.aiortc_engine.gathering import (
    Connection,
    MediaSockets,
    as_aioice,
)
from fastrtc.transports.webrtc.aiortc_engine.peer import SCTP_PORT, MediaDtls
from fastrtc.transports.webrtc.candidates import parse_candidate_text
from fastrtc.transports.webrtc.media import FRAME_TICKS
from fastrtc.transports.webrtc.place import MediaPlace
from fastrtc.transports.webrtc.sdp import Offer, parse_offer

CONNECT_SECONDS: Final = 15.0
PAYLOAD_TYPE: Final = 111
LARGEST_MESSAGE: Final = 65_536
"""Bytes, on the data channel."""


class RefusedError(Exception):
    """The server did not take the call; the text is what it said."""


class Link(Connection):
    """The datagram way to the server; stands below DTLS in the place of an ICE transport."""

    role = "controlling"
    state = "completed"

    def __init__(self) -> None:
        super().__init__(ice_controlling=True, components=1)
        self.on_media = lambda data: None
        self.sockets = MediaSockets(MediaPlace())

    def send_now(self, data: bytes) -> None:
        """Send a datagram; to a host that needs no waiting."""
        with contextlib.suppress(StopIteration, ConnectionError, OSError):
            self.send(data).send(None)

    # What RTCDtlsTransport calls.

    async def _send(self, data: bytes) -> None:
        await self.send(data)

    async def _recv(self) -> bytes:
        return await self.recv()


class Caller:
    """One call. `connect`, then it talks until `hang_up`."""

    def __init__(self, clip: Clip, first: int, **said: Any) -> None:
        """``first``: the packet of the clip to begin with; ``said``: what the offer says too."""
        self.started: float | None = None
        """When the first sample of the clip was spoken, had it been spoken from its beginning."""
        self.arrivals: list[tuple[float, RtpPacket]] = []
        self.late: list[float] = []
        """How late each packet was sent, in seconds."""
        self._clip = clip
        self._next = first
        self._said = {"webrtc_id": secrets.token_hex(8), **said}
        self._due = 0.0
        self._link = Link()
        self._dtls = MediaDtls(cast(Any, self._link), cast(Any, self))
        self._sctp = RTCSctpTransport(self._dtls, SCTP_PORT)
        self._ssrc = secrets.randbits(31) + 1
        self._sequence = secrets.randbits(15)
        self._timestamp = secrets.randbits(31)
        self._timer: asyncio.TimerHandle | None = None

    async def connect(self, url: str) -> None:
        """Make the call, and begin to talk.

        Raises:
            RefusedError: the server did not take it.
            OSError, TimeoutError, asyncio.TimeoutError: there was no way to it.
        """
        await asyncio.wait_for(self._connect(url), CONNECT_SECONDS)
        self._due = perf_counter() + PACKET
        self.started = perf_counter() - self._next * PACKET
        self._wait()

    async def hang_up(self) -> None:
        """End the call."""
        if self._timer is not None:
            self._timer.cancel()
        self._dtls.let_go()
        await self._sctp.stop()
        await self._dtls.stop()
        await self._link.close()

    def forget(self) -> None:
        """Drop what has been noted so far."""
        self.arrivals, self.late = [], []

    def media_came(self, data: bytes) -> None:
        """A decrypted packet of media came."""
        packet = parse_rtp(data)
        if packet is not None and packet.payload_type == PAYLOAD_TYPE and packet.payload:
            self.arrivals.append((perf_counter(), packet))

    def report_came(self, data: bytes) -> None:
        """A decrypted packet of reports came: they say nothing that a caller acts on."""

    async def _connect(self, url: str) -> None:
        await self._link.gather_candidates()
        offer = {"sdp": self._offer(), "type": "offer", **self._said}
        answer = await asyncio.to_thread(post, f"{url}/webrtc/offer", offer)
        if not isinstance(answer, dict) or "sdp" not in answer:
            raise RefusedError(reason(answer))
        # An answer names its transport as an offer does.
        theirs = parse_offer(answer["sdp"])
        await self._find_way(theirs)
        prints = [RTCDtlsFingerprint(name, value) for name, value in theirs.fingerprints]
        await self._dtls.start(RTCDtlsParameters(fingerprints=prints))
        if self._dtls.state != "connected":
            raise ConnectionError("encryption could not be agreed on")
        # Pages have a data channel too, and it is a part of what a call costs.
        await self._sctp.start(RTCSctpCapabilities(maxMessageSize=LARGEST_MESSAGE), SCTP_PORT)
        RTCDataChannel(self._sctp, RTCDataChannelParameters(label="text"))

    async def _find_way(self, theirs: Offer) -> None:
        self._link.remote_username, self._link.remote_password = theirs.ufrag, theirs.password
        for text in theirs.candidates:
            await self._link.add_remote_candidate(as_aioice(parse_candidate_text(text)))
        await self._link.add_remote_candidate(None)
        await self._link.connect()

    def _offer(self) -> str:
        transport = [
            "c=IN IP4 0.0.0.0",
            f"a=ice-ufrag:{self._link.local_username}",
            f"a=ice-pwd:{self._link.local_password}",
            *(
                f"a=fingerprint:{f.algorithm} {f.value}"
                for f in self._dtls.getLocalParameters().fingerprints
            ),
            "a=setup:actpass",
            *(f"a=candidate:{c.to_sdp()}" for c in self._link.local_candidates),
            "a=end-of-candidates",
        ]
        lines = [
            "v=0",
            "o=- 1 1 IN IP4 0.0.0.0",
            "s=-",
            "t=0 0",
            "a=group:BUNDLE 0 1",
            f"m=audio 9 UDP/TLS/RTP/SAVPF {PAYLOAD_TYPE}",
            "a=mid:0",
            "a=sendrecv",
            "a=rtcp-mux",
            f"a=rtpmap:{PAYLOAD_TYPE} opus/48000/2",
            f"a=fmtp:{PAYLOAD_TYPE} minptime=10;useinbandfec=1",
            f"a=ssrc:{self._ssrc} cname:caller",
            *transport,
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "a=mid:1",
            f"a=sctp-port:{SCTP_PORT}",
            f"a=max-message-size:{LARGEST_MESSAGE}",
            *transport,
        ]
        return "\r\n".join(lines) + "\r\n"

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, self._due - perf_counter()), self._send)

    def _send(self) -> None:
        """Send a packet once its last sample has been spoken, as a microphone would."""
        self.late.append(max(0.0, perf_counter() - self._due))
        payload = self._clip.packets[self._next % len(self._clip.packets)]
        packet = write_rtp(
            PAYLOAD_TYPE, False, self._sequence, self._timestamp, self._ssrc, payload
        )
        self._dtls.send_media(packet)
        self._next += 1
        self._sequence += 1
        self._timestamp += FRAME_TICKS
        self._due += PACKET
        self._wait()


def post(url: str, body: dict[str, Any]) -> Any:
    """Post JSON and read the JSON that answers it, whatever its status. Blocks.

    Raises:
        OSError: there was no answer.
        ValueError: it was no JSON.
    """
    head = {"Content-Type": "application/json"}
    request = Request(url, json.dumps(body).encode(), head)
    try:
        # The server is on this machine, whatever proxy the environment names.
        with build_opener(ProxyHandler({})).open(request, timeout=CONNECT_SECONDS) as answer:
            return json.load(answer)
    except HTTPError as refusal:
        with refusal:
            return json.load(refusal)


def reason(answer: Any) -> str:
    """Why a call was refused, as its answer says."""
    meta = answer.get("meta") if isinstance(answer, dict) else None
    error = meta.get("error") if isinstance(meta, dict) else None
    return str(error or answer)[:200]
