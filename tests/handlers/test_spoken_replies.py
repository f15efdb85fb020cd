"""Replies that Kokoro speaks, in calls on virtual time; Moonshine hears what the caller hears."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastrtc import Heard, ReplyOnPause, get_current_context, get_stt_model, get_tts_model
from fastrtc.models.tts.clauses import clauses_of
from fastrtc.models.tts.kokoro import KokoroNet
from fastrtc.models.tts.speaker import KokoroTTSModel
from tests.handlers.lines import TALK, Audio, Hook, Line, answered, voice

LONG = "Thank you. " * 40
"""Much more than a function may run ahead of what is heard."""
Function = Callable[[Audio], Any]


@pytest.fixture(scope="module")
def tts() -> KokoroTTSModel:
    return get_tts_model("kokoro")


@pytest.fixture(scope="module")
def made() -> dict[str, NDArray[np.float32]]:
    """What has been said so far: the same words are said only once, for all tests here."""
    return {}


@pytest.fixture
def said(made: dict[str, NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the network was asked to say, in order."""
    say, words = KokoroNet.say, list[str]()

    def note(net: KokoroNet, text: str, *options: Any) -> NDArray[np.float32]:
        words.append(text)
        if text not in made:
            made[text] = say(net, text, *options)
        return made[text]

    monkeypatch.setattr(KokoroNet, "say", note)
    return words


async def tokens(text: str) -> AsyncIterator[str]:
    """As a language model gives them."""
    for start in range(0, len(text), 3):
        yield text[start : start + 3]


def spoken(tts: KokoroTTSModel, text: str, found: list[Heard], kind: str) -> Function:
    """A function that speaks a text, and finds out what was heard of it.

    A sync one has the text as a whole, an async one the tokens of a language model.
    """

    def reply(audio: Audio) -> Iterator[Any]:
        try:
            yield from tts.stream_tts_sync(text)
        finally:
            found.append(get_current_context().heard)

    async def areply(audio: Audio) -> AsyncIterator[Any]:
        try:
            async for chunk in tts.stream_tts(tokens(text)):
                yield chunk
        finally:
            found.append(get_current_context().heard)

    return {"sync": reply, "async": areply}[kind]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.usefixtures("said")
def test_the_caller_hears_what_the_function_speaks(kind: str, tts: KokoroTTSModel) -> None:
    text = "Thank you for calling. Where is the station?"
    with Line(ReplyOnPause(spoken(tts, text, [], kind))) as call:
        call.say(voice(0.5))
        call.wait(6.0)
        assert get_stt_model().stt(call.heard) == text
        assert call.turns[0].heard.text == text
    assert not call.errors


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_interruption_ends_synthesis_at_the_next_clause(
    kind: str, tts: KokoroTTSModel, said: list[str]
) -> None:
    with Line(ReplyOnPause(spoken(tts, LONG, [], kind))) as call:
        answered(call)
        call.say(voice(TALK))
        made = len(said)
        call.wait(0.5)
        call.hang_up()
    assert 2 <= made < len(clauses_of(LONG)) / 2
    assert len(said) <= made + 1


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_was_heard_is_the_beginning_of_the_text_up_to_a_word(
    kind: str, tts: KokoroTTSModel, said: list[str]
) -> None:
    text = "One moment please, " + LONG
    found: list[Heard] = []
    hook = Hook()
    with Line(ReplyOnPause(spoken(tts, text, found, kind), on_interrupt=hook)) as call:
        answered(call)
        call.say(voice(TALK))
        call.hang_up()
    (heard,) = hook.got
    assert found == [heard]
    words = heard.text.split()
    assert words == text.split()[: len(words)]
    assert 2 <= len(words) < 10


def test_a_source_of_text_is_closed_when_the_caller_interrupts(
    tts: KokoroTTSModel, said: list[str]
) -> None:
    closed = []

    def model() -> Iterator[str]:
        try:
            yield from ["Thank you. "] * 40
        finally:
            closed.append(True)

    def reply(audio: Audio) -> Iterator[Any]:
        yield from tts.stream_tts_sync(model())

    with Line(ReplyOnPause(reply)) as call:
        answered(call)
        assert not closed
        call.say(voice(TALK))
        assert closed
