import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc import threads
from fastrtc.threads import Bell, Handover, HandoverClosed, Workers, call_soon

PATIENCE = 10.0
who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


def until(ready: Callable[[], bool]) -> None:
    """Wait for what is sure to come."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.001)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """Workers that leave soon, and have left when the test is over."""
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.05)
    found = Workers("test")
    yield found
    until(lambda: found.threads == 0)


class Job:
    """Something on a worker thread, and how it ended."""

    def __init__(self, workers: Workers, work: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.over = threading.Event()
        self._work = work
        workers.submit(self._run)

    def _run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:
            self.error = error
        self.over.set()

    def wait(self) -> Any:
        assert self.over.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return self.result


# Handover, towards the loop


def test_what_is_put_comes_out_in_order() -> None:
    handover: Handover[int] = Handover(10)
    for number in range(5):
        handover.put(number)
    assert [handover.drain_one() for _ in range(6)] == [0, 1, 2, 3, 4, None]


def test_a_put_waits_for_room(workers: Workers) -> None:
    handover: Handover[str] = Handover(1)
    handover.put("first")
    job = Job(workers, lambda: handover.put("second"))
    until(lambda: workers.settled)
    assert not job.over.is_set()
    assert handover.drain_one() == "first"
    job.wait()
    assert handover.drain_one() == "second"


@pytest.mark.pitfall(7)
def test_close_wakes_a_put_that_waits_and_tells_it(workers: Workers) -> None:
    handover: Handover[str] = Handover(1)
    handover.put("first")
    job = Job(workers, lambda: handover.put("second"))
    until(lambda: workers.settled)
    handover.close()
    with pytest.raises(HandoverClosed):
        job.wait()
    assert handover.drain_one() is None


def test_a_put_after_close_is_told() -> None:
    handover: Handover[int] = Handover(1)
    handover.close()
    with pytest.raises(HandoverClosed):
        handover.put(1)


@pytest.mark.parametrize("weight", [1, 100.0])
def test_one_item_of_any_weight_fits(weight: float) -> None:
    handover: Handover[str] = Handover(1)
    handover.put("heavy", weight)
    assert handover.full
    assert handover.drain_one() == "heavy"
    assert not handover.full


def test_an_item_without_weight_takes_no_room() -> None:
    handover: Handover[int] = Handover(1)
    for number in range(100):
        handover.put(number, 0.0)
    assert not handover.full


def test_full_says_whether_a_put_would_wait() -> None:
    handover: Handover[str] = Handover(1)
    assert not handover.full
    handover.put("a", 0.5)
    assert not handover.full
    handover.put("b", 0.5)
    assert handover.full


def test_clear_forgets_what_waits_and_goes_on() -> None:
    handover: Handover[str] = Handover(1)
    handover.put("old")
    handover.clear()
    assert handover.empty
    handover.put("new")
    assert handover.drain_one() == "new"


def test_clear_makes_room_for_a_put_that_waits(workers: Workers) -> None:
    handover: Handover[str] = Handover(1)
    handover.put("old")
    job = Job(workers, lambda: handover.put("new"))
    until(lambda: workers.settled)
    handover.clear()
    assert job.wait()
    assert handover.drain_one() == "new"


@pytest.mark.pitfall(7)
def test_a_part_of_what_was_cleared_is_left_out(workers: Workers) -> None:
    handover: Handover[str] = Handover(1)
    since = handover.clearings
    assert handover.put("part 1", since=since)
    job = Job(workers, lambda: handover.put("part 2", since=since))
    until(lambda: workers.settled)
    handover.clear()
    assert job.wait() is False
    assert not handover.put("part 3", since=since)
    assert handover.empty


# Handover, towards a worker


@pytest.mark.pitfall(22)
def test_an_offer_without_room_drops_the_oldest_and_counts_it() -> None:
    handover: Handover[int] = Handover(3)
    assert [handover.offer(number) for number in range(5)] == [True, True, True, False, False]
    assert handover.dropped == 2
    assert [handover.drain_one() for _ in range(4)] == [2, 3, 4, None]


def test_a_heavy_offer_drops_as_many_as_it_needs() -> None:
    handover: Handover[str] = Handover(3)
    for name in "abc":
        handover.offer(name)
    assert not handover.offer("heavy", 2)
    assert handover.dropped == 2
    assert [handover.drain_one(), handover.drain_one()] == ["c", "heavy"]


def test_an_offer_over_the_limit_fits_alone() -> None:
    handover: Handover[str] = Handover(1)
    assert handover.offer("heavy", 9)
    assert handover.drain_one() == "heavy"


def test_an_offer_after_close_is_forgotten() -> None:
    handover: Handover[int] = Handover(1)
    handover.close()
    assert not handover.offer(1)
    assert handover.empty


@pytest.mark.pitfall(22)
@given(
    st.lists(st.one_of(st.integers(0, 5), st.none()), max_size=60),
    st.integers(1, 8),
)
@settings(deadline=None, max_examples=100)
def test_offers_never_wait_and_never_grow_over_the_limit(
    steps: list[int | None], limit: int
) -> None:
    handover: Handover[tuple[int, int]] = Handover(limit)
    out: list[int] = []
    offered = 0
    for step in steps:
        if step is None:
            if (item := handover.drain_one()) is not None:
                out.append(item[0])
        else:
            handover.offer((offered, step), step)
            offered += 1
    rest: list[tuple[int, int]] = []
    while (item := handover.drain_one()) is not None:
        rest.append(item)
    assert sum(weight for _, weight in rest) <= limit or len(rest) == 1
    assert out + [number for number, _ in rest] == sorted(out + [number for number, _ in rest])
    assert handover.dropped + len(out) + len(rest) == offered


def test_a_take_waits_for_an_item(workers: Workers) -> None:
    handover: Handover[str] = Handover(1)
    job = Job(workers, handover.take)
    until(lambda: workers.settled)
    assert not job.over.is_set()
    handover.offer("news")
    assert job.wait() == "news"


@pytest.mark.pitfall(19)
def test_close_wakes_a_take_that_waits_and_tells_it(workers: Workers) -> None:
    handover: Handover[str] = Handover(1)
    job = Job(workers, handover.take)
    until(lambda: workers.settled)
    handover.close()
    with pytest.raises(HandoverClosed):
        job.wait()


def test_a_take_after_close_is_told_though_items_were_left() -> None:
    handover: Handover[str] = Handover(2)
    handover.offer("left")
    handover.close()
    with pytest.raises(HandoverClosed):
        handover.take()


def test_close_forgets_what_waits() -> None:
    handover: Handover[str] = Handover(2)
    handover.offer("left")
    assert (handover.closed, handover.empty) == (False, False)
    handover.close()
    assert (handover.closed, handover.empty, handover.full) == (True, True, False)


def test_close_wakes_all_who_wait(workers: Workers) -> None:
    handover: Handover[str] = Handover(1)
    jobs = [Job(workers, handover.take) for _ in range(5)]
    until(lambda: workers.settled)
    handover.close()
    for job in jobs:
        with pytest.raises(HandoverClosed):
            job.wait()


def test_many_threads_lose_and_double_nothing(workers: Workers) -> None:
    handover: Handover[int] = Handover(4)
    takers = [Job(workers, lambda: [handover.take() for _ in range(250)]) for _ in range(4)]
    putters = [
        Job(workers, lambda n=n: [handover.put(n * 1_000 + k) for k in range(250)])  # type: ignore[misc]
        for n in range(4)
    ]
    for putter in putters:
        putter.wait()
    found = [number for taker in takers for number in taker.wait()]
    assert sorted(found) == [n * 1_000 + k for n in range(4) for k in range(250)]


# Bell


def test_a_bell_wakes_a_sleeper(workers: Workers) -> None:
    bell = Bell()
    job = Job(workers, bell.sleep)
    until(lambda: workers.settled)
    assert not job.over.is_set()
    bell.ring()
    job.wait()


def test_a_bell_that_rang_before_ends_the_next_sleep_at_once() -> None:
    bell = Bell()
    bell.ring()
    before = time.monotonic()
    bell.sleep()
    assert time.monotonic() - before < 0.5


# Workers


def test_a_job_runs_with_its_arguments(workers: Workers) -> None:
    seen: list[Any] = []
    over = threading.Event()

    def job(*args: Any, **kwargs: Any) -> None:
        seen.extend([args, kwargs])
        over.set()

    workers.submit(job, 1, two=2)
    assert over.wait(PATIENCE)
    assert seen == [(1,), {"two": 2}]


def test_a_job_sees_the_context_in_which_it_was_submitted(workers: Workers) -> None:
    context = contextvars.copy_context()
    context.run(who.set, "ann")
    job = context.run(lambda: Job(workers, who.get))
    assert job.wait() == "ann"


def test_a_job_changes_only_its_own_copy_of_the_context(workers: Workers) -> None:
    Job(workers, lambda: who.set("job")).wait()
    assert who.get() == "nobody"
    assert Job(workers, who.get).wait() == "nobody"


@pytest.mark.pitfall(7, 19)
def test_fifty_jobs_that_block_do_not_keep_the_next_one_waiting(workers: Workers) -> None:
    gate = threading.Barrier(51, timeout=PATIENCE)
    jobs = [Job(workers, gate.wait) for _ in range(50)]
    assert Job(workers, lambda: "at once").wait() == "at once"
    gate.wait()
    for job in jobs:
        job.wait()


def test_jobs_in_a_row_do_not_each_make_a_thread(workers: Workers) -> None:
    names = set()
    for _ in range(100):
        names.add(Job(workers, lambda: threading.current_thread().name).wait())
        until(lambda: workers.settled)
    assert len(names) < 50


def test_the_threads_carry_the_name_and_end_with_the_process(workers: Workers) -> None:
    thread = Job(workers, threading.current_thread).wait()
    assert thread.name.startswith("test-")
    assert thread.daemon


@pytest.mark.pitfall(35)
def test_idle_threads_end(workers: Workers) -> None:
    gate = threading.Barrier(21, timeout=PATIENCE)
    jobs = [Job(workers, gate.wait) for _ in range(20)]
    gate.wait()
    for job in jobs:
        job.wait()
    before = threading.active_count()
    until(lambda: workers.threads == 0)
    until(lambda: threading.active_count() <= before - 1)


def test_a_job_after_the_threads_have_ended_runs_all_the_same(workers: Workers) -> None:
    Job(workers, lambda: None).wait()
    until(lambda: workers.threads == 0)
    assert Job(workers, lambda: "again").wait() == "again"


@pytest.mark.pitfall(16)
def test_a_job_that_fails_is_logged_with_its_traceback(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("of the user's making")

    workers.submit(fail)
    until(lambda: workers.settled)
    assert "of the user's making" in caplog.text
    assert "Traceback" in caplog.text
    assert Job(workers, lambda: "alive").wait() == "alive"


async def test_a_call_gives_what_the_function_returns(workers: Workers) -> None:
    assert await workers.call(divmod, 7, 2) == (3, 1)


async def test_a_call_runs_on_another_thread(workers: Workers) -> None:
    assert await workers.call(threading.get_ident) != threading.get_ident()


async def test_a_call_sees_the_context_of_who_awaits_it(workers: Workers) -> None:
    who.set("ann")
    assert await workers.call(who.get) == "ann"


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("no")])
async def test_a_call_raises_what_the_function_raises(
    error: BaseException, workers: Workers
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as e:
        await workers.call(fail)
    assert e.value is error


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
async def test_what_would_end_the_loop_arrives_as_an_ordinary_error(
    error: BaseException, workers: Workers
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(RuntimeError, match=type(error).__name__) as e:
        await workers.call(fail)
    assert e.value.__cause__ is error


async def test_a_call_that_raises_stop_iteration_says_so(workers: Workers) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await workers.call(next, iter([]))


async def test_a_call_that_is_cancelled_leaves_the_function_running(workers: Workers) -> None:
    begun, go, over = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait(PATIENCE)
        over.set()

    task = asyncio.ensure_future(workers.call(work))
    await workers.call(begun.wait, PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    assert await workers.call(over.wait, PATIENCE)


@pytest.mark.pitfall(35)
def test_a_call_whose_loop_has_closed_ends_quietly(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait(PATIENCE)

    async def leave() -> None:
        task = asyncio.ensure_future(workers.call(work))
        assert await workers.call(begun.wait, PATIENCE)
        task.cancel()

    asyncio.run(leave())
    go.set()
    until(lambda: workers.settled)
    assert not [record for record in caplog.records if record.name.startswith("fastrtc")]


# What virtual time waits for


def test_without_jobs_all_is_settled(workers: Workers) -> None:
    assert workers.settled


def test_a_job_that_computes_is_not_settled(workers: Workers) -> None:
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait(PATIENCE)

    job = Job(workers, work)
    assert begun.wait(PATIENCE)
    assert not workers.settled
    go.set()
    job.wait()
    until(lambda: workers.settled)


def test_a_job_that_may_block_counts_as_settled(workers: Workers) -> None:
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        with workers.may_block():
            begun.set()
            go.wait(PATIENCE)

    job = Job(workers, work)
    assert begun.wait(PATIENCE)
    assert workers.settled
    go.set()
    job.wait()
    until(lambda: workers.settled)
    assert workers.lenient == 0


def test_a_job_that_waits_for_the_loop_is_settled_until_it_may_go_on(workers: Workers) -> None:
    handover: Handover[str] = Handover(1)
    go = threading.Event()

    def work() -> None:
        handover.take()
        go.wait(PATIENCE)

    job = Job(workers, work)
    until(lambda: workers.settled)
    handover.offer("news")
    assert not workers.settled
    go.set()
    job.wait()
    until(lambda: workers.settled)


# The thread border


async def test_a_function_is_called_on_the_loop_from_any_thread(workers: Workers) -> None:
    loop, found = asyncio.get_running_loop(), asyncio.Event()
    seen: list[int] = []

    def note(number: int) -> None:
        seen.extend([number, threading.get_ident()])
        found.set()

    assert await workers.call(call_soon, loop, note, 7)
    await asyncio.wait_for(found.wait(), PATIENCE)
    assert seen == [7, threading.get_ident()]


@pytest.mark.pitfall(18)
def test_a_loop_that_has_closed_is_noticed() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    assert not call_soon(loop, print)


@given(st.lists(st.integers(0, 4), max_size=30))
@settings(deadline=None, max_examples=40)
def test_a_put_is_never_refused_while_there_is_room(weights: list[int]) -> None:
    handover: Handover[int] = Handover(10)
    for weight, before in zip(weights, accumulate([0, *weights]), strict=False):
        if before >= 10:
            assert handover.full
            return
        handover.put(weight, weight)
