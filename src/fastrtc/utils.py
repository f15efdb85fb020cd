"""Names that older code imports from here."""

from __future__ import annotations

from fastrtc.context import Context, current_context, get_current_context
from fastrtc.handlers.waiting import wait_for_item
from fastrtc.messages import create_message
from fastrtc.models.vad.silero import AudioChunk

__all__ = [
    "AudioChunk",
    "Context",
    "create_message",
    "current_context",
    "get_current_context",
    "wait_for_item",
]
