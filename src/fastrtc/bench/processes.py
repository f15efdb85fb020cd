"""The processes of a measurement: each on a core of its own, and none outlives it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Final

START_SECONDS: Final = 120.0
"""A user's module may load large models."""
LEAVE_SECONDS: Final = 4.0
TICK: Final = 0.1
"""Seconds between two looks at the time while a process is busy."""


class BenchError(Exception):
    """It cannot be measured; the text says why."""


class Worker:
    """A process that answers what it is asked."""

    def __init__(self, work: Callable[..., None], core: int | None, *given: Any) -> None:
        """Start ``work(pipe, *given)`` on a core; None is any."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, *given))
        with pinned(core), no_interrupt():
            self._process.start()
        theirs.close()

    def ask(self, question: Any, seconds: float, tell: Callable[[Any], None] | None = None) -> Any:
        """Ask, and wait for the answer.

        Args:
            question: what to ask; None only waits.
            seconds: how long to wait at most.
            tell: called with what is reported meanwhile, and with None now and then.

        Raises:
            BenchError: it failed, has gone, or took too long.
        """
        try:
            if question is not None:
                self._pipe.send(question)
            return self._answer(monotonic() + seconds, tell or (lambda report: None))
        except (EOFError, OSError):
            raise BenchError(
                f"A process of the measurement has ended ({self._process.exitcode})."
            ) from None

    def _answer(self, deadline: float, tell: Callable[[Any], None]) -> Any:
        while monotonic() < deadline:
            if not self._pipe.poll(TICK):
                tell(None)
                continue
            kind, value = self._pipe.recv()
            if kind == "done":
                return value
            if kind == "failed":
                raise BenchError(value)
            tell(value)
        raise BenchError("A process of the measurement did not answer in time.")

    def leave(self) -> None:
        """Let it end by itself, for a while."""
        self._pipe.close()
        self._process.join(LEAVE_SECONDS)

    def kill(self) -> None:
        """End it now, if it has not ended."""
        self._pipe.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join(LEAVE_SECONDS)


def cores() -> list[int]:
    """The cores that this process may use; empty where the system does not say."""
    # Not on macOS and Windows.
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Keep this process on a core: what it starts meanwhile stays there, with all its threads."""
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def no_interrupt() -> Iterator[None]:
    """What is started meanwhile does not hear Ctrl-C; we do, and end it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
