"""The sound of one telephone call: frames to G.711 packets, and back. Knows no network."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from fastrtc import metrics
from fastrtc.audio.convert import Pcm, with_channels
from fastrtc.audio.jitter import JitterBuffer
from fastrtc.audio.playout import FRAMES_PER_SECOND
from fastrtc.audio.resample import StreamResampler
from fastrtc.transports.rtp import Quota, RtpPacket, parse_rtp, write_rtp
from fastrtc.transports.sip.messages import Address
from fastrtc.transports.sip.sdp import LAWS, Media

RATE: Final = 8_000
"""Hz."""
PACKET: Final = RATE // FRAMES_PER_SECOND
"""Samples, and bytes, of 20 ms."""
LONGEST_PAYLOAD: Final = 10 * PACKET
"""Bytes of a packet that is taken: 0.2 s."""
COMFORT_NOISE: Final = 13
"""Payload type of what some send in the place of silence (RFC 3389)."""
NEW_SOURCE_SECONDS: Final = 0.5
"""A caller changes its source of sound no more often than this."""
DOUBT_SECONDS: Final = 2.0
"""For so long the host that called may still take the place of a stranger who was quicker."""
TRAILING_FRAMES: Final = 10
"""Frames of silence (0.2 s) after sound in which the filter rings out."""
KEYS: Final = "0123456789*#ABCD"
"""By the number of their event (RFC 4733, 3.2)."""

_SILENCE = np.zeros((1, PACKET), np.int16)


class Outgoing:
    """Sound to packets: one every 20 ms, in silence too, because it keeps the way through a NAT
    open and telephones expect it.
    """

    def __init__(self, media: Media, rate: int) -> None:
        """``rate``: Hz of the frames."""
        self._media = media
        self._resampler = StreamResampler(rate, RATE)
        self._silence = np.zeros((1, rate // FRAMES_PER_SECOND), np.int16)
        self._pending = np.zeros((1, 0), np.int16)
        self._sequence = secrets.randbits(15)
        self._timestamp = secrets.randbits(31)
        self._ssrc = secrets.randbits(32) or 1
        self._first = True
        self._silent = 0

    def follow(self, media: Media) -> None:
        """The caller has changed what it hears."""
        self._media = media

    def next(self, frame: Pcm | None) -> bytes:
        """The packet for the next 20 ms; None is silence."""
        self._silent = 0 if frame is not None else self._silent + 1
        packet = write_rtp(
            self._media.payload_type,
            self._first,
            self._sequence,
            self._timestamp,
            self._ssrc,
            LAWS[self._media.codec].encode(self._narrow(frame)),
        )
        self._first = False
        self._sequence += 1
        self._timestamp += PACKET
        return packet

    def _narrow(self, frame: Pcm | None) -> Pcm:
        """The next 20 ms at 8 kHz."""
        if self._silent > TRAILING_FRAMES:
            return _SILENCE
        frame = self._silence if frame is None else with_channels(frame, 1)
        pcm = self._resampler.process(frame)
        if self._pending.shape[1]:
            pcm = np.concatenate([self._pending, pcm], axis=1)
        # The filter is short of its delay at first, and gives out what it takes from then on.
        missing = PACKET - pcm.shape[1]
        if missing > 0:
            pcm = np.concatenate([_SILENCE[:, :missing], pcm], axis=1)
        self._pending = pcm[:, PACKET:]
        return pcm[:, :PACKET]


@dataclass
class Heard:
    """What a packet has brought: sound of 8 kHz, shape ``(1, n)``, and keys."""

    sound: list[Pcm] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


class Incoming:
    """Packets to sound in order, with silence in the place of what was lost, and keys.

    Attributes:
        source: where the caller's packets come from; None before the first one.
        last: when the newest came, in seconds.
    """

    def __init__(self, media: Media, at: float, caller: str = "") -> None:
        """``caller``: the host that called, if it is known."""
        self.source: Address | None = None
        self._caller = caller
        self._learned = at
        """When the source was."""
        self.last = at
        self._media = media
        self._limit = Quota()
        self._ssrc: int | None = None
        self._changed = at - NEW_SOURCE_SECONDS
        self._size = PACKET
        self._begin()

    def follow(self, media: Media, at: float) -> None:
        """The caller has changed what it sends."""
        if (media.host, media.port) != (self._media.host, self._media.port):
            self.source = None
        self._media = media
        self.last = at

    def add(self, data: bytes, source: Address, at: float) -> Heard:
        """Take a datagram that came from somewhere at this time (s).

        The first packet of the call shows where it comes from, which need not be where its
        description says: behind NAT it cannot be. What comes from elsewhere later is not the
        caller's, unless a stranger was quicker than the host that called.
        """
        heard = Heard()
        if not self._is_caller(source, at):
            return heard
        if not self._limit.allows(at):
            metrics.dropped.add("flood_packet")
            return heard
        packet = parse_rtp(data)
        if packet is None or not self._is_known(packet):
            return heard
        if self.source not in (None, source):
            # What the stranger said is no beginning of this.
            self._ssrc, self._changed = None, at - NEW_SOURCE_SECONDS
        if not self._is_current(packet, at):
            return heard
        if self.source != source:
            self.source, self._learned = source, at
        self.last = at
        is_sound = packet.payload_type == self._media.payload_type
        if is_sound and packet.payload:
            self._size = len(packet.payload)
        # All kinds share their numbers. A key is no sound, and no loss of it either.
        payload = packet.payload if is_sound else b""
        late = self._jitter.late
        for part in self._jitter.add(packet.sequence, payload):
            if part is None:
                metrics.dropped.add("lost_packet")
                heard.sound.append(np.zeros((1, self._size), np.int16))
            elif part:
                heard.sound.append(LAWS[self._media.codec].decode(part))
        if self._jitter.late > late:
            metrics.dropped.add("late_packet")
        if packet.payload_type == self._media.event_type:
            heard.keys += self._key(packet)
        return heard

    def _is_caller(self, source: Address, at: float) -> bool:
        if self.source is None or self.source == source:
            return True
        hosts = (self._media.host, self._caller)
        mistaken = self.source[0] not in hosts and source[0] in hosts
        return mistaken and at - self._learned < DOUBT_SECONDS

    def _is_known(self, packet: RtpPacket) -> bool:
        media = self._media
        known = (media.payload_type, media.event_type, COMFORT_NOISE)
        return packet.payload_type in known and len(packet.payload) <= LONGEST_PAYLOAD

    def _is_current(self, packet: RtpPacket, at: float) -> bool:
        """Whether a packet is of the source that speaks now, which an exchange may change."""
        if packet.ssrc == self._ssrc:
            return True
        if at - self._changed < NEW_SOURCE_SECONDS:
            return False
        self._ssrc, self._changed = packet.ssrc, at
        self._begin()
        return True

    def _begin(self) -> None:
        self._jitter: JitterBuffer[bytes] = JitterBuffer()
        self._event: int | None = None
        """When the last key was pressed, on the RTP clock: all packets of a key have that time."""

    def _key(self, packet: RtpPacket) -> str:
        """The key that a packet is the first of; nothing for what comes again, or too late."""
        if len(packet.payload) < 4 or packet.payload[0] >= len(KEYS):
            return ""
        if self._event is not None:
            ahead = (packet.timestamp - self._event) & 0xFFFFFFFF
            if not 0 < ahead < 1 << 31:
                return ""
        self._event = packet.timestamp
        return KEYS[packet.payload[0]]
