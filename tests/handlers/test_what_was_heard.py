"""How much of a reply the caller has heard: for the hook, and for the function itself."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fastrtc import Heard, InterruptionPolicy, ReplyOnPause, Spoken, get_current_context
from tests.handlers.lines import RATE, Audio, Hook, Line, matches, noise, voice

TALK = InterruptionPolicy().min_speech + 0.1
"""Seconds of voice that end a reply."""
FRAME = 0.02
WORDS = [f"w{number:02d}" for number in range(50)]
"""Said in 0.1 s each."""


def speak(audio: Audio | None = None) -> Iterator[Any]:
    yield noise(5.0)


def tell(audio: Audio | None = None) -> Iterator[Any]:
    yield Spoken(*noise(5.0), " ".join(WORDS))


def interrupted(call: Line, after: float = 1.5) -> float:
    """Say something, and interrupt the reply; seconds of it that were heard."""
    call.say(voice(0.5))
    call.wait(after)
    call.say(voice(TALK))
    heard = call.heard_sound()
    assert matches(heard, (RATE, noise(5.0)[1][:, : len(heard)]))
    return len(heard) / RATE


# The hook


@pytest.mark.parametrize("after", [1.5, 1.83, 2.5])
@pytest.mark.parametrize("piece", [0.013, 0.1, 5.0])
def test_the_hook_gets_what_was_heard_to_one_frame(after: float, piece: float) -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        rate, samples = noise(5.0)
        length = round(piece * rate)
        for start in range(0, samples.shape[1], length):
            yield rate, samples[:, start : start + length]

    hook = Hook()
    with Line(ReplyOnPause(reply, on_interrupt=hook)) as call:
        seconds = interrupted(call, after)
        (heard,) = hook.got
        assert call.turns[0].heard == heard
    assert isinstance(heard, Heard)
    assert heard.seconds == pytest.approx(seconds, abs=FRAME)
    assert heard.text == ""


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_a_reply_at_another_rate_is_measured_as_it_sounds(rate: int) -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        yield rate, noise(5.0)[1].repeat(2, axis=1)[:, : 5 * rate]

    hook = Hook()
    with Line(ReplyOnPause(reply, on_interrupt=hook)) as call:
        call.say(voice(0.5))
        call.wait(1.5)
        call.say(voice(TALK))
        assert hook.got[0].seconds == pytest.approx(len(call.heard_sound()) / RATE, abs=2 * FRAME)


def test_the_hook_gets_the_words_up_to_the_last_whole_one() -> None:
    hook = Hook()
    with Line(ReplyOnPause(tell, on_interrupt=hook)) as call:
        seconds = interrupted(call)
    words = hook.got[0].text.split()
    assert words == WORDS[: len(words)]
    # The words are of one length, so each takes a fiftieth of the sound.
    assert seconds - 0.1 - 2 * FRAME < len(words) * 0.1 < seconds + 2 * FRAME


def test_words_in_many_pieces_are_joined() -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        for number in range(10):
            yield Spoken(*noise(0.5, number), f"This is {number}. ")

    hook = Hook()
    with Line(ReplyOnPause(reply, on_interrupt=hook)) as call:
        call.say(voice(0.5))
        call.wait(2.0)
        call.say(voice(TALK))
    text = hook.got[0].text
    assert text.startswith("This is 0. This is 1. ")
    assert "  " not in text
    assert "This is 3" not in text


def test_sound_without_words_between_words_is_counted_and_has_none() -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        yield Spoken(*noise(0.4), "One.")
        yield noise(0.4)
        yield Spoken(*noise(5.0), "Two.")

    hook = Hook()
    with Line(ReplyOnPause(reply, on_interrupt=hook)) as call:
        call.say(voice(0.5))
        call.wait(2.0)
        call.say(voice(TALK))
    (heard,) = hook.got
    assert heard.text == "One."
    assert heard.seconds > 0.9


def test_a_reply_that_had_no_sound_yet_was_not_heard() -> None:
    async def reply(audio: Audio) -> AsyncIterator[Any]:
        await asyncio.sleep(30)
        yield noise(1.0)

    hook = Hook()
    with Line(ReplyOnPause(reply, on_interrupt=hook)) as call:
        call.say(voice(0.5))
        call.wait(1.5)
        call.say(voice(TALK))
    assert hook.got == [Heard()]


def test_the_hook_is_not_called_for_a_reply_that_is_heard_to_its_end() -> None:
    hook = Hook()
    with Line(ReplyOnPause(speak, on_interrupt=hook)) as call:
        call.say(voice(0.5))
        call.wait(6.0)
        assert call.turns[0].heard.seconds == pytest.approx(5.0, abs=FRAME)
    assert not hook.got


def test_a_false_alarm_does_not_change_what_was_heard() -> None:
    hook = Hook()
    with Line(ReplyOnPause(tell, on_interrupt=hook)) as call:
        call.say(voice(0.5))
        call.wait(1.5)
        call.say(voice(0.2))
        call.wait(6.0)
        assert call.turns[0].heard.seconds == pytest.approx(5.0, abs=FRAME)
        assert call.turns[0].heard.text == " ".join(WORDS)
    assert not hook.got


def test_the_hook_may_be_async_and_runs_in_the_call() -> None:
    got: list[tuple[Heard, str, bool]] = []

    async def hook(heard: Heard) -> None:
        await asyncio.sleep(0.05)
        main = threading.current_thread() is threading.main_thread()
        got.append((heard, get_current_context().webrtc_id, main))

    with Line(ReplyOnPause(speak, on_interrupt=hook)) as call:
        interrupted(call)
        call.wait(0.2)
    ((heard, name, main),) = got
    assert heard.seconds > 0.9
    assert (name, main) == ("virtual", True)


def test_a_plain_hook_runs_on_a_worker_in_the_call() -> None:
    got: list[tuple[str, bool]] = []

    def hook(heard: Heard) -> None:
        main = threading.current_thread() is threading.main_thread()
        got.append((get_current_context().webrtc_id, main))

    with Line(ReplyOnPause(speak, on_interrupt=hook)) as call:
        interrupted(call)
    assert got == [("virtual", False)]


def broken(heard: Any) -> None:
    raise KeyError("diary")


async def abroken(heard: Any) -> None:
    raise KeyError("diary")


@pytest.mark.parametrize("hook", [broken, abroken])
def test_a_hook_that_raises_is_reported_and_the_interruption_is_answered(
    hook: Callable[..., Any],
) -> None:
    with Line(ReplyOnPause(speak, on_interrupt=hook)) as call:
        interrupted(call)
        call.wait(2.0)
        assert call.errors == ["KeyError: 'diary'"]
        assert len(call.sounds) == 2


def test_a_hook_that_blocks_keeps_nobody_waiting() -> None:
    release = threading.Event()

    def hook(heard: Heard) -> None:
        with call.session.workers.may_block():
            release.wait(30)

    with Line(ReplyOnPause(speak, on_interrupt=hook)) as call:
        interrupted(call)
        call.wait(2.0)
        assert len(call.sounds) == 2
        call.hang_up()
        assert not call.connected
        release.set()


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


@pytest.mark.xfail(strict=True, reason="what is buffered when a reply ends stays off for good")
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


@pytest.mark.xfail(strict=True, reason="a tuple copies itself as one argument, and it takes two")
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_spoken_can_be_copied_and_sent_to_another_process(copied: Callable[[Any], Any]) -> None:
    assert copied(Spoken(*noise(0.1), "hello")).text == "hello"
