"""Beyond one machine: a stream and its models on Ray Serve. Needs the extra ``cluster``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

_HOMES: Final[dict[str, str]] = {
    "deployment": "fastrtc.cluster.application",
    "models": "fastrtc.cluster.model_tier",
    "wanted": "fastrtc.models.place",
}

MISSING: Final = "A cluster needs Ray Serve: pip install 'fastrtc[cluster]'"
GRACE: Final = 600.0
"""Seconds that calls have to end where a replica leaves."""
CPUS: Final = 0.5
"""Of a node, that a replica reserves: half of what it uses at most, so that its successor has room
beside it while it leaves."""

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    # The options of the command are in this package, too, and are read where there is no Ray.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'fastrtc.cluster' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(home), name)
    except ModuleNotFoundError as error:
        raise ImportError(f"{MISSING} ({error})") from error


if TYPE_CHECKING:
    from fastrtc.cluster.application import deployment as deployment
    from fastrtc.cluster.model_tier import models as models
    from fastrtc.models.place import wanted as wanted
