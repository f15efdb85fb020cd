"""Calls by a real WebRTC peer over loopback: real speech, real Silero, real time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fastrtc import AdditionalOutputs, ReplyOnPause
from tests.conftest import Sound, level, tone
from tests.peers import RATE, Caller, eventually, line
from tests.samples import Echo

pytestmark = pytest.mark.e2e


def pitch(samples: Any, rate: int = RATE) -> float:
    """The strongest frequency, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64)))
    return float(np.fft.rfftfreq(len(samples), 1 / rate)[int(spectrum.argmax())])


def purity(samples: Any, hertz: float, rate: int = RATE) -> float:
    """The share of a tone's energy that is near its frequency."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(samples), 1 / rate) - hertz) < 20
    return float(spectrum[near].sum() / spectrum.sum())


async def test_three_turns_with_an_interruption(phrase: Sound) -> None:
    said: list[float] = []

    def reply(audio: Any) -> Iterator[Any]:
        said.append(audio[1].shape[1] / audio[0])
        number = len(said)
        yield AdditionalOutputs(number)
        yield tone(12.0 if number == 2 else 0.6, hertz=500.0 * number)

    async with line(ReplyOnPause(reply)) as (stream, http):
        caller = Caller(http)
        await caller.connect()
        assert list(stream.connections) == [caller.id]

        await caller.say(phrase)
        ended = time.monotonic()
        await caller.until("response_starting", 1)
        assert time.monotonic() - ended < 1.0
        await caller.until("response_finished", 1)
        await asyncio.sleep(0.3)
        loud = np.flatnonzero(np.abs(caller.sound()) > 2_000)
        assert pitch(caller.sound()[loud[0] : loud[-1]]) == pytest.approx(500, abs=15)

        await caller.say(phrase)
        await caller.until("response_starting", 2)
        await asyncio.sleep(1.0)
        onset = time.monotonic()
        await caller.say(phrase)
        assert [m["data"] for m in caller.messages].count("interrupted") == 1
        # A client of this kind buffers 80 ms; long before the phrase ends there is silence.
        assert level(caller.sound(onset + 0.8)) < -60 or not len(caller.sound(onset + 0.8))

        await caller.until("response_finished", 2)
        outputs = await stream.fetch_latest_output(caller.id)
        assert outputs.args == (3,)
        assert len(said) == 3
        assert all(seconds > 1.0 for seconds in said)
        assert not [m for m in caller.messages if m["type"] == "error"]
        await caller.hang_up()
        await eventually(lambda: not stream.connections)


@pytest.mark.pitfall(25, 27)
async def test_an_echo_comes_back_whole_and_without_clicks() -> None:
    async with line(Echo()) as (_, http):
        caller = Caller(http)
        await caller.connect()
        await caller.say(tone(3.0, rate=RATE))
        await asyncio.sleep(0.5)
        sound = caller.sound()
        await caller.hang_up()
    loud = np.flatnonzero(np.abs(sound) > 4_000)
    middle = sound[loud[0] + RATE // 4 : loud[-1] - RATE // 4]
    assert len(middle) / RATE > 2.3
    assert pitch(middle) == pytest.approx(440, abs=2)
    # Clicks that we make are at every frame. An echo that is late for a tick leaves one gap.
    assert np.median([purity(part, 440) for part in np.array_split(middle, 6)]) > 0.99


async def test_a_client_that_only_listens_hears_the_radio() -> None:
    def radio() -> Iterator[Any]:
        for _ in range(10):
            yield tone(0.1)

    async with line(radio, mode="receive") as (_, http):
        caller = Caller(http, direction="recvonly")
        await caller.connect()
        await caller.until("The stream has ended", 1)
        sound = caller.sound()
        await caller.hang_up()
    assert 0.8 < len(np.flatnonzero(np.abs(sound) > 100)) / RATE < 1.1


async def test_a_function_that_blocks_for_a_minute_leaves_other_callers_untouched(
    phrase: Sound,
) -> None:
    calls = 0

    def reply(audio: Any) -> Iterator[Any]:
        nonlocal calls
        calls += 1
        if calls == 1:
            time.sleep(60)
        yield tone(0.5)

    async with line(ReplyOnPause(reply)) as (_, http):
        stuck, other = Caller(http), Caller(http)
        await stuck.connect()
        await other.connect()
        await stuck.say(phrase)
        await stuck.until("pause_detected")
        await other.say(phrase)
        await other.until("response_finished", seconds=4)
        await stuck.hang_up()
        await other.hang_up()


async def test_functions_that_raise_or_yield_nonsense_leave_other_callers_untouched(
    phrase: Sound,
) -> None:
    async def call(http: Any, kind: str) -> Caller:
        caller = Caller(http)
        await caller.connect()
        await caller.say(phrase)
        await caller.until("response_finished", seconds=6)
        await caller.hang_up()
        return caller

    kinds = iter(["raise", "nonsense", "good"])

    def reply(audio: Any) -> Iterator[Any]:
        kind = next(kinds)
        if kind == "raise":
            raise ValueError("broken")
        yield "nonsense" if kind == "nonsense" else tone(0.5)

    async with line(ReplyOnPause(reply)) as (_, http):
        callers = [await call(http, kind) for kind in ("raise", "nonsense", "good")]
    assert [len([m for m in c.messages if m["type"] == "error"]) for c in callers] == [1, 1, 0]
