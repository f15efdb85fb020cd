"""What a user gave as a handler, and the copy of it that serves one call."""

from __future__ import annotations

from typing import Any

from fastrtc.handlers.base import HandlerBase
from fastrtc.handlers.functions import FunctionHandler


def read_handler(given: Any, mode: str) -> HandlerBase:
    """A handler from what a user gave.

    Raises:
        TypeError: it is none; the text says what was expected.
    """
    if isinstance(given, HandlerBase):
        return given
    if isinstance(given, type) and issubclass(given, HandlerBase):
        raise TypeError(f"expected a handler, got its class: write {given.__name__}()")
    if not callable(given):
        raise TypeError(
            "expected a StreamHandler, an AsyncStreamHandler or a function, got "
            f"{type(given).__name__}"
        )
    if mode == "send-receive":
        raise TypeError(
            'A function alone cannot take turns: wrap it in ReplyOnPause(...), or use mode="send" '
            'or "receive".'
        )
    return FunctionHandler(given, mode)


def fresh_copy(handler: HandlerBase) -> HandlerBase:
    """A handler for one call, or an error that says what is wrong with its class."""
    name = type(handler).__name__
    fresh: object = handler.copy()
    if not isinstance(fresh, HandlerBase):
        raise TypeError(f"{name}.copy() must return a handler, and returned {fresh!r:.80}")
    if not hasattr(fresh, "expected_layout"):
        raise TypeError(f"{name}.__init__ must call super().__init__()")
    return fresh
