"""What in a request says which call it belongs to."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.cluster.keys import LONGEST, MOST_FIELDS, Key, read_key, refusal_in


def key_of(body: Any, path: str = "/", query: bytes = b"") -> Key:
    return read_key(path, query, json.dumps(body).encode())


# Where ids are.


def test_a_query_names_the_call() -> None:
    assert read_key("/outputs", b"webrtc_id=ann") == Key("ann")
    assert read_key("/outputs", b"a=b&webrtc_id=%C3%A9t%C3%A9+1&webrtc_id=bob") == Key("été 1")


def test_the_body_of_a_candidate_names_the_call() -> None:
    body = {"webrtc_id": "ann", "type": "ice-candidate", "candidate": {"candidate": ""}}
    assert key_of(body) == Key("ann")


def test_a_hook_of_a_user_names_the_call_in_its_body() -> None:
    assert key_of({"webrtc_id": "ann", "inputs": [1, "two"]}) == Key("ann")
    assert key_of({"call": {"webrtc_id": "ann"}, "text": "hello"}) == Key("ann")


def test_an_offer_begins_a_call() -> None:
    body = {"webrtc_id": "ann", "type": "offer", "sdp": "v=0"}
    assert key_of(body) == Key("ann", begins=True)
    assert key_of({**body, "reconnected": True}) == Key("ann", begins=True, again=True)


@pytest.mark.parametrize("more", [{"type": "answer"}, {"type": "offer"}, {"sdp": "v=0"}])
def test_a_part_of_an_offer_begins_none(more: Any) -> None:
    assert not key_of({"webrtc_id": "ann", **more}).begins


def test_an_offer_of_another_call_than_the_query_names_begins_none() -> None:
    body = {"webrtc_id": "bob", "type": "offer", "sdp": "v=0"}
    assert key_of(body, query=b"webrtc_id=ann") == Key("ann")


def test_nothing_names_no_call() -> None:
    assert not read_key("/", b"")
    assert not key_of({"id": "ann"})


# Gradio.


def test_an_offer_of_a_gradio_page_names_its_call_and_the_page() -> None:
    body = {
        "data": {"sdp": "v=0", "type": "offer", "webrtc_id": "ann"},
        "component_id": 7,
        "fn_name": "offer",
        "session_hash": "page",
    }
    assert key_of(body, "/gradio_api/component_server") == Key("ann", "page", begins=True)


@pytest.mark.parametrize("value", [{"webrtc_id": "ann", "textbox": ""}, {"webrtc_id": "ann"}])
def test_an_event_of_a_gradio_page_names_the_call_among_its_values(value: Any) -> None:
    body = {"data": [value, "a text", 3], "fn_index": 2, "session_hash": "page"}
    assert key_of(body, "/gradio_api/run/predict") == Key("ann", "page")


def test_an_event_that_is_queued_belongs_to_the_page_which_waits_for_what_comes_of_it() -> None:
    body = {"data": [{"webrtc_id": "ann"}], "fn_index": 2, "session_hash": "page"}
    assert key_of(body, "/gradio_api/queue/join") == Key(page="page")
    assert key_of(body, "/voice/gradio_api/queue/join") == Key(page="page")


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/gradio_api/queue/data", b"session_hash=page"),
        ("/gradio_api/heartbeat/page", b""),
        ("/gradio_api/stream/page/1/2/playlist.m3u8", b""),
        ("/below/gradio_api/heartbeat/page", b""),
    ],
)
def test_what_a_page_reads_names_the_page(path: str, query: bytes) -> None:
    assert read_key(path, query) == Key(page="page")


@pytest.mark.parametrize("path", ["/", "/webrtc/offer", "/queue/join"])
def test_outside_of_gradio_nothing_names_a_page(path: str) -> None:
    assert not read_key(path, b"session_hash=page")
    assert key_of({"session_hash": "page", "webrtc_id": "ann"}, path) == Key("ann")


# What is malformed, or means harm.


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"null",
        b"7",
        b'"webrtc_id"',
        b"\xff\xfe\x00",
        b'{"webrtc_id": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"1" * 5_000,
        b'{"webrtc_id": NaN}',
        b"\x00" * 100,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_says_nothing_names_no_call(body: bytes) -> None:
    assert not read_key("/", b"", body)
    assert refusal_in(body) == ""


@pytest.mark.parametrize("given_id", [None, 7, 1.5, True, [], ["ann"], {}, "", "x" * (LONGEST + 1)])
def test_what_is_no_id_is_none(given_id: Any) -> None:
    assert not key_of({"webrtc_id": given_id, "session_hash": given_id})


def test_the_longest_id_is_one() -> None:
    assert key_of({"webrtc_id": "x" * LONGEST}).call == "x" * LONGEST


def test_half_a_character_is_no_part_of_an_id() -> None:
    assert not read_key("/", b"", b'{"webrtc_id": "\\ud800"}')


def test_an_id_that_is_too_deep_is_not_looked_for() -> None:
    body: Any = {"webrtc_id": "ann"}
    for _ in range(10):
        body = [body]
    assert not key_of(body)


def test_an_id_behind_very_many_values_is_not_looked_for() -> None:
    assert not key_of([[0] * 100_000, [{"webrtc_id": "ann"}]])


def test_a_query_of_very_many_fields_says_nothing() -> None:
    assert not read_key("/", b"&".join([b"a=b"] * MOST_FIELDS + [b"webrtc_id=ann"]))


ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=LONGEST)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["webrtc_id", "session_hash", "type", "sdp", "status", "meta", "x"]),
            inner,
        )
    ),
)


@settings(max_examples=50)
@given(st.text(), st.binary(), st.binary())
def test_no_bytes_are_an_error(path: str, query: bytes, body: bytes) -> None:
    assert len(read_key(path, query, body).call) <= LONGEST
    assert isinstance(refusal_in(body), str)


@settings(max_examples=50)
@given(anything)
def test_no_json_is_an_error(body: Any) -> None:
    key = key_of(body)
    assert max(len(key.call), len(key.page)) <= LONGEST
    assert isinstance(refusal_in(json.dumps(body).encode()), str)


@given(ids)
def test_any_id_is_read_from_a_query_and_from_a_body(call_id: str) -> None:
    assert read_key("/", f"webrtc_id={quote(call_id)}".encode()).call == call_id
    assert key_of({"webrtc_id": call_id}).call == call_id


# Answers.


def test_the_reason_of_a_refusal_is_read() -> None:
    body = {"status": "failed", "meta": {"error": "shutting_down"}}
    assert refusal_in(json.dumps(body).encode()) == "shutting_down"


@pytest.mark.parametrize(
    "body", [{"type": "answer", "sdp": "v=0"}, {"status": "success"}, {"status": "failed"}, []]
)
def test_another_answer_is_no_refusal(body: Any) -> None:
    assert refusal_in(json.dumps(body).encode()) == ""
