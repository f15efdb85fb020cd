import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc.audio.capture import Capture

chunk_sizes = st.lists(st.integers(0, 40), max_size=25)
positions = st.integers(-50, 1_200)


def numbered(
    sizes: list[int], channels: int = 1
) -> tuple[NDArray[np.int16], list[NDArray[np.int16]]]:
    """A stream whose samples are their own numbers, and its chunks."""
    whole = np.repeat(np.arange(sum(sizes), dtype=np.int16)[None], channels, axis=0)
    return whole, np.split(whole, np.cumsum(sizes)[:-1], axis=1) if sizes else []


@given(chunk_sizes, positions, positions, st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=80)
def test_a_cut_is_the_slice_of_the_whole_stream(
    sizes: list[int], start: int, end: int, channels: int
) -> None:
    whole, chunks = numbered(sizes, channels)
    capture = Capture(channels, longest=10_000)
    for chunk in chunks:
        capture.append(chunk)
    assert np.array_equal(capture.cut(start, end), whole[:, max(0, start) : max(0, end)])


@given(chunk_sizes, st.integers(1, 200), positions, positions)
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


@given(chunk_sizes, st.integers(1, 200))
@settings(deadline=None, max_examples=60)
def test_at_least_the_longest_is_kept_and_at_most_a_chunk_more(
    sizes: list[int], longest: int
) -> None:
    capture = Capture(1, longest)
    for count, chunk in enumerate(numbered(sizes)[1], 1):
        capture.append(chunk)
        kept = capture.end - capture.start
        assert capture.end == sum(sizes[:count])
        assert min(longest, capture.end) <= kept < longest + max(1, *sizes)


@given(chunk_sizes, st.lists(positions, max_size=5))
@settings(deadline=None, max_examples=60)
def test_what_lies_after_a_forgotten_sample_is_still_there(
    sizes: list[int], befores: list[int]
) -> None:
    whole, chunks = numbered(sizes)
    capture = Capture(1, longest=10_000)
    for chunk in chunks:
        capture.append(chunk)
    for before in befores:
        capture.forget(before)
    least = max([0, *befores])
    assert np.array_equal(capture.cut(least, 10_000), whole[:, least:])


def test_whole_chunks_before_a_sample_are_forgotten() -> None:
    capture = Capture(1, longest=10_000)
    for chunk in numbered([10, 10, 10])[1]:
        capture.append(chunk)
    capture.forget(19)
    assert capture.start == 10
    capture.forget(20)
    assert capture.start == 20


def test_nothing_comes_out_of_a_cut_of_what_was_forgotten() -> None:
    capture = Capture(2, longest=10_000)
    for chunk in numbered([10, 10], channels=2)[1]:
        capture.append(chunk)
    capture.forget(10)
    assert capture.cut(0, 10).shape == (2, 0)


def test_an_empty_capture_cuts_to_nothing_with_all_its_channels() -> None:
    cut = Capture(2, longest=100).cut(0, 50)
    assert cut.shape == (2, 0)
    assert cut.dtype == np.int16


@pytest.mark.pitfall(9)
def test_appending_copies_nothing() -> None:
    capture = Capture(1, longest=1_000)
    chunks = [np.zeros((1, 10), np.int16) for _ in range(20)]
    for chunk in chunks:
        capture.append(chunk)
    for number, chunk in enumerate(chunks):
        chunk[:] = number
    assert capture.cut(0, 200).tolist() == [np.repeat(np.arange(20), 10).tolist()]


@pytest.mark.pitfall(8)
def test_a_stream_that_nobody_cuts_does_not_grow_without_bound() -> None:
    capture = Capture(1, longest=16_000)
    frame = np.zeros((1, 320), np.int16)
    for _ in range(50 * 60 * 10):
        capture.append(frame)
    assert capture.end == 16_000 * 600
    assert capture.end - capture.start == 16_000
