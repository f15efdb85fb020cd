"""Voice detection by a model of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import audio_to_int16
from fastrtc.models.vad.batcher import Deliver, Fail, VadStream
from fastrtc.models.vad.silero import RATE, WINDOW, ModelOptions, PauseDetectionModel

EVERY: Final = 3
"""Steps of 32 ms between two questions to the model."""

Run = Callable[[Callable[[], float], Callable[[float], None], Callable[[Exception], None]], None]
"""Runs a function off the loop; then calls, on the loop, one of the two others."""


class CustomVad:
    """Asks a `PauseDetectionModel` about a window of the last seconds, as it slides.

    Delivers seconds of speech in the window, not probabilities.
    """

    def __init__(
        self, model: PauseDetectionModel, options: ModelOptions, window: float, run: Run
    ) -> None:
        """``window``: its length in seconds."""
        self.model = model
        self.options = options
        self.window = round(window * RATE)
        self.run = run

    def prepare(self) -> None:
        """See `VadSource`: the model is the user's to load."""

    def open(self, deliver: Deliver, fail: Fail) -> VadStream:
        """See `VadSource`."""
        return _CustomStream(self, deliver, fail)


class _CustomStream:
    def __init__(self, vad: CustomVad, deliver: Deliver, fail: Fail) -> None:
        self._vad = vad
        self._deliver: Deliver | None = deliver
        self._fail = fail
        self._heard: NDArray[np.float32] = np.zeros(0, np.float32)
        self._unasked = 0
        self._asked = 0
        self._busy = False

    def feed(self, samples: NDArray[np.float32]) -> None:
        self._heard = np.concatenate([self._heard, samples])[-self._vad.window :]
        self._unasked += len(samples)
        if not self._busy and self._unasked >= EVERY * WINDOW:
            self._ask()

    def close(self) -> None:
        self._deliver = None

    def _ask(self) -> None:
        # A model that is slower than real time is asked less often, and its answer then stands
        # for all the steps since it was asked last.
        self._asked = self._unasked // WINDOW
        self._unasked -= self._asked * WINDOW
        self._busy = True
        audio = (RATE, audio_to_int16(self._heard))
        vad = self._vad

        def seconds() -> float:
            return float(vad.model.vad(audio, vad.options)[0])

        vad.run(seconds, self._answered, self._failed)

    def _answered(self, seconds: float) -> None:
        self._busy = False
        for _ in range(self._asked):
            if self._deliver is not None:
                self._deliver(seconds)

    def _failed(self, error: Exception) -> None:
        if self._deliver is not None:
            self._fail(error)
        self._answered(0.0)
