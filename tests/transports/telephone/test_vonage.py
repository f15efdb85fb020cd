"""Vonage: call control objects, signed webhooks, and WebSocket endpoints."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import numpy as np
import pytest

from fastrtc.transports.sockets.wire import WireError
from fastrtc.transports.telephone.provider import Webhook
from fastrtc.transports.telephone.telnyx import TOLERANCE
from fastrtc.transports.telephone.vonage import HEADER_BYTES, Vonage, VonageWire
from tests.transports.telephone.examples import (
    SOCKET,
    TOKEN,
    TRICKY,
    VONAGE,
    connection,
    frame,
    heard,
    started,
    webhook,
    with_part,
    without,
)

NOW = 1_700_000_000
SECRET = "vonage secret"
FACTS = {"from": "15550001111", "to": "15550002222", "uuid": "aaaa"}
BODY = json.dumps(FACTS).encode()

# Messages


def test_a_start_has_the_facts_of_the_call() -> None:
    event, phone = started(VonageWire(), VONAGE["start"])
    assert event.call_id == phone.call_id == "aaaaaaaa-bbbb"
    assert phone.stream_id == ""


def test_a_document_of_your_own_need_not_tell_the_facts() -> None:
    message = {"event": "websocket:connected", "content-type": "audio/l16;rate=8000"}
    event, phone = started(VonageWire(), message)
    assert (event.call_id, event.token, phone.call_id, phone.parameters) == ("", "", "", {})


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
def test_the_rate_is_that_of_the_start(rate: int) -> None:
    wire = VonageWire()
    started(wire, with_part(VONAGE["start"], "content-type", be=f"audio/l16;rate={rate}"))
    assert wire.rate == rate


@pytest.mark.parametrize("coding", [None, 7, ["audio/l16"], "audio/l16", "audio/l16;rate=44100"])
def test_another_coding_is_refused(coding: Any) -> None:
    with pytest.raises(WireError, match="content-type"):
        VonageWire().read(json.dumps(with_part(VONAGE["start"], "content-type", be=coding)))


@pytest.mark.parametrize("uuid", [7, ["a"], "x" * 300])
def test_an_id_that_is_none_makes_no_sense(uuid: Any) -> None:
    with pytest.raises(WireError, match="uuid"):
        VonageWire().read(json.dumps(with_part(VONAGE["start"], "uuid", be=uuid)))


def test_sound_is_read_as_linear_samples() -> None:
    assert heard(VonageWire(), b"\x01\x00\xff\xff\x00\x80") == [1, -1, -32768]


@pytest.mark.parametrize("size", [1, 3, 639])
def test_half_a_sample_makes_no_sense(size: int) -> None:
    with pytest.raises(WireError, match=f"{size} bytes"):
        VonageWire().read(bytes(size))


@pytest.mark.parametrize("event", ["websocket:cleared", "websocket:media:update"])
def test_events_of_no_interest_are_passed_over(event: str) -> None:
    assert VonageWire().read(json.dumps({"event": event})) is None


@pytest.mark.parametrize("path", [("payload",), ("payload", "name")])
def test_a_notification_that_lacks_a_part_makes_no_sense(path: tuple[str, ...]) -> None:
    with pytest.raises(WireError, match=path[-1]):
        VonageWire().read(json.dumps(without(VONAGE["mark"], *path)))


@pytest.mark.parametrize(("rate", "size"), [(8_000, 320), (16_000, 640)])
def test_a_message_is_20_ms_of_sound(rate: int, size: int) -> None:
    (message,) = VonageWire().media(frame(rate))
    assert isinstance(message, bytes)
    assert len(message) == size
    assert np.array_equal(np.frombuffer(message, "<i2"), frame(rate)[0])


def test_what_is_written_is_as_vonage_reads_it() -> None:
    wire = VonageWire()
    assert [json.loads(one) for one in (*wire.mark("25"), *wire.clear())] == [
        {"action": "notify", "payload": {"name": "25"}},
        {"action": "clear"},
    ]


# The document


def test_the_document_connects_the_call() -> None:
    options = {"greeting": TRICKY, "language": "en-GB", "voice": "2"}
    given = connection(status_callback="https://a.example", parameters={"shop": "7"}, **options)
    document, _ = Vonage().connect(webhook(fields=FACTS), given)
    greeting, connect, goodbye = json.loads(document)
    assert greeting == {"action": "talk", "text": TRICKY, "language": "en-GB", "style": 2}
    assert connect == {
        "action": "connect",
        "endpoint": [
            {
                "type": "websocket",
                "uri": SOCKET,
                "content-type": "audio/l16;rate=16000",
                "headers": {"shop": "7", **FACTS, "fastrtc_token": TOKEN},
            }
        ],
        "eventUrl": ["https://a.example"],
    }
    assert goodbye["text"] == "Goodbye."


def test_what_the_document_carries_comes_back_on_the_socket() -> None:
    given = connection(greeting=None, goodbye=None, parameters={"shop": "<7> & 'ü'"})
    document, _ = Vonage().connect(webhook(fields=FACTS), given)
    (endpoint,) = json.loads(document)[0]["endpoint"]
    message = {
        "event": "websocket:connected",
        "content-type": endpoint["content-type"],
        **endpoint["headers"],
    }
    event, phone = started(VonageWire(), message)
    assert (event.token, event.call_id) == (TOKEN, "aaaa")
    assert (phone.caller, phone.called) == ("15550001111", "15550002222")
    assert phone.parameters == {"shop": "<7> & 'ü'"}


def test_a_recording_goes_on_beside_the_call() -> None:
    given = connection(greeting=None, record={"format": "wav", "eventUrl": "https://a.example"})
    document, _ = Vonage().connect(webhook(fields=FACTS), given)
    record = json.loads(document)[0]
    assert record == {"action": "record", "format": "wav", "eventUrl": ["https://a.example"]}


def test_more_parameters_than_vonage_carries_are_refused() -> None:
    with pytest.raises(ValueError, match=f"at most {HEADER_BYTES} bytes"):
        Vonage().connect(webhook(fields=FACTS), connection(parameters={"shop": "7" * 500}))


def test_a_voice_that_is_no_style_is_refused() -> None:
    with pytest.raises(ValueError, match="'alice'"):
        Vonage().connect(webhook(fields=FACTS), connection(voice="alice"))


def test_who_is_turned_away_has_nothing_to_do() -> None:
    assert json.loads(Vonage().refuse(webhook())[0]) == []


# The signature


def token(claims: Any, *, secret: str = SECRET, algorithm: str = "HS256") -> str:
    """A token as Vonage signs it."""
    head = {"alg": algorithm, "typ": "JWT"}
    parts = [json.dumps(one).encode() for one in (head, claims)]
    text = ".".join(base64.urlsafe_b64encode(one).decode().rstrip("=") for one in parts)
    made = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    return text + "." + base64.urlsafe_b64encode(made).decode().rstrip("=")


def claims(body: bytes = BODY, **others: Any) -> dict[str, Any]:
    hashed = hashlib.sha256(body).hexdigest()
    return {"iss": "Vonage", "iat": NOW, "jti": "a", "payload_hash": hashed, **others}


def posted(bearer: str, body: bytes = BODY) -> Webhook:
    return webhook(body=body, headers={"authorization": f"Bearer {bearer}"})


def is_signed(given: Webhook, *, now: float = NOW) -> bool:
    return Vonage(clock=lambda: now).is_signed(given)


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VONAGE_SIGNATURE_SECRET", SECRET)


def test_what_vonage_has_signed_is_taken() -> None:
    assert is_signed(posted(token(claims())))


@pytest.mark.parametrize("given", [claims(b""), without(claims(), "payload_hash")])
def test_a_webhook_without_a_body_is_taken(given: dict[str, Any]) -> None:
    assert is_signed(posted(token(given), b""))


def test_a_change_of_any_byte_of_the_body_is_found_out() -> None:
    for place in range(len(BODY)):
        changed = bytearray(BODY)
        changed[place] ^= 1
        assert not is_signed(posted(token(claims()), bytes(changed)))


def test_a_change_of_any_byte_of_the_token_is_found_out() -> None:
    good = token(claims())
    # The last character of base64 has bits that mean nothing.
    for place in range(len(good) - 1):
        other = "A" if good[place] != "A" else "B"
        assert not is_signed(posted(good[:place] + other + good[place + 1 :]))


@pytest.mark.parametrize("late", [-TOLERANCE - 1, TOLERANCE + 1])
def test_what_is_old_or_comes_from_the_future_is_refused(late: int) -> None:
    assert not is_signed(posted(token(claims())), now=NOW + late)


@pytest.mark.parametrize(
    "given",
    [
        without(claims(), "payload_hash"),
        without(claims(), "iat"),
        claims(iat="1700000000"),
        claims(iat=None),
        claims(payload_hash=7),
        claims(payload_hash="é"),
        [],
        "claims",
    ],
)
def test_claims_that_lack_something_are_refused(given: Any) -> None:
    assert not is_signed(posted(token(given)))


def test_it_is_not_the_token_that_says_how_it_is_signed() -> None:
    assert not is_signed(posted(token(claims(), algorithm="none")))


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer a.b", "Bearer é.é.é", "Basic x"]
)
def test_other_headers_are_refused(header: str) -> None:
    assert not is_signed(webhook(body=BODY, headers={"authorization": header}))


@pytest.mark.parametrize("secret", ["", "another"])
def test_another_secret_or_none_verifies_nothing(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("VONAGE_SIGNATURE_SECRET", secret)
    assert not is_signed(posted(token(claims())))


def test_a_token_of_no_secret_is_not_taken_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("VONAGE_SIGNATURE_SECRET")
    assert not is_signed(posted(token(claims(), secret="")))
