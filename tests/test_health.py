"""What a server says of itself to whoever watches over it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException

from fastrtc import ReplyOnPause, Stream
from fastrtc.clock import FrameClock
from fastrtc.server import STALLED, add_health, make_app
from tests.peers import make_stream, serving


@contextlib.asynccontextmanager
async def asking(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app, without a network."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield http


@pytest.fixture
async def stream() -> AsyncIterator[Stream]:
    stream = make_stream(ReplyOnPause(print), concurrency_limit=2)
    yield stream
    await stream.close()


@pytest.fixture
async def http(stream: Stream) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    add_health(app, stream)
    async with asking(app) as client:
        yield client


async def test_a_server_without_calls_is_healthy_and_ready(http: httpx.AsyncClient) -> None:
    health, ready = await http.get("/healthz"), await http.get("/readyz")
    assert (health.status_code, ready.status_code) == (200, 200)
    assert health.json() == {"status": "ok", "live": 0, "lateness": 0.0}
    assert ready.json() == {"status": "ready"}


async def test_the_calls_are_counted(stream: Stream, http: httpx.AsyncClient) -> None:
    stream.admit("a")
    assert (await http.get("/healthz")).json()["live"] == 1


async def test_a_full_server_is_healthy_and_not_ready(
    stream: Stream, http: httpx.AsyncClient
) -> None:
    first, _ = stream.admit("a"), stream.admit("b")
    ready = await http.get("/readyz")
    assert ready.status_code == 503
    assert ready.json() == {"status": "concurrency_limit_reached", "limit": 2}
    assert (await http.get("/healthz")).status_code == 200
    await first.close()
    assert (await http.get("/readyz")).status_code == 200


async def test_a_server_that_shuts_down_is_healthy_and_not_ready(
    stream: Stream, http: httpx.AsyncClient
) -> None:
    call = stream.admit("a")
    closing = asyncio.ensure_future(stream.close(grace=60))
    await asyncio.sleep(0)
    ready = await http.get("/readyz")
    assert (ready.status_code, ready.json()) == (503, {"status": "shutting_down"})
    assert (await http.get("/healthz")).status_code == 200
    await call.close()
    await closing


async def test_a_clock_that_has_stopped_is_no_health(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(FrameClock, "_tick", lambda clock: None)
    stop = FrameClock.of(loop).add(lambda: None)
    now = loop.time()
    with monkeypatch.context() as later:
        later.setattr(loop, "time", lambda: now + STALLED + 1)
        health = await http.get("/healthz")
    stop()
    assert health.status_code == 503
    assert health.json() == {
        "status": "stalled",
        "live": 0,
        "lateness": pytest.approx(STALLED + 1, abs=0.1),
    }


async def test_the_answers_are_not_kept_by_a_proxy(http: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await http.get(path)).headers["cache-control"] == "no-store"


async def test_the_figures_are_there_in_the_format_of_prometheus(http: httpx.AsyncClient) -> None:
    page = await http.get("/metrics")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/plain; version=")
    assert "# TYPE fastrtc_live_sessions gauge" in page.text


async def test_without_the_client_of_prometheus_there_are_no_figures_and_all_else(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    app = FastAPI()
    add_health(app, stream)
    async with asking(app) as http:
        assert (await http.get("/metrics")).status_code == 404
        assert (await http.get("/healthz")).status_code == 200


async def test_the_routes_are_below_their_path_and_behind_their_dependencies(
    stream: Stream,
) -> None:
    def refuse() -> None:
        raise HTTPException(401)

    app = FastAPI()
    add_health(app, stream, "/voice/", dependencies=[Depends(refuse)])
    async with asking(app) as http:
        for path in ("/voice/healthz", "/voice/readyz", "/voice/metrics"):
            assert (await http.get(path)).status_code == 401
        assert (await http.get("/healthz")).status_code == 404


async def test_the_server_of_a_stream_has_them_beside_its_page(stream: Stream) -> None:
    async with serving(make_app(stream)) as http:
        replies: list[Any] = [await http.get(path) for path in ("/", "/healthz", "/metrics")]
    assert [reply.status_code for reply in replies] == [200, 200, 200]
