"""Requests reach the replica that has their call, from whichever got them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from fastapi import Request
from starlette.middleware.cors import CORSMiddleware

from fastrtc.admission import Refused
from fastrtc.cluster import passing
from fastrtc.cluster.board import Home
from fastrtc.cluster.homing import MOST_READ
from fastrtc.session import Session
from tests.cluster.house import House, Replica, house
from tests.peers import eventually
from tests.transports.webrtc.offers import CHROME


def failed(error: str, **facts: Any) -> dict[str, Any]:
    return {"status": "failed", "meta": {"error": error, **facts}}


def candidate(call_id: str) -> dict[str, Any]:
    return {"webrtc_id": call_id, "type": "ice-candidate", "candidate": {"candidate": ""}}


# Where a call is.


async def test_a_candidate_reaches_the_home_of_its_call_from_every_replica() -> None:
    async with house() as there:
        assert (await there.replicas[0].offer("ann"))["type"] == "answer"
        for replica in there.replicas:
            assert await replica.post(candidate("ann")) == {"status": "success"}


async def test_an_attempt_is_given_up_from_another_replica() -> None:
    async with house(2) as there:
        await there.offer_at(there.replicas[1], "ann")
        reply = await there.replicas[0].post({"webrtc_id": "ann", "type": "cancel"})
        assert reply == {"status": "success"}
        await eventually(lambda: not there.replicas[1].calls)


@pytest.mark.parametrize("kind", ["ice-candidate", "cancel"])
async def test_an_id_that_no_replica_has_is_unknown_as_in_one_process(kind: str) -> None:
    async with house(2) as there:
        reply = await there.replicas[0].post({"webrtc_id": "nobody", "type": kind})
        assert reply == failed("unknown_connection")


async def test_an_offer_with_an_id_that_is_live_elsewhere_is_refused() -> None:
    async with house(2) as there:
        await there.offer_at(there.replicas[1], "ann")
        other = CHROME.replace("EsAw", "EsAx").replace("4A:AD", "4B:AD")
        reply = await there.replicas[0].offer("ann", sdp=other)
        assert reply == failed("connection_already_exists")
        assert there.home_of("ann") is there.replicas[1]


async def test_an_offer_that_restarts_ice_reaches_its_call() -> None:
    async with house(2) as there:
        await there.offer_at(there.replicas[1], "ann")
        again = CHROME.replace("EsAw", "EsAx")
        reply = await there.replicas[0].offer("ann", sdp=again, restart=True)
        assert reply == {"sdp": "another answer", "type": "answer"}


async def test_two_offers_of_one_call_at_once_to_two_replicas_make_one_call() -> None:
    async with house(3) as there:
        replies = await asyncio.gather(*(it.offer("ann") for it in there.replicas))
        assert sum(it.get("type") == "answer" for it in replies) == 1, replies
        there.home_of("ann")


async def test_a_call_that_ended_begins_anew_where_there_is_room() -> None:
    async with house(2, slots=1) as there:
        first, second = there.replicas
        await there.offer_at(second, "ann")
        await second.stream.connections["ann"].close()
        # The board has not heard of it yet.
        assert (await first.offer("ann"))["type"] == "answer"
        there.home_of("ann")


# Places.


async def test_offers_to_one_replica_spread_until_all_places_are_taken() -> None:
    async with house(3, slots=4) as there:
        for number in range(12):
            assert (await there.replicas[0].offer(str(number)))["type"] == "answer", number
        assert [len(it.calls) for it in there.replicas] == [4, 4, 4]
        assert await there.replicas[1].offer("more") == failed(
            "concurrency_limit_reached", limit=12
        )


async def test_a_refused_offer_has_the_form_of_one_process() -> None:
    async with house(2, slots=5, concurrency_limit=1) as there:
        await there.replicas[0].offer("ann")
        body = {"webrtc_id": "bob", "type": "offer", "sdp": CHROME}
        response = await there.replicas[1].http.post("/webrtc/offer", json=body)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert response.json() == failed("concurrency_limit_reached", limit=1)


async def test_offers_at_once_do_not_go_over_the_limit() -> None:
    async with house(3, slots=10, concurrency_limit=5) as there:
        offers = [there.replicas[n % 3].offer(str(n)) for n in range(12)]
        replies = await asyncio.gather(*offers)
        assert [it.get("type") for it in replies].count("answer") == 5
        assert sum(len(it.calls) for it in there.replicas) == 5


@pytest.mark.pitfall(29)
@pytest.mark.parametrize("body", [{"sdp": "nonsense"}, {"sdp": 5}, {"sdp": None}])
async def test_an_offer_that_is_none_holds_no_place(body: Any) -> None:
    async with house(2, slots=1) as there:
        for number in range(5):
            for replica in there.replicas:
                await replica.offer(f"{replica.name}{number}", **body)
        for name in ("ann", "bob"):
            assert (await there.replicas[0].offer(name))["type"] == "answer"


@pytest.mark.pitfall(29)
async def test_an_offer_that_is_none_holds_no_place_at_another_replica() -> None:
    async with house(2, slots=1) as there:
        first, second = there.replicas
        await there.offer_at(first, "ann")
        for number in range(3):
            reply = await first.offer(str(number), sdp="nonsense")
            assert reply["meta"]["error"] == "invalid_sdp"
        assert (await first.offer("bob"))["type"] == "answer"
        assert second.calls == ["bob"]


@pytest.mark.parametrize(
    "hiding",
    [
        {"target": "/webrtc/offer?webrtc_id=another"},
        {"padding": "x" * MOST_READ},
        {"headers": {"transfer-encoding": "chunked"}, "padding": "x" * MOST_READ},
    ],
)
async def test_an_offer_that_hides_its_id_does_not_come_in_over_the_limit(hiding: Any) -> None:
    async with house(2, slots=5, concurrency_limit=1) as there:
        await there.replicas[0].offer("ann")
        target = hiding.get("target", "/webrtc/offer")
        body = {"type": "offer", "sdp": CHROME, "webrtc_id": "bob"}
        body = {"padding": hiding.get("padding", ""), **body}
        for replica in there.replicas:
            reply = await replica.http.post(target, json=body, headers=hiding.get("headers"))
            assert reply.json() == failed("concurrency_limit_reached", limit=1)


async def test_a_replica_that_leaves_unknown_to_the_board_passes_the_call_on() -> None:
    async with house(2) as there:
        first, second = there.replicas
        first.stream._door.closing = True
        assert (await first.offer("ann"))["type"] == "answer"
        assert second.calls == ["ann"]


async def test_a_call_that_one_replica_turns_down_is_taken_by_another() -> None:
    async with house(3, slots=9) as there:
        first, second, third = there.replicas
        for name in ("1", "2", "3", "4"):
            await there.offer_at(first, name)
        await there.offer_at(third, "5")
        second.stream._door.closing = True
        assert (await first.offer("ann"))["type"] == "answer"
        assert "ann" in third.calls


async def test_when_all_leave_the_caller_is_told_so() -> None:
    async with house(2) as there:
        for replica in there.replicas:
            await replica.stream.close()
        await there.told()
        assert await there.replicas[0].offer("ann") == failed("shutting_down")


# Replicas that are gone.


async def test_a_caller_of_a_replica_that_died_comes_back_elsewhere() -> None:
    async with house(3) as there:
        first, second, _ = there.replicas
        await there.offer_at(second, "ann")
        await second.door.close()
        assert (await first.offer("ann", reconnected=True))["type"] == "answer"
        assert "ann" in first.calls


async def test_a_candidate_for_a_replica_that_died_is_for_an_unknown_call() -> None:
    async with house(2) as there:
        first, second = there.replicas
        await there.offer_at(second, "ann")
        await second.door.close()
        assert await first.post(candidate("ann")) == failed("unknown_connection")


async def test_a_replica_that_does_not_report_is_asked_whether_it_has_the_call() -> None:
    async with house(2) as there:
        first, second = there.replicas
        await there.offer_at(second, "ann")
        board = there.switchboard.board
        there.switchboard.report = _nowhere  # type: ignore[method-assign]
        for post in board._posts.values():
            post.seen -= 10
        found = await first.neighbours.find("ann")
        assert found == Home("b", second.address, silent=True)
        await second.door.close()
        assert await first.neighbours.find("ann") is None


async def _nowhere(report: Any) -> tuple[list[Home], bool]:
    return [], False


# Without a switchboard.


@pytest.fixture
async def lonely() -> Any:
    async with house(3, slots=2) as there:
        await there.offer_at(there.replicas[2], "ann")
        there.switchboard.reachable = False
        yield there


async def test_without_a_switchboard_calls_are_found_by_asking_around(lonely: House) -> None:
    assert await lonely.replicas[0].post(candidate("ann")) == {"status": "success"}


async def test_without_a_switchboard_a_replica_takes_calls_up_to_its_places(lonely: House) -> None:
    first = lonely.replicas[0]
    replies = [await first.offer(str(number)) for number in range(3)]
    assert [it.get("type") for it in replies] == ["answer", "answer", None]
    assert replies[2] == failed("concurrency_limit_reached", limit=2)
    assert len(first.calls) == 2


async def test_without_a_switchboard_a_replica_alone_keeps_the_limit() -> None:
    async with house(2, slots=9, concurrency_limit=1) as there:
        there.switchboard.reachable = False
        await there.replicas[0].offer("ann")
        assert await there.replicas[0].offer("bob") == failed("concurrency_limit_reached", limit=1)


async def test_a_switchboard_that_has_forgotten_all_knows_it_again_by_the_next_reports() -> None:
    async with house(2) as there:
        await there.offer_at(there.replicas[1], "ann")
        there.switchboard.forget()
        await there.told()
        assert await there.replicas[0].post(candidate("ann")) == {"status": "success"}


# Pages of Gradio.


async def test_a_page_stays_at_the_replica_that_it_came_to_first() -> None:
    async with house(3) as there:
        replicas = there.replicas[1:] + there.replicas
        asked = [it.http.get("/gradio_api/whose?session_hash=page") for it in replicas]
        answers = await asyncio.gather(*asked)
        assert [it.json() for it in answers] == ["b"] * 5
        await there.told()
        assert (
            await there.replicas[2].http.get("/gradio_api/whose?session_hash=page")
        ).json() == "b"


async def test_a_call_of_a_page_is_at_the_replica_of_the_page() -> None:
    async with house(2, slots=8) as there:
        first, second = there.replicas
        await second.http.get("/gradio_api/whose?session_hash=page")
        for number in range(4):
            await there.offer_at(second, str(number))
        offer = {"webrtc_id": "ann", "type": "offer", "sdp": CHROME}
        body = {"data": offer, "session_hash": "page"}
        await first.http.post("/gradio_api/component_server", json=body)
        assert "ann" in second.calls


# Sockets.


async def test_a_call_that_stays_here_counts_among_those_of_all() -> None:
    async with house(2, slots=9, concurrency_limit=1) as there:
        first, second = there.replicas
        session = await first.stream._let_in(
            "a socket", transport="websocket", identity=None, reconnected=False
        )
        await there.told()
        with pytest.raises(Refused, match="concurrency_limit_reached"):
            await second.stream._let_in(
                "another", transport="websocket", identity=None, reconnected=False
            )
        await session.close()
        await there.told()
        await second.stream._let_in(
            "another", transport="websocket", identity=None, reconnected=False
        )
        assert second.calls == ["another"]


async def test_a_socket_does_not_take_the_id_of_a_call_that_lives_elsewhere() -> None:
    async with house(2) as there:
        first, second = there.replicas
        await there.offer_at(second, "ann")
        with pytest.raises(Refused, match="connection_already_exists"):
            await socket(first, "ann")
        await there.told()
        assert there.home_of("ann") is second
        assert await first.post(candidate("ann")) == {"status": "success"}


async def test_a_socket_may_have_the_id_of_a_call_whose_end_is_not_known_yet() -> None:
    async with house(2) as there:
        first, second = there.replicas
        await there.offer_at(second, "ann")
        await second.stream.connections["ann"].close()
        await socket(first, "ann")
        assert there.home_of("ann") is first


@pytest.mark.parametrize("leaving", [False, True])
async def test_a_caller_who_comes_back_over_a_socket_ends_the_lost_call_elsewhere(
    leaving: bool,
) -> None:
    async with house(2, authorize=who) as there:
        first, second = there.replicas
        await socket(second, "ann", "Ann")
        await there.told()
        second.stream._door.closing = leaving
        with pytest.raises(Refused, match="not_authorized"):
            await socket(first, "ann", "Mallory", reconnected=True)
        assert there.home_of("ann") is second
        await socket(first, "ann", "Ann", reconnected=True)
        assert there.home_of("ann") is first


async def test_a_lost_call_that_cannot_be_ended_elsewhere_is_not_doubled() -> None:
    async with house(2) as there:
        first, second = there.replicas
        await there.offer_at(second, "ann")

        async def broken(call_id: str, identity: Any) -> None:
            raise RuntimeError("not today")

        second.stream.make_way = broken  # type: ignore[method-assign, assignment]
        with pytest.raises(Refused, match="connection_already_exists"):
            await socket(first, "ann", reconnected=True)
        await there.told()
        assert there.home_of("ann") is second


async def test_nobody_else_comes_back_to_a_call_of_a_replica_that_leaves() -> None:
    async with house(2, authorize=who) as there:
        first, second = there.replicas
        await socket(second, "ann", "Ann")
        await there.told()
        second.stream._door.closing = True
        body = {"webrtc_id": "ann", "type": "offer", "sdp": CHROME, "reconnected": True}
        mallory, ann = ({"x-who": name} for name in ("Mallory", "Ann"))
        reply = await first.http.post("/webrtc/offer", json=body, headers=mallory)
        assert reply.json() == failed("not_authorized")
        assert there.home_of("ann") is second
        reply = await first.http.post("/webrtc/offer", json=body, headers=ann)
        assert reply.json()["type"] == "answer"
        assert there.home_of("ann") is first


def who(connection: Any) -> str | None:
    found: str | None = connection.headers.get("x-who")
    return found


async def socket(
    replica: Replica, call_id: str, name: str | None = None, *, reconnected: bool = False
) -> Session:
    """A call over a socket comes in here."""
    return await replica.stream._let_in(
        call_id, transport="websocket", identity=name, reconnected=reconnected
    )


# Replicas that are slow, and clients that go.


async def test_a_replica_that_is_slow_to_answer_an_offer_keeps_its_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passing, "TAKEN_WITHIN", 0.1)

    async def slowly(connection: Any) -> str:
        await asyncio.sleep(0.5)
        return "anybody"

    async with house(2, slots=3, authorize=slowly) as there:
        first, second = there.replicas
        for name in ("ann", "bob", "cat"):
            await socket(first, name, "anybody")
        await socket(second, "dan", "anybody")
        await there.told()
        body = {"webrtc_id": "eve", "type": "offer", "sdp": CHROME}
        assert (await first.http.post("/webrtc/offer", json=body)).status_code == 504
        found = await first.neighbours.find("dan")
        assert found == second.home


async def test_the_place_of_a_client_who_goes_before_the_answer_is_free() -> None:
    asked = asyncio.Event()

    async def slowly(connection: Any) -> bool:
        asked.set()
        await asyncio.sleep(0.2)
        return False

    async with house(2, slots=1, authorize=slowly) as there:
        first, second = there.replicas
        await socket(first, "ann")
        await there.told()
        offering = asyncio.ensure_future(first.offer("bob"))
        await asyncio.wait_for(asked.wait(), 5)
        assert there.switchboard.board.room(None, time.monotonic()) == 0
        offering.cancel()
        await asyncio.wait([offering])
        await eventually(lambda: there.switchboard.board.room(None, time.monotonic()) == 1)
        assert not second.calls


async def test_a_refusal_comes_through_all_layers_of_the_app() -> None:
    async with house(2, slots=1) as there:
        first = there.replicas[0]
        for replica, name in zip(there.replicas, ("ann", "bob"), strict=True):
            replica.app.add_middleware(CORSMiddleware, allow_origins=["https://page.example"])
            await there.offer_at(replica, name)
        body = {"webrtc_id": "cat", "type": "offer", "sdp": CHROME}
        origin = {"origin": "https://page.example"}
        response = await first.http.post("/webrtc/offer", json=body, headers=origin)
        assert response.json() == failed("concurrency_limit_reached", limit=2)
        assert response.headers["access-control-allow-origin"] == "https://page.example"


# What is no call.


async def test_a_request_without_an_id_is_answered_here() -> None:
    async with house(2) as there:
        for replica in there.replicas:
            assert (await replica.http.get("/whose")).json() == replica.name


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"webrtc_id": 5}'])
async def test_a_body_that_is_no_json_goes_to_the_app_as_it_came(body: bytes) -> None:
    async with house(1) as there:
        first = there.replicas[0]
        headers = {"content-type": "application/json"}
        assert (await first.http.post("/whose", content=body, headers=headers)).json() == "a"
        assert await _body(first) == body


async def test_a_large_body_of_unknown_length_goes_to_the_app_whole() -> None:
    async def parts() -> Any:
        for _ in range(3):
            yield b"x" * MOST_READ

    async with house(1) as there:
        first = there.replicas[0]
        headers = {"content-type": "application/json"}
        response = await first.http.post("/whose", content=parts(), headers=headers)
        assert response.status_code == 200
        assert len(await _body(first)) == 3 * MOST_READ


async def _body(replica: Replica) -> bytes:
    seen: Request = replica.seen[-1]
    return await seen.body()


async def test_the_address_is_ready_while_any_replica_takes_calls() -> None:
    async with house(2, slots=1) as there:
        first, second = there.replicas
        await there.offer_at(first, "ann")
        assert (await first.http.get("/readyz")).status_code == 200
        await there.offer_at(second, "bob")
        for replica in there.replicas:
            response = await replica.http.get("/readyz")
            assert response.status_code == 503
            assert response.json() == {"status": "concurrency_limit_reached", "limit": 2}
