"""Calls over sockets and telephones: what they cost, and how fast they answer.

    python -m benchmarks.sockets [--quick]

From the root of the repository, as it calls with the callers of the tests. The server has one core
and the callers another, where there are two.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import numpy as np
from numpy.typing import NDArray

from fastrtc.testing import load_speech
from tests.carrier import Carrier, PhoneCall
from tests.conftest import Sound, human_speech
from tests.e2e.sockets import ROOT, Caller, RawSocket, served
from tests.peers import Caller as WebCaller

CALLS: Final = (20, 50, 100)
IN_TIME: Final = 0.5
"""Seconds after which an echo that comes back is of no use."""
AUDIBLE: Final = 300
"""Samples over this are sound; what a WebRTC caller sends in its pauses stays under it."""
PHRASE: Final = (0.30, 1.22)
"""Where one phrase is in the recording, in seconds, without the breath behind it."""
SERVER_CORE: Final = 0 if (os.cpu_count() or 1) > 1 else None


@dataclass(frozen=True)
class Depth:
    """How much is measured.

    ``seconds``: of each crowd; ``times``: how often each latency is taken.
    """

    seconds: int
    times: int


# What it costs.


def crowds(depth: Depth) -> Iterator[str]:
    for handler in ("plain", "async"):
        for coding in ("mulaw", "pcm"):
            for calls in CALLS:
                yield crowd(handler, coding, calls, depth.seconds)


def crowd(handler: str, coding: str, calls: int, seconds: int) -> str:
    """Echo calls, all at once: CPU of the server, and the frames that came back in time."""
    with served(handler, core=SERVER_CORE) as server:
        command = [sys.executable, "-m", "tests.e2e.sockets", server.url]
        command += [str(calls), str(seconds), coding]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    late = np.concatenate([report["late"] for report in found["reports"]])
    sent = sum(report["sent"] for report in found["reports"])
    faults = sum(len(report["faults"]) for report in found["reports"])
    cores = found["cpu_ms"] / 1000 / seconds / calls
    in_time = 100 * np.count_nonzero(late < IN_TIME) / sent
    name = "sync" if handler == "plain" else handler
    return (
        f"{name:6}{coding:7}{calls:5} calls: {cores:.4f} cores a call; in time {in_time:5.1f} %,"
        f" late {spread(late)} ms, wrong {faults}"
    )


# How fast it is.


async def mouth_to_ear(url: str, depth: Depth) -> list[float]:
    """Seconds from the first sample of a frame, which is sent when it is whole, to its echo."""
    caller = Caller("pcm")
    await caller.connect(url)
    await caller.talk(depth.seconds)
    caller.socket.hang_up()
    return [0.02 + late for late in caller.report.late]


async def greetings(url: str, depth: Depth) -> list[float]:
    """Seconds from the handshake of a socket to the first sound of a ``startup_fn``."""
    found = []
    for _ in range(depth.times):
        began = time.monotonic()
        heard: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        def hear(message: str | bytes, heard: asyncio.Future[float] = heard) -> None:
            if "payload" in str(message) and not heard.done():
                heard.set_result(time.monotonic())

        socket = await RawSocket.open(url, "/greet/websocket/offer")
        socket.hear = hear
        socket.send('{"event": "start"}')
        found.append(await asyncio.wait_for(heard, 20) - began)
        socket.hang_up()
    return found


@dataclass
class Answers:
    """Seconds from the last word to the first sound, and from an interruption to silence."""

    replies: list[float]
    stops: list[float]


async def phones(url: str, phrase: Sound, depth: Depth) -> Answers:
    """Calls through the carrier, in which each reply is interrupted."""
    found = Answers([], [])
    async with Carrier(f"{url}/telephone/incoming") as carrier:
        for _ in range(depth.times):
            call = await carrier.dial()
            await asyncio.sleep(1.0)
            await call.say(phrase)
            await answered(call, call.seconds, found.replies)
            await asyncio.sleep(1.0)
            onset = call.seconds
            await call.say(phrase)
            heard = sounding(call, onset, call.seconds)
            # Of the reply that is broken off; the next one has not begun yet.
            stopped = np.flatnonzero(~heard)
            if stopped.size:
                found.stops.append(float(stopped[0]) / call.heard[0])
            await call.hang_up()
    return found


async def answered(call: PhoneCall, since: float, found: list[float]) -> None:
    """Wait for sound after some time of a call, and note how long it took."""
    for _ in range(500):
        await asyncio.sleep(0.02)
        heard = np.flatnonzero(sounding(call, since, call.seconds))
        if heard.size:
            found.append(float(heard[0]) / call.heard[0])
            return


def sounding(call: PhoneCall, start: float, end: float) -> NDArray[np.bool_]:
    """For each sample of what was heard, whether there was sound within 10 ms."""
    rate, heard = call.heard
    part = np.abs(heard[round(start * rate) : round(end * rate)]) > AUDIBLE
    near = np.convolve(part, np.ones(rate // 100), "same") > 0
    return near[: len(part)]


async def pages(url: str, phrase: Sound, depth: Depth) -> list[float]:
    """Seconds from the last word to the first sound over WebRTC."""
    found = []
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        for _ in range(depth.times):
            caller = WebCaller(http)
            await caller.connect()
            await asyncio.sleep(1.0)
            await caller.say(phrase)
            ended = time.monotonic()
            await caller.until("response_starting")
            await asyncio.sleep(0.5)
            times = zip(caller.heard, caller.heard_at, strict=True)
            heard = [at for part, at in times if at > ended and np.max(np.abs(part)) > AUDIBLE]
            found += [heard[0] - ended] if heard else []
            await caller.hang_up()
    return found


def spread(seconds: Any) -> str:
    """Median and 95th percentile, in milliseconds."""
    if not len(seconds):
        return "   -"
    middle, most = np.percentile(seconds, [50, 95])
    return f"{1000 * middle:4.0f} / {1000 * most:4.0f}"


def tell(name: str, seconds: list[float]) -> None:
    print(f"{name:34}{spread(seconds)}  ({len(seconds)})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute, for a first look")
    depth = Depth(3, 3) if parser.parse_args().quick else Depth(15, 20)
    if SERVER_CORE is not None:
        os.sched_setaffinity(0, {SERVER_CORE + 1})
    rate, samples = load_speech(human_speech("beckett.wav"))
    start, end = (round(at * rate) for at in PHRASE)
    phrase = rate, np.ascontiguousarray(samples[:, start:end])
    for line in crowds(depth):
        print(line, flush=True)
    print("Median / p95, ms")
    with served("plain", "greet", core=SERVER_CORE) as server:
        tell("mouth to ear, echo, one caller", asyncio.run(mouth_to_ear(server.url, depth)))
        tell("handshake to start-up sound", asyncio.run(greetings(server.url, depth)))
    with served("talk", core=SERVER_CORE) as server:
        # The first call loads what is loaded once.
        asyncio.run(phones(server.url, phrase, Depth(0, 1)))
        found = asyncio.run(phones(server.url, phrase, depth))
        tell("phone, last word to first sound", found.replies)
        tell("phone, interruption to silence", found.stops)
        tell("WebRTC, last word to first sound", asyncio.run(pages(server.url, phrase, depth)))


if __name__ == "__main__":
    main()
