"""What the callers say: made by rule, so that it needs no recording, and encoded once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import FULL_SCALE, Pcm
from fastrtc.bench.figures import PACKET
from fastrtc.transports.opus import RATE, OpusEncoder

NOISE: Final = 8.0
"""Of 32768: faint, as in a quiet room, so that no encoder takes it for nothing."""
LOUD: Final = 0.35
"""Of full scale."""

FORMANTS: Final = (
    (270, 2290, 3010),
    (730, 1090, 2440),
    (530, 1840, 2480),
    (570, 840, 2410),
    (300, 870, 2240),
)
"""Hz, a vowel for each syllable: of "beet", "father", "bet", "bought" and "boot", as men say them
(Peterson and Barney, 1952)."""
WIDTHS: Final = ((90, 1.0), (110, 0.6), (160, 0.3))
"""Hz, and loudness, of each formant."""
PITCH: Final = 115.0
"""Hz."""
SYLLABLES: Final = 4.5
"""A second."""
GLIDE: Final = 0.04
"""Seconds from one vowel to the next."""
HARMONICS: Final = 30
HIGHEST: Final = 3_800.0
"""Hz."""


@dataclass(frozen=True)
class Clip:
    """Sound that is sent over and over.

    Attributes:
        packets: of Opus, 20 ms each.
        begins, ends: seconds, of the one thing that is said in it.
        answered: whether an answer is awaited after the end; otherwise an echo of the beginning.
        longest: seconds that are waited for it.
    """

    packets: tuple[bytes, ...]
    begins: float
    ends: float
    answered: bool
    longest: float

    @property
    def seconds(self) -> float:
        """Until it begins anew."""
        return len(self.packets) * PACKET


@cache
def echo_clip() -> Clip:
    """A short tone every 1.5 s."""
    tone = LOUD * np.sin(2 * np.pi * 440 * _times(0.4))
    return _clip(tone, 0.2, 1.5, answered=False, longest=1.0)


@cache
def speech_clip() -> Clip:
    """A second of vowels every 3 s."""
    return _clip(vowels(1.0), 0.2, 3.0, answered=True, longest=1.2)


def vowels(seconds: float) -> NDArray[np.float64]:
    """A voice that sings its way through some vowels; a voice detector takes it for speech.

    A glottis is a series of harmonics, and the mouth lets through what is near its formants.
    """
    time = _times(seconds)
    fall = 1.1 - 0.2 * time / seconds
    pitch = PITCH * fall * (1 + 0.15 * np.sin(2 * np.pi * 1.3 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    syllable = (time * SYLLABLES).astype(int)
    targets = np.array([FORMANTS[n % len(FORMANTS)] for n in range(syllable[-1] + 1)])
    formants = [_smooth(column) for column in targets[syllable].T.astype(np.float64)]
    sound = np.zeros(len(time))
    for harmonic in range(1, HARMONICS):
        frequency = harmonic * pitch
        gain = np.zeros(len(time))
        for formant, (width, loudness) in zip(formants, WIDTHS, strict=True):
            gain += loudness / (1 + ((frequency - formant) / width) ** 2)
        sound += np.where(frequency < HIGHEST, gain, 0) * np.sin(harmonic * phase) / harmonic**0.5
    sound *= 0.25 + 0.75 * np.sin(np.pi * (time * SYLLABLES % 1)) ** 0.7
    sound *= np.clip(np.minimum(time, seconds - time) / 0.01, 0, 1)
    return np.asarray(LOUD * sound / np.abs(sound).max())


def _times(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * RATE)) / RATE


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    length = round(GLIDE * RATE)
    padded = np.pad(values, length, mode="edge")
    return np.convolve(padded, np.ones(length) / length, "same")[length:-length]


def _clip(
    sound: NDArray[np.float64], begins: float, seconds: float, *, answered: bool, longest: float
) -> Clip:
    samples = np.random.default_rng(1).normal(0, NOISE, round(seconds * RATE))
    first = round(begins * RATE)
    samples[first : first + len(sound)] += sound * FULL_SCALE
    pcm: Pcm = samples.astype(np.int16)[None]
    encoder, size = OpusEncoder(RATE, 1), round(PACKET * RATE)
    pieces = range(0, pcm.shape[1], size)
    packets = [p for at in pieces for p in encoder.encode(pcm[:, at : at + size])]
    ends = begins + len(sound) / RATE
    return Clip(tuple(packets), begins, ends, answered, longest)
