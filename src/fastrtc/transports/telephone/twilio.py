"""Twilio: TwiML, its signature, and its Media Streams.

Messages: https://www.twilio.com/docs/voice/media-streams/websocket-messages. The signature:
https://www.twilio.com/docs/usage/webhooks/webhooks-security.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from fastrtc.audio.convert import Pcm
from fastrtc.audio.g711 import MULAW
from fastrtc.context import PhoneCall
from fastrtc.transports.sockets.wire import (
    Event,
    Marked,
    Message,
    Sound,
    Started,
    Stopped,
    WireError,
    encode_payload,
    part,
    read_digit,
    read_json,
    read_payload,
    text_of,
)
from fastrtc.transports.telephone.provider import Connection, TelephoneOptions, Webhook

TOKEN: Final = "fastrtc_token"
"""The custom parameter that carries the one-time token."""
FACTS: Final = ("From", "To")
"""Fields of the webhook that the media socket would not tell."""
CODING: Final = {"encoding": "audio/x-mulaw", "sampleRate": 8_000, "channels": 1}
"""The one coding of Media Streams."""
LEAD: Final = 5
"""Frames (0.1 s) that Twilio holds: it plays them smoothly, and `clear` takes them back."""


class TwilioWire:
    """Media Streams: JSON texts, mu-law at 8 kHz in base64."""

    name = "twilio"
    lead = LEAD
    has_marks = True
    rate = 8_000
    channels = 1

    def __init__(self) -> None:
        self._stream = ""
        self._media = ""
        """How a media message begins: they are many, and all the same but for the sound."""

    def read(self, message: Message) -> Event | None:
        """See `Wire`."""
        given = read_json(message)
        event = given.get("event")
        if event == "media":
            media = part(given, "media")
            # A stream of both tracks would bring our own sound back.
            if media.get("track", "inbound") != "inbound":
                return None
            return Sound(MULAW.decode(read_payload(media.get("payload"))))
        if event == "mark":
            return Marked(text_of(part(given, "mark"), "name"))
        if event == "dtmf":
            return read_digit(part(given, "dtmf").get("digit"))
        if event == "start":
            return self._start(part(given, "start"))
        if event == "stop":
            return Stopped()
        if event == "connected":
            return None
        raise WireError(
            f"expected the event connected, start, media, mark, dtmf or stop, got {event!r:.80}"
        )

    def started(self, call_id: str) -> list[Message]:
        """See `Wire`: Twilio wants no answer."""
        return []

    def media(self, pcm: Pcm) -> list[Message]:
        """See `Wire`."""
        payload = encode_payload(MULAW.encode(pcm))
        return [f'{self._media}"{payload}"}}}}']

    def mark(self, name: str) -> list[Message]:
        """See `Wire`."""
        return [json.dumps({"event": "mark", "streamSid": self._stream, "mark": {"name": name}})]

    def clear(self) -> list[Message]:
        """See `Wire`."""
        return [json.dumps({"event": "clear", "streamSid": self._stream})]

    def text(self, text: str) -> list[Message]:
        """See `Wire`: nothing but Twilio's own messages belongs on its socket."""
        return []

    def _start(self, start: dict[str, Any]) -> Started:
        if self._stream:
            raise WireError("expected one start, got another")
        stream, call = text_of(start, "streamSid"), text_of(start, "callSid")
        coding = part(start, "mediaFormat") if "mediaFormat" in start else CODING
        if any(coding.get(name) != value for name, value in CODING.items()):
            raise WireError(f"expected the mediaFormat {CODING}, got {coding!r:.200}")
        parameters = read_parameters(start.get("customParameters"))
        self._stream, quoted = stream, json.dumps(stream)
        self._media = f'{{"event": "media", "streamSid": {quoted}, "media": {{"payload": '
        return Started(
            stream,
            PhoneCall(
                provider=self.name,
                call_id=call,
                stream_id=stream,
                caller=parameters.pop(FACTS[0], ""),
                called=parameters.pop(FACTS[1], ""),
                parameters=parameters,
            ),
            token=parameters.pop(TOKEN, ""),
        )


class Twilio:
    """The platform; see `Provider`. The secret is ``TWILIO_AUTH_TOKEN``."""

    name = "twilio"
    secret_name = "TWILIO_AUTH_TOKEN"
    signature_name = "x-twilio-signature"

    @property
    def has_secret(self) -> bool:
        """See `Provider`."""
        return bool(os.environ.get(self.secret_name))

    def is_signed(self, webhook: Webhook) -> bool:
        """See `Provider`: an HMAC over the address and the fields of the form, in their order."""
        given = webhook.headers.get(self.signature_name, "")
        secret = os.environ.get(self.secret_name, "")
        if not given or not secret:
            return False
        return any(
            hmac.compare_digest(sign(secret, url, webhook.form).encode(), given.encode())
            for url in webhook.urls
        )

    def connect(self, webhook: Webhook, connection: Connection) -> tuple[str, str]:
        """See `Provider`: TwiML."""
        facts = {name: str(webhook.fields.get(name) or "") for name in FACTS}
        return twiml(connection, facts), "application/xml"

    def refuse(self, webhook: Webhook) -> tuple[str, str]:
        """See `Provider`."""
        return document('<Reject reason="busy"/>'), "application/xml"

    def asks(self, webhook: Webhook) -> bool:
        """See `Returning`: a redirect always does."""
        return True

    def dismiss(self, options: TelephoneOptions) -> tuple[str, str]:
        """See `Returning`."""
        return farewell(options), "application/xml"

    def wire(self) -> TwilioWire:
        """See `Provider`."""
        return TwilioWire()


def sign(secret: str, url: str, fields: Mapping[str, Any]) -> str:
    """Twilio's signature of a webhook with form fields; of a GET or a socket without."""
    signed = url + "".join(f"{name}{fields[name]}" for name in sorted(fields))
    made = hmac.new(secret.encode(), signed.encode(), hashlib.sha1)
    return base64.b64encode(made.digest()).decode()


def twiml(connection: Connection, facts: Mapping[str, str]) -> str:
    """The TwiML that connects a call with our socket.

    Query strings are not supported in its address, so the token and the facts are parameters.
    """
    options = connection.options
    parameters = {**options.parameters, **{k: v for k, v in facts.items() if v}}
    parameters[TOKEN] = connection.token
    status = {"statusCallback": options.status_callback} if options.status_callback else {}
    return document(
        _say(options.greeting, options)
        + _recording(options.record)
        + f"<Connect><Stream{attributes({'url': connection.url, **status})}>"
        + "".join(
            f"<Parameter{attributes({'name': name, 'value': value})}/>"
            for name, value in parameters.items()
        )
        + "</Stream></Connect>"
        + (redirect(connection.back) if connection.back else _say(options.goodbye, options))
    )


def farewell(options: TelephoneOptions) -> str:
    """The TwiML that ends a call."""
    return document(_say(options.goodbye, options) + "<Hangup/>")


def redirect(url: str) -> str:
    """The verb that asks another webhook what to do next."""
    return f'<Redirect method="POST">{escape(url)}</Redirect>'


def document(inner: str) -> str:
    """A TwiML document."""
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{inner}</Response>'


def attributes(values: Mapping[str, str]) -> str:
    """XML attributes."""
    return "".join(f" {name}={quoteattr(value)}" for name, value in values.items())


def read_parameters(given: Any) -> dict[str, str]:
    """Custom parameters, as text by name.

    Raises:
        WireError: they are something else.
    """
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise WireError(f"expected custom parameters as an object, got {given!r:.80}")
    return {str(name): str(value) for name, value in given.items()}


def _say(text: str | None, options: TelephoneOptions) -> str:
    if not text:
        return ""
    how = {"voice": options.voice, "language": options.language}
    return f"<Say{attributes({k: v for k, v in how.items() if v})}>{escape(text)}</Say>"


def _recording(record: bool | Mapping[str, str]) -> str:
    if record is False:
        return ""
    return f"<Start><Recording{attributes({} if record is True else record)}/></Start>"
