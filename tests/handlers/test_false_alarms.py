"""A sound over a reply: the reply is held, and goes on if nothing was meant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from fastrtc import AdditionalOutputs, InterruptionPolicy, ReplyOnPause
from fastrtc.testing import VirtualCall
from tests.conftest import Sound
from tests.handlers.lines import RATE, Audio, Line, Talker, answered, matches, noise, voice
from tests.samples import Recorder, spoken

REPLY = noise(4.0)
POLICY = InterruptionPolicy()


# A reply goes on


@pytest.mark.pitfall(13)
@pytest.mark.parametrize("seconds", [0.12, 0.2, 0.3, 0.5])
@pytest.mark.parametrize("piece", [1_111, 100_000])
def test_a_reply_that_was_held_for_a_short_noise_is_heard_whole(seconds: float, piece: int) -> None:
    talker = Talker(piece=piece)
    with Line(ReplyOnPause(talker)) as call:
        answered(call)
        call.say(voice(seconds))
        call.wait(5.0)
        assert len(call.sounds) == 2
        assert matches(call.heard_sound(), REPLY, fades=1)
        assert "interrupted" not in call.log
        assert not call.cleared
        (turn,) = call.turns
    assert len(talker.said) == 1
    assert not turn.interrupted
    assert len(turn.false_alarms) == 1


@pytest.mark.pitfall(13)
def test_a_short_human_sound_does_not_end_a_reply(phrase: Sound) -> None:
    rate, samples = phrase
    with VirtualCall(ReplyOnPause(Talker()), rate=16_000) as call:
        call.say(phrase)
        call.wait(1.0)
        call.say((rate, samples[:, round(0.15 * rate) : round(0.35 * rate)]))
        call.wait(5.0)
        assert "interrupted" not in call.log
        (turn,) = call.turns
    assert len(turn.false_alarms) == 1
    assert turn.heard.seconds == pytest.approx(4.0, abs=0.02)


@pytest.mark.pitfall(13)
def test_a_caller_who_hums_all_the_time_hears_the_whole_reply() -> None:
    talker = Talker()
    with Line(ReplyOnPause(talker)) as call:
        answered(call)
        for _ in range(4):
            call.say(voice(0.2))
            call.wait(0.8)
        call.wait(5.0)
        (turn,) = call.turns
        # Not each of them holds it: that would chop the reply to pieces.
        assert 1 <= len(turn.false_alarms) <= 4
        assert matches(call.heard_sound(), REPLY, fades=len(turn.false_alarms))
    assert len(talker.said) == 1


def test_a_turn_tells_when_its_reply_was_held_and_for_how_long() -> None:
    with Line(ReplyOnPause(Talker())) as call:
        answered(call)
        onset = call.now
        call.say(voice(0.2))
        call.wait(5.0)
        before, after = call.sounds
        ((at, seconds),) = call.turns[0].false_alarms
    assert at - onset == pytest.approx(POLICY.onset, abs=0.06)
    # The fade ends in the frame after that, and the caller's sound is known a little late.
    assert before[1] == pytest.approx(at + 0.04, abs=0.03)
    assert after[0] == pytest.approx(at + seconds, abs=0.06)
    # The rest of the noise, and the silence after it.
    assert seconds == pytest.approx(0.2 - POLICY.onset + POLICY.resume_after, abs=0.06)


def test_nothing_is_heard_while_a_reply_is_held() -> None:
    with Line(ReplyOnPause(Talker())) as call:
        answered(call)
        call.say(voice(0.2))
        call.wait(5.0)
        held, resumed = call.at("may interrupt"), call.at("false alarm")
        assert call.heard_between(held - 0.1, held).all()
        assert not call.heard_between(held + 0.06, resumed).any()
        assert call.heard_between(resumed + 0.06, resumed + 0.16).all()


def test_a_reply_that_goes_on_does_not_click() -> None:
    with Line(ReplyOnPause(Talker())) as call:
        answered(call)
        call.say(voice(0.2))
        call.wait(5.0)
        start = call.sounds[1][0]
        heard = np.abs(call.heard_between(start, start + 0.02)[0].astype(np.int64))
    assert heard[: RATE // 1_000].max() < 8_000 * 0.25


def test_noises_are_not_the_callers_words_in_the_next_turn() -> None:
    talker = Talker()
    with Line(ReplyOnPause(talker)) as call:
        answered(call)
        call.say(voice(0.2))
        call.wait(5.0)
        call.say(voice(0.7))
        call.wait(1.0)
    assert len(talker.said) == 2
    assert spoken(talker.said[1]) < 0.3 + 0.7 + 0.4


def test_noises_too_short_for_an_onset_are_not_noticed() -> None:
    with Line(ReplyOnPause(Talker())) as call:
        answered(call)
        call.say(voice(0.02))
        call.wait(5.0)
        assert len(call.sounds) == 1
        assert "may interrupt" not in call.kinds()


def test_a_greeting_goes_on_after_a_noise() -> None:
    with Line(ReplyOnPause(Recorder(), startup_fn=Talker())) as call:
        call.wait(0.5)
        call.say(voice(0.2))
        call.wait(5.0)
        assert matches(call.heard_sound(), REPLY, fades=1)
        assert len(call.turns[0].false_alarms) == 1


def test_a_noise_while_the_function_still_thinks_costs_nothing_of_the_reply() -> None:
    calls = 0

    async def reply(audio: Audio) -> AsyncIterator[Any]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(1.0)
        yield REPLY

    with Line(ReplyOnPause(reply)) as call:
        call.say(voice(0.5))
        call.wait(0.6)
        call.say(voice(0.12))
        call.wait(6.0)
        assert matches(call.heard_sound(), REPLY)
        assert len(call.turns[0].false_alarms) == 1
    assert calls == 1


def test_a_reply_whose_function_begins_to_speak_while_it_is_held_is_heard_from_its_start() -> None:
    async def reply(audio: Audio) -> AsyncIterator[Any]:
        await asyncio.sleep(0.6)
        yield REPLY

    with Line(ReplyOnPause(reply)) as call:
        call.say(voice(0.5))
        call.wait(0.7)
        call.say(voice(0.12))
        call.wait(5.0)
        resumed = call.at("false alarm")
        assert call.sounds[0][0] == pytest.approx(resumed, abs=0.04)
        assert matches(call.heard_sound(), REPLY, fades=1)


def test_the_first_sound_of_a_held_reply_is_noted_when_it_is_let_go() -> None:
    async def reply(audio: Audio) -> AsyncIterator[Any]:
        await asyncio.sleep(0.6)
        yield REPLY

    with Line(ReplyOnPause(reply)) as call:
        call.say(voice(0.5))
        call.wait(0.7)
        call.say(voice(0.12))
        call.wait(5.0)
        start = call.sounds[0][0]
        (turn,) = call.turns
        assert turn.first_sound == pytest.approx(start, abs=0.04)


def test_a_reply_whose_function_ends_while_it_is_held_is_heard_whole_and_ends_once() -> None:
    held = asyncio.Event()
    ended: list[float] = []

    async def reply(audio: Audio) -> AsyncIterator[Any]:
        yield noise(1.5, 1)
        await held.wait()
        yield noise(0.6, 2)
        ended.append(call.now)

    with Line(ReplyOnPause(reply)) as call:
        answered(call)
        call.say(voice(0.2))
        call.do(held.set)
        call.wait(3.0)
        assert ended[0] < call.at("false alarm")
        whole = np.concatenate([noise(1.5, 1)[1], noise(0.6, 2)[1]], axis=1)
        assert matches(call.heard_sound(), (RATE, whole), fades=1)
        assert call.log.count("response_finished") == 1
        assert len(call.turns) == 1


def test_a_reply_that_ends_without_sound_while_it_is_held_leaves_the_line_listening() -> None:
    calls = 0

    async def reply(audio: Audio) -> AsyncIterator[Any]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.5)
        yield AdditionalOutputs("done") if calls == 1 else REPLY

    with Line(ReplyOnPause(reply)) as call:
        call.say(voice(0.5))
        call.wait(0.6)
        call.say(voice(0.12))
        call.wait(2.0)
        assert len(call.turns) == 1
        call.say(voice(0.5))
        call.wait(5.5)
        assert matches(call.heard_sound(), REPLY)
        assert len(call.turns) == 2
