"""`ReplyOnStopWords`: what is read and when, recognisers that misbehave, and its options."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from fastrtc import ReplyOnStopWords, get_stt_model
from fastrtc.audio.convert import audio_to_int16
from fastrtc.audio.resample import StreamResampler
from fastrtc.models.inference import listening_pool
from fastrtc.models.stt.moonshine import MoonshineNet
from fastrtc.testing import VirtualCall
from fastrtc.turns.options import STEP_SAMPLES, VAD_RATE
from fastrtc.turns.stretches import LEAD, PAUSE
from tests.conftest import Sound, silence
from tests.handlers.lines import Line, voice
from tests.samples import Recorder, spoken
from tests.spoken import ASKED, CALLED, read, said

WORDS = ["computer"]
MARGIN = (LEAD + PAUSE * STEP_SAMPLES) / VAD_RATE + 0.04
"""Seconds around a stretch of speech that are read with it: before it, after it, and rounding."""


class Reader:
    """A recogniser of the user's that notes what it is given, and lets Moonshine read it."""

    def __init__(self) -> None:
        self.given: list[Sound] = []
        self.threads: set[int] = set()

    def stt(self, audio: Sound) -> str:
        self.given.append(audio)
        self.threads.add(threading.get_ident())
        return get_stt_model().stt(audio)

    @property
    def seconds(self) -> float:
        return sum(spoken(audio) for audio in self.given)


class Script:
    """A recogniser that gives a list of texts in turn, or raises what is in it."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.given: list[Sound] = []

    def stt(self, audio: Sound) -> Any:
        self.given.append(audio)
        answer = self.answers.pop(0) if self.answers else ""
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Slow:
    """A recogniser that takes a while, in which time passes."""

    def __init__(self, *answers: str, seconds: float) -> None:
        self.script = Script(*answers)
        self.seconds = seconds
        self.call: VirtualCall | None = None
        self.has_read = threading.Event()

    def stt(self, audio: Sound) -> Any:
        assert self.call is not None
        session = self.call.session
        done: Future[None] = Future()
        session.loop.call_soon_threadsafe(
            session.loop.call_later, self.seconds, done.set_result, None
        )
        with session.workers.may_block():
            done.result(60)
        self.has_read.set()
        return self.script.stt(audio)


def places(given: list[Sound], line: Sound) -> list[tuple[float, float]]:
    """Where in what was said each array begins and ends, in seconds."""
    rate, everything = line
    found = []
    for _, samples in given:
        place = everything.tobytes().find(samples.tobytes())
        assert place >= 0, "it was given sound that nobody made"
        start = place // everything.itemsize
        found.append((start / rate, (start + samples.shape[1]) / rate))
    return found


def joined(*sounds: Sound) -> Sound:
    """One sound behind the other, all of one rate."""
    return sounds[0][0], np.concatenate([samples for _, samples in sounds], axis=1)


def talk(call: VirtualCall, times: int = 1) -> None:
    """Say things with a pause after each."""
    for _ in range(times):
        call.say(voice(0.5))
        call.wait(1.0)


def scripted(*answers: Any, **options: Any) -> tuple[Line, Script, Recorder]:
    """A call in which stretches are read as a script says."""
    script, recorder = Script(*answers), Recorder()
    return Line(ReplyOnStopWords(recorder, WORDS, stt=script, **options)), script, recorder


# What is read


def test_silence_is_never_read() -> None:
    reader = Reader()
    with VirtualCall(ReplyOnStopWords(Recorder(), WORDS, stt=reader)) as call:
        call.wait(20.0)
    assert reader.given == []


@pytest.mark.pitfall(12)
def test_only_speech_is_read_and_no_sample_twice(beckett: Sound) -> None:
    reader = Reader()
    handler = ReplyOnStopWords(Recorder(), WORDS, stt=reader, input_sample_rate=16_000)
    line = joined(silence(3.0), beckett, silence(3.0))
    with VirtualCall(handler, rate=16_000) as call:
        call.say(line)
    found = places(reader.given, line)
    assert len(found) > 3
    bounds = [bound for place in found for bound in place]
    assert bounds == sorted(bounds)
    assert bounds[0] > 3.0 - MARGIN
    assert bounds[-1] < 3.0 + spoken(beckett) + MARGIN
    assert reader.seconds < spoken(beckett)


@pytest.mark.pitfall(12)
def test_the_models_of_the_package_read_no_sample_twice_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[Sound] = []
    transcribe = MoonshineNet.transcribe

    def noted(net: MoonshineNet, samples: Any, longest: int | None = None) -> str:
        given.append((16_000, audio_to_int16(samples)[None]))
        return transcribe(net, samples, longest)

    rate, samples = said(ASKED)
    asked = 16_000, StreamResampler(rate, 16_000).process(samples)
    recorder = Recorder()
    handler = ReplyOnStopWords(recorder, WORDS, input_sample_rate=16_000)
    line = joined(silence(1.0), asked, silence(2.0))
    with VirtualCall(handler, rate=16_000, models=True) as call:
        monkeypatch.setattr(MoonshineNet, "transcribe", noted)
        call.say(line)
        monkeypatch.undo()
    assert recorder.said
    bounds = [bound for place in places(given, line) for bound in place]
    assert bounds == sorted(bounds)
    assert sum(map(spoken, given)) < spoken(asked) + MARGIN


def test_what_is_said_after_the_word_is_not_read_for_stop_words() -> None:
    line, script, recorder = scripted("Computer.")
    with line as call:
        talk(call, 2)
        assert len(script.given) == len(recorder.said) == 1
        talk(call)
        assert len(script.given) == 2


def test_a_recogniser_gets_int16_at_16_khz_off_the_event_loop() -> None:
    reader = Reader()
    with VirtualCall(ReplyOnStopWords(Recorder(), WORDS, stt=reader)) as call:
        call.say(said(CALLED))
        call.wait(1.0)
        assert call.log == ["asleep", "awake"]
        assert call.session.thread not in reader.threads
    ((rate, samples),) = reader.given
    assert rate == 16_000
    assert samples.dtype == np.int16
    assert samples.ndim == 2
    assert len(samples) == 1


def test_the_recogniser_of_the_package_is_not_asked_where_there_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*args: Any) -> str:
        raise AssertionError("Moonshine was asked")

    monkeypatch.setattr(MoonshineNet, "transcribe", never)
    line, _, recorder = scripted("Computer.")
    with line as call:
        talk(call, 2)
        assert call.errors == []
    assert len(recorder.said) == 1


# Recognisers that misbehave


@pytest.mark.parametrize("error", [KeyError("no key"), SystemExit(3), StopIteration()])
def test_a_recogniser_that_raises_is_reported_once_and_asked_again(error: BaseException) -> None:
    line, script, recorder = scripted(error, error, error, "Computer.")
    with line as call:
        talk(call, 5)
        assert len(call.errors) == 1
        assert type(error).__name__ in call.errors[0]
        assert call.log[-1] == "response_finished"
    assert len(recorder.said) == 1
    assert len(script.given) == 4


@pytest.mark.parametrize("nonsense", [None, 3, b"\xff", ["a", 1], {}, float("nan"), object()])
def test_a_recogniser_that_returns_no_text_leaves_the_call_as_it_is(nonsense: Any) -> None:
    line, _, recorder = scripted(nonsense, "Computer.")
    with line as call:
        talk(call)
        assert call.connected
        assert "awake" not in call.log
        talk(call, 2)
        assert call.log[-1] == "response_finished"
    assert len(recorder.said) == 1


@pytest.mark.parametrize(
    "text", ["", " ", "...", "\x00", "\ud800", "computer" * 5_000, "a " * 9_999]
)
def test_odd_texts_wake_nobody_and_break_nothing(text: str) -> None:
    line, _, recorder = scripted(text, "Computer.")
    with line as call:
        talk(call)
        assert call.log == ["asleep"]
        talk(call, 2)
        assert call.errors == []
    assert len(recorder.said) == 1


def test_a_busy_model_is_said_once_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    with VirtualCall(ReplyOnStopWords(recorder, WORDS)) as call:
        monkeypatch.setattr(listening_pool(), "longest_queue", 0)
        for _ in range(2):
            call.say(said(ASKED))
            call.wait(1.0)
        assert len(call.errors) == 1
        assert "ModelBusy" in call.errors[0]
        monkeypatch.undo()
        call.say(said(ASKED))
        call.wait(1.0)
    assert [read(audio) for audio in recorder.said] == ["what time is it"]


# Slow ones


def slow_call(*answers: str, seconds: float) -> tuple[Line, Slow, Recorder]:
    slow, recorder = Slow(*answers, seconds=seconds), Recorder()
    line = Line(ReplyOnStopWords(recorder, WORDS, stt=slow))
    slow.call = line
    return line, slow, recorder


def test_while_a_word_is_read_the_call_goes_on_and_what_is_said_meanwhile_is_answered() -> None:
    line, _, recorder = slow_call("Computer.", seconds=1.0)
    with line as call:
        call.wait(0.5)
        call.say(voice(0.5))
        call.wait(0.5)
        call.say(voice(0.7))
        call.wait(1.5)
        (woken,) = (m.at for m in call.messages if m.type == "stopword")
        assert woken == pytest.approx(0.5 + 0.5 + 0.16 + 1.0, abs=0.1)
        steps = [step.at for step in call.steps]
        assert np.diff(steps).max() < 0.04
    assert [spoken(audio) for audio in recorder.said] == pytest.approx([1.3], abs=0.2)


def test_a_caller_is_answered_while_another_ones_recogniser_hangs() -> None:
    stuck, slow, _ = slow_call("", seconds=30.0)
    line, _, recorder = scripted("Computer.")
    with stuck, line:
        talk(stuck)
        talk(line, 2)
        assert slow.script.given == []
        assert len(recorder.said) == 1


def test_a_recogniser_that_falls_behind_catches_up_when_the_caller_pauses() -> None:
    line, slow, recorder = slow_call("", "", "", "", "Computer.", seconds=2.0)
    with line as call:
        talk(call, 4)
        call.wait(4.0)
        talk(call)
        call.wait(2.0)
        assert len(slow.script.given) == 5
        assert call.log == ["asleep", "awake"]
        talk(call)
    assert len(recorder.said) == 1


def test_who_hangs_up_while_a_word_is_read_is_not_answered() -> None:
    line, slow, recorder = slow_call("Computer, go.", seconds=5.0)
    with line as call:
        talk(call)
        call.hang_up()
        assert not call.connected
        call.vanish(6.0)
        assert slow.has_read.wait(10)
        assert call.log == ["asleep"]
        assert call.errors == []
        assert call.session.workers.settled
    assert recorder.said == []


# Another way to look


class Weather(ReplyOnStopWords):
    """Listens for a topic."""

    def stop_word_detected(self, text: str) -> bool:
        return "weather" in text.lower()


class Deaf(ReplyOnStopWords):
    def stop_word_detected(self, text: str) -> bool:
        return False


class Broken(ReplyOnStopWords):
    def stop_word_detected(self, text: str) -> bool:
        raise KeyError("looked wrong")


def test_a_subclass_may_look_for_something_else() -> None:
    script, recorder = Script("Computer, go.", "A lovely weather."), Recorder()
    with Line(Weather(recorder, WORDS, stt=script)) as call:
        talk(call)
        assert call.log == ["asleep"]
        call.wait(1.0)
        talk(call)
        assert call.log == ["asleep", "awake"]
        talk(call)
    assert len(recorder.said) == 1
    assert len(script.given) == 2


def test_a_subclass_may_refuse_a_stop_word() -> None:
    with Line(Deaf(Recorder(), WORDS, stt=Script("Computer, go."))) as call:
        talk(call, 2)
        assert call.log == ["asleep"]


def test_a_subclass_that_raises_is_reported_once_and_the_call_goes_on() -> None:
    with Line(Broken(Recorder(), WORDS, stt=Script("Computer.", "Computer."))) as call:
        talk(call, 3)
        assert call.connected
        assert call.errors == ["KeyError: 'looked wrong'"]


def test_the_method_that_may_be_overridden_answers_for_the_words_themselves() -> None:
    handler = ReplyOnStopWords(Recorder(), ["hey siri"])
    assert handler.stop_word_detected("Oh. Hey, Siri. What now?")
    assert not handler.stop_word_detected("Hey there, Sarah.")


# Options


def make(**options: Any) -> ReplyOnStopWords:
    given: dict[str, Any] = {"fn": Recorder(), "stop_words": WORDS, **options}
    return ReplyOnStopWords(**given)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"fn": "no function"}, TypeError, "expected a function"),
        ({"stop_words": "computer"}, TypeError, "not one str"),
        ({"stop_words": [3]}, TypeError, "int"),
        ({"stop_words": []}, ValueError, "at least one"),
        ({"stop_words": ["computer", "?"]}, ValueError, r"letters, and '\?' has none"),
        ({"stop_words": ["one two three four five six"]}, ValueError, "up to 5 words"),
        ({"stt": "whisper"}, TypeError, "expected stt to be an object with a method stt"),
        ({"spotting": "smell"}, ValueError, "spotting .* got 'smell'"),
        ({"spotting": None}, ValueError, "got None"),
        ({"listens_for": 0}, ValueError, "expected listens_for over 0 s, got 0"),
        ({"listens_for": -1.0}, ValueError, "listens_for"),
        ({"listens_for": float("nan")}, ValueError, "listens_for"),
        ({"endpointing": "magic"}, TypeError, "endpointing"),
        ({"no_such_option": 1}, TypeError, "no_such_option"),
    ],
)
def test_an_option_that_cannot_be_is_refused(
    options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        make(**options)


def test_the_options_of_the_class_above_are_taken_by_position_and_by_name() -> None:
    def greet() -> Iterator[Any]:
        yield 24_000, np.zeros((1, 240), np.int16)

    handler = ReplyOnStopWords(Recorder(), WORDS, greet, None, None, False, speculative=True)
    assert handler.startup_fn is greet
    assert not handler.can_interrupt
    assert handler.speculative


# Copies


class Named(ReplyOnStopWords):
    """Takes other arguments."""

    def __init__(self, name: str, fn: Callable[..., Any], stt: Script) -> None:
        super().__init__(fn, [name], stt=stt, listens_for=2.0)
        self.name = name


def test_a_copy_of_a_subclass_listens_for_the_same_words() -> None:
    recorder = Recorder()
    handler = Named("llama", recorder, Script("Lamma.", "", "Llama."))
    with Line(handler) as call:
        assert type(call.handler) is Named
        assert call.handler is not handler
        assert call.handler.name == "llama"
        talk(call, 2)
        assert len(recorder.said) == 1
        talk(call, 2)
        call.wait(3.0)
    assert call.log[-2:] == ["awake", "asleep"]


def test_two_calls_to_one_handler_sleep_and_wake_each_for_itself() -> None:
    handler = ReplyOnStopWords(Recorder(), WORDS, stt=Script("Computer.", "Hello."))
    with Line(handler) as one, Line(handler) as other:
        talk(one)
        talk(other)
        assert one.log == ["asleep", "awake"]
        assert other.log == ["asleep"]
