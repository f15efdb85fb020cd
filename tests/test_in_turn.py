"""`threads.in_turn`: the values of a user's iterable of either kind."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.threads import in_turn
from tests.models.pools import PATIENCE, until_on_loop

who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


async def forwards(values: list[Any]) -> AsyncIterator[Any]:
    for value in values:
        yield value


async def collect(values: Any) -> list[Any]:
    return [value async for value in in_turn(values)]


class Walk:
    """An iterator of one's own, which has no `close`."""

    def __init__(self, step: Callable[[], Any]) -> None:
        self.step = step

    def __iter__(self) -> "Walk":
        return self

    def __next__(self) -> Any:
        return self.step()


class AsyncWalk:
    """An asynchronous one, which has no `aclose`."""

    def __init__(self, values: list[int]) -> None:
        self.values = values

    def __aiter__(self) -> "AsyncWalk":
        return self

    async def __anext__(self) -> int:
        if not self.values:
            raise StopAsyncIteration
        return self.values.pop(0)


class Source:
    """Numbers without an end, of either kind; knows how it went."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.stuck = threading.Event()
        self.gate = threading.Event()

    def plain(self, stuck_at: int = -1) -> Iterator[int]:
        try:
            number = 0
            while True:
                if number == stuck_at:
                    self.stuck.set()
                    assert self.gate.wait(PATIENCE)
                yield number
                number += 1
        finally:
            self.closed.set()

    async def on_loop(self, stuck_at: int = -1) -> AsyncIterator[int]:
        try:
            number = 0
            while True:
                if number == stuck_at:
                    self.stuck.set()
                    await asyncio.Event().wait()
                yield number
                number += 1
        finally:
            self.closed.set()


# Values


@pytest.mark.parametrize("kind", [list, iter, tuple, forwards, AsyncWalk])
@pytest.mark.parametrize("count", [0, 1, 5])
async def test_the_values_come_in_their_order(kind: Any, count: int) -> None:
    assert await collect(kind(list(range(count)))) == list(range(count))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), st.booleans(), st.text(max_size=2))))
def test_every_value_is_handed_on_whatever_it_is(values: list[Any]) -> None:
    async def both() -> None:
        assert await collect(values) == values
        assert await collect(forwards(values)) == values

    asyncio.run(both())


async def test_an_iterator_without_close_ends_where_it_says() -> None:
    values = [1, 2, 3]

    def step() -> int:
        if not values:
            raise StopIteration
        return values.pop(0)

    assert await collect(Walk(step)) == [1, 2, 3]


async def test_a_value_is_not_asked_for_before_it_is_wanted() -> None:
    asked: list[int] = []

    def counted() -> Iterator[int]:
        for number in range(5):
            asked.append(number)
            yield number

    async with aclosing(in_turn(counted())) as values:
        assert await anext(values) == 0
        assert await anext(values) == 1
    assert asked == [0, 1]


@pytest.mark.parametrize("values", [5, None, object()])
async def test_what_is_not_iterable_is_an_error(values: Any) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        await collect(values)


# Threads


async def test_an_iterator_that_blocks_leaves_the_loop_free() -> None:
    gate = threading.Event()

    def waiting() -> Iterator[bool]:
        yield gate.wait(PATIENCE)

    values = in_turn(waiting())
    task = asyncio.ensure_future(anext(values))
    await asyncio.sleep(0)
    # Nobody but the loop opens the gate.
    gate.set()
    assert await task
    await values.aclose()


async def test_a_plain_iterator_is_read_off_the_loop_and_an_asynchronous_one_on_it() -> None:
    def plain() -> Iterator[int]:
        yield threading.get_ident()

    async def on_loop() -> AsyncIterator[int]:
        yield threading.get_ident()

    here = threading.get_ident()
    assert await collect(plain()) != [here]
    assert await collect(on_loop()) == [here]


async def test_an_iterator_sees_the_context_of_who_reads_it() -> None:
    def plain() -> Iterator[str]:
        yield who.get()

    who.set("a caller")
    assert await collect(plain()) == ["a caller"]


# Errors


async def test_an_error_of_an_iterator_comes_after_the_values_before_it() -> None:
    def plain() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    async def on_loop() -> AsyncIterator[int]:
        yield 1
        raise ZeroDivisionError

    for source in (plain(), on_loop()):
        values = in_turn(source)
        assert await anext(values) == 1
        with pytest.raises(ZeroDivisionError):
            await anext(values)


async def test_an_iterable_that_cannot_begin_says_why() -> None:
    class Broken:
        def __iter__(self) -> Iterator[int]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await collect(Broken())


# Stopping early


@pytest.mark.parametrize("kind", ["plain", "on_loop"])
async def test_who_stops_early_closes_the_iterator(kind: str) -> None:
    source = Source()
    # It is held here, so that nothing else closes it.
    given = getattr(source, kind)()
    async with aclosing(in_turn(given)) as values:
        assert [await anext(values) for _ in range(3)] == [0, 1, 2]
    await until_on_loop(source.closed.is_set)


@pytest.mark.parametrize("kind", ["plain", "on_loop"])
async def test_who_is_cancelled_between_two_values_closes_the_iterator(kind: str) -> None:
    source = Source()
    begun = asyncio.Event()

    async def read() -> None:
        async with aclosing(in_turn(getattr(source, kind)())) as values:
            async for _ in values:
                begun.set()
                await asyncio.Event().wait()

    task = asyncio.ensure_future(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_on_loop(source.closed.is_set)


async def test_who_is_cancelled_while_a_step_blocks_does_not_wait_for_it() -> None:
    source = Source()
    task = asyncio.ensure_future(collect(source.plain(stuck_at=2)))
    await until_on_loop(source.stuck.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not source.gate.is_set()
    source.gate.set()
    # The iterator is closed when its last step is over.
    del task
    await until_on_loop(source.closed.is_set)


async def test_who_is_cancelled_while_an_asynchronous_step_waits_closes_the_iterator() -> None:
    source = Source()
    task = asyncio.ensure_future(collect(source.on_loop(stuck_at=2)))
    await until_on_loop(source.stuck.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed.is_set()


@pytest.mark.parametrize("values", [[1, 2, 3], AsyncWalk([1, 2, 3]), Walk(lambda: 1)])
async def test_what_has_nothing_to_close_may_be_left_early(values: Any) -> None:
    async with aclosing(in_turn(values)) as found:
        assert await anext(found) == 1


async def test_a_generator_that_tidies_up_slowly_does_not_block_the_loop() -> None:
    where: list[int] = []

    def tidy() -> Iterator[int]:
        try:
            yield 1
        finally:
            where.append(threading.get_ident())

    async with aclosing(in_turn(tidy())) as values:
        await anext(values)
    await until_on_loop(lambda: bool(where))
    assert where != [threading.get_ident()]


def test_a_step_that_blocks_does_not_keep_the_loop_from_ending() -> None:
    source = Source()
    ended = threading.Event()

    async def leave() -> None:
        task = asyncio.ensure_future(collect(source.plain(stuck_at=0)))
        await until_on_loop(source.stuck.is_set)
        task.cancel()

    def run() -> None:
        asyncio.run(leave())
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ended.wait(2.0)
    finally:
        source.gate.set()
        thread.join()
