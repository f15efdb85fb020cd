"""When a turn ends: by silence, by a model of the user's, and by the models of the package."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastrtc import AlgoOptions, ReplyOnPause, SmartTurn, Turn
from fastrtc.handlers import choices
from fastrtc.models.end_of_turn.smart_turn import smart_turn_missing
from fastrtc.models.stt.moonshine import moonshine_available, shared_moonshine
from fastrtc.testing import VirtualCall, load_speech
from tests.conftest import Sound, human_speech, missing
from tests.handlers.lines import Advice, Audio, Line, voice
from tests.samples import Recorder

SENTENCES = [(5.02, 5.40, 6.30), (10.78, 11.30, 12.86), (15.14, 15.60, 16.77)]
"""Where clauses of `two_cities` begin, where "It was the" is over, and where they end; seconds."""


class Model:
    """An `EndOfTurnModel` that answers as it is told."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer
        self.asked: list[Audio] = []

    def end_of_turn(self, audio: Audio) -> Any:
        self.asked.append(audio)
        return self.answer()

    def warmup(self) -> None: ...


def fail() -> float:
    raise RuntimeError("the judge is ill")


def pause_after(call: VirtualCall, sound: Sound) -> float:
    """Say something; seconds of silence after which the turn was over."""
    call.say(sound)
    call.wait(3.0)
    return waited(call.turns[-1])


def waited(turn: Turn) -> float:
    assert turn.decided is not None
    assert turn.speech_end is not None
    return float(turn.decided - turn.speech_end)


# A model of the user's


@pytest.mark.parametrize(("probability", "least", "most"), [(0.99, 0.2, 0.3), (0.01, 0.9, 1.7)])
def test_a_model_that_is_sure_ends_the_turn_soon_and_one_that_doubts_ends_it_late(
    probability: float, least: float, most: float
) -> None:
    with Line(ReplyOnPause(Recorder(), endpointing=Model(lambda: probability))) as call:
        assert least < pause_after(call, voice(1.0)) < most


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (fail, "RuntimeError: the judge is ill"),
        (lambda: 1.5, "ValueError: expected a probability in [0, 1], got 1.5"),
        (lambda: float("nan"), "ValueError: expected a probability in [0, 1], got nan"),
        (lambda: "yes", "ValueError: could not convert string to float: 'yes'"),
        (lambda: None, "TypeError: float() argument must be"),
    ],
)
def test_a_model_that_fails_is_told_of_once_and_silence_ends_the_turns(
    answer: Callable[[], Any], told: str
) -> None:
    model = Model(answer)
    with Line(ReplyOnPause(Recorder(), endpointing=model)) as call:
        for _ in range(2):
            assert pause_after(call, voice(1.0)) == pytest.approx(0.8, abs=0.06)
        (error,) = call.errors
    assert error.startswith(told)
    assert len(model.asked) >= 2


def test_a_model_that_never_returns_is_not_waited_for() -> None:
    release = threading.Event()

    def never() -> float:
        with call.session.workers.may_block():
            release.wait(30)
        return 1.0

    with Line(ReplyOnPause(Recorder(), endpointing=Model(never))) as call:
        for _ in range(3):
            assert pause_after(call, voice(1.0)) == pytest.approx(0.8, abs=0.06)
        threads = call.session.workers.threads
        release.set()
    assert threads <= 3


def test_a_model_hears_this_turn_and_nothing_of_the_one_before() -> None:
    model = Model(lambda: 0.99)
    with Line(ReplyOnPause(Recorder(), endpointing=model)) as call:
        for _ in range(2):
            call.wait(1.0)
            call.say(voice(1.0))
            call.wait(1.0)
    assert len(model.asked) == 2
    for rate, samples in model.asked:
        assert (rate, samples.ndim, len(samples)) == (16_000, 2, 1)
        assert samples.dtype == np.int16
        # The soft sound before the voice is in it, and the first silence after it.
        assert 1.2 < samples.shape[1] / rate < 1.45
        loud = np.flatnonzero(np.abs(samples[0]) > 1_000) / rate
        assert 0.2 < loud[0] < 0.4


def test_a_model_is_asked_again_about_the_whole_turn_when_the_caller_has_gone_on() -> None:
    model = Model(lambda: 0.01)
    with Line(ReplyOnPause(Recorder(), endpointing=model)) as call:
        call.say(voice(0.5))
        call.wait(0.4)
        call.say(voice(0.5))
        call.wait(2.0)
    lengths = [samples.shape[1] / rate for rate, samples in model.asked]
    assert lengths[0] == pytest.approx(0.55, abs=0.06)
    assert lengths[-1] == pytest.approx(1.45, abs=0.06)


def test_an_answer_about_a_pause_that_is_over_says_nothing() -> None:
    # It comes when the caller has long gone on and pauses again.
    advice = Advice(0.99, seconds=0.6)
    recorder = Recorder()
    with Line(ReplyOnPause(recorder), endpoint=advice) as call:
        call.say(voice(0.5))
        call.wait(0.3)
        call.say(voice(0.25))
        call.wait(0.1)
        assert not recorder.said
        call.wait(2.0)
        (turn,) = call.turns
    assert waited(turn) == pytest.approx(0.62, abs=0.05)


# Which of them decides


def test_silence_alone_decides_where_that_is_wished() -> None:
    advice = Advice(0.01)
    with Line(ReplyOnPause(Recorder(), endpointing="vad"), endpoint=advice) as call:
        assert pause_after(call, voice(1.0)) == pytest.approx(0.32, abs=0.05)
        assert call.turns[0].evidence is None
    assert not advice.questions


def test_the_options_of_a_window_win_over_a_model() -> None:
    model = Model(lambda: 0.01)
    handler = ReplyOnPause(Recorder(), endpointing=model, algo_options=AlgoOptions(0.5, 0.2, 0.1))
    with Line(handler) as call:
        assert pause_after(call, voice(1.0)) < 0.6
    assert not model.asked


def test_a_voice_detector_of_the_users_wins_over_a_model() -> None:
    class Loud:
        def vad(self, audio: Any, options: Any) -> Any:
            _, samples = audio
            return float((np.abs(samples) > 1_000).mean() * len(samples) / 16_000), []

        def warmup(self) -> None: ...

    model = Model(lambda: 0.01)
    with Line(ReplyOnPause(Recorder(), endpointing=model, model=Loud())) as call:
        call.say(voice(1.0))
        call.wait(3.0)
        assert len(call.turns) == 1
    assert not model.asked


def test_a_subclass_that_determines_pauses_wins_over_a_model() -> None:
    class Never(ReplyOnPause):
        def determine_pause(self, audio: Any, sampling_rate: int, state: Any) -> bool:
            return False

    model = Model(lambda: 0.99)
    with Line(Never(Recorder(), endpointing=model)) as call:
        call.say(voice(1.0))
        call.wait(3.0)
        assert not call.turns
    assert not model.asked


@pytest.mark.parametrize("wrong", ["smart", None, 0.5, object(), ["vad"]])
def test_another_endpointing_is_refused_in_words(wrong: Any) -> None:
    with pytest.raises(TypeError, match='expected endpointing "auto", "vad" or a model'):
        ReplyOnPause(Recorder(), endpointing=wrong)


def test_a_class_in_the_place_of_a_model_is_refused() -> None:
    wrong: Any = SmartTurn
    with pytest.raises(TypeError, match="expected endpointing"):
        ReplyOnPause(Recorder(), endpointing=wrong)


@pytest.mark.parametrize(
    ("options", "endpoint", "said"),
    [
        ({"endpointing": "vad"}, None, "by silence alone, as endpointing is 'vad'"),
        ({"endpointing": Model(fail)}, None, "by silence and Model"),
        ({"algo_options": AlgoOptions()}, None, "as algo_options say"),
        ({}, None, "by silence alone: no model is to be asked"),
        ({}, Advice(0.9, "so."), "by silence, Smart Turn and the words that Moonshine reads"),
        ({}, Advice(0.9), "by silence and Smart Turn; words are not read"),
    ],
)
def test_the_log_says_once_what_ends_turns(
    options: Any, endpoint: Advice | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    choices._say.cache_clear()
    choices._warn.cache_clear()
    with caplog.at_level(logging.INFO, "fastrtc"):
        for _ in range(3):
            with Line(ReplyOnPause(Recorder(), **options), endpoint=endpoint):
                pass
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Turns end")]
    assert said in line


# The models of the package


@pytest.fixture(scope="module")
def two_cities() -> Sound:
    return load_speech(human_speech("two_cities.wav"))


@pytest.fixture
def _models() -> None:
    """Smart Turn and Moonshine are there, and loaded: a loop may not wait for a file."""
    if smart_turn_missing():
        missing("the weights of Smart Turn")
    if not moonshine_available():
        missing("Moonshine")
    SmartTurn().warmup()
    shared_moonshine().transcribe(np.zeros(16_000, np.float32))


def part(sound: Sound, start: float, end: float) -> Sound:
    rate, samples = sound
    return rate, samples[:, round(start * rate) : round(end * rate)]


@pytest.mark.usefixtures("_models")
@pytest.mark.parametrize(("start", "middle", "end"), SENTENCES)
def test_a_sentence_cut_in_its_middle_waits_longer_than_one_that_is_finished(
    two_cities: Sound, start: float, middle: float, end: float
) -> None:
    pauses = []
    for until in (middle, end):
        with VirtualCall(ReplyOnPause(Recorder()), models=True) as call:
            call.wait(0.5)
            pauses.append(pause_after(call, part(two_cities, start, until)))
    cut, finished = pauses
    assert finished < 0.4
    assert cut > 1.0


@pytest.mark.usefixtures("_models")
def test_the_models_tell_how_it_sounded_and_what_the_words_were(two_cities: Sound) -> None:
    with VirtualCall(ReplyOnPause(Recorder()), models=True) as call:
        pause_after(call, part(two_cities, 1.22, 4.64))
        evidence = call.turns[-1].evidence
    assert evidence is not None
    assert evidence.opinion.probability is not None
    assert evidence.opinion.probability > 0.5
    assert "times" in (evidence.opinion.words or "")


def test_the_words_are_optional() -> None:
    with Line(ReplyOnPause(Recorder()), endpoint=Advice(0.99)) as call:
        assert pause_after(call, voice(1.0)) < 0.3
        evidence = call.turns[0].evidence
    assert evidence is not None
    assert evidence.opinion.words is None
