"""Sound to files and bytes, and bytes to sound, for the services that users call."""

from __future__ import annotations

import fractions
import io
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import Pcm, as_pcm

MP3_BIT_RATE: Final = 128_000
MP3_RATES: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""What MPEG-1, 2 and 2.5 layer III know; sound at another rate is converted to the next one."""


def audio_to_bytes(audio: tuple[int, NDArray[Any]]) -> bytes:
    """Encode sound as an MP3 file in memory, for speech services that take files.

    Args:
        audio: rate in Hz and samples, shape ``(n,)``, ``(1, n)`` or ``(2, n)``, any integer or
            float dtype (see `audio_to_int16`).

    Raises:
        TypeError, ValueError: it is no such audio.
    """
    # Imported here: FFmpeg costs time that `import fastrtc` should not.
    import av

    from fastrtc.audio.resample import StreamResampler

    rate, pcm = as_pcm(*audio)
    if not pcm.shape[1]:
        raise ValueError("expected at least one sample of audio, got none")
    target = next((known for known in MP3_RATES if known >= rate), MP3_RATES[-1])
    if target != rate:
        resampler = StreamResampler(rate, target, pcm.shape[0])
        pcm = np.concatenate([resampler.process(pcm), resampler.flush()], axis=1)
    layout = "mono" if pcm.shape[0] == 1 else "stereo"
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=target)
        stream.codec_context.layout = layout
        stream.codec_context.format = "s16p"
        stream.codec_context.bit_rate = MP3_BIT_RATE
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm), format="s16p", layout=layout)
        frame.sample_rate = target
        frame.time_base = fractions.Fraction(1, target)
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def audio_to_file(audio: tuple[int, NDArray[Any]]) -> str:
    """Write sound as an MP3 file and return its path; the caller deletes it.

    Takes and raises what `audio_to_bytes` does.
    """
    data = audio_to_bytes(audio)
    with tempfile.NamedTemporaryFile(suffix=".mp3", delete=False) as file:
        file.write(data)
    return file.name


def aggregate_bytes_to_16bit(chunks_iterator: Iterator[bytes]) -> Iterator[Pcm]:
    """Turn a stream of little-endian 16-bit PCM bytes, cut anywhere, into arrays.

    Yields int16 arrays of shape ``(1, n)``. An odd byte at the very end is dropped.
    """
    rest = b""
    for chunk in chunks_iterator:
        pcm, rest = _whole_samples(rest + chunk)
        if pcm.shape[1]:
            yield pcm


async def async_aggregate_bytes_to_16bit(
    chunks_iterator: AsyncIterator[bytes],
) -> AsyncIterator[Pcm]:
    """The same for an async stream."""
    rest = b""
    async for chunk in chunks_iterator:
        pcm, rest = _whole_samples(rest + chunk)
        if pcm.shape[1]:
            yield pcm


def _whole_samples(data: bytes) -> tuple[Pcm, bytes]:
    size = len(data) // 2 * 2
    return np.frombuffer(data[:size], "<i2").astype(np.int16)[None], data[size:]
