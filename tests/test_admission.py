import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fastrtc import ReplyOnPause, Stream
from fastrtc.admission import DEFAULT_LIMIT, REPLACED_WITHIN, Door, Refused, read_limit
from fastrtc.clock import WATCHED, FrameClock
from fastrtc.models.end_of_turn.source import NoEndpoint
from fastrtc.models.vad.batcher import InlineVad
from fastrtc.runtime import Runtime
from fastrtc.session import Session
from fastrtc.testing.loop import VirtualLoop
from fastrtc.threads import Workers

LATE = 0.06
"""Seconds for which something keeps the loop at each tick."""


def caller(name: str) -> Session:
    """A call, as far as the door looks at it."""
    return cast(Session, SimpleNamespace(id=name))


# read_limit


@pytest.mark.parametrize("given_limit", [1, 2, 1_000_000])
def test_a_number_is_the_limit(given_limit: int) -> None:
    assert read_limit(given_limit) == given_limit


def test_none_means_no_limit() -> None:
    assert read_limit(None) is None


def test_the_default_allows_what_one_core_carries() -> None:
    assert read_limit("default") == DEFAULT_LIMIT


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


def test_nobody_comes_in_through_a_door_that_is_closing_though_there_is_room() -> None:
    door = Door(None)
    door.enter(caller("a"))
    door.closing = True
    with pytest.raises(Refused) as e:
        door.enter(caller("b"))
    assert (e.value.error, e.value.facts) == ("shutting_down", {})
    assert list(door.sessions) == ["a"]


class Leaving:
    """A call that ends when it is let."""

    def __init__(self, door: Door, name: str) -> None:
        self.id = name
        self.context = SimpleNamespace(identity=None)
        self.may_end = asyncio.Event()
        self.asked = asyncio.Event()
        self._door = door

    async def close(self) -> None:
        self.asked.set()
        await self.may_end.wait()
        self._door.leave(cast(Session, self))


async def test_the_place_of_a_caller_who_comes_back_is_kept_while_the_old_call_ends() -> None:
    door = Door(1)
    old = Leaving(door, "a")
    door.enter(cast(Session, old))

    async def come_back() -> None:
        async with door.returning("a", None):
            with pytest.raises(Refused, match="concurrency_limit_reached"):
                door.check("b")
            door.enter(caller("a"))

    coming = asyncio.ensure_future(come_back())
    await old.asked.wait()
    old.may_end.set()
    await coming
    assert cast(Leaving, door.sessions["a"]) is not old
    door.leave(door.sessions["a"])
    assert door.refusal is None


async def test_a_place_that_was_kept_for_nothing_is_free_again() -> None:
    door = Door(1)
    old = Leaving(door, "a")
    old.may_end.set()
    door.enter(cast(Session, old))
    with pytest.raises(ZeroDivisionError):
        async with door.returning("a", None):
            raise ZeroDivisionError
    door.enter(caller("b"))


async def test_a_full_door_knows_nobody_who_comes_back_to_a_call_that_is_gone() -> None:
    door = Door(1)
    door.enter(caller("b"))
    async with door.returning("a", None):
        with pytest.raises(Refused, match="concurrency_limit_reached"):
            door.check("a")


async def test_a_caller_who_comes_back_is_let_in_though_the_process_is_late() -> None:
    late = False
    door = Door(None, lambda: late)
    old = Leaving(door, "a")
    old.may_end.set()
    door.enter(cast(Session, old))
    late = True
    async with door.returning("a", None):
        door.enter(caller("a"))
    assert list(door.sessions) == ["a"]


def test_a_call_that_does_not_end_is_given_way_to_by_who_comes_back() -> None:
    workers = Workers()
    loop = VirtualLoop(workers)

    async def come_back() -> None:
        door = Door(None)
        old = Leaving(door, "a")
        door.enter(cast(Session, old))
        with pytest.raises(Refused, match="connection_already_exists"):
            async with door.returning("a", None):
                raise AssertionError("the old call is still there")
        assert loop.now == pytest.approx(REPLACED_WITHIN)

    loop.run_until_complete(come_back())
    loop.close()


def test_a_door_with_room_has_no_refusal() -> None:
    door = Door(1)
    assert door.refusal is None
    door.enter(caller("a"))
    assert door.refusal is not None


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


def test_nobody_comes_in_while_the_process_is_late() -> None:
    late = False
    door = Door(None, lambda: late)
    for name in "abc":
        door.enter(caller(name))
    late = True
    assert door.refusal is not None
    with pytest.raises(Refused) as e:
        door.enter(caller("d"))
    # The one word for it that every client knows.
    assert (e.value.error, e.value.facts) == ("concurrency_limit_reached", {"limit": 3})
    late = False
    door.enter(caller("d"))


def test_a_stream_lets_nobody_in_while_its_loop_is_late() -> None:
    workers = Workers()
    loop = VirtualLoop(workers)
    runtime = Runtime(workers, InlineVad(), NoEndpoint())
    stream = Stream(ReplyOnPause(lambda audio: iter([])), concurrency_limit=None)

    def admit(name: str) -> Session:
        return stream.admit(name, runtime=runtime)

    async def calls() -> None:
        await admit("before").close()
        stop = FrameClock.of(loop).add(late)
        await asyncio.sleep(WATCHED * LATE)
        with pytest.raises(Refused, match="concurrency_limit_reached"):
            admit("meanwhile")
        stop()
        await admit("after").close()

    def late() -> None:
        loop.now += LATE

    loop.run_until_complete(calls())
    loop.close()
