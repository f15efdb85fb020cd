"""How long a silence has to last: evidence, habits, and when the models are asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrtc.turns.endpointing import LONGEST_WAIT, SHORTEST_PAUSE, Evidence, Habits, Opinion, weigh
from fastrtc.turns.machine import Event, Kind, State, Told, TurnMachine
from fastrtc.turns.options import STEP_SAMPLES, STEP_SECONDS, EndpointPolicy, TurnPolicy
from fastrtc.turns.words import end_hint
from tests.turns.calls import (
    SILENCE,
    VOICE,
    hear,
    judge,
    kinds,
    only,
    pause,
    run,
    seconds,
    speak,
)

MAY_HAVE_FINISHED, WENT_ON = Kind.USER_MAY_HAVE_FINISHED, Kind.USER_WENT_ON
FINISHED = Kind.USER_FINISHED
POLICY = EndpointPolicy()
SURE, UNSURE = 0.99, 0.01

policies = st.builds(
    lambda soon, more, unsure, sure: EndpointPolicy(soon, soon + more, sure, unsure),
    st.floats(0.05, 1.0),
    st.floats(0.0, 4.0),
    st.floats(0.0, 0.4),
    st.floats(0.5, 1.0),
)
pauses = st.lists(st.floats(0, 10), max_size=20)
opinions = st.builds(
    Opinion,
    st.one_of(st.none(), st.floats(0, 1)),
    st.one_of(st.none(), st.sampled_from(["I want to", "The end.", "Who?", "um", "five"])),
)


def used_to(*pauses: float, cut_ins: int = 0) -> Habits:
    """The habits of a caller who pauses like this."""
    habits = Habits()
    for pause in pauses:
        habits.went_on(pause)
    for _ in range(cut_ins):
        habits.was_cut_in(0.0)
    return habits


def weighed(opinion: Opinion, speech: float = 2.0, habits: Habits | None = None) -> Evidence:
    return weigh(opinion, speech, habits or Habits(), POLICY)


# Evidence


@given(opinions, st.floats(0, 400), pauses, st.integers(0, 5), policies)
def test_patience_has_bounds_whatever_the_evidence(
    opinion: Opinion, speech: float, pauses: list[float], cut_ins: int, policy: EndpointPolicy
) -> None:
    patience = weigh(opinion, speech, used_to(*pauses, cut_ins=cut_ins), policy).patience
    assert policy.soon - 1e-9 <= patience <= max(policy.late, LONGEST_WAIT) + 1e-9


@given(opinions, st.floats(0, 1), st.floats(0, 1), pauses, policies)
def test_who_sounds_more_finished_is_never_waited_for_longer(
    opinion: Opinion, less: float, more: float, pauses: list[float], policy: EndpointPolicy
) -> None:
    less, more = sorted([less, more])
    habits = used_to(*pauses)
    sooner = weigh(replace(opinion, probability=more), 2.0, habits, policy)
    later = weigh(replace(opinion, probability=less), 2.0, habits, policy)
    assert sooner.finished >= later.finished
    assert sooner.patience <= later.patience + 1e-9


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ("Who is there?", "It is done."),
        ("It is done.", "it is done"),
        ("It is on the table.", "It is on the"),
        ("My number is done.", "My number is five."),
    ],
)
def test_words_that_end_a_sentence_are_waited_for_less(more: str, less: str) -> None:
    assert end_hint(more) > end_hint(less)
    assert weighed(Opinion(0.5, more)).finished > weighed(Opinion(0.5, less)).finished


def test_words_and_sound_add_up() -> None:
    both = weighed(Opinion(0.9, "Who is there?")).finished
    assert both > weighed(Opinion(0.9)).finished
    assert both > weighed(Opinion(words="Who is there?")).finished


def test_words_without_a_hint_change_nothing() -> None:
    assert weighed(Opinion(0.7, "")).finished == weighed(Opinion(0.7)).finished


def test_who_tells_a_story_is_waited_for_longer() -> None:
    assert weighed(Opinion(0.5), speech=20.0).patience > weighed(Opinion(0.5), 2.0).patience


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_model_that_is_all_too_sure_is_weighed_as_others_are(probability: float) -> None:
    assert 0 < weighed(Opinion(probability)).finished < 1


def test_surely_finished_is_answered_soon() -> None:
    assert weighed(Opinion(SURE, "Who is there?")).patience == pytest.approx(POLICY.soon)


def test_surely_not_finished_is_answered_late() -> None:
    assert weighed(Opinion(UNSURE, "I want to")).patience == pytest.approx(POLICY.late)


def test_evidence_keeps_what_it_is_made_of() -> None:
    evidence = weighed(Opinion(0.7, "Yes."), speech=3.0)
    assert (evidence.opinion, evidence.speech) == (Opinion(0.7, "Yes."), 3.0)


# Habits


def test_of_a_new_caller_no_pause_is_known() -> None:
    assert Habits().usual == 0.0


def test_four_of_five_pauses_are_no_longer_than_the_usual_one() -> None:
    assert used_to(0.3, 0.9, 0.2, 0.5, 0.4).usual == 0.5


@given(st.lists(st.floats(SHORTEST_PAUSE, 10), min_size=1, max_size=8))
def test_the_usual_pause_is_one_of_those_heard(pauses: list[float]) -> None:
    assert used_to(*pauses).usual in pauses


def test_gaps_between_words_are_no_pauses() -> None:
    assert used_to(0.05, 0.09).usual == 0.0


def test_pauses_of_long_ago_are_forgotten() -> None:
    assert used_to(*[2.0] * 8, *[0.2] * 8).usual == 0.2


def test_who_pauses_long_is_waited_for_longer() -> None:
    hesitant = used_to(1.8, 1.8, 1.8)
    late = Opinion(UNSURE, "I want to")
    assert weighed(late, habits=hesitant).patience > weighed(late).patience


def test_a_cut_in_asks_for_more_patience() -> None:
    patience = [weighed(Opinion(0.6), habits=used_to(cut_ins=n)).patience for n in range(4)]
    assert patience == sorted(set(patience))


def test_more_than_three_cut_ins_count_as_three() -> None:
    assert used_to(cut_ins=9).cut_ins == 3.0


def test_a_cut_in_is_forgotten_after_some_turns_that_had_finished() -> None:
    habits = used_to(cut_ins=1)
    for _ in range(4):
        habits.had_finished()
    assert habits.cut_ins == 0.0


def test_by_a_timer_alone_only_a_cut_in_asks_for_more_patience() -> None:
    assert used_to(0.7).patience(0.3) == 0.3
    assert 0.7 < used_to(0.7, cut_ins=1).patience(0.3) <= 1.0


@given(pauses, st.integers(0, 5), st.floats(0.01, 5))
def test_a_timer_never_waits_for_less_than_it_is_set_to(
    pauses: list[float], cut_ins: int, seconds: float
) -> None:
    assert seconds <= used_to(*pauses, cut_ins=cut_ins).patience(seconds) <= max(seconds, 1.0)


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
    assert machine.evidence is not None
    silence = seconds(finished.at - finished.voice_end)
    assert machine.evidence.patience <= silence < machine.evidence.patience + STEP_SECONDS
    assert least <= silence <= most


def test_without_a_judgement_a_turn_ends_after_a_time_of_its_own() -> None:
    machine = machine_that_judges()
    asked(machine)
    finished = only(pause(machine, 4.0), FINISHED)
    silence = seconds(finished.at - finished.voice_end)
    assert POLICY.unjudged <= silence < POLICY.unjudged + STEP_SECONDS
    assert machine.evidence is None


def test_a_judgement_that_comes_late_ends_the_turn_at_once() -> None:
    machine = machine_that_judges()
    question = asked(machine)
    assert pause(machine, 0.5) == []
    assert kinds(judge(machine, question, SURE)) == [FINISHED]


def test_a_judgement_says_how_long_the_caller_has_talked() -> None:
    machine = machine_that_judges()
    judge(machine, asked(machine, talked=2.0), UNSURE)
    assert machine.evidence is not None
    assert machine.evidence.speech == pytest.approx(2.0, abs=STEP_SECONDS)


def test_a_judgement_of_a_pause_that_is_over_says_nothing() -> None:
    machine = machine_that_judges()
    old = asked(machine)
    asked(machine)
    assert judge(machine, old, SURE) == []
    assert machine.evidence is None


def test_a_judgement_says_nothing_while_the_caller_talks_on() -> None:
    machine = machine_that_judges()
    question = asked(machine)
    speak(machine, 0.1)
    assert judge(machine, question, SURE) == []
    assert machine.evidence is None


def test_a_judgement_of_a_turn_that_is_over_says_nothing() -> None:
    machine = machine_that_judges()
    question = asked(machine)
    pause(machine, 2.0)
    assert judge(machine, question, SURE) == []


def test_where_silence_alone_is_judged_a_judgement_says_nothing() -> None:
    machine = TurnMachine()
    assert judge(machine, asked(machine), SURE) == []
    assert machine.evidence is None


def test_after_going_on_the_next_silence_is_as_long_as_if_nothing_had_been_judged() -> None:
    machine = machine_that_judges()
    judge(machine, asked(machine), SURE)
    asked(machine, talked=0.2)
    finished = only(pause(machine, 4.0), FINISHED)
    assert seconds(finished.at - finished.voice_end) >= POLICY.unjudged


def test_a_new_turn_has_no_evidence_yet() -> None:
    machine = machine_that_judges()
    judge(machine, asked(machine), SURE)
    pause(machine, 1.0)
    machine.told(Told.REPLY_ENDED)
    assert machine.evidence is not None
    speak(machine, 0.2)
    assert machine.evidence is None


@pytest.mark.xfail(strict=True, reason="evidence of an earlier pause is kept when it was wrong")
def test_a_turn_that_ended_without_judgement_has_no_evidence() -> None:
    machine = machine_that_judges()
    judge(machine, asked(machine), UNSURE)
    asked(machine)
    assert FINISHED in kinds(pause(machine, 1.0))
    assert machine.evidence is None


@pytest.mark.xfail(strict=True, reason="evidence of the turn before is kept")
def test_a_turn_that_was_forced_has_no_evidence() -> None:
    machine = machine_that_judges()
    judge(machine, asked(machine), SURE)
    pause(machine, 1.0)
    machine.told(Told.REPLY_ENDED)
    machine.told(Told.FORCED)
    assert machine.evidence is None


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
    assert machine.evidence is not None
    silence = seconds(finished.at - finished.voice_end)
    assert machine.evidence.patience <= silence < machine.evidence.patience + STEP_SECONDS


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
