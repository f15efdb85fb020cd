"""Vonage: its call control objects (NCCO), signed webhooks, and WebSocket endpoints.

Messages: https://developer.vonage.com/en/voice/voice-api/guides/websockets. The document:
https://developer.vonage.com/en/voice/voice-api/ncco-reference. The signature:
https://developer.vonage.com/en/getting-started/concepts/webhooks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from fastrtc.audio.convert import Pcm
from fastrtc.context import PhoneCall
from fastrtc.transports.sockets.wire import (
    Event,
    Marked,
    Message,
    Sound,
    Started,
    WireError,
    part,
    read_digit,
    read_json,
    text_of,
)
from fastrtc.transports.telephone.provider import Connection, TelephoneOptions, Webhook
from fastrtc.transports.telephone.telnyx import is_recent
from fastrtc.transports.telephone.twilio import LEAD, TOKEN, read_parameters

FACTS: Final = ("uuid", "from", "to")
"""Fields of the webhook that the media socket would not tell: the call, the caller, the called."""
CODINGS: Final = {f"audio/l16;rate={rate}": rate for rate in (8_000, 16_000, 24_000)}
"""Hz, by what the first message says of the sound."""
CODING: Final = "audio/l16;rate=16000"
"""What our document asks for."""
HEADER_BYTES: Final = 512
"""Bytes that the headers of an endpoint may have."""
LOST: Final = ("disconnected", "failed", "unanswered")
"""What an event says of an endpoint that is gone, or that could not be reached."""


class VonageWire:
    """A WebSocket endpoint: JSON texts, and linear sound in binary messages of 20 ms."""

    name = "vonage"
    lead = LEAD
    has_marks = True
    rate = 16_000
    channels = 1
    _begun = False

    def read(self, message: Message) -> Event | None:
        """See `Wire`. Vonage has no message for the end of a call: it closes the socket."""
        if isinstance(message, bytes):
            return Sound(read_linear(message))
        given = read_json(message)
        event = given.get("event")
        if event == "websocket:notify":
            return Marked(text_of(part(given, "payload"), "name"))
        if event == "websocket:dtmf":
            return read_digit(given.get("digit"))
        if event == "websocket:connected":
            return self._start(given)
        if isinstance(event, str) and event.startswith("websocket:"):
            # Such as websocket:cleared: there may be others at any time, says the guide.
            return None
        raise WireError(f"expected an event websocket:..., got {event!r:.80}")

    def started(self, call_id: str) -> list[Message]:
        """See `Wire`: Vonage wants no answer."""
        return []

    def media(self, pcm: Pcm) -> list[Message]:
        """See `Wire`."""
        return [write_linear(pcm)]

    def mark(self, name: str) -> list[Message]:
        """See `Wire`."""
        return [json.dumps({"action": "notify", "payload": {"name": name}})]

    def clear(self) -> list[Message]:
        """See `Wire`."""
        return ['{"action": "clear"}']

    def text(self, text: str) -> list[Message]:
        """See `Wire`: nothing but Vonage's own messages belongs on its socket."""
        return []

    def _start(self, given: dict[str, Any]) -> Started:
        if self._begun:
            raise WireError("expected one start, got another")
        coding = given.pop("content-type", None)
        rate = CODINGS.get(coding) if isinstance(coding, str) else None
        if rate is None:
            raise WireError(f"expected a content-type of {', '.join(CODINGS)}, got {coding!r:.80}")
        # The headers of the endpoint are not told apart from the message's own fields.
        del given["event"]
        call = text_of(given, FACTS[0]) if given.get(FACTS[0]) else ""
        given.pop(FACTS[0], None)
        parameters = read_parameters(given)
        self.rate, self._begun = rate, True
        return Started(
            call,
            PhoneCall(
                provider=self.name,
                call_id=call,
                stream_id="",
                caller=parameters.pop(FACTS[1], ""),
                called=parameters.pop(FACTS[2], ""),
                parameters=parameters,
            ),
            token=parameters.pop(TOKEN, ""),
        )


class Vonage:
    """The platform; see `Provider`. The secret is ``VONAGE_SIGNATURE_SECRET``."""

    name = "vonage"
    secret_name = "VONAGE_SIGNATURE_SECRET"

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives the seconds since 1970."""
        self._clock = clock

    @property
    def has_secret(self) -> bool:
        """See `Provider`."""
        return bool(os.environ.get(self.secret_name))

    def is_signed(self, webhook: Webhook) -> bool:
        """See `Provider`: a token (JWT) that holds a hash of the body. What is old is refused."""
        scheme, _, token = webhook.headers.get("authorization", "").partition(" ")
        secret = os.environ.get(self.secret_name, "")
        if scheme.lower() != "bearer" or not secret:
            return False
        claims = read_token(token.strip(), secret)
        issued, hashed = claims.get("iat"), claims.get("payload_hash")
        if not isinstance(issued, int) or not is_recent(issued, self._clock()):
            return False
        if not webhook.body and hashed is None:
            return True
        return bool(hashlib.sha256(webhook.body).hexdigest() == hashed)

    def connect(self, webhook: Webhook, connection: Connection) -> tuple[str, str]:
        """See `Provider`: an NCCO.

        Raises:
            ValueError: the parameters are more than Vonage carries, or the voice is no number.
        """
        options = connection.options
        # An event is about the endpoint; its headers are those of the call, which we have given.
        known = webhook.fields.get("headers")
        fields = known if isinstance(known, dict) else webhook.fields
        facts = {name: str(fields.get(name) or "") for name in FACTS}
        headers = {**options.parameters, **{k: v for k, v in facts.items() if v}}
        headers[TOKEN] = connection.token
        size = len(json.dumps(headers).encode())
        if size > HEADER_BYTES:
            raise ValueError(f"expected parameters of at most {HEADER_BYTES} bytes, got {size}")
        endpoint = {
            "type": "websocket",
            "uri": connection.url,
            "content-type": CODING,
            "headers": headers,
        }
        told: dict[str, Any] = {}
        if options.status_callback:
            told = {"eventUrl": [options.status_callback]}
        if connection.back:
            # The answer to an event of this type may be what happens next.
            told = {"eventType": "synchronous", "eventUrl": [connection.back]}
        actions = [
            *_talk(options.greeting, options),
            *_record(options.record),
            {"action": "connect", "endpoint": [endpoint], **told},
            *([] if connection.back else _talk(options.goodbye, options)),
        ]
        return json.dumps(actions), "application/json"

    def refuse(self, webhook: Webhook) -> tuple[str, str]:
        """See `Provider`. Vonage knows no busy signal; a call with nothing left to do ends."""
        return "[]", "application/json"

    def asks(self, webhook: Webhook) -> bool:
        """See `Returning`: of all events of the endpoint, those that say that it is gone."""
        return webhook.fields.get("status") in LOST

    def dismiss(self, options: TelephoneOptions) -> tuple[str, str]:
        """See `Returning`: a call with nothing left to do ends."""
        return json.dumps(_talk(options.goodbye, options)), "application/json"

    def wire(self) -> VonageWire:
        """See `Provider`."""
        return VonageWire()


def read_linear(data: bytes) -> Pcm:
    """Samples of shape ``(1, n)`` from 16-bit linear sound, little-endian.

    Raises:
        WireError: the bytes are not a whole number of samples.
    """
    if len(data) % 2:
        raise WireError(f"expected a whole number of 16-bit samples, got {len(data)} bytes")
    return np.frombuffer(data, "<i2").astype(np.int16)[None]


def write_linear(pcm: Pcm) -> bytes:
    """16-bit linear sound, little-endian, from samples of shape ``(1, n)``."""
    return pcm.astype("<i2").tobytes()


def read_token(token: str, secret: str) -> dict[str, Any]:
    """The claims of a JSON web token (RFC 7519) of HS256; none if it is not signed so."""
    signed, _, signature = token.rpartition(".")
    head, _, claims = signed.partition(".")
    try:
        made = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
        if not hmac.compare_digest(made, _decoded(signature)):
            return {}
        # RFC 8725, 3.1: it is we who say which algorithm is right.
        if read_json(_decoded(head).decode()).get("alg") != "HS256":
            return {}
        return read_json(_decoded(claims).decode())
    except ValueError:
        return {}


def _decoded(text: str) -> bytes:
    """The bytes of base64 in the form for addresses, which leaves out the padding."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)


def _talk(text: str | None, options: TelephoneOptions) -> list[dict[str, Any]]:
    if not text:
        return []
    action: dict[str, Any] = {"action": "talk", "text": text}
    if options.language:
        action["language"] = options.language
    if options.voice:
        if not options.voice.isdecimal():
            raise ValueError(
                f"expected a voice of Vonage as a style '0', '1', ..., got {options.voice!r}"
            )
        action["style"] = int(options.voice)
    return [action]


def _record(record: bool | Mapping[str, str]) -> list[dict[str, Any]]:
    if record is False:
        return []
    action: dict[str, Any] = {"action": "record", **({} if record is True else record)}
    if "eventUrl" in action:
        action["eventUrl"] = [action["eventUrl"]]
    return [action]
