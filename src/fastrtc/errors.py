"""Errors and notices that users raise, and that their clients are shown."""

from __future__ import annotations

from fastrtc.context import current_context
from fastrtc.messages import create_message


class WebRTCError(Exception):
    """Raise this in a handler to show the client a message."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Warning(UserWarning):
    """Make one to show the client a warning; the call goes on.

    ``Warning("The model is slow today.")`` is enough. Outside a call it does nothing.
    """

    def __init__(self, message: str = "Warning issued.") -> None:
        super().__init__(message)
        self.message = message
        self.sent = False
        """Whether the client was told."""
        context = current_context.get()
        if context is not None and context.notices is not None:
            context.notices.send_message(create_message("warning", message))
            self.sent = True
