from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc.audio.playout import FADE_SECONDS, Mark, Playout
from tests.conftest import tone

RATE = 24_000
FRAME = RATE // 50
FADE = round(RATE * FADE_SECONDS)

Pcm = NDArray[np.int16]


def counted(length: int, channels: int = 1) -> Pcm:
    """Samples that are all different, and none of them silent."""
    return np.repeat(np.arange(1, length + 1, dtype=np.int16)[None], channels, axis=0)


def played(playout: Playout, ticks: int) -> list[Pcm | None]:
    return [playout.next_frame() for _ in range(ticks)]


def sound(playout: Playout) -> Pcm:
    """All that is still to be heard, joined."""
    frames = []
    while not playout.idle:
        frame = playout.next_frame()
        if frame is not None:
            frames.append(frame)
    empty = np.zeros((playout.channels, 0), np.int16)
    return np.concatenate([empty, *frames], axis=1)


def push_all(playout: Playout, pcm: Pcm, sizes: list[int]) -> None:
    for part in np.split(pcm, np.cumsum(sizes)[:-1], axis=1):
        playout.push(part)


# Frames


def test_an_empty_queue_gives_silence_and_counts_nothing() -> None:
    playout = Playout(RATE)
    assert played(playout, 5) == [None] * 5
    assert playout.heard == 0
    assert playout.idle


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_a_frame_is_20_ms(rate: int) -> None:
    playout = Playout(rate, channels=2)
    playout.push(counted(rate // 10, channels=2))
    frame = playout.next_frame()
    assert frame is not None
    assert frame.shape == (2, rate // 50)


@given(st.lists(st.integers(0, 1_200), min_size=1, max_size=20), st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=80)
@pytest.mark.pitfall(27)
def test_chunks_of_any_sizes_are_played_without_a_gap(sizes: list[int], channels: int) -> None:
    playout, pcm = Playout(RATE, channels), counted(sum(sizes), channels)
    push_all(playout, pcm, sizes)
    out = sound(playout)
    assert np.array_equal(out[:, : pcm.shape[1]], pcm)
    assert not out[:, pcm.shape[1] :].any()
    assert out.shape[1] - pcm.shape[1] < FRAME


@given(st.integers(1, FRAME))
@settings(deadline=None, max_examples=50)
@pytest.mark.pitfall(27)
def test_a_live_source_of_odd_chunks_has_no_gap_after_its_first_tick(size: int) -> None:
    playout, pcm, given_out = Playout(RATE), counted(30 * FRAME), 0
    frames: list[Pcm | None] = []
    for tick in range(1, 31):
        while given_out + size <= tick * FRAME:
            playout.push(pcm[:, given_out : given_out + size])
            given_out += size
        frames.append(playout.next_frame())
    heard = [frame for frame in frames[1:] if frame is not None]
    assert len(heard) == len(frames) - 1
    out = np.concatenate(heard if frames[0] is None else [frames[0], *heard], axis=1)
    assert np.array_equal(out, pcm[:, : out.shape[1]])


def test_less_than_a_frame_waits_one_tick_for_its_rest() -> None:
    playout = Playout(RATE)
    playout.push(counted(100))
    assert playout.next_frame() is None
    playout.push(counted(FRAME))
    frame = playout.next_frame()
    assert frame is not None
    assert frame[0].tolist() == [*range(1, 101), *range(1, FRAME - 99)]


def test_a_second_rest_waits_as_the_first_did() -> None:
    playout = Playout(RATE)
    playout.push(counted(100))
    played(playout, 1)
    playout.push(counted(FRAME))
    played(playout, 1)
    assert playout.next_frame() is None
    assert playout.buffered == 100 / RATE


def test_a_short_tail_whose_rest_does_not_come_is_padded_after_one_tick() -> None:
    playout = Playout(RATE)
    playout.push(counted(100))
    first, second, third = played(playout, 3)
    assert first is None
    assert second is not None
    assert second[0].tolist() == [*range(1, 101), *[0] * (FRAME - 100)]
    assert third is None


def test_a_short_tail_before_a_mark_is_padded_at_once() -> None:
    playout = Playout(RATE)
    playout.push(counted(100))
    playout.mark(lambda: None)
    assert playout.next_frame() is not None


@pytest.mark.pitfall(28)
def test_a_short_chunk_waits_for_its_rest_after_an_interruption_of_nothing() -> None:
    playout = Playout(RATE)
    playout.interrupt()
    playout.push(counted(100))
    assert playout.next_frame() is None


def test_the_frames_that_come_out_are_not_the_callers_memory() -> None:
    playout, pcm = Playout(RATE), counted(FRAME)
    playout.push(pcm)
    frame = playout.next_frame()
    assert frame is not None
    assert not np.shares_memory(frame, pcm)


def test_an_empty_chunk_is_not_queued() -> None:
    playout = Playout(RATE)
    playout.push(counted(0))
    assert playout.idle


# What is heard, and what waits


def test_heard_counts_sound_and_not_the_silence_around_it() -> None:
    playout = Playout(RATE)
    played(playout, 3)
    playout.push(counted(2 * FRAME + 7))
    played(playout, 10)
    assert playout.heard == 2 * FRAME + 7


@given(st.lists(st.integers(0, 1_200), max_size=20), st.integers(0, 60))
@settings(deadline=None, max_examples=60)
def test_what_was_heard_and_what_waits_add_up_to_what_was_pushed(
    sizes: list[int], ticks: int
) -> None:
    playout = Playout(RATE)
    push_all(playout, counted(sum(sizes)), sizes or [0])
    played(playout, ticks)
    assert playout.heard + round(playout.buffered * RATE) == sum(sizes)


def test_buffered_is_in_seconds() -> None:
    playout = Playout(8_000)
    playout.push(counted(4_000))
    assert playout.buffered == 0.5


# Marks

queue_steps = st.lists(
    st.one_of(st.integers(1, 1_200), st.just("mark"), st.just("tick")), max_size=30
)


@given(queue_steps)
@settings(deadline=None, max_examples=100)
def test_a_mark_is_reached_when_exactly_the_sound_before_it_has_gone_out(
    steps: list[int | str],
) -> None:
    playout, pushed = Playout(RATE), 0
    due: list[int] = []
    reached: list[int] = []
    for step in steps:
        if isinstance(step, int):
            playout.push(counted(step))
            pushed += step
        elif step == "mark":
            due.append(pushed)
            playout.mark(lambda: reached.append(playout.heard))
        else:
            playout.next_frame()
    sound(playout)
    assert reached == due


@given(queue_steps)
@settings(deadline=None, max_examples=60)
def test_marks_make_no_gap_in_the_sound(steps: list[int | str]) -> None:
    playout, sizes = Playout(RATE), [step for step in steps if isinstance(step, int)]
    pcm, pushed = counted(sum(sizes)), 0
    for step in steps:
        if isinstance(step, int):
            playout.push(pcm[:, pushed : pushed + step])
            pushed += step
        elif step == "mark":
            playout.mark(lambda: None)
    assert np.array_equal(sound(playout)[:, :pushed], pcm)


def test_a_mark_is_not_reached_before_its_last_frame_goes_out() -> None:
    playout = Playout(RATE)
    reached: list[bool] = []
    playout.push(counted(3 * FRAME))
    playout.mark(lambda: reached.append(True))
    played(playout, 2)
    assert not reached
    played(playout, 2)
    assert reached == [True]


def test_a_mark_in_an_empty_queue_is_reached_at_the_next_tick() -> None:
    playout = Playout(RATE)
    reached: list[bool] = []
    playout.mark(lambda: reached.append(True))
    assert not reached
    assert not playout.idle
    assert playout.next_frame() is None
    assert reached == [True]
    assert playout.idle


def test_sound_that_a_mark_brings_follows_in_the_same_frame() -> None:
    playout = Playout(RATE)
    playout.push(counted(100))
    playout.mark(lambda: playout.push(counted(FRAME)))
    frame = playout.next_frame()
    assert frame is not None
    assert frame[0].tolist() == [*range(1, 101), *range(1, FRAME - 99)]


def test_a_mark_that_interrupts_leaves_a_sound_queue() -> None:
    playout = Playout(RATE)
    playout.push(counted(100))
    playout.mark(playout.interrupt)
    playout.push(counted(5 * FRAME))
    played(playout, 3)
    assert playout.idle
    assert playout.buffered == 0
    assert playout.heard == 100 + FADE


# Interruption


def sine(length: int) -> Pcm:
    return tone(length / RATE, RATE)[1]


def largest_step(pcm: Pcm) -> int:
    return int(np.abs(np.diff(pcm[0].astype(int), append=0)).max())


def after_interruption(playout: Playout, ticks: int = 3) -> Pcm:
    playout.interrupt()
    return sound(playout)[:, : ticks * FRAME]


@pytest.mark.pitfall(28)
def test_an_interruption_lets_out_at_most_5_ms() -> None:
    playout = Playout(RATE)
    playout.push(sine(RATE))
    played(playout, 7)
    out = after_interruption(playout)
    assert np.flatnonzero(out[0]).max() < 0.005 * RATE


@pytest.mark.pitfall(28)
@given(st.integers(0, 20), st.lists(st.integers(1, 700), min_size=1, max_size=40))
@settings(deadline=None, max_examples=100)
def test_no_step_at_an_interruption_is_larger_than_the_sounds_own(
    ticks: int, sizes: list[int]
) -> None:
    # The cut may fall anywhere in a chunk, also just before its end.
    sizes = [*sizes, 30 * FRAME]
    playout, pcm = Playout(RATE), sine(sum(sizes))
    push_all(playout, pcm, sizes)
    before = [frame for frame in played(playout, ticks) if frame is not None]
    out = np.concatenate([*before, after_interruption(playout)], axis=1)
    assert largest_step(out) <= largest_step(pcm[:, : RATE // 2]) + 8_000 // FADE + 1


@pytest.mark.pitfall(28)
def test_the_fade_goes_on_where_the_sound_was_cut() -> None:
    playout, pcm = Playout(RATE), sine(RATE)
    playout.push(pcm)
    played(playout, 5)
    out = after_interruption(playout)[0, :FADE].astype(float)
    original = pcm[0, 5 * FRAME : 5 * FRAME + FADE].astype(float)
    assert np.abs(out).max() <= np.abs(original).max()
    assert out[0] == original[0]
    assert np.abs(out[FADE // 2 :]).max() < 0.55 * np.abs(original).max()
    assert out[-1] == 0


def test_an_interruption_drops_the_marks() -> None:
    playout = Playout(RATE)
    reached: list[bool] = []
    reach: Callable[[], None] = lambda: reached.append(True)  # noqa: E731
    playout.mark(reach)
    playout.push(counted(10 * FRAME))
    playout.mark(reach)
    playout.interrupt()
    played(playout, 20)
    assert not reached


@pytest.mark.pitfall(6)
def test_nothing_is_left_after_an_interruption_and_its_fade() -> None:
    playout = Playout(RATE)
    playout.push(counted(10 * RATE // 20))
    playout.interrupt()
    assert playout.buffered <= FADE_SECONDS
    assert playout.next_frame() is not None
    assert playout.idle
    assert played(playout, 3) == [None] * 3


def test_an_interruption_of_nothing_gives_no_sound() -> None:
    playout = Playout(RATE)
    playout.interrupt()
    assert played(playout, 3) == [None] * 3


def test_a_second_interruption_does_not_lengthen_the_first() -> None:
    playout = Playout(RATE)
    playout.push(sine(RATE))
    playout.next_frame()
    playout.interrupt()
    assert after_interruption(playout).shape[1] <= FRAME
    assert playout.heard <= FRAME + FADE


def test_what_is_pushed_after_an_interruption_is_played_in_full() -> None:
    playout, pcm = Playout(RATE), counted(3 * FRAME)
    playout.push(sine(RATE))
    playout.next_frame()
    playout.interrupt()
    playout.push(pcm)
    out = sound(playout)
    assert np.array_equal(out[:, FADE : FADE + 3 * FRAME], pcm)


@pytest.mark.pitfall(28)
def test_both_channels_of_stereo_are_faded() -> None:
    playout = Playout(RATE, channels=2)
    playout.push(np.full((2, RATE), 8_000, np.int16))
    out = after_interruption(playout)
    assert out.shape[0] == 2
    assert not out[:, FADE:].any()
    assert (np.diff(out[:, :FADE].astype(int)) <= 0).all()


# A far side that drops what it was sent


def dropped_after(frames: int, dropped: int, length: int = RATE) -> tuple[Playout, Pcm]:
    """Sound of which some frames went out, and the last of these were not heard."""
    playout, pcm = Playout(RATE), counted(length)
    playout.push(pcm)
    gone = [frame for frame in played(playout, frames) if frame is not None]
    playout.hold(fade=False)
    playout.put_back(gone[frames - dropped :])
    return playout, pcm


def test_what_is_put_back_comes_again_before_all_that_waits() -> None:
    playout, pcm = Playout(RATE), counted(5 * FRAME)
    playout.push(pcm)
    gone = [frame for frame in played(playout, 3) if frame is not None]
    playout.put_back(gone[1:])
    assert np.array_equal(sound(playout), pcm[:, FRAME:])


def test_what_is_put_back_waits_and_was_not_heard() -> None:
    playout, _ = dropped_after(frames=5, dropped=2)
    assert playout.heard == 3 * FRAME
    assert playout.buffered == (RATE - 3 * FRAME) / RATE
    assert playout.end == RATE


def test_marks_that_are_put_back_are_reached_at_their_place() -> None:
    playout, reached = Playout(RATE), []
    playout.push(counted(5 * FRAME))
    first, second, third = (frame for frame in played(playout, 3) if frame is not None)
    mark = Mark(lambda: reached.append(playout.heard))
    playout.put_back([mark, first, second, mark, third, mark])
    sound(playout)
    assert reached == [0, 2 * FRAME, 3 * FRAME]


def test_nothing_that_is_put_back_changes_nothing() -> None:
    playout, pcm = Playout(RATE), counted(2 * FRAME)
    playout.push(pcm)
    playout.put_back([])
    assert playout.heard == 0
    assert np.array_equal(sound(playout), pcm)


def test_what_is_put_back_into_an_empty_queue_comes_again() -> None:
    playout, pcm = Playout(RATE), counted(FRAME)
    playout.push(pcm)
    gone = playout.next_frame()
    assert gone is not None
    playout.put_back([gone])
    assert not playout.idle
    assert np.array_equal(sound(playout), pcm)


def test_sound_that_was_broken_off_falls_silent_at_once() -> None:
    playout, _ = dropped_after(frames=5, dropped=2)
    assert playout.held
    assert played(playout, 3) == [None] * 3


@pytest.mark.parametrize("ticks", [0, 3])
def test_sound_that_was_broken_off_rises_from_where_it_was_dropped(ticks: int) -> None:
    playout, pcm = dropped_after(frames=5, dropped=2)
    played(playout, ticks)
    playout.resume()
    out, there = sound(playout), pcm[:, 3 * FRAME :]
    assert out[0, 0] == 0
    assert (out[:, :FADE] <= there[:, :FADE]).all()
    assert np.array_equal(out[:, FADE:], there[:, FADE:])


def test_sound_that_was_broken_off_counts_once_as_heard() -> None:
    playout, _ = dropped_after(frames=5, dropped=2)
    playout.resume()
    sound(playout)
    assert playout.heard == RATE


def test_an_interruption_without_a_fade_lets_nothing_out() -> None:
    playout = Playout(RATE)
    playout.push(sine(RATE))
    played(playout, 3)
    playout.interrupt(fade=False)
    assert playout.idle
    assert played(playout, 3) == [None] * 3
    assert playout.heard == 3 * FRAME


@pytest.mark.parametrize("held_with_a_fade", [True, False])
def test_an_interruption_without_a_fade_of_what_is_held_lets_nothing_out(
    held_with_a_fade: bool,
) -> None:
    playout = Playout(RATE)
    playout.push(sine(RATE))
    played(playout, 3)
    playout.hold(fade=held_with_a_fade)
    playout.interrupt(fade=False)
    assert played(playout, 3) == [None] * 3
    assert not playout.held


def test_an_interruption_of_what_was_broken_off_lets_nothing_out() -> None:
    playout, _ = dropped_after(frames=5, dropped=2)
    playout.interrupt()
    assert played(playout, 3) == [None] * 3
    assert playout.heard == 3 * FRAME


def test_what_follows_an_interruption_without_a_fade_begins_at_its_full_level() -> None:
    playout, pcm = Playout(RATE), counted(2 * FRAME)
    playout.push(sine(RATE))
    played(playout, 3)
    playout.interrupt(fade=False)
    playout.push(pcm)
    assert np.array_equal(sound(playout), pcm)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
@settings(deadline=None, max_examples=60)
def test_however_often_sound_is_dropped_and_put_back_none_is_lost(
    rounds: list[tuple[int, int]],
) -> None:
    playout, pcm = Playout(RATE), counted(40 * FRAME)
    playout.push(pcm)
    gone: list[Pcm] = []
    for frames, dropped in rounds:
        gone += [frame for frame in played(playout, frames) if frame is not None]
        kept = max(0, len(gone) - dropped)
        playout.put_back(gone[kept:])
        del gone[kept:]
        assert playout.heard == len(gone) * FRAME
        assert playout.end == 40 * FRAME
    assert np.array_equal(np.concatenate([*gone, sound(playout)], axis=1), pcm)
