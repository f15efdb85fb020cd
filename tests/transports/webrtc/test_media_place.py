"""Calls of real peers with a server whose media are to be reached at a place of its own."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from aioice import stun
from aioice.ice import get_host_addresses
from aiortc import RTCSessionDescription

from fastrtc import ReplyOnPause, Stream
from fastrtc.transports.webrtc import signalling
from fastrtc.transports.webrtc.place import MediaPlace
from tests.conftest import missing
from tests.peers import Caller, eventually, free_ports, line

ELSEWHERE = "203.0.113.7"
ELSEWHERE_6 = "2001:db8::7"
NO_PORT = {
    "status": "failed",
    "meta": {"error": "connection_failed", "reason": signalling.NO_PORT},
}


def echo(audio: Any) -> Any:
    yield audio


def our_address(version: int = 4) -> str:
    """An address of this machine that a caller on it reaches."""
    found = get_host_addresses(use_ipv4=version == 4, use_ipv6=version == 6)
    if not found:
        missing(f"an IPv{version} address")
    return found[0]


@contextlib.asynccontextmanager
async def placed(
    address: str | None = None, ports: tuple[int, int] | None = None, **options: Any
) -> AsyncIterator[tuple[Stream, httpx.AsyncClient]]:
    """A stream whose media are at a place."""
    async with line(ReplyOnPause(echo), **options) as (stream, http):
        stream.media_place = MediaPlace(address, ports)
        yield stream, http


def candidates(answer: dict[str, Any]) -> list[list[str]]:
    """The words of each candidate in an answer, which has them in each of its sections."""
    found = re.findall(r"a=candidate:(.*)\r\n", answer["sdp"])
    return [one.split() for one in dict.fromkeys(found)]


def reached(answer: dict[str, Any]) -> set[tuple[str, int]]:
    return {(words[4], int(words[5])) for words in candidates(answer)}


def all_free(ports: tuple[int, int]) -> bool:
    with contextlib.ExitStack() as stack:
        for port in range(ports[0], ports[1] + 1):
            one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            try:
                one.bind(("", port))
            except OSError:
                return False
    return True


async def offered(http: httpx.AsyncClient) -> dict[str, Any]:
    """The answer to an offer of somebody who then does not connect."""
    caller = Caller(http)
    answer = await caller.post(await caller.offer())
    await caller.hang_up()
    return answer


async def test_a_call_takes_one_port_of_the_range_at_each_address_and_connects() -> None:
    first, last = free_ports(4)
    async with placed(ports=(first, last)) as (_, http):
        caller = Caller(http)
        await caller.connect()
        local = caller.connection.remoteDescription.sdp
        found = reached({"sdp": local})
        assert {host for host, _ in found} == set(get_host_addresses(True, True))
        (port,) = {port for _, port in found}
        assert first <= port <= last
        await caller.hang_up()


async def test_a_client_that_trickles_its_candidates_connects_within_the_range() -> None:
    ports = free_ports(2)
    async with placed(our_address(), ports) as (stream, http):
        caller = Caller(http)
        offer = await caller.offer()
        lines = re.findall(r"a=(candidate:.*)", offer["sdp"])
        offer["sdp"] = re.sub(r"a=(candidate:.*|end-of-candidates)\r\n", "", offer["sdp"])
        answer = await caller.post(offer)
        await caller.connection.setRemoteDescription(RTCSessionDescription(**answer))
        for text in [*lines, ""]:
            body = {"type": "ice-candidate", "webrtc_id": caller.id}
            reply = await caller.post({**body, "candidate": {"candidate": text}})
            assert reply == {"status": "success"}
        await eventually(lambda: stream.connections[caller.id].started)
        await caller.hang_up()


async def test_an_address_of_ours_is_the_only_one_that_is_offered_and_bound() -> None:
    address = our_address()
    async with placed(address) as (stream, http):
        caller = Caller(http)
        await caller.connect()
        answer = {"sdp": caller.connection.remoteDescription.sdp}
        ((host, port),) = reached(answer)
        assert host == address
        (session,) = stream.connections.values()
        protocols = session.line.peer._link._connection._protocols  # type: ignore[union-attr]
        bound = [one.transport.get_extra_info("sockname") for one in protocols]
        assert bound == [(address, port)]
        await caller.hang_up()


@pytest.mark.parametrize(("version", "address"), [(4, ELSEWHERE), (6, ELSEWHERE_6)])
async def test_the_address_of_a_nat_stands_in_the_place_of_our_own(
    version: int, address: str
) -> None:
    our_address(version)
    first, last = free_ports(2)
    async with placed(address, (first, last)) as (_, http):
        (words,) = candidates(await offered(http))
    assert words[2:3] + words[4:5] + words[6:] == ["udp", address, "typ", "host"]
    assert first <= int(words[5]) <= last
    # That of a host candidate with nothing against it (RFC 8445, 5.1.2.1).
    assert int(words[3]) == (126 << 24) + (65_535 << 8) + 255


async def test_candidates_of_different_addresses_have_different_foundations() -> None:
    foundations = set()
    for address in (ELSEWHERE, "203.0.113.8", our_address()):
        async with placed(address) as (_, http):
            foundations.add(candidates(await offered(http))[0][0])
    assert len(foundations) == 3


async def test_a_loopback_address_is_of_use_on_this_machine() -> None:
    async with placed("127.0.0.1", free_ports(2)) as (_, http):
        assert {host for host, _ in reached(await offered(http))} == {"127.0.0.1"}


class StunServer(asyncio.DatagramProtocol):
    """Tells everybody that they come from `ELSEWHERE`, and their own port."""

    def __init__(self) -> None:
        self.asked = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, source: Any) -> None:
        self.asked += 1
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=stun.parse_message(data).transaction_id,
        )
        response.attributes["XOR-MAPPED-ADDRESS"] = (ELSEWHERE, source[1])
        self.transport.sendto(bytes(response), source)


@contextlib.asynccontextmanager
async def asking_stun(**place: Any) -> AsyncIterator[tuple[StunServer, httpx.AsyncClient]]:
    """A stream that may ask a STUN server."""
    address = our_address()
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(StunServer, local_addr=(address, 0))
    port = transport.get_extra_info("sockname")[1]
    try:
        async with placed(**place) as (stream, http):
            stream.server_rtc_configuration = {"iceServers": [{"urls": f"stun:{address}:{port}"}]}
            yield server, http
    finally:
        transport.close()


async def test_with_a_range_alone_a_stun_server_says_the_address_outside() -> None:
    first, last = free_ports(2)
    async with asking_stun(ports=(first, last)) as (_, http):
        answer = await offered(http)
    (outside,) = [words for words in candidates(answer) if words[7] == "srflx"]
    assert outside[4] == ELSEWHERE
    assert first <= int(outside[5]) <= last
    assert outside[8:] == ["raddr", our_address(), "rport", outside[5]]


@pytest.mark.parametrize("ours", [True, False])
async def test_with_an_address_no_stun_server_is_asked(ours: bool) -> None:
    async with asking_stun(address=our_address() if ours else ELSEWHERE) as (server, http):
        answer = await offered(http)
        assert [words[7] for words in candidates(answer)] == ["host"]
        assert server.asked == 0


async def test_a_server_that_only_relays_takes_no_port_of_the_range() -> None:
    ports = free_ports(2)
    async with placed(ELSEWHERE, ports) as (stream, http):
        stream.server_rtc_configuration = {"iceServers": [], "iceTransportPolicy": "relay"}
        assert candidates(await offered(http)) == []
        assert all_free(ports)


async def test_a_range_that_is_used_up_refuses_the_offer_and_says_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with placed(ports=free_ports(2), concurrency_limit=3) as (stream, http):
        callers = [Caller(http) for _ in range(3)]
        first, second, third = [await c.post(await c.offer()) for c in callers]
        assert reached(first).isdisjoint(reached(second))
        assert third == NO_PORT
        assert set(stream.connections) == {callers[0].id, callers[1].id}
        (said,) = [r for r in caplog.records if r.name == signalling.__name__]
        assert "widen the range (--media-ports" in said.getMessage()
        assert said.exc_info is None
        for caller in callers:
            await caller.hang_up()


async def _hang_up(stream: Stream, caller: Caller) -> None:
    await caller.hang_up()


async def _give_up(stream: Stream, caller: Caller) -> None:
    await stream.connections[caller.id].close()


async def _close_the_stream(stream: Stream, caller: Caller) -> None:
    await stream.close()


@pytest.mark.parametrize("end", [_hang_up, _give_up, _close_the_stream])
async def test_the_ports_of_a_call_are_free_again_when_it_has_ended(
    end: Callable[[Stream, Caller], Awaitable[None]],
) -> None:
    ports = free_ports(2)
    async with placed(ports=ports) as (stream, http):
        caller = Caller(http)
        await caller.connect()
        assert not all_free(ports)
        await end(stream, caller)
        await eventually(lambda: all_free(ports))
        await caller.hang_up()


async def test_the_port_of_an_attempt_that_is_given_up_goes_to_the_next_caller() -> None:
    async with placed(ports=free_ports(2)) as (stream, http):
        callers = [Caller(http) for _ in range(2)]
        for caller in callers:
            assert "sdp" in await caller.post(await caller.offer())
        assert await offered(http) == NO_PORT
        cancel = {"webrtc_id": callers[0].id, "type": "cancel"}
        assert await callers[0].post(cancel) == {"status": "success"}
        await eventually(lambda: len(stream.connections) == 1)
        assert "sdp" in await offered(http)
        for caller in callers:
            await caller.hang_up()


async def test_a_call_that_never_connects_gives_its_port_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signalling, "CONNECT_SECONDS", 0.2)
    ports = free_ports(2)
    async with placed(ports=ports) as (_, http):
        assert "sdp" in await offered(http)
        assert not all_free(ports)
        await eventually(lambda: all_free(ports))


async def test_a_refused_offer_leaves_nothing_bound() -> None:
    ports = free_ports(2)
    async with placed(our_address(), ports) as (stream, http):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind((our_address(), ports[0]))
            assert "sdp" in await offered(http)
            assert await offered(http) == NO_PORT
        await stream.close()
        await eventually(lambda: all_free(ports))


def restarting(caller: Caller, number: int) -> dict[str, Any]:
    """An offer that restarts the ICE of a call, of somebody who then does not connect anew."""
    sdp = caller.connection.localDescription.sdp
    sdp = re.sub(r"a=ice-ufrag:\S+", f"a=ice-ufrag:new{number}", sdp)
    sdp = re.sub(r"a=ice-pwd:\S+", "a=ice-pwd:newpasswordnewpassword00", sdp)
    return {"sdp": sdp, "type": "offer", "webrtc_id": caller.id, "restart": True}


async def test_a_restart_takes_another_port_of_the_range_and_all_are_given_back() -> None:
    ports = free_ports(3)
    async with placed(our_address(), ports) as (_, http):
        caller = Caller(http)
        await caller.connect()
        before = reached({"sdp": caller.connection.remoteDescription.sdp})
        after = [reached(await caller.post(restarting(caller, n))) for n in range(4)]
        assert all(len(place) == 1 and place != before for place in after)
        assert {ports[0] <= port <= ports[1] for place in after for _, port in place} == {True}
        await caller.hang_up()
        await eventually(lambda: all_free(ports))


async def test_a_restart_without_a_free_port_is_refused_and_the_call_goes_on() -> None:
    async with placed(ports=free_ports(2)) as (stream, http):
        caller, other = Caller(http), Caller(http)
        await caller.connect()
        await other.post(await other.offer())
        assert await caller.post(restarting(caller, 1)) == NO_PORT
        link: Any = stream.connections[caller.id].line.peer._link  # type: ignore[union-attr]
        assert link.state == "completed"
        assert not link._connection._closed
        # Candidates go to the connection that there is.
        await other.hang_up()
        await caller.hang_up()


async def test_after_a_restart_without_a_port_candidates_go_to_the_connection_that_there_is() -> (
    None
):
    async with placed(our_address(), free_ports(2)) as (stream, http):
        caller, other = Caller(http), Caller(http)
        offer = await caller.offer()
        offer["sdp"] = offer["sdp"].replace("a=end-of-candidates\r\n", "")
        offer["sdp"] = re.sub(r"a=candidate:.*\r\n", "", offer["sdp"])
        await caller.post(offer)
        await other.post(await other.offer())
        assert await caller.post(restarting(caller, 1)) == NO_PORT
        text = "candidate:1 1 udp 1 192.0.2.99 9 typ host"
        body = {"type": "ice-candidate", "webrtc_id": caller.id, "candidate": {"candidate": text}}
        assert await caller.post(body) == {"status": "success"}
        link: Any = stream.connections[caller.id].line.peer._link  # type: ignore[union-attr]
        await eventually(lambda: bool(link._next.remote_candidates))
        await other.hang_up()
        await caller.hang_up()


async def test_calls_that_begin_after_the_place_was_set_are_there_and_others_stay() -> None:
    async with placed(our_address()) as (stream, http):
        caller = Caller(http)
        await caller.connect()
        stream.media_place = MediaPlace(ELSEWHERE)
        assert {host for host, _ in reached(await offered(http))} == {ELSEWHERE}
        assert stream.connections[caller.id].started
        assert "sdp" in await caller.post(restarting(caller, 1))
        await caller.hang_up()


async def test_the_environment_says_where_media_are_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FASTRTC_MEDIA_ADDRESS", ELSEWHERE)
    async with line(ReplyOnPause(echo)) as (_, http):
        assert {host for host, _ in reached(await offered(http))} == {ELSEWHERE}
