import os
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fastrtc.admission import CALLS_PER_CORE, Door, Refused, read_limit
from fastrtc.session import Session


def caller(name: str) -> Session:
    """A call, as far as the door looks at it."""
    return cast(Session, SimpleNamespace(id=name))


# read_limit


@pytest.mark.parametrize("given_limit", [1, 2, 1_000_000])
def test_a_number_is_the_limit(given_limit: int) -> None:
    assert read_limit(given_limit) == given_limit


def test_none_means_no_limit() -> None:
    assert read_limit(None) is None


def test_the_default_grows_with_the_machine_and_allows_more_than_one_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for cores in (None, 1, 2, 4, 8, 64):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        found.append(read_limit("default"))
    assert found == [CALLS_PER_CORE * n for n in (1, 1, 1, 2, 4, 4)]


@pytest.mark.parametrize(
    "given_limit", [0, -1, True, False, 1.0, "10", "", "Default", b"default", [], {}, object()]
)
def test_what_is_no_limit_is_refused_with_what_came(given_limit: Any) -> None:
    with pytest.raises(ValueError, match=r'concurrency_limit of 1 or more, None or "default"') as e:
        read_limit(given_limit)
    assert repr(given_limit) in str(e.value)


# Door


@pytest.mark.pitfall(30)
def test_callers_come_in_up_to_the_limit() -> None:
    door = Door(3)
    for name in "abc":
        door.enter(caller(name))
    with pytest.raises(Refused) as e:
        door.enter(caller("d"))
    assert (e.value.error, e.value.facts) == ("concurrency_limit_reached", {"limit": 3})
    assert sorted(door.sessions) == ["a", "b", "c"]


def test_without_a_limit_everyone_comes_in() -> None:
    door = Door(None)
    for number in range(500):
        door.enter(caller(str(number)))
    assert len(door.sessions) == 500


@pytest.mark.pitfall(32)
def test_an_id_that_is_live_is_refused() -> None:
    door, first = Door(None), caller("a")
    door.enter(first)
    with pytest.raises(Refused) as e:
        door.enter(caller("a"))
    assert (e.value.error, e.value.facts) == ("connection_already_exists", {})
    assert door.sessions["a"] is first


def test_an_id_that_is_live_is_told_so_though_the_line_is_full() -> None:
    door = Door(1)
    door.enter(caller("a"))
    with pytest.raises(Refused, match="connection_already_exists"):
        door.check("a")


@pytest.mark.pitfall(29)
def test_a_check_takes_no_slot() -> None:
    door = Door(1)
    for _ in range(5):
        door.check("a")
    assert door.sessions == {}


@pytest.mark.pitfall(29, 35)
def test_a_slot_that_is_given_back_is_free() -> None:
    door = Door(1)
    for name in ("a", "b", "a"):
        session = caller(name)
        door.enter(session)
        door.leave(session)
    assert door.sessions == {}


def test_leaving_twice_frees_one_slot() -> None:
    door, first, second = Door(2), caller("a"), caller("b")
    door.enter(first)
    door.enter(second)
    door.leave(first)
    door.leave(first)
    assert list(door.sessions) == ["b"]


@pytest.mark.pitfall(32)
def test_an_old_call_that_leaves_does_not_put_out_a_new_one_of_its_id() -> None:
    door, old, new = Door(None), caller("a"), caller("a")
    door.enter(old)
    door.leave(old)
    door.enter(new)
    door.leave(old)
    assert door.sessions == {"a": new}


def test_who_never_came_in_may_leave() -> None:
    door = Door(1)
    door.leave(caller("a"))
    assert door.sessions == {}
