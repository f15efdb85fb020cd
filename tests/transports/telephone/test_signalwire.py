"""SignalWire: where it differs from Twilio."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from fastrtc.transports.telephone.signalwire import SignalWire
from fastrtc.transports.telephone.twilio import sign
from tests.transports.telephone.examples import (
    SOCKET,
    TOKEN,
    TRICKY,
    TWILIO,
    URL,
    connection,
    heard,
    started,
    webhook,
)

SECRET = "PSK_signing_key"
FIELDS = {"From": "+15550001111", "To": "+15550002222", "CallSid": "abc"}
FORM = "From=%2B15550001111&To=%2B15550002222&CallSid=abc"
HEADERS = ["x-signalwire-signature", "x-twilio-signature"]


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALWIRE_SIGNING_KEY", SECRET)


def test_a_call_is_known_as_one_of_signalwire() -> None:
    _, phone = started(SignalWire().wire(), TWILIO["start"])
    assert phone.provider == "signalwire"


def test_sound_is_read_as_mulaw() -> None:
    assert heard(SignalWire().wire(), TWILIO["media"]) == [0]


def test_the_document_connects_the_call() -> None:
    options = connection(greeting=TRICKY, parameters={"shop": "<7> & 'ü'"}, record=True)
    document, _ = SignalWire().connect(webhook(FORM), options)
    response = ElementTree.fromstring(document)
    stream = response.find("Connect/Stream")
    assert stream is not None
    assert stream.attrib == {"url": SOCKET}
    assert {one.get("name"): one.get("value") for one in stream} == {
        "shop": "<7> & 'ü'",
        "From": "+15550001111",
        "To": "+15550002222",
        "fastrtc_token": TOKEN,
    }
    assert [said.text for said in response.iter("Say")] == [TRICKY, "Goodbye."]


def test_recording_beside_a_stream_is_not_asked_for() -> None:
    document, _ = SignalWire().connect(webhook(FORM), connection(record=True))
    assert "Recording" not in document


def test_who_is_turned_away_hears_the_busy_signal() -> None:
    assert '<Reject reason="busy"/>' in SignalWire().refuse(webhook())[0]


@pytest.mark.parametrize("header", HEADERS)
def test_what_signalwire_has_signed_is_taken(header: str) -> None:
    headers = {header: sign(SECRET, URL, FIELDS)}
    assert SignalWire().is_signed(webhook(FORM, headers=headers))


@pytest.mark.parametrize("header", HEADERS)
def test_a_change_of_any_byte_is_found_out(header: str) -> None:
    headers = {header: sign(SECRET, URL, FIELDS)}
    for place in range(len(FORM)):
        changed = FORM[:place] + chr(ord(FORM[place]) ^ 1) + FORM[place + 1 :]
        if webhook(changed).form == FIELDS:
            continue
        assert not SignalWire().is_signed(webhook(changed, headers=headers))
    assert not SignalWire().is_signed(webhook(FORM, url=URL + "x", headers=headers))


@pytest.mark.parametrize("secret", ["", "another"])
def test_another_secret_or_none_verifies_nothing(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    headers = {HEADERS[0]: sign(SECRET, URL, FIELDS)}
    monkeypatch.setenv("SIGNALWIRE_SIGNING_KEY", secret)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", SECRET)
    assert not SignalWire().is_signed(webhook(FORM, headers=headers))
