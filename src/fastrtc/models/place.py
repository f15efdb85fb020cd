"""Where a model does its work: in this process, or in the tier of models of a cluster.

Only the network itself has a place. What is before and behind it (cutting, resampling, clauses,
captions) is always done here.
"""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, Literal, Protocol, TypeVar, get_args

from fastrtc.models.inference import InferencePool

T = TypeVar("T")
R = TypeVar("R", covariant=True)
logger = logging.getLogger(__name__)

Where = Literal["local", "cluster"]
Bound = Callable[..., float]
"""From what a model is given to the seconds that the tier has for it."""
LOADED_WITHIN: Final = 10.0
"""Seconds that a process which ends waits for a network that is being loaded."""

_wanted: Final[dict[str, None]] = {}
_placed: Final[weakref.WeakSet[InCluster]] = weakref.WeakSet()


class Runner(Protocol[R]):
    """Does the work of a model, wherever that is."""

    def run(self, *given: Any, urgent: bool = True) -> R:
        """Do it and wait; ``urgent``: somebody waits in silence. Raises `ModelBusy`."""

    async def arun(self, *given: Any, urgent: bool = True) -> R:
        """The same without blocking the event loop; cancelling it saves the work."""


class InCluster(Protocol):
    """What `prepare` prepares."""

    def prepare(self) -> None:
        """See that there is somebody to ask, and have this process ready if there is not."""


class Here(Generic[T]):
    """A model in this process."""

    def __init__(
        self, load: Callable[[], Callable[..., T]], pool: Callable[[], InferencePool] | None = None
    ) -> None:
        """Set up; nothing is loaded yet.

        Args:
            load: gives what does the work, the same each time; it may take seconds.
            pool: whose threads do it; by default the caller's own.
        """
        self._load = load
        self._pool = pool
        self._loaded: Callable[..., T] | None = None
        self._warming = threading.Lock()

    def load(self) -> Callable[..., T]:
        """What does the work, loaded if it is not yet, which may take seconds.

        Raises:
            WeightsError, ImportError: it cannot be had.
        """
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    @property
    def is_loaded(self) -> bool:
        """Whether `load` would answer at once."""
        return self._loaded is not None

    def warm(self) -> None:
        """Have it loaded in the background, if it is not. An error comes again with the work."""
        if self._loaded is not None or not self._warming.acquire(blocking=False):
            return
        over = threading.Event()
        # A process that ends while a network is being loaded is aborted.
        atexit.register(over.wait, LOADED_WITHIN)

        def load() -> None:
            try:
                self.load()
            except Exception:
                logger.exception("A model could not be loaded")
            finally:
                self._warming.release()
                over.set()
                atexit.unregister(over.wait)

        threading.Thread(target=load, name="fastrtc-warming", daemon=True).start()

    def run(self, *given: Any, urgent: bool = True) -> T:
        """See `Runner`."""
        job = partial(self._work, *given)
        return job() if self._pool is None else self._pool().run(job, urgent=urgent)

    async def arun(self, *given: Any, urgent: bool = True) -> T:
        """See `Runner`."""
        if self._pool is None:
            raise TypeError("expected a pool: this would block the event loop")
        return await self._pool().arun(partial(self._work, *given), urgent=urgent)

    def _work(self, *given: Any) -> T:
        return self.load()(*given)


def placed(
    where: Where, name: str, here: Here[T], bound: Bound, *, standby: bool = False
) -> Runner[T]:
    """A model at the place that is wanted.

    Args:
        where: ``"local"``: ``here``, loaded; ``"cluster"``: the tier, with ``here`` in the place
            of one that does not answer.
        name: of the model in the tier.
        here: the model in this process.
        bound: seconds that the tier has for a piece of work.
        standby: load ``here`` now, whether or not it will be needed.

    Raises:
        ValueError: there is no such place.
        WeightsError: the model is to be loaded, and cannot be.
    """
    if where not in get_args(Where):
        raise ValueError(f"expected one of {', '.join(get_args(Where))}, got where={where!r}")
    if where == "local" or standby:
        here.load()
    if where == "local":
        return here
    from fastrtc.cluster.model_calls import TierModel

    _wanted[name] = None
    model = TierModel(name, here, bound)
    _placed.add(model)
    return model


def wanted() -> tuple[str, ...]:
    """The models that this process has asked for with ``where="cluster"``, by name."""
    return tuple(_wanted)


def prepare() -> None:
    """Have all models of a cluster ready for the first caller; nothing waits for it."""
    for model in list(_placed):
        model.prepare()
