"""Turns by a real WebRTC peer and in a real browser: real speech, real models, real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastrtc import Heard, InterruptionPolicy, ReplyOnPause, Spoken
from fastrtc.testing import load_speech
from tests.conftest import Sound, human_speech, tone
from tests.e2e.browser import browsing, opened, running, script, state_is, turn_is, write_wav
from tests.peers import Caller, eventually, line

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

SENTENCE = (1.22, 4.64)
"""Where "It was the best of times, it was the worst of times" is in the recording, in seconds."""


@pytest.fixture(scope="session")
def halves() -> tuple[Sound, Sound]:
    """A sentence, broken off inside a word group, and the rest of it."""
    rate, samples = load_speech(human_speech("two_cities.wav"))
    start, end = SENTENCE
    middle = start + 0.7 * (end - start)

    def cut(a: float, b: float) -> Sound:
        return rate, np.ascontiguousarray(samples[:, round(a * rate) : round(b * rate)])

    return cut(start, middle), cut(middle, end)


def beep(audio: Any) -> Iterator[Any]:
    yield tone(0.4)


async def test_a_caller_who_is_lost_for_a_word_is_not_cut_in_upon(
    halves: tuple[Sound, Sound],
) -> None:
    said: list[float] = []

    def reply(audio: Any) -> Iterator[Any]:
        said.append(audio[1].shape[1] / audio[0])
        yield tone(0.4)

    async with line(ReplyOnPause(reply)) as (_, http):
        caller = Caller(http, watch=True)
        await caller.connect()
        await caller.say(halves[0])
        await asyncio.sleep(0.6)
        assert "pause_detected" not in [m["data"] for m in caller.messages]
        await caller.say(halves[1])
        await caller.until("response_finished")
        await eventually(lambda: any(m["type"] == "turn" for m in caller.messages))
        await caller.hang_up()
    assert len(said) == 1
    assert said[0] > 3.7
    (turn,) = [m["data"] for m in caller.messages if m["type"] == "turn"]
    assert turn["evidence"]["opinion"]["words"]
    steps = [m["data"] for m in caller.messages if m["type"] == "steps"]
    assert {state for message in steps for *_, state in message["steps"]} >= {"speaking", "pausing"}


async def test_a_client_that_does_not_watch_is_shown_nothing(phrase: Sound) -> None:
    async with line(ReplyOnPause(beep)) as (_, http):
        caller = Caller(http)
        await caller.connect()
        await caller.say(phrase)
        await caller.until("response_finished")
        await caller.hang_up()
    assert {m["type"] for m in caller.messages} == {"log"}


@pytest.mark.pitfall(13)
async def test_a_short_sound_holds_a_reply_and_the_caller_hears_all_of_it(phrase: Sound) -> None:
    ended: list[Heard] = []

    def reply(audio: Any) -> Iterator[Any]:
        yield tone(4.0)

    policy = InterruptionPolicy(words=False)
    handler = ReplyOnPause(reply, interruption=policy, on_interrupt=ended.append)
    async with line(handler) as (_, http):
        caller = Caller(http, watch=True)
        await caller.connect()
        await caller.say(phrase)
        await caller.until("response_starting")
        await asyncio.sleep(1.0)
        rate, samples = phrase
        await caller.say((rate, samples[:, round(0.1 * rate) : round(0.45 * rate)]))
        await caller.until("response_finished")
        sound = caller.sound()
        await caller.hang_up()
    kinds = [m["data"]["kind"] for m in caller.messages if m["type"] == "decision"]
    assert "false alarm" in kinds
    assert not ended
    assert len(np.flatnonzero(np.abs(sound) > 2_000)) / 48_000 > 2.4  # Of 4 s, as a sine is.


async def test_an_interrupted_function_knows_what_was_heard(phrase: Sound) -> None:
    ended: list[Heard] = []

    async def reply(audio: Any) -> AsyncIterator[Any]:
        rate, samples = tone(6.0)
        yield Spoken(rate, samples, "one two three four five six")

    async with line(ReplyOnPause(reply, on_interrupt=ended.append)) as (_, http):
        caller = Caller(http)
        await caller.connect()
        await caller.say(phrase)
        await caller.until("response_starting")
        await asyncio.sleep(2.0)
        await caller.say(phrase)
        await caller.until("interrupted")
        await eventually(lambda: bool(ended))
        await caller.hang_up()
    assert 1.9 < ended[0].seconds < 2.6
    assert ended[0].text in ("one two", "one two three")


async def test_the_page_draws_how_turns_are_taken(tmp_path: Path, phrase: Sound) -> None:
    voice = tmp_path / "voice.wav"
    write_wav(voice, phrase[0], script(phrase, [1.0, 3.5, 6.0]))
    with running("tests/e2e/apps.py:conversation") as url:
        async with browsing(voice) as browser:
            page = await opened(browser, url)
            await page.click("#turn-taking summary")
            await page.click("#talk")
            await state_is(page, "connected")
            await turn_is(page, "speaking")
            await page.wait_for_selector("#turn-taking li", timeout=15_000)
            assert "spoke" in await page.inner_text("#turn-taking li")
            drawn = await page.evaluate(
                """() => {
                    const canvas = document.querySelector("#turn-taking canvas");
                    const {width, height} = canvas;
                    const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
                    return new Set(new Uint32Array(data.buffer)).size;
                }"""
            )
            await page.screenshot(path=tmp_path / "strip.png", full_page=True)
    assert drawn > 10
