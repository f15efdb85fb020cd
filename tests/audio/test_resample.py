import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc.audio.resample import StreamResampler
from tests.conftest import tone

PAIRS = [
    (48_000, 16_000),
    (16_000, 48_000),
    (44_100, 48_000),
    (22_050, 48_000),
    (24_000, 48_000),
    (8_000, 16_000),
    (48_000, 24_000),
    (24_000, 8_000),
    (48_000, 44_100),
]
every_pair = pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
DITHER = 3
"""int16 steps by which two conversions of the same sound may differ."""

Pcm = NDArray[np.int16]


def chunked(resampler: StreamResampler, pcm: Pcm, size: int) -> list[Pcm]:
    """What comes out for each chunk, and at last the tail."""
    starts = range(0, pcm.shape[1], size)
    return [*(resampler.process(pcm[:, s : s + size]) for s in starts), resampler.flush()]


def joined(parts: list[Pcm]) -> Pcm:
    return np.concatenate(parts, axis=1)


def whole(rate_in: int, rate_out: int, pcm: Pcm) -> Pcm:
    resampler = StreamResampler(rate_in, rate_out, pcm.shape[0])
    return joined([resampler.process(pcm), resampler.flush()])


def noise(seconds: float, rate: int, channels: int = 1) -> Pcm:
    values = np.random.default_rng(7).normal(0, 5_000, (channels, round(seconds * rate)))
    return values.clip(-32768, 32767).astype(np.int16)


@pytest.mark.pitfall(25)
@every_pair
def test_chunks_of_20_ms_give_what_the_whole_sound_gives(rate_in: int, rate_out: int) -> None:
    pcm = noise(1.0, rate_in)
    parts = joined(chunked(StreamResampler(rate_in, rate_out), pcm, rate_in // 50))
    at_once = whole(rate_in, rate_out, pcm)
    assert parts.shape == at_once.shape
    assert np.abs(parts.astype(int) - at_once.astype(int)).max() <= DITHER


@pytest.mark.pitfall(25)
@every_pair
def test_a_sine_in_chunks_stays_a_pure_sine(rate_in: int, rate_out: int) -> None:
    _, pcm = tone(1.5, rate_in, hertz=1_000)
    out = joined(chunked(StreamResampler(rate_in, rate_out), pcm, rate_in // 50))[0]
    middle = out[rate_out // 4 : rate_out // 4 + rate_out].astype(float)
    spectrum = np.abs(np.fft.rfft(middle * np.blackman(rate_out)))
    aside = np.delete(spectrum, range(990, 1_011))
    assert spectrum.argmax() == 1_000
    # Clicks at 50 Hz stand at -30 to -50 dB; the int16 noise lies far below.
    assert 20 * np.log10(aside.max() / spectrum.max()) < -80


@every_pair
def test_the_sound_keeps_its_level(rate_in: int, rate_out: int) -> None:
    _, pcm = tone(1.0, rate_in)
    out = whole(rate_in, rate_out, pcm)[0, rate_out // 4 : -rate_out // 4]
    assert np.abs(out).max() == pytest.approx(8_000, rel=0.01)


@every_pair
def test_sound_keeps_its_place_in_time_from_beginning_to_end(rate_in: int, rate_out: int) -> None:
    pcm = np.zeros((1, 3 * rate_in), np.int16)
    beeps = [0.5, 1.25, 2.75]
    for at in beeps:
        start = round(at * rate_in)
        pcm[:, start : start + rate_in // 10] = tone(0.1, rate_in)[1]
    out = joined(chunked(StreamResampler(rate_in, rate_out), pcm, rate_in // 50))[0]
    loud = np.flatnonzero(np.abs(out.astype(int)) > 1_000) / rate_out
    found = [loud[0], *(b for a, b in itertools.pairwise(loud) if b - a > 0.2)]
    assert found == pytest.approx(beeps, abs=0.001)


@every_pair
def test_after_40_ms_every_chunk_gives_as_much_as_it_brings(rate_in: int, rate_out: int) -> None:
    resampler = StreamResampler(rate_in, rate_out)
    parts = chunked(resampler, noise(1.0, rate_in), rate_in // 50)[:-1]
    assert {part.shape[1] for part in parts[2:]} == {rate_out // 50}


@every_pair
def test_the_delay_is_at_most_30_ms(rate_in: int, rate_out: int) -> None:
    tail = chunked(StreamResampler(rate_in, rate_out), noise(1.0, rate_in), rate_in // 50)[-1]
    assert 0 < tail.shape[1] / rate_out <= 0.030


@pytest.mark.pitfall(25)
@every_pair
def test_the_tail_ends_as_the_sound_ends(rate_in: int, rate_out: int) -> None:
    pcm = np.zeros((1, rate_in // 2), np.int16)
    pcm[:, -rate_in // 100 :] = 8_000
    out = whole(rate_in, rate_out, pcm)[0]
    # The filter rounds off the last 1.5 ms.
    assert out[round(-0.008 * rate_out) : round(-0.002 * rate_out)].mean() > 7_000


@given(
    st.sampled_from(PAIRS),
    st.lists(st.integers(1, 3_000), min_size=1, max_size=30),
    st.sampled_from([1, 2]),
)
@settings(deadline=None, max_examples=60)
def test_chunks_of_any_sizes_give_the_whole_length(
    pair: tuple[int, int], sizes: list[int], channels: int
) -> None:
    rate_in, rate_out = pair
    resampler = StreamResampler(rate_in, rate_out, channels)
    parts = [resampler.process(np.full((channels, size), 99, np.int16)) for size in sizes]
    out = joined([*parts, resampler.flush()])
    assert out.dtype == np.int16
    assert out.shape[0] == channels
    assert abs(out.shape[1] - sum(sizes) * rate_out / rate_in) <= 1


@given(st.sampled_from(PAIRS), st.lists(st.integers(1, 1_000), min_size=1, max_size=30), st.data())
@settings(deadline=None, max_examples=40)
def test_it_does_not_matter_where_a_sound_is_cut(
    pair: tuple[int, int], sizes: list[int], data: st.DataObject
) -> None:
    pcm = noise(sum(sizes) / pair[0], pair[0])[:, : sum(sizes)]
    resampler, ends = StreamResampler(*pair), np.cumsum(sizes)
    parts = [
        resampler.process(pcm[:, end - size : end]) for size, end in zip(sizes, ends, strict=True)
    ]
    out, at_once = joined([*parts, resampler.flush()]), whole(*pair, pcm)
    assert out.shape == at_once.shape
    assert np.abs(out.astype(int) - at_once.astype(int)).max(initial=0) <= DITHER


@pytest.mark.pitfall(26)
def test_the_channels_of_stereo_are_not_mixed() -> None:
    left, right = tone(1.0, 24_000, hertz=440)[1], tone(1.0, 24_000, hertz=1_000)[1]
    out = whole(24_000, 48_000, np.concatenate([left, right]))
    for found, alone in zip(out, (left, right), strict=True):
        expected = whole(24_000, 48_000, alone)[0]
        assert np.abs(found.astype(int) - expected.astype(int)).max() <= DITHER


def test_equal_rates_pass_the_samples_unchanged() -> None:
    pcm = noise(0.1, 16_000, channels=2)
    resampler = StreamResampler(16_000, 16_000, 2)
    assert np.array_equal(joined(chunked(resampler, pcm, 111)), pcm)


def test_what_follows_a_flush_is_a_new_sound() -> None:
    pcm, resampler = noise(0.3, 16_000), StreamResampler(16_000, 48_000)
    first = joined(chunked(resampler, pcm, 320))
    second = joined(chunked(resampler, pcm, 320))
    assert second.shape == first.shape
    assert np.abs(first.astype(int) - second.astype(int)).max() <= DITHER


def test_a_full_scale_square_wave_does_not_wrap() -> None:
    pcm = np.tile(np.repeat(np.array([32767, -32768], np.int16), 100), 40)[None]
    out = whole(16_000, 48_000, pcm)[0].astype(int)
    steps = np.abs(np.diff(out))
    assert steps.max() < 50_000


def test_an_empty_chunk_gives_nothing() -> None:
    resampler = StreamResampler(16_000, 48_000, 2)
    assert resampler.process(np.zeros((2, 0), np.int16)).shape == (2, 0)
    assert resampler.flush().shape == (2, 0)
