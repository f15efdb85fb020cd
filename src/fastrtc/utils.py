"""Names that older code imports from here."""

from __future__ import annotations

from fastrtc.audio.convert import audio_to_float32, audio_to_int16
from fastrtc.audio.files import (
    aggregate_bytes_to_16bit,
    async_aggregate_bytes_to_16bit,
    audio_to_bytes,
    audio_to_file,
)
from fastrtc.context import Context, current_context, get_current_context
from fastrtc.errors import Warning, WebRTCError
from fastrtc.handlers.values import AdditionalOutputs, CloseStream, WebRTCData
from fastrtc.handlers.waiting import wait_for_item
from fastrtc.messages import create_message
from fastrtc.models.vad.silero import AudioChunk

__all__ = [
    "AdditionalOutputs",
    "AudioChunk",
    "CloseStream",
    "Context",
    "Warning",
    "WebRTCData",
    "WebRTCError",
    "aggregate_bytes_to_16bit",
    "async_aggregate_bytes_to_16bit",
    "audio_to_bytes",
    "audio_to_file",
    "audio_to_float32",
    "audio_to_int16",
    "create_message",
    "current_context",
    "get_current_context",
    "wait_for_item",
]
