"""What a stream does with calls of other replicas, and what replicas ask each other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from fastrtc import AdditionalOutputs, Stream
from fastrtc.admission import Refused
from fastrtc.cluster.board import Report
from fastrtc.cluster.neighbours import PAGES_KEPT
from fastrtc.elsewhere import Elsewhere
from tests.cluster.house import Engine, House, Replica, Silent, Visit, house
from tests.peers import eventually
from tests.transports.webrtc.offers import CHROME


class Pair:
    """Two replicas, and a call at the second."""

    def __init__(self, there: House) -> None:
        self.house = there
        self.here, self.there = there.replicas

    @property
    def session(self) -> Any:
        return self.there.stream.connections["ann"]

    def give_out(self, *values: Any) -> None:
        self.session.outputs.put(AdditionalOutputs(*values))

    @property
    def readers(self) -> int:
        return len(self.session.outputs._readers)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with house(2) as there:
        await there.offer_at(there.replicas[1], "ann")
        yield Pair(there)


# Inputs.


async def test_inputs_reach_a_call_of_another_replica(pair: Pair) -> None:
    pair.here.stream.set_input("ann", "hello", {"a": [1, None]})
    await asyncio.wait_for(pair.session.handler.args_set.wait(), 5)
    assert pair.session.handler.latest_args == ["__webrtc_value__", "hello", {"a": [1, None]}]


async def test_of_inputs_that_come_one_after_the_other_the_last_ones_stay(pair: Pair) -> None:
    first = True
    ask = pair.here.messenger.ask

    async def slow_at_first(*args: Any, **options: Any) -> bytes:
        nonlocal first
        if first:
            first = False
            await asyncio.sleep(0.1)
        return await ask(*args, **options)

    pair.here.messenger.ask = slow_at_first  # type: ignore[method-assign]
    for number in range(5):
        pair.here.stream.set_input("ann", number)
        await asyncio.sleep(0)
    handler = pair.session.handler
    await eventually(lambda: handler.latest_args == ["__webrtc_value__", 4])
    await asyncio.sleep(0.15)
    assert handler.latest_args == ["__webrtc_value__", 4]
    await eventually(lambda: not pair.here.neighbours._inputs)


async def test_inputs_may_come_from_a_thread(pair: Pair) -> None:
    thread = threading.Thread(target=pair.here.stream.set_input, args=("ann", "hello"))
    thread.start()
    await asyncio.wait_for(pair.session.handler.args_set.wait(), 5)
    thread.join()


async def test_a_hook_of_a_user_runs_where_the_call_is(pair: Pair) -> None:
    response = await pair.here.http.post("/input_hook", json={"webrtc_id": "ann", "text": "hello"})
    assert response.json() == {"from": pair.there.name}
    assert pair.session.handler.latest_args[-1] == "hello"


async def test_inputs_for_a_call_that_nobody_has_are_named_in_the_log(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fastrtc.cluster.neighbours"):
        pair.here.stream.set_input("nobody", "hello")
        await eventually(lambda: "Inputs for call 'nobody'" in caplog.text)


@pytest.mark.parametrize("call_id", ["a\nforged line", "half of \ud83d", 5, "long" * 10_000])
async def test_inputs_for_what_is_no_id_are_one_short_line_of_the_log(
    pair: Pair, caplog: pytest.LogCaptureFixture, call_id: Any
) -> None:
    with caplog.at_level(logging.WARNING, "fastrtc.cluster.neighbours"):
        pair.here.stream.set_input(call_id, "hello")
        await eventually(lambda: "Inputs for call" in caplog.text)
    (told,) = (it.getMessage() for it in caplog.records if "Inputs" in it.getMessage())
    assert "\n" not in told
    assert len(told) < 200


async def test_inputs_that_cannot_be_sent_are_named_in_the_log(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fastrtc.cluster.neighbours"):
        pair.here.stream.set_input("ann", threading.Lock())
        await eventually(lambda: "could not be sent" in caplog.text)


# Outputs.


async def test_outputs_of_another_replica_are_read_until_the_call_ends(pair: Pair) -> None:
    read: list[Any] = []

    async def reader() -> None:
        async for outputs in pair.here.stream.output_stream("ann"):
            read.append(outputs.args)

    reading = asyncio.ensure_future(reader())
    await eventually(lambda: pair.readers == 1)
    for number in range(3):
        pair.give_out(number, "text")
    await eventually(lambda: len(read) == 3)
    pair.give_out("x" * 2**20)
    await pair.session.close()
    await asyncio.wait_for(reading, 5)
    assert read == [(0, "text"), (1, "text"), (2, "text"), ("x" * 2**20,)]


async def test_a_reader_that_goes_leaves_nothing_at_the_home(pair: Pair) -> None:
    stream = pair.here.stream.output_stream("ann")
    first = asyncio.ensure_future(anext(stream))
    await eventually(lambda: pair.readers == 1)
    first.cancel()
    await asyncio.wait([first])
    await eventually(lambda: pair.readers == 0)


async def test_events_of_a_user_are_read_through_another_replica(pair: Pair) -> None:
    visit = Visit(pair.here.front, "/updates?webrtc_id=ann")
    await visit.message()
    pair.give_out(1)
    assert (await visit.message())["body"] == b"data: (1,)\n\n"
    visit.go()
    await visit.task
    await eventually(lambda: pair.readers == 0)


async def test_the_latest_output_of_another_replica_is_fetched(pair: Pair) -> None:
    waiting = asyncio.ensure_future(pair.here.stream.fetch_latest_output("ann"))
    await eventually(lambda: pair.readers == 1)
    pair.give_out("first")
    assert (await asyncio.wait_for(waiting, 5)).args == ("first",)
    pair.give_out("second")
    assert (await pair.here.stream.fetch_latest_output("ann")).args == ("second",)


async def test_a_call_that_ends_without_outputs_has_no_latest(pair: Pair) -> None:
    waiting = asyncio.ensure_future(pair.here.stream.fetch_latest_output("ann"))
    await eventually(lambda: pair.readers == 1)
    await pair.session.close()
    with pytest.raises(ValueError, match="ended without outputs"):
        await asyncio.wait_for(waiting, 5)


async def test_the_outputs_of_a_call_that_nobody_has_are_an_error(pair: Pair) -> None:
    with pytest.raises(ValueError, match="nobody"):
        await pair.here.stream.fetch_latest_output("nobody")
    with pytest.raises(ValueError, match="nobody"):
        await anext(pair.here.stream.output_stream("nobody"))


# What is told.


async def test_a_call_that_comes_or_goes_is_told_at_once(pair: Pair) -> None:
    board = pair.house.switchboard

    def known() -> frozenset[str]:
        report: Report = board.board._posts["b"].report
        return report.calls

    assert known() == {"ann"}
    await pair.session.close()
    await eventually(lambda: not known())


async def test_a_replica_that_closes_its_stream_says_that_it_leaves(pair: Pair) -> None:
    await pair.there.stream.close()
    posts = pair.house.switchboard.board._posts
    await eventually(lambda: posts["b"].report.leaving)
    assert await pair.here.stream.find_refusal() is None


async def test_where_all_are_to_leave_each_is_told_and_the_refusal_says_so(pair: Pair) -> None:
    told: list[str] = []
    for replica in (pair.here, pair.there):
        replica.neighbours.on_drain = lambda name=replica.name: told.append(name)  # type: ignore[misc]
    await pair.house.told()
    assert told == []
    pair.house.switchboard.board.drains = True
    await pair.house.told()
    assert set(told) == {"a", "b"}
    for replica in (pair.here, pair.there):
        replica.stream._door.closing = True
    await pair.house.told()
    refusal = await pair.here.stream.find_refusal()
    assert refusal is not None
    assert refusal.error == "shutting_down"


async def test_a_replica_that_is_closed_is_no_home_any_more() -> None:
    async with house(2) as there:
        first, second = there.replicas
        await second.neighbours.close()
        there.replicas.remove(second)
        await there.told()
        assert first.neighbours.homes == [first.home]


async def test_a_switchboard_that_fails_is_told_again(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    board = pair.house.switchboard
    working = board.report

    async def broken(report: Report) -> Any:
        raise RuntimeError("not today")

    board.report = broken  # type: ignore[method-assign]
    pair.here.neighbours.changed()
    await eventually(lambda: "not today" in caplog.text)
    board.report = working  # type: ignore[method-assign]
    await pair.house.told()


async def test_the_pages_that_were_used_last_are_kept(pair: Pair) -> None:
    neighbours = pair.here.neighbours
    for number in range(PAGES_KEPT + 1):
        await neighbours.home_of_page(f"page {number}")
    await pair.house.told()
    pages = pair.house.switchboard.board._posts["a"].report.pages
    assert len(pages) == PAGES_KEPT
    assert "page 0" not in pages


async def test_a_page_is_kept_by_nobody_who_did_not_get_it_from_the_switchboard(pair: Pair) -> None:
    assert await pair.there.neighbours.home_of_page("page") is None
    pair.house.switchboard.reachable = False
    assert await pair.here.neighbours.home_of_page("page") is None
    pair.house.switchboard.reachable = True
    await pair.house.told()
    assert await pair.here.neighbours.home_of_page("page") == pair.there.home


async def test_a_full_cluster_has_a_refusal_and_one_with_room_has_none() -> None:
    async with house(2, slots=1) as there:
        first, second = there.replicas
        await there.offer_at(first, "ann")
        assert await first.stream.find_refusal() is None
        await there.offer_at(second, "bob")
        refusal = await first.stream.find_refusal()
        assert refusal is not None
        assert (refusal.error, refusal.facts) == ("concurrency_limit_reached", {"limit": 2})


async def test_without_a_switchboard_the_refusal_is_ones_own() -> None:
    async with house(2, slots=1) as there:
        there.switchboard.reachable = False
        assert await there.replicas[0].stream.find_refusal() is None
        there.replicas[0].stream._door.closing = True
        refusal = await there.replicas[0].stream.find_refusal()
        assert refusal is not None
        assert refusal.why == "shutting_down"


# From other replicas.


@pytest.mark.parametrize("path", ["has", "input", "outputs", "latest", "nonsense"])
async def test_a_replica_that_asks_for_a_call_that_is_not_here_is_told_so(
    pair: Pair, path: str
) -> None:
    with pytest.raises(LookupError):
        await pair.here.messenger.ask(
            pair.there.home, "POST", f"/.fastrtc/{path}?call=nobody", within=5
        )


async def test_a_client_cannot_pickle_its_way_in(pair: Pair) -> None:
    body = b"cos\ngetpid\n(tR."  # what unpickling runs
    for target in ("/.fastrtc/input?call=ann&webrtc_id=ann", "/%2efastrtc/input?call=ann"):
        for replica in pair.house.replicas:
            response = await _post(replica, target, body)
            assert response in (404, 405)
    assert not pair.session.handler.args_set.is_set()


async def _post(replica: Replica, target: str, body: bytes) -> int:
    with contextlib.suppress(ConnectionError):
        return (await replica.http.post(target, content=body)).status_code
    return 0


# The door of a stream that is shared.


class Others:
    """`Elsewhere`, which counts what it is told."""

    def __init__(self) -> None:
        self.replica = "a"
        self.changes = 0
        self.refused: Refused | None = None
        self.reserved: list[str] = []

    def changed(self) -> None:
        self.changes += 1

    async def reserve(self, call_id: str, identity: Any, *, again: bool) -> None:
        self.reserved.append(call_id)
        if self.refused is not None:
            raise self.refused


@pytest.fixture
async def shared() -> AsyncIterator[tuple[Stream, Others]]:
    stream, others = Stream(Silent(), engine=Engine(), concurrency_limit=1), Others()
    stream.share(cast(Elsewhere, others))
    yield stream, others
    await stream.close()


async def test_a_shared_stream_leaves_the_limit_to_all_together(shared: Any) -> None:
    stream, others = shared
    for name in ("ann", "bob"):
        assert (await offer(stream, name))["type"] == "answer"
    assert others.reserved == ["ann", "bob"]


async def test_a_shared_stream_refuses_whom_the_others_refuse(shared: Any) -> None:
    stream, others = shared
    others.refused = Refused("concurrency_limit_reached", limit=7)
    reply = await offer(stream, "ann")
    assert reply == {"status": "failed", "meta": {"error": "concurrency_limit_reached", "limit": 7}}
    assert not stream.connections


async def test_a_shared_stream_asks_for_no_place_for_what_it_refuses_itself(shared: Any) -> None:
    stream, others = shared
    await offer(stream, "ann", sdp="nonsense")
    await stream.close()
    assert (await offer(stream, "ann"))["meta"]["error"] == "shutting_down"
    assert others.reserved == []


async def test_the_others_are_told_of_each_call_that_comes_and_goes(shared: Any) -> None:
    stream, others = shared
    await offer(stream, "ann")
    assert others.changes == 1
    await stream.connections["ann"].close()
    await eventually(lambda: others.changes == 2)


async def offer(stream: Stream, call_id: str, **more: Any) -> Any:
    return await stream.offer({"webrtc_id": call_id, "type": "offer", "sdp": CHROME, **more})
