"""Which part of a reply has been heard, by the position of the playout."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastrtc.handlers.script import WORDS_KEPT, Script
from fastrtc.turns.record import Heard

RATE = 24_000
FRAME = RATE // 50
BEGIN = 7 * RATE
"""Where the reply begins: others were heard before it."""


def told(*chunks: tuple[float, str], begin: int = BEGIN) -> Script:
    """A reply of chunks: seconds of sound, and text whose words take equally long."""
    script = Script(RATE)
    for seconds, text in chunks:
        words = [word + " " for word in text.split()]
        each = seconds / max(1, len(words))
        end = begin + round(seconds * RATE)
        script.add(begin, end, tuple((each * (n + 1), word) for n, word in enumerate(words)))
        begin = end
    return script


def after(seconds: float) -> int:
    """The position at which so much of the reply has been heard."""
    return BEGIN + round(seconds * RATE)


def test_of_a_reply_without_sound_nothing_is_heard() -> None:
    assert Script(RATE).heard(10 * RATE) == Heard()


@pytest.mark.parametrize("position", [0, BEGIN - RATE, BEGIN - FRAME, BEGIN])
def test_before_the_first_sound_nothing_is_heard(position: int) -> None:
    assert told((2.0, "one two")).heard(position) == Heard()


@pytest.mark.parametrize("seconds", [0.02, 0.5, 1.0, 1.98, 2.0])
def test_seconds_count_from_the_first_sound(seconds: float) -> None:
    assert told((2.0, "")).heard(after(seconds)).seconds == pytest.approx(seconds)


@pytest.mark.parametrize("seconds", [2.0, 2.02, 60.0])
def test_no_more_is_heard_than_there_is(seconds: float) -> None:
    assert told((2.0, "one two")).heard(after(seconds)) == Heard(2.0, "one two")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, ""), (1.0, "one"), (1.9, "one"), (2.0, "one two"), (3.9, "one two three")],
)
def test_a_word_is_heard_when_it_has_ended(seconds: float, text: str) -> None:
    assert told((4.0, "one two three four")).heard(after(seconds)).text == text


def test_a_word_whose_last_frame_is_missing_is_heard() -> None:
    assert told((1.0, "one")).heard(after(1.0) - FRAME).text == "one"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, ""), (1.0, "one"), (1.5, "one"), (2.5, "one two"), (3.0, "one two")]
)
def test_chunks_follow_one_another(seconds: float, text: str) -> None:
    script = told((1.0, "one"), (1.0, "two"), (1.0, ""))
    assert script.heard(after(seconds)) == Heard(seconds, text)


def test_a_chunk_that_was_not_said_yet_is_added_later() -> None:
    script = told((1.0, "one"))
    assert script.heard(after(1.5)) == Heard(1.0, "one")
    script.add(after(1.0), after(2.0), ((1.0, "two"),))
    assert script.heard(after(1.5)) == Heard(1.5, "one")


def test_blanks_between_words_are_kept_and_those_around_them_are_not() -> None:
    script = Script(RATE)
    script.add(BEGIN, after(1.0), ((0.3, "  Hello,  "), (0.6, "world \n"), (1.0, "- again! ")))
    assert script.heard(after(0.6)).text == "Hello,  world"
    assert script.heard(after(1.0)).text == "Hello,  world \n- again!"


words = st.text(st.characters(categories=["L", "P"]), min_size=1, max_size=8)
blanks = st.sampled_from([" ", "  ", "\n", ", ", ""])
lines = st.lists(st.tuples(st.integers(FRAME, RATE), words, blanks), min_size=1, max_size=20)


@given(lines, st.integers(0, 25 * RATE), st.integers(1, 5))
def test_what_is_heard_is_the_beginning_of_the_text(
    line: list[tuple[int, str, str]], position: int, in_a_chunk: int
) -> None:
    script, begin = Script(RATE), BEGIN
    for at in range(0, len(line), in_a_chunk):
        chunk = line[at : at + in_a_chunk]
        ends = list(accumulate(length for length, _, _ in chunk))
        said = tuple((end / RATE, w + b) for end, (_, w, b) in zip(ends, chunk, strict=True))
        script.add(begin, begin + ends[-1], said)
        begin += ends[-1]
    # Blanks aside: one is put between sentences that were given without.
    text = "".join("".join(word + blank for _, word, blank in line).split())
    heard = script.heard(BEGIN + position)
    assert text.startswith("".join(heard.text.split()))
    assert heard.seconds == min(position, begin - BEGIN) / RATE
    assert "".join(script.heard(begin).text.split()) == text


@given(st.integers(0, 12 * RATE), st.integers(0, 12 * RATE))
@example(BEGIN - 1, BEGIN)
def test_who_has_heard_longer_has_not_heard_less(one: int, other: int) -> None:
    script = told((1.0, "one two"), (2.0, "three four five"))
    less, more = script.heard(min(one, other)), script.heard(max(one, other))
    assert less.seconds <= more.seconds
    assert more.text.startswith(less.text)


def test_a_very_short_word_is_not_heard_before_the_first_sound() -> None:
    script = Script(RATE)
    script.add(BEGIN, after(1.0), ((0.015, "I "), (1.0, "see.")))
    assert script.heard(BEGIN) == Heard()


def test_of_a_very_long_reply_the_last_words_are_kept() -> None:
    script = Script(RATE)
    for number in range(WORDS_KEPT + 5):
        at = BEGIN + number * FRAME
        script.add(at, at + FRAME, ((0.02, f"{number} "),))
    assert script.heard(10**9).text.split() == [str(n) for n in range(5, WORDS_KEPT + 5)]


def test_sentences_that_were_yielded_one_by_one_do_not_stick_together() -> None:
    script = Script(RATE)
    script.add(BEGIN, after(1.0), ((0.5, "Sure, "), (1.0, "yes.")))
    script.add(after(1.0), after(2.0), ((1.0, "Anything"),))
    assert script.heard(after(2.0)).text == "Sure, yes. Anything"
