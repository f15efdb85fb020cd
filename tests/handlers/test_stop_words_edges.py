"""Stop words where something is late, of the user's own, or cut close."""

from __future__ import annotations

from typing import Any

import pytest

from fastrtc import AlgoOptions, ReplyOnStopWords
from fastrtc.models.vad.silero import Silero
from fastrtc.testing import VirtualCall
from tests.handlers.lines import Line, voice
from tests.handlers.test_stop_words_limits import Script, Weather, slow_call, talk
from tests.samples import Recorder, spoken
from tests.spoken import ASKED, KUMO, QUESTION, said

WORDS = ["computer"]


def handler_of(call: VirtualCall) -> ReplyOnStopWords:
    """The handler of this call: a copy of the one that it was made with."""
    handler = call.session.handler
    assert isinstance(handler, ReplyOnStopWords)
    return handler


def test_sound_that_is_gone_before_it_could_be_read_is_not_read() -> None:
    line, slow, _ = slow_call(seconds=25.0)
    with line as call:
        talk(call, 2)
        call.wait(60.0)
    assert [spoken(audio) for audio in slow.script.given] == pytest.approx([0.75], abs=0.25)


def test_a_word_that_a_subclass_has_refused_does_not_hide_what_it_looks_for() -> None:
    script, recorder = Script("Computer, go.", "A lovely weather."), Recorder()
    with Line(Weather(recorder, WORDS, stt=script)) as call:
        call.say(voice(0.5))
        call.wait(0.5)
        talk(call)
        assert call.log == ["asleep", "awake"]


def test_a_subclass_that_ends_turns_itself_sleeps_too() -> None:
    class Own(ReplyOnStopWords):
        def determine_pause(self, audio: Any, sampling_rate: int, state: Any) -> bool:
            return super().determine_pause(audio, sampling_rate, state)

    recorder = Recorder()
    with VirtualCall(Own(recorder, WORDS)) as call:
        call.say(said(QUESTION))
        call.wait(2.0)
    assert recorder.said == []


@pytest.mark.parametrize("seconds", [0.3, 0.48])
def test_with_a_voice_detector_of_the_users_a_word_is_found(seconds: float) -> None:
    handler = ReplyOnStopWords(
        Recorder(), WORDS, model=Silero(), algo_options=AlgoOptions(audio_chunk_duration=seconds)
    )
    with VirtualCall(handler) as call:
        call.wait(1.0)
        call.say(said(ASKED))
        call.wait(2.0)
        assert "awake" in call.log


def test_a_word_that_is_known_by_its_sound_is_not_answered_with_its_own_end() -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, ["alexa"], spotting="sound")) as call:
        call.wait(1.0)
        call.say(said("Alexa.", KUMO))
        call.wait(2.0)
        assert "awake" in call.log
        assert recorder.said == []


def test_a_reply_cannot_be_triggered_while_the_line_sleeps() -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, WORDS)) as call:
        call.wait(1.0)
        handler_of(call).trigger_response()
        call.wait(1.0)
    assert recorder.said == []


def test_a_class_is_no_recogniser() -> None:
    with pytest.raises(TypeError, match="expected stt to be an object"):
        ReplyOnStopWords(Recorder(), WORDS, stt=Script)  # type: ignore[arg-type]


def test_what_knows_words_by_their_sound_reads_no_text() -> None:
    with pytest.raises(ValueError, match="reads no text"):
        ReplyOnStopWords(Recorder(), ["alexa"], spotting="sound", stt=Script())
