"""An RTCConfiguration, from whatever the user gave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from fastrtc.runtime import shared_runtime

Configuration = dict[str, Any] | Callable[[], Any] | None
"""An RTCConfiguration, or a sync or async function that gives one for each connection."""

CONFIGURED_WITHIN: Final = 20.0
"""Seconds that a function has to give an RTCConfiguration."""


async def resolve_configuration(given: Configuration) -> dict[str, Any] | None:
    """An RTCConfiguration from whatever the user gave.

    Raises:
        TypeError: it is neither a dict nor a function that gives one.
        TimeoutError: the function took too long.
    """
    if callable(given):
        given = await asyncio.wait_for(shared_runtime().workers.ask(given), CONFIGURED_WITHIN)
    if given is None or isinstance(given, dict):
        return given
    raise TypeError(f"expected an RTCConfiguration as a dict, got {type(given).__name__}")
