"""The session that the running code belongs to."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol


class Notices(Protocol):
    """What code in a session may say to its client."""

    def send_message(self, message: str) -> None:
        """Send JSON text to the client, from any thread."""


@dataclass
class Context:
    """Facts of one call.

    Attributes:
        webrtc_id: the id that the client chose.
        websocket_id: the same, under the name that socket handlers know.
        state: a place for the user's own per-call data.
    """

    webrtc_id: str
    websocket_id: str = ""
    state: dict[str, Any] = field(default_factory=dict)
    notices: Notices | None = field(default=None, repr=False, compare=False)


current_context: ContextVar[Context | None] = ContextVar("fastrtc_context", default=None)


def get_current_context() -> Context:
    """The context of the call that this code runs for.

    It is set in handlers and in the functions that they call, on worker threads too.

    Raises:
        RuntimeError: the code does not run for a call.
    """
    context = current_context.get()
    if context is None:
        raise RuntimeError(
            "There is no current call: get_current_context() works in handlers and in the "
            "functions that they call."
        )
    return context
