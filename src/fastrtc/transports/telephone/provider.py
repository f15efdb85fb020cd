"""What a telephone platform is to us: a document that connects a call, and a dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from fastrtc.transports.sockets.wire import Wire


@dataclass(frozen=True)
class TelephoneOptions:
    """How telephone calls are taken.

    Attributes:
        greeting: what the platform's voice says before the call is connected; None for nothing.
        goodbye: what it says when the line has ended the call; None for nothing.
        returns: whether a call comes back whose media socket broke, with nobody having ended it:
            the platform asks the webhook again, and whoever answers there takes the call, with
            ``get_current_context().reconnected``. None for no in one process, and yes in a
            cluster. Platforms that cannot do it leave it out.
        interrupted: what the platform's voice says to a caller who comes back, in the place of
            the greeting; None for nothing.
        voice: the platform's voice for these, such as ``"alice"``; None for its default.
        language: their language, such as ``"en-GB"``; None for its default.
        record: whether the platform records the call: True, or its options by name.
        status_callback: a URL of yours that the platform tells about the stream and the call.
        parameters: custom parameters for `PhoneCall.parameters`.
        providers: the platforms that have routes: ``"twilio"``, ``"telnyx"``, ``"plivo"``,
            ``"vonage"``, ``"signalwire"``, ``"exotel"``. Each of them is a door.
    """

    greeting: str | None = "One moment, please."
    goodbye: str | None = "Goodbye."
    returns: bool | None = None
    interrupted: str | None = "One moment, please. The line was interrupted."
    voice: str | None = None
    language: str | None = None
    record: bool | Mapping[str, str] = False
    status_callback: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    providers: Sequence[str] = ("twilio",)


@dataclass(frozen=True)
class Webhook:
    """What a platform asks when a call comes in.

    Attributes:
        urls: what the platform may have called, as seen from outside; the first is the best guess.
        fields: the form or JSON fields, and those of the query.
        form: the fields of the form alone.
        body: the request as it came.
        headers: with names in lower case.
    """

    urls: tuple[str, ...]
    fields: Mapping[str, Any]
    body: bytes
    headers: Mapping[str, str]
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Connection:
    """What the platform shall connect a call with.

    Attributes:
        url: our media socket, ``wss://...``.
        token: what it must show there.
        options: see `TelephoneOptions`.
        back: the address of the webhook that is to be asked, by POST, when the socket is gone;
            empty where the goodbye is said then.
    """

    url: str
    token: str
    options: TelephoneOptions
    back: str = ""


class Provider(Protocol):
    """One platform."""

    name: str
    """As in ``/telephone/{name}/incoming``."""
    secret_name: str
    """The variable that holds the secret; empty where webhooks are not signed."""

    @property
    def has_secret(self) -> bool:
        """Whether there is a secret in the environment by which webhooks can be verified."""

    def is_signed(self, webhook: Webhook) -> bool:
        """Whether the platform has signed this with the secret."""

    def connect(self, webhook: Webhook, connection: Connection) -> tuple[str, str]:
        """The document that connects the call, and its media type."""

    def refuse(self, webhook: Webhook) -> tuple[str, str]:
        """The document that turns the call away as busy, and its media type."""

    def wire(self) -> Wire:
        """The dialect of its media socket, for one call."""


@runtime_checkable
class Returning(Provider, Protocol):
    """A `Provider` whose documents can end with `Connection.back`."""

    def asks(self, webhook: Webhook) -> bool:
        """Whether this, at that address, asks what to do next, and is no mere news."""

    def dismiss(self, options: TelephoneOptions) -> tuple[str, str]:
        """The document that says the goodbye and ends a call that was answered; its media type."""
