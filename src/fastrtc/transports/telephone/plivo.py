"""Plivo: its XML, its signature (V3), and its audio streams.

Messages: https://www.plivo.com/docs/voice-agents/audio-streaming/concepts/audio-streaming-reference.
The document: https://docs.plivo.com/docs/voice/xml/audiostream. The signature:
https://www.plivo.com/docs/voice/concepts/signature-validation.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

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
from fastrtc.transports.telephone.twilio import (
    FACTS,
    LEAD,
    TOKEN,
    attributes,
    document,
    read_parameters,
    redirect,
)

PACKED: Final = "fastrtc"
"""The extra header that carries the token, the facts and the parameters."""
HEADER_BYTES: Final = 512
"""Bytes that all extra headers may have."""
CODING: Final = {"encoding": "audio/x-mulaw", "sampleRate": "8000"}
"""The coding that our document asks for, as the start of the stream has it."""
RECORD: Final = {"recordSession": "true", "redirect": "false", "maxLength": "14400"}
"""The attributes of a recording that goes on beside the stream, for hours."""


class PlivoWire:
    """Audio streams: JSON texts, mu-law at 8 kHz in base64."""

    name = "plivo"
    lead = LEAD
    has_marks = True
    rate = 8_000
    channels = 1

    def __init__(self) -> None:
        self._stream = ""

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
        if event == "playedStream":
            return Marked(text_of(given, "name"))
        if event == "dtmf":
            return read_digit(part(given, "dtmf").get("digit"))
        if event == "start":
            return self._start(part(given, "start"), given.get("extra_headers"))
        if event == "clearedAudio":
            return None
        if event == "stop":
            # The reference has none: the socket is closed. It could mean nothing else.
            return Stopped()
        raise WireError(
            "expected the event start, media, playedStream, clearedAudio, dtmf or stop, got "
            f"{event!r:.80}"
        )

    def started(self, call_id: str) -> list[Message]:
        """See `Wire`: Plivo wants no answer."""
        return []

    def media(self, pcm: Pcm) -> list[Message]:
        """See `Wire`."""
        payload = encode_payload(MULAW.encode(pcm))
        return [
            '{"event": "playAudio", "media": {"contentType": "audio/x-mulaw", "sampleRate": 8000, '
            f'"payload": "{payload}"}}}}'
        ]

    def mark(self, name: str) -> list[Message]:
        """See `Wire`."""
        return [json.dumps({"event": "checkpoint", "streamId": self._stream, "name": name})]

    def clear(self) -> list[Message]:
        """See `Wire`."""
        return [json.dumps({"event": "clearAudio", "streamId": self._stream})]

    def text(self, text: str) -> list[Message]:
        """See `Wire`: nothing but Plivo's own messages belongs on its socket."""
        return []

    def _start(self, start: dict[str, Any], headers: Any) -> Started:
        if self._stream:
            raise WireError("expected one start, got another")
        stream, call = text_of(start, "streamId"), text_of(start, "callId")
        coding = part(start, "mediaFormat")
        if any(str(coding.get(name)) != value for name, value in CODING.items()):
            raise WireError(f"expected the mediaFormat {CODING}, got {coding!r:.200}")
        parameters = read_headers(headers)
        if PACKED in parameters:
            parameters.update(unpack(parameters.pop(PACKED)))
        self._stream = stream
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


class Plivo:
    """The platform; see `Provider`. The secret is ``PLIVO_AUTH_TOKEN``."""

    name = "plivo"
    secret_name = "PLIVO_AUTH_TOKEN"

    @property
    def has_secret(self) -> bool:
        """See `Provider`."""
        return bool(os.environ.get(self.secret_name))

    def is_signed(self, webhook: Webhook) -> bool:
        """See `Provider`: an HMAC over the address, the form, and a number used once."""
        # There may be several, one for each token that is valid while they are changed.
        given = webhook.headers.get("x-plivo-signature-v3", "").split(",")
        nonce = webhook.headers.get("x-plivo-signature-v3-nonce", "")
        secret = os.environ.get(self.secret_name, "")
        if not nonce or not secret:
            return False
        made = [sign(secret, url, webhook.form, nonce).encode() for url in webhook.urls]
        return any(
            hmac.compare_digest(one, text.strip().encode()) for one in made for text in given
        )

    def connect(self, webhook: Webhook, connection: Connection) -> tuple[str, str]:
        """See `Provider`: Plivo's XML.

        Raises:
            ValueError: the parameters are more than Plivo carries.
        """
        options = connection.options
        facts = {name: str(webhook.fields.get(name) or "") for name in FACTS}
        parameters = {**options.parameters, **{k: v for k, v in facts.items() if v}}
        parameters[TOKEN] = connection.token
        stream = {
            "bidirectional": "true",
            "keepCallAlive": "true",
            "contentType": "audio/x-mulaw;rate=8000",
            "extraHeaders": pack(parameters),
        }
        if options.status_callback:
            stream["statusCallbackUrl"] = options.status_callback
        answer = document(
            _speak(options.greeting, options)
            + _recording(options.record)
            + f"<Stream{attributes(stream)}>{escape(connection.url)}</Stream>"
            + (redirect(connection.back) if connection.back else _speak(options.goodbye, options))
        )
        return answer, "application/xml"

    def refuse(self, webhook: Webhook) -> tuple[str, str]:
        """See `Provider`."""
        return document('<Hangup reason="busy"/>'), "application/xml"

    def asks(self, webhook: Webhook) -> bool:
        """See `Returning`: a redirect always does."""
        return True

    def dismiss(self, options: TelephoneOptions) -> tuple[str, str]:
        """See `Returning`."""
        return document(_speak(options.goodbye, options) + "<Hangup/>"), "application/xml"

    def wire(self) -> PlivoWire:
        """See `Provider`."""
        return PlivoWire()


def sign(secret: str, url: str, fields: Mapping[str, str], nonce: str) -> str:
    """Plivo's signature (V3) of a webhook with form fields, or of one without."""
    base, _, query = url.partition("?")
    asked = "&".join(f"{name}={value}" for name, value in sorted(parse_qsl(query, True)))
    form = "".join(f"{name}{value}" for name, value in sorted(fields.items()))
    # A dot parts the query from the form, and its mark is there even where it is empty.
    if asked and form:
        asked += "."
    if asked or form:
        base += "?"
    signed = f"{base}{asked}{form}.{nonce}"
    made = hmac.new(secret.encode(), signed.encode(errors="replace"), hashlib.sha256)
    return base64.b64encode(made.digest()).decode()


def pack(parameters: Mapping[str, str]) -> str:
    """An extra header that carries parameters: only letters and digits survive in one.

    Raises:
        ValueError: they are too many.
    """
    text = json.dumps(dict(parameters), ensure_ascii=False, separators=(",", ":"))
    coded = base64.b32encode(text.encode(errors="replace")).decode().rstrip("=")
    header = f"{PACKED}={coded}"
    if len(header) > HEADER_BYTES:
        raise ValueError(
            f"expected parameters of at most {HEADER_BYTES} bytes when packed for Plivo, got "
            f"{len(header)}"
        )
    return header


def unpack(coded: str) -> dict[str, str]:
    """The parameters that `pack` has packed.

    Raises:
        WireError: it has not.
    """
    try:
        data = base64.b32decode(coded + "=" * (-len(coded) % 8), casefold=True)
        return read_parameters(json.loads(data))
    except (binascii.Error, ValueError, RecursionError):
        raise WireError(
            f"expected the extra header {PACKED} as JSON in base32, got {coded!r:.80}"
        ) from None


def read_headers(given: Any) -> dict[str, str]:
    """Extra headers, which are told as in ``"userId=12345;sessionId=abc"``.

    Raises:
        WireError: they are something else.
    """
    if not isinstance(given, str):
        return read_parameters(given)
    pairs = (pair.partition("=") for pair in re.split("[;,]", given))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _speak(text: str | None, options: TelephoneOptions) -> str:
    if not text:
        return ""
    how = {"voice": options.voice, "language": options.language}
    return f"<Speak{attributes({k: v for k, v in how.items() if v})}>{escape(text)}</Speak>"


def _recording(record: bool | Mapping[str, str]) -> str:
    if record is False:
        return ""
    return f"<Record{attributes(RECORD if record is True else {**RECORD, **record})}/>"
