"""Replies that are begun when the caller may have finished, and held until that is sure."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fastrtc import AdditionalOutputs, ReplyOnPause
from tests.handlers.lines import Advice, Audio, Line, matches, noise, voice
from tests.samples import Recorder, spoken

LATE = Advice(0.01)
"""Has a turn end about a second after its last word, so that there is time."""


def talk_on(call: Line, pause: float = 0.15, wait: float = 2.5) -> None:
    """Say something in two parts."""
    call.say(voice(0.5))
    call.wait(pause)
    call.say(voice(0.5))
    call.wait(wait)


# A reply that is adopted


def test_what_was_made_early_is_heard_the_moment_the_turn_is_over() -> None:
    async def reply(audio: Audio) -> AsyncIterator[Any]:
        await asyncio.sleep(0.3)
        yield noise(0.5)

    with Line(ReplyOnPause(reply, speculative=True), endpoint=LATE) as call:
        call.say(voice(1.0))
        call.wait(3.0)
        (turn,) = call.turns
        assert matches(call.heard_sound(), noise(0.5))
    assert turn.decided is not None
    assert turn.first_output is not None
    assert turn.speech_end is not None
    assert 0.3 < turn.first_output - turn.speech_end < 0.4
    assert turn.first_sound == turn.decided


def test_a_slow_function_is_heard_its_own_time_after_its_call_and_not_after_the_decision() -> None:
    called: list[float] = []

    async def reply(audio: Audio) -> AsyncIterator[Any]:
        called.append(call.now)
        await asyncio.sleep(0.6)
        yield noise(0.5)

    with Line(ReplyOnPause(reply, speculative=True)) as call:
        call.say(voice(1.0))
        ended = call.now
        call.wait(3.0)
        start, _ = call.sounds[0]
    assert called[0] - ended < 0.1
    assert start - called[0] == pytest.approx(0.6, abs=0.03)


async def _agen(audio: Audio) -> AsyncIterator[Any]:
    yield noise(0.5)


async def _coroutine(audio: Audio) -> Iterator[Any]:
    return iter([noise(0.5)])


def _gen(audio: Audio) -> Iterator[Any]:
    yield noise(0.5)


@pytest.mark.parametrize(
    "function",
    [_gen, _agen, _coroutine, lambda audio: iter([noise(0.5)]), lambda audio: _agen(audio)],
    ids=["generator", "async generator", "coroutine", "iterator", "lambda"],
)
def test_all_kinds_of_functions_may_be_called_early(function: Callable[..., Any]) -> None:
    with Line(ReplyOnPause(function, speculative=True)) as call:
        talk_on(call)
        assert matches(call.heard_sound(), noise(0.5))
        assert not call.errors
        assert [turn.speculated for turn in call.turns] == [1]


def test_an_early_reply_longer_than_may_be_queued_is_heard_whole() -> None:
    async def reply(audio: Audio) -> AsyncIterator[Any]:
        for second in range(15):
            yield noise(1.0, second)

    with Line(ReplyOnPause(reply, speculative=True), endpoint=LATE) as call:
        call.say(voice(1.0))
        call.wait(18.0)
        whole = np.concatenate([noise(1.0, second)[1] for second in range(15)], axis=1)
        assert matches(call.heard_sound(), (24_000, whole))


def test_the_log_of_an_early_reply_reads_as_that_of_any_other() -> None:
    with Line(ReplyOnPause(Recorder(), speculative=True)) as call:
        talk_on(call)
    assert call.log == [
        "started_talking",
        "pause_detected",
        "response_starting",
        "response_finished",
    ]


def test_a_forced_turn_takes_the_early_reply() -> None:
    recorder = Recorder()
    with Line(ReplyOnPause(recorder, speculative=True), endpoint=LATE) as call:
        call.say(voice(1.0))
        call.wait(0.1)
        forced = call.now
        call.handler.trigger_response()
        call.wait(2.0)
        assert call.sounds[0][0] - forced < 0.05
    assert len(recorder.said) == 1


def test_an_early_reply_is_protected_where_replies_may_not_be_interrupted() -> None:
    recorder = Recorder(seconds=2.0)
    with Line(ReplyOnPause(recorder, speculative=True, can_interrupt=False)) as call:
        call.say(voice(1.0))
        call.wait(1.0)
        call.say(voice(1.0))
        call.wait(4.0)
        first, second = call.sounds
    assert first[1] - first[0] == pytest.approx(2.0, abs=0.03)
    assert second[1] - second[0] == pytest.approx(2.0, abs=0.03)
    assert "interrupted" not in call.log


def test_nothing_is_begun_early_unless_it_is_asked_for() -> None:
    recorder = Recorder()
    with Line(ReplyOnPause(recorder)) as call:
        talk_on(call)
        assert [turn.speculated for turn in call.turns] == [0]
    assert len(recorder.said) == 1


# A reply that is discarded


class Twice:
    """A function with much to say at once; notes what becomes of its calls."""

    def __init__(self) -> None:
        self.said: list[Audio] = []
        self.ended: list[int] = []

    def reply(self, audio: Audio) -> Iterator[Any]:
        self.said.append(audio)
        number = len(self.said)
        try:
            yield AdditionalOutputs(number)
            yield noise(0.5, number), AdditionalOutputs(number)
        finally:
            self.ended.append(number)

    async def areply(self, audio: Audio) -> AsyncIterator[Any]:
        self.said.append(audio)
        number = len(self.said)
        try:
            yield AdditionalOutputs(number)
            yield noise(0.5, number), AdditionalOutputs(number)
            await asyncio.sleep(0.4)
        finally:
            self.ended.append(number)


@pytest.mark.parametrize("name", ["reply", "areply"])
def test_a_discarded_reply_leaves_no_trace(name: str) -> None:
    twice = Twice()
    with Line(ReplyOnPause(getattr(twice, name), speculative=True)) as call:
        call.say(voice(0.5))
        call.wait(0.15)
        assert len(twice.said) == 1
        call.say(voice(0.5))
        assert twice.ended == [1]
        assert call.log == ["started_talking"]
        assert len(call.messages) == 1
        call.wait(2.5)
        assert [outputs.args for outputs in call.outputs] == [(2,), (2,)]
        assert matches(call.heard_sound(), noise(0.5, 2))
        assert [turn.speculated for turn in call.turns] == [1]
        assert [m.type for m in call.messages].count("fetch_output") == 2
    assert twice.ended == [1, 2]


@pytest.mark.parametrize("parts", [2, 3])
def test_the_next_call_gets_all_that_was_said_from_its_first_word(parts: int) -> None:
    recorder = Recorder()
    with Line(ReplyOnPause(recorder, speculative=True)) as call:
        call.wait(1.0)
        for _ in range(parts):
            call.say(voice(0.5))
            call.wait(0.15)
        call.wait(1.5)
    assert len(recorder.said) == parts
    rate, samples = recorder.said[-1]
    loud = np.flatnonzero(np.abs(samples[0]) > 1_000) / rate
    assert 0.25 < loud[0] < 0.35
    assert loud[-1] - loud[0] == pytest.approx(parts * 0.65 - 0.15, abs=0.02)


def test_an_early_error_is_told_if_its_reply_is_adopted() -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        raise KeyError(round(spoken(audio), 1))
        yield

    with Line(ReplyOnPause(reply, speculative=True)) as call:
        call.say(voice(0.5))
        call.wait(0.15)
        assert not call.errors
        call.wait(2.0)
        assert len(call.errors) == 1
        assert call.turns[0].error == call.errors[0]


def test_an_early_error_is_for_the_log_alone_if_its_reply_is_discarded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = 0

    def reply(audio: Audio) -> Iterator[Any]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise KeyError("half a question")
        yield noise(0.5)

    with Line(ReplyOnPause(reply, speculative=True)) as call, caplog.at_level(logging.WARNING):
        talk_on(call)
        assert not call.errors
        assert call.turns[0].error is None
    assert "half a question" in caplog.text


def test_an_error_of_a_function_that_is_discarded_while_it_runs_is_for_the_log_alone() -> None:
    calls, gone = 0, threading.Event()

    def reply(audio: Audio) -> Iterator[Any]:
        nonlocal calls
        calls += 1
        if calls == 1:
            with call.session.workers.may_block():
                gone.wait(30)
            raise KeyError("half a question")
        yield noise(0.5)

    with Line(ReplyOnPause(reply, speculative=True)) as call:
        call.say(voice(0.5))
        call.wait(0.15)
        call.say(voice(0.5))
        gone.set()
        call.wait(2.0)
        assert matches(call.heard_sound(), noise(0.5))
        assert not call.errors


def test_the_first_output_of_a_discarded_reply_is_not_that_of_its_turn() -> None:
    calls = 0

    async def reply(audio: Audio) -> AsyncIterator[Any]:
        nonlocal calls
        calls += 1
        if calls > 1:
            await asyncio.sleep(30)
        yield noise(0.5)

    with Line(ReplyOnPause(reply, speculative=True)) as call:
        talk_on(call)
        call.hang_up()
        (turn,) = call.turns
    assert calls == 2
    assert turn.first_output is None
