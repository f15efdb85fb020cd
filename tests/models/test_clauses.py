"""Where a text is cut into clauses, whole or in pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrtc.models.tts import clauses
from fastrtc.models.tts.clauses import Clause, Clauses, clauses_of
from fastrtc.models.tts.text import speakable
from tests.models.test_speech_text import MARKDOWN

WRITTEN = st.lists(
    st.text(max_size=8)
    | st.sampled_from(
        [
            *("**", "`", "```\n", "\n```\n", "# ", "- ", "1. ", "| a |", "\n", "\n\n", "](", "<a "),
            *(". ", ", ", ": ", "? ", "... ", " - ", "—", "Dr. ", "etc. ", "U.S. ", "No. ", "3.14"),
            *("🎉 ", "word ", "and so we go on to ", " ", "x" * 120, "plain words without marks "),
        ]
    ),
    max_size=40,
).map("".join)
SPOKEN_BEFORE = "Here is what I have found, and it is more than enough to go on with. "
"""After it, clauses are as long as they get."""


def texts(text: str) -> list[str]:
    return [clause.text for clause in clauses_of(text)]


def later(text: str) -> list[str]:
    """How ``text`` is cut when much has been said already."""
    before = texts(SPOKEN_BEFORE)
    cut = texts(SPOKEN_BEFORE + text)
    assert cut[: len(before)] == before
    return cut[len(before) :]


def fed(pieces: list[str]) -> list[Clause]:
    cutter = Clauses()
    return [clause for piece in pieces for clause in cutter.feed(piece)] + cutter.finish()


# When a clause is whole


def test_a_clause_is_whole_when_the_blank_behind_its_mark_has_come() -> None:
    cutter = Clauses()
    assert cutter.feed("Sure") == cutter.feed(",") == []
    assert cutter.feed(" ") == [Clause("Sure, ", "Sure,", clauses.COMMA)]


def test_a_newline_behind_a_mark_is_not_waited_on() -> None:
    cutter = Clauses()
    assert [clause.text for clause in cutter.feed("One moment.\n")] == ["One moment.\n"]


def test_a_closing_quote_belongs_to_its_sentence() -> None:
    assert texts('He said "stop." Then he left.') == ['He said "stop." ', "Then he left."]


def test_the_rest_comes_at_the_end() -> None:
    cutter = Clauses()
    assert cutter.feed("And that is all") == []
    assert cutter.finish() == [Clause("And that is all", "And that is all", 0.0)]
    assert cutter.finish() == []


@pytest.mark.parametrize(
    "sentence",
    [
        *("Pi is 3.14 now.", "It was 1,000 then.", "Come at 10:30 sharp.", "Take e.g. this one."),
        *("Ask Dr. Smith.", "By U.S. law.", "Go to www.x.org now.", "By J. R. R. Tolkien."),
        *("Tea etc. is here.", "See No. 5 there.", "On Jan. 5 we met.", "In St. Louis."),
    ],
)
def test_such_marks_do_not_end_a_clause(sentence: str) -> None:
    assert texts(sentence + " Yes.") == [sentence + " ", "Yes."]


@pytest.mark.parametrize(
    "sentence",
    ["We have tea etc.", "No.", "It is plan B.", "So do I.", "See you at 7 p.m.", "Wait..."],
)
def test_the_same_marks_end_a_sentence_where_one_follows(sentence: str) -> None:
    assert texts(sentence + " Then go.") == [sentence + " ", "Then go."]


def test_lines_of_markdown_are_clauses() -> None:
    cut = texts("# Title\nIntro\nwith more:\n- one\n- two\n1. first\n\nEnd")
    assert cut == ["# Title\n", "Intro\nwith more:\n", "- one\n", "- two\n", "1. first\n\n", "End"]


def test_a_code_block_is_not_spoken_whatever_is_in_it() -> None:
    cut = clauses_of("Look:\n```python\nx = 1. Yes\n\n# no\n```\nDone.")
    assert [clause.spoken for clause in cut if clause.spoken] == ["Look:", "Done."]


def test_a_block_of_code_that_stays_open_is_not_spoken() -> None:
    assert [clause.spoken for clause in clauses_of("~~~\na, b. c\n```\nd")] == [""] * 4


def test_code_in_a_line_of_its_own_is_no_block() -> None:
    spoken = [clause.spoken for clause in clauses_of("```one``` is.\nTwo.")]
    assert spoken == ["one is.", "Two."]


def test_a_row_of_a_table_is_spoken_when_it_is_whole() -> None:
    cutter = Clauses()
    assert cutter.feed("| Dr. A, b. C |") == []
    assert [clause.spoken for clause in cutter.feed("\n|---|")] == ["Doctor A, b. C."]
    assert cutter.finish() == [Clause("|---|", "", 0.0)]


def test_emphasis_over_two_clauses_leaves_no_marks() -> None:
    assert [clause.spoken for clause in clauses_of("**one, two** three.")] == ["one,", "two three."]


def test_no_clause_ends_inside_an_address_or_a_tag() -> None:
    assert texts('[It](http://x.org "a, b") is here.') == ['[It](http://x.org "a, b") is here.']
    assert texts('Is <a href="c, d">this</a> it?') == ['Is <a href="c, d">this</a> it?']


def test_a_text_that_is_only_a_picture_is_not_spoken() -> None:
    assert clauses_of("🎉 ") == [Clause("🎉 ", "", 0.0)]


# How long a clause is


def test_the_first_clause_ends_at_its_first_comma() -> None:
    cut = texts("Sure, let me look that up for you.")
    assert cut == ["Sure, ", "let me look that up for you."]


def test_a_first_clause_without_a_mark_ends_before_a_small_word() -> None:
    cut = texts("I would recommend taking the train from the station.")
    assert cut == ["I would recommend taking the train ", "from the station."]


def test_a_first_clause_without_small_words_ends_at_a_blank() -> None:
    cut = texts("Nobody living here ever remembered seeing something comparable.")
    assert cut[0] == "Nobody living here ever remembered seeing "


def test_a_short_first_sentence_is_not_held_back() -> None:
    assert [clause.text for clause in Clauses().feed("Yes. ")] == ["Yes. "]


def test_what_follows_a_short_clause_is_short_too() -> None:
    cut = texts("Well, " + "so we go on through the woods " * 10)
    for place, text in enumerate(cut):
        before = sum(map(len, cut[:place]))
        assert len(text) <= max(clauses.FULL, before)


def test_a_later_short_sentence_is_not_cut_at_its_comma() -> None:
    sentence = "In the morning, we take the train."
    assert later(sentence) == [sentence]


def test_a_later_long_sentence_is_cut_at_a_comma() -> None:
    first = "In the morning we take the first train to the city and the bus, "
    assert later(first + "and then we walk.") == [first, "and then we walk."]


def test_a_later_clause_without_marks_is_cut_before_a_small_word() -> None:
    first, *_ = later("plain words " * 4 + "and " + "plain words " * 9)
    assert first == "plain words " * 4


def test_a_word_is_cut_only_if_it_is_none() -> None:
    cut = clauses_of("See " + "x" * 700 + " there.")
    assert [len(clause.text) for clause in cut] == [4, 300, 300, 101, 6]
    assert [clause.spoken for clause in cut] == ["See", "", "", "", "there."]


# The silence behind a clause


@pytest.mark.parametrize(
    ("text", "pause"),
    [
        ("One, ", clauses.COMMA),
        ("One; ", clauses.COMMA),
        ("One: ", clauses.DASH),
        ("One — ", clauses.DASH),
        ("One... ", clauses.DASH),
        ("One. ", clauses.SENTENCE),
        ('"One?" ', clauses.SENTENCE),
        ("**One!** ", clauses.SENTENCE),
        ("One.\n", clauses.PARAGRAPH),
        ("One\n\n", clauses.PARAGRAPH),
        ("- One\n- ", clauses.PARAGRAPH),
        ("# One\n", clauses.PARAGRAPH),
    ],
)
def test_the_last_mark_tells_how_long_the_silence_is(text: str, pause: float) -> None:
    assert clauses_of(text + "Two")[0].pause == pause


def test_a_clause_that_is_cut_without_a_mark_has_no_silence() -> None:
    assert clauses_of("I would recommend taking the train from the station.")[0].pause == 0.0


# Whatever comes


@given(WRITTEN | st.text())
def test_the_texts_joined_are_the_whole_text(text: str) -> None:
    assert "".join(texts(text)) == text


@given(WRITTEN, st.data())
def test_the_pieces_a_text_comes_in_make_no_difference(text: str, data: st.DataObject) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=30)))
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    assert fed(pieces) == clauses_of(text)


@given(WRITTEN)
def test_the_letters_a_text_comes_in_make_no_difference(text: str) -> None:
    assert fed(list(text)) == clauses_of(text)


@given(WRITTEN)
def test_no_clause_is_longer_than_its_limit(text: str) -> None:
    for clause in clauses_of(text):
        assert clause.text
        assert len(clause.text.strip()) <= clauses.LONGEST_WORD
        assert len(clause.text) <= 2 * clauses.LONGEST_WORD


@given(WRITTEN)
def test_what_is_said_has_no_markdown(text: str) -> None:
    for clause in clauses_of(text):
        assert not set(clause.spoken) & set(MARKDOWN)
        assert clause.spoken in ("", speakable(clause.text))


@given(st.text(alphabet="ab \n", max_size=2000))
def test_no_word_is_cut(text: str) -> None:
    cut = texts(text)
    for clause, following in pairwise(cut):
        whole = clause[-1].isspace() or following[0].isspace()
        assert whole or len(clause.split()[-1]) >= clauses.LONGEST_WORD - 2


def test_what_waits_is_bounded() -> None:
    cutter = Clauses()
    words = 0
    for _ in range(2000):
        words += len("".join(clause.text for clause in cutter.feed("word ")))
    assert words > 10_000 - clauses.LONGEST - 10
