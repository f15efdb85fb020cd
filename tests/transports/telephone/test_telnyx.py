"""Telnyx: TeXML, its signature, and its media streaming."""

from __future__ import annotations

import base64
import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fastrtc.audio.g711 import MULAW
from fastrtc.transports.sockets.wire import Stopped, WireError
from fastrtc.transports.telephone.provider import Webhook
from fastrtc.transports.telephone.telnyx import TOLERANCE, Telnyx, TelnyxWire
from tests.transports.telephone.examples import (
    SOCKET,
    TELNYX,
    TOKEN,
    TRICKY,
    connection,
    frame,
    heard,
    started,
    webhook,
    with_part,
    without,
)

NOW = 1_700_000_000
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
FORM = "From=%2B15550001111&To=%2B15550002222&CallSid=v3%3Aabc"

# Messages


def test_a_start_has_the_facts_of_the_call() -> None:
    event, phone = started(TelnyxWire(), TELNYX["start"])
    assert event.call_id == phone.stream_id == "32DE0DEA"
    assert phone.call_id == "v2:T02ll"


def test_a_caller_may_be_unknown() -> None:
    _, phone = started(TelnyxWire(), without(TELNYX["start"], "start", "from"))
    assert phone.caller == ""


@pytest.mark.parametrize(
    "path", [("stream_id",), ("start",), ("start", "call_control_id"), ("start", "media_format")]
)
def test_a_start_that_lacks_a_part_makes_no_sense(path: tuple[str, ...]) -> None:
    with pytest.raises(WireError, match=path[-1]):
        TelnyxWire().read(json.dumps(without(TELNYX["start"], *path)))


@pytest.mark.parametrize(
    ("name", "value"), [("encoding", "G722"), ("sample_rate", 16000), ("channels", 2)]
)
def test_another_coding_is_refused(name: str, value: Any) -> None:
    message = with_part(TELNYX["start"], "start", "media_format", name, be=value)
    with pytest.raises(WireError, match="media_format"):
        TelnyxWire().read(json.dumps(message))


def test_sound_is_read_as_mulaw() -> None:
    assert heard(TelnyxWire(), TELNYX["media"]) == [0]


def test_our_own_sound_is_not_read_back() -> None:
    message = with_part(TELNYX["media"], "media", "track", be="outbound")
    assert TelnyxWire().read(json.dumps(message)) is None


def test_a_stop_ends_the_call() -> None:
    assert TelnyxWire().read(json.dumps(TELNYX["stop"])) == Stopped()


def test_an_error_of_telnyx_is_told() -> None:
    error = {
        "event": "error",
        "stream_id": "32DE0DEA",
        "payload": {"code": 100003, "title": "malformed_frame", "detail": "not a frame"},
    }
    with pytest.raises(WireError, match="malformed_frame"):
        TelnyxWire().read(json.dumps(error))


def test_what_is_written_is_as_telnyx_reads_it() -> None:
    wire = TelnyxWire()
    (media,) = wire.media(frame(8000))
    assert isinstance(media, str)
    payload = base64.b64decode(json.loads(media)["media"]["payload"])
    np.testing.assert_allclose(MULAW.decode(payload), frame(8000), atol=32)
    assert json.loads(media)["event"] == "media"
    assert [json.loads(one) for one in (*wire.mark("25"), *wire.clear())] == [
        {"event": "mark", "mark": {"name": "25"}},
        {"event": "clear"},
    ]


# The document


def test_the_document_asks_for_mulaw_both_ways() -> None:
    options = {"greeting": TRICKY, "status_callback": "https://a.example/?b=1&c=2", "record": True}
    document, _ = Telnyx().connect(webhook(FORM), connection(**options))
    response = ElementTree.fromstring(document)
    stream = response.find("Connect/Stream")
    assert stream is not None
    assert stream.attrib == {
        "url": SOCKET,
        "statusCallback": "https://a.example/?b=1&c=2",
        "codec": "PCMU",
        "bidirectionalMode": "rtp",
        "bidirectionalCodec": "PCMU",
        "bidirectionalSamplingRate": "8000",
    }
    assert [said.text for said in response.iter("Say")] == [TRICKY, "Goodbye."]
    assert response.find("Start/Recording") is not None


def test_the_document_carries_the_token_and_the_parameters() -> None:
    document, _ = Telnyx().connect(webhook(FORM), connection(parameters={"shop": "<7> & 'ü'"}))
    found = {one.get("name"): one.get("value") for one in ElementTree.fromstring(document).iter()}
    assert found["fastrtc_token"] == TOKEN
    assert found["shop"] == "<7> & 'ü'"


def test_who_is_turned_away_hears_the_busy_signal() -> None:
    document, _ = Telnyx().refuse(webhook())
    reject = ElementTree.fromstring(document).find("Reject")
    assert reject is not None
    assert reject.get("reason") == "busy"


# The signature


def signed(body: bytes, *, at: str = str(NOW)) -> dict[str, str]:
    """The headers of a webhook that Telnyx has signed."""
    signature = KEY.sign(at.encode() + b"|" + body)
    return {
        "telnyx-timestamp": at,
        "telnyx-signature-ed25519": base64.b64encode(signature).decode(),
    }


def is_signed(given: Webhook, *, now: float = NOW) -> bool:
    return Telnyx(clock=lambda: now).is_signed(given)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELNYX_PUBLIC_KEY", PUBLIC)


def test_what_telnyx_has_signed_is_taken() -> None:
    assert is_signed(webhook(FORM, headers=signed(FORM.encode())))


def test_a_change_of_any_byte_is_found_out() -> None:
    headers = signed(FORM.encode())
    for place in range(len(FORM)):
        changed = bytearray(FORM.encode())
        changed[place] ^= 1
        assert not is_signed(webhook(FORM, body=bytes(changed), headers=headers))


@pytest.mark.parametrize("name", ["telnyx-timestamp", "telnyx-signature-ed25519"])
@pytest.mark.parametrize("value", ["", "0", "é", "AAAA", "x" * 88])
def test_other_headers_are_refused(name: str, value: str) -> None:
    assert not is_signed(webhook(FORM, headers={**signed(FORM.encode()), name: value}))


@pytest.mark.parametrize("late", [-TOLERANCE - 1, TOLERANCE + 1, 10**9])
def test_what_is_old_or_comes_from_the_future_is_refused(late: int) -> None:
    given = webhook(FORM, headers=signed(FORM.encode()))
    assert is_signed(given, now=NOW + TOLERANCE)
    assert not is_signed(given, now=NOW + late)


@pytest.mark.parametrize("at", ["", "now", "1.5", "9" * 400, "9" * 5000])
def test_a_signed_time_that_is_none_is_refused(at: str) -> None:
    assert not is_signed(webhook(FORM, headers=signed(FORM.encode(), at=at)))


@pytest.mark.parametrize("key", ["", "AAAA", "é", base64.b64encode(bytes(32)).decode()])
def test_another_key_or_none_verifies_nothing(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("TELNYX_PUBLIC_KEY", key)
    assert not is_signed(webhook(FORM, headers=signed(FORM.encode())))
