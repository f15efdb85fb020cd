"""How many replicas the live calls need."""

from __future__ import annotations

import math
from typing import Any, Final

CALLS: Final = "live_calls"
"""What a replica reports of itself to Serve."""


def counted(calls: int, slots: int, *, late: bool) -> int:
    """The calls that a replica counts for: one that is late has no room, however few it has."""
    return max(calls, slots) if late else calls


def replicas_for(calls: float, slots: int, target: float) -> int:
    """How many replicas have room for calls, and some for those that come next.

    Args:
        calls: that are live.
        slots: of one replica.
        target: the share of the slots that should be taken.
    """
    return max(1, math.ceil(calls / (slots * target)))


class ByCalls:
    """A policy of Ray Serve's autoscaler, which reads its name and its arguments."""

    def __init__(self, slots: int, target: float) -> None:
        """See `replicas_for`."""
        self._slots = slots
        self._target = target

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """How many replicas there should be, and what to remember: nothing."""
        told: dict[Any, float] = (context.aggregated_metrics or {}).get(CALLS, {})
        # A replica that has not reported yet has no calls, or as many as before.
        wanted = replicas_for(sum(told.values()), self._slots, self._target)
        return wanted, {}
