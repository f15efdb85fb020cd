"""From text as it comes to chunks: their texts, and the pauses between them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastrtc import Spoken
from fastrtc.models.tts.clauses import COMMA, DASH, PARAGRAPH, SENTENCE
from fastrtc.models.tts.talk import Talk

RATE = 100
"""Hz. All pauses are whole numbers of samples at it."""
SOUND = np.ones(50, np.float32)
PARTS = st.sampled_from(
    ["One. ", "Two, ", "three: ", "four — ", "🎉 ", "**five** ", "six?\n", "\n", "- 7\n", " "]
)
CUTS = st.lists(st.integers(1, 5), min_size=1)


def spoken(pieces: Iterable[str | None], silent: str = "") -> list[Spoken]:
    """All chunks of a text that comes in pieces, or whole, as one; what is ``silent`` comes to no
    sound.
    """
    talk, chunks, pieces = Talk(RATE), list[Spoken](), list(pieces)

    def say() -> None:
        while (words := talk.next()) is not None:
            chunk = talk.chunk(SOUND if words != silent else SOUND[:0])
            if chunk is not None:
                chunks.append(chunk)

    for piece in pieces:
        talk.feed(piece)
        if len(pieces) == 1:
            talk.finish()
        say()
    talk.finish()
    say()
    return chunks


def pauses(chunks: list[Spoken]) -> list[tuple[float, float]]:
    """Seconds of silence before and behind the sound of each chunk."""
    found = []
    for _, samples in chunks:
        (where,) = np.nonzero(samples)
        assert len(where) == len(SOUND)
        found.append((where[0] / RATE, (len(samples) - 1 - where[-1]) / RATE))
    return found


def joined(chunks: list[Spoken]) -> str:
    return "".join(chunk.text for chunk in chunks)


def cut(text: str, lengths: list[int]) -> list[str]:
    """``text`` in pieces of these lengths, and the rest."""
    ends = [0, *np.cumsum(lengths).tolist(), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]


# Texts


def test_a_chunk_has_the_rate_the_sound_and_the_text_of_its_clause() -> None:
    (chunk,) = spoken(["Hello **there**."])
    rate, samples = chunk
    assert (rate, chunk.text) == (RATE, "Hello **there**.")
    assert np.array_equal(samples, SOUND)
    assert samples.dtype == np.float32


def test_what_cannot_be_said_belongs_to_the_chunk_behind_it() -> None:
    chunks = spoken(["One. 🎉 \nTwo."])
    assert [chunk.text for chunk in chunks] == ["One. ", "🎉 \nTwo."]


def test_a_clause_that_comes_to_no_sound_leaves_its_text_to_the_next() -> None:
    chunks = spoken(["One. Two. Three."], silent="Two.")
    assert [chunk.text for chunk in chunks] == ["One. ", "Two. Three."]


@given(st.lists(PARTS).map("".join), CUTS)
@example("One. 🎉 ", [1])
def test_the_texts_joined_are_the_text_whatever_its_pieces(text: str, lengths: list[int]) -> None:
    text += "Done."
    assert joined(spoken([text])) == text
    assert joined(spoken(cut(text, lengths))) == text


@given(st.text(), CUTS)
def test_of_any_text_the_texts_joined_are_its_beginning(text: str, lengths: list[int]) -> None:
    assert text.startswith(joined(spoken(cut(text, lengths))))


@pytest.mark.parametrize("text", ["Great! 🎉", "So:\n```\nx = 1\n```\n", "Done.\n\n---\n"])
def test_what_cannot_be_said_at_the_end_belongs_to_the_last_chunk(text: str) -> None:
    assert joined(spoken([text])) == text


@pytest.mark.parametrize("text", ["", " ", "\n\n \t", "🎉", "🎉 👍🏽 ✓", "---", "```\nx = 1\n```"])
def test_a_text_without_words_comes_to_nothing(text: str) -> None:
    assert spoken([text]) == []
    assert spoken(list(text)) == []


# Pauses


@pytest.mark.parametrize(
    ("mark", "pause"),
    [(", ", COMMA), (": ", DASH), (" — ", DASH), (". ", SENTENCE), ("?\n\n", PARAGRAPH)],
)
def test_between_clauses_there_is_the_pause_of_the_mark(mark: str, pause: float) -> None:
    found = pauses(spoken([f"Well{mark}then go. Now."]))
    assert found == [(0.0, pause), (0.0, SENTENCE), (0.0, 0.0)]


def test_where_nothing_is_known_to_follow_the_pause_comes_with_the_next_sound() -> None:
    assert pauses(spoken(["One. ", "Two."])) == [(0.0, 0.0), (SENTENCE, 0.0)]


def test_around_what_cannot_be_said_there_is_one_pause() -> None:
    assert pauses(spoken(["One. ", "🎉 ", "Two."])) == [(0.0, 0.0), (SENTENCE, 0.0)]


def test_a_clause_that_comes_to_no_sound_has_no_pause() -> None:
    chunks = spoken(["One, ", "two: ", "Three."], silent="two:")
    assert pauses(chunks) == [(0.0, 0.0), (COMMA, 0.0)]


@given(st.lists(PARTS).map("".join), CUTS)
def test_the_pauses_do_not_depend_on_the_pieces(text: str, lengths: list[int]) -> None:
    text += "Done."
    together, apart = spoken([text]), spoken(cut(text, lengths))
    assert len(together) == len(apart)
    assert sum(len(chunk[1]) for chunk in together) == sum(len(chunk[1]) for chunk in apart)


@given(st.lists(PARTS).map("".join), CUTS)
def test_nothing_pauses_before_the_first_word_or_behind_the_last(
    text: str, lengths: list[int]
) -> None:
    found = pauses(spoken(cut(text + "Done.", lengths)))
    assert found[0][0] == found[-1][1] == 0.0


@pytest.mark.parametrize("text", ["So:\n```\nx = 1\n```\n", "Done.\n\n---\n"])
def test_nothing_pauses_before_what_cannot_be_said_at_the_end(text: str) -> None:
    assert pauses(spoken([text])) == [(0.0, 0.0)]


# Pieces


def test_none_is_no_text() -> None:
    assert [chunk.text for chunk in spoken([None, "One", None, ".", None])] == ["One."]


@pytest.mark.parametrize("piece", [b"One.", 1, 1.5, ["One."], ("One.",), object(), False])
def test_a_piece_that_is_no_text_is_refused_by_its_type(piece: object) -> None:
    with pytest.raises(TypeError, match=f"expected text.*got {type(piece).__name__}"):
        Talk(RATE).feed(piece)  # type: ignore[arg-type]


def test_a_clause_is_there_to_be_said_as_soon_as_it_is_whole() -> None:
    talk = Talk(RATE)
    talk.feed("One.")
    assert talk.next() is None
    talk.feed(" T")
    assert talk.next() == "One."


def test_it_has_begun_with_the_first_sound() -> None:
    talk = Talk(RATE)
    talk.feed("One. Two. ")
    assert talk.next() == "One."
    talk.chunk(SOUND[:0])
    assert not talk.begun
    talk.next()
    talk.chunk(SOUND)
    assert talk.begun
