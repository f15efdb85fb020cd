"""Stop words that are known by their sound, with the real networks."""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from fastrtc import ReplyOnStopWords
from fastrtc.audio.convert import audio_to_float32
from fastrtc.audio.resample import StreamResampler
from fastrtc.models.stt.moonshine import MoonshineNet
from fastrtc.models.wake_words import KNOWN, WakeWordListener, WakeWords
from fastrtc.testing import VirtualCall
from tests.conftest import Sound, missing
from tests.samples import Recorder
from tests.spoken import QUESTION, read, said

Floats = NDArray[np.float32]
RATE = 16_000
WORD = "Alexa."
ASKED = "Alexa, what time is it?"


@pytest.fixture(autouse=True)
def _installed() -> None:
    if importlib.util.find_spec("pymicro_wakeword") is None:
        missing("pymicro-wakeword")


def floats(sound: Sound) -> Floats:
    """Mono at 16 kHz, with a second of silence on either side."""
    samples = StreamResampler(sound[0], RATE).process(sound[1]) if sound[0] != RATE else sound[1]
    found: Floats = np.pad(audio_to_float32(samples)[0], RATE)
    return found


def hears(listener: WakeWordListener, samples: Floats, length: int = 320) -> int:
    """In how many pieces of so many samples a word ends."""
    pieces = (samples[at : at + length] for at in range(0, len(samples), length))
    return sum(listener.hear(piece) for piece in pieces)


# The listener


@pytest.mark.parametrize("length", [7, 160, 320, 1_111, 48_000])
def test_a_word_is_heard_in_pieces_of_any_length(length: int) -> None:
    assert hears(WakeWords(["alexa"]).open(), floats(said(WORD)), length)


@pytest.mark.parametrize("word", ["hey jarvis", "okay nabu"])
def test_another_word_is_not_heard(word: str) -> None:
    assert not hears(WakeWords([word]).open(), floats(said(WORD)))


def test_one_of_several_words_is_enough() -> None:
    listener = WakeWords(["hey jarvis", "alexa"]).open()
    assert hears(listener, floats(said(WORD)))


def test_other_speech_and_silence_are_no_word(beckett: Sound) -> None:
    listener = WakeWords(list(KNOWN)).open()
    assert not hears(listener, floats(beckett))
    assert not hears(listener, np.zeros(10 * RATE, np.float32))


def test_a_word_is_heard_again() -> None:
    listener = WakeWords(["alexa"]).open()
    samples = floats(said(WORD))
    assert all(hears(listener, samples) for _ in range(3))


def test_two_listeners_hear_nothing_of_each_other() -> None:
    words = WakeWords(["alexa"])
    one, other = words.open(), words.open()
    samples = floats(said(WORD))
    assert hears(one, samples)
    assert not hears(other, np.zeros_like(samples))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e30])
def test_after_samples_that_cannot_be_a_word_is_still_heard(odd: float) -> None:
    listener = WakeWords(["alexa"]).open()
    hears(listener, np.full(RATE, odd, np.float32))
    assert hears(listener, floats(said(WORD)))


def test_no_samples_are_no_word() -> None:
    assert not WakeWords(["alexa"]).open().hear(np.zeros(0, np.float32))


def test_listening_takes_less_than_a_fiftieth_of_the_time(beckett: Sound) -> None:
    listener = WakeWords(["alexa"]).open()
    samples = floats(beckett)
    listener.hear(samples[:RATE])
    before = time.process_time()
    hears(listener, samples)
    assert time.process_time() - before < len(samples) / RATE / 50


def test_a_listener_that_is_closed_hears_nothing_and_may_be_closed_again() -> None:
    listener = WakeWords(["alexa"]).open()
    listener.close()
    listener.close()
    assert not hears(listener, floats(said(WORD)))


# Which words


@pytest.mark.parametrize("word", ["alexa", "Alexa!", "OK, Nabu", "Okay Nabu", " hey  jarvis "])
def test_a_word_is_known_however_it_is_written(word: str) -> None:
    assert WakeWords.know([word])
    WakeWords([word])


@pytest.mark.parametrize("words", [["computer"], ["alexa", "computer"], ["hey"], [""]])
def test_words_that_it_was_not_trained_on_are_refused_with_those_that_it_was(
    words: list[str],
) -> None:
    assert not WakeWords.know(words)
    with pytest.raises(ValueError, match=r"alexa, hey jarvis.* got (computer|hey|$)"):
        WakeWords(words)


def test_all_that_is_said_to_be_known_is_in_the_package() -> None:
    for word in KNOWN:
        WakeWords([word]).open().close()


def test_without_the_package_no_word_is_known_and_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pymicro_wakeword", None)
    assert not WakeWords.know(["alexa"])
    with pytest.raises(ImportError, match=r"fastrtc\[wakeword\]"):
        ReplyOnStopWords(Recorder(), ["alexa"], spotting="sound")
    assert ReplyOnStopWords(Recorder(), ["alexa"]).wake_words is None


# In a call


@pytest.mark.parametrize("spotting", ["sound", "auto"])
def test_a_word_that_is_known_by_its_sound_wakes_and_what_follows_is_answered(
    spotting: Literal["sound", "auto"], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object) -> str:
        raise AssertionError("it was read")

    recorder = Recorder()
    handler = ReplyOnStopWords(recorder, ["alexa"], spotting=spotting)
    asked = said(ASKED)
    with VirtualCall(handler) as call:
        monkeypatch.setattr(MoonshineNet, "transcribe", never)
        call.wait(1.0)
        call.say(asked)
        call.wait(2.0)
        assert call.errors == []
        monkeypatch.undo()
        assert [(m.type, m.data) for m in call.messages][:3] == [
            ("log", "asleep"),
            ("stopword", ""),
            ("log", "awake"),
        ]
        assert call.log[-1] == "response_finished"
    assert [read(audio) for audio in recorder.said] == ["what time is it"]


def test_it_is_heard_while_the_caller_is_still_talking() -> None:
    with VirtualCall(ReplyOnStopWords(Recorder(), ["alexa"])) as call:
        call.wait(1.0)
        call.say(said(ASKED))
        assert "awake" in call.log


def test_a_word_alone_waits_for_the_request_and_then_it_sleeps(beckett: Sound) -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, ["alexa"])) as call:
        call.say(beckett)
        assert call.log == ["asleep"]
        call.wait(1.0)
        call.say(said(WORD))
        call.wait(2.0)
        assert recorder.said == []
        for _ in range(2):
            call.say(said(QUESTION))
            call.wait(2.0)
        assert call.log.count("awake") == 1
    assert [read(audio) for audio in recorder.said] == ["what time is it"]


def test_an_unknown_word_is_refused_where_the_sound_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"alexa, hey jarvis, hey mycroft.* got computer$"):
        ReplyOnStopWords(Recorder(), ["alexa", "computer"], spotting="sound")


def test_left_to_itself_an_unknown_word_is_read() -> None:
    assert ReplyOnStopWords(Recorder(), ["alexa", "computer"]).wake_words is None


def test_who_brings_a_recogniser_or_another_way_to_look_wants_text() -> None:
    class Weather(ReplyOnStopWords):
        def stop_word_detected(self, text: str) -> bool:
            return "weather" in text

    class Reader:
        def stt(self, audio: Sound) -> str:
            return ""

    assert ReplyOnStopWords(Recorder(), ["alexa"], stt=Reader()).wake_words is None
    assert Weather(Recorder(), ["alexa"]).wake_words is None
