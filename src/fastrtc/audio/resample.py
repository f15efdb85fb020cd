"""Sample-rate conversion of a stream, chunk by chunk, without a seam between chunks."""

from __future__ import annotations

import numpy as np
import soxr

from fastrtc.audio.convert import Pcm
from fastrtc.audio.polyphase import Polyphase, fits


class StreamResampler:
    """Converts a stream of int16 chunks from one rate to another.

    One object serves one direction of one stream: it remembers the chunks before, so there is
    no click where two of them meet. Rates in a simple ratio, which are nearly all, are converted
    by `Polyphase`, 1 to 7 ms behind. For others there is soxr: its variable-rate filter, because
    it gives out as much as comes in, behind by a constant 5 to 15 ms (up to 30 ms from 8 kHz); its
    fixed-rate filter works in blocks and holds a 20 ms chunk back for 20 to 40 ms.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int = 1) -> None:
        """Rates in Hz."""
        self.rate_in = rate_in
        self.rate_out = rate_out
        self.channels = channels
        self._polyphase: Polyphase | None = None
        self._soxr: soxr.ResampleStream | None = None
        if rate_in != rate_out:
            if fits(rate_in, rate_out):
                self._polyphase = Polyphase(rate_in, rate_out, channels)
            else:
                self._soxr = _open(rate_in, rate_out, channels)

    def process(self, pcm: Pcm, *, last: bool = False) -> Pcm:
        """Convert a chunk of shape ``(channels, n)``; ``last`` also gives the filter's tail.

        After a chunk with ``last`` the stream is over, and the next chunk begins a new one.
        """
        if self._polyphase is not None:
            return self._polyphase.process(pcm, last=last)
        if self._soxr is None:
            return pcm
        rows = np.ascontiguousarray(pcm.T)
        flat = rows[:, 0] if self.channels == 1 else rows
        out = self._soxr.resample_chunk(flat, last=last)
        if last:
            self._soxr.clear()
        converted: Pcm = np.asarray(out, np.int16).reshape(-1, self.channels).T
        return converted

    def flush(self) -> Pcm:
        """The last samples of the stream; shape ``(channels, n)``."""
        return self.process(np.zeros((self.channels, 0), np.int16), last=True)


def _open(rate_in: int, rate_out: int, channels: int) -> soxr.ResampleStream:
    try:
        return soxr.ResampleStream(rate_in, rate_out, channels, dtype="int16", vr=True)
    except TypeError:
        # Before soxr 1.1, which other packages may hold back, there is the fixed-rate filter only.
        return soxr.ResampleStream(rate_in, rate_out, channels, dtype="int16")
