"""Exotel: the Voicebot applet, whose socket's address we are asked for.

Messages: https://developer.exotel.com/docs/agentstream/websocket-protocol. Addresses, rates and
sizes: https://developer.exotel.com/docs/agentstream/stream-voicebot-applet.
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlencode

from fastrtc.audio.convert import Pcm
from fastrtc.audio.far import MARK_EVERY
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
from fastrtc.transports.telephone.provider import Connection, Webhook
from fastrtc.transports.telephone.twilio import LEAD, TOKEN, read_parameters
from fastrtc.transports.telephone.vonage import read_linear, write_linear

RATES: Final = (8_000, 16_000, 24_000)
"""Hz that Exotel may be asked for."""
RATE: Final = 16_000
"""What we ask for: 0.1 s of it is 3200 bytes, and either is given as the least to send."""
CHUNK: Final = MARK_EVERY
"""Frames (0.1 s) that are sent at once: smaller pieces may be distorted. At each of the rates it is
a multiple of 320 bytes, as it has to be, and marks fall between two."""
MOST_PARAMETERS: Final = 3
QUERY_CHARACTERS: Final = 256
"""Parameters in the address of a socket, and their characters, that Exotel carries."""


class ExotelWire:
    """The Voicebot applet: JSON texts, linear sound in base64, sent 0.1 s at a time."""

    name = "exotel"
    lead = LEAD + CHUNK
    has_marks = True
    rate = 8_000
    channels = 1

    def __init__(self) -> None:
        self._stream = ""
        self._waiting = b""
        """Sound that is less than may be sent."""

    def read(self, message: Message) -> Event | None:
        """See `Wire`."""
        given = read_json(message)
        event = given.get("event")
        if event == "media":
            return Sound(read_linear(read_payload(part(given, "media").get("payload"))))
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
        """See `Wire`: Exotel wants no answer."""
        return []

    def media(self, pcm: Pcm) -> list[Message]:
        """See `Wire`: nothing, until there is enough."""
        self._waiting += write_linear(pcm)
        if len(self._waiting) < self._chunk:
            return []
        return self._send()

    def mark(self, name: str) -> list[Message]:
        """See `Wire`: with what waits, and silence after it. Nothing need come that fills it up."""
        self._waiting = self._waiting and self._waiting.ljust(self._chunk, b"\0")
        mark = {"event": "mark", "stream_sid": self._stream, "mark": {"name": name}}
        return [*(self._send() if self._waiting else []), json.dumps(mark)]

    def clear(self) -> list[Message]:
        """See `Wire`."""
        self._waiting = b""
        return [json.dumps({"event": "clear", "stream_sid": self._stream})]

    def text(self, text: str) -> list[Message]:
        """See `Wire`: nothing but Exotel's own messages belongs on its socket."""
        return []

    @property
    def _chunk(self) -> int:
        """Bytes."""
        return CHUNK * 2 * self.rate // 50

    def _send(self) -> list[Message]:
        sent, self._waiting = self._waiting[: self._chunk], self._waiting[self._chunk :]
        media = {"payload": encode_payload(sent)}
        return [json.dumps({"event": "media", "stream_sid": self._stream, "media": media})]

    def _start(self, start: dict[str, Any]) -> Started:
        if self._stream:
            raise WireError("expected one start, got another")
        stream, call = text_of(start, "stream_sid"), text_of(start, "call_sid")
        coding = part(start, "media_format")
        rates = {str(rate): rate for rate in RATES}
        rate = rates.get(str(coding.get("sample_rate")))
        # How linear sound is called differs; mu-law is what some accounts have instead.
        if rate is None or "mulaw" in str(coding.get("encoding")):
            raise WireError(
                f"expected a media_format of linear sound with a sample_rate of {RATES}, got "
                f"{coding!r:.200}"
            )
        self.rate = rate
        parameters = read_parameters(start.get("custom_parameters"))
        self._stream = stream
        return Started(
            stream,
            PhoneCall(
                provider=self.name,
                call_id=call,
                stream_id=stream,
                caller=text_of(start, "from") if start.get("from") else "",
                called=text_of(start, "to") if start.get("to") else "",
                parameters=parameters,
            ),
            token=parameters.pop(TOKEN, ""),
        )


class Exotel:
    """The platform; see `Provider`. It signs nothing: anybody may ask for an address.

    So its socket should be protected by ``authorize`` or ``dependencies``.
    """

    name = "exotel"
    secret_name = ""
    has_secret = False

    def is_signed(self, webhook: Webhook) -> bool:
        """See `Provider`."""
        return False

    def connect(self, webhook: Webhook, connection: Connection) -> tuple[str, str]:
        """See `Provider`: where the socket is. Greeting, goodbye and recording belong in the flow.

        Raises:
            ValueError: the parameters are more than Exotel carries.
        """
        parameters = {**connection.options.parameters, TOKEN: connection.token}
        query = urlencode(parameters)
        if len(parameters) > MOST_PARAMETERS or len(query) > QUERY_CHARACTERS:
            raise ValueError(
                f"expected at most {MOST_PARAMETERS} parameters of {QUERY_CHARACTERS} characters "
                f"with the token, got {len(parameters)} of {len(query)}"
            )
        url = f"{connection.url}?{query}&sample-rate={RATE}"
        return json.dumps({"url": url}), "application/json"

    def refuse(self, webhook: Webhook) -> tuple[str, str]:
        """See `Provider`. There is no such answer: without an address the flow goes on."""
        return "{}", "application/json"

    def wire(self) -> ExotelWire:
        """See `Provider`."""
        return ExotelWire()
