"""Figures of a load: what was sent and what came back, as numbers. Pure.

All times are in seconds on one clock, the callers'.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]

LATE: Final = 0.060
"""Seconds. A packet that is later than this comes too late for a usual jitter buffer."""
MOST_LATE: Final = 0.01
"""The share of late packets from which on calls are not carried."""
LEAST_BACK: Final = 0.9
"""The share of an echo that must come back: a server may also drop what it cannot carry."""
MOST_UNANSWERED: Final = 0.1
"""The share of utterances without an answer in time."""
SLOWER: Final = 0.060
"""Seconds. Answers may come so much later (p95) than those to the fewest calls."""
SLOW_CALLERS: Final = 0.010
"""Seconds. Callers whose own lateness is above this (p95) measure themselves."""
MOST_OTHERS: Final = 0.1
"""The share of the server's core that other programs may have; the kernel's work for the network
counts among them."""
BEST_PERCENTILE: Final = 1
"""Lateness is counted from this percentile of a call's delays: the least of them may be an error
of the clock."""
AUDIBLE: Final = -45.0
"""dBFS. A packet that is louder is heard."""
ONSET_SILENCE: Final = 0.15
"""Seconds without sound, and what is heard next has begun."""
PACKET: Final = 0.02
"""Seconds of sound in a packet."""


class Doubt(Enum):
    """What was measured in the place of the server."""

    CALLERS = "the callers were the bottleneck"
    OTHERS = "other programs had the core"


@dataclass(frozen=True)
class Summary:
    """Delays in seconds; ``missing`` counts what was never answered."""

    count: int
    median: float | None
    p95: float | None
    missing: int = 0


@dataclass(frozen=True)
class Step:
    """What so many calls at once cost, and how they sounded.

    Attributes:
        calls: how many there were.
        cpu: of the server, in cores.
        memory: bytes for each call after the first; None where that cannot be told.
        late: the share of packets that came more than `LATE` after their time; None if none came.
        back: the share of an echo that came back; None where there is no echo.
        delay: from mouth to ear, or from voice to voice; None where there is neither.
        callers_late: how late the callers themselves sent, p95, in seconds.
        others: the share of the server's core that other programs had; None if that cannot be told.
        refused: what the server said to a caller that it did not take; empty if it took all.
    """

    calls: int
    cpu: float
    memory: float | None
    late: float | None
    back: float | None
    delay: Summary | None
    callers_late: float
    others: float | None = None
    refused: str = ""

    @property
    def disturbed(self) -> bool:
        """Whether other programs had so much of the core that the server had to wait for it."""
        return self.others is not None and self.others > MOST_OTHERS

    @property
    def cpu_per_call(self) -> float:
        """In cores."""
        return self.cpu / max(1, self.calls)


def unwrapped(values: Sequence[int], bits: int) -> NDArray[np.int64]:
    """A counter that wraps around after so many bits, as one that does not."""
    numbers = np.asarray(values, np.int64)
    whole = 1 << bits
    steps = np.diff(numbers) % whole
    steps[steps >= whole // 2] -= whole
    return np.concatenate([numbers[:1], numbers[:1] + np.cumsum(steps)])


def lateness(arrived: Times, media: Times) -> Times:
    """How much later than its best time each packet of a call came.

    ``media`` is the time of each packet in its own stream.
    """
    delay = arrived - media
    return delay - np.percentile(delay, BEST_PERCENTILE) if delay.size else delay


def share_late(parts: Iterable[Times]) -> float | None:
    """The share of packets of all calls that are late; None if there are none."""
    parts = list(parts)
    packets = sum(part.size for part in parts)
    return sum(int((part > LATE).sum()) for part in parts) / packets if packets else None


def play_times(arrived: Times, audible: NDArray[np.bool_]) -> Times:
    """When each packet is heard through the best of jitter buffers.

    A packet waits for the end of the one before it. A buffer that holds packets back leaves out
    silent ones, and so gets shorter.
    """
    times = np.empty_like(arrived)
    free = -np.inf
    for index, (at, loud) in enumerate(zip(arrived, audible, strict=True)):
        times[index] = max(at, free)
        if loud or free <= at:
            free = times[index] + PACKET
    return times


def onsets(heard: Times) -> Times:
    """When sound begins, given when each audible packet is heard."""
    gaps = np.diff(heard, prepend=-np.inf) - PACKET
    return heard[gaps >= ONSET_SILENCE]


def delays(since: Iterable[float], begun: Times, longest: float) -> tuple[list[float], int]:
    """How long after each time something began, and after how many nothing did for so long."""
    found: list[float] = []
    missing = 0
    for at in since:
        after = begun[(begun > at) & (begun <= at + longest)]
        if after.size:
            found.append(float(after[0]) - at)
        else:
            missing += 1
    return found, missing


def percentile(values: Sequence[float] | Times, percent: float) -> float | None:
    """None if there are no values."""
    return float(np.percentile(values, percent)) if len(values) else None


def summary(values: Sequence[float], missing: int = 0) -> Summary:
    """The middle and the far end of some delays."""
    return Summary(len(values), percentile(values, 50), percentile(values, 95), missing)


def carried(step: Step, steps: Sequence[Step]) -> bool:
    """Whether the calls were as they should be: in time, whole, and answered as soon as few are.

    ``steps``: all that were measured, of which the fewest calls are what answers are compared with.
    """
    if step.late is not None and step.late >= MOST_LATE:
        return False
    if step.back is not None:
        return step.back >= LEAST_BACK
    if step.delay is None:
        return True
    fewest = min(steps, key=lambda s: s.calls).delay
    asked = step.delay.count + step.delay.missing
    if step.delay.missing > MOST_UNANSWERED * asked:
        return False
    if step.delay.p95 is None or fewest is None or fewest.p95 is None:
        return True
    return step.delay.p95 <= fewest.p95 + SLOWER


def doubt(step: Step, steps: Sequence[Step]) -> Doubt | None:
    """Why a load says nothing of the server; None where it does.

    What was carried in spite of other programs was carried.
    """
    if step.callers_late > SLOW_CALLERS:
        return Doubt.CALLERS
    if step.disturbed and not carried(step, steps):
        return Doubt.OTHERS
    return None


def most_carried(steps: Sequence[Step]) -> Step | None:
    """The largest load that was carried; loads that say nothing aside."""
    fine = [s for s in steps if doubt(s, steps) is None and carried(s, steps)]
    return max(fine, key=lambda step: step.calls, default=None)
