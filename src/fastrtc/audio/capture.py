"""What the caller said lately, kept so that an utterance can be cut out of it."""

from __future__ import annotations

from collections import deque

import numpy as np

from fastrtc.audio.convert import Pcm


class Capture:
    """The last seconds of a stream, addressed by the sample numbers of the whole stream.

    Appending keeps a reference and copies nothing; an utterance is joined once, when it is cut.
    """

    def __init__(self, channels: int, longest: int) -> None:
        """Keep at most ``longest`` samples per channel; older ones are forgotten."""
        self.channels = channels
        self.longest = longest
        self.start = 0
        self.end = 0
        self._chunks: deque[Pcm] = deque()

    def append(self, pcm: Pcm) -> None:
        """Take the next samples, shape ``(channels, n)``."""
        self._chunks.append(pcm)
        self.end += pcm.shape[1]
        self.forget(self.end - self.longest)

    def forget(self, before: int) -> None:
        """Give back the memory of whole chunks that lie before a sample number."""
        while self._chunks and self.start + self._chunks[0].shape[1] <= before:
            self.start += self._chunks.popleft().shape[1]

    def cut(self, start: int, end: int) -> Pcm:
        """Samples ``start`` to ``end``, as far as they are kept; shape ``(channels, n)``."""
        start, end = max(start, self.start), min(end, self.end)
        if start >= end:
            return np.zeros((self.channels, 0), np.int16)
        parts, at = [], self.start
        for chunk in self._chunks:
            behind = at + chunk.shape[1]
            if behind > start:
                parts.append(chunk[:, max(0, start - at) : end - at])
            if behind >= end:
                break
            at = behind
        return np.concatenate(parts, axis=1)
