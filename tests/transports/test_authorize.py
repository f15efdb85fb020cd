"""`Stream(authorize=...)`: who may come in, over every transport, and who they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiortc import RTCSessionDescription
from websockets.exceptions import InvalidStatus

from fastrtc import get_current_context
from tests.peers import Caller, eventually
from tests.transports.house import House, Place, Teller
from tests.transports.sockets.caller import PCM, calling, connected

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUSED = {"status": "failed", "meta": {"error": "not_authorized"}}


def by_key(connection: Any) -> Any:
    """The name that a header or a query gives; nobody has an empty one."""
    return connection.headers.get("x-name") or connection.query_params.get("name")


async def by_key_async(connection: Any) -> Any:
    await asyncio.sleep(0)
    return by_key(connection)


def by_key_in_an_awaitable(connection: Any) -> Any:
    return by_key_async(connection)


class ByKey:
    def __call__(self, connection: Any) -> Any:
        return by_key(connection)


def raises(connection: Any) -> Any:
    raise ConnectionError("the database is down")


async def raises_async(connection: Any) -> Any:
    raise ConnectionError("the database is down")


class Knowing(Teller):
    """Notes who calls."""

    async def start_up(self) -> None:
        self.log.append(get_current_context().identity)

    def copy(self) -> Knowing:
        return Knowing(log=self.log)


every_kind = pytest.mark.parametrize(
    "authorize",
    [by_key, by_key_async, by_key_in_an_awaitable, ByKey()],
    ids=["sync", "async", "awaitable", "object"],
)
no_answer = pytest.mark.parametrize(
    "authorize",
    [raises, raises_async, lambda _: False, lambda _: None],
    ids=["raises", "raises async", "False", "None"],
)


async def refused_socket(place: Place) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        async with connected(place):
            pass
    assert refusal.value.response.status_code == 403


# WebSocket


@every_kind
async def test_who_calls_over_a_socket_is_in_the_context(
    house: House, authorize: Callable[..., Any]
) -> None:
    handler = Knowing()
    place = house.open(handler, authorize=authorize)
    async with connected(place, additional_headers={"X-Name": "ann"}) as caller:
        await caller.start(format=PCM)
        await caller.until("started")
        await eventually(lambda: handler.log == ["ann"])
    await refused_socket(place)


@no_answer
async def test_a_socket_is_refused_when_the_function_does_not_say_yes(
    house: House, authorize: Callable[..., Any]
) -> None:
    place = house.open(Teller(), authorize=authorize)
    await refused_socket(place)
    assert not place.stream.connections


async def test_a_yes_without_a_name_is_no_identity(house: House) -> None:
    handler = Knowing()
    async with calling(house.open(handler, authorize=lambda _: True), format=PCM):
        await eventually(lambda: handler.log == [None])


@pytest.mark.parametrize("identity", [0, "", {}, []])
async def test_an_identity_may_be_anything_but_false_and_none(house: House, identity: Any) -> None:
    handler = Knowing()
    async with calling(house.open(handler, authorize=lambda _: identity), format=PCM):
        await eventually(lambda: handler.log == [identity])


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_function_that_takes_too_long_lets_nobody_in_and_holds_nobody_up(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("fastrtc.admission.AUTHORIZED_WITHIN", 0.1)
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def slow_async(connection: Any) -> bool:
        await done.wait()
        return True

    def slow(connection: Any) -> bool:
        return asyncio.run_coroutine_threadsafe(slow_async(connection), loop).result()

    place = house.open(Teller(), authorize=slow if kind == "sync" else slow_async)
    other = house.open(Teller())
    asking = asyncio.ensure_future(refused_socket(place))
    async with calling(other, format=PCM) as caller:
        await caller.until("started")
    await asking
    done.set()


# WebRTC


@every_kind
async def test_an_offer_that_is_not_authorized_is_refused_with_403(
    house: House, authorize: Callable[..., Any]
) -> None:
    place = house.open(Teller(), authorize=authorize)
    caller = Caller(house.http, place.path)
    offer = await caller.offer()
    reply = await house.http.post(f"{place.url}/webrtc/offer", json=offer)
    assert (reply.status_code, reply.json()) == (403, REFUSED)
    assert not place.stream.connections
    reply = await house.http.post(
        f"{place.url}/webrtc/offer", json=offer, headers={"X-Name": "ann"}
    )
    assert reply.status_code == 200
    assert place.stream.connections[caller.id].context.identity == "ann"
    await caller.hang_up()


@no_answer
async def test_an_offer_is_refused_when_the_function_does_not_say_yes(
    house: House, authorize: Callable[..., Any]
) -> None:
    place = house.open(Teller(), authorize=authorize)
    offer = {"type": "offer", "sdp": "v=0", "webrtc_id": "a"}
    reply = await house.http.post(f"{place.url}/webrtc/offer", json=offer)
    assert (reply.status_code, reply.json()) == (403, REFUSED)


async def test_who_calls_over_webrtc_is_in_the_context(house: House) -> None:
    handler = Knowing()
    place = house.open(handler, authorize=by_key)
    caller = Caller(Named(house), place.path)  # type: ignore[arg-type]
    await caller.connect()
    await eventually(lambda: handler.log == ["ann"])
    await caller.hang_up()


class Named:
    """Posts as Ann."""

    def __init__(self, house: House) -> None:
        self.house = house

    async def post(self, path: str, json: Any) -> Any:
        return await self.house.http.post(path, json=json, headers={"X-Name": "ann"})


async def test_turn_credentials_are_for_those_who_may_call(house: House) -> None:
    place = house.open(
        Teller(), authorize=by_key, rtc_configuration={"iceServers": [{"urls": "turn:a"}]}
    )
    url = f"{place.url}/webrtc/config"
    refused = await house.http.get(url)
    assert (refused.status_code, refused.json()) == (403, {"detail": "not_authorized"})
    assert "turn:a" not in refused.text
    assert "turn:a" in (await house.http.get(url, headers={"X-Name": "ann"})).text


async def test_a_call_is_not_restarted_by_somebody_else(house: House) -> None:
    place = house.open(Teller(), authorize=by_key)
    caller = Caller(house.http, f"{place.path}")
    url = f"{place.url}/webrtc/offer"
    offer = await caller.offer()
    answer = (await house.http.post(url, json=offer, headers={"X-Name": "ann"})).json()
    await caller.connection.setRemoteDescription(
        RTCSessionDescription(answer["sdp"], answer["type"])
    )
    session = place.stream.connections[caller.id]
    again = {**offer, "sdp": with_other_credentials(offer["sdp"])}
    for name in ("bob", ""):
        reply = await house.http.post(url, json=again, headers={"X-Name": name})
        assert (reply.status_code, reply.json()) == (403, REFUSED)
    assert place.stream.connections == {caller.id: session}
    reply = await house.http.post(url, json=again, headers={"X-Name": "ann"})
    assert reply.json()["type"] == "answer"
    assert place.stream.connections == {caller.id: session}
    await caller.hang_up()


def with_other_credentials(sdp: str) -> str:
    """What an offer looks like after ``restartIce()``."""
    lines = sdp.splitlines(keepends=True)
    changed = {"a=ice-ufrag:": "wxyz", "a=ice-pwd:": "p" * 24}
    for index, text in enumerate(lines):
        for start, value in changed.items():
            if text.startswith(start):
                lines[index] = f"{start}{value}\r\n"
    return "".join(lines)


async def test_an_offer_without_its_request_is_refused_and_the_log_says_why(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    place = house.open(Teller(), authorize=lambda _: True)
    caller = Caller(house.http, place.path)
    assert await place.stream.offer(await caller.offer()) == REFUSED
    assert "stream.offer(body, request)" in caplog.text
    await caller.hang_up()


async def test_candidates_need_no_second_question(house: House) -> None:
    asked: list[Any] = []

    def once(connection: Any) -> bool:
        asked.append(connection)
        return True

    place = house.open(Teller(), authorize=once)
    caller = Caller(house.http, place.path)
    await caller.post(await caller.offer())
    end = {"type": "ice-candidate", "webrtc_id": caller.id, "candidate": None}
    assert await caller.post(end) == {"status": "success"}
    assert len(asked) == 1
    await caller.hang_up()


# Telephone


async def test_a_telephone_call_is_let_in_by_its_facts(house: House) -> None:
    def by_number(connection: Any) -> Any:
        phone = connection.state.phone
        return phone.caller if phone.caller.startswith("+1555") else None

    handler = Knowing()
    place = house.open(handler, authorize=by_number)
    async with place.carrier() as carrier:
        call = await carrier.dial(from_="+15550001111")
        await eventually(lambda: handler.log == ["+15550001111"])
        await call.hang_up()
        other = await carrier.dial(from_="+19995550000")
        await other.wait_ended()
    assert handler.log == ["+15550001111", "shutdown"]
    assert other.close_code == 1008
    assert other.violations == []


@no_answer
async def test_a_telephone_call_is_refused_when_the_function_does_not_say_yes(
    house: House, authorize: Callable[..., Any]
) -> None:
    place = house.open(Teller(), authorize=authorize)
    async with place.carrier() as carrier:
        call = await carrier.dial()
        await call.wait_ended()
    assert call.close_code == 1008
    assert not place.stream.connections


async def test_a_webhook_is_not_asked_about_as_it_takes_no_call(house: House) -> None:
    place = house.open(Teller(), authorize=raises)
    assert (await house.http.post(f"{place.url}/telephone/incoming")).status_code == 200
