"""How many replicas the live calls need."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fastrtc.cluster.scaling import CALLS, ByCalls, counted, replicas_for


@pytest.mark.parametrize(
    ("calls", "replicas"), [(0, 1), (1, 1), (28, 1), (29, 2), (56, 2), (57, 3)]
)
def test_so_many_replicas_that_their_target_share_holds_the_calls(
    calls: int, replicas: int
) -> None:
    assert replicas_for(calls, 40, 0.7) == replicas


def test_the_calls_of_all_replicas_count_together() -> None:
    context = SimpleNamespace(aggregated_metrics={CALLS: {"a": 20.0, "b": 20.0}})
    assert ByCalls(40, 0.7)(context) == (2, {})


@pytest.mark.parametrize("told", [None, {}, {CALLS: {}}])
def test_where_nothing_is_told_yet_one_is_enough(told: object) -> None:
    assert ByCalls(40, 0.7)(SimpleNamespace(aggregated_metrics=told)) == (1, {})


def test_replicas_that_are_late_with_few_calls_get_help_and_are_not_taken_for_empty() -> None:
    calls = [counted(10, 40, late=True) for _ in range(3)]
    assert replicas_for(sum(calls), 40, 0.7) > 3
    assert replicas_for(3 * counted(10, 40, late=False), 40, 0.7) < 3
