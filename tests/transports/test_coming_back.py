"""A caller who has lost a call comes back with its id and a mark, over every transport."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastrtc import get_current_context
from tests.peers import Caller, eventually
from tests.transports.house import House, Place, Teller
from tests.transports.sockets.caller import PCM, SocketCaller, calling, connected

pytestmark = pytest.mark.asyncio(loop_scope="module")

ID = "ann's call"
TAKEN = {"status": "failed", "meta": {"error": "connection_already_exists"}}
NOT_HERS = {"status": "failed", "meta": {"error": "not_authorized"}}


class Knowing(Teller):
    """Notes who comes back, and in which order calls begin and end."""

    async def start_up(self) -> None:
        back = get_current_context().reconnected
        self.log.append("comes back" if back else "calls")

    def copy(self) -> Knowing:
        return Knowing(log=self.log)


async def offer(caller: Caller, place: Place, name: str = "ann", **fields: Any) -> dict[str, Any]:
    """The answer to a first offer under `ID`."""
    body = {**await caller.offer(), "webrtc_id": ID, **fields}
    headers = {"X-Name": name}
    reply = await place.http.post(f"{place.path}/webrtc/offer", json=body, headers=headers)
    answer: dict[str, Any] = reply.json()
    return answer


async def called(place: Place) -> Caller:
    """Who has called over WebRTC."""
    caller = Caller(place.http, place.path)
    caller.id = ID
    await caller.connect()
    await eventually(lambda: len(place.stream.handler.log) == 1)  # type: ignore[attr-defined]
    return caller


async def test_over_webrtc_the_lost_call_ends_and_its_slot_is_that_of_the_new_one(
    house: House,
) -> None:
    handler = Knowing()
    place = house.open(handler, concurrency_limit=1)
    first = await called(place)
    old = place.stream.connections[ID]
    again = Caller(place.http, place.path)
    assert "sdp" in await offer(again, place, reconnected=True)
    assert old.ended
    assert handler.log == ["calls", "shutdown"]
    assert list(place.stream.connections) == [ID]
    assert place.stream.connections[ID].context.reconnected
    await first.hang_up()
    await again.hang_up()


async def test_over_a_socket_the_lost_call_ends_and_its_slot_is_that_of_the_new_one(
    house: House,
) -> None:
    handler = Knowing()
    place = house.open(handler, concurrency_limit=1)
    async with calling(place, ID, format=PCM) as first, connected(place) as again:
        await first.until("started")
        await again.start(ID, format=PCM, reconnected=True)
        await again.until("started")
        await first.until_closed()
        await eventually(lambda: handler.log == ["calls", "shutdown", "comes back"])
        assert list(place.stream.connections) == [ID]


async def test_a_lost_call_may_come_back_over_the_other_transport(house: House) -> None:
    handler = Knowing()
    place = house.open(handler, concurrency_limit=1)
    first = await called(place)
    async with connected(place) as socket:
        await socket.start(ID, format=PCM, reconnected=True)
        await socket.until("started")
        await eventually(lambda: handler.log == ["calls", "shutdown", "comes back"])
        again = Caller(place.http, place.path)
        assert "sdp" in await offer(again, place, reconnected=True)
        await socket.until_closed()
    await first.hang_up()
    await again.hang_up()


async def test_a_call_that_is_gone_is_begun_with_the_mark(house: House) -> None:
    handler = Knowing()
    place = house.open(handler)
    async with connected(place) as socket:
        await socket.start(ID, format=PCM, reconnected=True)
        await eventually(lambda: handler.log == ["comes back"])
    caller = Caller(place.http, place.path)
    await eventually(lambda: not place.stream.connections)
    await offer(caller, place, reconnected=True)
    assert place.stream.connections[ID].context.reconnected
    await caller.hang_up()


@pytest.mark.parametrize("mark", [False, None, 1, "true", [True], {}])
async def test_only_true_is_the_mark(house: House, mark: Any) -> None:
    handler = Knowing()
    place = house.open(handler)
    async with calling(place, ID, format=PCM) as first, connected(place) as again:
        await first.until("started")
        await again.start(ID, format=PCM, reconnected=mark)
        await eventually(lambda: again.messages == [TAKEN])
        caller = Caller(place.http, place.path)
        assert await offer(caller, place, reconnected=mark) == TAKEN
        await caller.hang_up()
        assert handler.log == ["calls"]


async def test_a_start_that_names_no_call_comes_back_to_none(house: House) -> None:
    handler = Knowing()
    async with calling(house.open(handler), format=PCM, reconnected=True):
        await eventually(lambda: handler.log == ["calls"])


async def test_a_call_gives_way_to_nobody_but_its_own_caller(house: House) -> None:
    handler = Knowing()
    place = house.open(handler, authorize=lambda connection: connection.headers.get("x-name"))

    async def comes_back(name: str) -> SocketCaller:
        async with connected(place, additional_headers={"X-Name": name}) as caller:
            await caller.start(ID, format=PCM, reconnected=True)
            await eventually(lambda: bool(caller.messages))
        return caller

    async with connected(place, additional_headers={"X-Name": "ann"}) as ann:
        await ann.start(ID, format=PCM)
        await ann.until("started")
        assert (await comes_back("bob")).messages == [NOT_HERS]
        caller = Caller(place.http, place.path)
        assert await offer(caller, place, "bob", reconnected=True) == NOT_HERS
        await caller.hang_up()
        assert handler.log == ["calls"]
        assert (await comes_back("ann")).named("started")


async def test_of_several_who_come_back_at_once_one_has_the_call(house: House) -> None:
    place = house.open(Knowing(), concurrency_limit=1)
    first = await called(place)
    again = [Caller(place.http, place.path) for _ in range(3)]
    answers = await asyncio.gather(*(offer(it, place, reconnected=True) for it in again))
    assert any("sdp" in answer for answer in answers)
    assert list(place.stream.connections) == [ID]
    assert place.stream.connections[ID].context.reconnected
    for caller in (first, *again):
        await caller.hang_up()


async def test_a_server_that_is_about_to_stop_keeps_the_call_that_it_has(house: House) -> None:
    place = house.open(Knowing())
    async with calling(place, ID, format=PCM) as first, connected(place) as again:
        await first.until("started")
        stopping = asyncio.ensure_future(place.stream.close(grace=10))
        await asyncio.sleep(0)
        await again.start(ID, format=PCM, reconnected=True)
        await eventually(lambda: bool(again.messages))
        assert again.messages[0]["meta"] == {"error": "shutting_down"}
        assert not place.stream.connections[ID].ending
        await first.tell({"event": "stop"})
        await stopping


async def test_a_server_that_only_listens_is_heard_of_all_the_time(house: House) -> None:
    place = house.open(Teller(), mode="send")
    caller = Caller(place.http, place.path)
    await caller.connect()
    transport = caller.connection.getTransceivers()[0].receiver.transport

    def came() -> int:
        (stats,) = transport._get_stats().values()
        return int(stats.packetsReceived)

    before = came()
    # Reports alone would take 25 s.
    await eventually(lambda: came() >= before + 10)
    await caller.hang_up()
