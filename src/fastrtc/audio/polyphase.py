"""Sample-rate conversion by one matrix multiplication a chunk, for rates in a simple ratio.

All phases of a windowed sinc stand in one matrix, which all calls share. It takes less than half
the time of soxr's streaming filter (12 and 30 us for 20 ms), whose state of each call is cold
whenever its turn comes, and is about a fifth as late.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import Pcm

HALF: Final = 24
"""Half the length of the filter, in samples of the lower rate; it is also the delay, rounded up to
whole blocks: 1.3 to 2.5 ms at 24 kHz, 4 to 5 ms at 8 kHz."""
EDGE: Final = 0.475
"""Middle of the filter's slope, as a share of the lower rate: what is under 0.42 of it passes, and
from 0.53 on 80 dB are taken off."""
BETA: Final = 7.857
"""Of the Kaiser window, for 80 dB (Kaiser 1974: 0.1102 (A - 8.7))."""
BLOCK: Final = 64
"""Samples that one row of the multiplication takes in, at most: small enough for the cache."""
LARGEST: Final = 200_000
"""Entries of a matrix; larger ones are left to soxr."""
PIECE: Final = 48_000
"""Samples that are converted at once: a long sound must not take much memory."""
KEPT: Final = 64
"""Matrices that are kept for later calls, at most 50 MB: clients name rates, and all that they can
name would take 200 MB."""

Floats = NDArray[np.float32]


class Polyphase:
    """Converts a stream of int16 chunks, behind by `HALF` samples of the lower rate or more."""

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        """Rates in Hz; `fits` says which."""
        common = math.gcd(rate_in, rate_out)
        self._up, self._down = rate_out // common, rate_in // common
        self._half = _half(self._up, self._down)
        # Blocks of which 20 ms are a whole number, so that nothing waits for the next chunk.
        self._matrix = _matrix(self._up, self._down, max(1, rate_in // 50 // self._down))
        self._block_in = self._matrix.shape[0] - 2 * self._half
        self._channels = channels
        self._rest: Floats
        self._begin()

    def process(self, pcm: Pcm, *, last: bool = False) -> Pcm:
        """Convert a chunk of shape ``(channels, n)``; ``last`` also gives the filter's tail."""
        if pcm.shape[1] <= PIECE and not last:
            return self._convert(pcm)
        starts = range(0, pcm.shape[1], PIECE)
        parts = [self._convert(pcm[:, start : start + PIECE]) for start in starts]
        if last:
            parts.append(self._tail())
            self._begin()
        return np.concatenate([self._nothing(), *parts], axis=1)

    def _convert(self, pcm: Pcm) -> Pcm:
        kept, new = self._rest.shape[1], pcm.shape[1]
        self._taken += new
        joined = np.empty((self._channels, kept + new), np.float32)
        joined[:, :kept], joined[:, kept:] = self._rest, pcm
        width, block_out = self._matrix.shape
        rows = max(0, kept + new - 2 * self._half) // self._block_in
        self._rest = joined[:, rows * self._block_in :]
        if not rows:
            return self._nothing()
        self._given += rows * block_out
        # A row for each block, with what it shares with its neighbours.
        step, sample = joined.strides
        shape, strides = (self._channels, rows, width), (step, sample * self._block_in, sample)
        windows: Floats = np.ndarray(shape, np.float32, joined, strides=strides)
        made = np.ascontiguousarray(windows) @ self._matrix
        np.rint(made, out=made)
        np.minimum(np.maximum(made, -32768, out=made), 32767, out=made)
        return made.astype(np.int16).reshape(self._channels, -1)

    def _tail(self) -> Pcm:
        wanted = round(self._taken * self._up / self._down) - self._given
        if wanted <= 0:
            return self._nothing()
        silence = np.zeros((self._channels, 2 * self._half + self._block_in), np.int16)
        return self._convert(silence)[:, :wanted]

    def _begin(self) -> None:
        self._rest = np.zeros((self._channels, self._half), np.float32)
        self._taken = self._given = 0

    def _nothing(self) -> Pcm:
        return np.zeros((self._channels, 0), np.int16)


def fits(rate_in: int, rate_out: int) -> bool:
    """Whether the ratio of two rates is simple enough."""
    common = math.gcd(rate_in, rate_out)
    up, down = rate_out // common, rate_in // common
    return up * (down + 2 * _half(up, down)) <= LARGEST


def _half(up: int, down: int) -> int:
    """Half the length of the filter, in samples that come in."""
    return math.ceil(HALF * max(1.0, down / up))


@lru_cache(KEPT)
def _matrix(up: int, down: int, usual: int) -> Floats:
    """The filter's taps: a column for each sample that a block gives, a row for each it needs.

    A block takes in ``down`` samples or some times that, of which ``usual`` is a multiple.
    """
    times = max((n for n in range(1, BLOCK // down + 1) if usual % n == 0), default=1)
    half, lower = _half(up, down), max(1.0, down / up)
    needed = np.arange(-half, times * down + half)[:, None]
    given = np.arange(times * up)[None, :] * down / up
    place = (needed - given) / lower
    taps, inside = np.zeros_like(place), np.abs(place) <= HALF
    place = place[inside]
    taps[inside] = np.sinc(2 * EDGE * place) * np.i0(BETA * np.sqrt(1 - (place / HALF) ** 2))
    # Each column keeps the level of a steady sound exactly.
    matrix: Floats = (taps / taps.sum(axis=0)).astype(np.float32)
    return matrix
