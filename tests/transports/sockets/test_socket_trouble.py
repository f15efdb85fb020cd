"""Clients over ``/websocket/offer`` that interrupt, send nonsense, flood, or do not read."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from fastapi import Depends, HTTPException
from starlette.requests import HTTPConnection
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fastrtc import InterruptionPolicy, ReplyOnPause
from fastrtc.session import Session
from tests.conftest import Sound, tone
from tests.peers import Caller, eventually
from tests.transports.house import House, Parrot, Place, Teller, hertz, trimmed
from tests.transports.sockets.caller import (
    PCM,
    SocketCaller,
    calling,
    connected,
    frames_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINE = "fastrtc.transports.sockets.line"
SHORT = tone(0.3, rate=8_000)[1]
FRAME = 160
LEAD = 0.08
"""Seconds that are sent ahead."""


# Interruptions


def telling(seconds: float) -> ReplyOnPause:
    """A handler whose replies are steps: each frame of 20 ms is as loud as it is late."""

    def reply(audio: Any) -> Iterator[Any]:
        levels = 1_000 + 100 * np.arange(round(seconds * 50))
        yield 8_000, np.repeat(levels, FRAME).astype(np.int16)[None]

    # Words are not asked for: a recogniser makes some of whatever it is given.
    policy = InterruptionPolicy(words=False)
    return ReplyOnPause(reply, endpointing="vad", interruption=policy, output_sample_rate=8_000)


async def test_an_interruption_is_told_and_what_the_client_holds_is_cleared(house: House) -> None:
    place = house.open(telling(2.0))
    async with calling(place, format=PCM) as caller:
        await caller.until("started")
        (await place.handler()).trigger_response()
        await caller.until_heard(0.2)
        (await place.handler()).trigger_response()
        await caller.until("clear")
        before = caller.log[: caller.log.index("clear")].count("sound")
        await eventually(lambda: len(caller.arrived) > before)
    assert "interrupted" in [m.get("data") for m in caller.named("log")]
    # The next reply begins behind the clear.
    assert caller.arrived[before][1].max() == 1_000
    last = len(caller.log) - 1 - caller.log[::-1].index("clear")
    assert "sound" not in caller.log[caller.log.index("clear") : last]


async def test_an_old_client_is_told_of_an_interruption_and_of_nothing_new(house: House) -> None:
    place = house.open(telling(2.0))
    async with calling(place, "ann") as caller:
        await eventually(lambda: "ann" in place.stream.connections)
        (await place.handler()).trigger_response()
        await caller.until_heard(0.1)
        (await place.handler()).trigger_response()
        await eventually(lambda: "interrupted" in [m.get("data") for m in caller.messages])
    assert {m.get("type") for m in caller.messages} == {"log"}


async def test_after_a_false_alarm_the_reply_goes_on_with_nothing_lost(
    house: House, phrase: Sound
) -> None:
    place = house.open(telling(1.2))
    wanted = {**PCM, "sample_rate": 16_000}
    cough = phrase[1][:, round(0.1 * 16_000) : round(0.35 * 16_000)]
    async with calling(place, format=wanted) as caller:
        await caller.until("started")
        (await place.handler()).trigger_response()
        await caller.until_heard(0.4)
        await caller.say(cough)
        await caller.say(np.zeros((1, 9_600), np.int16))
        await caller.until("clear")
        cleared = caller.log[: caller.log.index("clear")].count("sound")
        await eventually(
            lambda: "response_finished" in [m.get("data") for m in caller.named("log")]
        )
    assert "interrupted" not in [m.get("data") for m in caller.named("log")]
    # What was sent ahead, and no more, comes again behind the clear.
    levels = [round(float(np.median(f))) for f in frames_of(caller.heard, 16_000)]
    steps = [round((level - 1_000) / 100) for level in levels if level > 900]
    before, after = steps[:cleared], steps[cleared:]
    assert set(before) | set(after) >= set(range(58))
    assert after[-1] >= 58
    assert 0 < before[-1] - after[0] + 1 <= LEAD * 50


# Messages that make no sense


MALFORMED: list[str | bytes] = [
    "",
    "nonsense",
    "[]",
    "null",
    '"start"',
    "[" * 10_000,
    "{}",
    '{"event": 7}',
    '{"event": "media"}',
    '{"event": "media", "media": []}',
    '{"event": "media", "media": {"payload": 7}}',
    '{"event": "media", "media": {"payload": "AAA"}}',
    '{"event": "media", "media": {"payload": "ÄÖÜ"}}',
    '{"event": "media", "media": {"payload": "AAAA"}}',
    '{"event": "mark", "mark": {}}',
    '{"event": "start"}',
    "9" * 5_000,
    b"",
    b"\x00\x01",
]


@pytest.mark.parametrize("message", MALFORMED, ids=lambda m: repr(m[:24]))
async def test_a_message_that_makes_no_sense_costs_an_error_and_nothing_else(
    house: House, message: str | bytes
) -> None:
    async with calling(house.open(Parrot()), format=PCM) as caller:
        await caller.tell(message)
        error = await caller.until("error")
        assert "expected" in error["data"]
        assert len(error["data"]) < 300
        await caller.say(SHORT[:, : 2 * FRAME])
        await caller.until_heard(0.02)


async def test_a_message_before_the_start_is_an_error_and_the_call_can_begin(
    house: House,
) -> None:
    async with connected(house.open(Parrot())) as caller:
        payload = base64.b64encode(b"\xff" * 160).decode()
        await caller.tell({"event": "media", "media": {"payload": payload}})
        assert "start" in (await caller.until("error"))["data"]
        await caller.start(format=PCM)
        await caller.until("started")


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ("pcm", "format"),
        ({"encoding": "mp3"}, "encoding"),
        ({"encoding": ["opus"]}, "encoding"),
        ({"encoding": "opus", "sample_rate": 8_001}, "sample_rate"),
        ({"sample_rate": "16000"}, "sample_rate"),
        ({"sample_rate": 1e9}, "sample_rate"),
        ({"sample_rate": -8_000}, "sample_rate"),
        ({"channels": 3}, "channels"),
        ({"channels": True}, "channels"),
        ({"framing": "xml"}, "framing"),
    ],
)
async def test_a_format_that_cannot_be_served_is_an_error_and_another_may_be_asked_for(
    house: House, wanted: Any, named: str
) -> None:
    async with connected(house.open(Parrot())) as caller:
        await caller.tell({"event": "start", "format": wanted})
        assert named in (await caller.until("error"))["data"]
        await caller.start(format=PCM)
        await caller.until("started")


@pytest.mark.parametrize("call_id", [7, "", "x" * 257, ["ann"]])
async def test_an_id_that_is_none_is_an_error(house: House, call_id: Any) -> None:
    place = house.open(Parrot())
    async with connected(place) as caller:
        await caller.tell({"event": "start", "websocket_id": call_id})
        assert "websocket_id" in (await caller.until("error"))["data"]
        assert not place.stream.connections


async def test_a_message_of_a_later_version_is_passed_over(house: House) -> None:
    async with calling(house.open(Parrot()), format=PCM) as caller:
        await caller.tell({"event": "wave", "hand": "left"})
        await caller.tell({"type": "wave"})
        await caller.tell({"event": "ping"})
        await caller.until("pong")
        assert not caller.named("error")


async def test_before_the_call_has_begun_little_is_read(house: House) -> None:
    async with connected(house.open(Parrot())) as caller:
        await caller.tell("[" * 16_385)
        assert "16384" in (await caller.until("error"))["data"]
        await eventually(lambda: caller.socket.close_code is not None)


async def test_half_a_character_is_not_sent_and_the_call_goes_on(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    place = house.open(Parrot())
    async with calling(place, format=PCM) as caller:
        await caller.until("started")
        await (await place.handler()).send_message("half a face \ud83d")
        await caller.say(SHORT)
        await caller.until_heard(0.3)
    assert "half a face" in caplog.text


@pytest.mark.parametrize("kind", [str, bytes])
async def test_an_oversized_message_is_an_error_and_nothing_else(house: House, kind: Any) -> None:
    framing = "binary" if kind is bytes else "json"
    async with calling(house.open(Parrot()), format={**PCM, "framing": framing}) as caller:
        await caller.tell("A" * 131_073 if kind is str else b"\1" * 131_074)
        assert "131072" in (await caller.until("error"))["data"]
        await caller.say(SHORT)
        await caller.until_heard(0.3)
        assert hertz(caller.heard[0], 8_000) == pytest.approx(440, abs=5)


async def test_nonsense_by_the_hundred_is_told_once_a_second_and_disturbs_nobody(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    place = house.open(Parrot())
    dice = random.Random(1)
    async with (
        calling(place, "mad", format=PCM) as mad,
        calling(place, "ann", format=PCM) as ann,
    ):
        await mad.until("started")
        speaking = asyncio.ensure_future(said_in_real_time(ann, 0.6))
        for _ in range(600):
            await mad.tell(damaged(dice))
        await speaking
        assert "mad" in place.stream.connections
        assert 1 <= len(mad.named("error")) <= 2
    assert "Traceback" not in caplog.text


def damaged(dice: random.Random) -> str | bytes:
    """A message with a few characters of it wrong, gone or doubled."""
    whole = json.dumps(
        dice.choice(
            [
                {"event": "media", "media": {"payload": "AAAA" * 20}},
                {"event": "mark", "mark": {"name": "5"}},
                {"event": "start", "websocket_id": "ann", "format": PCM},
            ]
        )
    )
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(whole))
        whole = whole[:at] + dice.choice(["", "{", '"', "7", "\0", whole]) + whole[at + 1 :]
    return whole.encode() if dice.random() < 0.2 else whole


async def said_in_real_time(caller: SocketCaller, seconds: float) -> None:
    """Say a tone in real time, and hear all of it, in real time."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    _, samples = tone(seconds, rate=8_000)
    for index, frame in enumerate(frames_of(samples, 8_000)):
        await caller.say(frame)
        await asyncio.sleep(max(0.0, began + (index + 1) * 0.02 - loop.time()))
    await caller.until_heard(seconds, within=0.5)
    heard = trimmed(caller.heard[0])
    assert len(heard) / 8_000 == pytest.approx(seconds, abs=0.03)
    # Unbroken: nowhere is a whole frame silent.
    assert min(int(np.abs(f).max()) for f in frames_of(heard[None], 8_000)) > 1_000


# Too much, and too little


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow a client 200 messages and 3 s of sound at once, and half of that a second."""
    monkeypatch.setattr(f"{LINE}.MESSAGES", 100.0)
    monkeypatch.setattr(f"{LINE}.SOUND", 1.5)
    monkeypatch.setattr("fastrtc.transports.sockets.allowance.BURST", 2.0)


@pytest.mark.usefixtures("strict")
async def test_one_who_floods_is_read_more_slowly_and_others_are_not(house: House) -> None:
    place = house.open(Parrot())
    loop = asyncio.get_running_loop()
    async with calling(place, "flood", format=PCM) as flood, calling(place, format=PCM) as ann:
        await flood.until("started")
        began = loop.time()
        pouring = asyncio.ensure_future(pour(flood, 2_000))
        await said_in_real_time(ann, 0.5)
        assert 200 <= len(flood.named("pong")) <= 210 + 100 * (loop.time() - began)
        flood.socket.transport.abort()
        await asyncio.wait([pouring])


@pytest.mark.usefixtures("strict")
async def test_one_who_does_not_stop_to_flood_is_given_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{LINE}.FLOOD_SECONDS", 0.2)
    place = house.open(Parrot())
    async with calling(place, "flood", format=PCM) as flood:
        await flood.until("started")
        pouring = asyncio.ensure_future(pour(flood, 2_000))
        await eventually(lambda: not place.stream.connections)
        flood.socket.transport.abort()
        await asyncio.wait([pouring])


async def pour(caller: SocketCaller, count: int) -> None:
    with contextlib.suppress(ConnectionClosed):
        for _ in range(count):
            await caller.tell({"event": "ping"})


@pytest.mark.usefixtures("strict")
async def test_more_sound_than_time_is_read_more_slowly(house: House) -> None:
    loop = asyncio.get_running_loop()
    async with calling(house.open(Teller()), format=PCM) as caller:
        await caller.until("started")
        began = loop.time()
        payload = base64.b64encode(bytes(8_000)).decode()
        for _ in range(7):
            await caller.tell({"event": "media", "media": {"payload": payload}})
        await caller.tell({"event": "ping"})
        await caller.until("pong")
        # 3.5 s of sound: what is over 3 s has to wait for 0.5 s / 1.5.
        assert loop.time() - began == pytest.approx(0.33, abs=0.15)


async def test_one_who_does_not_read_is_noticed_bounded_and_given_up(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(f"{LINE}.STUCK_SECONDS", 0.3)
    monkeypatch.setattr(f"{LINE}.FLUSH_SECONDS", 0.1)
    handler = Teller(tone(5.0, rate=8_000))
    place = house.open(handler)
    async with deaf_caller(place) as deaf, calling(place, format=PCM) as ann:
        session = place.stream.connections["deaf"]
        plug(session, 20)
        await eventually(lambda: "more slowly" in caplog.text)
        said = session.playout.heard
        await asyncio.sleep(0.1)
        assert session.playout.heard == said
        await eventually(lambda: "deaf" not in place.stream.connections)
        assert handler.log.count("shutdown") == 1
        assert caplog.text.count("more slowly") == 1
        heard = ann.heard.shape[1]
        await ann.until_heard(heard / 8_000 + 0.1)
        deaf.socket.transport.abort()


async def test_messages_for_one_who_does_not_read_are_bounded(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(f"{LINE}.MOST_UNSENT", 50)
    monkeypatch.setattr(f"{LINE}.FLUSH_SECONDS", 0.1)
    place = house.open(Teller())
    async with deaf_caller(place) as deaf:
        plug(place.stream.connections["deaf"], 60)
        await eventually(lambda: not place.stream.connections)
        assert "stopped reading" in caplog.text
        deaf.socket.transport.abort()


@contextlib.asynccontextmanager
async def deaf_caller(place: Place) -> AsyncIterator[SocketCaller]:
    """One who begins a call and then reads nothing more."""
    async with connected(place, max_queue=1) as caller:
        await caller.start("deaf", format=PCM)
        await caller.until("started")
        caller.stop_reading()
        yield caller


def plug(session: Session, count: int) -> None:
    """Send more than the buffers of both machines hold, so that sound stands behind it."""
    for _ in range(count):
        session.send_message("x" * 1_000_000)


# Doors


@pytest.mark.pitfall(32)
async def test_dependencies_guard_every_route_sockets_too(house: House) -> None:
    def check(connection: HTTPConnection) -> None:
        if connection.headers.get("x-key") != "lime":
            raise HTTPException(403)

    place = house.open(Teller(), dependencies=[Depends(check)])
    offer = {"sdp": "v=0", "type": "offer", "webrtc_id": "a"}
    routes = {
        "/webrtc/offer": "POST",
        "/webrtc/config": "GET",
        "/telephone/incoming": "POST",
        "/telephone/incoming-call": "GET",
        "/telephone/twilio/incoming": "POST",
    }
    for path, method in routes.items():
        url, key = f"{place.url}{path}", {"X-Key": "lime"}
        assert (await house.http.request(method, url, json=offer)).status_code == 403
        assert (await house.http.request(method, url, json=offer, headers=key)).is_success
    for url in (place.socket, place.media, f"{place.media.removesuffix('handler')}twilio/handler"):
        with pytest.raises(InvalidStatus) as refusal:
            await open_and_close(url)
        assert refusal.value.response.status_code == 403
        await open_and_close(url, {"X-Key": "lime"})


async def open_and_close(url: str, headers: dict[str, str] | None = None) -> None:
    async with connect(url, proxy=None, additional_headers=headers):
        pass


async def test_an_attempt_that_has_not_connected_is_given_up_and_frees_its_slot(
    house: House,
) -> None:
    place = house.open(Teller(), concurrency_limit=1)
    attempt = Caller(house.http, place.path)
    await attempt.post(await attempt.offer())
    cancel = {"type": "cancel", "webrtc_id": attempt.id}
    assert await attempt.post(cancel) == {"status": "success"}
    await eventually(lambda: not place.stream.connections)
    async with calling(place, attempt.id, format=PCM) as caller:
        await caller.until("started")
        assert (await attempt.post(cancel))["meta"] == {"error": "unknown_connection"}
        assert attempt.id in place.stream.connections
    await attempt.hang_up()


async def test_a_call_that_has_connected_is_not_given_up(house: House) -> None:
    place = house.open(Teller())
    caller = Caller(house.http, place.path)
    await caller.connect()
    reply = await caller.post({"type": "cancel", "webrtc_id": caller.id})
    assert reply["meta"] == {"error": "unknown_connection"}
    assert not place.stream.connections[caller.id].ending
    await caller.hang_up()
