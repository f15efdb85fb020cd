"""Says again what you said: `fastrtc run examples/echo.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastrtc import ReplyOnPause, Stream


def echo(audio: tuple[int, Any]) -> Iterator[tuple[int, Any]]:
    yield audio


stream = Stream(ReplyOnPause(echo), ui_args={"title": "Echo"})
