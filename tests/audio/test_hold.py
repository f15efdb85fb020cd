"""A playout that is held, and goes on from where it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.audio.playout import Playout
from tests.audio.test_playout import (
    FADE,
    FRAME,
    RATE,
    Pcm,
    after_interruption,
    counted,
    largest_step,
    played,
    sine,
    sound,
)

# Held sound


def held(after: int = 5, channels: int = 1, pcm: Pcm | None = None) -> Playout:
    """A second of sound that was held after some frames, none of which was a fade."""
    playout = Playout(RATE, channels)
    playout.push(sine(RATE) if pcm is None else pcm)
    played(playout, after)
    playout.hold()
    return playout


def is_fade_of(faded: Pcm, original: Pcm) -> bool:
    """Whether each sample is the original's or nearer to silence, on the same side of it."""
    a, b = faded.astype(int), original.astype(int)
    return bool((np.abs(a) <= np.abs(b)).all() and (a * b >= 0).all())


def test_held_sound_falls_silent_within_5_ms() -> None:
    playout = held()
    frame, *silence = played(playout, 4)
    assert frame is not None
    original = sine(RATE)[:, 5 * FRAME : 6 * FRAME]
    assert frame[0, 0] == original[0, 0]
    assert is_fade_of(frame[:, :FADE], original[:, :FADE])
    assert not frame[:, FADE - 1 :].any()
    assert silence == [None] * 3


def test_resumed_sound_goes_on_where_it_was_held_and_rises_within_5_ms() -> None:
    playout = held()
    played(playout, 10)
    playout.resume()
    out, original = sound(playout), sine(RATE)[:, 5 * FRAME :]
    assert out[0, 0] == 0
    assert is_fade_of(out[:, :FADE], original[:, :FADE])
    assert np.array_equal(out[:, FADE:], original[:, FADE:])


def test_a_fade_is_not_silent_all_along() -> None:
    playout = held(pcm=np.full((1, RATE), 8_000, np.int16))
    (falling,) = played(playout, 1)
    playout.resume()
    (rising,) = played(playout, 1)
    assert falling is not None
    assert rising is not None
    assert falling[0, FADE // 2] == pytest.approx(4_000, abs=100)
    assert rising[0, FADE // 2] == pytest.approx(4_000, abs=100)


def test_sound_that_is_held_and_resumed_in_one_tick_is_not_changed() -> None:
    playout = held()
    playout.resume()
    assert np.array_equal(sound(playout), sine(RATE)[:, 5 * FRAME :])


def test_holding_twice_is_holding_once() -> None:
    playout = held()
    played(playout, 2)
    playout.hold()
    assert played(playout, 2) == [None, None]
    playout.resume()
    assert np.array_equal(sound(playout)[:, FADE:], sine(RATE)[:, 5 * FRAME + FADE :])


def test_resuming_what_is_not_held_changes_nothing() -> None:
    playout, pcm = Playout(RATE), counted(3 * FRAME)
    playout.push(pcm)
    playout.resume()
    assert np.array_equal(sound(playout), pcm)


def test_whether_sound_is_held_can_be_asked() -> None:
    playout = held()
    assert playout.held
    playout.resume()
    assert not playout.held
    playout.hold()
    playout.interrupt()
    assert not playout.held


def test_marks_are_not_passed_while_sound_is_held() -> None:
    playout, reached = Playout(RATE), []
    playout.mark(lambda: reached.append("before the sound"))
    playout.push(counted(100))
    playout.mark(lambda: reached.append("behind it"))
    playout.hold()
    played(playout, 5)
    assert not reached
    playout.resume()
    played(playout, 2)
    assert reached == ["before the sound", "behind it"]


def test_what_is_pushed_while_sound_is_held_comes_after_it() -> None:
    playout = held(after=0, pcm=counted(2 * FRAME))
    played(playout, 2)
    playout.push(counted(3 * FRAME)[:, 2 * FRAME :])
    playout.resume()
    assert np.array_equal(sound(playout)[:, FADE:], counted(3 * FRAME)[:, FADE:])


@pytest.mark.parametrize("ticks", [0, 3])
def test_what_is_pushed_into_an_empty_queue_that_is_held_waits_and_rises(ticks: int) -> None:
    playout = Playout(RATE)
    playout.hold()
    playout.push(counted(3 * FRAME))
    assert played(playout, ticks) == [None] * ticks
    playout.resume()
    out = sound(playout)
    assert is_fade_of(out[:, :FADE], counted(FADE))
    assert np.array_equal(out[:, FADE:], counted(3 * FRAME)[:, FADE:])


def test_what_is_pushed_after_nothing_was_held_does_not_rise() -> None:
    playout = Playout(RATE)
    playout.hold()
    played(playout, 2)
    playout.resume()
    playout.push(counted(FRAME))
    assert np.array_equal(sound(playout), counted(FRAME))


def test_heard_does_not_count_the_fade_of_what_is_held() -> None:
    playout = held()
    played(playout, 3)
    assert playout.heard == 5 * FRAME
    assert playout.end == RATE
    assert playout.buffered == (RATE - 5 * FRAME) / RATE


def test_heard_counts_the_sound_that_comes_again_once() -> None:
    playout = held()
    played(playout, 3)
    playout.resume()
    sound(playout)
    assert playout.heard == RATE


@pytest.mark.pitfall(28)
def test_an_interruption_in_the_tick_of_a_hold_is_one_fade() -> None:
    playout = held()
    out = after_interruption(playout)
    original = sine(RATE)[:, 5 * FRAME :]
    assert is_fade_of(out[:, :FADE], original[:, :FADE])
    assert out[0, 0] == original[0, 0]
    assert not out[:, FADE - 1 :].any()


def test_an_interruption_of_what_is_held_gives_no_more_sound() -> None:
    playout = held()
    played(playout, 1)
    playout.interrupt()
    assert playout.idle
    assert played(playout, 3) == [None] * 3


def test_what_is_pushed_after_an_interruption_of_held_sound_does_not_rise() -> None:
    playout = held()
    played(playout, 1)
    playout.interrupt()
    playout.push(counted(3 * FRAME))
    assert np.array_equal(sound(playout), counted(3 * FRAME))


def test_an_interruption_of_what_is_held_drops_the_marks() -> None:
    playout, reached = held(), []
    playout.mark(lambda: reached.append(True))
    playout.interrupt()
    played(playout, 5)
    assert not reached


def test_both_channels_of_stereo_are_held() -> None:
    playout = held(channels=2, pcm=np.full((2, RATE), 8_000, np.int16))
    (frame,) = played(playout, 1)
    assert frame is not None
    assert frame.shape == (2, FRAME)
    assert (np.diff(frame[:, :FADE].astype(int)) < 0).all()
    assert np.array_equal(frame[0], frame[1])


hold_steps = st.lists(
    st.one_of(st.integers(1, 700), st.sampled_from(["tick", "tick", "hold", "resume"])),
    max_size=40,
)


@given(hold_steps)
@settings(deadline=None, max_examples=200)
def test_no_sample_is_lost_or_comes_twice_however_often_the_sound_is_held(
    steps: list[int | str],
) -> None:
    pcm = counted(sum(step for step in steps if isinstance(step, int)))
    playout, pushed, resumed = Playout(RATE), 0, False
    for step in [*steps, "resume", *["tick"] * (pcm.shape[1] // FRAME + 3)]:
        if isinstance(step, int):
            playout.push(pcm[:, pushed : pushed + step])
            pushed += step
        elif step == "hold":
            playout.hold()
        elif step == "resume":
            resumed = resumed or playout.held
            playout.resume()
        else:
            begin, was_held = playout.heard, playout.held
            frame = playout.next_frame()
            if was_held:
                assert playout.heard == begin
            if frame is None:
                assert playout.heard == begin
                continue
            there = pcm[:, begin : begin + FRAME]
            frame, rest = frame[:, : there.shape[1]], frame[:, there.shape[1] :]
            assert is_fade_of(frame[:, :FADE], there[:, :FADE])
            assert not rest.any()
            if was_held:
                assert not frame[:, FADE:].any()
                continue
            there = pcm[:, begin : playout.heard]
            assert np.array_equal(frame[:, FADE : there.shape[1]], there[:, FADE:])
            if not resumed:
                assert np.array_equal(frame[:, : there.shape[1]], there)
            resumed = False
    assert playout.heard == pushed
    assert playout.idle


def heard_while(playout: Playout, doings: list[str]) -> Pcm:
    """What comes out while this is done, one thing a tick."""
    frames = []
    for do in doings:
        if do != "tick":
            getattr(playout, do)()
        frame = playout.next_frame()
        frames.append(np.zeros((1, FRAME), np.int16) if frame is None else frame)
    return np.concatenate([np.zeros((1, 0), np.int16), *frames], axis=1)


LOUDEST_STEP = largest_step(sine(RATE)[:, : RATE // 2]) + 8_000 // FADE + 1


@pytest.mark.pitfall(28)
@given(st.lists(st.sampled_from(["tick", "hold", "resume", "interrupt"]), max_size=30))
@settings(deadline=None, max_examples=100)
def test_nothing_clicks_where_one_thing_is_done_a_tick(doings: list[str]) -> None:
    playout = Playout(RATE)
    playout.push(sine(RATE))
    out = heard_while(playout, doings)
    out = np.concatenate([out, after_interruption(playout)], axis=1)
    assert largest_step(out) <= LOUDEST_STEP


@pytest.mark.parametrize("what", ["hold", "interrupt"])
def test_what_ends_in_the_tick_of_its_resumption_does_not_click(what: str) -> None:
    playout, phase = Playout(RATE), 13
    playout.push(sine(RATE)[:, phase:])
    before = heard_while(playout, ["tick", "hold", "tick"])
    playout.resume()
    out = np.concatenate([before, heard_while(playout, [what, "tick"])], axis=1)
    assert largest_step(out) <= LOUDEST_STEP
