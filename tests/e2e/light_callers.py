"""Many light callers in a process of their own: `python -m tests.e2e.light_callers CALLS SECONDS
URL...`.

The calls come evenly within so many seconds, to one URL after the other; each says the clip of an
echo over and over. A caller who has heard nothing for a while comes back as a good client does:
with an offer of the same id, which says that it is a return, to the next of the URLs. Prints
``ready`` once all have called; when standard input is closed, all hang up, and it prints JSON, an
`Account` for each. All times are of the monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from fastrtc.bench.caller import Caller
from fastrtc.bench.callers import SPREAD, why
from fastrtc.bench.sounds import echo_clip
from fastrtc.transports.webrtc.sdp import Offer

LOST_SECONDS: Final = 1.5
"""A call in which nothing is heard for so long is lost."""
ATTEMPT_SECONDS: Final = 3.0
AGAIN_SECONDS: Final = 0.3
"""Between two attempts to come back."""
HOLE: Final = 0.2
"""Seconds without a packet that are noted."""


@dataclass
class Attempt:
    """One offer.

    Attributes:
        at: when it was begun.
        url: where to.
        answered: seconds until the answer came; None if there was none.
        took: seconds until the call stood, or had failed.
        error: why it failed; empty if it did not.
        media: the addresses that the answer named.
    """

    at: float
    url: str
    answered: float | None = None
    took: float = 0.0
    error: str = ""
    media: list[str] = field(default_factory=list)


@dataclass
class Account:
    """What became of a caller.

    Attributes:
        id: of its calls.
        attempts: its offers; each after the first that succeeded is a return.
        packets: of sound that it heard.
        holes: when it heard nothing, ``(since, seconds)``; from the first packet on.
        alive: whether it was in a call at the end, and heard it.
    """

    id: str
    attempts: list[Attempt] = field(default_factory=list)
    packets: int = 0
    holes: list[tuple[float, float]] = field(default_factory=list)
    alive: bool = False


class LightCaller(Caller):
    """A call that tells when it hears something, and keeps none of it."""

    def __init__(self, first: int, heard: Callable[[], None], **said: Any) -> None:
        super().__init__(echo_clip(), first, **said)
        self._heard = heard
        self.answered_at: float | None = None
        self.media: list[str] = []
        """The addresses that the server named."""

    def media_came(self, data: bytes) -> None:
        """See `Caller`."""
        self._heard()
        self.late.clear()

    async def _find_way(self, theirs: Offer) -> None:
        self.answered_at = time.monotonic()
        await super()._find_way(theirs)
        self.media = [candidate.host for candidate in self._link.remote_candidates]


class Person:
    """Somebody who calls, and calls again when the call is lost."""

    def __init__(self, number: int, urls: list[str]) -> None:
        self._number = number
        self._urls = urls
        self._call: LightCaller | None = None
        self._heard_at: float | None = None
        self.account = Account(secrets.token_hex(8))

    async def talk(self, called: asyncio.Event) -> None:
        """Until cancelled. ``called`` is set when the first call stands, or has failed."""
        turn = self._number
        try:
            while True:
                stands = await self._attempt(self._urls[turn % len(self._urls)])
                called.set()
                if stands:
                    await self._lost()
                turn += 1
                if not stands:
                    await asyncio.sleep(AGAIN_SECONDS)
        finally:
            await self._hang_up()

    async def _attempt(self, url: str) -> bool:
        account = self.account
        said: dict[str, Any] = {"webrtc_id": account.id}
        if account.attempts:
            # The first may have been answered too late, and be live there.
            said["reconnected"] = True
        first = round(self._number * SPREAD % 1 * len(echo_clip().packets))
        attempt = Attempt(time.monotonic(), url, error="not done")
        account.attempts.append(attempt)
        self._call = call = LightCaller(first, self._heard, **said)
        try:
            await asyncio.wait_for(call.connect(url), ATTEMPT_SECONDS)
        except Exception as error:
            attempt.error = why(error)
            await self._hang_up()
            return False
        finally:
            attempt.took = time.monotonic() - attempt.at
            if call.answered_at is not None:
                attempt.answered = call.answered_at - attempt.at
        attempt.error, attempt.media = "", call.media
        return True

    def _heard(self) -> None:
        now = time.monotonic()
        self.account.packets += 1
        if self._heard_at is not None and now - self._heard_at >= HOLE:
            self.account.holes.append((self._heard_at, now - self._heard_at))
        self._heard_at = now

    async def _lost(self) -> None:
        """Until nothing has been heard for `LOST_SECONDS`."""
        heard = time.monotonic()
        while (left := heard + LOST_SECONDS - time.monotonic()) > 0:
            await asyncio.sleep(left)
            heard = max(heard, self._heard_at or heard)
        await self._hang_up()

    async def _hang_up(self) -> None:
        call, self._call = self._call, None
        heard = self._heard_at
        self.account.alive = (
            call is not None and heard is not None and time.monotonic() - heard < LOST_SECONDS
        )
        # A server that is gone does not say goodbye.
        with contextlib.suppress(Exception):
            if call is not None:
                await asyncio.wait_for(call.hang_up(), 1.0)


async def main() -> None:
    calls, seconds, *urls = sys.argv[1:]
    # A request to a host that is away occupies a thread for long.
    threads = ThreadPoolExecutor(4 * int(calls))
    asyncio.get_running_loop().set_default_executor(threads)
    people = [Person(number, urls) for number in range(int(calls))]
    tasks, first = [], []
    for person in people:
        first.append(asyncio.Event())
        tasks.append(asyncio.create_task(person.talk(first[-1])))
        await asyncio.sleep(float(seconds) / len(people))
    await asyncio.gather(*(called.wait() for called in first))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps([asdict(person.account) for person in people]), flush=True)
    # Those requests are not waited for.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
