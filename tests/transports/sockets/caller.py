"""A client of ``/websocket/offer``, with codecs that share nothing with the package's own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, cast

import av
import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.carrier import g711
from tests.peers import eventually
from tests.transports.house import Place

Samples = NDArray[np.int16]
PCM = {"encoding": "pcm_s16le", "sample_rate": 8_000}
"""A format in which nothing is lost."""


class Codec:
    """One coding, at a rate in Hz and with 1 or 2 channels."""

    def __init__(self, encoding: str = "mulaw", rate: int = 8_000, channels: int = 1) -> None:
        self.encoding, self.rate, self.channels = encoding, rate, channels
        # Opus comes out at 48 kHz whatever it went in with.
        self.rate_heard = 48_000 if encoding == "opus" else rate
        if encoding in ("alaw", "opus"):
            name = "pcm_alaw" if encoding == "alaw" else "libopus"
            self._encoder, self._decoder = self._context(name, "w"), self._context(name, "r")

    def encode(self, samples: Samples) -> bytes:
        """20 ms of sound, shape (channels, n)."""
        packed = np.ascontiguousarray(samples.T).reshape(1, -1)
        if self.encoding == "pcm_s16le":
            return bytes(packed.astype("<i2").tobytes())
        if self.encoding == "mulaw":
            return g711.encode(packed[0])
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=self._layout)
        frame.sample_rate = self.rate
        return b"".join(bytes(packet) for packet in self._encoder.encode(frame))

    def decode(self, data: bytes) -> Samples:
        """Sound of shape (channels, n)."""
        if self.encoding == "pcm_s16le":
            packed: Samples = np.frombuffer(data, "<i2").astype(np.int16)
        elif self.encoding == "mulaw":
            packed = g711.decode(data)
        else:
            frames = self._decoder.decode(av.Packet(data))
            rows = [frame.to_ndarray().reshape(-1) for frame in frames]
            packed = np.concatenate(rows).astype(np.int16)
        sound: Samples = packed.reshape(-1, self.channels).T
        return sound

    @property
    def _layout(self) -> Literal["mono", "stereo"]:
        return "mono" if self.channels == 1 else "stereo"

    def _context(self, name: str, mode: Literal["r", "w"]) -> Any:
        context = cast(Any, av.CodecContext.create(name, mode))
        context.sample_rate = self.rate if mode == "w" else self.rate_heard
        context.layout, context.format = self._layout, "s16"
        return context


class SocketCaller:
    """One caller; `said` and `heard` are in the codecs that it is given."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.codec = self.codec_heard = Codec()
        self.binary = False
        self.messages: list[dict[str, Any]] = []
        """All texts but sound."""
        self.arrived: list[tuple[float, Samples]] = []
        """Sound, and when it came on the monotonic clock."""
        self.log: list[Any] = []
        """What came, in order: the event or the type of a text, and sound."""
        self._reader = asyncio.ensure_future(self._read())

    async def start(self, call_id: str | None = None, **fields: Any) -> None:
        """Begin the call; the codecs are those of the ``format``, if there is one."""
        wanted = fields.get("format")
        if wanted:
            channels = wanted.get("channels", 1)
            self.codec = Codec(wanted["encoding"], wanted["sample_rate"], channels)
            self.codec_heard = self.codec
            self.binary = wanted.get("framing") == "binary"
        named = {} if call_id is None else {"websocket_id": call_id}
        await self.tell({"event": "start", **named, **fields})

    async def tell(self, message: dict[str, Any] | str | bytes) -> None:
        await self.socket.send(json.dumps(message) if isinstance(message, dict) else message)

    async def say(self, samples: Samples) -> None:
        """Send sound of shape (channels, n), all at once, in frames of 20 ms."""
        length = self.codec.rate // 50
        for start in range(0, samples.shape[1], length):
            data = self.codec.encode(samples[:, start : start + length])
            payload = {"payload": base64.b64encode(data).decode()}
            await self.tell(data if self.binary else {"event": "media", "media": payload})

    @property
    def heard(self) -> Samples:
        """All sound; shape (channels, n)."""
        silence = np.zeros((self.codec_heard.channels, 0), np.int16)
        return np.concatenate([silence, *(sound for _, sound in self.arrived)], axis=1)

    def named(self, name: str) -> list[dict[str, Any]]:
        """The texts with this event or type."""
        return [m for m in self.messages if name in (m.get("event"), m.get("type"))]

    async def until(self, name: str, count: int = 1, seconds: float = 5.0) -> dict[str, Any]:
        """The text with this event or type that comes as number ``count``."""
        await eventually(lambda: len(self.named(name)) >= count, seconds)
        return self.named(name)[count - 1]

    async def until_heard(self, seconds: float, within: float = 5.0) -> None:
        """Return when so much sound has come."""
        wanted = round(seconds * self.codec_heard.rate_heard)
        await eventually(lambda: self.heard.shape[1] >= wanted, within)

    async def until_closed(self, seconds: float = 5.0) -> int | None:
        """The code with which the server closes the socket."""
        done, _ = await asyncio.wait([self._reader], timeout=seconds)
        assert done, "the socket is still open"
        return self.socket.close_code

    def stop_reading(self) -> None:
        """From here on what comes stays in the buffers of the machine."""
        self._reader.cancel()

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in self.socket:
                self._take(message)

    def _take(self, message: str | bytes) -> None:
        text: dict[str, Any] = {} if isinstance(message, bytes) else json.loads(message)
        if isinstance(message, bytes) or text.get("event") == "media":
            data = message if isinstance(message, bytes) else base64.b64decode(_payload(text))
            self.arrived.append((time.monotonic(), self.codec_heard.decode(data)))
            self.log.append("sound")
        else:
            self.messages.append(text)
            self.log.append(text.get("event") or text.get("type"))


@contextlib.asynccontextmanager
async def calling(
    place: Place, call_id: str | None = None, **fields: Any
) -> AsyncIterator[SocketCaller]:
    """A call that has begun."""
    async with connected(place) as caller:
        await caller.start(call_id, **fields)
        yield caller


@contextlib.asynccontextmanager
async def connected(place: Place, **options: Any) -> AsyncIterator[SocketCaller]:
    """A socket on which nothing has been said."""
    async with connect(
        place.socket, proxy=None, ping_interval=None, compression=None, **options
    ) as socket:
        caller = SocketCaller(socket)
        try:
            yield caller
        finally:
            await socket.close()
            await caller.until_closed()


def frames_of(samples: Samples, rate: int) -> Iterator[Samples]:
    """The whole frames of 20 ms in a sound of shape (channels, n)."""
    length = rate // 50
    for start in range(0, samples.shape[1] - length + 1, length):
        yield samples[:, start : start + length]


def _payload(text: dict[str, Any]) -> str:
    return str(text["media"]["payload"])
