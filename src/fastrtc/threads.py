"""Worker threads for user code that may block, and the one way across the thread border."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import io
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast

T = TypeVar("T")
P = ParamSpec("P")
logger = logging.getLogger(__name__)

IDLE_SECONDS: Final = 5.0
"""A worker without work ends after this long."""


class HandoverClosed(Exception):
    """The other side of a `Handover` has gone."""


class Handover(Generic[T]):
    """A bounded queue between a worker thread and the event loop, in either direction.

    Towards the loop a worker calls `put`, which waits for room, and the loop calls `drain`.
    Towards a worker the loop calls `offer`, which never waits, and the worker calls `take`.
    `close` wakes whoever waits.
    """

    def __init__(self, limit: float) -> None:
        """``limit``: the weight of items that may wait; one item always fits."""
        self.limit = limit
        self.dropped = 0
        self.clearings = 0
        """How often `clear` was called: whoever puts a thing in parts can tell that it is over."""
        self._items: deque[tuple[T, float]] = deque()
        self._weight = 0.0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T, weight: float = 1.0, since: int | None = None) -> bool:
        """Add an item, waiting for room. Raises `HandoverClosed`.

        ``since`` is the number of `clearings` from which on the item is out of date; it is then
        left out, and the answer is False.
        """
        with self._changed:

            def ready() -> bool:
                cleared = since is not None and self.clearings != since
                return self._closed or cleared or self._weight < self.limit

            wait_until(self._changed, ready)
            if self._closed:
                raise HandoverClosed
            if since is not None and self.clearings != since:
                return False
            self._add(item, weight)
            return True

    def offer(self, item: T, weight: float = 1.0) -> bool:
        """Add an item at once, dropping the oldest for it; False when one was dropped."""
        with self._changed:
            if self._closed:
                return False
            full = bool(self._items) and self._weight + weight > self.limit
            while self._items and self._weight + weight > self.limit:
                self._weight -= self._items.popleft()[1]
                self.dropped += 1
            self._add(item, weight)
            return not full

    def take(self) -> T:
        """The oldest item, waiting for one. Raises `HandoverClosed`, even with items left."""
        with self._changed:
            wait_until(self._changed, lambda: self._closed or bool(self._items))
            if self._closed:
                raise HandoverClosed
            return self._pop()

    def put_last(self, item: T) -> None:
        """Add an item without waiting, whatever waits: what ends a stream must arrive."""
        with self._changed:
            if not self._closed:
                self._add(item, 0.0)

    def drain_one(self) -> T | None:
        """The oldest item if there is one, without waiting."""
        if not self._items:
            return None
        with self._changed:
            return self._pop() if self._items else None

    @property
    def full(self) -> bool:
        """Whether a `put` would wait now."""
        return self._weight >= self.limit

    @property
    def weight(self) -> float:
        """Of all that waits."""
        return self._weight

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._items

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def clear(self) -> None:
        """Forget what waits."""
        with self._changed:
            self.clearings += 1
            self._items.clear()
            self._weight = 0.0
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any more, and forget what waits."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._weight = 0.0
            self._changed.notify_all()

    def _add(self, item: T, weight: float) -> None:
        self._items.append((item, weight))
        self._weight += weight
        if len(self._items) == 1:  # Nobody waits for a second one.
            self._changed.notify_all()

    def _pop(self) -> T:
        item, weight = self._items.popleft()
        was_full = self._weight >= self.limit
        self._weight -= weight
        if was_full:
            self._changed.notify_all()
        return item


class OwnLock:
    """A lock that each process has for itself: what is sent to another has a free one there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[OwnLock], tuple[()]]:
        return OwnLock, ()


class Bell:
    """Lets a worker sleep until the loop rings, at most a second."""

    def __init__(self) -> None:
        self._rung = self._asleep = False
        self._changed = threading.Condition()

    def ring(self) -> None:
        """Wake the worker, or let its next sleep end at once."""
        self._rung = True
        # Read after that is written: who falls asleep between the two sees that it was rung.
        if self._asleep:
            with self._changed:
                self._changed.notify_all()

    def sleep(self) -> None:
        """Wait for the next ring."""
        with self._changed:
            self._asleep = True
            wait_until(self._changed, lambda: self._rung, 1.0)
            self._rung = self._asleep = False


class Workers:
    """Threads that run jobs, as many as there are jobs, and are kept for a while when idle.

    A pool of fixed size would let a few functions that block starve every other caller. Who
    submits jobs bounds them: a session runs a handful at most. The threads are daemons, so a
    function that never returns does not keep the process from ending.
    """

    def __init__(self, name: str = "fastrtc") -> None:
        self._name = name
        self._lock = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._idle = 0
        self._count = 0
        self._made = 0
        self._busy = 0
        self._waits: set[Callable[[], bool]] = set()
        self.lenient = 0
        """Jobs inside user code that is known to block, such as an ``emit`` that waits."""

    def submit(self, fn: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a function in a worker, with a copy of this context. Its errors are logged."""
        context = contextvars.copy_context()

        def job() -> None:
            try:
                context.run(fn, *args, **kwargs)
            except BaseException:
                logger.exception("A worker's job failed")

        with self._lock:
            self._busy += 1
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._lock.notify()
                return
            self._count += 1
            self._made += 1
            name = f"{self._name}-{self._made}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def call(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a worker and wait for what it returns or raises.

        Cancelling the wait leaves the function running.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(set_it: Callable[[Any], None], value: Any) -> None:
            if not future.done():
                set_it(value)

        def job() -> None:
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                call_soon(loop, settle, future.set_exception, contained(error))
            else:
                call_soon(loop, settle, future.set_result, result)

        self.submit(job)
        return await future

    async def ask(self, fn: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call a function of the user's: on a worker, as it may block, or here if it is async."""
        if inspect.iscoroutinefunction(fn):
            return await fn(*args, **kwargs)
        made = await self.call(fn, *args, **kwargs)
        return await made if inspect.isawaitable(made) else made

    @property
    def threads(self) -> int:
        """How many threads there are."""
        return self._count

    @property
    def settled(self) -> bool:
        """Whether every job is done, or waits for the loop: what virtual time waits for."""
        with self._lock:
            idle = sum(not ready() for ready in self._waits)
            return self._busy <= idle + self.lenient

    @contextlib.contextmanager
    def may_block(self) -> Iterator[None]:
        """Around user code that may wait for something other than the loop."""
        with self._lock:
            self.lenient += 1
        try:
            yield
        finally:
            with self._lock:
                self.lenient -= 1

    def _work(self) -> None:
        _here.workers = self
        while True:
            with self._lock:
                if not self._jobs:
                    self._idle += 1
                    self._lock.wait_for(lambda: self._jobs, IDLE_SECONDS)
                    self._idle -= 1
                if not self._jobs:
                    self._count -= 1
                    return
                job = self._jobs.popleft()
            job()
            del job
            with self._lock:
                self._busy -= 1


def contained(error: BaseException) -> Exception:
    """An error of user code in a form that ends neither a thread nor an event loop.

    `SystemExit` in a task stops the loop, and `StopIteration` cannot be set on a future.
    """
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    inside = RuntimeError(f"{type(error).__name__} was raised: {error}")
    inside.__cause__ = error
    return inside


_here = threading.local()
"""Which `Workers` this thread belongs to."""


def wait_until(
    condition: threading.Condition, ready: Callable[[], bool], timeout: float | None = None
) -> None:
    """Wait on a condition that is held, in a way that `Workers.settled` knows of."""
    workers: Workers | None = getattr(_here, "workers", None)
    if workers is None or ready():
        condition.wait_for(ready, timeout)
        return
    with workers._lock:
        workers._waits.add(ready)
    try:
        condition.wait_for(ready, timeout)
    finally:
        with workers._lock:
            workers._waits.discard(ready)


def call_soon(loop: asyncio.AbstractEventLoop, fn: Callable[..., object], *args: Any) -> bool:
    """Call a function on a loop from any thread; False when the loop has closed."""
    try:
        loop.call_soon_threadsafe(fn, *args)
    except RuntimeError:
        return False
    return True


_kept: set[asyncio.Task[Any]] = set()


def keep(task: asyncio.Task[Any]) -> None:
    """Hold a task until it is done: the loop itself holds it weakly."""
    _kept.add(task)
    task.add_done_callback(_kept.discard)


readers: Final = Workers("fastrtc-reader")
"""Where what may block for a while is read: a thread each, so that a slow one holds up no other."""
_OVER: Final = object()


async def in_turn(values: AsyncIterable[T] | Iterable[T]) -> AsyncGenerator[T, None]:
    """The values of an iterable of either kind; one that may block is read on a thread."""
    if isinstance(values, AsyncIterable):
        source = aiter(values)
        try:
            async for value in source:
                yield value
        finally:
            if hasattr(source, "aclose"):
                await source.aclose()
        return
    if isinstance(values, (list, tuple)):
        for value in values:
            yield value
        return
    plain = iter(values)
    try:
        while (found := await readers.call(next, plain, _OVER)) is not _OVER:
            yield cast(T, found)
    finally:
        # A file is its owner's to close.
        if hasattr(plain, "close") and not isinstance(plain, io.IOBase):
            # What it does then may block, too.
            readers.submit(_close, plain)


def _close(values: Any) -> None:
    # It may still be inside its last step, if who read it was cancelled.
    with contextlib.suppress(ValueError):
        values.close()
