"""A caller over real sockets: signals by hand, speaks and hears over RTP of its own."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from aiortc.rtp import RtpPacket
from numpy.typing import NDArray

from fastrtc.audio.g711 import MULAW
from fastrtc.transports.sip.listener import SipListener
from tests.peers import eventually
from tests.transports.sip.phone import Message, read

LOOPBACK = "127.0.0.1"


class Port(asyncio.DatagramProtocol):
    """A UDP port that keeps what comes, and when."""

    def __init__(self) -> None:
        self.came: list[tuple[float, bytes]] = []
        self.transport: asyncio.DatagramTransport | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(LOOPBACK, 0)
        )

    def datagram_received(self, data: bytes, source: Any) -> None:
        self.came.append((time.monotonic(), data))

    @property
    def number(self) -> int:
        assert self.transport is not None
        port: int = self.transport.get_extra_info("sockname")[1]
        return port

    def send(self, data: bytes, port: int) -> None:
        assert self.transport is not None
        self.transport.sendto(data, (LOOPBACK, port))

    def close(self) -> None:
        assert self.transport is not None
        self.transport.close()


class Sound(Port):
    """Speaks 8 kHz mu-law in real time, with silence where it says nothing, and hears."""

    def __init__(self) -> None:
        super().__init__()
        self.said_at = 0.0
        self._pcm = np.zeros((1, 0), np.int16)
        self._number, self._ssrc = 0, secrets.randbits(32)

    async def talk(self, port: int) -> None:
        """Send a packet every 20 ms, for ever."""
        start = time.monotonic()
        while True:
            part, self._pcm = self._pcm[:, :160], self._pcm[:, 160:]
            part = np.pad(part, ((0, 0), (0, 160 - part.shape[1])))
            self._send(0, self._number * 160, MULAW.encode(part), port)
            await asyncio.sleep(max(0.0, start + self._number * 0.02 - time.monotonic()))

    def say(self, pcm: NDArray[np.int16]) -> None:
        self.said_at = time.monotonic()
        self._pcm = pcm

    def press(self, key: int, port: int) -> None:
        at = self._number * 160
        for step in range(1, 7):
            end = 0x80 if step > 3 else 0
            self._send(101, at, struct.pack("!BBH", key, end | 10, 160 * step), port)

    def heard(self) -> NDArray[np.int16]:
        """All that was heard so far; 8 kHz."""
        parts = [MULAW.decode(RtpPacket.parse(data).payload)[0] for _, data in self.came]
        return np.concatenate([np.zeros(0, np.int16), *parts])

    def _send(self, kind: int, at: int, payload: bytes, port: int) -> None:
        self._number += 1
        packet = RtpPacket(kind, 0, self._number & 0xFFFF, at & 0xFFFFFFFF, self._ssrc, payload)
        self.send(packet.serialize(), port)


class Caller:
    """One call to a listener on loopback."""

    def __init__(self, line: SipListener) -> None:
        self.line = line
        self.signal, self.sound = Port(), Sound()
        self.id = secrets.token_hex(8)
        self.tag = ""
        self.port = 0
        """Where we are heard."""
        self._read = 0
        self._number = 0

    def request(self, method: str, number: int = 0, body: str = "", extra: str = "") -> None:
        if not number:
            self._number += 1
        number = number or self._number
        to = f"<sip:talk@{LOOPBACK}>{f';tag={self.tag}' if self.tag else ''}"
        place = f"{LOOPBACK}:{self.signal.number}"
        # One transaction with the INVITE that is given up.
        kind = "INVITE" if method == "CANCEL" else method
        text = (
            f"{method} sip:talk@{LOOPBACK} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {place};branch=z9hG4bK{kind}{number}{self.id};rport\r\n"
            f"From: <sip:+15550001@{LOOPBACK}>;tag=1\r\nTo: {to}\r\nCall-ID: {self.id}\r\n"
            f"CSeq: {number} {method}\r\nContact: <sip:a@{place}>\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self.signal.send(text.encode(), self.line.port)

    def offer(self, direction: str = "sendrecv") -> str:
        return (
            f"v=0\r\no=- 1 1 IN IP4 {LOOPBACK}\r\ns=-\r\nc=IN IP4 {LOOPBACK}\r\nt=0 0\r\n"
            f"m=audio {self.sound.number} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
            f"a={direction}\r\n"
        )

    async def next(self) -> Message:
        """The next message that is no provisional answer."""
        while True:
            await eventually(lambda: len(self.signal.came) > self._read)
            self._read += 1
            message = read(self.signal.came[self._read - 1][1], ("", 0))
            if message.code != 100:
                return message

    async def invite(self, direction: str = "sendrecv", extra: str = "") -> Message:
        self.request("INVITE", body=self.offer(direction), extra=extra)
        answer = await self.next()
        self.tag = answer.tag
        self.request("ACK", self._number)
        if answer.code == 200:
            self.port = int(answer.body.partition("m=audio ")[2].split()[0])
        return answer

    async def hang_up(self) -> None:
        self.request("BYE")
        assert (await self.next()).code == 200

    def reply(self, message: Message) -> None:
        """Answer a request of the line with 200."""
        kept = ("via", "from", "to", "call-id", "cseq")
        lines = ["SIP/2.0 200 OK", *(f"{name}: {message.headers[name]}" for name in kept)]
        self.signal.send("\r\n".join([*lines, "", ""]).encode(), self.line.port)


@contextlib.asynccontextmanager
async def caller(line: SipListener) -> AsyncIterator[Caller]:
    """A caller that has not called yet."""
    one = Caller(line)
    await one.signal.open()
    await one.sound.open()
    try:
        yield one
    finally:
        one.signal.close()
        one.sound.close()


@contextlib.asynccontextmanager
async def speaking(one: Caller) -> AsyncIterator[Sound]:
    """A caller's sound, for as long as a call goes on."""
    task = asyncio.ensure_future(one.sound.talk(one.port))
    try:
        yield one.sound
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
