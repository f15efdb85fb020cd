"""Opus at the rate and channels of a handler, in packets of 20 ms."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from fastrtc.audio.convert import Pcm, with_channels
from fastrtc.audio.playout import FRAMES_PER_SECOND
from fastrtc.audio.resample import StreamResampler
from fastrtc.transports.libopus import (
    LARGEST_PACKET,
    LIBOPUS,
    LONGEST_PACKET,
    RATES,
    SET_APPLICATION,
    SET_BIT_RATE,
    SET_COMPLEXITY,
    SET_INBAND_FEC,
    SET_PACKET_LOSS,
    SET_SIGNAL,
    SIGNAL_VOICE,
)

RATE: Final = 48_000
"""What a rate that Opus does not know is converted to and from."""
BIT_RATE: Final = {1: 40_000, 2: 72_000}
"""Per channel count: fullband speech is transparent from 28 to 40 kbit/s (RFC 7587, 3.1.1)."""
LOSSY: Final = 0.02
"""Share of packets that are lost from which on a call is sent with error correction."""
CLEAN: Final = 0.005
"""Share under which it is sent without again."""
PATIENCE: Final = 6
"""Reports without loss, one every few seconds, before that."""
FORGETS: Final = 0.8
"""Share of the worst loss of late that is remembered from one report to the next."""
MOST_CORRECTED: Final = 0.3
"""Loss for which libopus is told to provide at the most: the bits are taken from the sound."""


@dataclass(frozen=True)
class OpusOptions:
    """How the sound of a call is encoded.

    Attributes:
        application: ``"lowdelay"`` takes a third of the work of ``"voip"``, which alone can
            correct errors; ``"auto"`` is the first on a clean network, and the second for a caller
            who loses packets. ``"audio"`` is for music.
        complexity: 0 to 10, work against quality. Of ``"lowdelay"``, 5 costs twice as much as 0
            and 10 half as much again.
        bit_rate: in bit/s; None for 40,000, or 72,000 in stereo.
    """

    application: Literal["auto", "voip", "audio", "lowdelay"] = "auto"
    complexity: int = 5
    bit_rate: int | None = None

    def __post_init__(self) -> None:
        if self.application not in ("auto", *SET_APPLICATION):
            raise ValueError(
                'expected the application "auto", "voip", "audio" or "lowdelay", '
                f"got {self.application!r}"
            )
        if not isinstance(self.complexity, int) or not 0 <= self.complexity <= 10:
            raise ValueError(f"expected a whole complexity of 0 to 10, got {self.complexity!r}")
        rate = self.bit_rate
        if rate is not None and (not isinstance(rate, int) or not 6_000 <= rate <= 510_000):
            raise ValueError(f"expected a whole bit_rate of 6000 to 510000, got {rate!r}")


def decoded_rate(wanted: int) -> int:
    """The rate to decode to for who wants a rate, in Hz."""
    return wanted if wanted in RATES else RATE


class OpusEncoder:
    """Encodes 20 ms at a time."""

    def __init__(self, rate: int, channels: int, options: OpusOptions | None = None) -> None:
        """Rate of what comes in, in Hz; it is converted if Opus does not know it."""
        self.channels = channels
        self._options = options or OpusOptions()
        self._encoded = decoded_rate(rate)
        self._resampler = StreamResampler(rate, self._encoded, channels)
        self._frame = self._encoded // FRAMES_PER_SECOND
        self._rest: Pcm = np.zeros((channels, 0), np.int16)
        self._call = LIBOPUS.opus_encode
        self._samples = np.zeros((self._frame, channels), np.int16)
        self._from = self._samples.ctypes.data
        self._packet = ctypes.create_string_buffer(LARGEST_PACKET)
        self._lossy, self._clean, self._worst = False, 0, 0.0
        self._state: Any = None
        self._open()

    def encode(self, pcm: Pcm) -> list[bytes]:
        """Packets for the next 20 ms, shape ``(channels, rate / 50)``; usually one."""
        pcm = self._resampler.process(with_channels(pcm, self.channels))
        if self._rest.shape[1]:
            pcm = np.concatenate([self._rest, pcm], axis=1)
        packets: list[bytes] = []
        while pcm.shape[1] >= self._frame:
            packets.append(self._encode(pcm[:, : self._frame]))
            pcm = pcm[:, self._frame :]
        self._rest = pcm
        return packets

    def lost(self, share: float) -> None:
        """The far side has told which share of the last seconds' packets it lost, 0 to 1."""
        if self._options.application not in ("auto", "voip"):
            return  # Music would be coded as speech for the sake of it.
        # Loss comes in bursts: the worst of late counts, as each report is of a few seconds only.
        self._worst = max(share, FORGETS * self._worst)
        self._clean = self._clean + 1 if share < CLEAN else 0
        lossy = share >= LOSSY or (self._lossy and self._clean < PATIENCE)
        if lossy != self._lossy:
            self._lossy = lossy
            if self._options.application == "auto":
                self._open()
        self._set(SET_INBAND_FEC, int(lossy))
        worst = max(LOSSY, min(MOST_CORRECTED, self._worst)) if lossy else 0.0
        self._set(SET_PACKET_LOSS, round(100 * worst))

    def _encode(self, pcm: Pcm) -> bytes:
        self._samples[:] = pcm.T
        size = self._call(self._state, self._from, self._frame, self._packet, LARGEST_PACKET)
        if size < 0:
            raise RuntimeError(f"libopus could not encode: error {size}")
        return ctypes.string_at(self._packet, size)

    def _open(self) -> None:
        options = self._options
        chosen = options.application
        if chosen == "auto":
            chosen = "voip" if self._lossy else "lowdelay"
        state = ctypes.create_string_buffer(LIBOPUS.opus_encoder_get_size(self.channels))
        application = SET_APPLICATION[chosen]
        error = LIBOPUS.opus_encoder_init(state, self._encoded, self.channels, application)
        if error:
            raise RuntimeError(f"libopus could not begin: error {error}")
        self._state = state
        self._set(SET_BIT_RATE, options.bit_rate or BIT_RATE[self.channels])
        self._set(SET_COMPLEXITY, options.complexity)
        if chosen == "voip":
            self._set(SET_SIGNAL, SIGNAL_VOICE)

    def _set(self, what: int, value: int) -> None:
        LIBOPUS.opus_encoder_ctl(self._state, what, ctypes.c_int(value))


class OpusDecoder:
    """Decodes packets to a rate that Opus knows, mixed to the channels that are wanted."""

    def __init__(self, channels: int, rate: int = RATE) -> None:
        """``rate``: one of `RATES`, in Hz."""
        self.channels = channels
        self.rate = rate
        self._most = round(LONGEST_PACKET * rate)
        self._sound = np.zeros(self._most * channels, np.int16)
        self._into = self._sound.ctypes.data
        self._state = ctypes.create_string_buffer(LIBOPUS.opus_decoder_get_size(channels))
        error = LIBOPUS.opus_decoder_init(self._state, rate, channels)
        if error:
            raise RuntimeError(f"libopus could not begin: error {error}")
        self._last = rate // FRAMES_PER_SECOND
        self._decode = LIBOPUS.opus_decode

    def decode(self, payload: bytes) -> Pcm | None:
        """The sound of a packet, shape ``(channels, n)``; None if it is no Opus."""
        if not payload:
            return None
        count = self._decode(self._state, payload, len(payload), self._into, self._most, 0)
        if count <= 0:
            return None
        self._last = count
        return self._taken(count)

    def conceal(self, after: bytes | None = None) -> Pcm:
        """Stands for a lost packet, as long as the last one that came.

        Args:
            after: the packet that follows the lost one, if it is there: it may carry the lost one
                again, more coarsely. Without that the sound goes on as it was, and dies away.
        """
        size = len(after) if after else 0
        count = self._decode(self._state, after or None, size, self._into, self._last, 1)
        if count <= 0:
            return np.zeros((self.channels, self._last), np.int16)
        return self._taken(count)

    def _taken(self, count: int) -> Pcm:
        rows = self._sound[: count * self.channels].reshape(-1, self.channels).T
        taken: Pcm = rows.copy()
        return taken
