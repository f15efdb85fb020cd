"""Short words over a reply, and what users may set about interruptions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastrtc import InterruptionPolicy, ReplyOnPause, SmartTurn
from fastrtc.models.end_of_turn.smart_turn import smart_turn_missing
from fastrtc.models.stt.moonshine import moonshine_available, shared_moonshine
from fastrtc.testing import VirtualCall
from tests.conftest import Sound, missing
from tests.handlers.lines import Advice, Line, Talker, answered, matches, noise, voice
from tests.samples import spoken

REPLY = noise(4.0)


# Words


@pytest.mark.pitfall(13)
@pytest.mark.parametrize("words", ["Mm-hm.", "Okay.", "Yeah.", "", "Right, right."])
def test_a_back_channel_lets_the_reply_go_on_as_soon_as_it_is_read(words: str) -> None:
    talker = Talker()
    with Line(ReplyOnPause(talker), endpoint=Advice(0.9, words)) as call:
        answered(call)
        call.say(voice(0.2))
        ended = call.now
        call.wait(5.0)
        assert call.at("false alarm") - ended < 0.25
        assert matches(call.heard_sound(), REPLY, fades=1)
        assert "interrupted" not in call.log
    assert len(talker.said) == 1


@pytest.mark.parametrize("words", ["Stop.", "Wait!", "No.", "Hold on", "What?"])
def test_a_short_word_that_is_meant_ends_the_reply_at_once_and_is_answered(words: str) -> None:
    talker = Talker()
    with Line(ReplyOnPause(talker), endpoint=Advice(0.9, words)) as call:
        answered(call)
        call.say(voice(0.2))
        ended = call.now
        call.wait(1.5)
        assert call.at("user interrupts") - ended < 0.25
        assert call.turns[0].interrupted
        assert not call.turns[0].false_alarms
    assert len(talker.said) == 2
    rate, samples = talker.said[1]
    loud = np.abs(samples[0]) > 1_000
    assert loud.sum() / rate > 0.1
    assert spoken(talker.said[1]) < 1.2


def test_only_the_words_are_asked_about_a_short_sound_and_only_of_its_own_time() -> None:
    advice = Advice(0.9, "Mm-hm.")
    with Line(ReplyOnPause(Talker()), endpoint=advice) as call:
        answered(call)
        onset = call.now
        call.say(voice(0.2))
        call.wait(1.0)
    question = advice.questions[-1]
    assert question.words
    assert not question.sound
    assert question.start / 16_000 == pytest.approx(onset - 0.3, abs=0.06)


def test_words_that_come_when_the_caller_goes_on_are_not_waited_for() -> None:
    with Line(ReplyOnPause(Talker()), endpoint=Advice(0.9, "Mm-hm.")) as call:
        answered(call)
        call.say(voice(0.3))
        call.wait(0.06)
        call.say(voice(InterruptionPolicy().min_speech - 0.2))
        assert call.turns[0].interrupted
        assert "false alarm" not in call.kinds()


def test_words_that_come_too_late_do_not_end_a_reply_that_has_gone_on() -> None:
    advice = Advice(0.9, "Stop.", seconds=1.0)
    with Line(ReplyOnPause(Talker()), endpoint=advice) as call:
        call.say(voice(0.5))
        call.wait(1.8)
        call.say(voice(0.2))
        call.wait(5.0)
        assert "interrupted" not in call.log
        assert matches(call.heard_sound(), REPLY, fades=1)


def test_without_a_recogniser_nobody_is_asked_about_short_sounds() -> None:
    advice = Advice(0.9)
    with Line(ReplyOnPause(Talker()), endpoint=advice) as call:
        answered(call)
        asked = len(advice.questions)
        call.say(voice(0.2))
        call.wait(1.0)
        assert "false alarm" in call.kinds()
    assert len(advice.questions) == asked


def test_where_no_words_are_to_be_read_and_no_end_is_to_be_judged_no_model_is_loaded() -> None:
    advice = Advice(0.9, "Stop.")
    policy = InterruptionPolicy(words=False)
    with Line(
        ReplyOnPause(Talker(), endpointing="vad", interruption=policy), endpoint=advice
    ) as call:
        answered(call)
    assert not advice.opened


def test_words_are_not_read_where_the_policy_says_so() -> None:
    advice = Advice(0.9, "Stop.")
    handler = ReplyOnPause(Talker(), interruption=InterruptionPolicy(words=False))
    with Line(handler, endpoint=advice) as call:
        answered(call)
        call.say(voice(0.2))
        call.wait(5.0)
        assert "interrupted" not in call.log
    assert all(question.sound for question in advice.questions)


# Answers to what is nearly over


def over_the_end(words: str, before: float) -> tuple[list[str], int]:
    """Say something short so long before the end of a reply; what happened, and calls."""
    talker = Talker()
    with Line(ReplyOnPause(talker), endpoint=Advice(0.9, words)) as call:
        call.say(voice(0.5))
        call.wait(0.9)
        end = call.sounds[0][0] + 4.0
        call.wait(end - before - call.now)
        call.say(voice(0.2))
        call.wait(1.5)
        return call.kinds(), len(talker.said)


def test_a_yes_over_the_very_end_of_a_reply_is_an_answer() -> None:
    kinds, calls = over_the_end("Yes.", before=0.25)
    assert "user interrupts" in kinds
    assert calls == 2


@pytest.mark.parametrize("before", [0.5, 0.9])
def test_a_yes_over_the_last_second_of_a_reply_is_an_answer(before: float) -> None:
    kinds, calls = over_the_end("Yes.", before)
    assert "user interrupts" in kinds
    assert calls == 2


def test_a_yes_in_the_middle_of_a_reply_is_none() -> None:
    kinds, calls = over_the_end("Yes.", before=2.0)
    assert "false alarm" in kinds
    assert calls == 1


def test_a_cough_over_the_end_of_a_reply_is_no_answer() -> None:
    kinds, calls = over_the_end("Hmm.", before=0.25)
    assert "false alarm" in kinds
    assert calls == 1


# What users may set


def test_the_times_of_the_policy_are_obeyed() -> None:
    policy = InterruptionPolicy(onset=0.3, min_speech=1.2, resume_after=0.8)
    with Line(ReplyOnPause(Talker(), interruption=policy)) as call:
        answered(call)
        onset = call.now
        call.say(voice(0.9))
        ended = call.now
        call.wait(1.0)
        assert call.at("may interrupt") - onset == pytest.approx(0.32, abs=0.05)
        assert call.at("false alarm") - ended == pytest.approx(0.8, abs=0.06)
        onset = call.now
        call.say(voice(1.5))
        assert call.at("user interrupts") - onset == pytest.approx(1.22, abs=0.05)


def test_a_policy_without_a_doubt_ends_a_reply_at_the_onset() -> None:
    policy = InterruptionPolicy(onset=0.1, min_speech=0.1)
    with Line(ReplyOnPause(Talker(), interruption=policy)) as call:
        answered(call)
        onset = call.now
        call.say(voice(0.5))
        assert call.at("user interrupts") - onset < 0.2
        assert "may interrupt" not in call.kinds()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"onset": 0.0}, "expected onset over 0 and up to 10 s, got 0.0"),
        ({"min_speech": -1.0}, "expected min_speech over 0"),
        ({"resume_after": 11.0}, "expected resume_after over 0"),
        ({"resume_after": float("nan")}, "got nan"),
        ({"onset": 0.9, "min_speech": 0.8}, "expected min_speech of at least onset = 0.9 s"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        InterruptionPolicy(**options)


def test_what_is_no_policy_is_refused() -> None:
    with pytest.raises(TypeError, match="InterruptionPolicy"):
        ReplyOnPause(Talker(), interruption=0.5)  # type: ignore[arg-type]


# The recogniser of the package


@pytest.mark.pitfall(13)
def test_with_the_real_models_a_cough_like_sound_does_not_end_a_reply(phrase: Sound) -> None:
    if smart_turn_missing() or not moonshine_available():
        missing("Smart Turn or Moonshine")
    SmartTurn().warmup()
    shared_moonshine().transcribe(np.zeros(16_000, np.float32))
    rate, samples = phrase
    with VirtualCall(ReplyOnPause(Talker()), rate=16_000, models=True) as call:
        call.say(phrase)
        call.wait(1.0)
        # Moonshine reads "Ever."
        call.say((rate, samples[:, round(0.05 * rate) : round(0.25 * rate)]))
        call.wait(5.0)
        assert "interrupted" not in call.log
        assert call.turns[0].heard.seconds == pytest.approx(4.0, abs=0.02)
