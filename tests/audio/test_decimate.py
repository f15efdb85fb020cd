"""The filter in front of speech recognition: quick, and good enough for a voice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc.audio.decimate import Decimator

RATE = 16_000
"""The rate below, in Hz."""
FACTORS = [2, 3, 6]

Floats = NDArray[np.float32]


def sine(hertz: float, factor: int, seconds: float = 0.5) -> Floats:
    t = np.arange(round(seconds * RATE * factor)) / (RATE * factor)
    return np.sin(2 * np.pi * hertz * t).astype(np.float32)


def decimated(samples: Floats, factor: int) -> Floats:
    return Decimator(factor).process(samples)


def gain(hertz: float, factor: int) -> float:
    """How loud a tone comes out, in dB, once the filter is full of it."""
    out = decimated(sine(hertz, factor), factor)[100:]
    return float(10 * np.log10(2 * np.mean(out.astype(float) ** 2) + 1e-12))


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("hertz", [300, 1_000, 2_000, 3_000, 4_000])
def test_a_voice_passes(hertz: int, factor: int) -> None:
    assert abs(gain(hertz, factor)) < 0.5


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.3, 0.6, 0.99])
def test_what_would_fold_back_is_at_least_18_db_down(share: float, factor: int) -> None:
    lowest, highest = RATE / 2 + 100, RATE * factor / 2
    assert gain(lowest + share * (highest - lowest), factor) < -18


@pytest.mark.parametrize("factor", FACTORS)
def test_a_constant_stays_what_it_is(factor: int) -> None:
    out = decimated(np.full(4_800, 0.25, np.float32), factor)[100:]
    assert np.allclose(out, 0.25, atol=1e-6)


@given(st.lists(st.integers(0, 400), max_size=20), st.sampled_from([1, *FACTORS]))
@settings(deadline=None, max_examples=60)
def test_how_the_sound_is_cut_up_does_not_matter(sizes: list[int], factor: int) -> None:
    noise = np.random.default_rng(0).standard_normal(sum(sizes)).astype(np.float32)
    one = Decimator(factor)
    parts = [one.process(part) for part in np.split(noise, np.cumsum(sizes))]
    assert np.allclose(np.concatenate(parts), decimated(noise, factor), atol=1e-5)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=20), st.sampled_from([1, *FACTORS]))
@settings(deadline=None, max_examples=60)
def test_one_sample_comes_out_as_soon_as_each_group_begins(sizes: list[int], factor: int) -> None:
    decimator, given_in, came_out = Decimator(factor), 0, 0
    for size in sizes:
        given_in += size
        came_out += len(decimator.process(np.zeros(size, np.float32)))
        assert came_out == -(-given_in // factor)


def test_a_factor_of_one_is_the_identity() -> None:
    noise = np.random.default_rng(0).standard_normal(500).astype(np.float32)
    assert np.array_equal(decimated(noise, 1), noise)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("hertz", [300, 1_000, 3_000])
def test_a_voice_is_less_than_a_millisecond_behind(hertz: int, factor: int) -> None:
    out = decimated(sine(hertz, factor), factor)[160:-160]
    t = (np.arange(len(out)) + 160) / RATE
    phase = np.angle(np.sum(out * np.exp(-2j * np.pi * hertz * t)) * 1j)
    delay = (-phase / (2 * np.pi * hertz)) % (1 / hertz)
    assert 0 < delay < 0.001


@pytest.mark.parametrize("factor", FACTORS)
def test_a_click_is_heard_within_a_millisecond(factor: int) -> None:
    click = np.zeros(RATE * factor // 10, np.float32)
    click[len(click) // 2] = 1.0
    out = decimated(click, factor)
    assert 0 <= int(np.argmax(np.abs(out))) / RATE - 0.05 < 0.001


@pytest.mark.parametrize("factor", [1, *FACTORS])
def test_samples_stay_float32(factor: int) -> None:
    assert decimated(np.ones(100, np.float32), factor).dtype == np.float32
