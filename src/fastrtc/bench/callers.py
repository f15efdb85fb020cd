"""The process of the callers: makes more and more calls, and notes what they hear."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.bench.caller import CONNECT_SECONDS, Caller, RefusedError
from fastrtc.bench.figures import Times, unwrapped
from fastrtc.bench.sounds import Clip
from fastrtc.transports.opus import RATE

SPREAD: Final = 0.618
"""Callers begin at so different places of the clip, as the golden ratio spreads them."""


@dataclass(frozen=True)
class Recording:
    """What a caller heard in a window, in the order of the packets, and what it said.

    Attributes:
        arrived, media: of each packet: when it came, and its time in its own stream.
        payloads: of Opus.
        said: when each thing was said in the window, ``(begin, end)``.
    """

    arrived: Times
    media: Times
    payloads: list[bytes]
    said: list[tuple[float, float]]


@dataclass(frozen=True)
class Window:
    """What all callers heard between two times; the recordings go on a little, for answers."""

    begin: float
    end: float
    recordings: list[Recording]
    late: NDArray[np.float64]
    """How late the callers themselves sent each packet."""


def call(pipe: Connection, clip: Clip) -> None:
    """Do what comes through the pipe, until it is closed: ``("connect", (url, calls))`` and
    ``("listen", seconds)``. Each is answered by ``("done", result)``, or by ``("failed", text)``.
    """
    # Ctrl-C is for the process that started this one, which then ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Collections of garbage are pauses, which would be taken for the server's.
    gc.disable()
    asyncio.run(_serve(pipe, Crowd(clip)))


async def _serve(pipe: Connection, crowd: Crowd) -> None:
    try:
        while True:
            try:
                what, argument = await asyncio.to_thread(pipe.recv)
            except EOFError:
                return
            if what == "connect":
                url, calls = argument
                result: Any = await crowd.grow(url, calls, lambda n: pipe.send(("more", n)))
            else:
                result = await crowd.listen(argument)
            pipe.send(("done", result))
    except Exception as error:
        pipe.send(("failed", f"The callers failed: {type(error).__name__}: {error}"))


class Crowd:
    """Many callers, who all say the same thing, each at a time of its own."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._callers: list[Caller] = []

    async def grow(self, url: str, calls: int, tell: Callable[[int], None]) -> str:
        """Make calls until there are so many.

        Args:
            url: of the server.
            calls: how many there shall be.
            tell: called with their number after each.

        Returns:
            Why the first that was not taken was not; empty if all were.
        """
        while len(self._callers) < calls:
            place = len(self._callers) * SPREAD % 1
            caller = Caller(self._clip, round(place * len(self._clip.packets)))
            try:
                await caller.connect(url)
            except Exception as error:
                await caller.hang_up()
                return why(error)
            self._callers.append(caller)
            tell(len(self._callers))
        return ""

    async def listen(self, seconds: float) -> Window:
        """What is heard in the next seconds, and a little longer, for what is said at their end."""
        for caller in self._callers:
            caller.forget()
        begin = perf_counter()
        await asyncio.sleep(seconds)
        end = perf_counter()
        late = np.array([delay for caller in self._callers for delay in caller.late])
        await asyncio.sleep(self._clip.longest)
        recordings = [recording(caller, self._clip, begin, end) for caller in self._callers]
        return Window(begin, end, recordings, late)


def why(error: Exception) -> str:
    """Why there is no call, in words."""
    if isinstance(error, RefusedError):
        return str(error)
    # Before Python 3.11 the second is not the first.
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return f"the next was not connected within {CONNECT_SECONDS:g} s"
    return f"{type(error).__name__} {error}".strip()


def recording(caller: Caller, clip: Clip, begin: float, end: float) -> Recording:
    """What a caller has heard, and said between two times."""
    arrivals = caller.arrivals
    assert caller.started is not None
    order = np.argsort(unwrapped([p.sequence for _, p in arrivals], 16), kind="stable")
    media = unwrapped([p.timestamp for _, p in arrivals], 32) / RATE
    return Recording(
        np.array([at for at, _ in arrivals], np.float64)[order],
        media[order],
        [arrivals[index][1].payload for index in order],
        said(caller.started, clip, begin, end),
    )


def said(started: float, clip: Clip, begin: float, end: float) -> list[tuple[float, float]]:
    """When the thing of a clip was said, of the times whose answer is awaited in the window."""
    since = clip.ends if clip.answered else clip.begins
    first = int(np.ceil((begin - started - since) / clip.seconds))
    last = int(np.floor((end - started - since) / clip.seconds))
    starts = [started + number * clip.seconds for number in range(first, last + 1)]
    return [(at + clip.begins, at + clip.ends) for at in starts]
