"""Offers and candidates of clients, over whatever carries JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeGuard

from fastrtc import metrics
from fastrtc.admission import Refused
from fastrtc.audio.convert import Pcm
from fastrtc.session import Session
from fastrtc.transports.opus import OpusOptions
from fastrtc.transports.ports import NoUdpPort
from fastrtc.transports.webrtc.candidates import CandidateError, parse_candidate
from fastrtc.transports.webrtc.engine import Engine, Peer, Sound
from fastrtc.transports.webrtc.sdp import Offer, SdpError, parse_offer

logger = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 30.0
"""A call that is not connected by then is dropped, and its slot is free."""
LONGEST_ID: Final = 256
NO_PORT: Final = "the server has no free UDP port for the call"
"""Said to the client, which may have another way, such as a WebSocket."""

Reply = dict[str, Any]


class Admit(Protocol):
    """Takes a slot for an id, or raises `Refused`."""

    async def __call__(
        self, session_id: str, /, *, watched: bool, identity: Any, reconnected: bool
    ) -> Session: ...


Configure = Callable[[], Awaitable[dict[str, Any] | None]]
"""Gives the RTCConfiguration of our own side."""


class WebRTCLine:
    """One call over WebRTC: a `Session` on one side, a `Peer` on the other."""

    def __init__(self, session: Session, offer: Offer) -> None:
        self.session = session
        self.offer = offer
        self.peer: Peer | None = None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(CONNECT_SECONDS, self._too_late)
        self._restarting = asyncio.Lock()
        session.line = self

    # From the peer, see `PeerEvents`.

    def connected(self) -> None:
        """See `PeerEvents`."""
        self._timer.cancel()
        logger.info("Call %s is connected", self.session.id)
        self.session.start(self)

    def heard(self, rate: int, pcm: Pcm) -> None:
        """See `PeerEvents`."""
        self.session.hear(rate, pcm)

    def closed(self, reason: str) -> None:
        """See `PeerEvents`."""
        logger.info("Call %s has ended: %s", self.session.id, reason)
        self.session.hang_up()

    # From the session, see `Line`.

    @property
    def channel(self) -> Any:
        """See `Line`."""
        return None if self.peer is None else self.peer.channel

    def send_message(self, message: str) -> None:
        """See `Line`."""
        if self.peer is not None:
            self.peer.send_message(message)

    def tick(self) -> int:
        """See `Line`: a browser is sent each frame when it is due."""
        return 1

    def send_frame(self, frame: Pcm | None) -> None:
        """See `Line`."""
        if self.peer is not None:
            self.peer.send_frame(frame)

    @property
    def unheard(self) -> float:
        """See `Line`: what a browser's jitter buffer holds is not known."""
        return 0.0

    def mark(self, reached: Callable[[], None]) -> None:
        """See `Line`: what was sent is as good as heard."""
        reached()

    def clear(self) -> bool:
        """See `Line`: a browser buffers a few packets only."""
        return False

    def take_back(self) -> None:
        """See `Line`: there is nothing to take."""

    async def close(self) -> None:
        """See `Line`."""
        self._timer.cancel()
        if self.peer is not None:
            await self.peer.close()

    # From the client.

    async def restart(self, offer: Offer, configuration: dict[str, Any] | None) -> str:
        """Answer an offer that restarts ICE."""
        async with self._restarting:
            assert self.peer is not None
            answer = await self.peer.restart(offer, configuration)
            self.offer = offer
            logger.info("Call %s restarts ICE", self.session.id)
            return answer

    def _too_late(self) -> None:
        logger.info("Call %s did not connect within %.0f s", self.session.id, CONNECT_SECONDS)
        self.session.hang_up()


class Signalling:
    """The WebRTC calls of one stream."""

    def __init__(
        self, engine: Engine, admit: Admit, configure: Configure, opus: OpusOptions | None = None
    ) -> None:
        self.engine = engine
        """Makes the peers of calls that begin from now on."""
        self._opus = opus or OpusOptions()
        self._admit = admit
        self._configure = configure
        self._lines: dict[str, WebRTCLine] = {}

    async def handle(self, body: dict[str, Any], identity: Any = None) -> Reply:
        """Answer a client's message: an offer, a candidate, or the end of an attempt.

        ``identity``: who makes the offer, where that is known.
        """
        call_id, kind = body.get("webrtc_id"), body.get("type")
        if not _is_id(call_id):
            expected = f"text of 1 to {LONGEST_ID} characters that can be printed"
            return _refusal("invalid_webrtc_id", expected=expected)
        if kind == "ice-candidate":
            return await self._candidate(call_id, body.get("candidate"))
        if kind == "cancel":
            return self._cancel(call_id)
        if kind != "offer":
            return _refusal("invalid_type", expected="offer, ice-candidate or cancel")
        try:
            offer = parse_offer(body.get("sdp"))
        except SdpError as error:
            return _refusal("invalid_sdp", reason=str(error))
        line = self._live(call_id)
        if line is not None and line.peer is not None and offer.restarts(line.offer):
            if line.session.context.identity != identity:
                return _refusal("not_authorized")
            return await self._restart(line, offer)
        if line is None and body.get("restart"):
            return _refusal("unknown_connection")
        watched, reconnected = body.get("watch") is True, body.get("reconnected") is True
        return await self._begin(call_id, offer, identity, watched=watched, reconnected=reconnected)

    async def _begin(
        self, call_id: str, offer: Offer, identity: Any, *, watched: bool, reconnected: bool
    ) -> Reply:
        try:
            session = await self._admit(
                call_id, watched=watched, identity=identity, reconnected=reconnected
            )
        except Refused as refused:
            metrics.refused.add(refused.why)
            return refused.as_reply()
        except Exception:
            logger.exception("Call %s could not be begun", call_id)
            metrics.errors.add("transport")
            return _refusal("connection_failed", reason="the server could not begin the call")
        line = WebRTCLine(session, offer)
        self._lines[call_id] = line
        session.on_close(lambda: self._forget(call_id, line))
        handler = session.handler
        rates = handler.input_sample_rate, handler.output_sample_rate
        try:
            # It is there at once: candidates may come before the answer is made.
            line.peer = self.engine.peer(line, Sound(*rates, session.channels, self._opus))
            answer = await line.peer.answer(offer, await self._configure())
        except BaseException as error:
            ending = session.ending
            await session.close()
            if not isinstance(error, Exception):
                raise
            if ending:
                return _refusal("connection_closed")
            if isinstance(error, NoUdpPort):
                logger.warning("Call %s could not be answered: %s", call_id, error)
                metrics.refused.add("no_udp_port")
                return _refusal("connection_failed", reason=NO_PORT)
            logger.exception("Call %s could not be answered", call_id)
            metrics.errors.add("transport")
            return _refusal("connection_failed", reason="the server could not answer the offer")
        if session.ending:
            return _refusal("connection_closed")
        return {"sdp": answer, "type": "answer"}

    async def _restart(self, line: WebRTCLine, offer: Offer) -> Reply:
        try:
            # Asked again: the credentials of the first offer may have run out.
            answer = await line.restart(offer, await self._configure())
        except Exception as error:
            if line.session.ending:
                return _refusal("unknown_connection")
            if isinstance(error, NoUdpPort):
                logger.warning("Call %s could not restart ICE: %s", line.session.id, error)
                return _refusal("connection_failed", reason=NO_PORT)
            logger.exception("Call %s could not restart ICE", line.session.id)
            metrics.errors.add("transport")
            return _refusal("connection_failed", reason="the server could not answer the offer")
        return {"sdp": answer, "type": "answer"}

    async def _candidate(self, call_id: str, given: Any) -> Reply:
        line = self._lines.get(call_id)
        if line is None:
            return _refusal("unknown_connection")
        try:
            candidate = parse_candidate(given)
        except CandidateError as error:
            return _refusal("invalid_candidate_format", reason=str(error))
        if self._live(call_id) is None or line.peer is None:
            return _refusal("connection_closed")
        await line.peer.add_candidate(candidate)
        return {"status": "success"}

    def _cancel(self, call_id: str) -> Reply:
        """Give up an attempt that has not connected, so that its slot is free for another."""
        line = self._live(call_id)
        if line is None or line.session.started:
            return _refusal("unknown_connection")
        logger.info("Call %s is given up by its client", call_id)
        line.session.hang_up()
        return {"status": "success"}

    def _live(self, call_id: str) -> WebRTCLine | None:
        line = self._lines.get(call_id)
        return None if line is None or line.session.ending else line

    def _forget(self, call_id: str, line: WebRTCLine) -> None:
        if self._lines.get(call_id) is line:
            del self._lines[call_id]


def _is_id(given: Any) -> TypeGuard[str]:
    # It stands in the log: no line ends, no half characters.
    return isinstance(given, str) and 0 < len(given) <= LONGEST_ID and given.isprintable()


def _refusal(error: str, **facts: Any) -> Reply:
    return Refused(error, **facts).as_reply()
