import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any

import pytest

from fastrtc.clock import CATCH_UP, TICK, WATCHED, FrameClock
from fastrtc.testing.loop import VirtualLoop
from fastrtc.threads import Workers


class Loop(VirtualLoop):
    """Counts the timers that are set."""

    timers = 0

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(when, callback, *args, context=context)

    def run(self, seconds: float) -> None:
        """Let virtual time pass, and half a tick more than that never."""
        self.run_until_complete(asyncio.sleep(seconds))


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop(Workers())
    yield loop
    loop.close()


@pytest.fixture
def clock(loop: Loop) -> FrameClock:
    return FrameClock.of(loop)


class Listener:
    """Notes when it was called."""

    def __init__(self, loop: Loop, clock: FrameClock) -> None:
        self.times: list[float] = []
        self._loop = loop
        self.stop = clock.add(self._tick)

    def _tick(self) -> None:
        self.times.append(self._loop.time())


def stall(loop: Loop, seconds: float) -> None:
    """Something blocks the loop for so long."""

    def block() -> None:
        loop.now += seconds

    loop.call_soon(block)


HALF = TICK / 2


@pytest.mark.pitfall(14, 27)
def test_there_are_50_ticks_a_second(loop: Loop, clock: FrameClock) -> None:
    listener = Listener(loop, clock)
    for second in range(1, 11):
        loop.run(1.0 if second > 1 else 1.0 + HALF)
        assert len(listener.times) == 50 * second


@pytest.mark.pitfall(27)
def test_the_ticks_do_not_drift_in_a_minute(loop: Loop, clock: FrameClock) -> None:
    listener = Listener(loop, clock)
    loop.run(60 + HALF)
    assert len(listener.times) == 3_000
    expected = [number * TICK for number in range(1, 3_001)]
    assert max(abs(a - b) for a, b in zip(listener.times, expected, strict=True)) < 1e-6


def test_the_first_tick_comes_after_20_ms(loop: Loop, clock: FrameClock) -> None:
    loop.run(0.123)
    listener = Listener(loop, clock)
    loop.run(0.030)
    assert listener.times == pytest.approx([0.143])


def test_all_listeners_hear_the_same_ticks(loop: Loop, clock: FrameClock) -> None:
    first = Listener(loop, clock)
    loop.run(0.105)
    second = Listener(loop, clock)
    loop.run(0.1)
    assert second.times == first.times[5:]
    assert len(second.times) == 5


@pytest.mark.pitfall(14)
def test_any_number_of_listeners_need_one_timer_a_tick(loop: Loop, clock: FrameClock) -> None:
    for _ in range(100):
        Listener(loop, clock)
    before = loop.timers
    loop.run(1.0 + HALF)
    assert loop.timers - before <= 50 + 1


# Late ticks


@pytest.mark.pitfall(27)
@pytest.mark.parametrize("late", [0.021, 0.05, 0.1, 0.199])
def test_late_ticks_are_made_up_for(late: float, loop: Loop, clock: FrameClock) -> None:
    listener = Listener(loop, clock)
    loop.run(0.5 + HALF)
    stall(loop, late)
    loop.run(0.5)
    assert len(listener.times) == 25 + int((0.5 + HALF + late) / TICK + 1e-6)
    assert clock.skipped == 0


@pytest.mark.pitfall(27)
def test_after_a_stall_the_ticks_are_on_their_old_schedule(loop: Loop, clock: FrameClock) -> None:
    listener = Listener(loop, clock)
    loop.run(0.1 + HALF)
    stall(loop, 0.055)
    loop.run(0.5)
    last = listener.times[-1] / TICK
    assert last == pytest.approx(round(last))


def test_ticks_beyond_the_catch_up_are_skipped_and_counted(
    loop: Loop, clock: FrameClock, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener(loop, clock)
    loop.run(0.1 + HALF)
    stall(loop, 2.0)
    loop.run(0.005)
    assert len(listener.times) == 5 + CATCH_UP + 1
    assert clock.skipped + len(listener.times) == round(loop.time() // TICK)
    assert "The event loop stalled" in caplog.text


def test_after_a_long_stall_there_are_50_ticks_a_second_again(
    loop: Loop, clock: FrameClock
) -> None:
    listener = Listener(loop, clock)
    stall(loop, 5.0)
    loop.run(0.005)
    before = len(listener.times)
    loop.run(1.0)
    assert len(listener.times) - before == 50


def test_a_clock_says_how_late_its_last_tick_was_and_the_next_one_is(
    loop: Loop, clock: FrameClock
) -> None:
    listener = Listener(loop, clock)
    loop.run(0.1 + HALF)
    assert clock.lateness == pytest.approx(0)
    assert clock.overdue == 0
    loop.now += 0.5
    assert clock.overdue == pytest.approx(0.5 - HALF)
    loop.run(HALF / 2)
    assert clock.lateness == pytest.approx(0.5 - HALF)
    listener.stop()
    assert (clock.lateness, clock.overdue) == (0, 0)


# Listeners


@pytest.mark.pitfall(16)
def test_a_listener_that_fails_does_not_stop_the_others(
    loop: Loop, clock: FrameClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("one bad call")

    first = Listener(loop, clock)
    clock.add(fail)
    last = Listener(loop, clock)
    loop.run(0.1 + HALF)
    assert len(first.times) == len(last.times) == 5
    assert caplog.text.count("ValueError: one bad call") == 5


def test_a_listener_that_was_removed_is_not_called_again(loop: Loop, clock: FrameClock) -> None:
    first, second = Listener(loop, clock), Listener(loop, clock)
    loop.run(0.1 + HALF)
    first.stop()
    loop.run(0.1)
    assert (len(first.times), len(second.times)) == (5, 10)


def test_a_listener_that_is_removed_at_a_tick_is_not_called_in_it(
    loop: Loop, clock: FrameClock
) -> None:
    stops: list[Callable[[], None]] = []
    clock.add(lambda: stops[0]())
    victim = Listener(loop, clock)
    stops.append(victim.stop)
    loop.run(0.1)
    assert victim.times == []


def test_a_listener_may_leave_at_a_tick(loop: Loop, clock: FrameClock) -> None:
    ticks: list[float] = []
    stops: list[Callable[[], None]] = []

    def once() -> None:
        ticks.append(loop.time())
        stops[0]()

    stops.append(clock.add(once))
    other = Listener(loop, clock)
    loop.run(0.1 + HALF)
    assert len(ticks) == 1
    assert len(other.times) == 5


def test_one_who_leaves_in_the_middle_of_a_catch_up_is_not_called_again(
    loop: Loop, clock: FrameClock
) -> None:
    ticks: list[float] = []
    stops: list[Callable[[], None]] = []

    def once() -> None:
        ticks.append(loop.time())
        stops[0]()

    stops.append(clock.add(once))
    Listener(loop, clock)
    stall(loop, 0.1)
    loop.run(0.1)
    assert len(ticks) == 1


@pytest.mark.pitfall(14)
def test_the_last_to_leave_and_the_next_to_come_at_one_tick_make_one_clock(
    loop: Loop, clock: FrameClock
) -> None:
    stops: list[Callable[[], None]] = []
    listeners: list[Listener] = []

    def change() -> None:
        stops[0]()
        listeners.append(Listener(loop, clock))

    stops.append(clock.add(change))
    loop.run(TICK + HALF)
    loop.run(1.0)
    assert len(listeners[0].times) == 50


def test_leaving_twice_takes_nobody_else_along(loop: Loop, clock: FrameClock) -> None:
    first, second = Listener(loop, clock), Listener(loop, clock)
    first.stop()
    first.stop()
    loop.run(0.1 + HALF)
    assert len(second.times) == 5


@pytest.mark.pitfall(14)
def test_without_listeners_no_timer_runs(loop: Loop, clock: FrameClock) -> None:
    listener = Listener(loop, clock)
    loop.run(0.1 + HALF)
    listener.stop()
    before = loop.timers
    loop.run(60.0)
    # The one is that of the wait itself.
    assert loop.timers - before == 1


def test_the_clock_goes_again_when_a_new_listener_comes(loop: Loop, clock: FrameClock) -> None:
    Listener(loop, clock).stop()
    loop.run(10.0)
    listener = Listener(loop, clock)
    loop.run(0.1 + HALF)
    assert len(listener.times) == 5
    assert clock.skipped == 0


# Loops


def test_a_loop_has_one_clock_of_its_own(loop: Loop, clock: FrameClock) -> None:
    other = Loop(Workers())
    assert FrameClock.of(loop) is clock
    assert FrameClock.of(other) is not clock
    other.close()


@pytest.mark.pitfall(35)
def test_a_loop_that_is_over_is_not_kept() -> None:
    loop = Loop(Workers())
    listener = Listener(loop, FrameClock.of(loop))
    loop.run(0.1)
    listener.stop()
    loop.close()
    gone = weakref.ref(loop)
    del loop, listener
    gc.collect()
    assert gone() is None


# Whether the loop keeps up


def strain(loop: Loop, clock: FrameClock, seconds: float, ticks: int) -> None:
    """Somebody needs so long at every tick."""
    busy = clock.add(lambda: stall(loop, seconds))
    loop.run(ticks * max(TICK, seconds))
    busy()


def test_a_loop_that_is_late_all_the_time_is_overloaded(loop: Loop, clock: FrameClock) -> None:
    Listener(loop, clock)
    strain(loop, clock, 3 * TICK, WATCHED)
    assert clock.overloaded


def test_a_loop_that_keeps_up_is_not_overloaded(loop: Loop, clock: FrameClock) -> None:
    Listener(loop, clock)
    strain(loop, clock, 0.8 * TICK, 2 * WATCHED)
    assert not clock.overloaded


def test_a_single_stall_is_no_overload(loop: Loop, clock: FrameClock) -> None:
    Listener(loop, clock)
    loop.run(1)
    stall(loop, 10)
    loop.run(1)
    assert not clock.overloaded


def test_an_overload_is_over_when_the_loop_keeps_up_again(loop: Loop, clock: FrameClock) -> None:
    Listener(loop, clock)
    strain(loop, clock, 3 * TICK, WATCHED)
    loop.run(5.1)
    assert not clock.overloaded


def test_who_has_gone_leaves_no_overload_behind(loop: Loop, clock: FrameClock) -> None:
    listener = Listener(loop, clock)
    strain(loop, clock, 3 * TICK, WATCHED)
    listener.stop()
    Listener(loop, clock)
    assert not clock.overloaded


def test_stalls_are_said_once_in_ten_seconds(
    loop: Loop, clock: FrameClock, caplog: pytest.LogCaptureFixture
) -> None:
    Listener(loop, clock)
    for _ in range(5):
        stall(loop, 1)
        loop.run(0.5)
    assert len([r for r in caplog.records if "stalled" in r.message]) == 1
    loop.run(5)
    stall(loop, 1)
    loop.run(0.5)
    assert len([r for r in caplog.records if "stalled" in r.message]) == 2
