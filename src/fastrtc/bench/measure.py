"""One measurement: a server, callers that become more and more, and the figures of each load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from time import monotonic
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import FULL_SCALE
from fastrtc.bench.callers import Recording, Window, call
from fastrtc.bench.figures import (
    AUDIBLE,
    PACKET,
    Step,
    Summary,
    delays,
    lateness,
    onsets,
    percentile,
    play_times,
    share_late,
    summary,
)
from fastrtc.bench.processes import START_SECONDS, BenchError, Worker
from fastrtc.bench.progress import Progress
from fastrtc.bench.server import Usage, serve
from fastrtc.bench.sounds import Clip, echo_clip, speech_clip
from fastrtc.transports.opus import OpusDecoder

USAGE_SECONDS: Final = 20.0
"""A server under load may take long to say what it has used."""
START, CONNECT_SECONDS = 2.0, 0.1
"""About what it takes until the server is there, and a call connected; for the progress only."""
SLACK_SECONDS: Final = 30.0
HOPELESS: Final = 0.2
"""The share of late packets from which on more calls are not tried."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        target: ``"echo"``, ``"reply"``, or the user's ``module:stream``.
        calls: how many at once, from few to many.
        seconds: of each window.
        server_core, caller_core: None where the system pins no process.
        port: of the server; 0 is any.
        settle: seconds from the last call that is connected to the window.
    """

    target: str
    calls: tuple[int, ...]
    seconds: float
    server_core: int | None
    caller_core: int | None
    port: int = 0
    settle: float = 0.0

    @property
    def clip(self) -> Clip:
        """What the callers say."""
        return echo_clip() if self.target == "echo" else speech_clip()

    @property
    def length(self) -> float:
        """About how many seconds it will take."""
        each = self.settle + self.seconds + self.clip.longest
        return START + self.settle + len(self.calls) * each + CONNECT_SECONDS * self.calls[-1]


@dataclass
class Result:
    """What was measured.

    Attributes:
        plan: what was to be measured.
        base: resident bytes of the server with its first call; None where that cannot be told.
        steps: of each number of calls.
        ended: why there are fewer than were planned; empty if there are not.
    """

    plan: Plan
    base: int | None = None
    steps: list[Step] = field(default_factory=list)
    ended: str = ""


def measure(plan: Plan, progress: Progress) -> Result:
    """Start a server and callers, measure, and end them.

    Raises:
        BenchError: nothing could be measured; the text says why.
    """
    workers: list[Worker] = []
    result = Result(plan)
    try:
        progress.tell(f"{plan.target}: starting the server")
        callers = Worker(call, plan.caller_core, plan.clip)
        workers.append(callers)
        server = Worker(serve, plan.server_core, plan.target, plan.port)
        workers.append(server)
        url = server.ask(None, START_SECONDS)
        progress.advance(START)
        try:
            _climb(result, url, server, callers, progress)
        except BenchError as error:
            if not result.steps:
                raise
            result.ended = str(error)
        callers.kill()
        server.leave()
    finally:
        for worker in workers:
            worker.kill()
    return result


def _climb(result: Result, url: str, server: Worker, callers: Worker, progress: Progress) -> None:
    """One load after the other, each on top of the one before it."""
    plan = result.plan
    if refused := _connect(callers, url, 1, plan.target, progress):
        raise BenchError(f"The server did not take a call: {refused}")
    progress.wait(plan.settle)
    first: Usage = server.ask("usage", USAGE_SECONDS)
    result.base = first.memory
    for calls in plan.calls:
        if calls > 1:
            refused = _connect(callers, url, calls, plan.target, progress)
            progress.wait(plan.settle)
        progress.tell(f"{plan.target}, {calls} {plural(calls)}: measuring")
        before: Usage = server.ask("usage", USAGE_SECONDS)
        window = _listen(callers, plan, progress)
        after: Usage = server.ask("usage", USAGE_SECONDS)
        step = judge(window, plan.clip, plan.target, first, before, after, refused)
        result.steps.append(step)
        if refused:
            result.ended = f"The server took {step.calls} {plural(step.calls)}: {refused}"
            return
        hopeless = step.late is not None and step.late > HOPELESS and not step.disturbed
        if hopeless and calls != plan.calls[-1]:
            result.ended = f"More than {calls} {plural(calls)} were not tried."
            return


def _connect(callers: Worker, url: str, calls: int, target: str, progress: Progress) -> str:
    """Make calls until there are so many; why one was refused, or nothing."""
    progress.tell(f"{target}, {calls} {plural(calls)}: connecting")

    def tell(report: Any) -> None:
        if report is not None:
            progress.advance(CONNECT_SECONDS)

    refused: str = callers.ask(("connect", (url, calls)), SLACK_SECONDS + 2 * calls, tell)
    return refused


def _listen(callers: Worker, plan: Plan, progress: Progress) -> Window:
    """What the callers hear now."""
    length = plan.seconds + plan.clip.longest
    began = monotonic()

    def tell(_: Any) -> None:
        progress.at_most(min(length, monotonic() - began))

    window: Window = callers.ask(("listen", plan.seconds), length + SLACK_SECONDS, tell)
    progress.advance(length)
    return window


def judge(
    window: Window,
    clip: Clip,
    target: str,
    first: Usage,
    before: Usage,
    after: Usage,
    refused: str = "",
) -> Step:
    """The figures of a load: what was heard, and what the server used meanwhile."""
    calls = len(window.recordings)
    grown = None
    if calls > 1 and first.memory is not None and after.memory is not None:
        grown = (after.memory - first.memory) / (calls - 1)
    inside = [(r.arrived >= window.begin) & (r.arrived <= window.end) for r in window.recordings]
    late = share_late(
        lateness(r.arrived[i], r.media[i]) for r, i in zip(window.recordings, inside, strict=True)
    )
    ours = target in ("echo", "reply")
    expected = (window.end - window.begin) / PACKET
    used, length = after.cpu - before.cpu, after.at - before.at
    others = None
    if after.core is not None and before.core is not None:
        # The clocks of the kernel and of the process are not one.
        others = max(0.0, after.core - before.core - used) / length
    return Step(
        calls=calls,
        cpu=used / length,
        memory=grown,
        late=late,
        back=median(int(i.sum()) for i in inside) / expected if target == "echo" else None,
        delay=waits(window.recordings, clip) if ours else None,
        callers_late=percentile(window.late, 95) or 0.0,
        others=others,
        refused=refused,
    )


def waits(recordings: Sequence[Recording], clip: Clip) -> Summary:
    """How long all callers waited for an echo, or for an answer."""
    found: list[float] = []
    missing = 0
    for recording in recordings:
        audible = loud(recording.payloads)
        begun = onsets(play_times(recording.arrived, audible)[audible])
        since = [end if clip.answered else begin for begin, end in recording.said]
        heard, lost = delays(since, begun, clip.longest)
        found += heard
        missing += lost
    return summary(found, missing)


def loud(payloads: Sequence[bytes]) -> NDArray[np.bool_]:
    """Which packets of a call can be heard."""
    decoder = OpusDecoder(1)
    levels = np.full(len(payloads), -np.inf)
    for index, payload in enumerate(payloads):
        pcm = decoder.decode(payload)
        if pcm is not None and pcm.any():
            power = np.mean(np.square(pcm.astype(np.float64) / FULL_SCALE))
            levels[index] = 10 * np.log10(power)
    return levels > AUDIBLE


def plural(calls: int) -> str:
    """The word after a number of them."""
    return "call" if calls == 1 else "calls"
