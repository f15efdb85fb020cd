"""What ends a reply that is held, and what becomes of the line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from fastrtc import InterruptionPolicy, ReplyOnPause
from tests.handlers.lines import Audio, Line, Talker, answered, matches, noise, voice

REPLY = noise(4.0)
POLICY = InterruptionPolicy()


def test_as_much_voice_as_is_surely_meant_ends_a_reply() -> None:
    talker = Talker()
    with Line(ReplyOnPause(talker)) as call:
        answered(call)
        onset = call.now
        call.say(voice(POLICY.min_speech + 0.1))
        interrupted = next(m.at for m in call.messages if m.data == "interrupted")
        assert call.turns[0].interrupted
        assert len(call.cleared) == 1
        call.wait(1.2)
        assert not call.turns[0].false_alarms
    assert interrupted - onset == pytest.approx(POLICY.min_speech + 0.02, abs=0.05)
    assert len(talker.said) == 2
    # What was said while the reply was held is in it, and the soft sound before.
    rate, samples = talker.said[1]
    loud = np.flatnonzero(np.abs(samples[0]) > 1_000) / rate
    assert 0.25 < loud[0] < 0.35
    assert loud[-1] - loud[0] == pytest.approx(POLICY.min_speech + 0.1, abs=0.02)


def test_voice_in_two_parts_counts_together() -> None:
    with Line(ReplyOnPause(Talker())) as call:
        answered(call)
        for _ in range(2):
            call.say(voice(POLICY.min_speech / 2 + 0.05))
            call.wait(0.2)
        assert call.turns[0].interrupted


def test_a_word_before_anything_of_the_reply_was_heard_belongs_to_the_turn() -> None:
    said: list[Audio] = []

    async def reply(audio: Audio) -> AsyncIterator[Any]:
        said.append(audio)
        await asyncio.sleep(1.0)
        yield REPLY

    with Line(ReplyOnPause(reply)) as call:
        call.say(voice(0.5))
        call.wait(0.5)
        call.say(voice(0.4))
        call.wait(3.0)
        assert call.turns[0].interrupted
        assert len(call.sounds) == 1
    assert len(said) == 2


def test_clearing_the_queue_while_a_reply_is_held_ends_it_and_the_line_listens() -> None:
    talker = Talker()
    with Line(ReplyOnPause(talker)) as call:
        answered(call)
        call.say(voice(0.2))
        call.handler.clear_queue()
        call.wait(0.1)
        cleared = call.now
        assert len(call.turns) == 1
        assert call.turns[0].heard.seconds < 1.5
        call.wait(1.0)
        call.say(voice(1.0))
        call.wait(2.0)
        assert call.sounds[-1][0] > cleared
    assert len(talker.said) >= 2


def test_nothing_is_heard_of_a_held_reply_that_is_cleared() -> None:
    with Line(ReplyOnPause(Talker())) as call:
        answered(call)
        call.say(voice(0.2))
        before = call.now
        call.handler.clear_queue()
        call.wait(0.1)
        assert not call.heard_between(before - 0.05, call.now).any()


def test_hanging_up_while_a_reply_is_held_gives_everything_back() -> None:
    ended: list[str] = []

    async def reply(audio: Audio) -> AsyncIterator[Any]:
        try:
            yield REPLY
            await asyncio.sleep(60)
        finally:
            ended.append("closed")

    with Line(ReplyOnPause(reply)) as call:
        answered(call)
        call.say(voice(0.2))
        call.hang_up()
        assert not call.connected
        (turn,) = call.turns
        assert not turn.interrupted
        assert 1.0 < turn.heard.seconds < 1.5
    assert ended == ["closed"]


def test_a_reply_that_may_not_be_interrupted_is_never_held() -> None:
    with Line(ReplyOnPause(Talker(), can_interrupt=False)) as call:
        answered(call)
        call.say(voice(0.2))
        call.wait(5.0)
        assert matches(call.heard_sound()[: REPLY[1].shape[1]], REPLY)
        assert "may interrupt" not in call.kinds()
        assert not call.turns[0].false_alarms
