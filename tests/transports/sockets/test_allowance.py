import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.transports.sockets.allowance import BURST, MESSAGES, SOUND, Allowance

RATE = 100.0

visits = st.lists(st.tuples(st.floats(0, 400), st.floats(0, 20)), min_size=1, max_size=50)
"""How much comes in, and how many seconds after what came before."""


@pytest.mark.parametrize("now", [0.0, 5.0, 1e9])
def test_a_burst_may_come_at_once_when_the_call_begins(now: float) -> None:
    allowance = Allowance(RATE)
    assert allowance.take(RATE * BURST, now) == 0
    assert allowance.take(1, now) == pytest.approx(1 / RATE)


def test_what_comes_at_the_rate_never_waits() -> None:
    allowance = Allowance(RATE)
    assert not any(allowance.take(RATE / 50, tick / 50) for tick in range(50 * 60))


def test_what_is_too_much_waits_until_time_has_made_up_for_it() -> None:
    allowance = Allowance(RATE)
    wait = allowance.take(RATE * (BURST + 2), 0)
    assert wait == pytest.approx(2)
    assert allowance.take(0, 1.9) > 0
    assert allowance.take(0, 2.1) == 0


def test_silence_saves_up_one_burst_and_no_more() -> None:
    allowance = Allowance(RATE)
    allowance.take(RATE * BURST, 0)
    assert allowance.take(RATE * BURST, 3_600) == 0
    assert allowance.take(1, 3_600) > 0


@given(visits)
@settings(deadline=None, max_examples=80)
def test_who_waits_as_told_gets_no_more_than_the_rate_and_one_burst(
    visits: list[tuple[float, float]],
) -> None:
    allowance, now, taken = Allowance(RATE), 1_000.0, 0.0
    for amount, pause in visits:
        now += pause
        wait = allowance.take(amount, now)
        taken += amount
        assert wait >= 0
        now += wait
        assert taken <= RATE * (BURST + now - 1_000.0) * (1 + 1e-9) + 1e-6


@given(visits)
@settings(deadline=None, max_examples=100)
def test_nobody_waits_longer_than_what_came_in_takes(visits: list[tuple[float, float]]) -> None:
    allowance, now = Allowance(RATE), 1_000.0
    for amount, pause in visits:
        now += pause
        wait = allowance.take(amount, now)
        assert wait <= amount / RATE + 1e-9
        now += wait


def test_a_page_that_sends_each_128_samples_may_go_on_for_ever() -> None:
    messages, sound = Allowance(MESSAGES), Allowance(SOUND)
    for number in range(375 * 30):
        now = number / 375
        assert messages.take(1, now) == 0
        assert sound.take(128 / 48_000, now) == 0


def test_a_client_may_make_up_for_a_stall_of_five_seconds() -> None:
    sound = Allowance(SOUND)
    for tick in range(500):
        sound.take(0.02, tick * 0.02)
    assert not any(sound.take(0.02, 15.0) for _ in range(250))
