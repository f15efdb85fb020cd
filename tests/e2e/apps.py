"""Streams for the browser to call."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from fastrtc import ReplyOnPause, Stream, WebRTCError
from tests.conftest import tone

_turns = itertools.count(1)


def reply(audio: Any) -> Iterator[Any]:
    """Every second reply is long, so that the next phrase interrupts it."""
    for _ in range(120 if next(_turns) % 2 == 0 else 8):
        yield tone(0.1)


def fail(audio: Any) -> Iterator[Any]:
    raise WebRTCError("The kitchen is closed.")
    yield


conversation = Stream(ReplyOnPause(reply), ui_args={"title": "Conversation"})
single = Stream(ReplyOnPause(reply), concurrency_limit=1)
failing = Stream(ReplyOnPause(fail))


def radio() -> Iterator[Any]:
    for _ in range(100):
        yield tone(0.1)


receiver = Stream(radio, mode="receive")
