"""Opus, by PyAV's libopus, at the rate and channels of the handler."""

from __future__ import annotations

import fractions
from typing import Final, Literal, cast

import av
import numpy as np

from fastrtc.audio.convert import Pcm, with_channels
from fastrtc.audio.playout import FRAMES_PER_SECOND
from fastrtc.audio.resample import StreamResampler

RATE: Final = 48_000
"""What FFmpeg's libopus decodes to."""
ENCODED_RATES: Final = (48_000, 24_000, 16_000, 12_000, 8_000)
BIT_RATE: Final = {1: 32_000, 2: 64_000}
"""Per channel count: wideband speech is transparent at this rate (RFC 7587, 3.1.1)."""


class OpusEncoder:
    """Encodes 20 ms at a time."""

    def __init__(self, rate: int, channels: int) -> None:
        """Rate of what comes in, in Hz; it is converted if Opus does not know it."""
        self.channels = channels
        encoded = rate if rate in ENCODED_RATES else RATE
        self._resampler = StreamResampler(rate, encoded, channels)
        self._layout: Literal["mono", "stereo"] = "mono" if channels == 1 else "stereo"
        self._frame = encoded // FRAMES_PER_SECOND
        self._rest: Pcm = np.zeros((channels, 0), np.int16)
        codec = av.CodecContext.create("libopus", "w")
        codec.sample_rate = encoded
        codec.layout = self._layout
        codec.format = "s16"
        codec.bit_rate = BIT_RATE[channels]
        codec.thread_count = 1
        codec.time_base = fractions.Fraction(1, encoded)
        codec.options = {
            "application": "voip",
            "frame_duration": "20",
            # Of 10; the step to 10 costs half as much again and is not heard in speech.
            "compression_level": "5",
        }
        self._codec = codec
        self._position = 0

    def encode(self, pcm: Pcm) -> list[bytes]:
        """Packets for the next 20 ms, shape ``(channels, rate / 50)``; usually one."""
        pcm = self._resampler.process(with_channels(pcm, self.channels))
        if self._rest.shape[1]:
            pcm = np.concatenate([self._rest, pcm], axis=1)
        packets: list[bytes] = []
        while pcm.shape[1] >= self._frame:
            packets += self._encode(pcm[:, : self._frame])
            pcm = pcm[:, self._frame :]
        self._rest = pcm
        return packets

    def _encode(self, pcm: Pcm) -> list[bytes]:
        packed = np.ascontiguousarray(pcm.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=self._layout)
        frame.sample_rate = self._codec.sample_rate
        frame.pts = self._position
        self._position += self._frame
        return [bytes(packet) for packet in self._codec.encode(frame)]


class OpusDecoder:
    """Decodes packets to `RATE`, mixed to the channels that are wanted."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        codec = av.CodecContext.create("libopus", "r")
        codec.sample_rate = RATE
        codec.layout = "mono" if channels == 1 else "stereo"
        codec.format = "s16"
        # By default FFmpeg starts a thread per core for each decoder, and Opus uses none.
        codec.thread_count = 1
        self._codec = codec
        self._last = RATE // FRAMES_PER_SECOND

    def decode(self, payload: bytes) -> Pcm | None:
        """The sound of a packet, shape ``(channels, n)``; None if it is no Opus."""
        if not payload:
            return None
        try:
            frames = self._codec.decode(av.Packet(payload))
        except (av.FFmpegError, ValueError):
            return None
        if not frames:
            return None
        rows = [frame.to_ndarray().reshape(-1, self.channels).T for frame in frames]
        pcm = np.concatenate(rows, axis=1) if len(rows) > 1 else rows[0]
        self._last = pcm.shape[1]
        return cast(Pcm, pcm)

    def conceal(self) -> Pcm:
        """Stands for a lost packet, as long as the last one that came."""
        return np.zeros((self.channels, self._last), np.int16)
