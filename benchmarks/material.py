"""What is said in the benchmarks: turns that are finished, turns that are not, and short sounds.

A folder of turns holds ``whole/NAME.wav`` (or .flac) and ``broken/NAME-1.wav``, ``NAME-2.wav``: a
beginning that is not finished, and what completes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from fastrtc.testing import load_speech

RATE: Final = 16_000
SPEECH_DBFS: Final = -24.0
ROOM_DBFS: Final = -66.0
SEED: Final = 1
STEP: Final = RATE // 100
AUDIBLE_DBFS: Final = -45.0
PHRASE_DBFS: Final = -40.0

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Said:
    """One thing that a caller says; mono float32 at 16 kHz.

    Attributes:
        name: of the file.
        samples: from the first sound to the last.
        finished: whether it is a whole turn, or the beginning of one.
        rest: what completes a beginning.
    """

    name: str
    samples: Samples
    finished: bool
    rest: Samples | None = None


def read(path: Path) -> Samples:
    """A file at 16 kHz, its loud parts at `SPEECH_DBFS`, audible from end to end."""
    rate, pcm = load_speech(path)
    samples = soxr.resample(pcm[0].astype(np.float32) / 32768, rate, RATE)
    loud = samples[np.abs(samples) > 0.05 * np.abs(samples).max()]
    gain = 10 ** (SPEECH_DBFS / 20) / np.sqrt(np.mean(loud**2))
    samples = np.asarray(samples * gain, np.float32)
    audible = np.flatnonzero(_levels(samples) > AUDIBLE_DBFS)
    return samples[audible[0] * STEP : (audible[-1] + 1) * STEP] if len(audible) else samples


def phrases(samples: Samples) -> list[Samples]:
    """Pieces of 0.6 to 3 s of a recording, without an inner pause of over 0.15 s."""
    spans: list[list[int]] = []
    for index in np.flatnonzero(_levels(samples) > PHRASE_DBFS):
        if spans and index - spans[-1][1] <= 15:
            spans[-1][1] = int(index)
        else:
            spans.append([int(index), int(index)])
    pieces = [samples[a * STEP : (b + 1) * STEP] for a, b in spans]
    return [piece for piece in pieces if 0.6 <= len(piece) / RATE <= 3.0]


def _levels(samples: Samples) -> Samples:
    """dBFS of each 10 ms."""
    frames = samples[: len(samples) // STEP * STEP].reshape(-1, STEP)
    return np.asarray(10 * np.log10(np.mean(frames**2, axis=1) + 1e-12), np.float32)


def turns(folder: Path) -> Iterator[Said]:
    """All turns of a folder, by name."""
    for path in sorted((folder / "whole").iterdir()):
        yield Said(path.stem, read(path), finished=True)
    for path in sorted((folder / "broken").glob("*-1.*")):
        rest = path.with_name(path.name.replace("-1.", "-2."))
        yield Said(path.stem, read(path), finished=False, rest=read(rest))


def noise(count: int, dbfs: float, seed: int = SEED) -> Samples:
    """White noise."""
    samples = np.random.default_rng(seed).standard_normal(count) * 10 ** (dbfs / 20)
    return samples.astype(np.float32)


def clean(samples: Samples) -> Samples:
    """As recorded, in a quiet room."""
    return samples + noise(len(samples), ROOM_DBFS)


def noisy(samples: Samples) -> Samples:
    """With babble-like noise 10 dB under the speech: white noise through a speech-shaped filter."""
    spectrum = np.fft.rfft(noise(len(samples), 0))
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    shaped = np.fft.irfft(spectrum / (1 + (hertz / 500) ** 2) ** 0.5, len(samples))
    level = 10 ** ((SPEECH_DBFS - 10) / 20) / np.sqrt(np.mean(shaped**2))
    return np.asarray(samples + shaped * level, np.float32)


def telephone(samples: Samples) -> Samples:
    """Through a telephone: 8 kHz, 300 to 3400 Hz, 8 bits of mu-law (ITU-T G.711)."""
    narrow = soxr.resample(clean(samples), RATE, 8_000)
    spectrum = np.fft.rfft(narrow)
    hertz = np.fft.rfftfreq(len(narrow), 1 / 8_000)
    spectrum[(hertz < 300) | (hertz > 3_400)] = 0
    narrow = np.clip(np.fft.irfft(spectrum, len(narrow)), -1, 1)
    code = np.round(np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256) * 127) / 127
    decoded = np.sign(code) * (256 ** np.abs(code) - 1) / 255
    return np.asarray(soxr.resample(decoded, 8_000, RATE), np.float32)


CONDITIONS: Final[dict[str, Callable[[Samples], Samples]]] = {
    "clean": clean,
    "noise 10 dB": noisy,
    "telephone": telephone,
}
