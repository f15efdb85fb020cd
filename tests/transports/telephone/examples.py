"""What the platforms send, written as their documentation shows it, and what we answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import numpy as np

from fastrtc.audio.convert import Pcm
from fastrtc.context import PhoneCall
from fastrtc.transports.sockets.wire import Sound, Started, Wire
from fastrtc.transports.telephone.exotel import Exotel
from fastrtc.transports.telephone.plivo import Plivo, pack
from fastrtc.transports.telephone.provider import (
    Connection,
    Provider,
    TelephoneOptions,
    Webhook,
)
from fastrtc.transports.telephone.signalwire import SignalWire
from fastrtc.transports.telephone.telnyx import Telnyx
from fastrtc.transports.telephone.twilio import Twilio
from fastrtc.transports.telephone.vonage import Vonage

Messages = dict[str, dict[str, Any]]

TWILIO: Final[Messages] = {
    "connected": {"event": "connected", "protocol": "Call", "version": "1.0.0"},
    "start": {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": "AC01",
            "streamSid": "MZ01",
            "callSid": "CA01",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {
                "fastrtc_token": "secret",
                "From": "+15550001111",
                "To": "+15550002222",
                "shop": "7",
            },
        },
        "streamSid": "MZ01",
    },
    "media": {
        "event": "media",
        "sequenceNumber": "3",
        "media": {"track": "inbound", "chunk": "1", "timestamp": "5", "payload": "/w=="},
        "streamSid": "MZ01",
    },
    "dtmf": {
        "event": "dtmf",
        "streamSid": "MZ01",
        "sequenceNumber": "5",
        "dtmf": {"track": "inbound_track", "digit": "1"},
    },
    "mark": {
        "event": "mark",
        "sequenceNumber": "4",
        "streamSid": "MZ01",
        "mark": {"name": "25"},
    },
    "stop": {
        "event": "stop",
        "sequenceNumber": "5",
        "streamSid": "MZ01",
        "stop": {"accountSid": "AC01", "callSid": "CA01"},
    },
}

TELNYX: Final[Messages] = {
    "connected": {"event": "connected", "version": "1.0.0"},
    "start": {
        "event": "start",
        "sequence_number": "1",
        "stream_id": "32DE0DEA",
        "start": {
            "user_id": "3E6F995F",
            "call_control_id": "v2:T02ll",
            "call_session_id": "ff55a038",
            "from": "+15550001111",
            "to": "+15550002222",
            "tags": ["TAG1", "TAG2"],
            "client_state": "aGF2ZSBhIG5pY2UgZGF5ID1d",
            "custom_parameters": {"fastrtc_token": "secret", "shop": "7"},
            "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
        },
    },
    "media": {
        "event": "media",
        "sequence_number": "4",
        "stream_id": "32DE0DEA",
        "media": {"track": "inbound", "chunk": "2", "timestamp": "5", "payload": "/w=="},
    },
    "dtmf": {
        "event": "dtmf",
        "sequence_number": "5",
        "stream_id": "32DE0DEA",
        "occurred_at": "2026-01-30T12:00:00.000000Z",
        "dtmf": {"digit": "1"},
    },
    "mark": {
        "event": "mark",
        "sequence_number": "6",
        "stream_id": "32DE0DEA",
        "mark": {"name": "25"},
    },
    "stop": {
        "event": "stop",
        "sequence_number": "7",
        "stream_id": "32DE0DEA",
        "stop": {"user_id": "3E6F995F", "call_control_id": "v2:T02ll"},
    },
}

PLIVO: Final[Messages] = {
    "start": {
        "event": "start",
        "sequenceNumber": 1,
        "start": {
            "callId": "12345678-1234",
            "streamId": "87654321-4321",
            "accountId": "MA01",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
        },
        "extra_headers": pack(
            {
                "fastrtc_token": "secret",
                "From": "+15550001111",
                "To": "+15550002222",
                "shop": "7",
            }
        ),
    },
    "media": {
        "event": "media",
        "sequenceNumber": 42,
        "streamId": "87654321-4321",
        "media": {
            "track": "inbound",
            "timestamp": "1705312200000",
            "chunk": 41,
            "payload": "/w==",
        },
        "extra_headers": "shop=7;table=3",
    },
    "dtmf": {
        "event": "dtmf",
        "sequenceNumber": 43,
        "streamId": "87654321-4321",
        "dtmf": {"track": "inbound", "digit": "1", "timestamp": "1705312201000"},
    },
    "mark": {
        "event": "playedStream",
        "sequenceNumber": 44,
        "streamId": "87654321-4321",
        "name": "25",
    },
    "cleared": {"event": "clearedAudio", "sequenceNumber": 45, "streamId": "87654321-4321"},
}

VONAGE: Final[Messages] = {
    "start": {
        "event": "websocket:connected",
        "content-type": "audio/l16;rate=16000",
        "fastrtc_token": "secret",
        "uuid": "aaaaaaaa-bbbb",
        "from": "15550001111",
        "to": "15550002222",
        "shop": "7",
    },
    "dtmf": {"event": "websocket:dtmf", "digit": "1", "duration": 260},
    "mark": {"event": "websocket:notify", "payload": {"name": "25"}},
    "cleared": {"event": "websocket:cleared"},
}

EXOTEL: Final[Messages] = {
    "connected": {"event": "connected"},
    "start": {
        "event": "start",
        "sequence_number": "1",
        "stream_sid": "MZ01",
        "start": {
            "stream_sid": "MZ01",
            "call_sid": "CA01",
            "account_sid": "AC01",
            "from": "+915550001111",
            "to": "+915550002222",
            "custom_parameters": {"fastrtc_token": "secret", "shop": "7"},
            "media_format": {"encoding": "audio/x-raw", "sample_rate": "8000", "bit_rate": "16"},
        },
    },
    "media": {
        "event": "media",
        "sequence_number": "3",
        "stream_sid": "MZ01",
        "media": {"chunk": "2", "timestamp": "200", "payload": "AQD//w=="},
    },
    "dtmf": {
        "event": "dtmf",
        "sequence_number": "7",
        "stream_sid": "MZ01",
        "dtmf": {"digit": "1", "duration": "100"},
    },
    "mark": {
        "event": "mark",
        "sequence_number": "15",
        "stream_sid": "MZ01",
        "mark": {"name": "25"},
    },
    "stop": {
        "event": "stop",
        "sequence_number": "20",
        "stream_sid": "MZ01",
        "stop": {"call_sid": "CA01", "account_sid": "AC01", "reason": "callended"},
    },
}

PROVIDERS: Final[tuple[Provider, ...]] = (
    Twilio(),
    Telnyx(),
    Plivo(),
    Vonage(),
    SignalWire(),
    Exotel(),
)
MESSAGES: Final[Mapping[str, Messages]] = {
    "twilio": TWILIO,
    "telnyx": TELNYX,
    "plivo": PLIVO,
    "vonage": VONAGE,
    "signalwire": TWILIO,
    "exotel": EXOTEL,
}

URL: Final = "https://shop.example/telephone/any/incoming"
SOCKET: Final = "wss://shop.example/telephone/any/handler"
TOKEN: Final = "65a1b2c3.Ab-_9xyzAb-_9xyz.0123456789abcdef0123456789abcdef"
TRICKY: Final = "It's \"Tom & Jerry's\" <shop>"
"""A greeting of the characters that must be escaped."""


def started(wire: Wire, message: dict[str, Any]) -> tuple[Started, PhoneCall]:
    """How a wire reads the message that begins a call."""
    event = wire.read(json.dumps(message))
    assert isinstance(event, Started)
    assert event.phone is not None
    return event, event.phone


def heard(wire: Wire, message: dict[str, Any] | bytes) -> list[int]:
    """The samples that a wire reads in a message."""
    event = wire.read(message if isinstance(message, bytes) else json.dumps(message))
    assert isinstance(event, Sound)
    assert event.pcm.dtype == np.int16
    assert event.pcm.shape[0] == 1
    return [int(sample) for sample in event.pcm[0]]


def frame(rate: int, value: int = 1000) -> Pcm:
    """20 ms of sound."""
    return np.full((1, rate // 50), value, np.int16)


def webhook(
    form: str = "",
    *,
    url: str = URL,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    fields: dict[str, str] | None = None,
) -> Webhook:
    """A webhook, with a form if it has one."""
    read = dict(parse_qsl(form, keep_blank_values=True))
    whole = form.encode() if body is None else body
    return Webhook((url,), {**(fields or {}), **read}, whole, headers or {}, read)


def connection(**options: Any) -> Connection:
    """What a call shall be connected with."""
    return Connection(SOCKET, TOKEN, TelephoneOptions(**options))


def without(message: dict[str, Any], *path: str) -> dict[str, Any]:
    """A message that lacks the part at a path."""
    return _changed(message, path, None)


def with_part(message: dict[str, Any], *path: str, be: Any) -> dict[str, Any]:
    """A message with something else at a path."""
    return _changed(message, path, (be,))


def _changed(
    message: dict[str, Any], path: tuple[str, ...], to: tuple[Any] | None
) -> dict[str, Any]:
    name, *rest = path
    if rest:
        return {**message, name: _changed(message[name], tuple(rest), to)}
    kept = {key: value for key, value in message.items() if key != name}
    return kept if to is None else {**kept, name: to[0]}
