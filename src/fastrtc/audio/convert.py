"""Between the forms in which users, codecs and models hold sound.

Inside the package sound is int16 of shape ``(channels, samples)``. Users may hand over anything
that `as_pcm` takes.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pcm: TypeAlias = NDArray[np.int16]
"""int16 samples of shape ``(channels, n)``."""

FULL_SCALE: Final = 32768.0
"""What 1.0 is in int16: two's complement reaches -32768 but only +32767."""


def audio_to_int16(audio: Any) -> Any:
    """Turn samples of any integer or float dtype into int16, clipped at full scale.

    Args:
        audio: an array, or a pair ``(rate in Hz, array)``, of any shape. Floats are read as
            [-1, 1]. Integers are read as int16 values, whatever their width, except that
            unsigned 8-bit samples are scaled, as in a WAV file.

    Returns:
        int16 of the same shape; of a pair, its array alone.

    Raises:
        TypeError: the dtype is neither integer nor float.
    """
    if isinstance(audio, tuple):
        _, audio = audio
    samples = np.asarray(audio)
    if samples.dtype == np.int16:
        return samples
    if samples.dtype == np.uint8:
        return ((samples.astype(np.int16) - 128) << 8).astype(np.int16)
    if np.issubdtype(samples.dtype, np.floating):
        # Clipped before it is scaled: the largest floats would overflow.
        whole = np.nan_to_num(np.clip(samples, -1, 1).astype(np.float64))
        return np.clip(np.round(whole * FULL_SCALE), -32768, 32767).astype(np.int16)
    if np.issubdtype(samples.dtype, np.integer):
        return np.clip(samples, -32768, 32767).astype(np.int16)
    raise TypeError(f"expected audio of an integer or float dtype, got {samples.dtype}")


def audio_to_float32(audio: Any) -> Any:
    """Turn samples of any integer or float dtype into float32 in [-1, 1].

    Takes and gives the same shapes as `audio_to_int16`. Floats keep their values.

    Raises:
        TypeError: the dtype is neither integer nor float.
    """
    if isinstance(audio, tuple):
        _, audio = audio
    samples = np.asarray(audio)
    if np.issubdtype(samples.dtype, np.floating):
        return samples.astype(np.float32)
    return audio_to_int16(samples).astype(np.float32) / np.float32(FULL_SCALE)


def as_channels(samples: NDArray[Any], channels: int | None = None) -> NDArray[Any]:
    """View samples as ``(channels, n)``.

    Args:
        samples: shape ``(n,)``, ``(1, n)``, ``(2, n)``, or, where ``channels`` is given,
            ``(1, n * channels)`` with the channels interleaved.
        channels: how many channels the samples have; None reads it from the shape.

    Raises:
        ValueError: the shape is none of these.
    """
    if samples.ndim == 1:
        samples = samples[None]
    if samples.ndim != 2 or samples.shape[0] not in (1, 2):
        raise ValueError(f"expected audio of shape (n,), (1, n) or (2, n), got {_shape(samples)}")
    if channels == 2 and samples.shape[0] == 1:
        if samples.shape[1] % 2:
            raise ValueError(
                f"expected interleaved stereo of an even length, got shape {_shape(samples)}"
            )
        pairs: NDArray[Any] = samples.reshape(-1, 2).T
        return pairs
    return samples


def with_channels(pcm: Pcm, channels: int) -> Pcm:
    """Mix down to mono, or double to stereo; shape ``(channels, n)``."""
    if pcm.shape[0] == channels:
        return pcm
    if channels == 1:
        mixed: Pcm = pcm.astype(np.int32).mean(axis=0, keepdims=True).astype(np.int16)
        return mixed
    return np.repeat(pcm, channels, axis=0)


def as_pcm(rate: Any, samples: Any, layout: str = "mono") -> tuple[int, Pcm]:
    """Read what a user's function gave as sound.

    Args:
        rate: sample rate in Hz.
        samples: see `as_channels` and `audio_to_int16`.
        layout: ``"mono"`` or ``"stereo"``; stereo may be interleaved in one row.

    Returns:
        The rate, and int16 samples of shape ``(channels, n)``.

    Raises:
        TypeError: the rate is no number, or the samples are no numbers.
        ValueError: the rate is not in 1 kHz to 384 kHz, the shape or the layout is unknown.
    """
    if isinstance(rate, np.ndarray):
        raise TypeError("expected (rate, array), got an array where the rate should be")
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.integer, np.floating)):
        raise TypeError(f"expected a sample rate in Hz, got {rate!r:.80}")
    if not 1_000 <= rate <= 384_000:
        raise ValueError(f"expected a sample rate of 1000 to 384000 Hz, got {rate}")
    if layout not in ("mono", "stereo"):
        raise ValueError(f'expected the layout "mono" or "stereo", got {layout!r:.80}')
    if not isinstance(samples, np.ndarray):
        raise TypeError(f"expected a numpy array of samples, got {type(samples).__name__}")
    channels = 2 if layout == "stereo" else None
    return int(rate), audio_to_int16(as_channels(samples, channels))


def _shape(samples: NDArray[Any]) -> str:
    return str(tuple(samples.shape))
