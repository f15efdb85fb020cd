import io
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

from fastrtc.audio.files import (
    MP3_RATES,
    aggregate_bytes_to_16bit,
    async_aggregate_bytes_to_16bit,
    audio_to_bytes,
    audio_to_file,
)
from tests.conftest import tone


def decoded(data: bytes) -> tuple[int, NDArray[np.float64]]:
    """Rate in Hz, and samples of shape ``(channels, n)`` in [-1, 1]."""
    with av.open(io.BytesIO(data)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    return rate, np.concatenate(frames, axis=1).astype(np.float64)


def pitch(samples: NDArray[np.float64], rate: int) -> float:
    """Hz of the strongest frequency of the middle half."""
    quarter = len(samples) // 4
    middle = samples[quarter : 3 * quarter]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return float(spectrum.argmax() * rate / len(middle))


# audio_to_bytes


@pytest.mark.parametrize("rate", [*MP3_RATES, 6_000, 17_123, 96_000])
def test_an_mp3_is_as_long_and_as_high_as_the_sound(rate: int) -> None:
    found, samples = decoded(audio_to_bytes(tone(1.0, rate)))
    assert samples.shape[1] / found == pytest.approx(1.0, abs=0.060)
    assert pitch(samples[0], found) == pytest.approx(440, abs=3)


@pytest.mark.parametrize("rate", MP3_RATES)
def test_a_rate_that_mp3_knows_is_kept(rate: int) -> None:
    assert decoded(audio_to_bytes(tone(0.2, rate)))[0] == rate


@pytest.mark.pitfall(26)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_floats_are_as_loud_as_the_int16_that_they_stand_for(dtype: DTypeLike) -> None:
    rate, samples = tone(1.0, amplitude=16_000)
    _, found = decoded(audio_to_bytes((rate, (samples / 32768).astype(dtype))))
    assert found.shape[1] / rate == pytest.approx(1.0, abs=0.060)
    assert np.abs(found[0, 6_000:-6_000]).max() == pytest.approx(16_000 / 32_768, rel=0.1)
    assert pitch(found[0], rate) == pytest.approx(440, abs=3)


def test_wide_integers_are_read_as_int16_values() -> None:
    rate, samples = tone(0.5, amplitude=16_000)
    _, found = decoded(audio_to_bytes((rate, samples.astype(np.int64))))
    assert np.abs(found[0, 6_000:-3_000]).max() == pytest.approx(16_000 / 32_768, rel=0.1)


@pytest.mark.pitfall(24)
def test_too_loud_a_float_does_not_turn_into_noise() -> None:
    rate, samples = tone(1.0)
    _, found = decoded(audio_to_bytes((rate, samples / 8_000 * 1.05)))
    assert pitch(found[0], rate) == pytest.approx(440, abs=3)
    spectrum = np.abs(np.fft.rfft(found[0, 2_000:22_000] * np.hanning(20_000)))
    assert spectrum[5_000:].max() < spectrum.max() / 100


@pytest.mark.pitfall(26)
def test_stereo_stays_stereo_of_the_same_length() -> None:
    rate, left = tone(1.0, hertz=440)
    right = tone(1.0, hertz=1_000)[1]
    found, samples = decoded(audio_to_bytes((rate, np.concatenate([left, right]))))
    assert samples.shape[0] == 2
    assert samples.shape[1] / found == pytest.approx(1.0, abs=0.060)
    assert pitch(samples[0], found) == pytest.approx(440, abs=3)
    assert pitch(samples[1], found) == pytest.approx(1_000, abs=3)


def test_a_flat_array_is_mono() -> None:
    rate, samples = tone(0.5)
    assert decoded(audio_to_bytes((rate, samples[0])))[1].shape[0] == 1


def test_a_single_sample_makes_a_file() -> None:
    assert audio_to_bytes((24_000, np.zeros((1, 1), np.int16)))


@pytest.mark.parametrize("samples", [np.zeros(0, np.int16), np.zeros((2, 0), np.float32)])
def test_no_samples_at_all_are_refused(samples: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="expected at least one sample"):
        audio_to_bytes((24_000, samples))


@pytest.mark.parametrize(
    ("audio", "error"),
    [
        ((24_000, [1, 2]), TypeError),
        ((24_000, np.array(["a"])), TypeError),
        (("24000", np.zeros(4)), TypeError),
        ((0, np.zeros(4)), ValueError),
        ((24_000, np.zeros((3, 4))), ValueError),
    ],
)
def test_what_is_no_audio_is_refused(audio: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        audio_to_bytes(audio)


def test_human_speech_survives_an_mp3(phrase: tuple[int, NDArray[np.int16]]) -> None:
    rate, speech = phrase
    found, samples = decoded(audio_to_bytes(phrase))
    assert found == rate
    # FFmpeg leaves out the encoder's own delay, so that the two lie over each other.
    length = min(speech.shape[1], samples.shape[1])
    likeness = np.corrcoef(speech[0, :length], samples[0, :length])[0, 1]
    assert likeness > 0.95


# audio_to_file


def test_a_file_holds_what_the_bytes_are() -> None:
    audio = tone(0.5)
    path = Path(audio_to_file(audio))
    try:
        assert path.suffix == ".mp3"
        assert path.read_bytes() == audio_to_bytes(audio)
    finally:
        path.unlink()


def test_no_file_is_left_behind_for_what_is_no_audio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(TypeError):
        audio_to_file((24_000, np.array(["a"])))
    assert list(tmp_path.iterdir()) == []


# aggregate_bytes_to_16bit


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


any_bytes = st.binary(max_size=200)
any_cuts = st.lists(st.integers(0, 1_000), max_size=12)


def expected(data: bytes) -> list[int]:
    return [int(sample) for sample in np.frombuffer(data[: len(data) // 2 * 2], "<i2")]


@given(any_bytes, any_cuts)
@settings(deadline=None, max_examples=100)
def test_bytes_cut_anywhere_give_the_same_samples(data: bytes, places: list[int]) -> None:
    parts = list(aggregate_bytes_to_16bit(iter(cut(data, places))))
    assert all(p.dtype == np.int16 and p.shape[0] == 1 and p.shape[1] for p in parts)
    assert [sample for part in parts for sample in part[0].tolist()] == expected(data)


@given(any_bytes, any_cuts)
@settings(deadline=None, max_examples=50)
async def test_an_async_stream_gives_the_same_samples(data: bytes, places: list[int]) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in cut(data, places):
            yield chunk

    parts = [part async for part in async_aggregate_bytes_to_16bit(stream())]
    assert all(p.dtype == np.int16 and p.shape[0] == 1 and p.shape[1] for p in parts)
    assert [sample for part in parts for sample in part[0].tolist()] == expected(data)


def test_samples_come_as_soon_as_they_are_whole() -> None:
    parts = aggregate_bytes_to_16bit(iter([b"\x01\x00\x02", b"\x00"]))
    assert next(parts).tolist() == [[1]]
    assert next(parts).tolist() == [[2]]


def test_an_odd_byte_at_the_end_is_dropped() -> None:
    assert [p.tolist() for p in aggregate_bytes_to_16bit(iter([b"\x01\x00\x07"]))] == [[[1]]]


def test_the_arrays_may_be_written_to() -> None:
    (pcm,) = aggregate_bytes_to_16bit(iter([b"\x01\x00"]))
    pcm += 1
    assert pcm.tolist() == [[2]]
