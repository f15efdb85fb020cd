"""What the caller said lately, kept so that an utterance can be cut out of it."""

from __future__ import annotations

from typing import Final

import numpy as np

from fastrtc.audio.convert import Pcm

SMALLEST: Final = 1 << 14
"""Samples per channel that are kept room for: 0.3 s at 48 kHz."""


class Capture:
    """The last seconds of a stream, addressed by the sample numbers of the whole stream.

    A ring that grows with an utterance and shrinks after it. The samples are copied, although
    references would do: sound that is let go at once leaves its memory, still warm, to the next
    frame, and a call that keeps thousands of small arrays pays for new memory at every one.
    """

    def __init__(self, channels: int, longest: int) -> None:
        """Keep at most ``longest`` samples per channel; older ones are forgotten."""
        self.channels = channels
        self.longest = longest
        self.start = 0
        self.end = 0
        self._ring: Pcm = np.zeros((channels, SMALLEST), np.int16)

    def append(self, pcm: Pcm) -> None:
        """Take the next samples, shape ``(channels, n)``."""
        end = self.end + pcm.shape[1]
        pcm = pcm[:, -self.longest :]
        self.start = max(self.start, end - self.longest)
        if end - self.start > self._ring.shape[1]:
            self._resize(end - self.start)
        self.end = end
        self._write(pcm)

    def forget(self, before: int) -> None:
        """Give back what lies before a sample number."""
        self.start = min(self.end, max(self.start, before))
        if self._ring.shape[1] > 4 * max(SMALLEST, self.end - self.start):
            self._resize(self.end - self.start)

    def cut(self, start: int, end: int) -> Pcm:
        """Samples ``start`` to ``end``, as far as they are kept; shape ``(channels, n)``."""
        start, end = max(start, self.start), min(end, self.end)
        if start >= end:
            return np.zeros((self.channels, 0), np.int16)
        size = self._ring.shape[1]
        first, behind = start % size, end % size
        parts = [self._ring[:, first:behind]]
        if first >= behind:
            parts = [self._ring[:, first:], self._ring[:, :behind]]
        return np.concatenate(parts, axis=1)

    def _resize(self, samples: int) -> None:
        """Make room for at least so many samples, and somewhat more."""
        kept = self.cut(self.start, self.end)
        self._ring = np.zeros((self.channels, max(SMALLEST, 1 << samples.bit_length())), np.int16)
        self._write(kept)

    def _write(self, pcm: Pcm) -> None:
        """Put samples where the last ones belong."""
        size, count = self._ring.shape[1], pcm.shape[1]
        at = (self.end - count) % size
        first = min(size - at, count)
        self._ring[:, at : at + first] = pcm[:, :first]
        if first < count:
            self._ring[:, : count - first] = pcm[:, first:]
