"""How much of a reply the caller has heard: for the function itself, and on lines that buffer."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fastrtc import Heard, ReplyOnPause, Spoken, get_current_context
from tests.handlers.lines import (
    TALK,
    WORDS,
    Audio,
    Hook,
    Line,
    interrupted,
    noise,
    tell,
    voice,
)

FRAME = 0.02


# The function itself


def test_a_generator_knows_at_its_end_what_was_heard_of_it() -> None:
    found: list[Heard] = []

    def reply(audio: Audio) -> Iterator[Any]:
        try:
            while True:
                yield Spoken(*noise(0.5), "tick ")
        finally:
            found.append(get_current_context().heard)

    hook = Hook()
    with Line(ReplyOnPause(reply, on_interrupt=hook)) as call:
        call.say(voice(0.5))
        call.wait(2.0)
        call.say(voice(TALK))
        call.hang_up()
    assert found[0] == hook.got[0]
    assert found[0].text.split() == ["tick"] * int(found[0].seconds / 0.5)


def test_an_async_generator_knows_at_its_end_what_was_heard_of_it() -> None:
    found: list[Heard] = []

    async def reply(audio: Audio) -> AsyncIterator[Any]:
        try:
            yield Spoken(*noise(5.0), " ".join(WORDS))
            await asyncio.sleep(60)
        finally:
            found.append(get_current_context().heard)

    hook = Hook()
    with Line(ReplyOnPause(reply, on_interrupt=hook)) as call:
        interrupted(call)
    assert found == hook.got
    assert found[0].text


def test_what_is_heard_grows_while_a_reply_is_heard() -> None:
    found: list[float] = []

    async def reply(audio: Audio) -> AsyncIterator[Any]:
        yield noise(1.0)
        for _ in range(4):
            found.append(get_current_context().heard.seconds)
            await asyncio.sleep(0.4)

    with Line(ReplyOnPause(reply)) as call:
        call.say(voice(0.5))
        call.wait(4.0)
    assert found == pytest.approx([0.0, 0.4, 0.8, 1.0], abs=2 * FRAME)


def test_the_next_call_knows_what_was_heard_of_the_reply_before_it() -> None:
    found: list[tuple[Heard, Heard]] = []

    def reply(audio: Audio) -> Iterator[Any]:
        context = get_current_context()
        found.append((context.heard_before, context.heard))
        yield Spoken(*noise(5.0), " ".join(WORDS))

    hook = Hook()
    with Line(ReplyOnPause(reply, on_interrupt=hook)) as call:
        interrupted(call)
        call.wait(8.0)
        call.say(voice(0.5))
        call.wait(2.0)
    assert found[0] == (Heard(), Heard())
    assert found[1] == (hook.got[0], Heard())
    assert found[2][0].seconds == pytest.approx(5.0, abs=FRAME)
    assert found[2][0].text == " ".join(WORDS)


def test_what_is_heard_of_a_new_reply_is_not_the_old_ones() -> None:
    found: list[Heard] = []

    async def reply(audio: Audio) -> AsyncIterator[Any]:
        try:
            yield noise(5.0)
            await asyncio.sleep(60)
        finally:
            # Long enough for the next reply to be heard.
            await asyncio.sleep(2.0)
            found.append(get_current_context().heard)

    hook = Hook()
    with Line(ReplyOnPause(reply, on_interrupt=hook)) as call:
        interrupted(call)
        call.wait(3.0)
        assert call.sounds[-1][1] - call.sounds[-1][0] > 1.0
        assert found == hook.got


def test_what_was_heard_of_a_greeting_is_known_to_the_first_call() -> None:
    found: list[Heard] = []

    def reply(audio: Audio) -> Iterator[Any]:
        found.append(get_current_context().heard_before)
        yield noise(0.2)

    with Line(ReplyOnPause(reply, startup_fn=tell)) as call:
        call.wait(1.5)
        call.say(voice(TALK))
        call.wait(2.0)
    assert found[0].seconds == pytest.approx(1.5, abs=0.2)
    assert found[0].text.startswith("w00 w01")


# A far side that buffers


def test_sound_that_the_far_side_still_buffers_was_not_heard() -> None:
    hook = Hook()
    with Line(ReplyOnPause(tell, on_interrupt=hook)) as call:
        call.unheard = 0.5
        seconds = interrupted(call)
        assert len(call.cleared) == 1
    (heard,) = hook.got
    assert heard.seconds == pytest.approx(seconds - 0.5, abs=FRAME)
    assert len(heard.text.split()) * 0.1 < heard.seconds + 2 * FRAME


def test_a_reply_of_which_all_is_still_buffered_was_not_heard() -> None:
    hook = Hook()
    with Line(ReplyOnPause(tell, on_interrupt=hook)) as call:
        call.unheard = 5.0
        interrupted(call)
    assert hook.got == [Heard()]


def test_a_reply_that_is_over_was_heard_to_its_end_by_a_far_side_that_buffers() -> None:
    with Line(ReplyOnPause(tell)) as call:
        call.unheard = 0.5
        call.say(voice(0.5))
        call.wait(8.0)
        assert call.turns[0].heard.seconds == pytest.approx(5.0, abs=FRAME)


# Sound with its words


def test_spoken_is_a_pair_of_rate_and_samples_with_its_words() -> None:
    rate, samples = noise(0.1)
    spoken = Spoken(rate, samples, "hello")
    assert (spoken[0], spoken.text, len(spoken)) == (rate, "hello", 2)
    assert spoken[1] is samples
    assert repr(spoken).endswith("'hello')")
    assert Spoken(rate, np.zeros(0, np.int16)).text == ""


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_spoken_can_be_copied_and_sent_to_another_process(copied: Callable[[Any], Any]) -> None:
    assert copied(Spoken(*noise(0.1), "hello")).text == "hello"
