"""`fastrtc serve` on one machine: real callers, a real browser, and what kills replicas.

The tests are in an order: each leaves two replicas without a call, and the last leaves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import websockets
from playwright.async_api import Page

from tests.carrier import Carrier, PhoneCall
from tests.conftest import Sound, tone
from tests.e2e.browser import browsing, opened, script, state_is, write_wav
from tests.e2e.cluster_apps import GOODBYE
from tests.e2e.cluster_here import TOKEN, Cluster, cluster_here
from tests.e2e.cluster_ui import LIMIT
from tests.e2e.sockets import Caller as SocketCaller
from tests.e2e.test_browser_returns import NOTED
from tests.peers import Caller, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

GRACE = 30.0
GRACE_AFTER_UPDATE = 5.0
TOLD_WITHIN = 6.0
"""Seconds until a page knows that its call is lost. On a machine of its own it is under 2."""
TALKS_WITHIN = 15.0
"""Seconds until it hears its echo again: there it is under 5."""
ENDS_WITHIN = 20.0
"""Seconds that Serve and Ray have to be gone."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with cluster_here(GRACE) as cluster:
        asyncio.run(cluster.until(replicas=2, calls=0))
        yield cluster


@pytest.fixture(autouse=True)
async def _quiet_before(cluster: Cluster) -> None:
    if cluster.process.poll() is None:
        await cluster.until(replicas=2, calls=0, seconds=60)


@contextlib.asynccontextmanager
async def calling(cluster: Cluster, count: int = 1) -> AsyncIterator[list[Caller]]:
    """Callers over WebRTC, who are connected one after the other."""
    async with httpx.AsyncClient(base_url=cluster.url, timeout=20) as http:
        callers = [Caller(http) for _ in range(count)]
        try:
            for caller in callers:
                await caller.connect()
            yield callers
        finally:
            await asyncio.gather(*(caller.hang_up() for caller in callers))


def faults(caller: SocketCaller) -> list[str]:
    """What came over a socket that should not have, but for what a page of Gradio's waits for."""
    return [fault for fault in caller.report.faults if "send_input" not in fault]


async def hears_an_echo(caller: Caller) -> bool:
    """Whether what somebody says comes back now."""
    since = time.monotonic()
    caller.microphone.say(tone(0.5, 48_000))
    with contextlib.suppress(TimeoutError):
        await eventually(lambda: bool(np.any(np.abs(caller.sound(since)) > 4_000)))
        return True
    return False


async def test_calls_are_on_both_replicas_and_each_is_found_from_everywhere(
    cluster: Cluster,
) -> None:
    async with calling(cluster, 6) as callers:
        homes = []
        for caller in callers:
            pid, call_id, reconnected, word = await cluster.said(caller.id, "hello")
            assert (call_id, reconnected, word) == (caller.id, False, "hello")
            assert {await cluster.home(caller.id) for _ in range(4)} == {pid}
            homes.append(pid)
        assert len(set(homes)) == 2


async def test_a_late_candidate_is_taken_wherever_it_comes(cluster: Cluster) -> None:
    async with calling(cluster, 2) as callers:
        for caller in 4 * callers:
            candidate = {"candidate": "", "sdpMid": "0", "sdpMLineIndex": 0}
            body = {"webrtc_id": caller.id, "type": "ice-candidate", "candidate": candidate}
            assert await cluster.post("/webrtc/offer", body) == {"status": "success"}


async def test_an_offer_of_an_id_that_is_live_is_refused_wherever_it_comes(
    cluster: Cluster,
) -> None:
    async with calling(cluster, 2) as callers:
        for caller in 2 * callers:
            second = Caller(caller.http)
            second.id = caller.id
            assert await cluster.post("/webrtc/offer", await second.offer()) == {
                "status": "failed",
                "meta": {"error": "connection_already_exists"},
            }
            await second.hang_up()


async def test_the_metrics_tell_of_the_calls_of_each_replica(cluster: Cluster) -> None:
    async with calling(cluster, 4) as callers:
        homes = [await cluster.home(caller.id) for caller in callers]
        live = await cluster.live()
        assert sorted(live.values()) == sorted(homes.count(pid) for pid in set(homes))


async def test_what_is_said_over_a_websocket_comes_back_sample_by_sample(
    cluster: Cluster,
) -> None:
    caller = SocketCaller("pcm")
    await caller.connect(cluster.url)
    await caller.talk(1.0)
    assert faults(caller) == []
    assert caller.report.heard == caller.report.sent > 0
    caller.socket.hang_up()


async def test_one_call_too_many_is_refused_over_a_websocket_as_by_one_process(
    cluster: Cluster,
) -> None:
    url = cluster.url.replace("http", "ws", 1) + "/websocket/offer"
    start = {"event": "start", "format": {"encoding": "pcm_s16le"}}
    async with contextlib.AsyncExitStack() as stack:
        for number in range(LIMIT + 1):
            socket = await stack.enter_async_context(websockets.connect(url, proxy=None))
            await socket.send(json.dumps({**start, "websocket_id": f"caller {number}"}))
            answer = json.loads(await socket.recv())
            if number < LIMIT:
                assert answer["event"] == "started"
        assert answer == {
            "status": "failed",
            "meta": {"error": "concurrency_limit_reached", "limit": LIMIT},
        }
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def test_a_page_of_gradio_calls_and_gets_its_outputs(cluster: Cluster, talking: Path) -> None:
    async with browsing(talking) as browser:
        page = await browser.new_page()
        for word in ("first", "second"):
            await page.goto(f"{cluster.url}/ui")
            await page.get_by_label("Word").fill(word)
            await page.click(".fastrtc-talk")
            await page.wait_for_selector('.fastrtc[data-state="connected"]')
            await page.wait_for_function(
                "(end) => [...document.querySelectorAll('textarea')]"
                ".some(({value}) => value.endsWith(end))",
                arg=f"heard {word}",
                timeout=20_000,
            )


# What kills replicas.


@pytest.fixture
def talking(tmp_path: Path, phrase: Sound) -> Path:
    """Somebody who hardly pauses."""
    path = tmp_path / "voice.wav"
    write_wav(path, phrase[0], script(phrase, [0.1, 0.1]))
    return path


async def hears_itself(page: Page) -> None:
    await page.wait_for_function("fastrtc.outputLevel > 0.1", timeout=15_000)


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
async def test_a_page_whose_replica_is_killed_talks_to_the_other_within_seconds(
    cluster: Cluster, talking: Path, transport: str
) -> None:
    async with browsing(talking) as browser:
        page = await opened(browser, f"{cluster.url}/?transport={transport}")
        await page.evaluate(NOTED)
        await page.click("#talk")
        await state_is(page, "connected")
        await hears_itself(page)
        # Long enough for the silence of the server to be the usual.
        await asyncio.sleep(2.0)
        call_id = await page.evaluate("fastrtc.id")
        before, *_ = await cluster.said(call_id, "hello")
        at = time.time()
        os.kill(before, signal.SIGKILL)
        await page.wait_for_function("noted.heard", timeout=30_000)
        noted = await page.evaluate("noted")
        assert noted["told"] - at < TOLD_WITHIN
        assert noted["heard"] - at < TALKS_WITHIN
        assert await page.evaluate("fastrtc.id") == call_id
        after, *told = await cluster.said(call_id, "again")
        assert told == [call_id, True, "again"]
        assert after != before


@contextlib.asynccontextmanager
async def telephones(cluster: Cluster) -> AsyncIterator[Carrier]:
    async with Carrier(f"{cluster.url}/telephone/incoming", auth_token=TOKEN) as carrier:
        yield carrier


def hears(call: PhoneCall) -> bool:
    return bool(np.any(np.abs(call.heard[1]) > 2_000))


async def test_telephone_calls_that_our_side_ends_do_not_come_back(cluster: Cluster) -> None:
    async with telephones(cluster) as carrier:
        calls = [await carrier.dial() for _ in range(6)]
        assert len({await cluster.home(call.stream_sid) for call in calls}) == 2
        for call in calls:
            await cluster.give(call.stream_sid, GOODBYE)
        for call in calls:
            await call.wait_ended(15)
            assert (len(call.streams), call.status) == (1, "completed")
            assert "interrupted" not in "".join(call.said)
            assert call.errors == call.violations == []


async def test_a_telephone_call_whose_replica_is_killed_goes_on_with_the_other(
    cluster: Cluster,
) -> None:
    async with telephones(cluster) as carrier:
        call = await carrier.dial(speech=tone(60.0, 8_000))
        await eventually(lambda: hears(call), 15)
        before = await cluster.home(call.stream_sid)
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: len(call.streams) == 2, 20)
        await call.wait_started(20)
        saying = asyncio.ensure_future(call.say(tone(1.0, 8_000)))
        await eventually(lambda: hears(call), 20)
        await saying
        assert call.said[1] == "One moment, please. The line was interrupted."
        assert await cluster.home(call.stream_sid) != before
        assert call.errors == call.violations == []


async def test_an_update_loses_no_call_and_new_calls_are_on_new_replicas(
    cluster: Cluster,
) -> None:
    socket = SocketCaller("pcm")
    async with calling(cluster, 4) as callers:
        await socket.connect(cluster.url)
        talking = asyncio.ensure_future(socket.talk(15.0))
        homes = {caller.id: await cluster.home(caller.id) for caller in callers}
        old = {await cluster.ask("/pid") for _ in range(12)} | set(homes.values())
        at = time.monotonic()
        with cluster.update(GRACE_AFTER_UPDATE) as update:
            while {await cluster.ask("/pid") for _ in range(6)} & (old | {None}):
                assert time.monotonic() < at + 60, "no new replica"
            async with calling(cluster, 2) as late:
                assert old.isdisjoint([await cluster.home(it.id) for it in late])
                for caller in late:
                    assert await hears_an_echo(caller)
            await talking
            assert faults(socket) == []
            assert socket.report.heard == socket.report.sent
            for caller in callers:
                assert await cluster.home(caller.id) == homes[caller.id]
                assert await hears_an_echo(caller)
            socket.socket.hang_up()
            await asyncio.gather(*(caller.hang_up() for caller in callers))
            assert await asyncio.to_thread(update.wait, 60) == 0


async def test_sigterm_lets_calls_go_on_for_the_grace_and_leaves_nothing_behind(
    cluster: Cluster,
) -> None:
    command = psutil.Process(cluster.process.pid)
    async with calling(cluster, 2) as callers:
        children = command.children(recursive=True)
        at = time.monotonic()
        command.terminate()
        await asyncio.sleep(GRACE_AFTER_UPDATE / 2)
        for caller in callers:
            assert await hears_an_echo(caller)
            # The address is there for them, and for nobody else.
            candidate = {"webrtc_id": caller.id, "type": "ice-candidate", "candidate": None}
            assert await caller.post(candidate) == {"status": "success"}
        late = Caller(callers[0].http)
        assert (await late.post(await late.offer()))["meta"]["error"] == "shutting_down"
        await late.hang_up()
        ready = await callers[0].http.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"status": "shutting_down"})
        for caller in callers:
            await caller.until("The server is stopping", seconds=15)
            assert time.monotonic() - at > GRACE_AFTER_UPDATE - 0.5
    assert await asyncio.to_thread(cluster.process.wait, ENDS_WITHIN) == 0
    _, alive = psutil.wait_procs(children, 5)
    assert alive == []
