"""Requests on their way to another replica arrive as they were, and so do the answers."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from fastrtc.cluster import passing
from fastrtc.cluster.board import Home
from fastrtc.cluster.incoming import Incoming
from fastrtc.cluster.passing import SECRET, Broken, InnerDoor, Lost, Messenger, reply
from tests.cluster.house import CALLER, Visit
from tests.cluster.house import SECRET as KNOWN
from tests.peers import eventually

MEBIBYTE = 2**20
Answers = Callable[[Request], Awaitable[Response]]


class Way:
    """From a front that passes everything on to a home that answers everything."""

    def __init__(self, answer: Answers) -> None:
        self.answer = answer
        self.seen: list[Request] = []
        """What came to the home."""
        self.own: list[str] = []
        """Paths that another replica asked for itself."""
        self.messenger = Messenger(KNOWN)
        self.door = InnerDoor(self._home, self._own, KNOWN)
        self.home = Home("b", "")
        transport = httpx.ASGITransport(self.front, client=CALLER)
        self.http = httpx.AsyncClient(
            transport=transport, base_url="https://voice.example.com:8443"
        )

    async def front(self, scope: Any, receive: Any, send: Any) -> None:
        incoming = Incoming(receive)
        if scope["method"] == "GET":
            await incoming.look(0)
        try:
            await self.messenger.relay(self.home, scope, incoming, send)
        except Lost:
            await reply(send, 599, await _rest(incoming))

    async def _home(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        self.seen.append(request)
        await (await self.answer(request))(scope, receive, send)

    async def _own(self, scope: Any, receive: Any, send: Any) -> None:
        self.own.append(scope["path"])
        await reply(send, 500 if "broken" in scope["path"] else 200, b"own")


async def _rest(incoming: Incoming) -> bytes:
    return b"".join([part async for part in incoming.parts()])


async def same(request: Request) -> Response:
    """Says back what came."""
    return Response(await request.body(), media_type="application/octet-stream")


@contextlib.asynccontextmanager
async def way(answer: Answers = same) -> AsyncIterator[Way]:
    there = Way(answer)
    there.home = Home("b", await there.door.open("127.0.0.1"))
    try:
        yield there
    finally:
        await there.http.aclose()
        await there.messenger.close()
        await there.door.close()


@contextlib.asynccontextmanager
async def a_home_that(says: bytes) -> AsyncIterator[Home]:
    """One that dies when it has said something."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(says)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Home("b", f"127.0.0.1:{server.sockets[0].getsockname()[1]}")


# Requests.


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_any_method_comes_through(method: str) -> None:
    async with way() as there:
        response = await there.http.request(method, "/any")
        assert response.status_code == 200
        assert there.seen[0].method == method


async def test_a_head_has_the_headers_of_the_answer_and_no_body() -> None:
    async def answer(request: Request) -> Response:
        return Response(headers={"content-length": "1000", "x-mine": "1"})

    async with way(answer) as there:
        response = await there.http.head("/any")
        assert (response.headers["content-length"], response.headers["x-mine"]) == ("1000", "1")
        assert response.content == b""


@pytest.mark.parametrize(
    "target",
    ["/a%20b/%2F%3F/%C3%A9?x=1&x=%26&y=a+b", "/?", "/double//slash", "/%2e%2e/up", "/x?a=?b"],
)
async def test_the_path_and_the_query_are_left_as_they_are(target: str) -> None:
    async with way() as there:
        await there.http.get(target)
        scope = there.seen[0].scope
        raw = scope["raw_path"].decode() + "?" + scope["query_string"].decode()
        assert raw.rstrip("?") == target.rstrip("?")


async def test_the_headers_are_those_of_the_client_in_number_and_in_bytes() -> None:
    given = [
        (b"x-one", b"1"),
        (b"x-one", b"2"),
        (b"cookie", b"a=b; c=d"),
        (b"x-name", "é".encode()),
        (b"authorization", b"Bearer t"),
    ]
    async with way() as there:
        async with httpx.AsyncClient(transport=there.http._transport) as bare:
            bare.headers.clear()
            await bare.get("https://voice.example.com:8443/", headers=given)
        got = there.seen[0].scope["headers"]
        assert sorted(got) == sorted([(b"host", b"voice.example.com:8443"), *given])


async def test_what_says_something_of_one_connection_is_not_passed_on() -> None:
    async with way() as there:
        headers = {"connection": "keep-alive", "te": "trailers", "upgrade": "h2c", "x-mine": "1"}
        await there.http.get("/", headers=headers)
        got = there.seen[0].headers
        assert got["x-mine"] == "1"
        assert "te" not in got
        assert "upgrade" not in got


async def test_the_home_sees_the_client_and_the_address_as_they_are_outside() -> None:
    async with way() as there:
        await there.http.get("/some/where")
        request = there.seen[0]
        assert request.client == CALLER
        assert str(request.url) == "https://voice.example.com:8443/some/where"


async def test_the_home_sees_where_the_app_is_mounted() -> None:
    async with way() as there:
        visit = Visit(there.front, "/voice/any")
        visit.scope["root_path"] = "/voice"
        await visit.task
        assert there.seen[0].scope["root_path"] == "/voice"
        assert there.seen[0].scope["path"] == "/voice/any"


@pytest.mark.parametrize("size", [0, 1, MEBIBYTE, 12 * MEBIBYTE])
async def test_a_body_of_any_size_comes_through_and_back(size: int) -> None:
    async with way() as there:
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        response = await there.http.post("/any", content=body)
        assert response.content == body


async def test_a_body_of_unknown_length_comes_through() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%d " % number

    async with way() as there:
        response = await there.http.put("/any", content=parts())
        assert response.text.split() == list(map(str, range(100)))


async def test_a_client_that_asks_whether_it_may_send_sends() -> None:
    async with way() as there:
        response = await there.http.post("/", content=b"x", headers={"expect": "100-continue"})
        assert response.content == b"x"


async def test_a_client_that_goes_while_it_sends_leaves_the_home_without_the_rest() -> None:
    ended: asyncio.Queue[BaseException] = asyncio.Queue()

    async def answer(request: Request) -> Response:
        try:
            return await same(request)
        except ClientDisconnect as error:
            ended.put_nowait(error)
            raise

    async with way(answer) as there:
        visit = Visit(there.front, "/any", "POST")
        visit._received.get_nowait()
        part = {"type": "http.request", "body": b"part", "more_body": True}
        visit._received.put_nowait(part)
        await eventually(lambda: bool(there.seen))
        visit.go()
        with pytest.raises(Broken):
            await visit.task
        await asyncio.wait_for(ended.get(), 5)


# Answers.


@pytest.mark.parametrize("status", [200, 201, 204, 304, 404, 422, 500, 503])
async def test_any_status_comes_back(status: int) -> None:
    async def answer(request: Request) -> Response:
        return Response(status_code=status, headers={"x-mine": "1"})

    async with way(answer) as there:
        response = await there.http.get("/any")
        assert (response.status_code, response.headers["x-mine"]) == (status, "1")


async def test_a_header_that_comes_twice_comes_back_twice() -> None:
    async def answer(request: Request) -> Response:
        response = Response()
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    async with way(answer) as there:
        assert len((await there.http.get("/")).headers.get_list("set-cookie")) == 2


async def test_what_a_server_says_of_itself_is_said_by_the_front_alone() -> None:
    async with way() as there:
        response = await there.http.get("/")
        assert not {"server", "date"} & set(response.headers)


async def test_a_cookie_of_one_client_is_not_sent_for_the_next() -> None:
    async def answer(request: Request) -> Response:
        response = Response(json.dumps(request.cookies))
        response.set_cookie("session", "of-ann")
        return response

    async with way(answer) as there:
        there.home = Home("b", there.home.address.replace("127.0.0.1", "localhost"))
        for _ in range(2):
            there.http.cookies.clear()
            assert (await there.http.get("/")).json() == {}


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_is_for_the_client_to_follow(status: int) -> None:
    async def answer(request: Request) -> Response:
        return RedirectResponse("/elsewhere", status)

    async with way(answer) as there:
        response = await there.http.get("/")
        assert (response.status_code, response.headers["location"]) == (status, "/elsewhere")
        assert len(there.seen) == 1


async def test_an_answer_that_is_compressed_stays_so() -> None:
    packed = gzip.compress(b"text" * 1_000)

    async def answer(request: Request) -> Response:
        return Response(packed, headers={"content-encoding": "gzip"})

    async with way(answer) as there, there.http.stream("GET", "/") as response:
        raw = b"".join([part async for part in response.aiter_raw()])
        assert response.headers["content-encoding"] == "gzip"
        assert int(response.headers["content-length"]) == len(raw) == len(packed)
        assert raw == packed


async def test_large_headers_come_through_both_ways() -> None:
    async def answer(request: Request) -> Response:
        return Response(headers={"x-large": request.headers["x-large"]})

    async with way(answer) as there:
        large = "x" * 30_000
        response = await there.http.get("/", headers={"x-large": large})
        assert response.headers["x-large"] == large


async def test_requests_one_after_another_share_a_connection() -> None:
    ports: list[int] = []

    async with way() as there:
        inner = there.door._own

        async def own(scope: Any, receive: Any, send: Any) -> None:
            ports.append(scope["client"][1])
            await inner(scope, receive, send)

        there.door._own = own
        for _ in range(5):
            await there.messenger.ask(there.home, "GET", "/x", within=5)
        assert len(set(ports)) == 1


# Answers that last.


async def test_events_come_as_they_are_sent() -> None:
    news: asyncio.Queue[str] = asyncio.Queue()

    async def events() -> AsyncIterator[str]:
        while (data := await news.get()) != "end":
            yield f"data: {data}\n\n"

    async def answer(request: Request) -> Response:
        return StreamingResponse(events(), media_type="text/event-stream")

    async with way(answer) as there:
        visit = Visit(there.front, "/events")
        start = await visit.message()
        assert (b"content-type", b"text/event-stream; charset=utf-8") in start["headers"]
        for word in ("one", "two"):
            news.put_nowait(word)
            assert (await visit.message())["body"] == f"data: {word}\n\n".encode()
        news.put_nowait("end")
        assert await visit.message() == {"type": "http.response.body", "body": b""}
        await visit.task


async def test_a_client_that_goes_away_ends_the_answer_at_the_home() -> None:
    ended = asyncio.Event()

    async def events() -> AsyncIterator[str]:
        try:
            yield "data: one\n\n"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def answer(request: Request) -> Response:
        return StreamingResponse(events(), media_type="text/event-stream")

    async with way(answer) as there:
        visit = Visit(there.front, "/events")
        await visit.message()
        assert (await visit.message())["body"] == b"data: one\n\n"
        visit.go()
        await asyncio.wait_for(ended.wait(), 5)
        await visit.task


# Homes that are gone.


async def test_a_home_that_is_not_there_is_lost_and_the_request_is_still_whole() -> None:
    async with way() as there:
        await there.door.close()
        response = await there.http.post("/any", content=b"body")
        assert (response.status_code, response.content) == (599, b"body")


@pytest.mark.parametrize(
    "says", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nx-half", b"nonsense\r\n"]
)
async def test_a_home_that_dies_before_it_answers_is_lost(says: bytes) -> None:
    async with way() as there, a_home_that(says) as there.home:
        assert (await there.http.get("/any")).status_code == 599


@pytest.mark.parametrize(
    "says",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
    ids=["length", "chunks"],
)
async def test_an_answer_that_breaks_off_does_not_look_as_if_it_were_whole(says: bytes) -> None:
    async with way() as there, a_home_that(says) as there.home:
        visit = Visit(there.front, "/any")
        assert (await visit.message())["status"] == 200
        with pytest.raises(Broken):
            await visit.task
        rest = [visit._sent.get_nowait() for _ in range(visit._sent.qsize())]
        assert all(it["more_body"] for it in rest)


async def test_a_home_that_takes_too_long_is_not_taken_for_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passing, "ANSWERS_WITHIN", 0.05)

    async def answer(request: Request) -> Response:
        await asyncio.Event().wait()
        return Response()

    async with way(answer) as there:
        assert (await there.http.get("/any")).status_code == 504


async def test_an_answer_that_breaks_off_is_none_to_who_waits_for_all_of_it() -> None:
    async with (
        way() as there,
        a_home_that(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf") as it,
    ):
        with pytest.raises(Lost):
            await there.messenger.pass_on(it, Visit(there.front, "/any").scope, b"")


# Who may come in.


@pytest.mark.parametrize("secret", [None, b"", b"wrong", KNOWN.encode() + b"x", b"\xff\xfe"])
async def test_nobody_comes_in_without_the_secret(secret: bytes | None) -> None:
    async with way() as there, httpx.AsyncClient() as stranger:
        headers = [] if secret is None else [(SECRET, secret)]
        for path in ("/any", "/.fastrtc/input"):
            response = await stranger.get(f"http://{there.home.address}{path}", headers=headers)
            assert response.status_code == 403
        assert not there.seen
        assert not there.own


async def test_a_secret_from_outside_is_not_passed_on() -> None:
    async with way() as there:
        await there.http.get(
            "/", headers={"x-fastrtc-secret": "guess", "x-fastrtc-outside": "e30="}
        )
        assert not {"x-fastrtc-secret", "x-fastrtc-outside"} & set(there.seen[0].headers)
        assert there.seen[0].client == CALLER


@pytest.mark.parametrize("path", ["/.fastrtc/input", "/%2efastrtc/input", "/.fastrtc/"])
async def test_a_client_does_not_reach_what_replicas_ask_each_other(path: str) -> None:
    async with way() as there:
        response = await there.http.post(f"{path}?call=ann", content=b"pickled")
        assert response.content == b"pickled"
        assert there.own == []


@pytest.mark.parametrize("target", ["@localhost:1/x", ".example.com/x", "*", "x", ":1/x"])
async def test_a_target_that_is_no_path_leads_to_no_other_host(target: str) -> None:
    async with way() as there:
        visit = Visit(there.front, target)
        await visit.task
        assert (await visit.message())["status"] == 200
        assert there.seen[0].scope["path"] == f"/{target}"


async def test_a_replica_that_asks_itself_is_told_what_failed() -> None:
    async with way() as there:
        assert await there.messenger.ask(there.home, "GET", "/fine", within=5) == b"own"
        with pytest.raises(Lost):
            await there.messenger.ask(there.home, "GET", "/broken", within=5)
