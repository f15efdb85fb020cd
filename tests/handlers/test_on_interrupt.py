"""The hook of interruptions, and how much of a reply it is told to have been heard."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from fastrtc import Heard, ReplyOnPause, Spoken, get_current_context
from tests.handlers.lines import (
    RATE,
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


def speak(audio: Audio) -> Iterator[Any]:
    yield noise(5.0)


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
