"""The parts of the carrier, without a call: the code, signatures, buffer, TwiML, messages."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.carrier import BadTwiml, g711, messages, sign, twiml
from tests.carrier.playback import FRAME, Playback

TEN_FRAMES = 10 * FRAME
LOUD = b"\x80"
TOO_LONG = f"<Parameter name='a' value='{'b' * 500}'/>"


# The code of the line


def test_a_known_code_is_a_known_sample() -> None:
    known = {0x00: -32124, 0x80: 32124, 0x8F: 16764, 0xFE: 8, 0xFF: 0, 0x7F: 0}
    assert g711.decode(bytes(known)).tolist() == list(known.values())


@given(st.integers(-32_768, 32_767))
def test_a_sample_is_within_half_a_step_of_its_code(sample: int) -> None:
    decoded = int(g711.decode(g711.encode(np.array([sample], np.int16)))[0])
    limited = max(-32_635, min(sample, 32_635))
    # A step is one sixteenth of the segment that begins at the highest set bit.
    assert abs(decoded - limited) <= 2 ** ((abs(limited) + 132).bit_length() - 6)


def test_every_code_but_the_second_zero_comes_back() -> None:
    codes = bytes(code for code in range(256) if code != 0x7F)
    assert g711.encode(g711.decode(codes)) == codes


# Signatures


def test_the_signature_of_the_example_in_twilios_documentation() -> None:
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    signature = sign("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", form)
    assert (
        signature == "0/KCTR6DLpKmkAf8muzZqo1nDgQ=" or signature == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    )


# The buffer


def test_a_mark_on_an_empty_buffer_is_due_at_once() -> None:
    assert Playback().mark("here") == ["here"]


def test_a_mark_is_due_when_the_sound_before_it_has_been_played() -> None:
    playback = Playback()
    playback.put(LOUD * TEN_FRAMES)
    assert playback.mark("end") == []
    assert [playback.tick() for _ in range(11)] == [[]] * 10 + [["end"]]


def test_a_mark_that_follows_the_last_frame_waits_until_that_has_been_played() -> None:
    playback = Playback()
    playback.put(LOUD * FRAME)
    playback.tick()
    assert playback.mark("end") == []
    assert playback.tick() == ["end"]


def test_a_clear_drops_what_waits_and_returns_its_marks_in_order() -> None:
    playback = Playback()
    for name in ("one", "two"):
        playback.put(LOUD * FRAME)
        playback.mark(name)
    playback.tick()
    assert playback.clear() == ["one", "two"]
    assert playback.held == 0
    assert playback.tick() == []
    assert not playback.heard[FRAME:].any()


def test_what_comes_faster_than_real_time_is_held() -> None:
    playback = Playback()
    playback.put(LOUD * TEN_FRAMES)
    playback.tick()
    assert playback.held == pytest.approx(0.18)
    assert playback.most_held == pytest.approx(0.2)


def test_what_is_heard_is_silence_where_nothing_came() -> None:
    playback = Playback()
    playback.tick()
    playback.put(LOUD * 100)
    playback.tick()
    expected = [0] * FRAME + [32_124] * 100 + [0] * 60
    assert playback.heard.tolist() == expected
    assert playback.seconds == pytest.approx(0.04)


@settings(max_examples=40)
@given(st.lists(st.one_of(st.integers(1, 400), st.sampled_from(["mark", "tick"])), max_size=12))
def test_all_sound_is_played_once_and_no_mark_comes_before_its_sound(acts: list[Any]) -> None:
    playback = Playback()
    sent, sent_before, returned_at = 0, list[int](), list[int]()
    for act in acts + ["tick"] * (12 * 400 // FRAME + 2):
        played = int(np.count_nonzero(playback.heard))
        due = []
        if act == "tick":
            due = playback.tick()
        elif act == "mark":
            sent_before.append(sent)
            due = playback.mark(str(len(sent_before) - 1))
        else:
            playback.put(LOUD * act)
            sent += act
        assert due == [str(len(returned_at) + n) for n in range(len(due))]
        returned_at += [played] * len(due)
    assert np.count_nonzero(playback.heard) == sent
    assert len(returned_at) == len(sent_before)
    assert all(at >= before for at, before in zip(returned_at, sent_before, strict=True))


# TwiML


def read(document: str) -> list[twiml.Element]:
    return twiml.parse(document.encode(), "https://voice.example.com/in")


def test_a_document_is_read_verb_by_verb() -> None:
    verbs = read(
        '<?xml version="1.0" encoding="UTF-8"?><Response><Start><Recording channels="dual"/>'
        '</Start><Say>Hi</Say><Connect><Stream url="wss://example.com/ws" name="n">'
        '<Parameter name="token" value="a&amp;b"/></Stream></Connect><Hangup/></Response>'
    )
    assert [verb.name for verb in verbs] == ["Start", "Say", "Connect", "Hangup"]
    stream = verbs[2].children[0]
    assert stream.attributes == {"url": "wss://example.com/ws", "name": "n"}
    assert stream.children[0].attributes == {"name": "token", "value": "a&b"}


def test_a_relative_url_of_a_stream_is_relative_to_the_document() -> None:
    (connect,) = read('<Response><Connect><Stream url="/ws"/></Connect></Response>')
    assert connect.children[0].attributes["url"] == "wss://voice.example.com/ws"


@pytest.mark.parametrize(
    "verbs",
    [
        "<Say>one",
        "<Say></Say>",
        "<Dance/>",
        "<Play>x</Play>",
        "stray",
        "<Hangup/>stray",
        "<Say loud='1'>x</Say>",
        "<Connect/>",
        "<Connect><Stream/></Connect>",
        "<Connect><Stream url='wss://a'/><Stream url='wss://a'/></Connect>",
        "<Connect><Stream url='wss://a/b?token=1'/></Connect>",
        "<Connect><Stream url='wss://a/b?'/></Connect>",
        "<Connect><Stream url='ws://example.com/b'/></Connect>",
        "<Connect><Stream url='https://example.com/b'/></Connect>",
        "<Connect><Stream url='wss:///b'/></Connect>",
        "<Connect><Stream url='wss://[b'/></Connect>",
        "<Connect><Stream url='wss://a' track='both_tracks'/></Connect>",
        "<Connect><Stream url='wss://a' statusCallback='/status'/></Connect>",
        "<Connect><Stream url='wss://a'><Parameter name='a'/></Stream></Connect>",
        f"<Connect><Stream url='wss://a'>{TOO_LONG}</Stream></Connect>",
        "<Start><Recording channels='three'/></Start>",
        "<Reject reason='tired'/>",
        f"<Say>{'x' * 4097}</Say>",
    ],
)
def test_a_document_that_twilio_would_not_run_is_refused(verbs: str) -> None:
    with pytest.raises(BadTwiml):
        read(f"<Response>{verbs}</Response>")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_stream_without_tls_is_for_loopback(host: str) -> None:
    (connect,) = read(f'<Response><Connect><Stream url="ws://{host}:1/a"/></Connect></Response>')
    assert connect.children[0].attributes["url"] == f"ws://{host}:1/a"


@given(st.one_of(st.text(), st.text().map(lambda text: f"<Response>{text}</Response>")))
def test_whatever_comes_is_read_or_refused(document: str) -> None:
    try:
        verbs = twiml.parse(document.encode("utf-8", "surrogatepass"), "http://localhost")
    except BadTwiml:
        return
    assert verbs == []


# Messages


def test_the_documented_messages_are_read() -> None:
    media = {"event": "media", "streamSid": "MZ1", "media": {"payload": "/w=="}}
    mark = {"event": "mark", "streamSid": "MZ1", "mark": {"name": "m"}}
    clear = {"event": "clear", "streamSid": "MZ1"}
    assert [messages.read(json.dumps(message), "MZ1") for message in (media, mark, clear)] == [
        messages.Media(b"\xff"),
        messages.Mark("m"),
        messages.Clear(),
    ]


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff" * 160,
        "",
        "[]",
        "null",
        '{"type": "log", "data": "pause_detected"}',
        '{"event": "clear"}',
        '{"event": "clear", "streamSid": "MZ2"}',
        '{"event": "clear", "streamSid": "MZ1", "more": 1}',
        '{"event": "dtmf", "streamSid": "MZ1"}',
        '{"event": "mark", "streamSid": "MZ1"}',
        '{"event": "mark", "streamSid": "MZ1", "mark": {"name": ""}}',
        '{"event": "mark", "streamSid": "MZ1", "mark": {"name": 1}}',
        '{"event": "media", "streamSid": "MZ1", "media": {"payload": ""}}',
        '{"event": "media", "streamSid": "MZ1", "media": {"payload": "a"}}',
        '{"event": "media", "streamSid": "MZ1", "media": {"payload": "/w==", "track": "inbound"}}',
        '{"event": "media", "streamSid": "MZ1", "media": {"payload": "data:audio/wav,/w=="}}',
        '{"event": "media", "streamSid": "MZ1", "media": {"payload": "UklGRg=="}}',
        '{"event": "media", "streamSid": "MZ1", "media": ["/w=="]}',
    ],
)
def test_a_stray_message_is_a_violation(frame: str | bytes) -> None:
    assert isinstance(messages.read(frame, "MZ1"), messages.Violation)
