"""The log-mel picture of the last 8 s of a turn, as Smart Turn takes it.

It is Whisper's (Radford et al. 2022): 80 mel bands on Slaney's scale, every 10 ms, from centred
spectra of 25 ms. Smart Turn first brings the window to zero mean and unit variance. That scales
the power, and takes away a constant which only shows at the two lowest frequencies of a spectrum;
both can be done afterwards. So a spectrum is taken once, whatever windows it then lies in.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

RATE: Final = 16_000
LENGTH: Final = 8 * RATE
"""Samples of the window."""
FFT: Final = 400
"""Samples of a spectrum. This and the next two are Whisper's."""
HOP: Final = 160
"""Samples from one spectrum to the next."""
BANDS: Final = 80
COLUMNS: Final = BANDS + 2
"""Numbers that are kept of a spectrum, see `_spectra`."""
FRAMES: Final = LENGTH // HOP
BACK: Final = 2 * RATE
"""How far in the past a window may end, in samples."""
KEPT: Final = LENGTH + BACK + HOP
"""Samples that are kept. The last hop is what rounding an end to the grid may take."""
SLACK: Final = RATE
"""Room beyond what is kept, so that the buffer is moved once a second and not at each feed."""
FLOOR: Final = 1e-10
"""Least power before the logarithm: Whisper's."""
SPAN: Final = 8.0
"""Powers of ten under the loudest at which the picture is cut off: Whisper's."""
EPSILON: Final = 1e-7
"""Added to the variance: that of the feature extractor with which Smart Turn was trained."""

Floats = NDArray[np.float32]


def _mel_filters() -> Floats:
    """Triangles of equal area on Slaney's scale (Auditory Toolbox, 1998): ``(201, 80)``.

    The scale is linear up to 1 kHz, 3 mel for 200 Hz, and from there on logarithmic, 27 mel for
    a factor of 6.4.
    """
    top = 15 + 27 * np.log(RATE / 2 / 1000) / np.log(6.4)
    mels = np.linspace(0, top, BANDS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    hertz = np.linspace(0, RATE / 2, FFT // 2 + 1)[:, None]
    rising, falling = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
    triangles = np.maximum(0, np.minimum(rising, falling))
    filters: Floats = (triangles * 2 / (high - low)).astype(np.float32)
    return filters


HANN: Final[Floats] = np.hanning(FFT + 1)[:-1].astype(np.float32)
FILTERS: Final = _mel_filters()
BESIDE: Final[Floats] = FILTERS[1].copy()
"""What the bands take of bin 1, the one beside 0 Hz. Of 0 Hz itself they take nothing."""
FILTERS[1] = 0
LEAK: Final = FFT / 4
"""A constant of 1 shows in bin 1 as minus this, through the Hann window, and in none above."""


def _spectra(frames: Floats) -> Floats:
    """Powers of the bands without bin 1, then the real and the imaginary part of bin 1.

    Args:
        frames: float32 ``(n, FFT)``.

    Returns:
        float32 ``(n, COLUMNS)``.
    """
    bins = np.fft.rfft(frames * HANN, axis=1).astype(np.complex64)
    powers = (bins.real**2 + bins.imag**2) @ FILTERS
    return np.column_stack([powers, bins.real[:, 1], bins.imag[:, 1]])


def _padded(samples: Floats) -> Floats:
    """The window, silent before the samples, with half a spectrum mirrored at either edge.

    Args:
        samples: at most `LENGTH`.

    Returns:
        float32 ``(LENGTH + FFT,)``.
    """
    half = FFT // 2
    padded = np.zeros(LENGTH + FFT, np.float32)
    padded[half + LENGTH - len(samples) : half + LENGTH] = samples
    padded[:half] = padded[2 * half : half : -1]
    padded[-half:] = padded[-half - 2 : -2 * half - 2 : -1]
    return padded


def _frames(padded: Floats) -> Floats:
    """A view on the spectra's samples: ``(FRAMES, FFT)``."""
    return sliding_window_view(padded, FFT)[::HOP][:FRAMES]


def _picture(spectra: Floats, padded: Floats) -> Floats:
    """Normalise, and take the logarithm.

    Args:
        spectra: of the whole window, ``(FRAMES, COLUMNS)``.
        padded: the window, as `_padded` gives it.

    Returns:
        float32 ``(1, BANDS, FRAMES)``.
    """
    window = padded[FFT // 2 : -FFT // 2]
    mean = float(window.mean())
    gain = 1 / (float(window.var()) + EPSILON)
    powers, real, imaginary = np.split(spectra, [BANDS, BANDS + 1], axis=1)
    powers = powers + ((real + LEAK * mean) ** 2 + imaginary**2) * BESIDE
    decades = np.log10(np.maximum(FLOOR, powers * gain))
    picture = np.maximum(decades, decades.max() - SPAN) / 4 + 1
    return np.ascontiguousarray(picture.T)[None]


def log_mel(samples: Floats) -> Floats:
    """The picture of a clip's last 8 s, silent before a clip that is shorter.

    Args:
        samples: mono float32 in [-1, 1] at `RATE`, shape ``(n,)``.

    Returns:
        float32 ``(1, BANDS, FRAMES)``.
    """
    padded = _padded(samples[-LENGTH:])
    return _picture(_spectra(_frames(padded)), padded)


class MelHistory:
    """The pictures of a stream. It belongs to one thread at a time, and keeps about 1 MB."""

    def __init__(self) -> None:
        self.fed = 0
        """Samples since the beginning."""
        self._samples = np.zeros(KEPT + SLACK, np.float32)
        self._used = 0
        """Samples in the buffer, the last of them the newest."""
        self._spectra: Floats = np.zeros((0, COLUMNS), np.float32)
        self._first = 0
        """The spectrum with which those begin; spectrum n has its middle at sample n * HOP."""

    def feed(self, samples: Floats) -> None:
        """Take mono samples in [-1, 1] at `RATE`, shape ``(n,)``. Nothing is computed yet."""
        self.fed += len(samples)
        newest = samples[-KEPT:]
        if self._used + len(newest) > len(self._samples):
            staying = KEPT - len(newest)
            self._samples[:staying] = self._samples[self._used - staying : self._used]
            self._used = staying
        self._samples[self._used : self._used + len(newest)] = newest
        self._used += len(newest)

    def features(self, end: int | None = None, start: int = 0) -> Floats:
        """The picture of the last 8 s before ``end``.

        What lies before ``start``, and what is no longer kept, counts as silence.

        Args:
            end: number of the sample that comes next; None for all that was fed. It is rounded
                down to a whole `HOP`, and may lie up to `BACK` samples in the past.
            start: number of the first sample that counts.

        Returns:
            float32 ``(1, BANDS, FRAMES)``: what `log_mel` gives for these samples.
        """
        end = self.fed if end is None else max(0, min(end, self.fed))
        end -= end % HOP
        origin = self.fed - self._used
        begin = min(end, max(start, end - LENGTH, origin))
        padded = _padded(self._samples[begin - origin : end - origin])
        frames = _frames(padded)
        # Spectra that lie wholly inside what is heard are those of the stream. The last of the
        # window is mirrored at its edge; three at most lie across the beginning.
        silent = LENGTH - (end - begin)
        inside = min(-(-(silent + FFT // 2) // HOP), FRAMES - 1)
        edges = [*range(max(0, inside - 3), inside), FRAMES - 1]
        spectra = np.zeros((FRAMES, COLUMNS), np.float32)
        spectra[edges] = _spectra(frames[edges])
        spectra[inside:-1] = self._of_stream(end // HOP - FRAMES, inside, frames)
        return _picture(spectra, padded)

    def _of_stream(self, number: int, inside: int, frames: Floats) -> Floats:
        """The spectra of the window from ``inside`` to the last but one; new ones are added.

        ``number`` is that of the window's first in the stream.
        """
        begin, end = number + inside, number + FRAMES - 1
        known = self._first + len(self._spectra)
        if not self._first <= begin <= known:
            self._spectra, self._first, known = self._spectra[:0], begin, begin
        if end > known:
            new = _spectra(frames[known - number : end - number])
            self._spectra = np.concatenate([self._spectra, new])[-KEPT // HOP :]
            self._first = end - len(self._spectra)
        return self._spectra[begin - self._first : end - self._first]
