"""The one small interface between signalling and whatever speaks WebRTC. No other file knows
which engine it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from fastrtc.audio.convert import Pcm
from fastrtc.transports.opus import OpusOptions
from fastrtc.transports.webrtc.candidates import RemoteCandidate
from fastrtc.transports.webrtc.sdp import Offer


@dataclass(frozen=True)
class Sound:
    """The sound of a call, as our side has it.

    Attributes:
        rate_in: what is wanted of the client, in Hz; a peer comes as near as its codec can.
        rate_out: of the frames that are sent, in Hz.
        channels: of both.
        opus: how it is encoded.
    """

    rate_in: int
    rate_out: int
    channels: int
    opus: OpusOptions


class PeerEvents(Protocol):
    """What a peer tells. All on the event loop."""

    def connected(self) -> None:
        """Sound can flow."""

    def heard(self, rate: int, pcm: Pcm) -> None:
        """The next sound of the client: rate in Hz, int16 of shape ``(channels, n)``."""

    def closed(self, reason: str) -> None:
        """The connection is over; said once, unless `Peer.close` was called."""


class Peer(Protocol):
    """One WebRTC connection with a client."""

    @property
    def channel(self) -> Any:
        """The data channel, None until the client has opened it."""

    async def answer(self, offer: Offer, configuration: dict[str, Any] | None) -> str:
        """Answer the offer that begins the connection, and begin to connect.

        ``configuration`` is an RTCConfiguration for our own side; None takes the engine's
        default servers.
        """

    async def restart(self, offer: Offer, configuration: dict[str, Any] | None) -> str:
        """Answer an offer that restarts ICE; the sound flows on."""

    async def add_candidate(self, candidate: RemoteCandidate | None) -> None:
        """Take a candidate of the client; None is the end of them."""

    def send_frame(self, frame: Pcm | None) -> None:
        """Send 20 ms of sound; None is silence. Called on the clock; must not wait."""

    def send_message(self, message: str) -> None:
        """Send text on the data channel, when it is open."""

    async def close(self) -> None:
        """Give back everything."""


class Engine(Protocol):
    """Makes peers."""

    def peer(self, events: PeerEvents, sound: Sound) -> Peer:
        """A peer for one call."""
