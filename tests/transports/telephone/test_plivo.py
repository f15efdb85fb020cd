"""Plivo: its XML, its signature (V3), and its audio streams."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrtc.audio.g711 import MULAW
from fastrtc.transports.sockets.wire import Stopped, WireError
from fastrtc.transports.telephone.plivo import HEADER_BYTES, Plivo, PlivoWire, pack, unpack
from fastrtc.transports.telephone.provider import Webhook
from tests.transports.telephone.examples import (
    PLIVO,
    SOCKET,
    TOKEN,
    TRICKY,
    URL,
    connection,
    frame,
    heard,
    started,
    webhook,
    with_part,
    without,
)

SECRET = "plivo secret"
NONCE = "12345"
FORM = "To=%2B15550002222&From=%2B15550001111&CallUUID=abc"

# Messages


def test_a_start_has_the_facts_of_the_call() -> None:
    event, phone = started(PlivoWire(), PLIVO["start"])
    assert event.call_id == phone.stream_id == "87654321-4321"
    assert phone.call_id == "12345678-1234"


def test_extra_headers_of_a_document_of_your_own_are_parameters() -> None:
    headers = "shop=7;table=3"
    _, phone = started(PlivoWire(), with_part(PLIVO["start"], "extra_headers", be=headers))
    assert phone.parameters == {"shop": "7", "table": "3"}


@pytest.mark.parametrize("headers", [None, "", "{}", {}])
def test_there_may_be_no_extra_headers(headers: Any) -> None:
    event, phone = started(PlivoWire(), with_part(PLIVO["start"], "extra_headers", be=headers))
    assert (event.token, phone.parameters) == ("", {})


@pytest.mark.parametrize("headers", [7, ["a"], "fastrtc=!", "fastrtc=", "fastrtc=AAAA"])
def test_extra_headers_that_are_none_make_no_sense(headers: Any) -> None:
    message = with_part(PLIVO["start"], "extra_headers", be=headers)
    with pytest.raises(WireError, match="expected"):
        PlivoWire().read(json.dumps(message))


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=5))
def test_what_is_packed_is_unpacked(parameters: dict[str, str]) -> None:
    name, _, coded = pack(parameters).partition("=")
    assert name == "fastrtc"
    assert coded.isascii()
    assert coded.isalnum()
    assert unpack(coded) == unpack(coded.lower()) == parameters


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 100_000])
def test_what_was_not_packed_makes_no_sense(data: bytes) -> None:
    with pytest.raises(WireError, match="base32"):
        unpack(base64.b32encode(data).decode())


@pytest.mark.parametrize(
    "path", [("start",), ("start", "streamId"), ("start", "callId"), ("start", "mediaFormat")]
)
def test_a_start_that_lacks_a_part_makes_no_sense(path: tuple[str, ...]) -> None:
    with pytest.raises(WireError, match=path[-1]):
        PlivoWire().read(json.dumps(without(PLIVO["start"], *path)))


@pytest.mark.parametrize(("name", "value"), [("encoding", "audio/x-l16"), ("sampleRate", 16000)])
def test_another_coding_is_refused(name: str, value: Any) -> None:
    message = with_part(PLIVO["start"], "start", "mediaFormat", name, be=value)
    with pytest.raises(WireError, match="mediaFormat"):
        PlivoWire().read(json.dumps(message))


def test_sound_is_read_as_mulaw() -> None:
    assert heard(PlivoWire(), PLIVO["media"]) == [0]


def test_our_own_sound_is_not_read_back() -> None:
    message = with_part(PLIVO["media"], "media", "track", be="outbound")
    assert PlivoWire().read(json.dumps(message)) is None


def test_that_sound_was_cleared_is_no_news() -> None:
    assert PlivoWire().read(json.dumps(PLIVO["cleared"])) is None


def test_a_stop_ends_the_call() -> None:
    assert PlivoWire().read('{"event": "stop"}') == Stopped()


def test_what_is_written_is_as_plivo_reads_it() -> None:
    wire = PlivoWire()
    wire.read(json.dumps(PLIVO["start"]))
    (message,) = wire.media(frame(8000))
    played = json.loads(message)
    payload = base64.b64decode(played["media"].pop("payload"))
    np.testing.assert_allclose(MULAW.decode(payload), frame(8000), atol=32)
    assert played == {
        "event": "playAudio",
        "media": {"contentType": "audio/x-mulaw", "sampleRate": 8000},
    }
    assert [json.loads(one) for one in (*wire.mark("25"), *wire.clear())] == [
        {"event": "checkpoint", "streamId": "87654321-4321", "name": "25"},
        {"event": "clearAudio", "streamId": "87654321-4321"},
    ]


# The document


def test_the_document_connects_both_ways() -> None:
    options = {"status_callback": "https://a.example/?b=1&c=2", "language": "en-GB"}
    document, _ = Plivo().connect(webhook(FORM), connection(greeting=TRICKY, **options))
    response = ElementTree.fromstring(document)
    stream = response.find("Stream")
    assert stream is not None
    assert stream.text == SOCKET
    assert stream.attrib.pop("extraHeaders").startswith("fastrtc=")
    assert stream.attrib == {
        "bidirectional": "true",
        "keepCallAlive": "true",
        "contentType": "audio/x-mulaw;rate=8000",
        "statusCallbackUrl": "https://a.example/?b=1&c=2",
    }
    said = list(response.iter("Speak"))
    assert [one.text for one in said] == [TRICKY, "Goodbye."]
    assert said[0].attrib == {"language": "en-GB"}


def test_what_the_document_carries_comes_back_on_the_socket() -> None:
    options = connection(parameters={"shop": "<7> & 'ü'"})
    document, _ = Plivo().connect(webhook(FORM), options)
    stream = ElementTree.fromstring(document).find("Stream")
    assert stream is not None
    headers = stream.get("extraHeaders")
    event, phone = started(PlivoWire(), with_part(PLIVO["start"], "extra_headers", be=headers))
    assert event.token == TOKEN
    assert (phone.caller, phone.called) == ("+15550001111", "+15550002222")
    assert phone.parameters == {"shop": "<7> & 'ü'"}


def test_more_parameters_than_plivo_carries_are_refused() -> None:
    with pytest.raises(ValueError, match=f"at most {HEADER_BYTES} bytes"):
        Plivo().connect(webhook(FORM), connection(parameters={"shop": "7" * 300}))


def test_a_greeting_and_a_goodbye_may_be_left_out() -> None:
    document, _ = Plivo().connect(webhook(FORM), connection(greeting=None, goodbye=None))
    assert [one.tag for one in ElementTree.fromstring(document)] == ["Stream"]


def test_a_recording_goes_on_beside_the_stream() -> None:
    document, _ = Plivo().connect(webhook(FORM), connection(record={"fileFormat": "wav"}))
    record = ElementTree.fromstring(document).find("Record")
    assert record is not None
    assert record.get("recordSession") == "true"
    assert record.get("fileFormat") == "wav"


def test_who_is_turned_away_hears_the_busy_signal() -> None:
    document, _ = Plivo().refuse(webhook())
    hangup = ElementTree.fromstring(document).find("Hangup")
    assert hangup is not None
    assert hangup.get("reason") == "busy"


# The signature


def signed(covered: str) -> dict[str, str]:
    """The headers of a webhook for which Plivo has signed this text."""
    made = hmac.new(SECRET.encode(), f"{covered}.{NONCE}".encode(), hashlib.sha256).digest()
    return {
        "x-plivo-signature-v3": base64.b64encode(made).decode(),
        "x-plivo-signature-v3-nonce": NONCE,
    }


def of_form() -> Webhook:
    return webhook(FORM, headers=signed(f"{URL}?CallUUIDabcFrom+15550001111To+15550002222"))


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIVO_AUTH_TOKEN", SECRET)


def test_a_form_that_plivo_has_signed_is_taken() -> None:
    assert Plivo().is_signed(of_form())


def test_a_query_that_plivo_has_signed_is_taken() -> None:
    headers = signed(f"{URL}?From=+1 555&Z=&b=2")
    assert Plivo().is_signed(webhook(url=f"{URL}?b=2&From=%2B1+555&Z=", headers=headers))


def test_a_form_under_an_address_with_a_query_is_taken() -> None:
    given = webhook("From=1&A=2", url=f"{URL}?b=2&a=1", headers=signed(f"{URL}?a=1&b=2.A2From1"))
    assert Plivo().is_signed(given)


def test_an_address_alone_is_taken() -> None:
    assert Plivo().is_signed(webhook(headers=signed(URL)))


def test_one_of_several_signatures_is_enough() -> None:
    given = of_form()
    name = "x-plivo-signature-v3"
    headers = {**given.headers, name: f"AAAA, {given.headers[name]}"}
    assert Plivo().is_signed(webhook(FORM, headers=headers))


def test_a_change_of_any_byte_is_found_out() -> None:
    given = of_form()
    for place in range(len(FORM)):
        changed = FORM[:place] + chr(ord(FORM[place]) ^ 1) + FORM[place + 1 :]
        if webhook(changed).form == given.form:
            continue
        assert not Plivo().is_signed(webhook(changed, headers=dict(given.headers)))
    assert not Plivo().is_signed(webhook(FORM, url=URL + "x", headers=dict(given.headers)))


@pytest.mark.parametrize("name", ["x-plivo-signature-v3", "x-plivo-signature-v3-nonce"])
@pytest.mark.parametrize("value", ["", "é", "AAAA"])
def test_other_headers_are_refused(name: str, value: str) -> None:
    assert not Plivo().is_signed(webhook(FORM, headers={**of_form().headers, name: value}))


@pytest.mark.parametrize("secret", ["", "another"])
def test_another_secret_or_none_verifies_nothing(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("PLIVO_AUTH_TOKEN", secret)
    assert not Plivo().is_signed(of_form())
