"""Stop words that are easily missed or found twice: late, over a reply, by code of the user's."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from fastapi import FastAPI

from fastrtc import ReplyOnStopWords, Stream
from fastrtc.models.wake_words import WakeWords
from fastrtc.testing import VirtualCall
from tests.conftest import Sound, missing
from tests.handlers.lines import Advice, Line, noise, voice
from tests.handlers.test_stop_words_limits import Script, Slow, slow_call, talk
from tests.samples import Recorder, spoken
from tests.spoken import ASKED, QUESTION, read, said

WORDS = ["computer"]
MARGIN = 0.6
"""Seconds around a voice that may belong to its turn: before it, and the silence that ends it."""


def count(call: VirtualCall, kind: str) -> int:
    """How many messages of a type were sent."""
    return sum(message.type == kind for message in call.messages)


# Turns that a subclass ends itself


class Own(ReplyOnStopWords):
    """Ends turns itself, and notes how much of them there was."""

    sizes: list[int]

    def determine_pause(self, audio: Any, sampling_rate: int, state: Any) -> bool:
        over = super().determine_pause(audio, sampling_rate, state)
        self.sizes.append(0 if state.stream is None else len(state.stream))
        return over


@pytest.fixture
def own() -> tuple[Own, Recorder]:
    """The handler, and what it calls."""
    recorder = Recorder()
    handler = Own(recorder, WORDS)
    handler.sizes = []
    return handler, recorder


def test_a_subclass_that_ends_turns_itself_hears_nothing_while_it_sleeps(
    own: tuple[Own, Recorder],
) -> None:
    handler, recorder = own
    with VirtualCall(handler) as call:
        call.wait(0.5)
        for _ in range(2):
            call.say(said(QUESTION))
        call.wait(2.0)
        assert call.log == ["asleep"]
        assert call.handler.state.stream is None
    assert handler.sizes == []
    assert recorder.said == []


def test_a_subclass_that_ends_turns_itself_answers_what_follows_the_word_alone(
    own: tuple[Own, Recorder],
) -> None:
    handler, recorder = own
    with VirtualCall(handler) as call:
        call.wait(0.5)
        call.say(said("It is a lovely day today."))
        call.wait(0.2)
        call.say(said(ASKED))
        call.wait(3.0)
        assert call.log[:3] == ["asleep", "awake", "started_talking"]
    assert max(handler.sizes) > 0
    assert [read(audio) for audio in recorder.said] == ["what time is it"]


# Over a reply that may not be interrupted


def test_a_stop_word_over_a_protected_reply_outlasts_the_time_in_which_it_listens() -> None:
    recorder = Recorder(seconds=8.0)
    script = Script("Computer.", "Computer.")
    handler = ReplyOnStopWords(recorder, WORDS, stt=script, can_interrupt=False, listens_for=2.0)
    with Line(handler) as call:
        talk(call, 3)
        assert count(call, "stopword") == 2
        assert call.log[-1] == "response_starting"
        call.wait(6.0)
        assert call.log[-2:] == ["response_finished", "awake"]
        talk(call)
        assert len(recorder.said) == 2


def test_one_word_by_its_sound_over_a_protected_reply_is_told_once() -> None:
    needs_wake_words()
    got: list[Sound] = []

    def reply(audio: Sound) -> Iterator[Any]:
        got.append(audio)
        yield noise(6.0)

    handler = ReplyOnStopWords(reply, ["alexa"], spotting="sound", can_interrupt=False)
    with VirtualCall(handler) as call:
        call.wait(1.0)
        call.say(said("Alexa, what time is it?"))
        call.wait(2.0)
        assert count(call, "stopword") == len(got) == 1
        call.say(said("Alexa."))
        call.wait(2.0)
        assert count(call, "stopword") == 2


# Recognisers that are late


def test_a_stop_word_in_a_request_that_waited_for_the_recogniser_wakes_nobody_again() -> None:
    line, slow, recorder = slow_call("Computer.", "Computer store near me.", seconds=2.0)
    with line as call:
        call.wait(0.5)
        call.say(voice(0.5))
        call.wait(0.4)
        call.say(voice(1.2))
        call.wait(6.0)
        assert count(call, "stopword") == 1
        assert call.log.count("awake") == 1
    assert len(slow.script.given) == 1
    assert [spoken(audio) for audio in recorder.said] == pytest.approx([1.2], abs=MARGIN)


def late_answers(**options: Any) -> list[float]:
    """How much sound the function gets, where its turn is long over when the word is read."""
    recorder, slow = Recorder(), Slow("Computer.", seconds=2.5)
    line = Line(ReplyOnStopWords(recorder, WORDS, stt=slow, **options))
    slow.call = line
    with line as call:
        call.wait(0.5)
        call.say(voice(0.5))
        call.wait(0.4)
        call.say(voice(0.7))
        call.wait(0.9)
        call.say(voice(0.6))
        call.wait(3.0)
    return [spoken(audio) for audio in recorder.said]


def test_a_reply_that_is_begun_early_gets_no_sound_from_behind_its_turn() -> None:
    (seconds,) = late_answers(speculative=True)
    assert seconds == pytest.approx(0.7, abs=MARGIN)
    assert late_answers() == [seconds]


# What the user brings


def test_the_words_of_a_recogniser_of_the_users_do_not_tell_whether_a_turn_is_over() -> None:
    advice, recorder = Advice(0.9, words="unread"), Recorder()
    handler = ReplyOnStopWords(recorder, WORDS, stt=Script("Computer, was machen die"))
    with Line(handler, endpoint=advice) as call:
        call.wait(0.5)
        call.say(voice(1.5))
        call.wait(2.0)
        (turn,) = call.turns
    assert advice.questions
    assert all(question.words for question in advice.questions)
    assert turn.evidence is not None
    assert turn.evidence.opinion.words == "That is all."


def test_a_subclass_looks_for_its_words_off_the_event_loop() -> None:
    threads: list[int] = []

    class Looks(ReplyOnStopWords):
        def stop_word_detected(self, text: str) -> bool:
            threads.append(threading.get_ident())
            return super().stop_word_detected(text)

    with Line(Looks(Recorder(), WORDS, stt=Script("Computer."))) as call:
        talk(call)
        assert call.log == ["asleep", "awake"]
        assert call.session.thread not in threads
    assert threads


# Sound that cannot be had


def needs_wake_words() -> None:
    if importlib.util.find_spec("pymicro_wakeword") is None:
        missing("pymicro-wakeword")


def alexa(
    monkeypatch: pytest.MonkeyPatch, spotting: Literal["auto", "sound"]
) -> tuple[Stream, Recorder]:
    """A stream that cannot know its word by the sound, though the package is installed."""
    needs_wake_words()

    def fail(words: WakeWords) -> None:
        raise OSError("a shared library is missing")

    monkeypatch.setattr(WakeWords, "open", fail)
    recorder = Recorder()
    handler = ReplyOnStopWords(recorder, ["alexa"], spotting=spotting, endpointing="vad")
    return Stream(handler), recorder


def test_where_words_cannot_be_known_by_their_sound_they_are_read_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream, recorder = alexa(monkeypatch, "auto")
    with caplog.at_level(logging.WARNING):
        stream.mount(FastAPI())
    assert "a shared library is missing" in caplog.text
    with VirtualCall(stream) as call:
        call.wait(0.5)
        call.say(said("Alexa, what time is it?"))
        call.wait(2.0)
        assert call.errors == []
    assert [read(audio) for audio in recorder.said] == ["what time is it"]


def test_where_words_are_to_be_known_by_their_sound_and_cannot_the_stream_is_not_mounted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream, _ = alexa(monkeypatch, "sound")
    with pytest.raises(OSError, match="a shared library is missing"):
        stream.mount(FastAPI())
