"""When a replica sees that it leaves."""

from __future__ import annotations

import pytest

from fastrtc.cluster import presence
from fastrtc.cluster.presence import Presence
from tests.peers import eventually


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(presence, "AWAY_FOR", 0.05)
    return []


async def test_a_replica_that_is_missing_for_long_leaves_once(told: list[str]) -> None:
    here, other = Presence("a", lambda: told.append("a")), Presence("b", lambda: told.append("b"))
    here.look({"a", "b"})
    here.look({"b"})
    here.look({"b", "c"})
    await eventually(lambda: told == ["a"])
    here.look({"b"})
    other.look({"b"})
    other.look(())
    await eventually(lambda: "b" in told)
    assert told == ["a", "b"]


async def test_a_replica_that_is_back_in_a_moment_stays(told: list[str]) -> None:
    here, other = Presence("a", lambda: told.append("a")), Presence("b", lambda: told.append("b"))
    for it in (here, other):
        it.look({"a", "b"})
        it.look(())
    here.look({"a"})
    await eventually(lambda: bool(told))
    assert told == ["b"]


async def test_one_that_left_and_runs_all_the_same_is_back(told: list[str]) -> None:
    here = Presence("a", lambda: told.append("a"))
    here.look({"a"})
    here.look(())
    await eventually(lambda: told == ["a"])
    assert (here.left, here.back) == (True, False)
    here.look({"a"})
    assert here.back
    here.look(())
    here.look({"a"})
    assert told == ["a"]


async def test_a_replica_that_does_not_run_yet_does_not_leave(told: list[str]) -> None:
    new, old = Presence("new", lambda: told.append("new")), Presence("a", lambda: told.append("a"))
    old.look({"a"})
    new.look({"a"})
    old.look(())
    await eventually(lambda: bool(told))
    assert told == ["a"]


def test_one_is_told_of_its_own_deployment_alone(told: list[str]) -> None:
    presence.watch("app of this test", "Line", told.extend)
    presence.tell("another app", "Line", frozenset("a"))
    presence.tell("app of this test", "Line", frozenset("b"))
    assert told == ["b"]
