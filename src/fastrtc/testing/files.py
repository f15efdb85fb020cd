"""Sound from files, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def load_speech(path: str | Path) -> tuple[int, NDArray[np.int16]]:
    """Read a sound file of any kind that FFmpeg knows.

    Returns:
        Rate in Hz, and int16 of shape ``(1, n)``.
    """
    import av

    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="s16", layout="mono", rate=stream.rate)
        frames = [part for frame in container.decode(stream) for part in resampler.resample(frame)]
        frames += resampler.resample(None)
        return stream.rate, np.concatenate([f.to_ndarray() for f in frames if f.samples], axis=1)
