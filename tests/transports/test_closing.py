"""A stream that is about to close, whatever calls over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from fastrtc import Stream
from tests.peers import Caller
from tests.transports.house import House, Teller
from tests.transports.sip.caller import LOOPBACK, caller
from tests.transports.sockets.caller import calling

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHUTTING_DOWN = {"status": "failed", "meta": {"error": "shutting_down"}}


@contextlib.asynccontextmanager
async def closing(stream: Stream) -> AsyncIterator[None]:
    """Close a stream that has a call, and has much time for it."""
    call = stream.admit("a call")
    task = asyncio.ensure_future(stream.close(grace=60))
    await asyncio.sleep(0)
    yield
    assert not call.ending
    await call.close()
    await task


async def test_an_offer_is_refused(house: House) -> None:
    place = house.open(Teller())
    async with closing(place.stream):
        one = Caller(place.http, place.path)
        assert await one.post(await one.offer()) == SHUTTING_DOWN
        await one.hang_up()


async def test_a_socket_is_refused(house: House) -> None:
    place = house.open(Teller())
    async with closing(place.stream), calling(place, "bob") as one:
        assert await one.until_closed() == 1008
    assert one.messages == [SHUTTING_DOWN]


async def test_a_telephone_is_told_that_we_are_busy(house: House) -> None:
    place = house.open(Teller())
    async with closing(place.stream), place.carrier() as carrier:
        assert (await carrier.dial()).status == "busy"


async def test_a_sip_caller_is_told_to_try_elsewhere_and_one_who_talks_is_not_cut_off() -> None:
    stream = Stream(Teller())
    line = await stream.answer_sip(LOOPBACK, 0)
    async with caller(line) as inside, caller(line) as late:
        assert (await inside.invite()).code == 200
        async with closing(stream):
            assert (await late.invite()).code == 503
            assert inside.id in stream.connections
            await inside.hang_up()
