"""One-time tokens, that our own documents hand out and the media socket must show."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

LIFETIME: Final = 300
"""Seconds: an outbound call rings for a while before its socket opens."""
MOST_SPENT: Final = 100_000
"""Spent tokens that are remembered; over that, none is taken until older ones have run out."""


class Tokens:
    """Mints tokens, and takes each of them once.

    They are signed, and not kept: another process with the same secret takes them too.
    """

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(b"fastrtc telephone token\0" + secret.encode()).digest()
        self._spent: dict[str, float] = {}

    def mint(self, now: float) -> str:
        """A fresh token; ``now`` in seconds since the epoch."""
        body = f"{int(now) + LIFETIME:x}.{secrets.token_urlsafe(12)}"
        return f"{body}.{self._sign(body)}"

    def spend(self, token: str, now: float) -> bool:
        """Whether a token is ours, has not run out, and was not spent before."""
        body, _, signature = token.rpartition(".")
        # Of text beyond ASCII nothing can be compared, nor was any minted.
        if not token.isascii() or not hmac.compare_digest(self._sign(body), signature):
            return False
        until = int(body.partition(".")[0], 16)
        self._forget(now)
        if until < now or body in self._spent or len(self._spent) >= MOST_SPENT:
            return False
        self._spent[body] = until
        return True

    def _sign(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()[:32]

    def _forget(self, now: float) -> None:
        # In the order in which they were spent, which is nearly that in which they run out.
        for body, until in list(self._spent.items()):
            if until >= now:
                break
            del self._spent[body]
