"""Which replica gets a call, and where calls are found."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.cluster.board import (
    FORGOTTEN,
    GONE,
    NEARLY,
    RESERVED,
    Board,
    Full,
    Home,
    Report,
    Unreachable,
)

START = 1_000.0
"""When the boards of these tests have been there for long."""


def report(replica: str, *calls: str, slots: int = 10, **more: Any) -> Report:
    return Report(replica, f"{replica}:1", slots, frozenset(calls), **more)


def home(replica: str, *, silent: bool = False) -> Home:
    return Home(replica, f"{replica}:1", silent)


def board_of(*reports: Report) -> Board:
    board = Board()
    board.take(Report("of old", "", 1), START - 2 * FORGOTTEN)
    for one in reports:
        board.take(one, START)
    return board


def calls(count: int, prefix: str = "call") -> list[str]:
    return [f"{prefix} {number}" for number in range(count)]


# Placement.


def test_the_calls_of_replicas_that_report_are_counted() -> None:
    board = Board()
    board.take(report("a", "ann", "bob"), START)
    board.take(report("b", "cat"), START + 1)
    assert board.calls(START + 1) == 3
    assert board.calls(START + GONE + 0.5) == 1


def test_a_call_goes_to_the_emptiest_replica() -> None:
    board = board_of(report("a", *calls(9)), report("b", *calls(4)), report("c", *calls(5)))
    assert board.place("new", "a", None, START) == home("b")


def test_the_replica_that_asks_has_it_if_it_is_nearly_as_empty() -> None:
    board = board_of(report("a", *calls(NEARLY)), report("b"))
    assert board.place("one", "a", None, START) == home("a")
    assert board.place("two", "a", None, START) == home("b")


def test_a_large_replica_is_emptier_than_a_small_one_with_fewer_calls() -> None:
    board = board_of(
        report("a", *calls(9)), report("b", *calls(8), slots=10), report("c", *calls(9), slots=90)
    )
    board.take(report("d", *calls(20), slots=20), START)
    assert board.place("new", "d", None, START) == home("c")


def test_calls_on_their_way_count() -> None:
    board = board_of(report("a", slots=3), report("b", slots=3))
    at = [board.place(name, "a", None, START).replica for name in calls(6)]
    assert sorted(at) == ["a"] * 3 + ["b"] * 3


def test_a_page_keeps_its_call_while_there_is_room() -> None:
    board = board_of(report("a", *calls(9)), report("b"))
    assert board.place("one", "a", None, START, rather=True) == home("a")
    assert board.place("two", "a", None, START, rather=True) == home("b")


def test_a_call_that_stays_needs_no_place() -> None:
    board = board_of(report("a", *calls(2), slots=2), report("b"))
    assert board.place("new", "a", None, START, stays=True) == home("a")


def test_a_call_that_stays_comes_in_nowhere_when_all_places_are_taken() -> None:
    board = board_of(report("a", *calls(2), slots=1), report("b", *calls(1, "b"), slots=2))
    with pytest.raises(Full) as full:
        board.place("new", "b", None, START, stays=True)
    assert full.value.limit == 3


@pytest.mark.parametrize("facts", [{"late": True}, {"leaving": True}])
def test_a_replica_that_is_late_or_leaves_gets_no_call(facts: Any) -> None:
    board = board_of(report("a", **facts), report("b", *calls(9)))
    assert board.place("new", "a", None, START) == home("b")


def test_a_replica_that_turned_the_call_down_is_not_asked_again() -> None:
    board = board_of(report("a"), report("b"))
    assert board.place("new", "a", None, START) == home("a")
    assert board.place("new", "a", None, START, avoid={"a"}) == home("b")
    assert board.find("new", START) == home("b")


def test_two_that_claim_the_same_call_are_sent_to_one_replica() -> None:
    board = board_of(report("a"), report("b"))
    assert board.place("new", "a", None, START) == home("a")
    assert board.place("new", "b", None, START) == home("a")
    board.take(report("a", "new"), START)
    assert board.place("new", "b", None, START) == home("a")


# Where there is no room.


def test_a_full_cluster_says_how_many_places_it_has() -> None:
    board = board_of(report("a", *calls(2), slots=2), report("b", *calls(3), slots=3))
    with pytest.raises(Full) as full:
        board.place("new", "a", None, START)
    assert (full.value.limit, full.value.why) == (5, "")


def test_the_limit_is_that_of_all_replicas_together() -> None:
    board = board_of(report("a", "1"), report("b", "2"))
    board.place("3", "a", 3, START)
    with pytest.raises(Full) as full:
        board.place("4", "b", 3, START)
    assert full.value.limit == 3


def test_a_call_that_stays_counts_in_the_limit() -> None:
    board = board_of(report("a", "1"), report("b"))
    with pytest.raises(Full):
        board.place("2", "b", 1, START, stays=True)


def test_where_all_are_late_the_reason_is_the_time() -> None:
    board = board_of(report("a", "1", late=True), report("b", late=True))
    with pytest.raises(Full) as full:
        board.place("new", "a", None, START)
    assert (full.value.limit, full.value.why) == (1, "overloaded")


def test_where_all_leave_the_reason_is_that() -> None:
    board = board_of(report("a", leaving=True), report("b", leaving=True))
    with pytest.raises(Full) as full:
        board.place("new", "a", None, START)
    assert full.value.why == "shutting_down"


def test_a_replica_that_does_not_report_gets_no_call_and_its_calls_do_not_count() -> None:
    board = board_of(report("a", "1"), report("b"))
    later = START + GONE + 0.1
    board.take(report("b"), later)
    assert board.place("2", "b", 1, later) == home("b")


@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("leaving", [0, 1])
def test_there_is_room_for_what_can_be_placed(late: int, leaving: int) -> None:
    board = board_of(
        report("a", "1", slots=3),
        report("b", slots=2, late=bool(late)),
        report("c", slots=2, leaving=bool(leaving)),
    )
    room = board.room(None, START)
    assert room == 6 - 2 * late - 2 * leaving
    for name in calls(room):
        board.place(name, "a", None, START)
    assert board.room(None, START) == 0
    with pytest.raises(Full):
        board.place("one more", "a", None, START)


def test_the_limit_bounds_the_room() -> None:
    assert board_of(report("a", "1"), report("b", "2")).room(5, START) == 3


# Reservations.


def test_a_call_on_its_way_is_found_until_its_place_is_given_up() -> None:
    board = board_of(report("a"))
    board.place("new", "a", None, START)
    assert board.find("new", START + RESERVED) == home("a", silent=True)
    assert board.find("new", START + RESERVED + 0.1) is None


def test_a_place_that_nobody_took_is_free_again() -> None:
    board = board_of(report("a", slots=1))
    board.place("never", "a", None, START)
    later = START + RESERVED + 0.1
    board.take(report("a", slots=1), later)
    assert board.room(None, later) == 1
    assert board.place("new", "a", None, later) == home("a")


def test_a_place_that_is_released_is_free_at_once() -> None:
    board = board_of(report("a", slots=1))
    board.place("refused", "a", None, START)
    board.release("refused")
    assert board.find("refused", START) is None
    assert board.place("new", "a", None, START) == home("a")


def test_a_call_that_has_arrived_is_counted_once() -> None:
    board = board_of(report("a", slots=2))
    board.place("1", "a", None, START)
    board.take(report("a", "1", slots=2), START)
    assert board.room(None, START) == 1


# Where calls are.


def test_a_call_is_where_it_came_last() -> None:
    board = board_of(report("a", "ann"))
    board.take(report("b", "ann"), START + 1)
    board.take(report("a", "ann"), START + 2)
    assert board.find("ann", START + 2) == home("b")


def test_a_call_that_ended_is_nowhere() -> None:
    board = board_of(report("a", "ann"))
    board.take(report("a"), START + 1)
    assert board.find("ann", START + 1) is None


def test_a_replica_that_does_not_report_is_said_to_be_silent() -> None:
    board = board_of(report("a", "ann"))
    assert board.find("ann", START + GONE) == home("a")
    assert board.find("ann", START + GONE + 0.1) == home("a", silent=True)
    assert board.homes(START + GONE + 0.1) == []


def test_a_replica_that_is_lost_has_nothing_until_it_reports_again() -> None:
    board = board_of(report("a", "ann"), report("b"))
    board.lose("a")
    assert board.find("ann", START) is None
    assert board.homes(START) == [home("b")]
    board.take(report("a", "ann"), START)
    assert board.find("ann", START) == home("a")


def test_a_call_stays_with_its_newer_home_when_a_replica_that_was_cut_off_is_back() -> None:
    board = board_of(report("a", "ann"), report("b"))
    board.lose("a")
    board.take(report("b", "ann"), START + 1)
    board.take(report("a", "ann"), START + 2)
    assert board.find("ann", START + 2) == home("b")


def test_what_was_silent_for_long_is_forgotten() -> None:
    board = board_of(report("a", "ann"), report("b"))
    board.take(report("b"), START + FORGOTTEN + 0.1)
    assert board.find("ann", START + FORGOTTEN + 0.1) is None


def test_a_page_is_found_while_its_replica_reports() -> None:
    board = board_of(report("a", pages=frozenset({"page"})))
    assert board.find_page("page", "b", START) == home("a")
    assert board.find_page("page", "b", START + GONE + 0.1) is None


def test_a_page_that_nobody_has_is_for_the_first_that_asks() -> None:
    board = board_of(report("a"), report("b"))
    assert board.find_page("page", "b", START) == home("b")
    assert board.find_page("page", "a", START) == home("b")
    board.take(report("b", pages=frozenset({"page"})), START + RESERVED + 1)
    board.take(report("a"), START + RESERVED + 1)
    assert board.find_page("page", "a", START + RESERVED + 1) == home("b")


def test_a_page_that_was_given_and_is_not_reported_is_for_the_next_that_asks() -> None:
    board = board_of(report("a"), report("b"))
    board.find_page("page", "b", START)
    for name in ("a", "b"):
        board.take(report(name), START + RESERVED + 1)
    assert board.find_page("page", "a", START + RESERVED + 1) == home("a")


# A board that is new.


def test_a_new_board_does_not_say_that_a_call_is_nowhere() -> None:
    board = Board()
    with pytest.raises(Unreachable):
        board.find("ann", START)
    board.take(report("a", "bob"), START)
    assert board.find("bob", START) == home("a")
    with pytest.raises(Unreachable):
        board.find("ann", START + GONE - 0.1)
    assert board.find("ann", START + GONE) is None


def test_a_new_board_places_no_calls_as_it_does_not_know_how_many_there_are() -> None:
    board = Board()
    board.take(report("a"), START)
    with pytest.raises(Unreachable):
        board.place("ann", "a", 1, START)
    with pytest.raises(Unreachable):
        board.room(1, START)


def test_a_replica_that_is_not_known_goes_on_by_itself() -> None:
    with pytest.raises(Unreachable):
        board_of(report("a")).place("ann", "b", None, START)


# Whatever happens.

NAMES = "abc"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.sampled_from(NAMES), st.integers(0, 9)),
        st.tuples(st.just("arrive"), st.sampled_from(NAMES), st.just(0)),
        st.tuples(st.just("refuse"), st.sampled_from(NAMES), st.just(0)),
        st.tuples(st.just("end"), st.sampled_from(NAMES), st.integers(0, 9)),
        st.tuples(st.just("report"), st.sampled_from(NAMES), st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.integers(0, 15)),
    ),
    max_size=40,
)


class World:
    """Replicas that have what they were given, and a board that hears of it now and then."""

    def __init__(self, limit: int | None, slots: int) -> None:
        self.now = START
        self.limit, self.slots = limit, slots
        self.live: dict[str, set[str]] = {name: set() for name in NAMES}
        self.coming: dict[str, dict[str, float]] = {name: {} for name in NAMES}
        self.board = board_of(*(report(name, slots=slots) for name in NAMES))

    def step(self, what: str, name: str, number: int) -> None:
        if what == "place":
            self.place(f"call {number}", name)
        elif what == "arrive":
            for call, until in self.coming[name].items():
                if self.now <= until:
                    self.live[name].add(call)
            self.coming[name].clear()
            self.tell(name)
        elif what == "refuse":
            for call in self.coming[name]:
                self.board.release(call)
            self.coming[name].clear()
        elif what == "end":
            self.live[name].discard(f"call {number}")
        elif what == "report":
            self.tell(name)
        else:
            self.now += number / 10
            for each in NAMES:  # nobody is silent for long
                self.tell(each)

    def place(self, call: str, here: str) -> None:
        if any(call in live for live in self.live.values()):
            return
        try:
            found = self.board.place(call, here, self.limit, self.now)
        except Full:
            return
        for coming in self.coming.values():
            coming.pop(call, None)
        self.coming[found.replica][call] = self.now + RESERVED

    def tell(self, name: str) -> None:
        self.board.take(report(name, *self.live[name], slots=self.slots), self.now)


@settings(max_examples=100, deadline=None)
@given(STEPS, st.none() | st.integers(1, 6), st.integers(1, 4))
def test_there_are_never_more_calls_than_the_limit_and_the_places(
    steps: Any, limit: int | None, slots: int
) -> None:
    world = World(limit, slots)
    for step in steps:
        world.step(*step)
        assert limit is None or sum(map(len, world.live.values())) <= limit
        assert all(len(live) <= slots for live in world.live.values())


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_a_call_that_a_replica_reports_or_that_is_on_its_way_is_found(steps: Any) -> None:
    world = World(None, 4)
    for step in steps:
        world.step(*step)
        for name in NAMES:
            for call, until in world.coming[name].items():
                if world.now <= until:
                    assert world.board.find(call, world.now) == home(name)
            world.tell(name)
            for call in world.live[name]:
                assert world.board.find(call, world.now) == home(name)


@settings(max_examples=50, deadline=None)
@given(STEPS, st.none() | st.integers(1, 6))
def test_a_call_can_be_placed_exactly_where_there_is_room(steps: Any, limit: int | None) -> None:
    world = World(limit, 2)
    for step in steps:
        world.step(*step)
    room = world.board.room(limit, world.now)
    try:
        world.board.place("one more", "a", limit, world.now)
    except Full:
        assert room <= 0
    else:
        assert room > 0
