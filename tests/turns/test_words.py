"""What words say about the end of a turn, and over a reply."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrtc.turns import words
from fastrtc.turns.words import ASKED, HANGING, UNMARKED, end_hint, is_answer, is_meant

FINISHED = [
    "Thank you.",
    "I would like a table for two, please.",
    "No, that is all.",
    "We went to the station.",
    "Stop!",
    "I think so.",
    "I don't think so.",
    "If it rains, we stay at home.",
    "Call me tomorrow.",
    "Mine.",
    "Yes, I do.",
]
ASKING = [
    "What time is it?",
    "Where is the station?",
    "Where are you from?",
    "How much is the fish?",
    "Can you help me?",
    "When does it start?",
]
HANGING_ON = [
    "I want to go to the",
    "We went to London and",
    "I'd like a",
    "She said that my",
    "Um",
    "Yes, uh",
    "I'm not sure, let me think",
    "Hold on",
    "I was there because of",
    "it is not very",
]
LEANING_ON = [
    "I would like to",
    "He is from",
    "We have been",
    "I don't know where",
    "Please give",
]
CLAUSES = ["If you don't mind", "When I was young", "Although it was late", "As soon as he came"]
COUNTING = ["My number is five", "The card number is 4 4 1", "It is spelled B R O"]


@pytest.mark.parametrize("text", FINISHED)
def test_a_sentence_that_is_finished_is_not_waited_for(text: str) -> None:
    assert end_hint(text) == 0.0


@pytest.mark.parametrize("text", ASKING)
def test_a_question_asks_for_an_answer(text: str) -> None:
    assert end_hint(text) == ASKED > 0


@pytest.mark.parametrize("text", HANGING_ON)
def test_a_sentence_never_ends_on_some_words(text: str) -> None:
    assert end_hint(text) == HANGING


@pytest.mark.parametrize("text", [*LEANING_ON, *CLAUSES, *COUNTING])
def test_a_sentence_rarely_ends_on_others(text: str) -> None:
    assert HANGING < end_hint(text) < 0.0


@pytest.mark.parametrize("text", [*HANGING_ON, *LEANING_ON, *CLAUSES, *COUNTING])
def test_a_full_stop_of_the_recogniser_does_not_finish_a_sentence(text: str) -> None:
    assert end_hint(f"{text}.") < -0.5


@pytest.mark.parametrize("text", FINISHED)
def test_without_a_full_stop_a_sentence_seems_less_finished(text: str) -> None:
    assert end_hint(text.rstrip(".!")) <= UNMARKED < end_hint(text)


@pytest.mark.parametrize("text", [*FINISHED, *ASKING, *HANGING_ON, *LEANING_ON, *COUNTING])
def test_case_and_blanks_and_the_kind_of_apostrophe_say_nothing(text: str) -> None:
    assert end_hint(f"  {text.upper()}\n") == end_hint(text)
    assert end_hint(text.replace("'", "\u2019")) == end_hint(text)


def test_only_the_last_sentence_has_a_clause_that_wants_another() -> None:
    assert end_hint("If you want. We can go home now.") == 0.0
    assert end_hint("We can go home now. If you don't mind.") < 0.0


@pytest.mark.parametrize(
    "text", ["", " ", "...", "?", "\u4f60\u597d", "\u0414\u0430", "\U0001f600"]
)
def test_no_words_say_nothing(text: str) -> None:
    assert end_hint(text) == 0.0
    assert not is_meant(text)
    assert not is_answer(text)


@given(st.text())
def test_any_text_has_a_hint_within_bounds(text: str) -> None:
    assert HANGING <= end_hint(text) <= ASKED
    assert isinstance(is_meant(text), bool)
    assert isinstance(is_answer(text), bool)


@pytest.mark.parametrize("piece", ["word ", ". ", "?!", "'", "if ", "a" * 9, "  ", "5, "])
def test_a_very_long_text_is_read_quickly(piece: str) -> None:
    text = piece * 50_000
    began = time.process_time()
    end_hint(text)
    is_meant(text)
    is_answer(text)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("phrase", words._HELD)
def test_each_phrase_that_keeps_the_floor_is_found(phrase: str) -> None:
    assert end_hint(f"So, {phrase}.") == HANGING


# Over a reply


@pytest.mark.parametrize(
    "text",
    [
        *("Stop.", "stop", "STOP!", "No, wait", "Excuse me", "No.", "Wait, wait.", "Hold on."),
        *("Sorry, what?", "But I", "Actually", "Hello?", "Never mind.", "Shut up", "Don\u2019t."),
        *("Can you repeat that?", "Okay, stop."),
    ],
)
def test_words_that_take_the_floor_are_meant(text: str) -> None:
    assert is_meant(text)


@pytest.mark.parametrize(
    "text",
    [
        *("Mm-hm.", "Yeah.", "Okay.", "Right.", "I see.", "Uh-huh", "You", "", "Oh.", "Yes."),
        *("Hmm", "Sure.", "All right.", "Got it.", "Thank you.", "Bye.", "Good.", "Stopped"),
    ],
)
def test_words_that_only_say_that_one_listens_are_not_meant(text: str) -> None:
    assert not is_meant(text)


@pytest.mark.parametrize("text", ["Yes.", "Yeah", "okay", "Two, please.", "London", "42", "Oui."])
def test_any_word_is_an_answer(text: str) -> None:
    assert is_answer(text)


@pytest.mark.parametrize("text", ["Um.", "Uh", "Hmm...", "", "Ah!", "You", "the", "Oh."])
def test_a_cough_is_no_answer(text: str) -> None:
    assert not is_answer(text)
