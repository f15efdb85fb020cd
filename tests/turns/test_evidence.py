"""How much patience the evidence asks for, and the caller's habits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrtc.turns.endpointing import LONGEST_WAIT, SHORTEST_PAUSE, Evidence, Habits, Opinion, weigh
from fastrtc.turns.options import EndpointPolicy
from fastrtc.turns.words import end_hint

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
    for seconds_of_silence in pauses:
        habits.went_on(seconds_of_silence)
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
