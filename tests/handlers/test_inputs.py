"""Inputs of the page for the function of a `ReplyOnPause`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fastrtc import ReplyOnPause
from fastrtc.testing import VirtualCall
from tests.conftest import Sound, tone


def test_a_function_with_more_parameters_gets_the_inputs_of_the_page(phrase: Sound) -> None:
    got: list[Any] = []

    def reply(audio: Any, voice: str, speed: float) -> Iterator[Any]:
        got.append((voice, speed))
        yield tone(0.2)

    with VirtualCall(ReplyOnPause(reply), inputs=["alto", 1.5]) as call:
        call.say(phrase)
        call.wait(1.5)
        call.say(phrase)
        call.wait(1.5)
        assert [m.type for m in call.messages].count("send_input") == 2
    assert got == [("alto", 1.5)] * 2


def test_inputs_that_are_already_there_are_not_asked_for(phrase: Sound) -> None:
    got: list[Any] = []

    def reply(audio: Any, voice: str) -> Iterator[Any]:
        got.append(voice)
        yield tone(0.2)

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.do(lambda: call.handler.set_args(["bass"]))
        call.say(phrase)
        call.wait(1.5)
        assert "send_input" not in [m.type for m in call.messages]
    assert got == ["bass"]


@pytest.mark.pitfall(19)
def test_inputs_that_never_come_are_an_error_and_the_next_turn_works(phrase: Sound) -> None:
    got: list[Any] = []

    def reply(audio: Any, voice: str) -> Iterator[Any]:
        got.append(voice)
        yield tone(0.2)

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(62.0)
        assert len(call.errors) == 1
        call.do(lambda: call.handler.set_args(["bass"]))
        call.say(phrase)
        call.wait(1.5)
    assert got == ["bass"]


def test_a_caller_may_interrupt_the_wait_for_inputs(phrase: Sound) -> None:
    got: list[Any] = []

    def reply(audio: Any, voice: str) -> Iterator[Any]:
        got.append(voice)
        yield tone(0.2)

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(1.0)
        call.say(phrase)
        call.wait(1.0)
        call.do(lambda: call.handler.set_args(["bass"]))
        call.wait(1.0)
    assert got == ["bass"]


def test_a_function_that_can_do_without_inputs_is_not_kept_waiting(phrase: Sound) -> None:
    got: list[Any] = []

    def reply(audio: Any, voice: str = "tenor") -> Iterator[Any]:
        got.append(voice)
        yield tone(0.2)

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        ended = call.now
        call.wait(3.0)
        assert call.sounds[0][0] - ended < 0.5
    assert got == ["tenor"]


def test_inputs_with_defaults_are_asked_for_while_the_caller_talks(phrase: Sound) -> None:
    got: list[Any] = []

    def reply(audio: Any, voice: str = "tenor") -> Iterator[Any]:
        got.append(voice)
        yield tone(0.2)

    with VirtualCall(ReplyOnPause(reply), inputs=["alto"]) as call:
        call.say(phrase)
        call.wait(3.0)
    assert got == ["alto"]


def test_on_the_telephone_defaults_stand_in_for_inputs(phrase: Sound) -> None:
    got: list[Any] = []

    def reply(audio: Any, voice: str = "tenor") -> Iterator[Any]:
        got.append(voice)
        yield tone(0.2)

    with VirtualCall(ReplyOnPause(reply), phone_mode=True) as call:
        call.say(phrase)
        call.wait(1.0)
        assert "send_input" not in [m.type for m in call.messages]
    assert got == ["tenor"]


def test_a_greeting_gets_the_inputs_that_it_names() -> None:
    got: list[Any] = []

    def greet(name: str) -> Iterator[Any]:
        got.append(name)
        yield tone(0.2)

    def reply(audio: Any) -> Iterator[Any]:
        yield tone(0.2)

    with VirtualCall(ReplyOnPause(reply, startup_fn=greet), inputs=["Ada"]) as call:
        call.wait(1.0)
    assert got == ["Ada"]
