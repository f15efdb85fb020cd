"""What early replies may cost: inputs, threads, and the end of the call."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fastrtc import ReplyOnPause
from tests.handlers.lines import Audio, Line, matches, noise, voice
from tests.samples import spoken

# Inputs


def test_a_function_that_needs_inputs_is_not_called_early_without_them() -> None:
    got: list[tuple[float, str]] = []

    def reply(audio: Audio, name: str) -> Iterator[Any]:
        got.append((spoken(audio), name))
        yield noise(0.2)

    with Line(ReplyOnPause(reply, speculative=True), inputs=["alto"]) as call:
        call.say(voice(0.5))
        call.wait(0.15)
        assert not got
        assert "send_input" not in [m.type for m in call.messages]
        call.say(voice(0.5))
        call.wait(2.0)
        assert [turn.speculated for turn in call.turns] == [0]
    ((seconds, name),) = got
    assert seconds > 1.15
    assert name == "alto"


def test_inputs_that_a_handler_insists_on_are_waited_for() -> None:
    got: list[Any] = []

    def reply(audio: Audio, *inputs: Any) -> Iterator[Any]:
        got.append(inputs)
        yield noise(0.2)

    handler = ReplyOnPause(reply, speculative=True, needs_args=True)
    with Line(handler, inputs=["alto"]) as call:
        call.say(voice(0.5))
        call.wait(2.0)
    assert got == [("alto",)]


def test_inputs_are_not_lost_with_a_reply_that_is_discarded() -> None:
    got: list[str] = []

    def reply(audio: Audio, name: str) -> Iterator[Any]:
        got.append(name)
        yield noise(0.2)

    with Line(ReplyOnPause(reply, speculative=True)) as call:
        call.do(lambda: call.handler.set_args(["alto"]))
        for _ in range(3):
            call.say(voice(0.5))
            call.wait(0.15)
        call.wait(2.0)
        assert "send_input" not in [m.type for m in call.messages]
        assert matches(call.heard_sound(), noise(0.2))
    assert got == ["alto"] * 3


def test_a_reply_that_is_adopted_uses_its_inputs_up() -> None:
    got: list[str] = []

    def reply(audio: Audio, name: str) -> Iterator[Any]:
        got.append(name)
        yield noise(0.2)

    with Line(ReplyOnPause(reply, speculative=True), inputs=["bass"]) as call:
        call.do(lambda: call.handler.set_args(["alto"]))
        for _ in range(2):
            call.say(voice(0.5))
            call.wait(1.5)
        assert [m.type for m in call.messages].count("send_input") == 1
    assert got == ["alto", "bass"]


def test_inputs_that_come_after_an_early_call_are_those_of_the_reply() -> None:
    got: list[str] = []

    def reply(audio: Audio, name: str = "none") -> Iterator[Any]:
        got.append(name)
        yield noise(0.2)

    with Line(ReplyOnPause(reply, speculative=True)) as call:
        call.say(voice(0.5))
        call.wait(0.15)
        call.do(lambda: call.handler.set_args(["alto"]))
        call.wait(1.5)
        assert matches(call.heard_sound(), noise(0.2))
    assert got == ["none", "alto"]


# Functions that do not come back


def test_functions_that_block_do_not_pile_up_and_the_real_reply_is_made() -> None:
    release = threading.Event()
    said: list[Audio] = []

    def reply(audio: Audio) -> Iterator[Any]:
        said.append(audio)
        if len(said) <= 2:
            with call.session.workers.may_block():
                release.wait(30)
            return
        yield noise(0.5)

    with Line(ReplyOnPause(reply, speculative=True)) as call:
        for _ in range(6):
            call.say(voice(0.3))
            call.wait(0.15)
        assert len(said) == 2
        call.wait(1.5)
        assert len(said) == 3
        assert spoken(said[2]) > 6 * 0.45 - 0.2
        assert matches(call.heard_sound(), noise(0.5))
        assert not call.errors
        assert call.session.workers.threads <= 4
        release.set()


def test_early_replies_are_begun_again_when_the_stuck_ones_have_come_back() -> None:
    release = threading.Event()
    calls = 0

    def reply(audio: Audio) -> Iterator[Any]:
        nonlocal calls
        calls += 1
        if not release.is_set():
            with call.session.workers.may_block():
                release.wait(30)
        yield noise(0.5)

    with Line(ReplyOnPause(reply, speculative=True)) as call:
        for _ in range(4):
            call.say(voice(0.3))
            call.wait(0.15)
        release.set()
        call.wait(2.0)
        before = calls
        call.say(voice(0.3))
        call.wait(0.15)
        assert calls == before + 1


def test_an_async_function_that_is_discarded_stops_where_it_awaits() -> None:
    reached: list[str] = []

    async def reply(audio: Audio) -> AsyncIterator[Any]:
        reached.append("called")
        await asyncio.sleep(0.2)
        reached.append("thought")
        yield noise(0.5)

    with Line(ReplyOnPause(reply, speculative=True)) as call:
        call.say(voice(0.3))
        call.wait(0.15)
        call.say(voice(0.3))
        call.wait(2.0)
    assert reached == ["called", "called", "thought"]


# The end of the call


def test_hanging_up_with_an_early_reply_in_the_making_gives_everything_back() -> None:
    ended: list[str] = []

    async def reply(audio: Audio) -> AsyncIterator[Any]:
        try:
            yield noise(0.5)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            ended.append("closed")

    with Line(ReplyOnPause(reply, speculative=True)) as call:
        call.say(voice(0.5))
        call.wait(0.15)
        call.hang_up()
        assert ended == ["closed"]
        assert not call.session._tasks
        assert not call.turns
        assert not call.heard[1].any()


def test_hanging_up_does_not_wait_for_an_early_reply_that_blocks() -> None:
    release = threading.Event()

    def reply(audio: Audio) -> Iterator[Any]:
        with call.session.workers.may_block():
            release.wait(30)
        yield noise(0.5)

    began = time.monotonic()
    with Line(ReplyOnPause(reply, speculative=True)) as call:
        call.say(voice(0.5))
        call.wait(0.15)
        call.hang_up()
        assert not call.connected
    assert time.monotonic() - began < 20
    release.set()


@pytest.mark.parametrize("pause", [0.05, 0.1, 0.2, 0.25, 0.3])
def test_whenever_the_caller_goes_on_there_is_one_reply_to_all_of_it(pause: float) -> None:
    said: list[Audio] = []

    async def reply(audio: Audio) -> AsyncIterator[Any]:
        said.append(audio)
        await asyncio.sleep(0.1)
        yield noise(0.3, len(said))

    with Line(ReplyOnPause(reply, speculative=True)) as call:
        call.say(voice(0.5))
        call.wait(pause)
        call.say(voice(0.5))
        call.wait(2.0)
        assert matches(call.heard_sound(), noise(0.3, len(said)))
    assert spoken(said[-1]) > 1.0 + pause
