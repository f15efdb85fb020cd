"""Every message to the client, as one small vocabulary. docs/wire.md lists them."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

MessageType = Literal[
    "send_input",
    "fetch_output",
    "end_stream",
    "stopword",
    "log",
    "error",
    "warning",
    "update_connection",
    "steps",
    "decision",
    "turn",
]

STARTED_TALKING: Final = "started_talking"
PAUSE_DETECTED: Final = "pause_detected"
RESPONSE_STARTING: Final = "response_starting"
RESPONSE_FINISHED: Final = "response_finished"
INTERRUPTED: Final = "interrupted"
ASLEEP: Final = "asleep"
"""Waits for a stop word."""
AWAKE: Final = "awake"
"""A stop word was heard."""

LONGEST_TEXT: Final = 2_000
"""Characters of an error's text that go to a client."""


def create_message(type: MessageType, data: Any = None) -> str:  # noqa: A002 (the wire's name)
    """A message as JSON text.

    Errors and warnings carry their text in ``data`` and in ``message``: older servers sent the
    one, older documentation names the other, and pages read either.
    """
    message: dict[str, Any] = {"type": type, "data": [] if data is None else data}
    if type in ("error", "warning"):
        message["message"] = message["data"] = str(data)[:LONGEST_TEXT]
    return json.dumps(message)
