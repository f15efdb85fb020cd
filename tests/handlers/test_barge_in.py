"""Interruptions, and replies that may not be interrupted: human speech, virtual time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastrtc import AdditionalOutputs, InterruptionPolicy, ReplyOnPause
from fastrtc.testing import VirtualCall
from tests.conftest import Sound, tone
from tests.samples import Recorder, spoken

Audio = tuple[int, NDArray[np.int16]]


@pytest.mark.pitfall(1)
def test_speech_over_a_reply_silences_it_while_the_caller_still_talks(phrase: Sound) -> None:
    with VirtualCall(ReplyOnPause(Recorder(seconds=10.0))) as call:
        call.say(phrase)
        call.wait(2.0)
        onset = call.now
        call.say(phrase)
        silent = call.sounds[-1][1]
        heard_after = call.heard_between(silent, call.now)
    assert silent - onset < 0.25
    assert not heard_after.any()


@pytest.mark.pitfall(1)
def test_speech_that_goes_on_over_a_reply_ends_it_while_the_caller_still_talks(
    phrase: Sound,
) -> None:
    with VirtualCall(ReplyOnPause(Recorder(seconds=10.0))) as call:
        call.say(phrase)
        call.wait(2.0)
        onset = call.now
        call.say(phrase)
        stopped = next(m.at for m in call.messages if m.data == "interrupted")
    # The phrase begins with 0.05 s of silence.
    assert 0.0 < stopped - onset - InterruptionPolicy().min_speech < 0.15


@pytest.mark.pitfall(28)
def test_an_interrupted_reply_fades_and_does_not_click(phrase: Sound) -> None:
    with VirtualCall(ReplyOnPause(Recorder(seconds=10.0))) as call:
        call.say(phrase)
        call.wait(2.0)
        call.say(phrase)
        rate, heard = call.heard
    smooth = np.abs(np.diff(tone(1.0)[1][0].astype(np.int64))).max()
    stop = int(np.flatnonzero(heard[0])[-1])
    assert np.abs(np.diff(heard[0, stop - rate // 10 :].astype(np.int64))).max() <= 1.2 * smooth


@pytest.mark.pitfall(5)
def test_speech_that_goes_on_when_a_reply_ends_is_kept_whole(phrase: Sound) -> None:
    reply = Recorder(seconds=1.0)
    with VirtualCall(ReplyOnPause(reply, can_interrupt=False)) as call:
        call.say(phrase)
        call.wait(0.9)
        call.say(phrase)
        call.wait(3.0)
    assert len(reply.said) == 2
    assert spoken(reply.said[1]) > spoken((phrase[0], phrase[1])) * 0.9


@pytest.mark.pitfall(6)
def test_a_protected_reply_is_heard_to_its_end_though_its_function_returned_long_ago(
    phrase: Sound,
) -> None:
    reply = Recorder(seconds=4.0)
    with VirtualCall(ReplyOnPause(reply, can_interrupt=False)) as call:
        call.say(phrase)
        call.wait(1.0)
        call.say(phrase)
        call.wait(10.0)
        sounds = call.sounds
    assert "interrupted" not in call.log
    assert sounds[0][1] - sounds[0][0] > 3.9
    assert len(reply.said) == 2


@pytest.mark.pitfall(7)
def test_what_a_blocked_function_yields_after_an_interruption_is_never_heard(
    phrase: Sound,
) -> None:
    blocked, release = threading.Event(), threading.Event()
    closed = threading.Event()
    calls = 0

    def reply(audio: Audio) -> Iterator[Any]:
        nonlocal calls
        calls += 1
        if calls > 1:
            yield tone(0.5, hertz=1_000)
            return
        try:
            yield tone(0.2)
            blocked.set()
            with call.session.workers.may_block():
                release.wait(30)
            yield tone(5.0)
        finally:
            closed.set()

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(1.0)
        assert blocked.is_set()
        call.say(phrase)
        call.wait(1.5)
        assert call.log.count("response_starting") == 2
        before = len(call.sounds)
        release.set()
        call.wait(3.0)
        assert len(call.sounds) == before
    assert closed.wait(5)


def test_an_interrupted_async_generator_is_closed(phrase: Sound) -> None:
    ended: list[str] = []

    async def reply(audio: Audio) -> AsyncIterator[Any]:
        try:
            yield tone(0.3)
            await asyncio.sleep(60)
        finally:
            ended.append("closed")

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(1.0)
        assert not ended
        call.say(phrase)
        assert ended == ["closed"]


def test_a_greeting_can_be_interrupted(phrase: Sound) -> None:
    def greet() -> Iterator[Any]:
        yield tone(10.0)

    with VirtualCall(ReplyOnPause(Recorder(), startup_fn=greet)) as call:
        call.wait(1.0)
        call.say(phrase)
        assert "interrupted" in call.log


def test_a_caller_who_interrupts_stuck_functions_again_and_again_is_refused_in_words(
    phrase: Sound,
) -> None:
    release = threading.Event()

    def reply(audio: Audio) -> Iterator[Any]:
        with call.session.workers.may_block():
            release.wait(30)
        yield tone(0.1)

    with VirtualCall(ReplyOnPause(reply)) as call:
        for _ in range(8):
            call.say(phrase)
            call.wait(1.0)
        threads = call.session.workers.threads
        refused = [error for error in call.errors if "still being computed" in error]
        release.set()
    assert threads <= 8
    assert refused


def test_a_reply_without_sound_leaves_the_line_listening(phrase: Sound) -> None:
    calls: list[Audio] = []

    def reply(audio: Audio) -> Iterator[Any]:
        calls.append(audio)
        yield AdditionalOutputs("noted")

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(1.0)
        call.say(phrase)
        call.wait(1.0)
    assert len(calls) == 2
    assert "interrupted" not in call.log


def test_a_sleeping_function_keeps_nobody_waiting_at_the_end_of_the_call(phrase: Sound) -> None:
    release = threading.Event()

    def reply(audio: Audio) -> Iterator[Any]:
        with call.session.workers.may_block():
            release.wait(30)
        yield tone(0.1)

    began = time.monotonic()
    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(1.0)
        call.hang_up()
        assert not call.connected
    assert time.monotonic() - began < 20
    release.set()
