"""One server for all the streams of a test file, and handlers that do as they are told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray

from fastrtc import AsyncStreamHandler, Stream
from tests.carrier import Carrier
from tests.peers import eventually, make_stream, serving

LOUD = 500
"""An amplitude above the noise of every coding."""


@dataclass
class Place:
    """A stream, and where it is reached."""

    stream: Stream
    url: str
    http: httpx.AsyncClient

    @property
    def socket(self) -> str:
        return self.url.replace("http", "ws", 1) + "/websocket/offer"

    @property
    def media(self) -> str:
        return self.url.replace("http", "ws", 1) + "/telephone/handler"

    @property
    def path(self) -> str:
        return self.url.removeprefix(str(self.http.base_url).rstrip("/"))

    def carrier(self, **options: Any) -> Carrier:
        """A telephone company that has this stream's number."""
        return Carrier(f"{self.url}/telephone/incoming", **options)

    async def handler(self) -> Any:
        """The handler of the one live call, when it has begun."""
        await eventually(lambda: len(self.stream.connections) == 1)
        (session,) = self.stream.connections.values()
        return session.handler


class House:
    """A server on loopback; each stream has a path of its own."""

    def __init__(self, app: FastAPI, http: httpx.AsyncClient) -> None:
        self.app = app
        self.http = http
        self.url = str(http.base_url).rstrip("/")
        self._opened = 0
        self._streams: list[Stream] = []

    def open(
        self, handler: Any, *, dependencies: Sequence[Any] | None = None, **options: Any
    ) -> Place:
        stream = make_stream(handler, **options)
        self._opened += 1
        self._streams.append(stream)
        stream.mount(self.app, f"/{self._opened}", dependencies=dependencies)
        return Place(stream, f"{self.url}/{self._opened}", self.http)

    async def clear(self) -> None:
        """End the calls of the last test."""
        streams, self._streams = self._streams, []
        for stream in streams:
            await stream.close()


@contextlib.asynccontextmanager
async def building() -> AsyncIterator[House]:
    """A house that stands until the block ends."""
    app = FastAPI()
    async with serving(app) as http:
        house = House(app, http)
        yield house
        await house.clear()


class Teller(AsyncStreamHandler):
    """Emits what it is given, and then what is put into `more`; notes what happens to it."""

    def __init__(self, *values: Any, rate: int = 8_000, log: list[Any] | None = None) -> None:
        super().__init__(output_sample_rate=rate, input_sample_rate=rate)
        self.values = values
        self.more: asyncio.Queue[Any] = asyncio.Queue()
        self.heard: list[NDArray[np.int16]] = []
        self.log: list[Any] = [] if log is None else log
        """Of all calls."""
        for value in values:
            self.more.put_nowait(value)

    async def start_up(self) -> None:
        self.log.append("start_up")

    async def receive(self, frame: Any) -> None:
        self.heard.append(frame[1][0])

    async def emit(self) -> Any:
        return await self.more.get()

    async def on_dtmf(self, digit: str) -> None:
        self.log.append(digit)

    async def shutdown(self) -> None:
        self.log.append("shutdown")

    def copy(self) -> Teller:
        return Teller(*self.values, rate=self.output_sample_rate, log=self.log)


class Parrot(Teller):
    """Says what it hears."""

    async def receive(self, frame: Any) -> None:
        self.more.put_nowait(frame)

    def copy(self) -> Parrot:
        return Parrot(*self.values, rate=self.output_sample_rate, log=self.log)


def loud_seconds(sound: NDArray[np.int16], rate: int) -> float:
    """For how long something was heard; shape (n,)."""
    return len(trimmed(sound)) / rate


def trimmed(sound: NDArray[np.int16]) -> NDArray[np.int16]:
    """A sound without the silence around it; shape (n,)."""
    loud = np.flatnonzero(np.abs(sound.astype(np.int32)) > LOUD)
    return sound[loud[0] : loud[-1] + 1] if len(loud) else sound[:0]


def hertz(sound: NDArray[np.int16], rate: int) -> float:
    """The strongest frequency of a sound; shape (n,)."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 16))
    return float(np.argmax(spectrum) * rate / (1 << 16))
