"""Callers who may type: a reply function gets `WebRTCData`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fastrtc import ReplyOnPause, ReplyOnStopWords, Stream, WebRTCData
from fastrtc.testing import VirtualCall
from tests.conftest import Sound, tone

Got = list[tuple[Any, ...]]


def noting(got: Got, seconds: float = 0.2, **options: Any) -> Stream:
    def reply(message: WebRTCData, *inputs: Any) -> Iterator[Any]:
        got.append((message, *inputs))
        yield tone(seconds)

    return Stream(ReplyOnPause(reply, **options), ui_args={"variant": "textbox"}, verbose=False)


def type_text(call: VirtualCall, text: str, *inputs: Any) -> None:
    """As the page does it."""

    def submit() -> None:
        call.handler.set_args([WebRTCData(call.session.id, text), *inputs])
        call.handler.trigger_response()

    call.do(submit)


def test_what_is_typed_is_answered() -> None:
    got: Got = []
    with VirtualCall(noting(got)) as call:
        call.wait(0.5)
        type_text(call, "hello")
        call.wait(1.0)
        assert len(call.sounds) == 1
    ((message,),) = got
    rate, samples = message.audio
    assert (message.textbox, message.webrtc_id) == ("hello", call.session.id)
    assert (rate, samples.shape) == (48_000, (1, 0))


def test_what_is_said_is_answered_without_waiting_for_text(phrase: Sound) -> None:
    got: Got = []
    with VirtualCall(noting(got)) as call:
        call.wait(0.5)
        call.say(phrase)
        call.wait(1.5)
        assert not [it for it in call.messages if it.type == "error"]
    ((message,),) = got
    assert message.textbox == ""
    assert message.audio[1].shape[1] > 0.8 * 48_000


def test_a_text_is_answered_once(phrase: Sound) -> None:
    got: Got = []
    with VirtualCall(noting(got)) as call:
        call.wait(0.5)
        type_text(call, "hello")
        call.wait(1.0)
        call.say(phrase)
        call.wait(1.5)
    assert [message.textbox for message, *_ in got] == ["hello", ""]


def test_a_text_ends_the_reply_to_the_one_before_it() -> None:
    got: Got = []
    with VirtualCall(noting(got, seconds=20.0)) as call:
        call.wait(0.5)
        type_text(call, "one")
        call.wait(1.0)
        type_text(call, "two")
        call.wait(1.0)
        assert "interrupted" in call.log
    assert [message.textbox for message, *_ in got] == ["one", "two"]


def test_a_text_over_a_protected_reply_is_answered_after_it() -> None:
    got: Got = []
    with VirtualCall(noting(got, seconds=2.0, can_interrupt=False)) as call:
        call.wait(0.5)
        type_text(call, "one")
        call.wait(1.0)
        type_text(call, "two")
        call.wait(5.0)
        (_, first), (second, _) = call.sounds
        assert second - first < 0.2
    assert [message.textbox for message, *_ in got] == ["one", "two"]


def test_texts_over_a_protected_reply_are_one_turn() -> None:
    got: Got = []
    with VirtualCall(noting(got, seconds=2.0, can_interrupt=False)) as call:
        call.wait(0.5)
        for text in ("one", "two", "three"):
            type_text(call, text)
            call.wait(0.5)
        call.wait(5.0)
    assert [message.textbox for message, *_ in got] == ["one", "two\nthree"]


def test_inputs_that_change_meanwhile_leave_a_text_alone() -> None:
    got: Got = []
    with VirtualCall(noting(got, seconds=2.0, can_interrupt=False)) as call:
        call.wait(0.5)
        type_text(call, "one", "old")
        call.wait(0.5)
        type_text(call, "two", "old")
        call.do(lambda: call.handler.set_args(["new"]))
        call.wait(5.0)
    assert (got[1][0].textbox, got[1][1]) == ("two", "new")


def test_a_text_needs_no_stop_word() -> None:
    got: Got = []

    def reply(message: WebRTCData) -> Iterator[Any]:
        got.append((message,))
        yield tone(0.2)

    handler = ReplyOnStopWords(reply, ["computer"])
    with VirtualCall(Stream(handler, ui_args={"variant": "textbox"})) as call:
        call.wait(0.5)
        type_text(call, "hello")
        call.wait(1.0)
        assert len(call.sounds) == 1
    assert got[0][0].textbox == "hello"


def test_inputs_come_after_what_was_typed() -> None:
    got: Got = []
    with VirtualCall(noting(got)) as call:
        call.wait(0.5)
        type_text(call, "hello", 1, 2)
        call.wait(1.0)
    assert got[0][1:] == (1, 2)


@pytest.mark.parametrize("variant", ["wave", None])
def test_where_there_is_no_text_box_a_function_gets_sound(variant: Any, phrase: Sound) -> None:
    got: list[Any] = []

    def reply(audio: Any) -> Iterator[Any]:
        got.append(audio)
        yield tone(0.2)

    stream = Stream(ReplyOnPause(reply), ui_args={"variant": variant} if variant else None)
    with VirtualCall(stream) as call:
        call.wait(0.5)
        call.say(phrase)
        call.wait(1.5)
    assert isinstance(got[0], tuple)
