"""Who has the floor before a reply sounds, where the user's own judge decides, and in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fastrtc import AlgoOptions, InterruptionPolicy, ReplyOnPause
from fastrtc.handlers.conversation import LONGEST_HOLD
from tests.handlers.lines import Advice, Audio, Line, Talker, answered, noise, voice
from tests.samples import spoken


class Thinker:
    """Thinks for a second before it replies; notes what it was given."""

    def __init__(self) -> None:
        self.said: list[Audio] = []

    async def __call__(self, audio: Audio) -> AsyncIterator[Any]:
        self.said.append(audio)
        await asyncio.sleep(1.0)
        yield noise(0.5)


@pytest.mark.parametrize("seconds", [0.35, 0.6])
def test_a_word_while_the_function_still_thinks_is_not_lost(seconds: float) -> None:
    thinker = Thinker()
    with Line(ReplyOnPause(thinker)) as call:
        call.say(voice(0.5))
        call.wait(0.6)
        call.say(voice(seconds))
        call.wait(4.0)
    assert len(thinker.said) == 2
    assert spoken(thinker.said[1]) > seconds


def test_a_word_that_is_read_while_the_function_still_thinks_is_not_lost() -> None:
    thinker = Thinker()
    with Line(ReplyOnPause(thinker), endpoint=Advice(0.9, "For two.")) as call:
        call.say(voice(0.5))
        call.wait(0.6)
        call.say(voice(0.15))
        call.wait(4.0)
    assert len(thinker.said) == 2


def test_with_options_of_a_window_what_they_call_speech_ends_a_reply_at_once() -> None:
    talker = Talker()
    with Line(ReplyOnPause(talker, algo_options=AlgoOptions())) as call:
        answered(call)
        onset = call.now
        call.say(voice(0.4))
        assert call.at("user interrupts") - onset < 0.3
        call.wait(2.0)
    assert "may interrupt" not in call.kinds()


def test_a_policy_that_is_given_holds_beside_the_options_of_a_window() -> None:
    handler = ReplyOnPause(Talker(), algo_options=AlgoOptions(), interruption=InterruptionPolicy())
    with Line(handler) as call:
        answered(call)
        call.say(voice(0.4))
        call.wait(5.0)
    assert "false alarm" in call.kinds()
    assert "user interrupts" not in call.kinds()


def test_each_false_alarm_makes_the_next_hold_of_the_reply_come_later() -> None:
    with Line(ReplyOnPause(Talker())) as call:
        answered(call)
        onsets = []
        for _ in range(2):
            onsets.append(call.now)
            call.say(voice(0.3))
            call.wait(0.8)
        held = [d.at for d in call.decisions if d.kind == "may interrupt"]
    first, second = (at - onset for at, onset in zip(held, onsets, strict=True))
    assert second > first + 0.06


def test_a_reply_is_not_held_for_ever_whatever_is_heard() -> None:
    with Line(ReplyOnPause(Talker(), interruption=InterruptionPolicy(min_speech=10.0))) as call:
        answered(call)
        call.say(voice(LONGEST_HOLD + 1.0))
        held, resumed = call.at("may interrupt"), call.at("false alarm")
        call.wait(6.0)
        assert resumed - held == pytest.approx(LONGEST_HOLD, abs=0.1)


def test_a_reply_that_waits_for_nothing_more_from_its_voice_detection_goes_on() -> None:
    with Line(ReplyOnPause(Talker())) as call:
        answered(call)
        call.say(voice(0.2))
        # The detector hangs: no step comes any more.
        call.do(lambda: setattr(call.session.driver, "_step", lambda *_: None))
        call.do(call.session.driver._ears._vad.close)  # type: ignore[attr-defined]
        call.wait(LONGEST_HOLD + 5.0)
    assert "false alarm" in call.kinds()


def test_words_are_read_where_silence_alone_ends_turns() -> None:
    talker = Talker()
    handler = ReplyOnPause(talker, endpointing="vad")
    with Line(handler, endpoint=Advice(0.9, "Stop.")) as call:
        answered(call)
        call.say(voice(0.2))
        call.wait(2.0)
    assert len(talker.said) == 2
    assert all(turn.evidence is None for turn in call.turns)
