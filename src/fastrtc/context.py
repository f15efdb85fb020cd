"""The session that the running code belongs to."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastrtc.turns.record import Heard


class Notices(Protocol):
    """What code in a session may say to its client."""

    def send_message(self, message: str) -> None:
        """Send JSON text to the client, from any thread."""


class Audible(Protocol):
    """A reply, as far as it has been heard."""

    @property
    def heard(self) -> Heard:
        """What the caller has heard of it."""


@dataclass(frozen=True)
class PhoneCall:
    """Facts of a telephone call.

    Attributes:
        provider: the platform that the call comes over, such as ``"twilio"``.
        call_id: the platform's id of the call.
        stream_id: the platform's id of the media stream.
        caller: who calls, such as ``"+15550001111"``; empty if that is not known. It can be forged
            by the caller's network, and by anybody where webhooks are not verified.
        called: the number that was called; empty if that is not known.
        parameters: custom parameters that came with the call.
    """

    provider: str
    call_id: str
    stream_id: str
    caller: str = ""
    called: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass
class Context:
    """Facts of one call.

    Attributes:
        webrtc_id: the id that the client chose, or that it was given.
        websocket_id: the same, under the name that socket handlers know.
        state: a place for the user's own per-call data.
        phone: the facts of a telephone call; None for other callers.
        reconnected: whether the caller was in a call of this id before (on a telephone, of this
            ``phone.call_id``), and lost it: to a network, or to a server that is gone. What the
            handler knew of that call is gone, too.
        identity: what the stream's ``authorize`` function returned, if it was not just True.
        heard_before: what the caller has heard of the reply before the present one.
    """

    webrtc_id: str
    websocket_id: str = ""
    state: dict[str, Any] = field(default_factory=dict)
    phone: PhoneCall | None = field(default=None, repr=False)
    reconnected: bool = field(default=False, repr=False)
    identity: Any = field(default=None, repr=False)
    heard_before: Heard = field(default_factory=Heard, repr=False)
    notices: Notices | None = field(default=None, repr=False, compare=False)

    @property
    def heard(self) -> Heard:
        """What the caller has heard of the reply that this code makes: all of it when it has
        been said, less where the caller has interrupted it. To one frame, and what the caller's
        own device buffers.
        """
        reply = current_reply.get()
        return Heard() if reply is None else reply.heard


current_reply: ContextVar[Audible | None] = ContextVar("fastrtc_reply", default=None)
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
