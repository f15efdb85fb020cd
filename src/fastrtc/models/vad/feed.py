"""Brings a caller's sound to the form and the pace of voice detection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import FULL_SCALE, Pcm, with_channels
from fastrtc.audio.decimate import Decimator
from fastrtc.audio.resample import StreamResampler
from fastrtc.models.vad.silero import RATE, WINDOW


class VadFeed:
    """Converts frames to mono float32 at 16 kHz.

    It converts when a step of voice detection becomes due, and not frame by frame: that is no
    later, and a third less work for a caller who is silent most of the time.
    """

    def __init__(self, rate: int) -> None:
        """Rate of the frames, in Hz."""
        self._rate = rate
        self._decimator = Decimator(rate // RATE) if rate % RATE == 0 else None
        self._resampler = StreamResampler(rate, RATE)
        self._delay = 0
        """Samples at 16 kHz that the conversion is behind; known once it has worked."""
        self._given = 0
        self._waiting: list[Pcm] = []
        self._heard = 0
        self._due = WINDOW

    def add(self, pcm: Pcm) -> NDArray[np.float32]:
        """Take int16 of shape ``(channels, n)``; samples of shape ``(n,)``, often none."""
        self._waiting.append(pcm)
        self._heard += pcm.shape[1]
        heard = self._heard * RATE // self._rate
        ready = heard - self._delay
        if ready < self._due:
            return np.zeros(0, np.float32)
        self._due = (ready // WINDOW + 1) * WINDOW
        joined = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting, 1)
        self._waiting = []
        samples = self._convert(with_channels(joined, 1))
        self._given += len(samples)
        self._delay = heard - self._given
        return samples

    def _convert(self, mono: Pcm) -> NDArray[np.float32]:
        if self._decimator is None:
            mono = self._resampler.process(mono)
        samples: NDArray[np.float32] = mono[0].astype(np.float32) / np.float32(FULL_SCALE)
        return samples if self._decimator is None else self._decimator.process(samples)
