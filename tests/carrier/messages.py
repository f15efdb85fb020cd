"""What a server may send to a media stream, read as strictly as the documentation is written."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

HEADERS: Final = (b"RIFF", b".snd", b"OggS")
"""How files begin; Twilio wants bare mu-law."""


@dataclass(frozen=True)
class Media:
    """Sound to play, as mu-law."""

    sound: bytes


@dataclass(frozen=True)
class Mark:
    """A name to be told when the sound before it has been played."""

    name: str


@dataclass(frozen=True)
class Clear:
    """Drop what has not been played."""


@dataclass(frozen=True)
class Violation:
    """What Twilio would log as warning 31950 or 31951, and then ignore."""

    reason: str


Message = Media | Mark | Clear | Violation


def read(frame: str | bytes, stream: str) -> Message:
    """One WebSocket message for the stream with this id."""
    if isinstance(frame, bytes):
        return Violation(f"31950: a binary message of {len(frame)} bytes")
    try:
        message = json.loads(frame)
    except ValueError:
        return Violation(f"31951: not JSON: {frame[:80]}")
    reason = f"31951: not documented: {frame[:200]}"
    if not isinstance(message, dict) or message.pop("streamSid", None) != stream:
        return Violation(reason)
    match message:
        case {"event": "media", "media": {"payload": str(payload)}}:
            return _media(payload) if _bare(message, "media") else Violation(reason)
        case {"event": "mark", "mark": {"name": str(name)}} if name and _bare(message, "mark"):
            return Mark(name)
        case {"event": "clear"} if len(message) == 1:
            return Clear()
    return Violation(reason)


def _bare(message: dict[str, Any], body: str) -> bool:
    """Whether nothing stands beside what is documented."""
    return len(message) == 2 and len(message[body]) == 1


def _media(payload: str) -> Message:
    try:
        sound = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        return Violation(f"31951: not base64: {payload[:80]}")
    if not sound:
        return Violation("31951: no sound in a media message")
    if sound.startswith(HEADERS):
        return Violation(f"31951: a file's header before the sound: {sound[:4]!r}")
    return Media(sound)
