from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc.audio.mono import as_mono

RATE = 16_000


def sine(rate: int, seconds: float = 0.5, hertz: float = 440.0) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def ints(rate: int = RATE) -> NDArray[np.int16]:
    found: NDArray[np.int16] = np.round(sine(rate) * 32768).astype(np.int16)
    return found


def assert_same(found: NDArray[np.float32], expected: NDArray[np.float64], within: float) -> None:
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < within


# Any dtype and any layout


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_read_as_they_are(dtype: type) -> None:
    assert_same(as_mono((RATE, sine(RATE).astype(dtype)), RATE), sine(RATE), 1e-3)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64])
def test_integers_are_brought_to_full_scale_1(dtype: type) -> None:
    assert_same(as_mono((RATE, ints().astype(dtype)), RATE), sine(RATE), 1e-4)


def test_samples_of_8_bits_are_read_as_in_a_wav_file() -> None:
    coarse = np.round(sine(RATE) * 128 + 128).astype(np.uint8)
    assert_same(as_mono((RATE, coarse), RATE), sine(RATE), 0.01)


def test_a_list_of_numbers_will_do() -> None:
    clip: Any = [0.0, 0.5, -0.5]
    assert as_mono((RATE, clip), RATE).tolist() == [0.0, 0.5, -0.5]


@pytest.mark.parametrize(
    "layout",
    [
        lambda clip: clip[None],
        lambda clip: clip[:, None],
        lambda clip: np.stack([clip, clip]),
        lambda clip: np.stack([clip, clip], axis=1),
        lambda clip: np.asfortranarray(np.stack([clip, clip])),
        lambda clip: np.repeat(clip, 2)[::2],
    ],
    ids=["(1, n)", "(n, 1)", "(2, n)", "(n, 2)", "Fortran's order", "every other one"],
)
def test_all_layouts_are_the_same_clip(layout: Any) -> None:
    expected = as_mono((RATE, ints()), RATE)
    assert np.array_equal(as_mono((RATE, layout(ints())), RATE), expected)


def test_two_channels_are_mixed() -> None:
    both = np.stack([np.full(100, 8_192, np.int16), np.full(100, -16_384, np.int16)])
    assert np.allclose(as_mono((RATE, both), RATE), -0.125)


def test_two_samples_of_two_channels_are_read_channel_by_channel() -> None:
    square = np.array([[8_192, 16_384], [8_192, 16_384]], np.int16)
    assert as_mono((RATE, square), RATE).tolist() == [0.25, 0.5]


def test_a_clip_is_not_changed() -> None:
    clip = sine(48_000)
    clip.flags.writeable = False
    as_mono((48_000, clip), RATE)
    assert np.array_equal(clip, sine(48_000))


# Any rate


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 24_000, 44_100, 48_000, 192_000])
def test_a_tone_of_any_rate_is_as_high_and_as_loud(rate: int) -> None:
    found = as_mono((rate, ints(rate)), RATE)[400 : 400 + RATE // 4]
    tones = np.abs(np.fft.rfft(found)) * 2 / len(found)
    assert tones.argmax() == 440 // 4
    assert abs(tones.max() - 0.5) < 0.01
    assert np.delete(tones, tones.argmax()).max() < 0.001


@pytest.mark.parametrize("rate", [np.int64(48_000), np.float32(48_000), 48_000.0])
def test_a_rate_may_be_any_kind_of_number(rate: Any) -> None:
    assert len(as_mono((rate, ints(48_000)), RATE)) == RATE // 2


@settings(max_examples=50, deadline=None)
@given(st.integers(1_000, 96_000), st.integers(0, 5_000))
def test_a_clip_lasts_as_long_at_another_rate(rate: int, length: int) -> None:
    found = as_mono((rate, np.zeros(length, np.int16)), RATE)
    assert abs(len(found) - length * RATE / rate) <= 2


@pytest.mark.parametrize("shape", [(0,), (1, 0), (0, 1), (2, 0), (0, 2)])
@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_no_samples_are_no_samples(shape: tuple[int, ...], rate: int) -> None:
    assert as_mono((rate, np.zeros(shape, np.int16)), RATE).shape == (0,)


# Strange values


def test_what_is_over_full_scale_is_clipped() -> None:
    loud = np.array([2.0, -2.0, 1e30, -1e30, np.inf, -np.inf])
    assert np.allclose(as_mono((RATE, loud), RATE), [1, -1] * 3, atol=1e-4)


def test_integers_beyond_16_bits_are_clipped() -> None:
    loud = np.array([40_000, -40_000, 2**31 - 1, -(2**31)])
    assert np.allclose(as_mono((RATE, loud), RATE), [1, -1] * 2, atol=1e-4)


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_what_is_no_number_is_silent(rate: int) -> None:
    # A resampler of 16 bits adds a grain of dither.
    assert np.abs(as_mono((rate, np.full(4_800, np.nan)), RATE)).max() < 1e-4


# What is no audio


@pytest.mark.parametrize(
    ("audio", "error", "says"),
    [
        (np.zeros(100), TypeError, r"expected audio as \(rate, array\), got ndarray"),
        (None, TypeError, r"expected audio as \(rate, array\), got NoneType"),
        ((RATE,), TypeError, r"expected audio as \(rate, array\)"),
        ((RATE, np.zeros(9), 1), TypeError, r"expected audio as \(rate, array\)"),
        (("16000", np.zeros(9)), TypeError, "expected a sample rate in Hz, got '16000'"),
        ((True, np.zeros(9)), TypeError, "expected a sample rate in Hz, got True"),
        ((np.zeros(9), RATE), TypeError, "array where the rate should be"),
        ((0, np.zeros(9)), ValueError, "sample rate of 1000 to 384000 Hz, got 0"),
        ((-RATE, np.zeros(9)), ValueError, "sample rate of 1000 to 384000 Hz, got -16000"),
        ((float("nan"), np.zeros(9)), ValueError, "sample rate of 1000 to 384000 Hz, got nan"),
        ((float("inf"), np.zeros(9)), ValueError, "sample rate of 1000 to 384000 Hz, got inf"),
        ((RATE, None), (TypeError, ValueError), "expected audio of"),
        ((RATE, "hello"), (TypeError, ValueError), "expected audio of"),
        ((RATE, np.zeros((3, 9))), ValueError, r"shape \(n,\), \(1, n\) or \(2, n\), got \(3, 9\)"),
        ((RATE, np.zeros((1, 2, 9))), ValueError, r"got \(1, 2, 9\)"),
        ((RATE, np.float32(0.5)), ValueError, r"got \(\)"),
        ((RATE, np.zeros(9, complex)), TypeError, "integer or float dtype, got complex128"),
        ((RATE, np.zeros(9, bool)), TypeError, "integer or float dtype, got bool"),
        ((RATE, np.array(["a", "b"])), TypeError, "integer or float dtype, got <U1"),
    ],
)
def test_what_is_no_audio_is_said_to_be_none(audio: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        as_mono(audio, RATE)
