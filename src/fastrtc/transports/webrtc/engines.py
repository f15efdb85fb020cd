"""Which engine speaks WebRTC."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union

from fastrtc.transports.webrtc.place import MediaPlace

if TYPE_CHECKING:
    from fastrtc.transports.webrtc.engine import Engine

logger = logging.getLogger(__name__)

EngineChoice: TypeAlias = Union[Literal["auto", "aiortc"], "Engine"]


def check_engine(given: Any) -> EngineChoice:
    """See that an engine can be opened, without loading it.

    Raises:
        ValueError: there is none of that name.
        TypeError: it is neither a name nor an engine.
    """
    if given == "native":
        raise ValueError(
            'There is no engine "native": the bindings of libwebrtc that were measured carry '
            'fewer calls on a core than engine="aiortc" does, which "auto" takes. An engine of '
            "your own can be given in the place of a name."
        )
    if isinstance(given, str) and given not in ("auto", "aiortc"):
        raise ValueError(f'expected the engine "auto" or "aiortc", or an Engine, got {given!r}')
    if not isinstance(given, str) and not callable(getattr(given, "peer", None)):
        raise TypeError(f"expected an engine by name, or an Engine, got {type(given).__name__}")
    chosen: EngineChoice = given
    return chosen


def open_engine(chosen: EngineChoice, place: MediaPlace | None = None) -> Engine:
    """The engine that was chosen.

    ``place``: where it is to be reached. An engine of one's own opens its ports by itself.
    """
    place = place or MediaPlace()
    if isinstance(chosen, str):
        # Imported here: it costs 0.2 s that `import fastrtc` should not.
        from fastrtc.transports.webrtc.aiortc_engine import AiortcEngine

        return AiortcEngine(place)
    if place != MediaPlace():
        logger.warning(
            "The media address and the media ports are nothing to %s: an engine of your own "
            "opens its ports by itself",
            type(chosen).__name__,
        )
    return chosen
