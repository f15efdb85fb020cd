"""Calls over ``/websocket/offer``, from their start to their end, on a real server."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi import WebSocket
from websockets.exceptions import InvalidStatus

from fastrtc import (
    AdditionalOutputs,
    CloseStream,
    ReplyOnPause,
    Stream,
    StreamHandler,
    get_current_context,
)
from tests.conftest import Sound, tone
from tests.peers import eventually
from tests.samples import Echo
from tests.transports.house import House, Parrot, Place, Teller, hertz, loud_seconds, trimmed
from tests.transports.sockets.caller import PCM, Codec, calling, connected

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT = tone(0.3, rate=8_000)[1]


# What is heard


async def test_an_old_client_hears_itself_in_mulaw_at_the_rates_of_the_handler(
    house: House,
) -> None:
    async with calling(house.open(Echo()), "ann") as caller:
        caller.codec, caller.codec_heard = Codec(rate=48_000), Codec(rate=24_000)
        await caller.say(tone(0.3, rate=48_000)[1])
        await caller.until_heard(0.3)
        heard = caller.heard[0]
    assert hertz(heard, 24_000) == pytest.approx(440, abs=2)
    assert loud_seconds(heard, 24_000) == pytest.approx(0.3, abs=0.03)
    assert not caller.messages


@pytest.mark.parametrize(
    ("encoding", "rate", "channels", "framing"),
    [
        ("pcm_s16le", 16_000, 1, "json"),
        ("pcm_s16le", 44_100, 2, "binary"),
        ("mulaw", 8_000, 1, "binary"),
        ("alaw", 8_000, 1, "json"),
        ("alaw", 16_000, 2, "binary"),
        ("opus", 48_000, 1, "binary"),
        ("opus", 16_000, 2, "json"),
    ],
)
async def test_a_client_hears_itself_in_the_format_that_it_asks_for(
    house: House, encoding: str, rate: int, channels: int, framing: str
) -> None:
    wanted = {
        "encoding": encoding,
        "sample_rate": rate,
        "channels": channels,
        "framing": framing,
    }
    async with calling(house.open(Parrot(rate=48_000)), format=wanted) as caller:
        await caller.say(np.repeat(tone(0.3, rate)[1], channels, axis=0))
        await caller.until_heard(0.26)
        heard = caller.heard
    assert heard.shape[0] == channels
    for channel in heard:
        assert hertz(channel, caller.codec.rate_heard) == pytest.approx(440, abs=5)
        assert np.abs(channel).max() == pytest.approx(8_000, rel=0.2)


async def test_one_who_asks_for_a_format_is_told_which_it_is_and_the_id(house: House) -> None:
    async with calling(house.open(Teller()), "ann", format=PCM) as caller:
        told = await caller.until("started")
    assert told == {
        "event": "started",
        "websocket_id": "ann",
        "format": {**PCM, "channels": 1, "framing": "json", "marks": False},
    }


async def test_an_id_is_minted_where_none_is_given(house: House) -> None:
    ids: list[str] = []

    class Asker(Teller):
        async def start_up(self) -> None:
            ids.append(get_current_context().websocket_id)

        def copy(self) -> Asker:
            return Asker()

    place = house.open(Asker())
    async with calling(place, format=PCM) as one, calling(place) as two:
        told = await one.until("started")
        await eventually(lambda: len(ids) == 2)
        assert ids[0] == told["websocket_id"]
        assert min(len(call_id) for call_id in ids) >= 16
        assert set(place.stream.connections) == set(ids)
        assert not two.messages


async def test_a_ping_is_answered_before_the_call_begins_and_after(house: House) -> None:
    async with connected(house.open(Teller())) as caller:
        await caller.tell({"event": "ping"})
        assert await caller.until("pong") == {"event": "pong"}
        await caller.start()
        await caller.tell({"event": "ping"})
        await caller.until("pong", 2)


@pytest.mark.pitfall(15)
async def test_sound_at_the_start_is_heard_at_once(house: House) -> None:
    async with connected(house.open(Teller((8_000, SHORT)))) as caller:
        began = time.monotonic()
        await caller.start(format=PCM)
        await caller.until_heard(0.02)
    assert caller.arrived[0][0] - began < 0.3


@pytest.mark.pitfall(15)
async def test_a_handler_with_nothing_to_say_is_not_hurried_and_queues_nothing(
    house: House,
) -> None:
    asked: list[float] = []
    said: queue.Queue[Sound] = queue.Queue()

    class Idle(StreamHandler):
        def receive(self, frame: Any) -> None: ...

        def emit(self) -> Any:
            asked.append(time.monotonic())
            return None if said.empty() else said.get()

        def copy(self) -> Idle:
            return Idle(output_sample_rate=8_000)

    async with calling(house.open(Idle()), format=PCM) as caller:
        await eventually(lambda: len(asked) > 30)
        assert len(asked) / (asked[-1] - asked[0]) < 75
        put = time.monotonic()
        said.put((8_000, SHORT))
        await caller.until_heard(0.02)
    assert caller.arrived[0][0] - put < 0.2


async def test_sound_comes_in_real_time_and_a_little_ahead(house: House) -> None:
    async with calling(house.open(Teller(tone(1.0, rate=8_000))), format=PCM) as caller:
        await caller.until_heard(1.0)
    first = caller.arrived[0][0]
    for index, (at, _) in enumerate(caller.arrived):
        due = first + 0.02 * index
        assert -0.2 < at - due < 0.3
    assert caller.arrived[-1][0] - first > 0.8


async def test_silence_costs_nothing(house: House) -> None:
    async with calling(house.open(Teller((8_000, SHORT))), format=PCM) as caller:
        await caller.until_heard(0.3)
        await caller.tell({"event": "ping"})
        await caller.until("pong")
        await asyncio.sleep(0.1)
        assert caller.heard.shape[1] <= SHORT.shape[1] + 2 * 160
    assert np.array_equal(trimmed(caller.heard[0]), trimmed(SHORT[0]))


# Messages


async def test_an_error_of_the_function_is_told_and_the_next_turn_is_answered(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    turns: list[Any] = []

    def reply(audio: Any) -> Iterator[Any]:
        turns.append(audio)
        if len(turns) == 1:
            raise ArithmeticError("no such number")
        yield 8_000, SHORT

    place = house.open(ReplyOnPause(reply, endpointing="vad", output_sample_rate=8_000))
    async with calling(place, "ann", format=PCM) as caller:
        await caller.until("started")
        (await place.handler()).trigger_response()
        error = await caller.until("error")
        (await place.handler()).trigger_response()
        await caller.until_heard(0.3)
    assert "no such number" in error["data"] == error["message"]
    assert "ArithmeticError" in caplog.text


async def test_outputs_reach_the_app_and_inputs_the_handler(house: House) -> None:
    class Asker(Teller):
        async def start_up(self) -> None:
            await self.wait_for_args()
            self.more.put_nowait(AdditionalOutputs(*self.latest_args[1:]))

        def copy(self) -> Asker:
            return Asker()

    place = house.open(Asker())
    async with calling(place, "ann") as caller:
        await caller.until("send_input")
        place.stream.set_input("ann", "alto")
        await caller.until("fetch_output")
        outputs = await place.stream.fetch_latest_output("ann")
    assert outputs.args == ("alto",)


# Who is let in


async def test_a_live_id_cannot_be_taken_over_and_its_call_goes_on(house: House) -> None:
    place = house.open(Parrot())
    async with calling(place, "ann", format=PCM) as first:
        await first.until("started")
        session = place.stream.connections["ann"]
        async with calling(place, "ann") as thief:
            await thief.until_closed()
        assert thief.messages == [
            {"status": "failed", "meta": {"error": "connection_already_exists"}}
        ]
        assert place.stream.connections == {"ann": session}
        await first.say(SHORT)
        await first.until_heard(0.3)


async def test_one_too_many_is_told_so_and_the_slot_is_free_when_the_first_has_gone(
    house: House,
) -> None:
    place = house.open(Teller(), concurrency_limit=1)
    async with calling(place, "ann"):
        await eventually(lambda: len(place.stream.connections) == 1)
        async with calling(place, "bob") as second:
            assert await second.until_closed() == 1008
        assert second.messages == [
            {"status": "failed", "meta": {"error": "concurrency_limit_reached", "limit": 1}}
        ]
    await eventually(lambda: not place.stream.connections)
    async with calling(place, "bob", format=PCM) as second:
        await second.until("started")


@pytest.mark.pitfall(32)
@pytest.mark.parametrize(
    ("allowed", "origin", "welcome"),
    [
        (None, None, True),
        (None, "http://127.0.0.1:1", True),
        (None, "http://localhost:5173", True),
        (None, "https://evil.example", False),
        (None, "http://127.0.0.1.evil.example", False),
        (None, "null", False),
        (["https://shop.example"], "https://shop.example", True),
        (["https://shop.example"], "http://shop.example", False),
        (["https://shop.example"], "http://127.0.0.1:1", False),
        (["*"], "https://evil.example", True),
    ],
)
async def test_pages_of_other_hosts_open_no_socket_unless_they_are_allowed(
    house: House, allowed: Any, origin: str | None, welcome: bool
) -> None:
    place = house.open(Teller(), allowed_origins=allowed)
    headers = {"Origin": origin} if origin else {}
    if not welcome:
        with pytest.raises(InvalidStatus) as refusal:
            async with connected(place, additional_headers=headers):
                pass
        assert refusal.value.response.status_code == 403
        return
    async with connected(place, additional_headers=headers) as caller:
        await caller.start(format=PCM)
        await caller.until("started")


# How calls end


@pytest.mark.pitfall(20)
@pytest.mark.parametrize("farewell", [[], [{"event": "ping"}], [{"event": "stop"}], [b"\0"]])
async def test_one_who_leaves_before_the_start_leaves_nothing_behind(
    house: House, farewell: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    handler = Teller()
    place = house.open(handler, concurrency_limit=1)
    before = len(asyncio.all_tasks())
    async with connected(place) as caller:
        for message in farewell:
            await caller.tell(message)
    await eventually(lambda: len(asyncio.all_tasks()) <= before)
    assert not place.stream.connections
    assert handler.log == []
    assert "Traceback" not in caplog.text


@pytest.mark.pitfall(20, 35)
@pytest.mark.parametrize("way", ["stop", "close", "vanish", "server"])
async def test_shutdown_is_called_once_for_a_call_that_began_whatever_ended_it(
    house: House, way: str
) -> None:
    handler = Teller()
    place = house.open(handler, concurrency_limit=1)
    before = len(asyncio.all_tasks())
    async with calling(place, "ann", format=PCM) as caller:
        await eventually(lambda: handler.log == ["start_up"])
        if way == "stop":
            await caller.tell({"event": "stop"})
            assert await caller.until_closed() == 1000
        elif way == "close":
            await caller.socket.close()
        elif way == "vanish":
            caller.socket.transport.abort()
        else:
            await place.stream.close()
            assert (await caller.until("end_stream"))["data"] == "The server is stopping"
        await eventually(lambda: not place.stream.connections)
    await eventually(lambda: len(asyncio.all_tasks()) <= before)
    assert handler.log == ["start_up", "shutdown"]


async def test_a_client_that_never_begins_is_not_waited_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastrtc.transports.sockets.line.START_WITHIN", 0.1)
    async with connected(house.open(Teller())) as caller:
        assert await caller.until_closed() == 1008
    assert "begin within" in caller.named("error")[0]["data"]


async def test_a_call_ends_at_its_time_limit_and_the_client_is_told(house: House) -> None:
    async with calling(house.open(Teller(), time_limit=0.2), format=PCM) as caller:
        began = time.monotonic()
        assert await caller.until_closed() == 1000
    assert 0.1 < time.monotonic() - began < 1.0
    assert [(m["type"], m["data"]) for m in caller.messages[1:]] == [
        ("end_stream", "The time limit of 0.2 s is over"),
        ("update_connection", "closed"),
    ]


async def test_what_was_said_before_the_call_is_closed_is_heard(house: House) -> None:
    handler = Teller((8_000, SHORT), CloseStream("That is all"), (8_000, SHORT))
    async with calling(house.open(handler), format=PCM) as caller:
        assert await caller.until_closed() == 1000
    closed = time.monotonic()
    assert caller.log[-2:] == ["end_stream", "update_connection"]
    assert caller.named("end_stream")[0]["data"] == "That is all"
    assert np.array_equal(trimmed(caller.heard[0]), trimmed(SHORT[0]))
    # No earlier than a client that plays in real time has played it.
    assert closed - caller.arrived[0][0] > 0.28


# Other routes


async def test_a_route_of_the_apps_own_serves_the_call(house: House) -> None:
    stream = Stream(Parrot())

    @house.app.websocket("/own/websocket/offer")
    async def offer(websocket: WebSocket) -> None:
        await stream.websocket_offer(websocket)

    place = Place(stream, f"{house.url}/own", house.http)
    async with calling(place, "ann", format=PCM) as caller:
        await caller.say(SHORT)
        await caller.until_heard(0.3)
        assert list(stream.connections) == ["ann"]
    await eventually(lambda: not stream.connections)
