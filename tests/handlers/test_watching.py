"""A client that wants to see how turns are taken, for its live strip."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from fastrtc import ReplyOnPause, Stream
from tests.handlers.lines import Advice, Line, Watched, noise, voice
from tests.samples import Recorder


class Wire(Line):
    """A call that keeps the texts that it is sent."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.texts: list[str] = []

    def __enter__(self) -> Wire:
        super().__enter__()
        return self

    def send_message(self, message: str) -> None:
        self.texts.append(message)
        super().send_message(message)

    def sent(self, kind: str) -> list[Any]:
        """The data of the messages of a kind."""
        return [message.data for message in self.messages if message.type == kind]


def watched(handler: ReplyOnPause, **options: Any) -> Wire:
    return Wire(Watched(handler), **options)


def strict(text: str) -> Any:
    """As a browser reads it, which knows no NaN."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_watching_client_gets_the_steps_six_times_a_second() -> None:
    with watched(ReplyOnPause(Recorder(seconds=2.0))) as call:
        call.wait(1.0)
        call.say(voice(1.0))
        call.wait(3.0)
        messages = call.sent("steps")
        times = [message.at for message in call.messages if message.type == "steps"]
        steps = call.steps
    assert len(messages) == pytest.approx(5.0 * 6.25, abs=1.5)
    assert np.diff(times).max() < 0.2
    rows = [row for message in messages for row in message["steps"]]
    assert [row[3] for row in rows] == [step.state for step in steps[: len(rows)]]
    assert messages[0]["end"] == pytest.approx(5 * 0.032)
    states = {row[3] for row in rows}
    assert states == {"listening", "starting", "speaking", "pausing", "replying"}
    talking = next(row for row in rows if row[3] == "speaking")
    assert talking[0] == 1.0
    assert -25 < talking[1] < -15
    assert max(row[2] for row in rows) > -25


def test_a_watching_client_gets_every_decision() -> None:
    with watched(ReplyOnPause(Recorder()), endpoint=Advice(0.99, "so")) as call:
        call.say(voice(1.0))
        call.wait(2.0)
        decisions = call.sent("decision")
        assert [decision["kind"] for decision in decisions] == call.kinds()
    finished = decisions[-1]
    assert finished["kind"] == "user finished"
    assert finished["words"] == "That is all."
    assert finished["finished"] > 0.5
    assert finished["at"] == pytest.approx(1.25, abs=0.1)
    assert decisions[0]["words"] is None


def test_a_watching_client_gets_every_turn() -> None:
    with watched(ReplyOnPause(Recorder()), endpoint=Advice(0.99, "so")) as call:
        for _ in range(2):
            call.say(voice(1.0))
            call.wait(2.0)
        turns = call.sent("turn")
    assert [turn["number"] for turn in turns] == [1, 2]
    assert turns[0]["evidence"]["opinion"] == {"probability": 0.99, "words": "That is all."}
    assert turns[0]["heard"] == {"seconds": 0.5, "text": ""}
    assert turns[0]["false_alarms"] == []


def test_all_that_a_watching_client_gets_is_json() -> None:
    def reply(audio: Any) -> Any:
        yield noise(0.5)
        raise KeyError("weather")

    with watched(ReplyOnPause(reply, startup_fn=lambda: iter([noise(2.0)]))) as call:
        call.wait(1.5)
        call.say(voice(0.2))
        call.wait(2.0)
        call.say(voice(1.0))
        call.wait(2.0)
        call.hang_up()
        for text in call.texts:
            assert strict(text)["type"]
        assert len(call.sent("turn")) == 2
        assert len(call.sent("turn")[0]["false_alarms"]) == 1


def test_a_voice_detector_that_knows_no_number_does_not_spoil_the_messages() -> None:
    class Lost:
        def vad(self, audio: Any, options: Any) -> Any:
            return float("nan"), []

        def warmup(self) -> None: ...

    with watched(ReplyOnPause(Recorder(), model=Lost())) as call:
        call.wait(1.0)
        for text in call.texts:
            strict(text)


def test_a_client_that_does_not_watch_gets_none_of_it() -> None:
    with Wire(Stream(ReplyOnPause(Recorder()))) as call:
        call.say(voice(1.0))
        call.wait(2.0)
        kinds = {message.type for message in call.messages}
    assert kinds == {"log"}


def test_who_watches_does_not_change_what_is_said() -> None:
    logs = []
    for make in (Stream, Watched):
        with Wire(make(ReplyOnPause(Recorder()))) as call:
            call.say(voice(1.0))
            call.wait(2.0)
            logs.append((call.log, call.sounds))
    assert logs[0] == logs[1]
