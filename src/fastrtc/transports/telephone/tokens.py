"""One-time tokens, that our own documents hand out and the media socket must show."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

LIFETIME: Final = 300
"""Seconds: an outbound call rings for a while before its socket opens."""
MOST_SPENT: Final = 100_000
"""Spent tokens that are remembered; over that, none is taken until older ones have run out."""
AGAIN: Final = "again"
"""The last part of a token for a call that comes back."""


class Seal:
    """Signs short texts, so that we know them for ours when they come back to us."""

    def __init__(self, purpose: str, secret: str) -> None:
        """What is sealed for one purpose is worth nothing for another."""
        self._key = hashlib.sha256(f"fastrtc {purpose}\0{secret}".encode()).digest()

    def close(self, body: str) -> str:
        """A text with its signature behind a dot."""
        return f"{body}.{self._sign(body)}"

    def open(self, sealed: str) -> str:
        """The text; empty if it is none of ours."""
        body, _, signature = sealed.rpartition(".")
        # Of text beyond ASCII nothing can be compared, nor was any sealed.
        if not sealed.isascii() or not hmac.compare_digest(self._sign(body), signature):
            return ""
        return body

    def _sign(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()[:32]


@dataclass(frozen=True)
class Pass:
    """What a token says.

    Attributes:
        until: when it runs out, in seconds since the epoch.
        line: the id of the one connection that it is for.
        again: whether the call was connected before, and lost its media socket.
    """

    until: int
    line: str
    again: bool


class Tokens:
    """Mints tokens, and takes each of them once.

    They are signed, and not kept: another process with the same secret takes them too.
    """

    def __init__(self, secret: str) -> None:
        self._seal = Seal("telephone token", secret)
        self._spent: dict[str, float] = {}

    def mint(self, now: float, line: str = "", *, again: bool = False) -> str:
        """A fresh token; ``now`` in seconds since the epoch, the others as in `Pass`."""
        parts = [f"{int(now) + LIFETIME:x}", line or new_line(), *([AGAIN] if again else [])]
        return self._seal.close(".".join(parts))

    def read(self, token: str) -> Pass | None:
        """What a token says; None if it is none of ours."""
        body = self._seal.open(token)
        if not body:
            return None
        until, line, *rest = body.split(".")
        return Pass(int(until, 16), line, AGAIN in rest)

    def spend(self, token: str, now: float) -> bool:
        """Whether a token is ours, has not run out, and was not spent before."""
        said = self.read(token)
        if said is None:
            return False
        self._forget(now)
        if said.until < now or said.line in self._spent or len(self._spent) >= MOST_SPENT:
            return False
        self._spent[said.line] = said.until
        return True

    def _forget(self, now: float) -> None:
        # In the order in which they were spent, which is nearly that in which they run out.
        for line, until in list(self._spent.items()):
            if until >= now:
                break
            del self._spent[line]


def new_line() -> str:
    """The id of a connection that is about to be made; nobody can guess it."""
    return secrets.token_urlsafe(12)
