"""Replicas of a stream in one event loop: all that a cluster has, except Ray."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from fastrtc import AsyncStreamHandler, Stream
from fastrtc.cluster.board import FORGOTTEN, Board, Home, Report, Unreachable
from fastrtc.cluster.homing import Homing
from fastrtc.cluster.neighbours import Neighbours
from fastrtc.cluster.passing import InnerDoor, Messenger, Receive, Scope, Send
from fastrtc.server import make_app
from tests.peers import eventually, make_stream
from tests.transports.webrtc.offers import CHROME

SECRET = "between replicas"
CALLER = ("203.0.113.7", 4711)
"""Where clients come from."""


class Silent(AsyncStreamHandler):
    """Neither hears nor speaks: these tests look at what is around a call."""

    async def receive(self, frame: Any) -> None: ...

    async def emit(self) -> None: ...

    def copy(self) -> Silent:
        return Silent()


class Peer:
    """One connection of `Engine`: it answers, and never connects."""

    channel = None

    async def answer(self, offer: Any, configuration: Any) -> str:
        return "an answer"

    async def restart(self, offer: Any, configuration: Any) -> str:
        return "another answer"

    async def add_candidate(self, candidate: Any) -> None: ...

    def send_frame(self, frame: Any) -> None: ...

    def send_message(self, message: str) -> None: ...

    async def close(self) -> None: ...


class Engine:
    """Speaks no WebRTC."""

    def peer(self, events: Any, sound: Any) -> Peer:
        return Peer()


class Switchboard:
    """A board that replicas reach without a cluster, or that they do not reach."""

    def __init__(self) -> None:
        self.reachable = True
        self.reports: Counter[str] = Counter()
        self.forget()

    def forget(self) -> None:
        """Know nothing, as if it had been there for long."""
        self.board = Board()
        self.board.take(Report("of old", "", 1), time.monotonic() - 2 * FORGOTTEN)

    def now(self) -> float:
        if not self.reachable:
            raise Unreachable("it is told to be")
        return time.monotonic()

    async def report(self, report: Report) -> tuple[list[Home], bool]:
        self.board.take(report, self.now())
        self.reports[report.replica] += 1
        return self.board.homes(self.now()), self.board.drains

    async def find(self, call_id: str, *, besides: str = "") -> Home | None:
        return self.board.find(call_id, self.now(), besides=besides)

    async def find_page(self, page: str, here: str) -> Home | None:
        return self.board.find_page(page, here, self.now())

    async def place(
        self,
        call_id: str,
        here: str,
        limit: int | None,
        *,
        stays: bool = False,
        rather: bool = False,
        avoid: Collection[str] = (),
    ) -> Home:
        now = self.now()
        return self.board.place(call_id, here, limit, now, stays=stays, rather=rather, avoid=avoid)

    async def release(self, call_id: str) -> None:
        self.now()
        self.board.release(call_id)

    async def room(self, limit: int | None) -> int:
        return self.board.room(limit, self.now())

    async def lose(self, replica: str) -> None:
        self.now()
        self.board.lose(replica)


class Replica:
    """One of them, as `fastrtc.cluster.replica` puts it together."""

    def __init__(self, name: str, switchboard: Switchboard, slots: int, options: Any) -> None:
        self.name = name
        silent: dict[str, Any] = {"handler": Silent(), "engine": Engine(), "telephone": False}
        self.stream: Stream = make_stream(**{**silent, **options})
        limit = self.stream.concurrency_limit if self.stream.has_limit else None
        self.neighbours = Neighbours(self.stream, switchboard, name, slots, limit)
        self.stream.share(self.neighbours)
        self.app = make_app(self.stream)
        _add_routes(self)
        self.front = Homing(self.app, self.stream, self.neighbours)
        self.answers = self.neighbours.answer
        """What its inner door says of itself."""
        self.door = InnerDoor(self.app, self._answer, SECRET)
        self.messenger = Messenger(SECRET)
        self.seen: list[Request] = []
        """Requests that got to our own routes."""
        transport = httpx.ASGITransport(self.front, client=CALLER)
        self.http = httpx.AsyncClient(
            transport=transport, base_url="https://voice.example.com", timeout=20
        )
        self.address = ""

    @property
    def calls(self) -> list[str]:
        return list(self.stream.connections)

    @property
    def home(self) -> Home:
        return Home(self.name, self.address)

    async def open(self) -> None:
        self.address = await self.door.open("127.0.0.1")
        await self.neighbours.open(self.address, self.messenger)

    async def post(self, body: Any) -> Any:
        """Post to the signalling route; what comes back."""
        return (await self.http.post("/webrtc/offer", json=body)).json()

    async def offer(self, call_id: str, **more: Any) -> Any:
        """Begin a call here; what comes back."""
        return await self.post({"webrtc_id": call_id, "type": "offer", "sdp": CHROME, **more})

    async def close(self) -> None:
        await self.http.aclose()
        await self.stream.close()
        await self.neighbours.close()
        await self.messenger.close()
        await self.door.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answers(scope, receive, send)


class House:
    """Replicas and their switchboard."""

    def __init__(self, switchboard: Switchboard, replicas: list[Replica]) -> None:
        self.switchboard = switchboard
        self.replicas = replicas

    async def told(self) -> None:
        """Wait until the board knows what every replica has now, and they know each other."""
        board = self.switchboard
        before = {it.name: board.reports[it.name] for it in self.replicas}
        for replica in self.replicas:
            replica.neighbours.changed()
        await eventually(lambda: all(board.reports[it] > before[it] for it in before))

    def home_of(self, call_id: str) -> Replica:
        """The replica that has a call."""
        having = [it for it in self.replicas if call_id in it.stream.connections]
        assert len(having) == 1, f"{len(having)} replicas have {call_id}"
        return having[0]

    async def offer_at(self, replica: Replica, call_id: str) -> None:
        """Begin a call at a certain replica, and see that all know it."""
        await replica.stream.offer({"webrtc_id": call_id, "type": "offer", "sdp": CHROME})
        assert call_id in replica.calls
        await self.told()


@contextlib.asynccontextmanager
async def house(count: int = 3, slots: int = 2, **options: Any) -> AsyncIterator[House]:
    """Some replicas with a few places each; ``options`` of their `Stream`."""
    switchboard = Switchboard()
    replicas = [Replica(name, switchboard, slots, options) for name in "abcdef"[:count]]
    for replica in replicas:
        await replica.open()
    there = House(switchboard, list(replicas))
    await there.told()
    try:
        yield there
    finally:
        switchboard.reachable = True
        await asyncio.gather(*(replica.close() for replica in replicas))


class Visit:
    """A request whose answer is read as it comes, and whose client may go."""

    def __init__(self, app: Any, target: str, method: str = "GET") -> None:
        path, _, query = target.partition("?")
        self.scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"voice.example.com")],
            "client": CALLER,
            "server": ("voice.example.com", 443),
        }
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._received.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self.task = asyncio.ensure_future(app(self.scope, self._received.get, self._sent.put))

    async def message(self) -> dict[str, Any]:
        """The next that the app sends."""
        return await asyncio.wait_for(self._sent.get(), 5)

    def go(self) -> None:
        """Go away."""
        self._received.put_nowait({"type": "http.disconnect"})


def _add_routes(replica: Replica) -> None:
    """Routes as users write them."""
    app: FastAPI = replica.app
    stream = replica.stream

    @app.post("/input_hook")
    async def hook(request: Request) -> dict[str, str]:
        body = await request.json()
        stream.set_input(body["webrtc_id"], body["text"])
        return {"from": replica.name}

    @app.post("/gradio_api/component_server")
    async def server(request: Request) -> Any:
        return await stream.offer((await request.json())["data"], request)

    @app.get("/updates")
    async def updates(webrtc_id: str) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            async for outputs in stream.output_stream(webrtc_id):
                yield f"data: {outputs.args}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    @app.get("/gradio_api/whose")
    @app.api_route("/whose", methods=["GET", "PUT", "POST"])
    async def whose(request: Request) -> str:
        await request.body()
        replica.seen.append(request)
        return replica.name
