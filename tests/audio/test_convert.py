from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, from_dtype
from numpy.typing import DTypeLike, NDArray

from fastrtc.audio.convert import (
    as_channels,
    as_pcm,
    audio_to_float32,
    audio_to_int16,
    with_channels,
)

INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint16, np.uint32, np.uint64]
FLOATS = [np.float16, np.float32, np.float64, np.longdouble]
NOT_AUDIO = [
    np.array([True, False]),
    np.array(["a"]),
    np.array([1j]),
    np.array([None]),
    np.array([b"12"]),
    np.array([(1, 2)], [("a", "i2"), ("b", "i2")]),
    np.array(["2020-01-01"], "datetime64[D]"),
]
any_float = from_dtype(np.dtype(np.float64), allow_subnormal=True)
int16_arrays = arrays(np.int16, array_shapes(max_dims=2, max_side=20))


# audio_to_int16


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_read_as_int16_values_whatever_their_width(dtype: DTypeLike) -> None:
    found = audio_to_int16(np.array([0, 1, 100, 127], dtype))
    assert found.dtype == np.int16
    assert found.tolist() == [0, 1, 100, 127]


@pytest.mark.pitfall(24)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_wide_integers_over_full_scale_are_clipped(dtype: DTypeLike) -> None:
    samples = np.array([40_000, -40_000, 2**31 - 1, -(2**31)], dtype)
    assert audio_to_int16(samples).tolist() == [32767, -32768, 32767, -32768]


@pytest.mark.pitfall(24)
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_unsigned_integers_over_full_scale_are_clipped(dtype: DTypeLike) -> None:
    assert audio_to_int16(np.array([65_535, 32_768], dtype)).tolist() == [32767, 32767]


def test_unsigned_bytes_are_scaled_around_their_middle() -> None:
    samples = np.array([0, 127, 128, 129, 255], np.uint8)
    assert audio_to_int16(samples).tolist() == [-32768, -256, 0, 256, 32512]


@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_are_read_as_full_scale_one(dtype: DTypeLike) -> None:
    found = audio_to_int16(np.array([0, 0.5, -0.5, -1], dtype))
    assert found.dtype == np.int16
    assert found.tolist() == [0, 16384, -16384, -32768]


@pytest.mark.pitfall(24)
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_float_over_full_scale_is_clipped(dtype: DTypeLike) -> None:
    samples = np.array([1, 1.01, 300, -1.01, -300], dtype)
    assert audio_to_int16(samples).tolist() == [32767, 32767, 32767, -32768, -32768]


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_is_silence_and_infinity_is_full_scale(dtype: DTypeLike) -> None:
    samples = np.array([np.nan, np.inf, -np.inf], dtype)
    assert audio_to_int16(samples).tolist() == [0, 32767, -32768]


@pytest.mark.pitfall(24)
@given(arrays(np.float64, 20, elements=any_float))
@settings(deadline=None, max_examples=60)
def test_louder_is_never_turned_into_softer(samples: NDArray[np.float64]) -> None:
    samples = np.sort(samples[~np.isnan(samples)])
    assert (np.diff(audio_to_int16(samples).astype(int)) >= 0).all()


@given(int16_arrays)
@settings(deadline=None, max_examples=60)
def test_int16_survives_the_way_to_float32_and_back(samples: NDArray[np.int16]) -> None:
    assert np.array_equal(audio_to_int16(audio_to_float32(samples)), samples)


@given(arrays(np.int64, array_shapes(max_dims=3, max_side=5)))
@settings(deadline=None, max_examples=40)
def test_the_shape_is_kept(samples: NDArray[np.int64]) -> None:
    assert audio_to_int16(samples).shape == samples.shape
    assert audio_to_float32(samples).shape == samples.shape


def test_int16_is_not_copied() -> None:
    samples = np.array([1, 2], np.int16)
    assert audio_to_int16(samples) is samples


def test_a_pair_with_the_rate_gives_its_samples() -> None:
    assert audio_to_int16((16_000, np.array([[0.5]]))).tolist() == [[16384]]
    assert audio_to_float32((8_000, np.array([[16384]], np.int16))).tolist() == [[0.5]]


def test_a_list_of_numbers_is_taken_for_an_array() -> None:
    assert audio_to_int16([0.5, -1.0]).tolist() == [16384, -32768]


@pytest.mark.parametrize("samples", NOT_AUDIO, ids=lambda a: str(a.dtype))
def test_what_is_no_number_is_refused_with_its_dtype(samples: NDArray[Any]) -> None:
    with pytest.raises(TypeError, match="expected audio of an integer or float dtype, got"):
        audio_to_int16(samples)
    with pytest.raises(TypeError, match="expected audio of an integer or float dtype, got"):
        audio_to_float32(samples)


# audio_to_float32


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_become_float32_within_one(dtype: DTypeLike) -> None:
    info = np.iinfo(np.dtype(dtype))
    found = audio_to_float32(np.array([info.min, 0, info.max], dtype))
    assert found.dtype == np.float32
    assert np.abs(found).max() <= 1


def test_unsigned_bytes_become_float32_around_zero() -> None:
    assert audio_to_float32(np.array([0, 128, 192], np.uint8)).tolist() == [-1, 0, 0.5]


@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_keep_their_values_as_float32(dtype: DTypeLike) -> None:
    found = audio_to_float32(np.array([0.25, -1.5], dtype))
    assert found.dtype == np.float32
    assert found.tolist() == [0.25, -1.5]


# as_channels


@pytest.mark.parametrize("shape", [(6,), (1, 6), (2, 6), (1, 0), (2, 0), (0,)])
def test_samples_are_viewed_as_channels_of_samples(shape: tuple[int, ...]) -> None:
    assert as_channels(np.zeros(shape)).shape == (shape if len(shape) == 2 else (1, *shape))


@pytest.mark.pitfall(26)
def test_stereo_in_two_rows_stays_in_two_rows() -> None:
    stereo = np.array([[1, 2, 3], [4, 5, 6]], np.int16)
    assert as_pcm(16_000, stereo)[1].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert as_pcm(16_000, stereo, "stereo")[1].tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.pitfall(26)
def test_interleaved_stereo_becomes_two_rows_of_half_the_length() -> None:
    interleaved = np.array([1, 4, 2, 5, 3, 6], np.int16)
    assert as_pcm(16_000, interleaved, "stereo")[1].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert as_pcm(16_000, interleaved[None], "stereo")[1].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_interleaved_stereo_of_odd_length_is_refused_with_its_shape() -> None:
    with pytest.raises(ValueError, match=r"even length, got shape \(1, 3\)"):
        as_channels(np.zeros(3), 2)


@pytest.mark.parametrize("shape", [(), (3, 4), (0, 4), (1, 1, 4), (6, 2)])
def test_another_shape_is_refused_with_that_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"expected audio of shape \(n,\), \(1, n\) or \(2, n\)"
    ) as e:
        as_channels(np.zeros(shape))
    assert str(shape) in str(e.value)


# with_channels


def test_stereo_is_mixed_down_to_the_mean_of_both() -> None:
    assert with_channels(np.array([[100, -7], [300, 7]], np.int16), 1).tolist() == [[200, 0]]


@pytest.mark.pitfall(24)
def test_a_mix_of_two_full_scale_channels_does_not_wrap() -> None:
    stereo = np.array([[32767, -32768], [32767, -32768]], np.int16)
    assert with_channels(stereo, 1).tolist() == [[32767, -32768]]


@pytest.mark.pitfall(26)
def test_a_mix_to_mono_is_as_long_as_the_stereo_was() -> None:
    mono = with_channels(np.zeros((2, 480), np.int16), 1)
    assert mono.shape == (1, 480)
    assert mono.dtype == np.int16


def test_mono_is_doubled_to_stereo() -> None:
    assert with_channels(np.array([[1, 2]], np.int16), 2).tolist() == [[1, 2], [1, 2]]


@given(arrays(np.int16, st.tuples(st.just(1), st.integers(0, 50))))
@settings(deadline=None, max_examples=30)
def test_mono_survives_the_way_to_stereo_and_back(mono: NDArray[np.int16]) -> None:
    assert np.array_equal(with_channels(with_channels(mono, 2), 1), mono)


def test_the_right_number_of_channels_is_passed_on_as_it_is() -> None:
    pcm = np.zeros((2, 5), np.int16)
    assert with_channels(pcm, 2) is pcm


# as_pcm


@pytest.mark.parametrize("rate", [16_000, 16_000.0, np.int64(16_000), np.float32(16_000)])
def test_a_rate_of_any_number_type_is_taken(rate: Any) -> None:
    found, _ = as_pcm(rate, np.zeros(4))
    assert found == 16_000
    assert type(found) is int


@pytest.mark.parametrize("rate", [None, "16000", True, np.True_, b"", [], 1j, object])
def test_a_rate_that_is_no_number_is_refused_with_what_came(rate: Any) -> None:
    with pytest.raises(TypeError, match="expected a sample rate in Hz, got"):
        as_pcm(rate, np.zeros(4))


@pytest.mark.parametrize("rate", [0, -1, 999, 384_001, 10**30, float("nan"), float("inf")])
def test_a_rate_out_of_range_is_refused_with_what_came(rate: float) -> None:
    with pytest.raises(ValueError, match=f"1000 to 384000 Hz, got {rate}".replace("+", r"\+")):
        as_pcm(rate, np.zeros(4))


@pytest.mark.parametrize("layout", ["5.1", "", None, 2, "x" * 10_000])
def test_an_unknown_layout_is_refused_in_a_short_text(layout: Any) -> None:
    with pytest.raises(ValueError, match='expected the layout "mono" or "stereo", got') as e:
        as_pcm(16_000, np.zeros(4), layout)
    assert len(str(e.value)) < 200


@pytest.mark.parametrize("samples", [[0.0, 0.1], b"\0\0", "text", None, 7])
def test_samples_that_are_no_array_are_refused_with_their_type(samples: Any) -> None:
    with pytest.raises(TypeError, match=f"a numpy array of samples, got {type(samples).__name__}"):
        as_pcm(16_000, samples)


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=10),
    st.binary(max_size=10),
    st.sampled_from([16_000, 8_000]),
)
any_samples = st.one_of(
    anything,
    arrays(
        st.sampled_from(["f2", "f4", "f8", "i1", "i2", "i8", "u1", "u8", "?", "c8", "U2", "S2"]),
        array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
)


@given(anything, any_samples, st.one_of(anything, st.sampled_from(["mono", "stereo"])))
@settings(deadline=None, max_examples=150)
def test_whatever_is_given_comes_out_as_int16_or_is_refused(
    rate: Any, samples: Any, layout: Any
) -> None:
    try:
        found, pcm = as_pcm(rate, samples, layout)
    except (TypeError, ValueError):
        return
    assert found == int(rate)
    assert pcm.dtype == np.int16
    assert pcm.ndim == 2
    assert pcm.shape[0] in (1, 2)
