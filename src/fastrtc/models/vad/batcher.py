"""Voice detection for all callers: one thread, one network, a batch of callers per step.

A caller keeps one recurrent state from the first sample of the call to the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fastrtc import metrics
from fastrtc.models.vad.silero import CONTEXT, WINDOW, SileroNet, shared_net
from fastrtc.threads import call_soon

logger = logging.getLogger(__name__)

BATCH: Final = 32
"""Callers per step: 8 to 32 cost half as much a caller as one does, more cost more again."""
GATHERED: Final = 8
"""Windows that are worth a step, where there are many callers."""
MANY: Final = 16
"""Callers from which on windows are gathered: with fewer the cores are idle anyway."""
GATHERED_WITHIN: Final = 0.01
"""Seconds that a window waits for others at the most."""
BACKLOG: Final = 125
"""Steps that a caller may be behind (4 s) before the oldest are given up."""

Deliver = Callable[[float], None]
"""Takes the voice probability of one step, in order, on the event loop."""
Fail = Callable[[Exception], None]


class VadStream(Protocol):
    """The voice detection of one caller."""

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Take mono samples at 16 kHz, shape ``(n,)``."""

    def close(self) -> None:
        """Deliver nothing more."""


class VadSource(Protocol):
    """What opens a `VadStream`."""

    def prepare(self) -> None:
        """Load what is slow to load, off the event loop, before the first caller needs it."""

    def open(self, deliver: Deliver, fail: Fail) -> VadStream:
        """Begin the voice detection of a caller. A step that fails counts as silence."""


class Windows:
    """Cuts a stream into the network's windows, each with its context in front."""

    def __init__(self) -> None:
        self._rest: NDArray[np.float32] = np.zeros(CONTEXT, np.float32)

    def cut(self, samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Windows of ``CONTEXT + WINDOW`` samples that the new samples complete."""
        self._rest = np.concatenate([self._rest, samples])
        windows = []
        while len(self._rest) >= CONTEXT + WINDOW:
            windows.append(self._rest[: CONTEXT + WINDOW])
            self._rest = self._rest[WINDOW:]
        return windows


class _BatchedStream:
    """A caller of a `VadBatcher`."""

    def __init__(self, batcher: VadBatcher, deliver: Deliver, fail: Fail) -> None:
        self.loop = asyncio.get_running_loop()
        self.deliver: Deliver | None = deliver
        self.fail: Fail | None = fail
        self.state = np.zeros((2, 1, 128), np.float32)
        self.pending: deque[tuple[float, NDArray[np.float32]]] = deque()
        """Windows, and when each was queued."""
        self.in_turn = False
        self.counted = False
        """Whether it is one of the callers of whom there may be many."""
        self.behind = False
        """Whether a step was ever skipped."""
        self._windows = Windows()
        self._batcher = batcher

    def feed(self, samples: NDArray[np.float32]) -> None:
        if self.deliver is not None:
            for window in self._windows.cut(samples):
                self._batcher.submit(self, window)

    def close(self) -> None:
        if self.deliver is not None:
            # The thread may hold this stream for long, and must not hold the call behind it.
            self.deliver = self.fail = None
            self._batcher.forget(self)


class VadBatcher:
    """The worker. `open` and `feed` belong to the event loop, `_run` to the thread."""

    def __init__(self, load: Callable[[], SileroNet] = shared_net) -> None:
        self._load = load
        self._turn: deque[_BatchedStream] = deque()
        self._wake = threading.Condition()
        self._callers = 0
        self._thread: threading.Thread | None = None

    def prepare(self) -> None:
        """See `VadSource`."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="fastrtc-vad", daemon=True)
            self._thread.start()

    def open(self, deliver: Deliver, fail: Fail) -> VadStream:
        """See `VadSource`."""
        self.prepare()
        return _BatchedStream(self, deliver, fail)

    def submit(self, stream: _BatchedStream, window: NDArray[np.float32]) -> None:
        """Queue a window of a caller."""
        with self._wake:
            if not stream.counted:
                # Not before: calls that are never connected are not heard.
                stream.counted = True
                self._callers += 1
            if len(stream.pending) >= BACKLOG:
                self._skip(stream)
            stream.pending.append((monotonic(), window))
            if not stream.in_turn:
                stream.in_turn = True
                self._turn.append(stream)
                # Not for each: every notice is a switch of threads.
                if len(self._turn) in (1, GATHERED):
                    self._wake.notify()

    def forget(self, stream: _BatchedStream) -> None:
        """Drop what waits of a caller, who has gone."""
        with self._wake:
            self._callers -= stream.counted
            stream.pending.clear()

    def _skip(self, stream: _BatchedStream) -> None:
        """Give up the oldest step. It counts as silence: a call tells its place by its steps."""
        metrics.dropped.add("vad_step")
        stream.pending.popleft()
        stream.loop.call_soon(_hand_out, [(stream, 0.0)], None)
        if not stream.behind:
            stream.behind = True
            logger.warning("Voice detection is %d steps behind; steps are skipped", BACKLOG)

    def _run(self) -> None:
        # Loaded before the first caller talks; an error comes again, and is told, with a step.
        with contextlib.suppress(Exception):
            self._load()
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._turn)
                if self._callers >= MANY:
                    self._wake.wait_for(lambda: len(self._turn) >= GATHERED, GATHERED_WITHIN)
                streams = [self._turn.popleft() for _ in range(min(BATCH, len(self._turn)))]
                # A caller who has hung up meanwhile has nothing pending.
                taken = [(s, *s.pending.popleft()) for s in streams if s.pending]
            now = monotonic()
            for _, queued, _ in taken:
                metrics.model_queue.note(now - queued, "vad")
            batch = [(stream, window) for stream, _, window in taken]
            try:
                if batch:
                    self._step(batch)
            except Exception:
                logger.exception("A step of voice detection failed")
            with self._wake:
                for stream in streams:
                    stream.in_turn = bool(stream.pending)
                    if stream.in_turn:
                        self._turn.append(stream)
            del streams, taken, batch

    def _step(self, batch: list[tuple[_BatchedStream, NDArray[np.float32]]]) -> None:
        streams = [stream for stream, _ in batch]
        error: Exception | None = None
        try:
            windows = np.stack([window for _, window in batch])
            states = np.concatenate([stream.state for stream in streams], axis=1)
            probabilities, states = self._load().step(windows, states)
        except Exception as raised:
            error, probabilities = raised, np.zeros(len(batch), np.float32)
        else:
            for index, stream in enumerate(streams):
                stream.state = states[:, index : index + 1]
        results: dict[asyncio.AbstractEventLoop, list[tuple[_BatchedStream, float]]] = {}
        for stream, probability in zip(streams, probabilities, strict=True):
            results.setdefault(stream.loop, []).append((stream, float(probability)))
        for loop, found in results.items():
            call_soon(loop, _hand_out, found, error)


def _hand_out(found: list[tuple[_BatchedStream, float]], error: Exception | None) -> None:
    for stream, probability in found:
        try:
            # Asked twice: who is told of an error may hang up.
            if error is not None and stream.fail is not None:
                stream.fail(error)
            if stream.deliver is not None:
                stream.deliver(probability)
        except Exception:
            logger.exception("A call failed at a step of voice detection")


class InlineVad:
    """Voice detection without a thread, for virtual time: a step is delivered when it is fed."""

    def __init__(self, load: Callable[[], SileroNet] = shared_net) -> None:
        self._net = load()

    def prepare(self) -> None:
        """See `VadSource`: it is loaded."""

    def open(self, deliver: Deliver, fail: Fail) -> VadStream:
        """See `VadSource`."""
        return _InlineStream(self._net, deliver, fail)


class _InlineStream:
    def __init__(self, net: SileroNet, deliver: Deliver, fail: Fail) -> None:
        self._net = net
        self._deliver: Deliver | None = deliver
        self._fail = fail
        self._state = np.zeros((2, 1, 128), np.float32)
        self._windows = Windows()

    def feed(self, samples: NDArray[np.float32]) -> None:
        for window in self._windows.cut(samples):
            if self._deliver is None:
                return
            probability = 0.0
            try:
                found, self._state = self._net.step(window[None], self._state)
                probability = float(found[0])
            except Exception as error:
                self._fail(error)
            if self._deliver is not None:
                self._deliver(probability)

    def close(self) -> None:
        self._deliver = None
