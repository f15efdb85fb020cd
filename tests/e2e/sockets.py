"""Callers over a WebSocket that know what they must hear, and a server for them.

`python -m tests.e2e.sockets URL CALLS SECONDS CODING` makes many calls at once; prints JSON.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.e2e.served import RATE

ROOT: Final = Path(__file__).parents[2]
FRAME: Final = RATE // 50
PATIENCE: Final = 8.0
"""Seconds in which the last of what was sent must be back."""
CODES: Final = [code for code in range(256) if code not in (0x7F, 0xFF)]
"""Of mu-law, without the two that stand for silence."""
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
"""Opcodes (RFC 6455, 5.2)."""


# The server.


@dataclass
class Served:
    """A server in a process of its own."""

    url: str
    log: Path
    process: subprocess.Popen[str]

    def stats(self) -> dict[str, int]:
        found: dict[str, int] = httpx.get(f"{self.url}/stats", timeout=20).json()
        return found

    def calm(self, before: dict[str, int], seconds: float = 20) -> dict[str, int]:
        """Its state once it holds no more than before; as it is after some time otherwise."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.stats()
            kept = [
                key for key in ("calls", "threads", "tasks", "files") if found[key] > before[key]
            ]
            if not kept or time.monotonic() > deadline:
                return found
            time.sleep(0.2)

    def records(self) -> list[str]:
        """What it has logged, one text for each record with all its lines."""
        text = re.sub("\x1b\\[[0-9]*m", "", self.log.read_text(errors="replace"))
        return [
            one for one in re.split(r"^(?=(?:WARNING|ERROR|CRITICAL):)", text, flags=re.M) if one
        ]


@contextlib.contextmanager
def served(*handlers: str, core: int | None = None, **secrets: str) -> Iterator[Served]:
    """Serve handlers of `tests.e2e.served`; ``core`` is the only one that the server may use.

    ``secrets``: variables of its environment. Without one anybody may call in.
    """
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    command = [*pinned, sys.executable, "-m", "tests.e2e.served", *handlers]
    environment = {k: v for k, v in os.environ.items() if not k.endswith(("_TOKEN", "_SECRET"))}
    environment.update(secrets)
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
        with process:
            assert process.stdout is not None
            try:
                port = process.stdout.readline()
                assert port, Path(log.name).read_text()
                yield Served(f"http://127.0.0.1:{int(port)}", Path(log.name), process)
            finally:
                process.terminate()


# One socket.


class RawSocket(asyncio.Protocol):
    """A client's end of a WebSocket: lean, and able to do what a library would not let one do."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The status of the answer."""
        self.closed = asyncio.Event()
        self.close_code: int | None = None
        self.taken = asyncio.Event()
        """Whether little of what was sent waits here."""
        self.taken.set()
        self.hear: Callable[[str | bytes], None] = lambda message: None
        """Called with each message."""
        self._buffer = bytearray()

    @classmethod
    async def open(cls, url: str, path: str, headers: str = "", seconds: float = 30.0) -> RawSocket:
        """Connect, and shake hands.

        Raises:
            ConnectionRefusedError, asyncio.TimeoutError: there is no handshake.
        """
        socket = await cls.connect(url)
        socket.write(
            f"GET {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Version: 13\r\n{headers}\r\n".encode()
        )
        try:
            status = await asyncio.wait_for(socket.opened, seconds)
            if status != 101:
                raise ConnectionRefusedError(f"{path}: {status}")
        except BaseException:
            socket.hang_up()
            raise
        return socket

    @classmethod
    async def connect(cls, url: str) -> RawSocket:
        """Connect, and say nothing."""
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, socket = await loop.create_connection(cls, parts.hostname or "", parts.port or 80)
        return socket

    def send(self, message: str | bytes) -> None:
        """Send a message."""
        if isinstance(message, str):
            self.write(frame(message.encode("utf-8", "surrogatepass"), TEXT))
        else:
            self.write(frame(message, BINARY))

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def hang_up(self) -> None:
        """Close the connection without a word."""
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def pause_writing(self) -> None:
        self.taken.clear()

    def resume_writing(self) -> None:
        self.taken.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()
        self.taken.set()
        if not self.opened.done():
            self.opened.set_result(0)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.opened.done():
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.opened.set_result(int(self._buffer[9:12]))
            del self._buffer[: end + 4]
        while self._read():
            pass

    def _read(self) -> bool:
        """Take one frame from the buffer, if it is all there. The server sends no fragments."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        start, length = 2, buffer[1]
        if length > 125:
            start = 4 if length == 126 else 10
            length = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + length:
            return False
        opcode, data = buffer[0] & 15, bytes(buffer[start : start + length])
        del buffer[: start + length]
        if opcode in (TEXT, BINARY):
            self.hear(data.decode() if opcode == TEXT else data)
        elif opcode == PING:
            self.write(frame(data, PONG))
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(data[:2], "big")
        return True


def frame(data: bytes, opcode: int, *, fin: bool = True) -> bytes:
    """A frame as a client sends it, under a mask of zeros."""
    head = bytes([opcode | (0x80 if fin else 0)])
    if len(data) < 126:
        head += bytes([0x80 | len(data)])
    elif len(data) < 1 << 16:
        head += struct.pack("!BH", 0xFE, len(data))
    else:
        head += struct.pack("!BQ", 0xFF, len(data))
    return head + b"\0\0\0\0" + data


# What is said.


@dataclass
class Report:
    """What a caller has found.

    Attributes:
        sent: frames that it sent.
        heard: frames that came back, each after the one before it.
        faults: what came back otherwise.
        late: seconds from the sending of each frame until all of it was back.
    """

    sent: int = 0
    heard: int = 0
    faults: list[str] = field(default_factory=list)
    late: list[float] = field(default_factory=list)


class Caller:
    """Counts aloud: all samples of a frame are its number, and the echo must count the same.

    ``coding``: ``"pcm"`` in binary messages, or ``"mulaw"`` in JSON, as old clients send it.
    """

    def __init__(self, coding: str, number: int = 0, callers: int = 1) -> None:
        self.report = Report()
        self._binary = coding == "pcm"
        # Each of many callers has numbers of its own, so that a frame of another's is noticed.
        self._number, self._callers = number, callers
        self._sent_at: list[float] = []
        self._caught_up = asyncio.Event()
        self._rest: NDArray[np.int16] = np.zeros(0, np.int16)

    async def connect(self, url: str, path: str = "/websocket/offer") -> None:
        self.socket = await RawSocket.open(url, path)
        self.socket.hear = self._hear
        form = {"encoding": "pcm_s16le", "sample_rate": RATE, "framing": "binary"}
        asked = {"format": form} if self._binary else {}
        self.socket.send(
            json.dumps({"event": "start", "websocket_id": os.urandom(8).hex(), **asked})
        )

    def say(self) -> None:
        """Send the next frame."""
        number = self._value(self.report.sent)
        if self._binary:
            self.socket.send(struct.pack("<h", number) * FRAME)
        else:
            payload = base64.b64encode(bytes([number]) * FRAME).decode()
            self.socket.send(f'{{"event": "media", "media": {{"payload": "{payload}"}}}}')
        self._sent_at.append(time.monotonic())
        self.report.sent += 1
        self._caught_up.clear()

    async def talk(self, seconds: float, patience: float = PATIENCE) -> None:
        """Send frames in real time, and wait a little for the last of them."""
        await on_time(seconds, self.say)
        await self.catch_up(patience)

    async def catch_up(self, seconds: float = PATIENCE) -> None:
        """Wait until all that was sent has come back, but not for long."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._caught_up.wait(), seconds)

    def _value(self, index: int) -> int:
        if self._binary:
            return 1 + (index * self._callers + self._number) % 32_000
        return CODES[(index + 7 * self._number) % len(CODES)]

    def _hear(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            found = np.frombuffer(message, "<i2")
            found = found[found != 0]
        else:
            told = json.loads(message)
            if told.get("event") != "media":
                if told.get("event") != "started":
                    self.report.faults.append(message[:200])
                return
            found = np.frombuffer(base64.b64decode(told["media"]["payload"]), np.uint8)
            found = found[(found & 0x7F) != 0x7F].astype(np.int16)
        self._rest = np.concatenate([self._rest, found.astype(np.int16)])
        while len(self._rest) >= FRAME:
            self._check(self._rest[:FRAME])
            self._rest = self._rest[FRAME:]

    def _check(self, heard: NDArray[np.int16]) -> None:
        index = self.report.heard
        if index >= self.report.sent or np.any(heard != self._value(index)):
            self.report.faults.append(
                f"frame {index}: expected {self._value(index)}, got {Counter(heard.tolist())}"
            )
        else:
            self.report.late.append(time.monotonic() - self._sent_at[index])
        self.report.heard += 1
        if self.report.heard == self.report.sent:
            self._caught_up.set()


async def on_time(seconds: float, step: Callable[[], object]) -> None:
    """Call something 50 times a second, on a schedule that a late step does not move."""
    began = time.monotonic()
    for count in range(round(50 * seconds)):
        step()
        await asyncio.sleep(max(0.0, began + 0.02 * (count + 1) - time.monotonic()))


async def main() -> None:
    url, calls, seconds, coding = sys.argv[1:]
    callers = [Caller(coding, number, int(calls)) for number in range(int(calls))]
    await asyncio.gather(*(caller.connect(url) for caller in callers))

    def say() -> None:
        for caller in callers:
            caller.say()

    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        before = (await http.get("/stats")).json()
        await on_time(float(seconds), say)
        after = (await http.get("/stats")).json()
    await asyncio.gather(*(caller.catch_up() for caller in callers))
    for number, caller in enumerate(callers):
        if number % 2:
            caller.socket.write(frame(struct.pack("!H", 1000), CLOSE))
        caller.socket.hang_up()
    reports = [dataclasses.asdict(caller.report) for caller in callers]
    print(json.dumps({"cpu_ms": after["cpu_ms"] - before["cpu_ms"], "reports": reports}))


if __name__ == "__main__":
    asyncio.run(main())
