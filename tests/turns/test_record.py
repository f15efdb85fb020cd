"""What happened in a turn, in a form to be read."""

from __future__ import annotations

import json

import pytest

from fastrtc.turns.endpointing import Evidence, Opinion
from fastrtc.turns.record import Heard, Turn


def test_latency_reaches_from_the_last_voice_to_the_first_sound() -> None:
    assert Turn(1, speech_end=2.0, first_sound=2.5).latency == pytest.approx(0.5)


@pytest.mark.parametrize("turn", [Turn(1), Turn(1, speech_end=2.0), Turn(1, first_sound=2.0)])
def test_without_speech_or_without_sound_there_is_no_latency(turn: Turn) -> None:
    assert turn.latency is None


def test_a_turn_can_be_written_as_json() -> None:
    evidence = Evidence(Opinion(0.9, "Yes."), speech=1.0, finished=0.8, patience=0.2)
    turn = Turn(3, evidence=evidence, false_alarms=[(1.0, 0.4)], heard=Heard(1.5, "Of course"))
    written = json.loads(json.dumps(turn.as_dict()))
    assert written["number"] == 3
    assert written["evidence"]["opinion"] == {"probability": 0.9, "words": "Yes."}
    assert written["heard"] == {"seconds": 1.5, "text": "Of course"}
    assert written["false_alarms"] == [[1.0, 0.4]]


def test_turns_do_not_share_their_false_alarms() -> None:
    Turn(1).false_alarms.append((0.0, 1.0))
    assert Turn(2).false_alarms == []
