"""The signalling route, byte for byte, over a real app."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import psutil
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from fastapi import Depends, FastAPI, HTTPException
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc import ReplyOnPause, Stream
from fastrtc.testing.loop import VirtualLoop
from fastrtc.threads import Workers
from fastrtc.transports.webrtc import signalling
from tests.peers import Caller, eventually, line, make_stream, serving


def echo(audio: Any) -> Any:
    yield audio


def failed(error: str, **facts: Any) -> dict[str, Any]:
    return {"status": "failed", "meta": {"error": error, **facts}}


async def test_an_offer_gets_an_answer_and_takes_a_slot() -> None:
    async with line(ReplyOnPause(echo)) as (stream, http):
        caller = Caller(http)
        answer = await caller.post(await caller.offer())
        assert set(answer) == {"sdp", "type"}
        assert answer["type"] == "answer"
        assert list(stream.connections) == [caller.id]
        await caller.hang_up()


async def test_an_id_that_is_live_is_refused() -> None:
    async with line(ReplyOnPause(echo)) as (stream, http):
        caller, thief = Caller(http), Caller(http)
        await caller.post(await caller.offer())
        thief.id = caller.id
        assert await thief.post(await thief.offer()) == failed("connection_already_exists")
        assert len(stream.connections) == 1
        await caller.hang_up()
        await thief.hang_up()


@pytest.mark.pitfall(30)
async def test_a_caller_over_the_limit_is_refused_and_told_the_limit() -> None:
    async with line(ReplyOnPause(echo), concurrency_limit=1) as (_, http):
        first, second = Caller(http), Caller(http)
        await first.post(await first.offer())
        reply = await second.post(await second.offer())
        assert reply == failed("concurrency_limit_reached", limit=1)
        await first.hang_up()
        await second.hang_up()


@pytest.mark.pitfall(29)
@pytest.mark.parametrize("sdp", ["", "garbage", "v=0\r\n", "v=0\r\nm=audio\r\n", None])
async def test_a_bad_sdp_is_refused_and_holds_no_slot(sdp: Any) -> None:
    async with line(ReplyOnPause(echo), concurrency_limit=1) as (stream, http):
        for _ in range(3):
            body = {"sdp": sdp, "type": "offer", "webrtc_id": "x"}
            reply = (await http.post("/webrtc/offer", json=body)).json()
            assert reply["meta"]["error"] == "invalid_sdp"
            assert reply["meta"]["reason"]
        assert not stream.connections
        caller = Caller(http)
        assert "sdp" in await caller.post(await caller.offer())
        await caller.hang_up()


@pytest.mark.parametrize("body", [{}, {"type": "offer"}, {"webrtc_id": "x"}, [], "x", None])
async def test_a_missing_field_is_422(body: Any) -> None:
    async with line(ReplyOnPause(echo)) as (_, http):
        assert (await http.post("/webrtc/offer", json=body)).status_code == 422


async def test_an_offer_of_an_unknown_type_is_refused() -> None:
    async with line(ReplyOnPause(echo)) as (_, http):
        body = {"sdp": "v=0", "type": "answer", "webrtc_id": "x"}
        reply = (await http.post("/webrtc/offer", json=body)).json()
        assert reply["meta"]["error"] == "invalid_type"


@pytest.mark.pitfall(31)
async def test_candidates_are_taken_in_the_forms_of_all_browsers() -> None:
    lines = [
        # Chrome
        "candidate:842163049 1 udp 1677729535 127.0.0.1 46154 typ srflx raddr 0.0.0.0 rport 0 "
        "generation 0 ufrag ab network-cost 999",
        # Firefox
        "candidate:0 1 UDP 2122252543 127.0.0.1 54321 typ host",
        # Safari
        "candidate:1 1 udp 2113937151 3f1c7dfe-6f3b-4c0e-9a55-2f2b1e1c6b0a.local 51000 typ host",
        "",
    ]
    async with line(ReplyOnPause(echo)) as (_, http):
        caller = Caller(http)
        await caller.post(await caller.offer())
        for text in lines:
            candidate = {"candidate": text, "sdpMid": "0", "sdpMLineIndex": 0}
            body = {"type": "ice-candidate", "webrtc_id": caller.id, "candidate": candidate}
            assert await caller.post(body) == {"status": "success"}
        end = {"type": "ice-candidate", "webrtc_id": caller.id, "candidate": None}
        assert await caller.post(end) == {"status": "success"}
        await caller.hang_up()


async def test_a_garbage_candidate_is_refused_and_the_call_lives() -> None:
    async with line(ReplyOnPause(echo)) as (stream, http):
        caller = Caller(http)
        await caller.post(await caller.offer())
        for text in ("nonsense", "candidate:1 1 udp x y z", "candidate:" + "9" * 2_000):
            body = {
                "type": "ice-candidate",
                "webrtc_id": caller.id,
                "candidate": {"candidate": text},
            }
            reply = await caller.post(body)
            assert reply["meta"]["error"] == "invalid_candidate_format"
        assert list(stream.connections) == [caller.id]
        await caller.hang_up()


async def test_a_candidate_for_an_unknown_call_is_refused() -> None:
    async with line(ReplyOnPause(echo)) as (_, http):
        body = {"type": "ice-candidate", "webrtc_id": "nobody", "candidate": {"candidate": ""}}
        reply = (await http.post("/webrtc/offer", json=body)).json()
        assert reply == failed("unknown_connection")


@pytest.mark.pitfall(29)
async def test_a_client_that_never_connects_loses_its_slot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signalling, "CONNECT_SECONDS", 1.0)
    async with line(ReplyOnPause(echo), concurrency_limit=1) as (stream, http):
        caller = Caller(http)
        await caller.post(await caller.offer())
        assert stream.connections
        await eventually(lambda: not stream.connections)
        await caller.hang_up()


def restarted(sdp: str) -> str:
    """The same offer with new ICE credentials, as a browser makes it for a restart."""
    sdp = re.sub(r"a=ice-ufrag:\S+", "a=ice-ufrag:newu", sdp)
    return re.sub(r"a=ice-pwd:\S+", "a=ice-pwd:newpasswordnewpassword00", sdp)


@pytest.mark.pitfall(34)
async def test_an_ice_restart_of_the_same_client_is_answered_with_fresh_credentials() -> None:
    async with line(ReplyOnPause(echo)) as (stream, http):
        caller = Caller(http)
        await caller.connect()
        session = stream.connections[caller.id]
        offer = {
            "sdp": caller.connection.localDescription.sdp,
            "type": "offer",
            "webrtc_id": caller.id,
        }
        first = caller.connection.remoteDescription.sdp
        answer = await caller.post({**offer, "sdp": restarted(offer["sdp"]), "restart": True})
        assert answer["type"] == "answer"
        ufrags = [re.findall(r"a=ice-ufrag:(\S+)", sdp)[0] for sdp in (first, answer["sdp"])]
        assert ufrags[0] != ufrags[1]
        prints = [set(re.findall(r"sha-256 (\S+)", sdp)) for sdp in (first, answer["sdp"])]
        assert prints[0] == prints[1]
        assert stream.connections[caller.id] is session
        await caller.hang_up()


async def test_the_same_offer_again_is_no_restart() -> None:
    async with line(ReplyOnPause(echo)) as (_, http):
        caller = Caller(http)
        offer = await caller.offer()
        await caller.post(offer)
        assert await caller.post(offer) == failed("connection_already_exists")
        await caller.hang_up()


async def test_a_restart_of_a_call_that_is_gone_is_refused() -> None:
    async with line(ReplyOnPause(echo)) as (stream, http):
        caller = Caller(http)
        offer = {**await caller.offer(), "restart": True}
        assert await caller.post(offer) == failed("unknown_connection")
        assert not stream.connections
        await caller.hang_up()


async def test_an_engine_that_raises_refuses_the_call_and_frees_its_slot() -> None:
    class Broken:
        def peer(self, events: Any, sound: Any) -> Any:
            raise RuntimeError("no")

    async with line(ReplyOnPause(echo), engine=Broken()) as (stream, http):
        caller = Caller(http)
        assert (await caller.post(await caller.offer()))["meta"]["error"] == "connection_failed"
        assert not stream.connections
        await caller.hang_up()


async def test_a_call_that_ends_while_it_is_answered_leaves_nothing_behind() -> None:
    release = asyncio.Event()

    async def slow() -> dict[str, Any]:
        await release.wait()
        return {"iceServers": []}

    stream = Stream(ReplyOnPause(echo), server_rtc_configuration=slow)
    app = FastAPI()
    stream.mount(app)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        before = len(asyncio.all_tasks())
        files = psutil.Process().num_fds()
        for _ in range(3):
            caller = Caller(http)
            offer = await caller.offer()
            answering = asyncio.ensure_future(caller.post(offer))
            await eventually(lambda: bool(stream.connections))
            (session,) = stream.connections.values()
            await session.close()
            release.set()
            assert (await answering)["meta"]["error"] == "connection_closed"
            await caller.hang_up()
            release.clear()
        await eventually(lambda: len(asyncio.all_tasks()) <= before)
        await eventually(lambda: psutil.Process().num_fds() <= files)


async def test_candidates_that_come_before_the_answer_are_kept() -> None:
    release = asyncio.Event()

    async def slow() -> dict[str, Any]:
        await release.wait()
        return {"iceServers": []}

    stream = Stream(ReplyOnPause(echo), server_rtc_configuration=slow)
    app = FastAPI()
    stream.mount(app)
    async with serving(app) as http:
        caller = Caller(http)
        offer = await caller.offer()
        lines = re.findall(r"a=(candidate:.*)", offer["sdp"])
        offer["sdp"] = re.sub(r"a=(candidate:.*|end-of-candidates)\r\n", "", offer["sdp"])
        answering = asyncio.ensure_future(caller.post(offer))
        await eventually(lambda: bool(stream.connections))
        for text in [*lines, ""]:
            body = {
                "type": "ice-candidate",
                "webrtc_id": caller.id,
                "candidate": {"candidate": text, "sdpMid": "0"},
            }
            assert await caller.post(body) == {"status": "success"}
        release.set()
        await answering
        (session,) = stream.connections.values()
        line: Any = session.line
        assert len(line.peer._link._next.remote_candidates) >= 1
        await caller.hang_up()
        await stream.close()


async def test_the_old_path_carries_sound_until_a_restart_has_found_a_new_one() -> None:
    async with line(ReplyOnPause(echo)) as (stream, http):
        caller = Caller(http)
        await caller.connect()
        (session,) = stream.connections.values()
        link: Any = session.line.peer._link  # type: ignore[union-attr]
        old = link._connection
        sdp = restarted(caller.connection.localDescription.sdp)
        body = {"sdp": sdp, "type": "offer", "webrtc_id": caller.id, "restart": True}
        assert "sdp" in await caller.post(body)
        assert link._connection is old
        assert not old._closed
        assert link.state == "completed"
        await caller.hang_up()


async def test_an_app_that_stops_shuts_its_calls_down() -> None:
    ended: list[str] = []

    class Mine(ReplyOnPause):
        def shutdown(self) -> None:
            ended.append("shutdown")

    app = FastAPI()
    stream = make_stream(Mine(echo))
    stream.mount(app)
    async with serving(app) as http:
        caller = Caller(http)
        await caller.connect()
    assert ended == ["shutdown"]
    assert not stream.connections
    await caller.until("closed")
    await caller.hang_up()


@pytest.mark.pitfall(21)
@pytest.mark.parametrize("kind", ["dict", "sync", "async", "sync returning a coroutine"])
async def test_turn_credentials_are_resolved_for_each_connection(kind: str) -> None:
    asked = 0
    configuration = {"iceServers": [{"urls": "stun:127.0.0.1:9"}]}

    def sync() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return configuration

    async def later() -> dict[str, Any]:
        return sync()

    given: Any = {
        "dict": configuration,
        "sync": sync,
        "async": later,
        "sync returning a coroutine": lambda: later(),
    }[kind]
    async with line(ReplyOnPause(echo), rtc_configuration=given) as (_, http):
        for _ in range(2):
            config = (await http.get("/webrtc/config")).json()
            assert config["rtc_configuration"] == configuration
    assert asked == (0 if kind == "dict" else 2)


async def test_a_server_configuration_that_raises_refuses_the_call_and_frees_its_slot() -> None:
    def broken() -> Any:
        raise ConnectionError("no TURN today")

    stream = Stream(ReplyOnPause(echo), server_rtc_configuration=broken, concurrency_limit=1)
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.createDataChannel("text")
    await connection.setLocalDescription(await connection.createOffer())
    body = {"sdp": connection.localDescription.sdp, "type": "offer", "webrtc_id": "a"}
    reply = await stream.offer(body)
    assert reply["meta"]["error"] == "connection_failed"
    assert not stream.connections
    await connection.close()


@pytest.mark.pitfall(32)
async def test_dependencies_stand_before_every_route() -> None:
    def nobody() -> None:
        raise HTTPException(403)

    app = FastAPI()
    make_stream(ReplyOnPause(echo)).mount(app, path="/voice", dependencies=[Depends(nobody)])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        body = {"sdp": "v=0", "type": "offer", "webrtc_id": "a"}
        assert (await http.post("/voice/webrtc/offer", json=body)).status_code == 403
        assert (await http.get("/voice/webrtc/config")).status_code == 403


async def test_streams_below_different_paths_do_not_share_calls() -> None:
    app = FastAPI()
    one, two = make_stream(ReplyOnPause(echo)), make_stream(ReplyOnPause(echo))
    one.mount(app, path="/one")
    two.mount(app, path="/two/")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        caller = Caller(http, path="/one")
        assert "sdp" in await caller.post(await caller.offer())
        assert (len(one.connections), len(two.connections)) == (1, 0)
        await caller.hang_up()
    await one.close()


@given(
    st.dictionaries(
        st.sampled_from(["webrtc_id", "type", "sdp", "candidate", "restart"]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.text(max_size=50),
            st.sampled_from(["offer", "ice-candidate", "v=0"]),
            st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
        ),
    )
)
@settings(deadline=None, max_examples=150)
def test_garbage_never_raises_and_never_takes_a_slot(body: dict[str, Any]) -> None:
    loop = VirtualLoop(Workers())
    try:
        stream = make_stream(ReplyOnPause(echo))
        reply = loop.run_until_complete(stream.offer(body))
        assert reply["status"] == "failed"
        assert not stream.connections
    finally:
        loop.close()
