"""The record of a turn: for the user's hook, and for the log."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from fastrtc import (
    AdditionalOutputs,
    Heard,
    ReplyOnPause,
    Spoken,
    Turn,
    get_current_context,
)
from tests.handlers.lines import TALK, Advice, Audio, Hook, Line, noise, voice
from tests.samples import Recorder


def turns_of(handler: ReplyOnPause, **options: Any) -> list[Turn]:
    """Take two turns, one second each, with two seconds between them."""
    with Line(handler, **options) as call:
        for _ in range(2):
            call.wait(1.0)
            call.say(voice(1.0))
            call.wait(3.0)
        return call.turns


# What a turn says


def test_the_times_of_a_turn_are_in_order() -> None:
    async def reply(audio: Audio) -> AsyncIterator[Any]:
        await asyncio.sleep(0.2)
        yield AdditionalOutputs(1)
        await asyncio.sleep(0.2)
        yield noise(0.5)

    hook = Hook()
    turns_of(ReplyOnPause(reply, on_turn=hook))
    assert [turn.number for turn in hook.got] == [1, 2]
    for turn in hook.got:
        times = [
            turn.speech_start,
            turn.speech_end,
            turn.decided,
            turn.first_output,
            turn.first_sound,
            turn.reply_end,
        ]
        assert None not in times
        steps = [after - before for before, after in itertools.pairwise(times)]
        assert steps == pytest.approx([1.0, 0.32, 0.2, 0.2, 0.5], abs=0.06)
        assert turn.latency == pytest.approx(0.72, abs=0.08)
    first, second = hook.got
    assert first.speech_start == pytest.approx(1.0, abs=0.05)
    assert second.speech_start == pytest.approx(6.0, abs=0.05)


def test_a_turn_says_why_it_ended_where_that_was_more_than_silence() -> None:
    hook = Hook()
    turns_of(ReplyOnPause(Recorder(), on_turn=hook), endpoint=Advice(0.99, "so"))
    evidence = hook.got[0].evidence
    assert evidence.opinion.probability == 0.99
    assert evidence.opinion.words == "That is all."
    assert evidence.speech == pytest.approx(1.0, abs=0.05)
    assert 0.5 < evidence.finished <= 1
    assert evidence.patience < 0.5


def test_a_turn_that_silence_ended_has_no_evidence() -> None:
    hook = Hook()
    turns_of(ReplyOnPause(Recorder(), on_turn=hook))
    assert [turn.evidence for turn in hook.got] == [None, None]


def test_a_turn_counts_the_replies_that_were_begun_too_early() -> None:
    hook = Hook()
    with Line(ReplyOnPause(Recorder(), on_turn=hook, speculative=True)) as call:
        for _ in range(3):
            call.say(voice(0.4))
            call.wait(0.15)
        call.wait(2.0)
    assert [turn.speculated for turn in hook.got] == [2]


def test_a_turn_that_was_answered_early_was_put_out_before_it_was_decided() -> None:
    hook = Hook()
    with Line(ReplyOnPause(Recorder(), on_turn=hook, speculative=True)) as call:
        call.say(voice(1.0))
        call.wait(2.0)
    (turn,) = hook.got
    assert turn.speech_end < turn.first_output < turn.decided <= turn.first_sound


def test_a_turn_has_the_error_of_its_function() -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        yield noise(0.5)
        raise KeyError("weather")

    hook = Hook()
    turns_of(ReplyOnPause(reply, on_turn=hook))
    assert [turn.error for turn in hook.got] == ["KeyError: 'weather'"] * 2
    assert hook.got[0].heard.seconds == pytest.approx(0.5, abs=0.02)


def test_a_function_that_yields_nothing_has_no_first_output() -> None:
    hook = Hook()
    turns_of(ReplyOnPause(lambda audio: iter([]), on_turn=hook))
    assert [turn.first_output for turn in hook.got] == [None, None]


def test_a_turn_whose_reply_cannot_begin_has_the_error() -> None:
    def reply(audio: Audio, name: str) -> Iterator[Any]:
        yield noise(0.5)

    hook = Hook()
    with Line(ReplyOnPause(reply, on_turn=hook)) as call:
        call.say(voice(1.0))
        call.wait(62.0)
    (turn,) = hook.got
    assert turn.error.startswith("TimeoutError: The client sent no inputs")
    assert turn.first_output is None


def test_an_interrupted_turn_says_so_and_how_much_was_heard() -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        yield Spoken(*noise(5.0), "one two three four five")

    hook = Hook()
    with Line(ReplyOnPause(reply, on_turn=hook)) as call:
        call.say(voice(0.5))
        call.wait(2.5)
        call.say(voice(TALK))
        now = call.now
        (turn,) = hook.got
        assert turn.interrupted
        assert turn.reply_end == pytest.approx(now - 0.1, abs=0.1)
        assert turn.heard.text == "one two"
        call.wait(8.0)
    assert [turn.interrupted for turn in hook.got] == [True, False]
    # The interruption is the next turn's speech.
    assert hook.got[1].speech_start == pytest.approx(3.0, abs=0.05)


def test_a_greeting_is_a_turn_without_speech() -> None:
    hook = Hook()
    handler = ReplyOnPause(Recorder(), startup_fn=lambda: iter([noise(0.5)]), on_turn=hook)
    with Line(handler) as call:
        call.wait(1.0)
    (turn,) = hook.got
    assert (turn.number, turn.speech_start, turn.speech_end, turn.decided) == (1, None, None, None)
    assert turn.latency is None
    assert turn.reply_end == pytest.approx(0.5, abs=0.06)


def test_a_forced_turn_without_a_word_is_a_turn_without_speech() -> None:
    hook = Hook()
    with Line(ReplyOnPause(Recorder(), on_turn=hook)) as call:
        call.wait(1.0)
        call.handler.trigger_response()
        call.wait(1.0)
    (turn,) = hook.got
    assert turn.speech_start is None
    assert turn.decided == pytest.approx(1.0, abs=0.05)


def test_a_turn_that_the_end_of_the_call_cuts_off_is_told_too() -> None:
    hook = Hook()
    with Line(ReplyOnPause(Recorder(seconds=5.0), on_turn=hook)) as call:
        call.say(voice(0.5))
        call.wait(1.5)
        call.hang_up()
    (turn,) = hook.got
    assert not turn.interrupted
    assert 0.9 < turn.heard.seconds < 1.3


def test_a_turn_is_plain_values_for_json() -> None:
    (turn, _) = turns_of(ReplyOnPause(Recorder()))
    facts = turn.as_dict()
    assert facts["number"] == 1
    assert facts["heard"] == {"seconds": pytest.approx(0.5, abs=0.02), "text": ""}
    assert Turn(1).heard == Heard()


# The hook


def test_the_hook_is_called_when_the_reply_is_over_and_not_before() -> None:
    hook = Hook()
    with Line(ReplyOnPause(Recorder(seconds=2.0), on_turn=hook)) as call:
        call.say(voice(0.5))
        call.wait(2.0)
        assert not hook.got
        call.wait(0.5)
        assert len(hook.got) == 1


def test_the_hook_may_be_async_and_runs_in_the_call() -> None:
    got: list[tuple[int, str]] = []

    async def hook(turn: Turn) -> None:
        await asyncio.sleep(0.1)
        got.append((turn.number, get_current_context().webrtc_id))

    turns_of(ReplyOnPause(Recorder(), on_turn=hook))
    assert got == [(1, "virtual"), (2, "virtual")]


def broken(turn: Turn) -> None:
    raise KeyError("diary")


async def abroken(turn: Turn) -> None:
    raise KeyError("diary")


def leaves(turn: Turn) -> None:
    sys.exit(3)


async def aleaves(turn: Turn) -> None:
    sys.exit(3)


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        (broken, "KeyError: 'diary'"),
        (abroken, "KeyError: 'diary'"),
        (leaves, "SystemExit"),
        (aleaves, "SystemExit"),
    ],
)
def test_a_hook_that_fails_is_reported_and_the_call_goes_on(
    hook: Callable[[Turn], Any], told: str
) -> None:
    with Line(ReplyOnPause(Recorder(), on_turn=hook)) as call:
        for _ in range(2):
            call.say(voice(0.5))
            call.wait(2.0)
        assert len(call.errors) == 2
        assert told in call.errors[0]
        assert len(call.turns) == 2


def test_turns_are_told_one_after_the_other_in_their_order() -> None:
    got: list[int] = []

    async def hook(turn: Turn) -> None:
        # Slow at first: the second turn is over before that.
        await asyncio.sleep(10.0 / turn.number**4)
        got.append(turn.number)

    with Line(ReplyOnPause(Recorder(seconds=0.1), on_turn=hook)) as call:
        for _ in range(3):
            call.say(voice(0.3))
            call.wait(1.5)
        call.wait(10.0)
    assert got == [1, 2, 3]


def test_a_hook_that_blocks_keeps_nobody_waiting() -> None:
    release = threading.Event()

    def hook(turn: Turn) -> None:
        with call.session.workers.may_block():
            release.wait(30)

    with Line(ReplyOnPause(Recorder(), on_turn=hook)) as call:
        for _ in range(2):
            call.say(voice(0.5))
            call.wait(2.0)
        assert len(call.sounds) == 2
        call.hang_up()
        release.set()


def test_hooks_that_block_do_not_pile_up() -> None:
    release = threading.Event()

    def hook(turn: Turn) -> None:
        with call.session.workers.may_block():
            release.wait(30)

    with Line(ReplyOnPause(Recorder(seconds=0.1), on_turn=hook)) as call:
        for _ in range(12):
            call.say(voice(0.3))
            call.wait(1.3)
        threads = call.session.workers.threads
        release.set()
    assert threads <= 8


def test_an_async_hook_may_finish_with_the_turn_that_the_end_of_the_call_cut_off() -> None:
    kept: list[int] = []

    async def hook(turn: Turn) -> None:
        await asyncio.sleep(0.1)
        kept.append(turn.number)

    with Line(ReplyOnPause(Recorder(seconds=5.0), on_turn=hook)) as call:
        call.say(voice(0.5))
        call.wait(1.5)
        call.hang_up()
    assert kept == [1]


# The log


@pytest.mark.parametrize(("level", "private"), [(logging.INFO, False), (logging.DEBUG, True)])
def test_the_log_has_the_words_of_a_turn_only_where_all_is_logged(
    level: int, private: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        yield Spoken(*noise(0.5), "Certainly, sir.")

    with caplog.at_level(level, "fastrtc"):
        turns_of(ReplyOnPause(reply), endpoint=Advice(0.99, "so"))
    lines = [record for record in caplog.records if "turn=1" in record.getMessage()]
    (line,) = lines
    assert line.levelno == logging.INFO
    for part in ("speech_end=", "decided=", "first_sound=", "latency=", "heard=0.5"):
        assert part in line.getMessage()
    assert ("That is all." in caplog.text) == private
    assert ("Certainly, sir." in caplog.text) == private
    facts = line.__dict__["turn"]
    assert facts["turn"] == 1
    assert ("words" in facts) == private


def test_an_async_hook_that_takes_nothing_is_reported_and_the_call_goes_on() -> None:
    async def hook() -> None: ...

    wrong: Any = hook
    with Line(ReplyOnPause(lambda audio: iter([noise(0.2)]), on_turn=wrong)) as call:
        for _ in range(2):
            call.say(voice(0.5))
            call.wait(2.0)
        assert len(call.turns) == 2
        assert [error.split(":")[0] for error in call.errors] == ["TypeError", "TypeError"]
