"""The far side of a line, as it is known from here, beside one that really plays."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.audio.far import LATE_MARK, MARK_EVERY, FarPlayout

LEAD = 6

with_and_without_marks = pytest.mark.parametrize("marks", [True, False])


def filled(frames: int, *, marks: bool, lead: int = LEAD) -> FarPlayout:
    far = FarPlayout(lead, marks=marks)
    for _ in range(frames):
        far.send()
    return far


def ticks(far: FarPlayout, count: int) -> None:
    for _ in range(count):
        far.tick()


def waiting(far: FarPlayout) -> list[int]:
    """Marks the end of what was sent; the list grows when that has been heard."""
    reached: list[int] = []
    far.mark(lambda: reached.append(far.sent))
    return reached


# Without marks, by the clock


def test_a_far_side_that_holds_nothing_has_room_for_the_lead() -> None:
    far = FarPlayout(LEAD, marks=False)
    assert (far.room, far.unheard, far.sent) == (LEAD, 0, 0)


def test_each_frame_takes_room_and_each_tick_makes_it_again() -> None:
    far = filled(4, marks=False)
    assert (far.room, far.unheard) == (LEAD - 4, 4)
    ticks(far, 3)
    assert (far.room, far.unheard) == (LEAD - 1, 1)


def test_silence_saves_up_no_room() -> None:
    far = FarPlayout(LEAD, marks=False)
    ticks(far, 50)
    assert far.room == LEAD


def test_no_mark_is_sent_to_a_far_side_that_returns_none() -> None:
    far = FarPlayout(LEAD, marks=False)
    assert [far.send() for _ in range(4 * MARK_EVERY)] == [None] * 4 * MARK_EVERY
    assert far.mark(lambda: None) is None


def test_sound_is_heard_by_the_clock_where_there_are_no_marks() -> None:
    far = filled(3, marks=False)
    reached = waiting(far)
    ticks(far, 2)
    assert not reached
    far.tick()
    assert reached == [3]


@with_and_without_marks
def test_nothing_is_waited_for_where_nothing_was_sent(marks: bool) -> None:
    assert waiting(FarPlayout(LEAD, marks=marks)) == [0]


def test_what_was_heard_already_is_not_waited_for() -> None:
    far = filled(3, marks=False)
    ticks(far, 3)
    assert waiting(far) == [3]


# Marks


def test_a_mark_follows_each_tenth_of_a_second() -> None:
    far = FarPlayout(LEAD, marks=True)
    places = [place for _ in range(4 * MARK_EVERY) if (place := far.send()) is not None]
    assert places == [MARK_EVERY, 2 * MARK_EVERY, 3 * MARK_EVERY, 4 * MARK_EVERY]


def test_a_mark_of_the_session_is_sent_and_those_after_it_count_from_there() -> None:
    far = filled(2, marks=True)
    assert far.mark(lambda: None) == 2
    assert [far.send() for _ in range(MARK_EVERY)] == [*[None] * (MARK_EVERY - 1), 2 + MARK_EVERY]


def test_one_mark_serves_all_who_wait_at_its_place() -> None:
    far, reached = filled(2, marks=True), []
    assert far.mark(lambda: reached.append("first")) == 2
    assert far.mark(lambda: reached.append("second")) is None
    far.returned(2)
    assert reached == ["first", "second"]


def test_a_mark_that_was_just_sent_serves_who_waits_at_its_place() -> None:
    far, reached = filled(MARK_EVERY, marks=True), []
    assert far.mark(lambda: reached.append(True)) is None
    far.returned(MARK_EVERY)
    assert reached == [True]


def test_what_stands_behind_a_mark_that_is_on_its_way_is_unheard_whatever_the_clock_says() -> None:
    far = filled(MARK_EVERY + 1, marks=True)
    ticks(far, 30)
    assert far.unheard == 1
    far.returned(MARK_EVERY)
    assert far.unheard == 0


def test_a_mark_that_returns_before_its_time_moves_the_clock() -> None:
    far = filled(MARK_EVERY, marks=True)
    far.returned(MARK_EVERY)
    assert (far.room, far.unheard) == (LEAD, 0)


def test_a_mark_that_returns_stands_for_those_before_it() -> None:
    far, reached = FarPlayout(20, marks=True), []
    for place in (1, 2):
        far.send()
        far.mark(lambda place=place: reached.append(place))  # type: ignore[misc]
    far.returned(2)
    assert reached == [1, 2]
    far.returned(1)
    assert (reached, far.unheard) == ([1, 2], 0)


@pytest.mark.parametrize("place", [-1, 0, 1, 4, 6, 10**15])
def test_a_mark_that_was_never_sent_is_not_believed(place: int) -> None:
    far = filled(MARK_EVERY, marks=True)
    reached = waiting(far)
    far.returned(place)
    assert (far.room, far.unheard, reached) == (LEAD - MARK_EVERY, MARK_EVERY, [])


def test_a_lost_mark_is_given_up_two_seconds_after_all_that_was_held() -> None:
    far = filled(3, marks=True)
    reached = waiting(far)
    ticks(far, LEAD + LATE_MARK - 1)
    assert not reached
    far.tick()
    assert reached == [3]


def test_where_no_mark_ever_returns_what_was_heard_is_known_with_two_seconds_delay() -> None:
    far = FarPlayout(LEAD, marks=True)
    for _ in range(1_000):
        far.tick()
        far.send()
    assert far.unheard <= LEAD + LATE_MARK + MARK_EVERY
    assert far.stalled == 0


def test_a_far_side_that_stops_to_return_marks_has_stalled_until_it_returns_one() -> None:
    far = FarPlayout(LEAD, marks=True)
    places = []
    for _ in range(LATE_MARK + 50):
        far.tick()
        place = far.send()
        if place is not None:
            places.append(place)
            if len(places) == 1:
                far.returned(place)
    assert far.stalled > 20
    far.returned(places[-1])
    assert far.stalled == 0


def test_a_mark_that_comes_after_it_was_given_up_changes_nothing() -> None:
    far = filled(3, marks=True)
    reached = waiting(far)
    ticks(far, LEAD + LATE_MARK)
    far.send()
    far.returned(3)
    assert (far.unheard, reached) == (1, [3])


def test_who_is_told_that_sound_was_heard_may_send_more_and_wait_again() -> None:
    far, reached = filled(1, marks=False), []

    def again() -> None:
        reached.append("first")
        far.send()
        far.mark(lambda: reached.append("second"))

    far.mark(again)
    far.tick()
    assert reached == ["first"]
    far.tick()
    assert reached == ["first", "second"]


def test_who_is_told_that_sound_was_heard_may_clear_the_rest() -> None:
    far, reached = filled(1, marks=False), []
    far.mark(lambda: reached.append(f"dropped something: {far.clear()}"))
    far.send()
    far.mark(lambda: reached.append("heard the rest"))
    ticks(far, 3)
    assert reached == ["dropped something: True"]
    assert far.unheard == 0


# Dropping


@with_and_without_marks
def test_a_clear_forgets_what_was_sent_and_who_waits(marks: bool) -> None:
    far = filled(LEAD, marks=marks)
    reached = waiting(far)
    assert far.clear()
    assert (far.room, far.unheard) == (LEAD, 0)
    ticks(far, LEAD + LATE_MARK + 1)
    assert not reached


def test_a_clear_of_nothing_is_known_to_be_that() -> None:
    far = filled(2, marks=False)
    ticks(far, 2)
    assert not far.clear()


def test_marks_that_return_because_they_were_cleared_are_of_no_interest() -> None:
    far = filled(MARK_EVERY + 1, marks=True)
    far.clear()
    far.send()
    far.returned(MARK_EVERY)
    assert (far.room, far.unheard) == (LEAD - 1, 1)


def test_marks_that_were_cleared_hold_nothing_back_that_is_played_after_them() -> None:
    far = filled(MARK_EVERY + 1, marks=True)
    far.clear()
    far.send()
    far.tick()
    assert far.unheard == 0


def test_who_is_forgotten_is_not_told_and_the_sound_goes_on() -> None:
    far = filled(4, marks=False)
    reached = waiting(far)
    far.forget()
    assert far.unheard == 4
    ticks(far, 4)
    assert not reached


def test_what_is_taken_back_is_what_the_clock_has_not_played() -> None:
    far = filled(5, marks=False)
    ticks(far, 2)
    assert far.take_back() == (3, [])
    assert (far.room, far.unheard) == (LEAD, 0)


def test_who_waits_for_sound_that_is_taken_back_comes_with_its_place() -> None:
    far, reached = FarPlayout(LEAD, marks=True), []
    for name in "abcd":
        far.send()
        far.mark(lambda name=name: reached.append(name))  # type: ignore[misc]
    ticks(far, 2)
    dropped, who = far.take_back()
    for _, action in who:
        action()
    assert (dropped, [after for after, _ in who], reached) == (2, [0, 0, 1, 2], [*"abcd"])
    ticks(far, LEAD + LATE_MARK + 1)
    assert reached == [*"abcd"]


# Beside a far side that plays


class FarSide:
    """Plays a frame a tick, and is told and tells with a delay of its own each time."""

    def __init__(self, there: Iterator[int], back: Iterator[int]) -> None:
        self._there, self._back = there, back
        self._coming: deque[tuple[int, str, int]] = deque()
        self._going: deque[tuple[int, int]] = deque()
        self._held: deque[tuple[str, int]] = deque()
        self._now = 0
        self.played = 0
        self.dropped: list[int] = []

    def tell(self, what: str, value: int = 0) -> None:
        # What is sent later does not arrive before: it is one connection.
        earliest = self._coming[-1][0] if self._coming else 0
        self._coming.append((max(earliest, self._now + next(self._there)), what, value))

    def play(self) -> None:
        """20 ms pass: a frame is played, then what has arrived is taken."""
        self._now += 1
        if self._held and self._held[0][0] == "frame":
            self._held.popleft()
            self.played += 1
        self._pass_marks()
        while self._coming and self._coming[0][0] <= self._now:
            _, what, value = self._coming.popleft()
            if what == "clear":
                self.dropped.append(sum(one == "frame" for one, _ in self._held))
                for one, place in self._held:
                    if one == "mark":
                        self._return(place)
                self._held.clear()
            else:
                self._held.append((what, value))
                self._pass_marks()

    def returned(self) -> Iterator[int]:
        while self._going and self._going[0][0] <= self._now:
            yield self._going.popleft()[1]

    def _pass_marks(self) -> None:
        while self._held and self._held[0][0] == "mark":
            self._return(self._held.popleft()[1])

    def _return(self, place: int) -> None:
        earliest = self._going[-1][0] if self._going else 0
        self._going.append((max(earliest, self._now + next(self._back)), place))


class Call:
    """A line, and a far side that plays what it sends."""

    def __init__(self, lead: int, marks: bool, there: Iterator[int], back: Iterator[int]) -> None:
        self.far, self.side = FarPlayout(lead, marks=marks), FarSide(there, back)
        self.called: list[int] = []
        """Which of those who wait were told, by their number."""
        self.played_at: list[tuple[int, int]] = []
        """What had been sent when each of them began to wait, and played when it was told."""
        self._count = 0

    def pass_time(self) -> None:
        self.side.play()
        for place in self.side.returned():
            self.far.returned(place)
        self.far.tick()

    def send(self) -> None:
        self.side.tell("frame")
        self._mark(self.far.send())

    def wait(self) -> None:
        self._mark(self.far.mark(self._told(self._count, self.far.sent)))
        self._count += 1

    def _mark(self, place: int | None) -> None:
        if place is not None:
            self.side.tell("mark", place)

    def _told(self, number: int, sent: int) -> Callable[[], None]:
        def told() -> None:
            self.called.append(number)
            self.played_at.append((sent, self.side.played))

        return told


def always(value: int) -> Iterator[int]:
    while True:
        yield value


def in_turn(values: list[int]) -> Iterator[int]:
    while True:
        yield from values


delays = st.lists(st.integers(0, 12), min_size=1, max_size=20).map(in_turn)
doings = st.lists(st.sampled_from(["fill", "fill", "one", "wait", "nothing"]), max_size=60)


def do(call: Call, doing: str) -> None:
    """What the session does in one tick."""
    call.pass_time()
    if doing == "fill":
        for _ in range(call.far.room):
            call.send()
    elif doing == "one" and call.far.room > 0:
        call.send()
    elif doing == "wait":
        call.wait()


@given(st.integers(1, 12), st.booleans(), delays, delays, doings)
@settings(deadline=None, max_examples=80)
def test_no_more_is_held_than_the_lead_nor_unheard_than_was_sent(
    lead: int, marks: bool, there: Iterator[int], back: Iterator[int], doings: list[str]
) -> None:
    call = Call(lead, marks, there, back)
    for doing in doings:
        do(call, doing)
        assert 0 <= call.far.room <= lead
        assert 0 <= call.far.unheard <= call.far.sent


@given(st.integers(1, 12), delays, delays, doings)
@settings(deadline=None, max_examples=80)
def test_marks_keep_what_is_taken_as_heard_within_a_tenth_of_a_second_of_what_was_played(
    lead: int, there: Iterator[int], back: Iterator[int], doings: list[str]
) -> None:
    call = Call(lead, True, there, back)
    for doing in doings:
        do(call, doing)
        assert call.far.sent - call.far.unheard <= call.side.played + MARK_EVERY


@given(st.integers(1, 12), st.booleans(), delays, delays, doings)
@settings(deadline=None, max_examples=80)
def test_who_waits_is_told_once_and_in_order_however_the_network_jitters(
    lead: int, marks: bool, there: Iterator[int], back: Iterator[int], doings: list[str]
) -> None:
    call = Call(lead, marks, there, back)
    for doing in doings:
        do(call, doing)
    for _ in range(LATE_MARK + lead):
        do(call, "nothing")
    assert call.called == list(range(doings.count("wait")))
    assert call.far.unheard == 0
    if marks:
        assert all(sent <= played for sent, played in call.played_at)


@given(st.integers(1, 12), delays, delays, doings, st.integers(1, 60))
@settings(deadline=None, max_examples=100)
def test_a_clear_in_the_middle_leaves_nobody_waiting_and_later_ones_are_told(
    lead: int, there: Iterator[int], back: Iterator[int], doings: list[str], after: int
) -> None:
    call = Call(lead, True, there, back)
    for doing in doings[:after]:
        do(call, doing)
    told, waited = len(call.called), doings[:after].count("wait")
    call.side.tell("clear")
    call.far.clear()
    for doing in [*doings[after:], *["nothing"] * (LATE_MARK + lead)]:
        do(call, doing)
    assert call.called[:told] == list(range(told))
    assert call.called[told:] == list(range(waited, waited + doings[after:].count("wait")))
    assert all(a < b for a, b in pairwise(call.called))


@given(st.integers(1, 12), st.booleans(), st.integers(0, 12), st.integers(0, 12), doings)
@settings(deadline=None, max_examples=120)
def test_what_is_taken_back_is_what_a_far_side_with_a_constant_delay_drops(
    lead: int, marks: bool, there: int, back: int, doings: list[str]
) -> None:
    call = Call(lead, marks, always(there), always(back))
    for doing in doings:
        do(call, doing)
    call.side.tell("clear")
    dropped, _ = call.far.take_back()
    for _ in range(there + 1):
        call.pass_time()
    assert call.side.dropped == [dropped]
