"""The dialect of ``/websocket/offer``: for pages and programs. docs/wire.md describes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fastrtc.audio.convert import Pcm
from fastrtc.audio.g711 import ALAW, MULAW
from fastrtc.audio.playout import FRAMES_PER_SECOND
from fastrtc.transports.opus import RATE as OPUS_RATE
from fastrtc.transports.opus import OpusDecoder, OpusEncoder
from fastrtc.transports.sockets.wire import (
    Asked,
    Event,
    Marked,
    Message,
    Sound,
    Started,
    Stopped,
    WireError,
    encode_payload,
    part,
    read_json,
    read_payload,
    text_of,
)

LEAD: Final = 4
"""Frames (80 ms) that are sent ahead. A page's own buffer is behind that."""
ENCODINGS: Final = ("pcm_s16le", "mulaw", "alaw", "opus")
LOWEST_RATE: Final = 8_000
HIGHEST_RATE: Final = 48_000


@dataclass(frozen=True)
class Format:
    """How sound is sent, in both directions.

    Attributes:
        encoding: one of `ENCODINGS`; Opus in packets of one frame.
        sample_rate: Hz, a multiple of 50.
        channels: 1 or 2, interleaved.
        framing: ``"json"`` with base64, or ``"binary"``.
        marks: whether the client returns marks.
    """

    encoding: str
    sample_rate: int
    channels: int = 1
    framing: str = "json"
    marks: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As it stands in a message."""
        return dict(self.__dict__)


def read_format(given: dict[str, Any], otherwise: int) -> Format:
    """The format that a client asks for.

    Args:
        given: the object ``format`` of its start.
        otherwise: Hz, where it names no rate.

    Raises:
        WireError: it is none that can be served.
    """
    encoding = given.get("encoding", "mulaw")
    if encoding not in ENCODINGS:
        raise WireError(f"expected an encoding of {', '.join(ENCODINGS)}, got {encoding!r:.80}")
    rate = given.get("sample_rate", otherwise)
    whole = isinstance(rate, int) and not isinstance(rate, bool)
    if not whole or not LOWEST_RATE <= rate <= HIGHEST_RATE or rate % FRAMES_PER_SECOND:
        raise WireError(
            f"expected a sample_rate of {LOWEST_RATE} to {HIGHEST_RATE} Hz that is a multiple of "
            f"{FRAMES_PER_SECOND}, got {rate!r:.80}"
        )
    channels = given.get("channels", 1)
    if isinstance(channels, bool) or channels not in (1, 2):
        raise WireError(f"expected 1 or 2 channels, got {channels!r:.80}")
    framing = given.get("framing", "json")
    if framing not in ("json", "binary"):
        raise WireError(f'expected the framing "json" or "binary", got {framing!r:.80}')
    return Format(encoding, rate, int(channels), framing, given.get("marks") is True)


class WebSocketWire:
    """JSON texts, with sound in them or in binary messages between them.

    A client that asks for no format gets that of the old package: mu-law, at the handler's rates.
    """

    lead = LEAD

    def __init__(self, rate_in: int, rate_out: int) -> None:
        """The handler's rates, in Hz."""
        self._rate_in = rate_in
        self._begun = False
        self._format: Format | None = None
        self._use(Format("mulaw", rate_out))

    def read(self, message: Message) -> Event | None:
        """See `Wire`."""
        if isinstance(message, bytes):
            if not self.binary:
                raise WireError(
                    "expected JSON texts, as no binary framing was asked for, got a binary "
                    f"message of {len(message)} bytes"
                )
            return self._sound(message)
        given = read_json(message)
        event = given.get("event")
        if event == "media":
            return self._sound(read_payload(part(given, "media").get("payload")))
        if event == "mark":
            return Marked(text_of(part(given, "mark"), "name"))
        if event == "ping":
            return Asked('{"event": "pong"}')
        if event == "start":
            return self._start(given)
        if event == "stop":
            return Stopped()
        if isinstance(event, str) or isinstance(given.get("type"), str):
            return None  # Of a later version, or the page's own.
        raise WireError(f"expected an object with an event, got {message[:80]!r}")

    def started(self, call_id: str) -> list[Message]:
        """See `Wire`: a client of the old protocol expects no answer."""
        if self._format is None:
            return []
        told = {"event": "started", "websocket_id": call_id, "format": self._format.as_dict()}
        return [json.dumps(told)]

    def media(self, pcm: Pcm) -> list[Message]:
        """See `Wire`."""
        payloads = self._encode(pcm)
        if self.binary:
            return list(payloads)
        return [
            f'{{"event": "media", "media": {{"payload": "{encode_payload(payload)}"}}}}'
            for payload in payloads
        ]

    def mark(self, name: str) -> list[Message]:
        """See `Wire`."""
        return [json.dumps({"event": "mark", "mark": {"name": name}})] if self.has_marks else []

    def clear(self) -> list[Message]:
        """See `Wire`: a client of the old protocol knows no such message."""
        return [] if self._format is None else ['{"event": "clear"}']

    def text(self, text: str) -> list[Message]:
        """See `Wire`."""
        return [text]

    def _start(self, given: dict[str, Any]) -> Started:
        if self._begun:
            raise WireError("expected one start, got another")
        call_id = text_of(given, "websocket_id") if given.get("websocket_id") is not None else ""
        if given.get("format") is not None:
            wanted = read_format(part(given, "format"), self.rate)
            self._rate_in = wanted.sample_rate
            self._format = wanted
            self._use(wanted)
        self._begun = True
        return Started(
            call_id,
            watched=given.get("watch") is True,
            # Without an id there is no call to come back to.
            reconnected=bool(call_id) and given.get("reconnected") is True,
        )

    def _use(self, chosen: Format) -> None:
        self.rate, self.channels = chosen.sample_rate, chosen.channels
        self.binary, self.has_marks = chosen.framing == "binary", chosen.marks
        channels = chosen.channels
        self._encode: Callable[[Pcm], list[bytes]]
        self._decode: Callable[[bytes], Pcm]
        if chosen.encoding == "opus":
            decoder = OpusDecoder(channels)
            self._rate_in = OPUS_RATE
            self._encode = OpusEncoder(chosen.sample_rate, channels).encode
            self._decode = lambda data: _packet(decoder, data)
        elif chosen.encoding == "pcm_s16le":
            self._encode = lambda pcm: [np.ascontiguousarray(pcm.T).astype("<i2").tobytes()]
            self._decode = lambda data: _samples(data, channels)
        else:
            law = ALAW if chosen.encoding == "alaw" else MULAW
            self._encode = lambda pcm: [law.encode(pcm)]
            self._decode = lambda data: law.decode(data, channels)

    def _sound(self, data: bytes) -> Sound:
        try:
            return Sound(self._decode(data), self._rate_in)
        except WireError:
            raise
        except ValueError:
            raise WireError(
                f"expected a whole number of samples of {self.channels} channels, got "
                f"{len(data)} bytes"
            ) from None


def _samples(data: bytes, channels: int) -> Pcm:
    pcm: Pcm = np.frombuffer(data, "<i2").astype(np.int16).reshape(-1, channels).T
    return pcm


def _packet(decoder: OpusDecoder, data: bytes) -> Pcm:
    pcm = decoder.decode(data)
    if pcm is None:
        raise WireError(f"expected a packet of Opus, got {len(data)} bytes that are none")
    return pcm
