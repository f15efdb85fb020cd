"""G.711 mu-law by the formula of ITU-T G.711, of the carrier's own.

It shares nothing with the package, so that a fault of the package's coding is heard.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

RATE: Final = 8_000
"""Samples per second of a telephone line."""

SILENCE: Final = b"\xff"
"""The code of a sample of zero."""

BIAS: Final = 132
"""Added to a magnitude, so that its highest set bit names its segment."""

LARGEST: Final = 32_635
"""The largest magnitude that has a code."""


def encode(samples: NDArray[np.int16]) -> bytes:
    """One byte a sample."""
    wide = samples.astype(np.int32)
    biased = np.minimum(np.abs(wide), LARGEST) + BIAS
    segment = np.log2(biased).astype(np.int32) - 7
    step = (biased >> (segment + 3)) & 0x0F
    sign = np.where(wide < 0, 0x80, 0)
    return bytes((~(sign | segment << 4 | step) & 0xFF).astype(np.uint8))


def decode(coded: bytes | bytearray) -> NDArray[np.int16]:
    """One sample a byte; shape (n,)."""
    decoded: NDArray[Any] = _SAMPLES[np.frombuffer(bytes(coded), np.uint8)]
    return decoded


def _decode_all() -> NDArray[np.int16]:
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 0x0F) << 3) + BIAS << (code >> 4 & 7)) - BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


_SAMPLES: Final = _decode_all()
"""What each of the 256 codes stands for."""
