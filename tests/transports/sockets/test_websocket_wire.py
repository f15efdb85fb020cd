"""The dialect of ``/websocket/offer``, message by message."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

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
)
from fastrtc.transports.websocket import ENCODINGS, LEAD, WebSocketWire
from tests.carrier import g711
from tests.conftest import tone

Pcm = NDArray[np.int16]

HEARD, SAID = 16_000, 24_000
"""Rates of the handler, Hz."""
NOISY = 0.033
"""Share of a sample by which mu-law and A-law may change it: half a step where a segment begins."""


def new_wire() -> WebSocketWire:
    return WebSocketWire(HEARD, SAID)


def begin(wire: WebSocketWire, **given: Any) -> Event | None:
    return wire.read(json.dumps({"event": "start", "websocket_id": "me", **given}))


def with_format(**asked: Any) -> WebSocketWire:
    wire = new_wire()
    begin(wire, format=asked)
    return wire


def media(data: bytes) -> str:
    payload = base64.b64encode(data).decode()
    return json.dumps({"event": "media", "media": {"payload": payload}})


def payload_of(message: Message) -> bytes:
    assert isinstance(message, str)
    given = json.loads(message)
    assert given.keys() == {"event", "media"}
    assert given["event"] == "media"
    return base64.b64decode(given["media"]["payload"], validate=True)


def heard(wire: WebSocketWire, message: Message) -> Sound:
    event = wire.read(message)
    assert isinstance(event, Sound)
    return event


def frame(rate: int, channels: int = 1) -> Pcm:
    """20 ms; each channel has a tone of its own."""
    rows = [tone(0.02, rate, 440.0 * (1 + channel))[1] for channel in range(channels)]
    return np.concatenate(rows)


# The old format


@pytest.mark.parametrize("begun", [True, False])
def test_a_client_that_asks_for_nothing_is_heard_in_mulaw_at_the_handlers_rate(
    begun: bool,
) -> None:
    wire, pcm = new_wire(), frame(HEARD)
    if begun:
        begin(wire)
    sound = heard(wire, media(g711.encode(pcm[0])))
    assert sound.rate == HEARD
    assert np.array_equal(sound.pcm, g711.decode(g711.encode(pcm[0]))[None])


def test_a_client_that_asks_for_nothing_is_told_in_mulaw_at_the_handlers_rate() -> None:
    wire, pcm = new_wire(), frame(SAID)
    begin(wire)
    (message,) = wire.media(pcm)
    assert (wire.rate, wire.channels) == (SAID, 1)
    assert payload_of(message) == g711.encode(pcm[0])


def test_an_old_client_is_sent_nothing_that_it_does_not_know() -> None:
    wire = new_wire()
    begin(wire)
    assert not wire.has_marks
    assert wire.started("me") + wire.mark("5") + wire.clear() == []


def test_the_start_of_an_old_client_names_its_call() -> None:
    assert begin(new_wire()) == Started("me")


@pytest.mark.parametrize("start", [{}, {"websocket_id": None}, {"format": None}])
def test_a_client_need_not_name_its_call(start: dict[str, Any]) -> None:
    assert new_wire().read(json.dumps({"event": "start", **start})) == Started("")


def test_a_client_may_ask_to_watch() -> None:
    assert begin(new_wire(), watch=True) == Started("me", watched=True)
    assert begin(new_wire(), watch="yes") == Started("me")


# A format that the client asks for


@pytest.mark.parametrize("framing", ["json", "binary"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
@pytest.mark.parametrize("encoding", ["pcm_s16le", "mulaw", "alaw"])
def test_what_is_said_comes_back_as_it_was_in_every_format(
    encoding: str, rate: int, channels: int, framing: str
) -> None:
    wire = with_format(encoding=encoding, sample_rate=rate, channels=channels, framing=framing)
    pcm = frame(rate, channels)
    (message,) = wire.media(pcm)
    assert isinstance(message, bytes if framing == "binary" else str)
    sound = heard(wire, message)
    assert sound.rate == wire.rate == rate
    assert wire.channels == channels
    assert sound.pcm.dtype == np.int16
    if encoding == "pcm_s16le":
        assert np.array_equal(sound.pcm, pcm)
    else:
        assert sound.pcm == pytest.approx(pcm, rel=NOISY, abs=16)


@pytest.mark.parametrize("framing", ["json", "binary"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 22_050, 24_000, 48_000])
def test_opus_is_one_packet_a_frame_and_is_heard_at_48_khz(
    rate: int, channels: int, framing: str
) -> None:
    wire = with_format(encoding="opus", sample_rate=rate, channels=channels, framing=framing)
    _, whole = tone(1.0, rate)
    whole = np.repeat(whole, channels, axis=0)
    messages = [
        one
        for part in np.split(whole, 50, axis=1)
        for one in wire.media(np.ascontiguousarray(part))
    ]
    # A packet may still wait in the coder.
    assert 48 <= len(messages) <= 50
    sounds = [heard(wire, message) for message in messages]
    assert {(sound.rate, sound.pcm.shape) for sound in sounds} == {(48_000, (channels, 960))}
    loud = np.concatenate([sound.pcm for sound in sounds], axis=1)[:, 9_600:-9_600]
    spectrum = np.abs(np.fft.rfft(loud[0].astype(float)))
    assert np.fft.rfftfreq(loud.shape[1], 1 / 48_000)[spectrum.argmax()] == pytest.approx(
        440, abs=3
    )


def test_pcm_is_little_endian_and_its_channels_alternate() -> None:
    wire = with_format(encoding="pcm_s16le", sample_rate=8_000, channels=2, framing="binary")
    data = b"\x01\x00\x02\x00\xff\xff\x00\x80"
    pcm = np.array([[1, -1], [2, -32768]], np.int16)
    assert np.array_equal(heard(wire, data).pcm, pcm)
    assert wire.media(pcm) == [data]


def test_the_codes_of_mulaw_and_alaw_are_not_taken_for_each_other() -> None:
    silence = np.zeros((1, 2), np.int16)
    assert with_format(encoding="mulaw", framing="binary").media(silence) == [b"\xff\xff"]
    assert with_format(encoding="alaw", framing="binary").media(silence) == [b"\xd5\xd5"]


def test_a_format_that_says_nothing_is_mulaw_in_texts_at_the_rate_of_what_is_said() -> None:
    wire = with_format()
    assert json.loads(str(wire.started("me")[0])) == {
        "event": "started",
        "websocket_id": "me",
        "format": {
            "encoding": "mulaw",
            "sample_rate": SAID,
            "channels": 1,
            "framing": "json",
            "marks": False,
        },
    }
    assert heard(wire, media(b"\xff")).rate == SAID


def test_who_asks_for_a_format_is_told_what_it_got() -> None:
    asked = {"encoding": "alaw", "sample_rate": 8_000, "channels": 2, "framing": "binary"}
    (told,) = with_format(**asked, marks=True, later="unknown").started("me")
    assert json.loads(str(told))["format"] == {**asked, "marks": True}


def test_who_asks_for_a_format_is_told_of_an_interruption() -> None:
    assert [json.loads(str(one)) for one in with_format().clear()] == [{"event": "clear"}]


def test_marks_are_sent_to_who_asked_for_them_only() -> None:
    wire = with_format(marks=True)
    assert wire.has_marks
    mark = {"event": "mark", "mark": {"name": "5"}}
    assert [json.loads(str(one)) for one in wire.mark("5")] == [mark]
    assert with_format(marks="yes").mark("5") == []
    assert with_format().mark("5") == []


def test_texts_still_carry_sound_where_binary_framing_was_asked_for() -> None:
    wire = with_format(encoding="pcm_s16le", sample_rate=8_000, framing="binary")
    assert heard(wire, media(b"\x01\x00")).pcm.tolist() == [[1]]


def test_little_is_sent_ahead_so_that_an_interruption_has_little_to_take_back() -> None:
    assert new_wire().lead == LEAD <= 5


# Other messages


def test_a_mark_that_comes_back_is_read() -> None:
    assert new_wire().read('{"event": "mark", "mark": {"name": "25"}}') == Marked("25")


def test_a_ping_asks_for_a_pong() -> None:
    event = new_wire().read('{"event": "ping"}')
    assert isinstance(event, Asked)
    assert json.loads(str(event.answer)) == {"event": "pong"}


def test_a_stop_ends_the_call() -> None:
    assert new_wire().read('{"event": "stop"}') == Stopped()


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "stopword", "data": ""}',
        '{"type": "message", "data": {"a": 1}}',
        '{"event": "of a later version"}',
        '{"event": ""}',
    ],
)
def test_what_is_the_pages_own_or_of_a_later_version_is_of_no_interest(text: str) -> None:
    assert new_wire().read(text) is None


def test_messages_of_the_session_go_out_as_they_are() -> None:
    assert new_wire().text('{"type": "log"}') == ['{"type": "log"}']


# What makes no sense


def test_a_second_start_makes_no_sense_and_changes_nothing() -> None:
    wire = with_format(encoding="alaw", sample_rate=8_000)
    with pytest.raises(WireError, match="expected one start, got another"):
        begin(wire, format={"encoding": "opus"})
    assert wire.rate == 8_000
    assert payload_of(wire.media(np.zeros((1, 1), np.int16))[0]) == b"\xd5"


def test_after_a_start_that_made_no_sense_another_is_taken() -> None:
    wire = new_wire()
    with pytest.raises(WireError):
        begin(wire, format={"encoding": "mp3"})
    assert begin(wire) == Started("me")
    assert wire.started("me") == []


@pytest.mark.parametrize("encoding", ["mp3", "", "MULAW", None, 1, ["mulaw"], {}])
def test_an_encoding_that_is_not_known_makes_no_sense(encoding: Any) -> None:
    with pytest.raises(WireError, match="expected an encoding of pcm_s16le, mulaw, alaw, opus"):
        with_format(encoding=encoding)


@pytest.mark.parametrize(
    "rate", [0, -8_000, 7_950, 48_050, 16_001, 10**400, 16_000.0, "16000", None, True, [], {}]
)
def test_a_rate_that_cannot_be_served_makes_no_sense(rate: Any) -> None:
    with pytest.raises(WireError, match="expected a sample_rate of 8000 to 48000 Hz"):
        with_format(sample_rate=rate)


@pytest.mark.parametrize("channels", [0, 3, -1, 1.5, "1", None, True, [], {}])
def test_channels_that_nobody_has_make_no_sense(channels: Any) -> None:
    with pytest.raises(WireError, match="expected 1 or 2 channels"):
        with_format(channels=channels)


@pytest.mark.parametrize("framing", ["", "text", None, 1, ["json"], {}])
def test_a_framing_that_is_not_known_makes_no_sense(framing: Any) -> None:
    with pytest.raises(WireError, match='expected the framing "json" or "binary"'):
        with_format(framing=framing)


@pytest.mark.parametrize("given", [[], "mulaw", 1, True])
def test_a_format_that_is_no_object_makes_no_sense(given: Any) -> None:
    with pytest.raises(WireError, match="expected an object 'format'"):
        begin(new_wire(), format=given)


@pytest.mark.parametrize("call_id", ["", "x" * 257, 1, True, [], {}])
def test_an_id_that_is_no_short_text_makes_no_sense(call_id: Any) -> None:
    with pytest.raises(WireError, match="'websocket_id' as text of 1 to 256 characters"):
        begin(new_wire(), websocket_id=call_id)


@pytest.mark.parametrize("framing", ["json", None])
def test_a_binary_message_makes_no_sense_where_none_was_asked_for(framing: str | None) -> None:
    wire = new_wire() if framing is None else with_format(framing=framing)
    with pytest.raises(WireError, match="got a binary message of 3 bytes"):
        wire.read(b"\0\1\2")


@pytest.mark.parametrize(
    "text",
    ["", "x", "null", "[]", "1", '"start"', "{}", '{"event": 1}', '{"event": null}', '{"type": 1}'],
)
def test_a_text_that_is_no_object_with_an_event_makes_no_sense(text: str) -> None:
    with pytest.raises(WireError, match="expected"):
        new_wire().read(text)


@pytest.mark.parametrize("payload", ["?", "AAA", "é", "AA=A", 7, None, [], {"a": 1}])
def test_sound_that_is_no_base64_makes_no_sense(payload: Any) -> None:
    with pytest.raises(WireError, match="base64"):
        new_wire().read(json.dumps({"event": "media", "media": {"payload": payload}}))


@pytest.mark.parametrize(
    ("encoding", "channels", "length"),
    [("pcm_s16le", 1, 3), ("pcm_s16le", 2, 6), ("mulaw", 2, 3), ("alaw", 2, 1)],
)
@pytest.mark.parametrize("framing", ["json", "binary"])
def test_half_a_sample_makes_no_sense(
    encoding: str, channels: int, length: int, framing: str
) -> None:
    wire = with_format(encoding=encoding, channels=channels, framing=framing)
    data = bytes(length)
    with pytest.raises(WireError, match=f"of {channels} channels, got {length} bytes"):
        wire.read(data if framing == "binary" else media(data))


@pytest.mark.parametrize("encoding", ["pcm_s16le", "mulaw", "alaw"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_message_without_a_sample_is_no_sound_at_all(encoding: str, channels: int) -> None:
    wire = with_format(encoding=encoding, channels=channels, framing="binary")
    assert heard(wire, b"").pcm.shape == (channels, 0)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff\xff\xff"])
def test_what_is_no_opus_makes_no_sense_and_the_next_packet_is_heard(data: bytes) -> None:
    wire = with_format(encoding="opus", sample_rate=48_000, framing="binary")
    (packet,) = OpusEncoder(48_000, 1).encode(frame(48_000))
    with pytest.raises(WireError, match=f"got {len(data)} bytes that are none"):
        wire.read(data)
    sound = heard(wire, packet)
    alone = OpusDecoder(1).decode(packet)
    assert alone is not None
    assert np.array_equal(sound.pcm, alone)


def test_an_error_shows_only_the_beginning_of_what_came() -> None:
    huge = "x" * 100_000
    for text in (
        huge,
        json.dumps({"event": [huge]}),
        json.dumps({"event": "media", "media": huge}),
    ):
        with pytest.raises(WireError) as caught:
            new_wire().read(text)
        assert len(str(caught.value)) < 250


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
formats = st.fixed_dictionaries(
    {},
    optional={
        "encoding": st.sampled_from([*ENCODINGS, "mp3"]) | json_values,
        "sample_rate": st.sampled_from([8_000, 16_000, 44_100, 48_000]) | json_values,
        "channels": st.sampled_from([1, 2, 3]) | json_values,
        "framing": st.sampled_from(["json", "binary"]) | json_values,
        "marks": st.booleans() | json_values,
    },
)
messages = (
    st.fixed_dictionaries(
        {"event": st.sampled_from(["start", "media", "mark", "ping", "stop"]) | json_values},
        optional={
            "websocket_id": st.text(max_size=5) | json_values,
            "format": formats | json_values,
            "media": st.fixed_dictionaries({"payload": st.text("AB+/=", max_size=9) | json_values})
            | json_values,
            "mark": st.fixed_dictionaries({"name": json_values}) | json_values,
            "watch": json_values,
        },
    ).map(json.dumps)
    | json_values.map(json.dumps)
    | st.text(max_size=30)
    | st.binary(max_size=30)
)


@given(st.lists(messages, max_size=6))
@settings(deadline=None, max_examples=120)
def test_whatever_comes_is_read_or_makes_no_sense_and_speaking_goes_on(
    messages: list[Message],
) -> None:
    wire, begun = new_wire(), 0
    for message in messages:
        with contextlib.suppress(WireError):
            begun += isinstance(wire.read(message), Started)
    assert begun <= 1
    assert wire.channels in (1, 2)
    pcm = np.zeros((wire.channels, wire.rate // 50), np.int16)
    written = [*wire.started("me"), *wire.media(pcm), *wire.mark("5"), *wire.clear()]
    assert all(isinstance(one, bytes) or json.loads(one)["event"] for one in written)


@pytest.mark.parametrize("depth", [100, 900, 1_000, 5_000, 50_000])
@pytest.mark.parametrize("before", ['{"event": ', '{"event": "start", "format": {"encoding": '])
def test_nesting_without_end_makes_no_sense(before: str, depth: int) -> None:
    for text in (
        before + "[" * depth,
        before + "[" * depth + "]" * depth + "}" * before.count("{"),
    ):
        with pytest.raises(WireError):
            new_wire().read(text)
