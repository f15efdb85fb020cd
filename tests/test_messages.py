import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.errors import Warning, WebRTCError
from fastrtc.messages import (
    INTERRUPTED,
    LONGEST_TEXT,
    PAUSE_DETECTED,
    RESPONSE_STARTING,
    STARTED_TALKING,
    MessageType,
    create_message,
)


def sent(kind: MessageType, data: Any = None) -> Any:
    return json.loads(create_message(kind, data))


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (create_message("send_input"), '{"type": "send_input", "data": []}'),
        (create_message("fetch_output"), '{"type": "fetch_output", "data": []}'),
        (create_message("stopword", ""), '{"type": "stopword", "data": ""}'),
        (create_message("end_stream", "Bye"), '{"type": "end_stream", "data": "Bye"}'),
        (
            create_message("update_connection", "closed"),
            '{"type": "update_connection", "data": "closed"}',
        ),
        (
            create_message("log", PAUSE_DETECTED),
            '{"type": "log", "data": "pause_detected"}',
        ),
    ],
)
def test_a_message_is_what_existing_pages_read(message: str, wire: str) -> None:
    assert message == wire


def test_the_events_of_a_turn_have_the_names_that_pages_know() -> None:
    assert [STARTED_TALKING, PAUSE_DETECTED, RESPONSE_STARTING, INTERRUPTED] == [
        "started_talking",
        "pause_detected",
        "response_starting",
        "interrupted",
    ]


@pytest.mark.pitfall(16)
@pytest.mark.parametrize("kind", ["error", "warning"])
def test_an_error_carries_its_text_in_both_places(kind: MessageType) -> None:
    assert sent(kind, "No more tokens") == {
        "type": kind,
        "data": "No more tokens",
        "message": "No more tokens",
    }


@pytest.mark.parametrize("kind", ["log", "end_stream", "send_input"])
def test_no_other_message_has_a_second_place(kind: MessageType) -> None:
    assert set(sent(kind, "text")) == {"type", "data"}


def test_an_exception_is_sent_as_its_text() -> None:
    assert sent("error", ValueError("no")) == {"type": "error", "data": "no", "message": "no"}


@pytest.mark.parametrize("kind", ["error", "warning"])
@pytest.mark.parametrize("letter", ["x", "\0", "ä", "😀"])
def test_the_text_of_an_error_is_bounded(kind: MessageType, letter: str) -> None:
    found = sent(kind, letter * 100_000)
    assert found["data"] == found["message"] == letter * LONGEST_TEXT


@given(st.text())
@settings(deadline=None, max_examples=60)
def test_any_text_is_sent_as_json_of_one_line(text: str) -> None:
    message = create_message("error", text)
    assert "\n" not in message
    assert message.isascii()
    assert json.loads(message)["data"] == text[:LONGEST_TEXT]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
@settings(deadline=None, max_examples=40)
def test_any_json_value_arrives_as_it_is(data: Any) -> None:
    assert sent("log", data)["data"] == ([] if data is None else data)


def test_an_empty_text_stays_an_empty_text() -> None:
    assert sent("error", "")["message"] == ""


def test_an_error_of_a_user_carries_its_message() -> None:
    error = WebRTCError("Too busy")
    assert (error.message, str(error)) == ("Too busy", "Too busy")


def test_a_warning_outside_a_call_is_only_an_object() -> None:
    assert Warning().message == "Warning issued."
    assert str(Warning("The model is slow")) == "The model is slow"
