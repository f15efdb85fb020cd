"""Silero on one stream, a step at a time: for whoever has no `VadBatcher`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastrtc.models.vad.silero import CONTEXT, WINDOW, shared_net


class SileroStream:
    """The recurrent state of one stream."""

    def __init__(self) -> None:
        self._state = np.zeros((2, 1, 128), np.float32)
        self._window = np.zeros((1, CONTEXT + WINDOW), np.float32)

    def step(self, samples: NDArray[np.float32]) -> float:
        """Probability that the next `WINDOW` samples at 16 kHz are voice; takes 0.1 ms."""
        self._window[0, :CONTEXT] = self._window[0, -CONTEXT:].copy()
        self._window[0, CONTEXT:] = samples
        probability, self._state = shared_net().step(self._window, self._state)
        return float(probability[0])
