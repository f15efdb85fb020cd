"""What UDP may lose is sent again, and what comes twice is answered once. Pure.

RFC 3261, 17: the same schedule serves final answers to an INVITE, until they are acknowledged,
and requests of ours, until they are answered.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from fastrtc.transports.sip.messages import Address

T1: Final = 0.5
"""Seconds before the first repetition; each further one waits twice as long."""
T2: Final = 4.0
"""Seconds between two repetitions at most."""
GIVEN_UP_AFTER: Final = 64 * T1
"""Seconds, 32 of them. As long, an answer is remembered."""
MOST_KEPT: Final = 2_000
"""Answers that are remembered before the oldest goes."""

Name = tuple[object, ...]


@dataclass
class _Pending:
    data: bytes
    to: Address
    due: float
    wait: float
    until: float


class Repeater:
    """Messages that are sent again until the other side has answered."""

    def __init__(self) -> None:
        self._pending: dict[Name, _Pending] = {}

    def add(self, name: Name, data: bytes, to: Address, now: float) -> None:
        """Repeat a message that has been sent now."""
        self._pending[name] = _Pending(data, to, now + T1, T1, now + GIVEN_UP_AFTER)

    def stop(self, name: Name) -> bool:
        """It was answered; whether it was still repeated."""
        return self._pending.pop(name, None) is not None

    def __contains__(self, name: Name) -> bool:
        return name in self._pending

    def __len__(self) -> int:
        return len(self._pending)

    def advance(self, now: float) -> tuple[list[tuple[bytes, Address]], list[Name]]:
        """What is to be sent now, and the names of what is given up."""
        again: list[tuple[bytes, Address]] = []
        over = [name for name, p in self._pending.items() if now >= p.until]
        for name in over:
            del self._pending[name]
        for pending in self._pending.values():
            if now >= pending.due:
                again.append((pending.data, pending.to))
                pending.wait = min(2 * pending.wait, T2)
                pending.due = min(now + pending.wait, pending.until)
        return again, over


class Memory:
    """The last answer to each request, for when it comes again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Name, tuple[bytes, float]] = OrderedDict()

    def keep(self, name: Name, answer: bytes, now: float) -> None:
        """Remember an answer, in the place of an earlier one."""
        self._kept[name] = answer, now + GIVEN_UP_AFTER
        self._kept.move_to_end(name)
        while len(self._kept) > MOST_KEPT or next(iter(self._kept.values()))[1] <= now:
            self._kept.popitem(last=False)

    def find(self, name: Name, now: float) -> bytes | None:
        """What was answered to a request, if that is remembered."""
        answer, until = self._kept.get(name, (None, 0.0))
        return answer if now < until else None
