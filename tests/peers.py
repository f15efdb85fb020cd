"""A real caller for tests: aiortc over loopback, with a voice of its own."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import json
import random
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import numpy as np
import uvicorn
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame
from fastapi import FastAPI
from numpy.typing import NDArray

from fastrtc import Stream
from fastrtc.audio.resample import StreamResampler
from tests.conftest import Sound

RATE = 48_000
FRAME = 960


class Microphone(MediaStreamTrack):
    """Sends what it is told to say in real time, and faint noise otherwise."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._said: NDArray[np.int16] = np.zeros(0, np.int16)
        self._started: float | None = None
        self._index = 0
        self._random = np.random.default_rng(1)
        self.quiet = asyncio.Event()

    def say(self, sound: Sound) -> None:
        rate, samples = sound
        resampler = StreamResampler(rate, RATE)
        at_48k = np.concatenate([resampler.process(samples), resampler.flush()], axis=1)[0]
        self._said = np.concatenate([self._said, at_48k])
        self.quiet.clear()

    async def recv(self) -> AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._started = self._started or time.monotonic()
        self._index += 1
        await asyncio.sleep(max(0.0, self._started + self._index * 0.02 - time.monotonic()))
        part, self._said = self._said[:FRAME], self._said[FRAME:]
        samples = self._random.normal(0, 8, FRAME).astype(np.int16)
        samples[: len(part)] += part
        if not len(self._said):
            self.quiet.set()
        frame = AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, self._index * FRAME
        frame.time_base = fractions.Fraction(1, RATE)
        return frame


class Caller:
    """One call over WebRTC, as an older page makes it."""

    def __init__(
        self, http: httpx.AsyncClient, path: str = "", direction: str = "", watch: bool = False
    ) -> None:
        self.http = http
        self.watch = watch
        self.path = path
        self.id = uuid.uuid4().hex[:10]
        self.direction = direction
        self.microphone = Microphone()
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.messages: list[dict[str, Any]] = []
        self.heard: list[NDArray[np.int16]] = []
        self.heard_at: list[float] = []
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []

    async def offer(self) -> dict[str, Any]:
        """Our offer, as it is posted."""
        if self.direction == "recvonly":
            self.connection.addTransceiver("audio", direction="recvonly")
        else:
            self.connection.addTrack(self.microphone)
        self.channel = self.connection.createDataChannel("text")
        self.channel.on("message", self._message)
        self.connection.on("track", self._track)
        await self.connection.setLocalDescription(await self.connection.createOffer())
        description = self.connection.localDescription
        offer = {"sdp": description.sdp, "type": "offer", "webrtc_id": self.id}
        return {**offer, "watch": True} if self.watch else offer

    async def post(self, body: Any) -> dict[str, Any]:
        reply = await self.http.post(f"{self.path}/webrtc/offer", json=body)
        answer: dict[str, Any] = reply.json()
        return answer

    async def connect(self) -> None:
        connected, opened = asyncio.Event(), asyncio.Event()

        def follow() -> None:
            if self.connection.connectionState == "connected":
                connected.set()

        self.connection.on("connectionstatechange", follow)
        offer = await self.offer()
        self.channel.on("open", opened.set)
        answer = await self.post(offer)
        assert "sdp" in answer, answer
        description = RTCSessionDescription(answer["sdp"], answer["type"])
        await self.connection.setRemoteDescription(description)
        await asyncio.wait_for(asyncio.gather(connected.wait(), opened.wait()), 15)

    async def say(self, sound: Sound) -> None:
        """Say something; returns when the last sample is on its way."""
        self.microphone.say(sound)
        await self.microphone.quiet.wait()

    async def until(self, data: str, count: int = 1, seconds: float = 15.0) -> None:
        """Wait until a message with this data has come so many times."""

        def there() -> bool:
            return [m.get("data") for m in self.messages].count(data) >= count

        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(there), seconds)

    async def hang_up(self) -> None:
        await self.connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def sound(self, start: float = 0.0) -> NDArray[np.int16]:
        """What was heard since a time on the monotonic clock; mono, 48 kHz."""
        parts = [s for s, at in zip(self.heard, self.heard_at, strict=True) if at >= start]
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)

    def _message(self, text: str) -> None:
        self.messages.append(json.loads(text))
        self._tasks.append(asyncio.ensure_future(self._notify()))

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _track(self, track: MediaStreamTrack) -> None:
        self._tasks.append(asyncio.ensure_future(self._listen(track)))

    async def _listen(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, AudioFrame)
                self.heard.append(frame.to_ndarray().reshape(-1, 2)[:, 0].astype(np.int16))
                self.heard_at.append(time.monotonic())


async def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Return when a condition holds that nothing announces; TimeoutError if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it never came true")
        await asyncio.sleep(0.02)


def free_ports(count: int) -> tuple[int, int]:
    """The first and the last of so many UDP ports in a row that nobody has at this moment."""
    while True:
        # Below those that systems give out.
        first = random.randrange(10_000, 30_000)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                one.bind(("", port))
            return first, first + count - 1


@contextlib.asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an app on loopback, in this event loop."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    task = asyncio.ensure_future(server.serve())
    await eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
        yield http
    server.should_exit = True
    await task


def make_stream(handler: Any, **options: Any) -> Stream:
    """A stream that asks no server outside of this machine."""
    return Stream(handler, server_rtc_configuration={"iceServers": []}, **options)


@contextlib.asynccontextmanager
async def line(handler: Any, **options: Any) -> AsyncIterator[tuple[Stream, httpx.AsyncClient]]:
    """A stream on an app of its own, served on loopback."""
    stream = make_stream(handler, **options)
    app = FastAPI()
    stream.mount(app)
    async with serving(app) as http:
        try:
            yield stream, http
        finally:
            await stream.close()
