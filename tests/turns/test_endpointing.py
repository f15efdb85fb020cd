"""When the models are asked whether the caller has finished, and what their answer does."""

from __future__ import annotations

import pytest

from fastrtc.turns.machine import Event, Kind, State, Told, TurnMachine
from fastrtc.turns.options import STEP_SAMPLES, STEP_SECONDS, EndpointPolicy, TurnPolicy
from tests.turns.calls import SILENCE, VOICE, hear, judge, kinds, only, pause, run, seconds, speak

MAY_HAVE_FINISHED, WENT_ON = Kind.USER_MAY_HAVE_FINISHED, Kind.USER_WENT_ON
FINISHED = Kind.USER_FINISHED
POLICY = EndpointPolicy()
SURE, UNSURE = 0.99, 0.01


# Habits, as the machine learns them


def machine_that_judges(policy: EndpointPolicy = POLICY) -> TurnMachine:
    return TurnMachine(TurnPolicy(endpoint=policy))


def test_the_machine_learns_the_pauses_after_which_a_caller_went_on() -> None:
    machine = machine_that_judges()
    speak(machine, 1.0)
    pause(machine, 0.5)
    speak(machine, 0.1)
    assert machine.habits.usual == pytest.approx(0.5, abs=STEP_SECONDS)


@pytest.mark.parametrize(("silence", "cut_ins"), [(0.4, 1.0), (2.0, 0.0)])
def test_who_talks_again_at_once_after_a_turn_was_cut_in(silence: float, cut_ins: float) -> None:
    machine = TurnMachine()
    speak(machine, 1.0)
    assert FINISHED in kinds(pause(machine, silence))
    machine.told(Told.REPLY_ENDED)
    speak(machine, 1.0)
    assert machine.habits.cut_ins == cut_ins


def test_a_false_alarm_is_no_cut_in() -> None:
    machine = TurnMachine()
    speak(machine, 1.0)
    pause(machine, 0.4)
    speak(machine, 0.2)
    pause(machine, 1.0)
    assert machine.habits.cut_ins == 0.0


# When the models are asked, and what their answer does


def asked(machine: TurnMachine, talked: float = 1.0) -> Event:
    """The question at the first silence after some talking."""
    return only(speak(machine, talked) + hear(machine, SILENCE), MAY_HAVE_FINISHED)


def test_the_models_are_asked_at_the_first_step_of_silence() -> None:
    machine = machine_that_judges()
    speak(machine, 1.0)
    spoken = machine.position
    assert only(hear(machine, SILENCE), MAY_HAVE_FINISHED).at == spoken + STEP_SAMPLES


@pytest.mark.parametrize(("probability", "least", "most"), [(SURE, 0.2, 0.3), (UNSURE, 0.8, 1.7)])
def test_a_turn_ends_by_the_silence_that_its_judgement_asks_for(
    probability: float, least: float, most: float
) -> None:
    machine = machine_that_judges()
    question = asked(machine)
    judge(machine, question, probability)
    finished = only(pause(machine, 4.0), FINISHED)
    assert finished.evidence is not None
    silence = seconds(finished.at - finished.voice_end)
    assert finished.evidence.patience <= silence < finished.evidence.patience + STEP_SECONDS
    assert least <= silence <= most


def test_without_a_judgement_a_turn_ends_after_a_time_of_its_own() -> None:
    machine = machine_that_judges()
    asked(machine)
    finished = only(pause(machine, 4.0), FINISHED)
    silence = seconds(finished.at - finished.voice_end)
    assert POLICY.unjudged <= silence < POLICY.unjudged + STEP_SECONDS
    assert finished.evidence is None


def test_a_judgement_that_comes_late_ends_the_turn_at_once() -> None:
    machine = machine_that_judges()
    question = asked(machine)
    assert pause(machine, 0.5) == []
    assert kinds(judge(machine, question, SURE)) == [FINISHED]


def test_a_judgement_says_how_long_the_caller_has_talked() -> None:
    machine = machine_that_judges()
    judge(machine, asked(machine, talked=2.0), UNSURE)
    finished = only(pause(machine, 4.0), FINISHED)
    assert finished.evidence is not None
    assert finished.evidence.speech == pytest.approx(2.0, abs=STEP_SECONDS)


def test_a_judgement_of_a_pause_that_is_over_says_nothing() -> None:
    machine = machine_that_judges()
    old = asked(machine)
    asked(machine)
    assert judge(machine, old, SURE) == []
    assert only(pause(machine, 4.0), FINISHED).evidence is None


def test_a_judgement_says_nothing_while_the_caller_talks_on() -> None:
    machine = machine_that_judges()
    question = asked(machine)
    speak(machine, 0.1)
    assert judge(machine, question, SURE) == []
    assert only(pause(machine, 4.0), FINISHED).evidence is None


def test_a_judgement_of_a_turn_that_is_over_says_nothing() -> None:
    machine = machine_that_judges()
    question = asked(machine)
    pause(machine, 2.0)
    assert judge(machine, question, SURE) == []


def test_where_silence_alone_is_judged_a_judgement_says_nothing() -> None:
    machine = TurnMachine()
    assert judge(machine, asked(machine), SURE) == []
    assert only(pause(machine, 4.0), FINISHED).evidence is None


def test_after_going_on_the_next_silence_is_as_long_as_if_nothing_had_been_judged() -> None:
    machine = machine_that_judges()
    judge(machine, asked(machine), SURE)
    asked(machine, talked=0.2)
    finished = only(pause(machine, 4.0), FINISHED)
    assert seconds(finished.at - finished.voice_end) >= POLICY.unjudged


def test_a_turn_that_ended_without_judgement_has_no_evidence() -> None:
    machine = machine_that_judges()
    judge(machine, asked(machine), UNSURE)
    asked(machine)
    assert only(pause(machine, 1.0), FINISHED).evidence is None


def test_a_turn_that_was_forced_has_no_evidence() -> None:
    machine = machine_that_judges()
    judge(machine, asked(machine), SURE)
    pause(machine, 1.0)
    machine.told(Told.REPLY_ENDED)
    assert only(machine.told(Told.FORCED), FINISHED).evidence is None


# A voice that falls away


def talking(policy: EndpointPolicy = POLICY) -> TurnMachine:
    machine = machine_that_judges(policy)
    for _ in range(20):
        machine.hear(VOICE, -20.0)
    assert machine.state is State.SPEAKING
    return machine


def test_a_voice_that_falls_away_asks_before_it_is_silent() -> None:
    assert kinds(hear(talking(), 0.8)) == [MAY_HAVE_FINISHED]


def test_a_voice_that_falls_away_and_is_silent_then_is_one_question() -> None:
    assert kinds(hear(talking(), 0.8, 0.5, SILENCE, SILENCE)) == [MAY_HAVE_FINISHED]


def test_the_judgement_of_a_voice_that_fell_away_counts_from_its_silence() -> None:
    machine = talking()
    judge(machine, only(hear(machine, 0.8), MAY_HAVE_FINISHED), SURE)
    finished = only(pause(machine, 1.0), FINISHED)
    assert finished.evidence is not None
    silence = seconds(finished.at - finished.voice_end)
    assert finished.evidence.patience <= silence < finished.evidence.patience + STEP_SECONDS


def test_a_judgement_does_not_end_a_turn_while_there_is_voice() -> None:
    machine = talking()
    question = only(hear(machine, 0.8), MAY_HAVE_FINISHED)
    assert judge(machine, question, SURE) == []
    assert machine.state is State.PAUSING


def test_a_voice_that_is_full_again_has_gone_on() -> None:
    assert kinds(hear(talking(), 0.8, VOICE)) == [MAY_HAVE_FINISHED, WENT_ON]


def test_a_long_soft_voice_is_speech_again_and_asks_anew_at_its_silence() -> None:
    machine = talking()
    assert kinds(hear(machine, 0.8, 0.8, 0.8)) == [MAY_HAVE_FINISHED, WENT_ON]
    assert run(machine, 1.0, 0.8) == []
    assert kinds(hear(machine, SILENCE)) == [MAY_HAVE_FINISHED]


def test_a_voice_that_was_never_full_does_not_fall_away() -> None:
    machine = machine_that_judges()
    assert MAY_HAVE_FINISHED not in kinds(run(machine, 1.0, 0.8))


def test_going_on_from_a_fade_is_no_pause_of_the_caller() -> None:
    machine = talking()
    hear(machine, 0.8, VOICE)
    assert machine.habits.usual == 0.0


def test_a_step_whose_sound_has_dropped_asks_one_step_earlier() -> None:
    def steps_until_asked(*levels: float | None) -> int:
        machine = talking()
        events = [machine.hear(p, at) for p, at in zip((0.95, 0.7), levels, strict=True)]
        return [bool(e) for e in events].index(True)

    assert steps_until_asked(-70.0, -70.0) + 1 == steps_until_asked(-20.0, -20.0)
    assert steps_until_asked(-70.0, None) + 1 == steps_until_asked(None, None)


def test_a_drop_inside_a_word_of_surely_voice_asks_nothing() -> None:
    assert talking().hear(VOICE, -70.0) == []


@pytest.mark.parametrize("level", [None, float("nan"), -20.0, -30.0])
def test_a_level_that_has_not_dropped_asks_nothing(level: float | None) -> None:
    assert talking().hear(0.95, level) == []


def test_a_caller_who_speaks_lower_from_now_on_is_measured_by_that() -> None:
    machine = talking()
    for _ in range(200):
        machine.hear(VOICE, -48.0)
    assert machine.hear(0.95, -48.0) == []
    assert kinds(machine.hear(0.95, -80.0)) == [MAY_HAVE_FINISHED]
