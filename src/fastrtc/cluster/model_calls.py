"""Asks the tier of models, and does the work in this process where it does not answer.

All asking is done on one event loop of its own: callers are worker threads, event loops, and
functions that block an event loop. Ray is not imported here; where nobody has started it, there is
no tier.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Generic, TypeVar

from fastrtc import metrics
from fastrtc.cluster.model_breaker import Breaker
from fastrtc.models.place import Bound, Here
from fastrtc.threads import readers

T = TypeVar("T")
logger = logging.getLogger(__name__)

APP: Final = "fastrtc-models"
"""The Serve application of the tier."""
CONNECTED_WITHIN: Final = 10.0
"""Seconds in which a process that begins must find the tier, before it loads its own models."""
SHARE_TO_WARM: Final = 0.5
"""Of the time that the tier has for an answer: from then on the model is loaded here."""

Ask = Callable[..., Awaitable[Any]]
"""Has the tier do some work. Raises `Unanswered` or anything else; cancelling it saves the work."""


@dataclass(frozen=True)
class Wrong:
    """The answer to work that cannot be done anywhere, such as a language that there is not."""

    text: str


REASONS: Final = {"late": "late", "missing": "not there", "failed": "out of order"}
"""What is said of a tier that fails, by what `metrics.FALLBACKS` call it."""


class Unanswered(Exception):
    """The tier did not do the work; the first argument says why, as `metrics.FALLBACKS` has it."""


async def connect(name: str) -> Ask:
    """Find a model in the tier, and hear from it. Raises what Serve raises."""
    handle, full = await readers.call(_deployment, name)

    async def ask(*given: Any) -> Any:
        response: Any = handle.remote(*given)
        try:
            return await response
        except full:
            raise Unanswered("full") from None
        except asyncio.CancelledError:
            response.cancel()
            raise

    return ask


def _deployment(name: str) -> tuple[Any, type[Exception]]:
    """The handle of a model, and what it raises when it is full. It blocks."""
    from ray import serve
    from ray.serve.exceptions import BackPressureError

    handle = serve.get_deployment_handle(name, APP)
    # The first question to a deployment is the slowest by far, and blocks.
    handle.ready.remote().result()
    return handle, BackPressureError


def in_cluster() -> bool:
    """Whether this process belongs to a Ray cluster."""
    # Serve would start one, if it were asked.
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


class TierModel(Generic[T]):
    """A model of the tier. It is a `Runner`."""

    def __init__(
        self,
        name: str,
        here: Here[T],
        bound: Bound,
        *,
        find: Callable[[str], Awaitable[Ask]] = connect,
        reachable: Callable[[], bool] = in_cluster,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up; nothing is asked or loaded yet.

        Args:
            name: of its deployment.
            here: does the work where the tier does not.
            bound: seconds that the tier has, from what it is given.
            find: finds the deployment.
            reachable: whether there can be a tier at all.
            clock: seconds, for the time that a tier is left alone.
        """
        self.name = name
        self._here = here
        self._bound = bound
        self._find = find
        self._reachable = reachable
        self._clock = clock
        self._breaker = Breaker()
        self._search: asyncio.Future[Ask] | None = None
        self._said = False

    def prepare(self) -> None:
        """Find the model in the tier, and load it here if it is not there. Nothing waits for it."""
        if self._alone():
            self._here.warm()
        else:
            asyncio.run_coroutine_threadsafe(self._prepare(), _loop())

    def run(self, *given: Any, urgent: bool = True) -> T:
        """See `Runner`."""
        if not self._alone():
            future = self._ask_soon(given)
            try:
                return future.result()
            except Unanswered as why:
                metrics.model_fallbacks.add(why.args[0])
            finally:
                future.cancel()
        return self._here.run(*given, urgent=urgent)

    async def arun(self, *given: Any, urgent: bool = True) -> T:
        """See `Runner`."""
        if not self._alone():
            try:
                return await asyncio.wrap_future(self._ask_soon(given))
            except Unanswered as why:
                metrics.model_fallbacks.add(why.args[0])
        return await self._here.arun(*given, urgent=urgent)

    def _alone(self) -> bool:
        if self._reachable():
            return False
        if not self._said:
            self._said = True
            logger.info("There is no cluster: the model %s runs in this process", self.name)
        return True

    def _ask_soon(self, given: tuple[Any, ...]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(self._ask(given), _loop())

    async def _prepare(self) -> None:
        try:
            await asyncio.wait_for(self._finding(), CONNECTED_WITHIN)
        except Exception as error:
            self._fails("missing", error)

    async def _ask(self, given: tuple[Any, ...]) -> T:
        """What the tier answers. Raises `Unanswered`, or ValueError for work that is wrong."""
        if not self._breaker.may_ask(self._clock()):
            raise Unanswered("resting")
        bound = self._bound(*given)
        # The first caller whom the tier fails must not wait for seconds of loading besides.
        warming = asyncio.get_running_loop().call_later(bound * SHARE_TO_WARM, self._here.warm)
        began = time.monotonic()
        try:
            answer = await asyncio.wait_for(self._answer(given), bound)
        except asyncio.CancelledError:
            self._breaker.left()
            raise
        except Unanswered:
            # It works, as fast as it can. The next caller may find room.
            self._breaker.left()
            raise
        except asyncio.TimeoutError as error:
            raise self._fails("late", error) from None
        except Exception as error:
            why = "missing" if self._search is None else "failed"
            raise self._fails(why, error) from None
        finally:
            warming.cancel()
        metrics.model_tier.note(time.monotonic() - began, self.name)
        if self._breaker.answered():
            logger.info("The model %s of the cluster answers again", self.name)
        if isinstance(answer, Wrong):
            raise ValueError(answer.text)
        found: T = answer
        return found

    async def _answer(self, given: tuple[Any, ...]) -> Any:
        ask = await self._finding()
        return await ask(*given)

    async def _finding(self) -> Ask:
        if self._search is None:
            self._search = asyncio.ensure_future(self._find(self.name))
        search = self._search
        try:
            # It goes on for the next caller when this one has waited for long enough.
            return await asyncio.shield(search)
        except Exception:
            if self._search is search:
                self._search = None
            raise

    def _fails(self, why: str, error: Exception) -> Unanswered:
        self._here.warm()
        if self._breaker.failed(self._clock()):
            logger.warning(
                "The model %s of the cluster is %s (%s); this process does its work until it "
                "answers again",
                self.name,
                REASONS[why],
                f"{type(error).__name__}: {error}".rstrip(": "),
            )
        return Unanswered(why)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Where the tier is asked from: a thread that lasts as long as the process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="fastrtc-tier", daemon=True).start()
    return loop
