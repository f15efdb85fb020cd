"""G.711, the coding of telephone sound: one byte a sample, mu-law or A-law (ITU-T G.711)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import Pcm

_BIAS: Final = 33
"""Mu-law: added to the 14-bit magnitude, so that each segment begins at a power of two."""
_LARGEST: Final = 8158
"""Mu-law: the largest 14-bit magnitude that has a code."""


class _Law:
    """One of the two codings, by table: 256 samples, and a code for each of 65536 values."""

    def __init__(self, samples: NDArray[np.int16], codes: NDArray[np.uint8]) -> None:
        self._samples = samples
        # In the order of the samples' bits read as unsigned numbers.
        self._codes = np.roll(codes, -32768)

    def encode(self, pcm: Pcm) -> bytes:
        """One byte for each sample, shape ``(channels, n)``; channels are interleaved."""
        packed = np.ascontiguousarray(pcm.T)
        return self._codes.take(packed.view(np.uint16)).tobytes()

    def decode(self, data: bytes, channels: int = 1) -> Pcm:
        """Samples of shape ``(channels, n)``.

        Raises:
            ValueError: the bytes are not a whole number of samples of all channels.
        """
        codes = np.frombuffer(data, np.uint8)
        pcm: Pcm = self._samples.take(codes, mode="wrap").reshape(-1, channels).T
        return pcm


def _mulaw_samples() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.uint8)
    segment, step = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    magnitude = 4 * (((2 * step + _BIAS) << segment) - _BIAS)
    samples: NDArray[np.int16] = np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)
    return samples


def _mulaw_codes() -> NDArray[np.uint8]:
    values = np.arange(-32768, 32768)
    # Cut to 14 bits without its sign, so that both signs are rounded alike.
    magnitude = np.minimum(np.abs(values) >> 2, _LARGEST) + _BIAS
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 5
    step = magnitude >> (segment + 1) & 15
    sign = np.where(values < 0, 0x80, 0)
    codes: NDArray[np.uint8] = (~(sign | segment << 4 | step) & 0xFF).astype(np.uint8)
    return codes


def _alaw_samples() -> NDArray[np.int16]:
    # Every other bit is inverted on the wire; a set sign bit means a positive sample.
    code = np.arange(256) ^ 0x55
    segment, step = code >> 4 & 7, code & 15
    linear = 16 * step + 8
    magnitude = np.where(segment > 0, (linear + 256) << np.maximum(segment - 1, 0), linear)
    samples: NDArray[np.int16] = np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)
    return samples


def _alaw_codes() -> NDArray[np.uint8]:
    values = np.arange(-32768, 32768) >> 3
    # One's complement, so that both signs have 4096 magnitudes.
    magnitude = np.where(values < 0, ~values, values)
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)
    step = magnitude >> np.maximum(segment, 1) & 15
    sign = np.where(values < 0, 0, 0x80)
    codes: NDArray[np.uint8] = ((sign | segment << 4 | step) ^ 0x55).astype(np.uint8)
    return codes


MULAW: Final = _Law(_mulaw_samples(), _mulaw_codes())
ALAW: Final = _Law(_alaw_samples(), _alaw_codes())
