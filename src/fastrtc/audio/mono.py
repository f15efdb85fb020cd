"""A whole clip in the form that models hear: mono, float, at one rate."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import as_pcm, audio_to_float32, with_channels
from fastrtc.audio.decimate import Decimator
from fastrtc.audio.resample import StreamResampler


def as_mono(audio: tuple[int, NDArray[Any]], rate: int) -> NDArray[np.float32]:
    """A clip at another rate, in one channel.

    Args:
        audio: rate in Hz and samples, of any dtype, ``(n,)``, ``(channels, n)`` or
            ``(n, channels)`` with one or two channels.
        rate: Hz of the result.

    Returns:
        float32 in [-1, 1] of shape ``(n,)``.

    Raises:
        TypeError, ValueError: it is no such audio; the message says what it is.
    """
    if not isinstance(audio, tuple) or len(audio) != 2:
        raise TypeError(f"expected audio as (rate, array), got {type(audio).__name__}")
    samples = np.asarray(audio[1])
    if samples.ndim == 2 and samples.shape[0] not in (1, 2) and samples.shape[1] in (1, 2):
        samples = samples.T
    given, pcm = as_pcm(audio[0], samples)
    mono = with_channels(pcm, 1)
    if given % rate == 0 and given != rate:
        # Ten times as quick as the other.
        return Decimator(given // rate).process(audio_to_float32(mono[0]))
    if given != rate:
        resampler = StreamResampler(given, rate)
        mono = np.concatenate([resampler.process(mono), resampler.flush()], axis=1)
    found: NDArray[np.float32] = audio_to_float32(mono[0])
    return found
