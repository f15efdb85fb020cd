"""Twilio's Media Streams, as far as a message tells of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fastrtc.transports.sockets.wire import Stopped, WireError
from fastrtc.transports.telephone.twilio import TwilioWire
from tests.transports.telephone.examples import (
    TWILIO,
    frame,
    heard,
    started,
    with_part,
    without,
)


def test_a_start_has_the_facts_of_the_call() -> None:
    event, phone = started(TwilioWire(), TWILIO["start"])
    assert event.call_id == phone.stream_id == "MZ01"
    assert phone.call_id == "CA01"
    assert (phone.caller, phone.called) == ("+15550001111", "+15550002222")


def test_a_start_may_have_no_parameters() -> None:
    event, phone = started(TwilioWire(), without(TWILIO["start"], "start", "customParameters"))
    assert (event.token, phone.caller, phone.parameters) == ("", "", {})


@pytest.mark.parametrize("name", ["streamSid", "callSid"])
@pytest.mark.parametrize("value", [None, "", 7, [], {}, "x" * 300])
def test_a_start_without_its_ids_makes_no_sense(name: str, value: Any) -> None:
    with pytest.raises(WireError, match=name):
        TwilioWire().read(json.dumps(with_part(TWILIO["start"], "start", name, be=value)))


@pytest.mark.parametrize(
    ("name", "value"),
    [("encoding", "audio/x-alaw"), ("sampleRate", 16000), ("sampleRate", None), ("channels", 2)],
)
def test_another_coding_is_refused(name: str, value: Any) -> None:
    message = with_part(TWILIO["start"], "start", "mediaFormat", name, be=value)
    with pytest.raises(WireError, match="mediaFormat"):
        TwilioWire().read(json.dumps(message))


def test_parameters_that_are_no_object_make_no_sense() -> None:
    message = with_part(TWILIO["start"], "start", "customParameters", be=["shop"])
    with pytest.raises(WireError, match="custom parameters"):
        TwilioWire().read(json.dumps(message))


def test_sound_is_read_as_mulaw() -> None:
    assert heard(TwilioWire(), TWILIO["media"]) == [0]


def test_our_own_sound_is_not_read_back() -> None:
    message = with_part(TWILIO["media"], "media", "track", be="outbound")
    assert TwilioWire().read(json.dumps(message)) is None


def test_a_stop_ends_the_call() -> None:
    assert TwilioWire().read(json.dumps(TWILIO["stop"])) == Stopped()


def test_what_is_written_names_the_stream() -> None:
    wire = TwilioWire()
    wire.read(json.dumps(TWILIO["start"]))
    (media,) = wire.media(frame(8000, 0))
    assert json.loads(media) == {
        "event": "media",
        "streamSid": "MZ01",
        "media": {"payload": "/" * 213 + "w=="},
    }
    assert [json.loads(one) for one in (*wire.mark("25"), *wire.clear())] == [
        {"event": "mark", "streamSid": "MZ01", "mark": {"name": "25"}},
        {"event": "clear", "streamSid": "MZ01"},
    ]
