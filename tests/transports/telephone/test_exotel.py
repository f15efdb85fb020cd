"""Exotel: the Voicebot applet."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from fastrtc.audio.far import FarPlayout
from fastrtc.transports.sockets.wire import Message, Stopped, WireError
from fastrtc.transports.telephone.exotel import CHUNK, Exotel, ExotelWire
from tests.transports.telephone.examples import (
    EXOTEL,
    SOCKET,
    TOKEN,
    connection,
    frame,
    heard,
    started,
    webhook,
    with_part,
    without,
)


def wire_at(rate: int) -> ExotelWire:
    """A wire whose call has begun."""
    wire = ExotelWire()
    started(wire, with_part(EXOTEL["start"], "start", "media_format", "sample_rate", be=str(rate)))
    return wire


def sounds(messages: list[Message]) -> list[bytes]:
    """What the media messages among these carry."""
    read = [json.loads(message) for message in messages]
    return [
        base64.b64decode(message["media"]["payload"])
        for message in read
        if message["event"] == "media"
    ]


# Messages


def test_a_start_has_the_facts_of_the_call() -> None:
    event, phone = started(ExotelWire(), EXOTEL["start"])
    assert event.call_id == phone.stream_id == "MZ01"
    assert phone.call_id == "CA01"


def test_a_caller_may_be_unknown() -> None:
    _, phone = started(ExotelWire(), with_part(EXOTEL["start"], "start", "from", be=None))
    assert phone.caller == ""


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, "8000"])
def test_the_rate_is_that_of_the_start(rate: Any) -> None:
    wire = ExotelWire()
    message = with_part(EXOTEL["start"], "start", "media_format", "sample_rate", be=rate)
    started(wire, message)
    assert wire.rate == int(rate)


@pytest.mark.parametrize(
    "path", [("start",), ("start", "stream_sid"), ("start", "call_sid"), ("start", "media_format")]
)
def test_a_start_that_lacks_a_part_makes_no_sense(path: tuple[str, ...]) -> None:
    with pytest.raises(WireError, match=path[-1]):
        ExotelWire().read(json.dumps(without(EXOTEL["start"], *path)))


@pytest.mark.parametrize(
    ("name", "value"),
    [("sample_rate", "44100"), ("sample_rate", None), ("encoding", "audio/x-mulaw")],
)
def test_another_coding_is_refused(name: str, value: Any) -> None:
    message = with_part(EXOTEL["start"], "start", "media_format", name, be=value)
    with pytest.raises(WireError, match="media_format"):
        ExotelWire().read(json.dumps(message))


def test_sound_is_read_as_linear_samples() -> None:
    assert heard(ExotelWire(), EXOTEL["media"]) == [1, -1]


def test_half_a_sample_makes_no_sense() -> None:
    with pytest.raises(WireError, match="3 bytes"):
        ExotelWire().read(json.dumps(with_part(EXOTEL["media"], "media", "payload", be="AAAA")))


def test_a_stop_ends_the_call() -> None:
    assert ExotelWire().read(json.dumps(EXOTEL["stop"])) == Stopped()


# Sound goes out 0.1 s at a time


@pytest.mark.parametrize(("rate", "size"), [(8_000, 1600), (16_000, 3200), (24_000, 4800)])
def test_sound_goes_out_in_pieces_of_the_right_size(rate: int, size: int) -> None:
    wire = wire_at(rate)
    sent = [wire.media(frame(rate, value)) for value in range(2 * CHUNK)]
    assert [len(messages) for messages in sent] == 2 * ([0] * (CHUNK - 1) + [1])
    pieces = sounds([message for messages in sent for message in messages])
    assert [len(piece) for piece in pieces] == [size, size]
    assert size % 320 == 0
    expected = np.repeat(np.arange(2 * CHUNK), rate // 50)
    assert np.array_equal(np.frombuffer(b"".join(pieces), "<i2"), expected)


def test_a_piece_names_its_stream() -> None:
    wire = wire_at(8_000)
    (message,) = [one for _ in range(CHUNK) for one in wire.media(frame(8_000))]
    assert json.loads(message)["stream_sid"] == "MZ01"


@pytest.mark.parametrize("frames", range(1, CHUNK))
def test_a_mark_sends_what_is_left_over_with_silence_behind_it(frames: int) -> None:
    wire = wire_at(16_000)
    for _ in range(frames):
        assert wire.media(frame(16_000)) == []
    media, mark = wire.mark("25")
    (piece,) = sounds([media])
    samples = np.frombuffer(piece, "<i2")
    assert len(piece) == 3200
    assert (samples[: frames * 320] == 1000).all()
    assert (samples[frames * 320 :] == 0).all()
    assert json.loads(mark) == {"event": "mark", "stream_sid": "MZ01", "mark": {"name": "25"}}


def test_a_mark_after_a_whole_piece_sends_nothing_else() -> None:
    wire = wire_at(16_000)
    for _ in range(CHUNK):
        wire.media(frame(16_000))
    assert len(wire.mark("25")) == 1


def test_the_marks_of_a_line_put_no_silence_into_its_sound() -> None:
    wire, far = wire_at(16_000), FarPlayout(ExotelWire.lead, marks=True)
    pieces: list[bytes] = []
    for _ in range(10 * CHUNK):
        pieces += sounds(wire.media(frame(16_000)))
        if (place := far.send()) is not None:
            pieces += sounds(wire.mark(str(place)))
        far.tick()
    assert np.array_equal(np.frombuffer(b"".join(pieces), "<i2"), np.full(10 * CHUNK * 320, 1000))


def test_what_waits_is_dropped_when_the_caller_interrupts() -> None:
    wire = wire_at(16_000)
    wire.media(frame(16_000))
    assert [json.loads(one) for one in wire.clear()] == [{"event": "clear", "stream_sid": "MZ01"}]
    assert sounds(wire.mark("25")) == []


# The address of the socket


def test_the_answer_is_the_address_with_the_token_and_the_parameters() -> None:
    given = connection(parameters={"shop": "<7> & 'ü'"})
    document, kind = Exotel().connect(webhook(), given)
    url = json.loads(document)["url"]
    assert kind == "application/json"
    assert url.startswith(SOCKET + "?")
    assert parse_qs(urlsplit(url).query) == {
        "shop": ["<7> & 'ü'"],
        "fastrtc_token": [TOKEN],
        "sample-rate": ["16000"],
    }


@pytest.mark.parametrize("parameters", [{"a": "1", "b": "2", "c": "3"}, {"a": "1" * 200}])
def test_more_parameters_than_exotel_carries_are_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="at most 3 parameters of 256 characters"):
        Exotel().connect(webhook(), connection(parameters=parameters))


def test_who_is_turned_away_gets_no_address() -> None:
    assert "url" not in json.loads(Exotel().refuse(webhook())[0])


def test_nothing_of_exotel_is_signed() -> None:
    assert not Exotel().has_secret
    assert not Exotel().is_signed(webhook(headers={"authorization": "Basic eA=="}))
