"""Calls to `ReplyOnStopWords`, with real voices, real recognition and virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fastrtc import ReplyOnStopWords, Turn
from fastrtc.testing import VirtualCall
from tests.conftest import Sound, level, silence, tone
from tests.handlers.lines import Hook, Talker, matches, noise
from tests.samples import Recorder, spoken
from tests.spoken import ASKED, CALLED, HEART, KUMO, QUESTION, read, said

ASKED_WORDS = "what time is it"
WORDS = ["computer"]
REPLY = noise(4.0)


def kinds(call: VirtualCall) -> list[str]:
    """The messages of a call, in order: what was logged, and the others by their type."""
    return [str(m.data) if m.type == "log" else m.type for m in call.messages]


def at(call: VirtualCall, kind: str) -> float:
    """When a message was first sent."""
    return next(m.at for m in call.messages if kind in (m.type, m.data))


def ask(call: VirtualCall, *sounds: Sound) -> None:
    """Say something, with a pause after each part that ends a turn."""
    for sound in sounds:
        call.say(sound)
        call.wait(1.5)


# Asleep


@pytest.mark.pitfall(12)
def test_speech_without_a_stop_word_is_not_answered(beckett: Sound) -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, WORDS)) as call:
        ask(call, beckett, said(QUESTION))
        assert kinds(call) == ["asleep"]
        assert call.sounds == []
    assert recorder.said == []


def test_a_word_that_only_looks_like_a_stop_word_wakes_nobody() -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, WORDS)) as call:
        call.wait(0.5)
        ask(call, said("The commuter train is late again."))
        assert kinds(call) == ["asleep"]
    assert recorder.said == []


# A stop word and what follows it


@pytest.mark.pitfall(12)
@pytest.mark.parametrize("voice", [HEART, KUMO])
def test_what_follows_in_the_same_breath_is_answered_and_it_alone(voice: str) -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, WORDS)) as call:
        call.wait(0.5)
        ask(call, said(ASKED, voice))
        assert kinds(call) == [
            "asleep",
            "stopword",
            "awake",
            "started_talking",
            "pause_detected",
            "asleep",
            "response_starting",
            "response_finished",
        ]
    assert [read(audio) for audio in recorder.said] == [ASKED_WORDS]


def test_with_the_real_models_of_endpointing_it_is_the_same() -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, WORDS), models=True) as call:
        ask(call, said(ASKED))
    assert [read(audio) for audio in recorder.said] == [ASKED_WORDS]


def test_a_question_in_the_same_breath_is_answered_within_half_a_second() -> None:
    with VirtualCall(ReplyOnStopWords(Recorder(), WORDS)) as call:
        call.say(said(ASKED))
        ended = call.now
        call.wait(1.5)
        assert call.sounds[0][0] - ended < 0.5


def test_a_mere_stop_word_waits_for_what_is_said_next() -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, WORDS)) as call:
        ask(call, said(CALLED))
        call.wait(5.0)
        assert kinds(call) == ["asleep", "stopword", "awake"]
        assert recorder.said == []
        ask(call, said(QUESTION))
        assert call.log[-1] == "response_finished"
    assert [read(audio) for audio in recorder.said] == [ASKED_WORDS]


def test_after_an_answer_it_needs_the_word_again() -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, WORDS)) as call:
        ask(call, said(ASKED))
        ask(call, said(QUESTION))
        assert len(recorder.said) == 1
        ask(call, said(ASKED))
        assert kinds(call).count("stopword") == 2
    assert [read(audio) for audio in recorder.said] == [ASKED_WORDS] * 2


def test_what_was_said_before_the_stop_word_is_not_part_of_the_request(phrase: Sound) -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, WORDS)) as call:
        call.say(phrase)
        call.wait(0.3)
        ask(call, said(ASKED))
    assert [read(audio) for audio in recorder.said] == [ASKED_WORDS]


def test_a_stop_word_is_found_within_a_quarter_of_a_second() -> None:
    with VirtualCall(ReplyOnStopWords(Recorder(), WORDS)) as call:
        call.say(said(CALLED))
        ended = call.now
        call.wait(1.0)
        assert at(call, "stopword") - ended < 0.25


# How long it listens


def test_it_sleeps_again_when_nothing_is_said() -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, WORDS, listens_for=3.0)) as call:
        call.say(said(CALLED))
        ended = call.now
        call.wait(4.0)
        assert call.log == ["asleep", "awake", "asleep"]
        slept = [m.at for m in call.messages if m.data == "asleep"][-1]
        assert slept - ended == pytest.approx(3.0, abs=0.3)
        ask(call, said(QUESTION))
    assert recorder.said == []


def test_who_has_begun_to_talk_is_heard_out(beckett: Sound) -> None:
    recorder = Recorder()
    rate, samples = beckett
    with VirtualCall(ReplyOnStopWords(recorder, WORDS, listens_for=3.0)) as call:
        call.say(said(CALLED))
        call.wait(2.5)
        ask(call, (rate, samples[:, round(0.3 * rate) : round(1.52 * rate)]))
        assert call.log[-1] == "response_finished"
    assert [read(audio) for audio in recorder.said] == ["ever tried"]


# Two words


def hey_siri(gap: float) -> Sound:
    """Both words, with a pause between them."""
    (rate, hey), (_, siri) = said("Hey.", HEART), said("Siri.", HEART)
    return rate, np.concatenate([hey, silence(gap, rate)[1], siri], axis=1)


@pytest.mark.pitfall(12)
def test_a_pair_of_words_is_found_though_it_is_written_with_a_comma() -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, ["hey siri"])) as call:
        ask(call, said("Hey, Siri.", HEART), said(QUESTION))
        assert kinds(call).count("stopword") == 1
    assert [read(audio) for audio in recorder.said] == [ASKED_WORDS]


@pytest.mark.parametrize("gap", [0.3, 0.6])
def test_a_pair_of_words_is_found_though_there_is_a_pause_in_it(gap: float) -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, ["hey siri"])) as call:
        ask(call, hey_siri(gap), said(QUESTION))
        assert kinds(call).count("stopword") == 1
    assert [read(audio) for audio in recorder.said] == [ASKED_WORDS]


def test_two_words_far_apart_are_no_pair() -> None:
    with VirtualCall(ReplyOnStopWords(Recorder(), ["hey siri"])) as call:
        ask(call, hey_siri(2.0))
        assert kinds(call) == ["asleep"]


# Over a reply


def over_a_reply(sound: Sound, after: float = 2.0, **options: Any) -> tuple[VirtualCall, Talker]:
    """Ask, say something a second into the reply of 4 s, and wait; the call, and what it got."""
    talker = Talker()
    with VirtualCall(ReplyOnStopWords(talker, WORDS, **options)) as call:
        call.say(said(ASKED))
        call.wait(1.5)
        call.say(sound)
        call.wait(after)
    return call, talker


@pytest.mark.pitfall(12)
def test_the_stop_word_interrupts_a_reply_and_what_follows_is_answered() -> None:
    hook = Hook()
    call, talker = over_a_reply(said(ASKED), on_interrupt=hook)
    assert kinds(call)[6:12] == [
        "response_starting",
        "stopword",
        "interrupted",
        "awake",
        "started_talking",
        "pause_detected",
    ]
    assert len(hook.got) == 1
    assert 1.0 < hook.got[0].seconds < 4.0
    assert call.turns[0].interrupted
    assert [read(audio) for audio in talker.said] == [ASKED_WORDS] * 2


def test_a_mere_stop_word_silences_a_reply() -> None:
    call, talker = over_a_reply(said(CALLED))
    assert at(call, "interrupted") == pytest.approx(call.sounds[-1][1], abs=0.06)
    assert call.turns[0].interrupted
    assert call.log[-1] == "awake"
    assert len(talker.said) == 1


def test_other_speech_neither_ends_nor_holds_a_reply(beckett: Sound) -> None:
    call, talker = over_a_reply((beckett[0], beckett[1][:, :48_000]), after=3.0)
    assert not call.turns[0].interrupted
    assert call.turns[0].false_alarms == []
    rate, heard = call.heard
    (start, _), (_, end) = call.sounds[0], call.sounds[-1]
    assert matches(heard[0, round(start * rate) : round(end * rate)], REPLY)
    assert len(talker.said) == 1


def test_a_request_over_a_reply_that_may_not_be_interrupted_is_answered_after_it() -> None:
    call, talker = over_a_reply(said(ASKED), after=8.0, can_interrupt=False)
    assert [turn.interrupted for turn in call.turns] == [False, False]
    assert [turn.heard.seconds for turn in call.turns] == pytest.approx([4.0, 4.0], abs=0.02)
    assert kinds(call).count("stopword") == 2
    assert [read(audio) for audio in talker.said] == [ASKED_WORDS] * 2


def test_a_mere_stop_word_over_such_a_reply_waits_until_after_it() -> None:
    talker = Talker()
    with VirtualCall(ReplyOnStopWords(talker, WORDS, can_interrupt=False)) as call:
        call.say(said(ASKED))
        call.wait(1.0)
        call.say(said(CALLED))
        call.wait(4.5)
        assert call.log[-2:] == ["response_finished", "awake"]
        call.say(said(QUESTION))
        call.wait(1.5)
    assert [read(audio) for audio in talker.said] == [ASKED_WORDS] * 2


# With the other options


def test_a_greeting_comes_before_the_word() -> None:
    def greet() -> Iterator[Any]:
        yield tone(0.5)

    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, WORDS, greet)) as call:
        call.wait(1.0)
        assert level(call.heard_between(0.1, 0.4)) > -20
        assert recorder.said == []
        ask(call, said(ASKED))
    assert [read(audio) for audio in recorder.said] == [ASKED_WORDS]


def test_a_greeting_is_ended_by_the_stop_word() -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, WORDS, lambda: iter([REPLY]))) as call:
        call.wait(0.5)
        ask(call, said(ASKED))
        assert call.turns[0].interrupted
        assert call.turns[0].heard.seconds < 4.0
    assert [read(audio) for audio in recorder.said] == [ASKED_WORDS]


def test_a_reply_may_be_begun_early() -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, WORDS, speculative=True)) as call:
        ask(call, said(CALLED), said(QUESTION))
        (turn,) = call.turns
        assert turn.first_output is not None
        assert turn.decided is not None
        assert turn.first_output < turn.decided
        assert read(recorder.said[-1]) == ASKED_WORDS
        ask(call, said(ASKED))
        assert len(call.turns) == 2
    assert read(recorder.said[-1]) == ASKED_WORDS


def test_a_turn_is_recorded_from_the_voice_after_the_stop_word() -> None:
    hook = Hook()
    with VirtualCall(ReplyOnStopWords(Recorder(), WORDS, on_turn=hook)) as call:
        call.wait(0.5)
        call.say(said(ASKED))
        ended = call.now
        call.wait(2.0)
        ask(call, said(ASKED))
    assert [turn.number for turn in hook.got] == [1, 2]
    turn: Turn = hook.got[0]
    marks = turn.speech_start, turn.speech_end, turn.decided, turn.first_sound, turn.reply_end
    times = [mark for mark in marks if mark is not None]
    assert len(times) == len(marks)
    assert times == sorted(times)
    assert turn.speech_start == pytest.approx(ended - spoken(said(QUESTION)), abs=0.3)
    assert turn.speech_end == pytest.approx(ended, abs=0.15)
    assert turn.latency is not None
    assert 0 < turn.latency < 0.6
    assert turn.heard.seconds == pytest.approx(0.5, abs=0.02)


def test_the_function_gets_the_rate_that_it_asked_for() -> None:
    recorder = Recorder()
    handler = ReplyOnStopWords(recorder, WORDS, input_sample_rate=16_000)
    with VirtualCall(handler, rate=8_000) as call:
        ask(call, said(ASKED))
    (audio,) = recorder.said
    assert audio[0] == 16_000
    assert read(audio) == ASKED_WORDS


def test_a_page_that_watches_sees_that_it_sleeps() -> None:
    with VirtualCall(ReplyOnStopWords(Recorder(), WORDS)) as call:
        ask(call, said(CALLED))
    assert list(dict.fromkeys(step.state for step in call.steps)) == ["asleep", "listening"]


def test_two_callers_do_not_wake_each_other() -> None:
    first, second = Recorder(), Recorder()
    with (
        VirtualCall(ReplyOnStopWords(first, WORDS)) as one,
        VirtualCall(ReplyOnStopWords(second, WORDS)) as other,
    ):
        for call in (one, other):
            call.wait(0.5)
        one.say(said(CALLED))
        other.say(said(QUESTION))
        for call in (one, other):
            call.wait(1.0)
        one.say(said(QUESTION))
        other.say(said(QUESTION))
        for call in (one, other):
            call.wait(1.5)
        assert kinds(other) == ["asleep"]
    assert [read(audio) for audio in first.said] == [ASKED_WORDS]
    assert second.said == []
