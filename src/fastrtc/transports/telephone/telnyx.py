"""Telnyx: TeXML, its signature, and its media streaming.

Messages: https://developers.telnyx.com/api-reference/websockets/stream-call-media-over-websocket.
The document: https://developers.telnyx.com/docs/voice/programmable-voice/texml-verbs/stream. The
signature: https://developers.telnyx.com/docs/development/sdk/python/webhooks.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable
from typing import Any, Final
from xml.etree import ElementTree

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

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
    LEAD,
    TOKEN,
    document,
    farewell,
    read_parameters,
    twiml,
)

STREAM: Final = {
    "codec": "PCMU",
    "bidirectionalMode": "rtp",
    "bidirectionalCodec": "PCMU",
    "bidirectionalSamplingRate": "8000",
}
"""What TeXML says of the sound, which TwiML does not: mu-law at 8 kHz both ways."""
CODING: Final = {"encoding": "PCMU", "sample_rate": 8_000, "channels": 1}
"""The same, as the start of the stream has it."""
TOLERANCE: Final = 300
"""Seconds by which the time of a signed webhook may differ from ours."""


class TelnyxWire:
    """Media streaming: JSON texts, mu-law at 8 kHz in base64."""

    name = "telnyx"
    lead = LEAD
    has_marks = True
    rate = 8_000
    channels = 1

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
            return self._start(given)
        if event == "stop":
            return Stopped()
        if event == "connected":
            return None
        if event == "error":
            # It is Telnyx that could make no sense of us; the line tells of it in the same way.
            error = given.get("payload")
            raise WireError(f"expected Telnyx to take what was sent, got its error {error!r:.200}")
        raise WireError(
            "expected the event connected, start, media, mark, dtmf, stop or error, got "
            f"{event!r:.80}"
        )

    def started(self, call_id: str) -> list[Message]:
        """See `Wire`: Telnyx wants no answer."""
        return []

    def media(self, pcm: Pcm) -> list[Message]:
        """See `Wire`."""
        payload = encode_payload(MULAW.encode(pcm))
        return [f'{{"event": "media", "media": {{"payload": "{payload}"}}}}']

    def mark(self, name: str) -> list[Message]:
        """See `Wire`."""
        return [json.dumps({"event": "mark", "mark": {"name": name}})]

    def clear(self) -> list[Message]:
        """See `Wire`."""
        return ['{"event": "clear"}']

    def text(self, text: str) -> list[Message]:
        """See `Wire`: nothing but Telnyx's own messages belongs on its socket."""
        return []

    def _start(self, given: dict[str, Any]) -> Started:
        stream = text_of(given, "stream_id")
        start = part(given, "start")
        coding = part(start, "media_format")
        if any(coding.get(name, value) != value for name, value in CODING.items()):
            raise WireError(f"expected the media_format {CODING}, got {coding!r:.200}")
        parameters = read_parameters(start.get("custom_parameters"))
        return Started(
            stream,
            PhoneCall(
                provider=self.name,
                call_id=text_of(start, "call_control_id"),
                stream_id=stream,
                caller=text_of(start, "from") if start.get("from") else "",
                called=text_of(start, "to") if start.get("to") else "",
                parameters=parameters,
            ),
            token=parameters.pop(TOKEN, ""),
        )


class Telnyx:
    """The platform; see `Provider`. The key is ``TELNYX_PUBLIC_KEY``, in base64."""

    name = "telnyx"
    secret_name = "TELNYX_PUBLIC_KEY"

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives the seconds since 1970."""
        self._clock = clock

    @property
    def has_secret(self) -> bool:
        """See `Provider`."""
        return bool(os.environ.get(self.secret_name))

    def is_signed(self, webhook: Webhook) -> bool:
        """See `Provider`: Ed25519 over the time and the body. What is old is refused."""
        given = webhook.headers.get("telnyx-signature-ed25519", "")
        said = webhook.headers.get("telnyx-timestamp", "")
        key = os.environ.get(self.secret_name, "")
        try:
            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True))
            signature = base64.b64decode(given, validate=True)
            public.verify(signature, said.encode() + b"|" + webhook.body)
            return is_recent(int(said), self._clock())
        except (ValueError, InvalidSignature):
            return False

    def connect(self, webhook: Webhook, connection: Connection) -> tuple[str, str]:
        """See `Provider`: TeXML. Who calls whom is told on the media socket, too."""
        response = ElementTree.fromstring(twiml(connection, {}))
        for stream in response.iter("Stream"):
            stream.attrib.update(STREAM)
        texml = ElementTree.tostring(response, "UTF-8", xml_declaration=True)
        return texml.decode(), "application/xml"

    def refuse(self, webhook: Webhook) -> tuple[str, str]:
        """See `Provider`."""
        return document('<Reject reason="busy"/>'), "application/xml"

    def asks(self, webhook: Webhook) -> bool:
        """See `Returning`: a redirect always does."""
        return True

    def dismiss(self, options: TelephoneOptions) -> tuple[str, str]:
        """See `Returning`."""
        return farewell(options), "application/xml"

    def wire(self) -> TelnyxWire:
        """See `Provider`."""
        return TelnyxWire()


def is_recent(said: int, now: float) -> bool:
    """Whether a time, in seconds since 1970, is not far from now."""
    # Between whole numbers: one of 400 digits is no float.
    return abs(said - int(now)) <= TOLERANCE
