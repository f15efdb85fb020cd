"""The demo: says again what you said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastrtc.handlers.reply_on_pause import ReplyOnPause
from fastrtc.stream import Stream


def echo(audio: tuple[int, Any]) -> Iterator[tuple[int, Any]]:
    """Say again what was said."""
    yield audio


stream = Stream(ReplyOnPause(echo), ui_args={"title": "FastRTC echo"})
