import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc.audio.capture import Capture

chunk_sizes = st.lists(st.integers(0, 40) | st.integers(0, 9_000), max_size=25)
"""More than the smallest ring takes, and less."""
positions = st.integers(-50, 1_200) | st.integers(0, 120_000)


def numbered(
    sizes: list[int], channels: int = 1
) -> tuple[NDArray[np.int16], list[NDArray[np.int16]]]:
    """A stream whose samples are their own numbers, and its chunks."""
    numbers = (np.arange(sum(sizes)) % 30_011).astype(np.int16)
    whole = np.repeat(numbers[None], channels, axis=0)
    return whole, np.split(whole, np.cumsum(sizes)[:-1], axis=1) if sizes else []


@given(chunk_sizes, positions, positions, st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=80)
def test_a_cut_is_the_slice_of_the_whole_stream(
    sizes: list[int], start: int, end: int, channels: int
) -> None:
    whole, chunks = numbered(sizes, channels)
    capture = Capture(channels, longest=1_000_000)
    for chunk in chunks:
        capture.append(chunk)
    assert np.array_equal(capture.cut(start, end), whole[:, max(0, start) : max(0, end)])


@given(chunk_sizes, st.integers(1, 200) | st.integers(1, 60_000), positions, positions)
@settings(deadline=None, max_examples=80)
def test_a_cut_is_the_slice_of_what_is_kept(
    sizes: list[int], longest: int, start: int, end: int
) -> None:
    whole, chunks = numbered(sizes)
    capture = Capture(1, longest)
    for chunk in chunks:
        capture.append(chunk)
    kept = max(capture.start, start)
    assert np.array_equal(capture.cut(start, end), whole[:, kept : max(kept, end)])


@given(chunk_sizes, st.integers(1, 200) | st.integers(1, 60_000))
@settings(deadline=None, max_examples=60)
def test_the_longest_is_kept_and_no_more(sizes: list[int], longest: int) -> None:
    capture = Capture(1, longest)
    for count, chunk in enumerate(numbered(sizes)[1], 1):
        capture.append(chunk)
        assert capture.end == sum(sizes[:count])
        assert capture.end - capture.start == min(longest, capture.end)


@given(chunk_sizes, st.lists(positions, max_size=5))
@settings(deadline=None, max_examples=60)
def test_what_lies_after_a_forgotten_sample_is_still_there(
    sizes: list[int], befores: list[int]
) -> None:
    whole, chunks = numbered(sizes)
    capture = Capture(1, longest=1_000_000)
    for chunk in chunks:
        capture.append(chunk)
    for before in befores:
        capture.forget(before)
    least = max([0, *befores])
    assert np.array_equal(capture.cut(least, 1_000_000), whole[:, least:])


def test_what_lies_before_a_sample_is_forgotten() -> None:
    capture = Capture(1, longest=1_000)
    capture.append(numbered([30])[0])
    capture.forget(19)
    assert capture.start == 19
    capture.forget(5)
    assert capture.start == 19
    capture.forget(100)
    assert (capture.start, capture.end) == (30, 30)


@given(st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, 40_000)), max_size=30))
@settings(deadline=None, max_examples=60)
def test_a_stream_that_is_forgotten_as_it_goes_is_cut_like_any_other(
    steps: list[tuple[int, int]],
) -> None:
    whole, chunks = numbered([size for size, _ in steps])
    capture = Capture(1, longest=1_000_000)
    for chunk, (_, behind) in zip(chunks, steps, strict=True):
        capture.append(chunk)
        capture.forget(capture.end - behind)
        kept = capture.cut(0, capture.end)
        assert np.array_equal(kept, whole[:, capture.start : capture.end])


def test_nothing_comes_out_of_a_cut_of_what_was_forgotten() -> None:
    capture = Capture(2, longest=1_000_000)
    for chunk in numbered([10, 10], channels=2)[1]:
        capture.append(chunk)
    capture.forget(10)
    assert capture.cut(0, 10).shape == (2, 0)


def test_an_empty_capture_cuts_to_nothing_with_all_its_channels() -> None:
    cut = Capture(2, longest=100).cut(0, 50)
    assert cut.shape == (2, 0)
    assert cut.dtype == np.int16


def test_what_is_done_to_a_frame_later_is_not_heard() -> None:
    capture = Capture(1, longest=1_000)
    frame = np.ones((1, 10), np.int16)
    capture.append(frame)
    frame[:] = 2
    assert capture.cut(0, 10).tolist() == [[1] * 10]


@pytest.mark.pitfall(9)
def test_a_long_utterance_is_seldom_copied_and_takes_no_more_than_twice_its_length() -> None:
    frame = np.zeros((1, 960), np.int16)
    capture = Capture(1, longest=60 * 48_000)
    tracemalloc.start()
    grown = 0
    for _ in range(30 * 50):
        before, _ = tracemalloc.get_traced_memory()
        capture.append(frame)
        after, _ = tracemalloc.get_traced_memory()
        grown += after - before > 10_000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 10
    # The old and the new one, at the last time that it grows.
    assert most < 4 * 30 * 48_000 * 2


@pytest.mark.pitfall(9)
def test_its_memory_is_given_back_after_it() -> None:
    capture = Capture(1, longest=60 * 48_000)
    tracemalloc.start()
    capture.append(np.zeros((1, 30 * 48_000), np.int16))
    capture.forget(capture.end - 4_800)
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert left < 1_000_000


@pytest.mark.pitfall(8)
def test_a_stream_that_nobody_cuts_does_not_grow_without_bound() -> None:
    capture = Capture(1, longest=16_000)
    frame = np.zeros((1, 320), np.int16)
    for _ in range(50 * 60 * 10):
        capture.append(frame)
    assert capture.end == 16_000 * 600
    assert capture.end - capture.start == 16_000
