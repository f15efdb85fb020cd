"""Runs the models of all callers: a few threads, first come, first served.

A model that recognises or speaks keeps a core busy for as long as it works, so more of them at
once than there are cores only makes all of them late. Who would wait for too long is refused at
once, and can say so to the caller.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

from fastrtc import metrics
from fastrtc.threads import contained

T = TypeVar("T")

LONGEST_QUEUE: Final = 64
"""Jobs that wait, before another one is refused: some 3 s of recognition on two cores."""
CLAUSES_A_THREAD: Final = 8
"""First clauses that wait for a thread that speaks: some 5 s."""
SPEAKING_CORES: Final = 2
"""Cores that the synthesis of one clause keeps busy."""


_Job = tuple["Future[Any]", Callable[[], Any], float]
"""And when it was queued."""


class ModelBusy(RuntimeError):
    """Too many callers wait for a model already; ask again in a moment."""


class InferencePool:
    """Threads that run models, with a bounded queue before them."""

    def __init__(
        self,
        name: str,
        threads: int | None = None,
        longest_queue: int = LONGEST_QUEUE,
        longest_urgent: int | None = None,
    ) -> None:
        """Set up; threads begin when there is work.

        Args:
            name: of the threads.
            threads: how many jobs run at once; by default one for each core.
            longest_queue: how many may wait.
            longest_urgent: how many urgent ones of them; by default all.
        """
        self.name = name
        self.threads = threads or cores()
        self.longest_queue = longest_queue
        self.longest_urgent = longest_urgent or longest_queue
        self._urgent: deque[_Job] = deque()
        self._others: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        self._made = 0
        self._unfinished = 0

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._urgent) + len(self._others)

    @property
    def settled(self) -> bool:
        """Whether every job is done, and its outcome delivered."""
        return self._unfinished == 0

    def submit(self, job: Callable[[], T], *, urgent: bool = False) -> Future[T]:
        """Have a job run. Cancelling the future takes it from the queue.

        Args:
            job: what to run.
            urgent: whether somebody waits in silence for it; it then passes the others.

        Raises:
            ModelBusy: too many wait already.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._is_full(urgent=urgent):
                self._forget_cancelled()
            if self._is_full(urgent=urgent):
                raise ModelBusy(
                    f"{self.waiting} jobs wait for the models of this process already, "
                    "which is as many as may. Ask again in a moment."
                )
            if self._idle <= self.waiting and self._made < self.threads:
                name = f"fastrtc-{self.name}-{self._made + 1}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
                self._made += 1
            (self._urgent if urgent else self._others).append((future, job, monotonic()))
            self._unfinished += 1
            self._changed.notify()
        return future

    def run(self, job: Callable[[], T], *, urgent: bool = False) -> T:
        """Run a job and wait for what it returns or raises. Raises `ModelBusy`.

        A job that calls this runs the other one itself.
        """
        if getattr(_here, "pool", None) is self:
            return job()
        future = self.submit(job, urgent=urgent)
        try:
            return future.result()
        finally:
            future.cancel()

    async def arun(self, job: Callable[[], T], *, urgent: bool = False) -> T:
        """The same without blocking the event loop; cancelling it takes it from the queue."""
        return await asyncio.wrap_future(self.submit(job, urgent=urgent))

    def _is_full(self, *, urgent: bool) -> bool:
        too_urgent = urgent and len(self._urgent) >= self.longest_urgent
        return too_urgent or self.waiting >= self.longest_queue

    def _forget_cancelled(self) -> None:
        for jobs in (self._urgent, self._others):
            kept = [entry for entry in jobs if not entry[0].cancelled()]
            self._unfinished -= len(jobs) - len(kept)
            jobs.clear()
            jobs.extend(kept)

    def _work(self) -> None:
        _here.pool = self
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self.waiting)
                self._idle -= 1
                future, job, queued = (self._urgent or self._others).popleft()
            if future.set_running_or_notify_cancel():
                metrics.model_queue.note(monotonic() - queued, self.name)
                try:
                    result = job()
                except BaseException as error:
                    future.set_exception(contained(error))
                else:
                    future.set_result(result)
            # A result must not be kept until the next job comes.
            result = None
            del future, job
            with self._changed:
                self._unfinished -= 1


_here = threading.local()
"""Which pool this thread belongs to."""


def cores() -> int:
    """How many cores this process may use."""
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    return max(1, min(count, _quota()))


def _quota() -> int:
    """How many cores a container may use, or a large number."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return int(quota) // int(period)
    except (OSError, ValueError):
        # There is none: the file is missing, or says "max".
        return 1_000


@cache
def listening_pool() -> InferencePool:
    """Where callers are recognised: one thread for each core."""
    return InferencePool("recogniser")


@cache
def speaking_pool() -> InferencePool:
    """Where replies are spoken. A clause takes a second or more, so it has threads of its own, and
    whoever is to be recognised does not stand behind it.
    """
    threads = max(1, cores() // SPEAKING_CORES)
    # Who was let in with a first clause is not refused in the middle of a reply.
    return InferencePool("speaker", threads, longest_urgent=CLAUSES_A_THREAD * threads)


def settled() -> bool:
    """Whether no model of this process has anything to do: what virtual time waits for."""
    return listening_pool().settled and speaking_pool().settled


def _begin_anew() -> None:
    """A forked process has none of the threads."""
    listening_pool.cache_clear()
    speaking_pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
