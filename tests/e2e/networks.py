"""Calls over a bad network: what is done to them, and what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import httpx
import numpy as np
from aiortc.codecs.opus import OpusEncoder
from aiortc.rtp import RtpPacket
from av import AudioFrame, AudioResampler
from numpy.typing import NDArray

from fastrtc.audio.resample import StreamResampler
from fastrtc.testing import load_speech
from tests.conftest import Sound, human_speech
from tests.ear import RATE, Hearing, Packet, Piece, compare, hear
from tests.network import ROOT, Host, Line, Network
from tests.peers import RATE as MICROPHONE_RATE
from tests.peers import Caller, Microphone
from tests.words import TWO_CITIES

SPEECH: Final = (1.0, 14.9)
"""A part of the recording of `TWO_CITIES`, in seconds; it ends in a pause."""
SAID: Final = TWO_CITIES[: TWO_CITIES.index(" it was the season of darkness")]
"""The words of that part."""
CUT_AT: Final = 4.0
"""Seconds of that part after which the network is away."""
CUT_SECONDS: Final = 2.0
AFTER_CUT: Final = 7.6
"""Seconds of that part, in a pause: what is said from then on..."""
SAID_AFTER_CUT: Final = SAID[SAID.index("it was the epoch of belief") :]
"""...is this."""
SETTLED: Final = 12.0
"""Seconds of that part, at which the delay of a stall must have drained."""
TURNS: Final = 2
QUIET_BYTES: Final = 40
"""A packet of Opus that is longer than that is not silence."""
LEAST_PACKETS: Final = 5
"""Packets of sound that make a reply."""
REPLY_SECONDS: Final = 5.0
"""How long a reply is waited for."""


@dataclass(frozen=True)
class Trouble:
    """What a network does to a call.

    Attributes:
        conditions: of both directions, from the moment on in which the call is connected; see
            `Line.impair`.
        cut: seconds for which it is away.
        keep: whether what comes meanwhile is not lost, but late.
    """

    conditions: dict[str, Any] = field(default_factory=dict)
    cut: float = 0.0
    keep: bool = False


JITTER: Final = {"delay": 0.06, "jitter": 0.06, "reorder": True}
TROUBLES: Final = {
    "none": Trouble(),
    "5 % loss": Trouble({"loss": 0.05}),
    "60 ms jitter, reordering": Trouble(JITTER),
    "both": Trouble({"loss": 0.05, **JITTER}),
    "2 s outage": Trouble(cut=CUT_SECONDS),
    "2 s stall": Trouble(cut=CUT_SECONDS, keep=True),
}


@dataclass
class Outcome:
    """What became of a call.

    Attributes:
        said: what was said to an echo; mono, at `RATE`.
        said_at: when each 20 ms of it was, in seconds on the monotonic clock.
        heard: what came back.
        replies: seconds from the end of each turn to the first sound of its reply; None where
            none came.
        alive: whether both connections stood at the end.
    """

    said: NDArray[np.int16]
    said_at: NDArray[np.float64]
    heard: Hearing
    replies: list[float | None]
    alive: bool

    @cached_property
    def pieces(self) -> list[Piece]:
        """The speech that came back, 20 ms at a time."""
        return compare(self.said, self.said_at, self.heard)

    @property
    def holes(self) -> float:
        """The share of it that has a hole."""
        return float(np.mean([piece.hole for piece in self.pieces]))

    def delays(self, start: float = 0.0, end: float = float("inf")) -> NDArray[np.float64]:
        """Mouth to ear, in seconds, of each 20 ms of speech between two times of what was said."""
        late = [piece.delay for piece in self.pieces if start <= piece.place < end]
        return np.array([delay for delay in late if np.isfinite(delay)])

    def echo(self, start: float = 0.0) -> Sound:
        """What was heard of the echo of what was said from a time on."""
        late = self.delays(start)
        delay = float(late.min()) if len(late) else 0.0
        return RATE, self.heard.since(self.said_at[round(start * 50)] + delay)[None]


class BrowserOpus(OpusEncoder):
    """Opus as browsers send it: mono, and each packet repeats the one before it coarsely."""

    def __init__(self) -> None:
        super().__init__()
        self.codec.layout = "mono"
        self.codec.bit_rate = 32_000
        self.codec.options = {"application": "voip", "fec": "1", "packet_loss": "10"}
        self.resampler = AudioResampler(format="s16", layout="mono", rate=48_000, frame_size=960)


class NotedMicrophone(Microphone):
    """Keeps what it sends, and knows when that was."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[NDArray[np.int16]] = []
        self.sent_at: list[float] = []
        """When each of them began, in seconds on the monotonic clock."""

    async def recv(self) -> AudioFrame:
        frame = await super().recv()
        self.sent.append(frame.to_ndarray()[0])
        self.sent_at.append(time.monotonic() - 0.02)
        return frame

    def said(self, since: int) -> NDArray[np.int16]:
        """What was sent from a frame on; mono, at the rate of the ear."""
        sent = np.concatenate(self.sent[since:])[None]
        resampler = StreamResampler(MICROPHONE_RATE, RATE)
        parts = [resampler.process(sent), resampler.flush()]
        return np.asarray(np.concatenate(parts, axis=1)[0], np.int16)


class Notebook:
    """In the place of aiortc's jitter buffer: writes packets down, and has nothing decoded."""

    def __init__(self, packets: list[Packet]) -> None:
        self._packets = packets

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        at = time.monotonic()
        noted = Packet(packet.sequence_number, packet.timestamp, packet.payload, at)
        self._packets.append(noted)
        return False, None


class NetworkCaller(Caller):
    """A caller that speaks as a browser does, and notes each packet that comes."""

    def __init__(self, http: httpx.AsyncClient, path: str = "") -> None:
        super().__init__(http, path)
        self.microphone: NotedMicrophone = NotedMicrophone()
        self.packets: list[Packet] = []

    async def offer(self) -> dict[str, Any]:
        offer = await super().offer()
        sender: Any
        receiver: Any
        (sender,), (receiver,) = self.connection.getSenders(), self.connection.getReceivers()
        # aiortc lets nobody set its encoder up, or see packets before its jitter buffer.
        sender._RTCRtpSender__encoder = BrowserOpus()
        receiver._RTCRtpReceiver__jitter_buffer = Notebook(self.packets)
        return offer


def speech() -> Sound:
    """What is said to the echo: `SAID`."""
    rate, samples = load_speech(human_speech("two_cities.wav"))
    return rate, samples[:, round(SPEECH[0] * rate) : round(SPEECH[1] * rate)]


@contextlib.contextmanager
def served(network: Network, *handlers: str) -> Iterator[str]:
    """A server of `tests.e2e.served` on the server's host; yields its URL."""
    with served_on(network.server, network.server_address, *handlers) as url:
        yield url


@contextlib.contextmanager
def served_on(host: Host, address: str, *handlers: str) -> Iterator[str]:
    """The same on any host."""
    program = [sys.executable, "-m", "tests.e2e.served", "--host", address]
    command = host.command(*program, *handlers)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://{address}:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def calls(url: str, line: Line, trouble: Trouble, talk: Sound, turn: Sound) -> Future[Outcome]:
    """Two calls over one line at the same time: to an echo at the root, and to ``/beep``.

    Args:
        url: of the server.
        line: over which they are made.
        trouble: what happens to the line.
        talk: what is said to the echo.
        turn: what is said to the other, `TURNS` times; once before an outage.
    """
    return line.run(lambda: asyncio.run(_calls(url, line, trouble, talk, turn)))


async def _calls(url: str, line: Line, trouble: Trouble, talk: Sound, turn: Sound) -> Outcome:
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        echo, conversation = NetworkCaller(http), NetworkCaller(http, "/beep")
        await asyncio.gather(echo.connect(), conversation.connect())
        line.impair(**trouble.conditions)
        await asyncio.sleep(0.5)
        mended = asyncio.Event()
        _, replies, _ = await asyncio.gather(
            echo.say(talk), _converse(conversation, turn, mended), _cut(line, trouble, mended)
        )
        await asyncio.sleep(1.0)
        alive = {c.connection.connectionState for c in (echo, conversation)} == {"connected"}
        line.impair()
        await asyncio.gather(echo.hang_up(), conversation.hang_up())
    microphone = echo.microphone
    first = next(n for n, sent in enumerate(microphone.sent) if np.abs(sent).max() > 200)
    said_at = np.array(microphone.sent_at[first:])
    return Outcome(microphone.said(first), said_at, hear(echo.packets), replies, alive)


async def _cut(line: Line, trouble: Trouble, mended: asyncio.Event) -> None:
    await asyncio.sleep(CUT_AT)
    if trouble.cut:
        line.cut(trouble.cut, keep=trouble.keep)
        await asyncio.sleep(trouble.cut)
    mended.set()


async def _converse(
    caller: NetworkCaller, turn: Sound, mended: asyncio.Event
) -> list[float | None]:
    replies = []
    for number in range(TURNS):
        if number:
            await mended.wait()
        began = time.monotonic()
        await caller.say(turn)
        ended = time.monotonic()
        first = await _first_sound(caller, began, ended + REPLY_SECONDS)
        replies.append(None if first is None else first - ended)
        await asyncio.sleep(1.0)  # The reply takes half of it.
    return replies


async def _first_sound(caller: NetworkCaller, since: float, until: float) -> float | None:
    """When the first packet of a sound came, on the monotonic clock."""
    while time.monotonic() < until:
        sound = [p.at for p in caller.packets if p.at > since and len(p.payload) > QUIET_BYTES]
        if len(sound) >= LEAST_PACKETS:
            return min(sound)
        await asyncio.sleep(0.05)
    return None
