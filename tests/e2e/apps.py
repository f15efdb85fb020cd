"""Streams for the browser to call."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from fastrtc import ReplyOnPause, Stream, WebRTCError, get_current_context
from tests.conftest import tone

_turns = itertools.count(1)


def reply(audio: Any) -> Iterator[Any]:
    """Every second reply is long, so that the next phrase interrupts it."""
    for _ in range(120 if next(_turns) % 2 == 0 else 8):
        yield tone(0.1)


def fail(audio: Any) -> Iterator[Any]:
    raise WebRTCError("The kitchen is closed.")
    yield


def greet(audio: Any = None) -> Iterator[Any]:
    """Who comes back to a call that was lost is greeted; nobody else is."""
    if get_current_context().reconnected:
        yield tone(2.0)


conversation = Stream(ReplyOnPause(reply), ui_args={"title": "Conversation"})
single = Stream(ReplyOnPause(reply), concurrency_limit=1)
greeting = Stream(ReplyOnPause(reply, startup_fn=greet))
failing = Stream(ReplyOnPause(fail))


def radio() -> Iterator[Any]:
    for _ in range(100):
        yield tone(0.1)


receiver = Stream(radio, mode="receive")
