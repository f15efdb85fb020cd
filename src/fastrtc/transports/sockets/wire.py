"""One dialect of calls over a WebSocket: what its messages mean, and how to say things in it.

A dialect is pure: messages in, events out, and the other way round. `SocketLine` does the rest,
so a new telephone platform is a `Wire` and little else.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from fastrtc.audio.convert import Pcm
from fastrtc.context import PhoneCall

Message: TypeAlias = str | bytes
"""A text or a binary message of a WebSocket."""


class WireError(ValueError):
    """A message makes no sense; the text says what was expected and what came."""


@dataclass(frozen=True)
class Started:
    """The call begins. From here on the wire knows its rate and channels.

    Attributes:
        call_id: the id of the session, empty if the client gave none.
        phone: the facts of a telephone call; None for other clients.
        token: what the platform was told to show, to prove that our webhook sent it.
        watched: whether the client wants to see how turns are taken.
        reconnected: whether the client has lost a call of this id and comes back.
    """

    call_id: str
    phone: PhoneCall | None = None
    token: str = ""
    watched: bool = False
    reconnected: bool = False


class Sound(NamedTuple):
    """What the caller said: int16 of shape ``(channels, n)``.

    ``rate``: Hz; None for the rate of the wire.
    """

    pcm: Pcm
    rate: int | None = None


@dataclass(frozen=True)
class Digit:
    """The caller pressed a key: ``0`` to ``9``, ``*``, ``#``, or ``A`` to ``D``."""

    digit: str


@dataclass(frozen=True)
class Marked:
    """The far side has played, or dropped, all that was sent before the mark of this name."""

    name: str


@dataclass(frozen=True)
class Asked:
    """The far side wants this message back."""

    answer: Message


@dataclass(frozen=True)
class Stopped:
    """The far side ends the call."""


Event: TypeAlias = Started | Sound | Digit | Marked | Asked | Stopped


class Wire(Protocol):
    """A dialect, for one call."""

    lead: int
    """Frames of 20 ms that are sent ahead, against the jitter of the network."""
    has_marks: bool
    """Whether the far side returns marks."""
    rate: int
    """Hz, of the sound in both directions; final once `Started` was read."""
    channels: int
    """1 or 2, in both directions; final once `Started` was read."""

    def read(self, message: Message) -> Event | None:
        """What a message means; None for what is of no interest.

        Raises:
            WireError: it makes no sense.
        """

    def started(self, call_id: str) -> list[Message]:
        """What tells the client that its call is taken."""

    def media(self, pcm: Pcm) -> list[Message]:
        """What carries 20 ms of sound, int16 of shape ``(channels, rate / 50)``."""

    def mark(self, name: str) -> list[Message]:
        """What asks the far side to return a mark when it has played all that was sent."""

    def clear(self) -> list[Message]:
        """What tells the far side to drop the sound that it holds."""

    def text(self, text: str) -> list[Message]:
        """What carries a message of ours to the client; nothing where none is wanted."""


# What many dialects have in common.


def read_json(message: Message) -> dict[str, Any]:
    """A message that is a JSON object.

    Raises:
        WireError: it is none.
    """
    if isinstance(message, bytes):
        raise WireError(f"expected a JSON text, got a binary message of {len(message)} bytes")
    try:
        given = json.loads(message)
    except (ValueError, RecursionError):
        raise WireError(f"expected a JSON text, got {message[:80]!r}") from None
    if not isinstance(given, dict):
        raise WireError(f"expected a JSON object, got {message[:80]!r}")
    return given


def read_payload(given: Any) -> bytes:
    """The bytes of a base64 text.

    Raises:
        WireError: it is none.
    """
    if not isinstance(given, str):
        raise WireError(f"expected media.payload as base64 text, got {given!r:.80}")
    try:
        return base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        raise WireError(f"expected media.payload as base64 text, got {given[:80]!r}") from None


def read_digit(given: Any) -> Digit:
    """A key of a telephone.

    Raises:
        WireError: it is none.
    """
    if isinstance(given, str) and len(given) == 1 and given.upper() in "0123456789*#ABCD":
        return Digit(given.upper())
    raise WireError(f"expected a digit of 0-9, *, #, A-D, got {given!r:.80}")


def part(given: dict[str, Any], name: str) -> dict[str, Any]:
    """An object inside a message.

    Raises:
        WireError: it is missing, or something else.
    """
    found = given.get(name)
    if not isinstance(found, dict):
        raise WireError(f"expected an object {name!r}, got {found!r:.80}")
    return found


def text_of(given: dict[str, Any], name: str, *, longest: int = 256) -> str:
    """A text inside a message, that may not be empty, and that may stand in a log.

    Raises:
        WireError: it is missing, empty, too long, or something else.
    """
    found = given.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= longest or not found.isprintable():
        raise WireError(
            f"expected {name!r} as text of 1 to {longest} characters that can be printed, got "
            f"{found!r:.80}"
        )
    return found


def encode_payload(data: bytes) -> str:
    """Bytes as base64 text."""
    return base64.b64encode(data).decode("ascii")
