"""A tier that fails is left alone for a while."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fastrtc.cluster.model_breaker import REST, Breaker


def test_a_tier_that_answers_is_always_asked() -> None:
    breaker = Breaker()
    assert breaker.may_ask(0)
    assert not breaker.answered()
    assert breaker.may_ask(0)


def test_a_tier_that_failed_is_not_asked_for_a_while() -> None:
    breaker = Breaker()
    assert breaker.failed(10)
    assert not breaker.may_ask(10)
    assert not breaker.may_ask(10 + REST - 0.001)


def test_then_one_caller_tries_and_the_others_do_not() -> None:
    breaker = Breaker()
    breaker.failed(10)
    assert breaker.may_ask(10 + REST)
    assert not breaker.may_ask(10 + REST)
    assert not breaker.may_ask(10 + 2 * REST)


def test_an_answer_ends_the_outage_for_all() -> None:
    breaker = Breaker()
    breaker.failed(10)
    assert breaker.may_ask(10 + REST)
    assert breaker.answered()
    assert breaker.may_ask(10 + REST)
    assert breaker.may_ask(10 + REST)


def test_one_more_failure_is_the_same_outage_and_another_rest() -> None:
    breaker = Breaker()
    assert breaker.failed(10)
    assert breaker.may_ask(10 + REST)
    assert not breaker.failed(11 + REST)
    assert not breaker.may_ask(10.9 + 2 * REST)
    assert breaker.may_ask(11 + 2 * REST)


def test_who_goes_before_the_answer_leaves_the_trial_to_the_next() -> None:
    breaker = Breaker()
    breaker.failed(10)
    assert breaker.may_ask(10 + REST)
    breaker.left()
    assert breaker.may_ask(10 + REST)


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=50))
def test_between_two_failures_at_least_a_rest_passes(steps: list[tuple[float, bool]]) -> None:
    breaker, now, failures = Breaker(), 0.0, list[float]()
    for wait, works in steps:
        now += wait
        if breaker.may_ask(now):
            if works:
                breaker.answered()
                failures.clear()
            else:
                breaker.failed(now)
                failures.append(now)
    assert all(b - a >= REST for a, b in pairwise(failures))
