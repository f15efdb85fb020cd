"""The media path of one call: frames of sound to RTP packets, and back. Knows no network."""

from __future__ import annotations

import secrets
from typing import Final

import numpy as np

from fastrtc import metrics
from fastrtc.audio.convert import Pcm
from fastrtc.audio.jitter import JitterBuffer
from fastrtc.audio.playout import FRAMES_PER_SECOND
from fastrtc.transports.opus import OpusDecoder, OpusEncoder, OpusOptions, decoded_rate
from fastrtc.transports.rtp import Quota, RtpPacket, write_rtp
from fastrtc.transports.webrtc.rtp import CLOCK_RATE, Reception

FRAME_TICKS: Final = CLOCK_RATE // FRAMES_PER_SECOND
TRAILING_FRAMES: Final = 10
"""Frames of silence (0.2 s) sent after sound, so that its end leaves the far jitter buffer."""
SILENT_FRAMES: Final = 20
"""After those, one frame of silence in so many (0.4 s, as Opus DTX): it keeps the way open."""

MOST_SOUND: Final = 2.0
SOUND_AT_ONCE: Final = 4.0
"""Seconds of sound that a client may send in a second, and after a stall: a packet may hold six
times what it usually does."""
LONGEST_CONCEALED: Final = 0.5
"""Seconds that are made up for what is lost at a time."""
NEW_SOURCE_SECONDS: Final = 0.5
"""A client changes its track no more often than this."""


class Outgoing:
    """Sound to packets. Time goes on in silence too, when nearly nothing is sent."""

    def __init__(
        self, payload_type: int, rate: int, channels: int, options: OpusOptions | None = None
    ) -> None:
        self.ssrc = secrets.randbits(32) or 1
        self.packets = 0
        self.bytes = 0
        self._payload_type = payload_type
        self._encoder = OpusEncoder(rate, channels, options)
        self._silence = np.zeros((channels, rate // FRAMES_PER_SECOND), np.int16)
        self._sequence = secrets.randbits(15)
        self.timestamp = secrets.randbits(31)
        """Of the next frame, on the RTP clock."""
        self._silent = 0
        self._paused = True

    def next(self, frame: Pcm | None) -> list[bytes]:
        """The packets for the next 20 ms; None is silence."""
        timestamp = self.timestamp
        self.timestamp += FRAME_TICKS
        self._silent = 0 if frame is not None else self._silent + 1
        if self._silent > TRAILING_FRAMES and self._silent % SILENT_FRAMES:
            self._paused = True
            return []
        packets = []
        for payload in self._encoder.encode(self._silence if frame is None else frame):
            packet = write_rtp(
                self._payload_type, self._paused, self._sequence, timestamp, self.ssrc, payload
            )
            self._paused = False
            self._sequence += 1
            self.packets += 1
            self.bytes += len(payload)
            packets.append(packet)
        return packets

    def lost(self, share: float) -> None:
        """The far side has told which share of our last packets it lost, 0 to 1."""
        self._encoder.lost(share)


class Incoming:
    """Packets to sound, in order, with something like it in the place of what was lost."""

    def __init__(self, payload_type: int, channels: int, rate: int) -> None:
        """``rate``: what is wanted, in Hz; the sound has `rate`, as near as Opus can come."""
        self.rate = decoded_rate(rate)
        self._payload_type = payload_type
        self._channels = channels
        self._begin()
        self.reception: Reception | None = None
        self._packets = Quota()
        self._seconds = Quota(MOST_SOUND, SOUND_AT_ONCE)
        self._changed = -NEW_SOURCE_SECONDS

    def add(self, packet: RtpPacket, at: float) -> list[Pcm]:
        """Take a packet that came at this time (s); the sound that is ready now."""
        if packet.payload_type != self._payload_type or not packet.payload:
            return []
        if not self._packets.allows(at) or not self._seconds.allows(at, 0.0):
            metrics.dropped.add("flood_packet")
            return []
        if self.reception is None or self.reception.ssrc != packet.ssrc:
            # A new source: the client has changed its track.
            if at - self._changed < NEW_SOURCE_SECONDS:
                return []
            self._changed = at
            self._begin()
            self.reception = Reception(packet.ssrc)
        self.reception.add(packet.sequence, packet.timestamp, at)
        late = self._jitter.late
        ready = self._jitter.add(packet.sequence, packet.payload)
        sound: list[Pcm] = []
        concealed = 0
        for place, payload in enumerate(ready, 1):
            if payload is None:
                metrics.dropped.add("lost_packet")
            pcm = None if payload is None else self._decoder.decode(payload)
            if pcm is None:
                if concealed >= LONGEST_CONCEALED * self.rate:
                    continue
                pcm = self._decoder.conceal(ready[place] if place < len(ready) else None)
                concealed += pcm.shape[1]
            sound.append(pcm)
        self._seconds.use(sum(pcm.shape[1] for pcm in sound) / self.rate)
        if self._jitter.late > late:
            metrics.dropped.add("late_packet")
        return sound

    def _begin(self) -> None:
        self._jitter: JitterBuffer[bytes] = JitterBuffer()
        self._decoder = OpusDecoder(self._channels, self.rate)
