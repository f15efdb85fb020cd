"""What the filter lets pass, what it holds back, and that no call is cut where a chunk is."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc.audio.polyphase import BLOCK, HALF, PIECE, Polyphase, fits
from fastrtc.audio.resample import StreamResampler
from tests.conftest import tone

Pcm = NDArray[np.int16]

PAIRS = [
    (8_000, 16_000),
    (8_000, 24_000),
    (8_000, 48_000),
    (16_000, 24_000),
    (16_000, 48_000),
    (22_050, 48_000),
    (24_000, 8_000),
    (24_000, 16_000),
    (24_000, 48_000),
    (44_100, 48_000),
    (48_000, 8_000),
    (48_000, 16_000),
    (48_000, 44_100),
]
ODD = (48_000, 44_101)
"""Rates without a common factor."""
LOUD = 20_000.0
every_pair = pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
every_pair_up = pytest.mark.parametrize(
    ("rate_in", "rate_out"), [pair for pair in PAIRS if pair[0] < pair[1]]
)
every_pair_down = pytest.mark.parametrize(
    ("rate_in", "rate_out"), [pair for pair in PAIRS if pair[0] > pair[1]]
)


def convert(pcm: Pcm, rate_in: int, rate_out: int) -> Pcm:
    return Polyphase(rate_in, rate_out, pcm.shape[0]).process(pcm, last=True)


def steady(pcm: Pcm) -> NDArray[np.float64]:
    """The middle half, where no filter begins or ends."""
    quarter = pcm.shape[1] // 4
    return pcm[0, quarter:-quarter].astype(np.float64)


def decibels(ratio: float) -> float:
    return 20 * float(np.log10(ratio + 1e-9))


def gain(rate_in: int, rate_out: int, hertz: float) -> float:
    """dB by which a sine is louder afterwards, whatever it has become."""
    _, pcm = tone(0.4, rate_in, hertz, LOUD)
    out = steady(convert(pcm, rate_in, rate_out))
    return decibels(float(np.sqrt(2 * np.mean(out**2))) / LOUD)


def noise(length: int, channels: int = 1) -> Pcm:
    values = np.random.default_rng(3).normal(0, 9_000, (channels, length))
    return values.clip(-32768, 32767).astype(np.int16)


# The filter


@every_pair
def test_what_is_below_two_fifths_of_the_lower_rate_keeps_its_level(
    rate_in: int, rate_out: int
) -> None:
    for share in (0.05, 0.1, 0.2, 0.3, 0.4):
        changed = gain(rate_in, rate_out, share * min(rate_in, rate_out))
        assert changed == pytest.approx(0, abs=0.02)


@every_pair_down
def test_what_the_lower_rate_cannot_hold_is_taken_off(rate_in: int, rate_out: int) -> None:
    for hertz in np.linspace(0.53 * rate_out, 0.499 * rate_in, 7):
        assert gain(rate_in, rate_out, hertz) < -76


@every_pair_up
def test_no_image_of_a_sound_is_heard_at_the_higher_rate(rate_in: int, rate_out: int) -> None:
    for share in (0.03, 0.15, 0.3, 0.47):
        _, pcm = tone(0.6, rate_in, share * rate_in, LOUD)
        out = steady(convert(pcm, rate_in, rate_out))
        spectrum = np.abs(np.fft.rfft(out * np.blackman(out.size)))
        image = spectrum[round(0.525 * rate_in / rate_out * out.size) :]
        assert decibels(float(image.max() / spectrum.max())) < -75


@every_pair
def test_a_steady_value_is_kept_exactly(rate_in: int, rate_out: int) -> None:
    pcm = np.full((1, rate_in // 5), 12_345, np.int16)
    assert set(steady(convert(pcm, rate_in, rate_out))) == {12_345}


@every_pair
def test_a_click_stays_where_it_was(rate_in: int, rate_out: int) -> None:
    pcm = np.zeros((1, rate_in // 5), np.int16)
    at = rate_in // 10
    pcm[0, at] = 30_000
    out = convert(pcm, rate_in, rate_out)[0]
    assert abs(int(out.argmax()) - at * rate_out / rate_in) <= 0.5


@every_pair
def test_it_is_behind_by_half_the_filter_and_at_most_one_block(rate_in: int, rate_out: int) -> None:
    stream = Polyphase(rate_in, rate_out, 1)
    given = sum(stream.process(noise(rate_in // 50)).shape[1] for _ in range(10))
    behind = rate_in / 5 - given * rate_in / rate_out
    half = HALF * max(1.0, rate_in / rate_out)
    block = max(BLOCK, rate_in // np.gcd(rate_in, rate_out))
    assert half <= behind <= half + block
    assert behind / rate_in < 0.007


@every_pair
def test_the_loudest_square_wave_is_clipped_and_does_not_wrap(rate_in: int, rate_out: int) -> None:
    square = np.tile(np.repeat(np.array([32767, -32768], np.int16), 200), 10)
    out = convert(square[None], rate_in, rate_out)[0]
    # In the middle of each half wave the sign is that of the wave.
    middles = (np.arange(2, 18) * 200 + 100) * rate_out // rate_in
    assert (np.sign(out[middles]) == np.tile([1, -1], 8)).all()
    assert out.max() == 32767
    assert out.min() == -32768


# Chunks


@given(
    st.sampled_from(PAIRS),
    st.lists(st.integers(0, 2_500), min_size=1, max_size=25),
    st.sampled_from([1, 2]),
)
@settings(deadline=None, max_examples=50)
def test_chunks_of_any_sizes_give_what_the_whole_sound_gives(
    pair: tuple[int, int], sizes: list[int], channels: int
) -> None:
    pcm, stream = noise(sum(sizes), channels), Polyphase(*pair, channels)
    chunks = np.split(pcm, np.cumsum(sizes), axis=1)
    parts = [stream.process(chunk) for chunk in chunks[:-1]]
    out = np.concatenate([*parts, stream.process(chunks[-1], last=True)], axis=1)
    at_once = convert(pcm, *pair)
    assert out.shape == at_once.shape
    assert out.dtype == np.int16
    assert np.abs(out.astype(int) - at_once.astype(int)).max(initial=0) <= 1


@pytest.mark.parametrize("length", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 17])
def test_a_long_sound_has_no_seam_between_the_pieces_it_is_converted_in(length: int) -> None:
    pcm, stream = noise(length), Polyphase(48_000, 16_000, 1)
    parts = [stream.process(chunk) for chunk in np.split(pcm, range(960, length, 960), axis=1)]
    parts.append(stream.process(pcm[:, :0], last=True))
    small = np.concatenate(parts, axis=1).astype(int)
    assert np.abs(convert(pcm, 48_000, 16_000).astype(int) - small).max() <= 1


@pytest.mark.parametrize("last", [True, False])
def test_a_long_sound_takes_little_more_memory_than_what_comes_out(last: bool) -> None:
    pcm, stream = np.zeros((1, 60 * 48_000), np.int16), Polyphase(48_000, 24_000, 1)
    tracemalloc.start()
    try:
        out = stream.process(pcm, last=last)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # What comes out, in pieces and joined; and what one piece takes.
    assert peak < 2 * out.nbytes + 2_000_000


def test_two_streams_of_the_same_rates_do_not_hear_each_other() -> None:
    one, other, alone = (Polyphase(24_000, 48_000, 1) for _ in range(3))
    for _ in range(5):
        loud = noise(480)
        assert np.array_equal(one.process(loud), alone.process(loud))
        assert not other.process(np.zeros((1, 480), np.int16)).any()


def test_a_sound_shorter_than_the_filter_keeps_its_length() -> None:
    for length in range(HALF):
        assert convert(noise(length), 16_000, 48_000).shape == (1, 3 * length)


# Rates without a simple ratio


@every_pair
def test_common_rates_are_in_a_simple_ratio(rate_in: int, rate_out: int) -> None:
    assert fits(rate_in, rate_out)


def test_odd_rates_are_left_to_soxr_which_keeps_length_and_level() -> None:
    assert not fits(*ODD)
    resampler = StreamResampler(*ODD)
    _, pcm = tone(1.0, ODD[0], 1_000, LOUD)
    parts = [resampler.process(chunk) for chunk in np.split(pcm, 50, axis=1)]
    out = np.concatenate([*parts, resampler.flush()], axis=1)
    assert abs(out.shape[1] - ODD[1]) <= 1
    assert np.sqrt(2 * np.mean(steady(out) ** 2)) == pytest.approx(LOUD, rel=0.001)
