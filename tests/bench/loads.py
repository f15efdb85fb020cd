"""Loads that were never measured, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastrtc.bench.figures import PACKET, Step, Summary, Times
from fastrtc.bench.measure import Plan, Result


def load(calls: int, **changes: Any) -> Step:
    """A load that was carried."""
    given: dict[str, Any] = {
        "calls": calls,
        "cpu": 0.02 * calls,
        "memory": 1.25e6 if calls > 1 else None,
        "late": 0.0,
        "back": 1.0,
        "delay": Summary(20, 0.073, 0.082),
        "callers_late": 0.001,
    }
    return Step(**{**given, **changes})


def result(*steps: Step, target: str = "echo", core: int | None = 0, **changes: Any) -> Result:
    calls = tuple(step.calls for step in steps)
    return Result(Plan(target, calls, 12.0, core, 1), 150_000_000, list(steps), **changes)


def paced(packets: int) -> Times:
    """Times of packets that follow each other without a gap."""
    return np.array([number * PACKET for number in range(packets)], np.float64)
