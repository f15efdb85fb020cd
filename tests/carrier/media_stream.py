"""One media stream: the socket, the 20 ms clock, and the two directions of sound on it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from typing import Any, Final, Generic, TypeVar

import numpy as np
import soxr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.carrier import g711
from tests.carrier.messages import Clear, Mark, Media, Violation, read
from tests.carrier.playback import FRAME, Playback
from tests.conftest import Sound

TICK: Final = FRAME / g711.RATE
"""Seconds between two media messages."""

FAREWELL: Final = 2.0
"""Seconds in which a server must take the rest and close its side after a hang-up."""

T = TypeVar("T")


class Delayed(Generic[T]):
    """One direction of a network: gives out in order, each a fixed time after it came in."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._items: asyncio.Queue[tuple[float, T]] = asyncio.Queue()

    def put(self, item: T) -> None:
        self._items.put_nowait((asyncio.get_running_loop().time() + self._delay, item))

    async def get(self) -> T:
        due, item = await self._items.get()
        early = due - asyncio.get_running_loop().time()
        if early > 0:
            await asyncio.sleep(early)
        return item


class MediaStream:
    """A stream in both directions, as `<Connect><Stream>` makes one."""

    def __init__(self, account: str, call: str, stream: str, delay: float) -> None:
        """``delay`` is in seconds, for each direction."""
        self.sid = stream
        self.playback = Playback()
        self.violations: list[str] = []
        self.started = asyncio.Event()
        self.close_code: int | None = None
        self._account, self._call = account, call
        self._delay = delay
        self._outbound: Delayed[str | None] = Delayed(delay)
        self._inbound: Delayed[str | bytes | None] = Delayed(delay)
        self._sequence = 0
        self._speech = bytearray()
        self._quiet = asyncio.Event()
        self._hung_up = False

    def say(self, sound: Sound) -> None:
        """Speak from the next 20 ms on, behind what is being said."""
        rate, samples = sound
        flat = np.asarray(samples, np.float32)
        assert flat.size == flat.shape[-1], f"a telephone has one channel, not {flat.shape}"
        # In floats, because soxr adds a dither to integers, and silence shall be silent.
        on_the_line = soxr.resample(flat.reshape(-1), rate, g711.RATE)
        self._speech += g711.encode(np.clip(on_the_line.round(), -32_768, 32_767).astype(np.int16))
        self._quiet.clear()

    async def quiet(self) -> None:
        """Return when all that was to say has been sent, or the stream has ended."""
        await self._quiet.wait()

    def press(self, digit: str) -> None:
        self._send("dtmf", dtmf={"track": "inbound_track", "digit": digit})

    def hang_up(self) -> None:
        """End with the next tick, whatever is being said or heard."""
        self._hung_up = True

    async def run(self, url: str, headers: dict[str, str], parameters: dict[str, str]) -> None:
        """Connect, and stay until either side ends the stream.

        Raises:
            OSError, InvalidHandshake: The server cannot be reached, or refuses.
        """
        async with connect(
            url,
            additional_headers=headers,
            user_agent_header="Twilio.TmeWs/1.0",
            compression=None,
            proxy=None,
            ping_interval=None,
            close_timeout=FAREWELL,
        ) as socket:
            self._greet(parameters)
            receiving = asyncio.ensure_future(self._receive(socket))
            sending = asyncio.ensure_future(self._transmit(socket))
            acting = asyncio.ensure_future(self._act())
            ticking = asyncio.ensure_future(self._tick())
            tasks = [receiving, sending, acting, ticking]
            try:
                await asyncio.wait({acting, ticking}, return_when=asyncio.FIRST_COMPLETED)
                if self._hung_up and not acting.done():
                    self._send("stop", stop={"accountSid": self._account, "callSid": self._call})
                    self._outbound.put(None)
                    await asyncio.wait({sending}, timeout=self._delay + FAREWELL)
            finally:
                self._quiet.set()
                await _finish(tasks)
        self.close_code = socket.close_code

    def _greet(self, parameters: dict[str, str]) -> None:
        self._outbound.put(
            json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        )
        self._send(
            "start",
            start={
                "accountSid": self._account,
                "streamSid": self.sid,
                "callSid": self._call,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": parameters,
            },
        )
        self.started.set()

    async def _tick(self) -> None:
        """Play and record, 20 ms at a time, on a schedule that a late tick does not move."""
        loop = asyncio.get_running_loop()
        began, ticks = loop.time(), 0
        while not self._hung_up:
            self._mark(self.playback.tick())
            spoken = bytes(self._speech[:FRAME])
            del self._speech[:FRAME]
            ticks += 1
            await asyncio.sleep(max(0.0, began + ticks * TICK - loop.time()))
            # What a person says in 20 ms is on its way when they are over.
            self._speak(ticks, spoken.ljust(FRAME, g711.SILENCE))
            if not self._speech:
                self._quiet.set()

    def _speak(self, chunk: int, frame: bytes) -> None:
        self._send(
            "media",
            media={
                "track": "inbound",
                "chunk": str(chunk),
                "timestamp": str((chunk - 1) * round(TICK * 1000)),
                "payload": base64.b64encode(frame).decode(),
            },
        )

    async def _act(self) -> None:
        """Do what the server asks, until it has closed the socket."""
        while (frame := await self._inbound.get()) is not None:
            match read(frame, self.sid):
                case Media(sound):
                    self.playback.put(sound)
                case Mark(name):
                    self._mark(self.playback.mark(name))
                case Clear():
                    self._mark(self.playback.clear())
                case Violation(reason):
                    self.violations.append(reason)

    def _mark(self, names: list[str]) -> None:
        for name in names:
            self._send("mark", mark={"name": name})

    def _send(self, event: str, **body: Any) -> None:
        self._sequence += 1
        message = {"event": event, "sequenceNumber": str(self._sequence), **body}
        self._outbound.put(json.dumps({**message, "streamSid": self.sid}))

    async def _transmit(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while (text := await self._outbound.get()) is not None:
                await socket.send(text)

    async def _receive(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for frame in socket:
                self._inbound.put(frame)
        self._inbound.put(None)


async def _finish(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel what still runs; a fault of one of them is raised."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
