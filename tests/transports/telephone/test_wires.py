"""What holds for every dialect: whatever comes, it is read, or refused with a `WireError`."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.transports.sockets.wire import (
    Digit,
    Event,
    Marked,
    Message,
    Started,
    Wire,
    WireError,
)
from fastrtc.transports.telephone.provider import Provider
from tests.transports.telephone.examples import (
    MESSAGES,
    PROVIDERS,
    connection,
    frame,
    webhook,
    without,
)

every_platform = pytest.mark.parametrize(
    "provider", PROVIDERS, ids=[provider.name for provider in PROVIDERS]
)
every_platform_of_texts = pytest.mark.parametrize(
    "provider",
    [provider for provider in PROVIDERS if provider.name != "vonage"],
    ids=[provider.name for provider in PROVIDERS if provider.name != "vonage"],
)
"""Those whose sound is in the texts, too."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
names = st.sampled_from(
    sorted({key for messages in MESSAGES.values() for one in messages.values() for key in one})
)
events = st.sampled_from(
    sorted({one["event"] for messages in MESSAGES.values() for one in messages.values()})
)


@st.composite
def damaged(draw: st.DrawFn, messages: dict[str, dict[str, Any]]) -> str:
    """An example message in which one part, at any depth, is gone or something else."""
    message: dict[str, Any] = json.loads(json.dumps(draw(st.sampled_from([*messages.values()]))))
    inside = message
    while True:
        name = draw(st.sampled_from(sorted(inside)))
        if not isinstance(inside[name], dict) or not inside[name] or draw(st.booleans()):
            break
        inside = inside[name]
    if draw(st.booleans()):
        del inside[name]
    else:
        inside[name] = draw(json_values)
    return json.dumps(message)


def read(wire: Wire, message: Message) -> Event | None:
    """Read a message that may make no sense; anything but a `WireError` fails the test."""
    with contextlib.suppress(WireError):
        return wire.read(message)
    return None


@every_platform
@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_whatever_comes_is_read_or_makes_no_sense(provider: Provider, data: st.DataObject) -> None:
    messages = MESSAGES[provider.name]
    wire = provider.wire()
    begun = False
    for message in data.draw(
        st.lists(
            damaged(messages)
            | st.sampled_from([json.dumps(one) for one in messages.values()])
            | json_values.map(json.dumps)
            | st.dictionaries(names, json_values | events, max_size=4).map(json.dumps)
            | st.text(max_size=30)
            | st.binary(max_size=30),
            max_size=5,
        )
    ):
        begun |= isinstance(read(wire, message), Started)
    # Whatever came, a call can begin, and be spoken in.
    if not begun:
        assert isinstance(wire.read(json.dumps(messages["start"])), Started)
    written = [*wire.media(frame(wire.rate)), *wire.mark("5"), *wire.clear()]
    assert all(isinstance(one, bytes) or json.loads(one) for one in written)


@every_platform
@pytest.mark.parametrize("depth", [100, 900, 1_000, 5_000, 50_000])
def test_nesting_without_end_makes_no_sense(provider: Provider, depth: int) -> None:
    for text in ('{"event": ' + "[" * depth, '{"event": ' + "[" * depth + "]" * depth + "}"):
        with pytest.raises(WireError):
            provider.wire().read(text)


@every_platform
def test_every_example_is_read(provider: Provider) -> None:
    wire = provider.wire()
    for message in MESSAGES[provider.name].values():
        wire.read(json.dumps(message))


@every_platform
def test_a_message_without_its_event_makes_no_sense(provider: Provider) -> None:
    for message in MESSAGES[provider.name].values():
        with pytest.raises(WireError, match="expected"):
            provider.wire().read(json.dumps(without(message, "event")))


@every_platform
def test_an_event_that_is_none_of_the_platform_is_told(provider: Provider) -> None:
    with pytest.raises(WireError, match="got 'hello'"):
        provider.wire().read('{"event": "hello"}')


@every_platform_of_texts
def test_a_binary_message_makes_no_sense(provider: Provider) -> None:
    with pytest.raises(WireError, match="binary message of 3 bytes"):
        provider.wire().read(b"\0\1\2")


@every_platform_of_texts
@pytest.mark.parametrize("payload", ["?", "AAA", "é", "AA=A", 7, None, [], {"a": 1}])
def test_sound_that_is_no_base64_makes_no_sense(provider: Provider, payload: Any) -> None:
    media = {"event": "media", "media": {"track": "inbound", "payload": payload}}
    with pytest.raises(WireError, match="base64"):
        provider.wire().read(json.dumps(media))


@every_platform
@pytest.mark.parametrize("digit", ["", "11", "x", 1, None, ["1"]])
def test_a_key_that_no_telephone_has_makes_no_sense(provider: Provider, digit: Any) -> None:
    message = json.loads(json.dumps(MESSAGES[provider.name]["dtmf"]))
    (message if provider.name == "vonage" else message["dtmf"])["digit"] = digit
    with pytest.raises(WireError, match="expected a digit"):
        provider.wire().read(json.dumps(message))


@every_platform
def test_a_digit_and_a_mark_are_read(provider: Provider) -> None:
    wire, messages = provider.wire(), MESSAGES[provider.name]
    assert wire.read(json.dumps(messages["dtmf"])) == Digit("1")
    assert wire.read(json.dumps(messages["mark"])) == Marked("25")


@every_platform
def test_a_mark_without_a_name_makes_no_sense(provider: Provider) -> None:
    message = json.loads(json.dumps(MESSAGES[provider.name]["mark"]).replace('"25"', '""'))
    with pytest.raises(WireError, match="'name'"):
        provider.wire().read(json.dumps(message))


@every_platform
def test_messages_of_ours_are_kept_from_the_platform(provider: Provider) -> None:
    wire = provider.wire()
    assert wire.text('{"type": "log", "data": "pause_detected"}') == []
    assert wire.started("MZ01") == []


@every_platform
def test_who_calls_and_the_token_are_known(provider: Provider) -> None:
    event = provider.wire().read(json.dumps(MESSAGES[provider.name]["start"]))
    assert isinstance(event, Started)
    assert event.phone is not None
    assert event.phone.provider == provider.name
    assert event.phone.caller.endswith("5550001111")
    assert event.phone.called.endswith("5550002222")
    assert event.phone.parameters == {"shop": "7"}
    assert event.token == "secret"


@every_platform
def test_a_secret_is_looked_for_when_it_is_needed(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = provider.secret_name
    if not name:
        assert not provider.has_secret
        return
    monkeypatch.delenv(name, raising=False)
    assert not provider.has_secret
    monkeypatch.setenv(name, "x")
    assert provider.has_secret


@every_platform
def test_nothing_is_signed_where_there_is_no_signature(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name := getattr(provider, "secret_name", None):
        monkeypatch.setenv(name, "x")
    assert not provider.is_signed(webhook("From=1&To=2"))


@every_platform
def test_the_answers_say_what_they_are(provider: Provider) -> None:
    for document, kind in (
        provider.connect(webhook("From=1&To=2"), connection()),
        provider.refuse(webhook()),
    ):
        assert kind in ("application/xml", "application/json")
        assert (kind == "application/xml") is document.startswith("<?xml")
        if kind == "application/json":
            json.loads(document)
