"""Who talks over a reply on the telephone: human speech, and the carrier's own timeline."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from fastrtc import InterruptionPolicy, ReplyOnPause
from fastrtc.transports.telephone.twilio import TwilioWire
from fastrtc.turns.record import Heard
from tests.carrier import PhoneCall
from tests.conftest import Sound, tone
from tests.peers import eventually
from tests.transports.house import House, loud_seconds

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEFORE_THE_VOICE = 0.05
"""Seconds of silence with which the phrase begins."""
DELAYS = (0.0, 0.1)
"""Seconds, of the network, in each direction."""


def saying(seconds: float, **options: Any) -> ReplyOnPause:
    """A handler whose generator is over long before its reply has been heard."""

    def reply(audio: Any) -> Iterator[Any]:
        yield tone(seconds, rate=8_000)

    return ReplyOnPause(reply, endpointing="vad", output_sample_rate=8_000, **options)


@dataclass
class Interruption:
    """A call in which a reply of 5 s was interrupted."""

    delay: float
    onset: float
    """Where on the carrier's timeline the voice began, in seconds."""
    silent: float
    """Where the reply was heard last."""
    heard: float
    """For how many seconds of sound it was."""
    told: Heard
    """What the function for that was told."""
    violations: list[str]


async def interrupt(house: House, phrase: Sound, delay: float) -> Interruption:
    told: list[Heard] = []
    place = house.open(saying(5.0, on_interrupt=told.append))
    async with place.carrier(delay=delay) as carrier:
        call = await carrier.dial()
        (await place.handler()).trigger_response()
        await eventually(lambda: loud_seconds(call.heard[1], 8_000) > 0.5)
        onset = call.seconds + BEFORE_THE_VOICE
        await call.say(phrase)
        await eventually(lambda: bool(told))
        rate, heard = call.heard
        loud = np.flatnonzero(np.abs(heard) > 500)
        await call.hang_up()
    silent = float(loud[-1] / rate)
    return Interruption(delay, onset, silent, loud_seconds(heard, rate), told[0], call.violations)


@pytest.fixture(scope="module", autouse=True)
def _held() -> Iterator[None]:
    """Let the carrier hold half a second, so that what becomes of that is heard."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TwilioWire, "lead", 25)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def interruptions(
    _house: House, _held: None, phrase: Sound
) -> AsyncIterator[list[Interruption]]:
    """One for each of `DELAYS`, at the same time."""
    yield list(await asyncio.gather(*(interrupt(_house, phrase, delay) for delay in DELAYS)))
    await _house.clear()


@pytest.mark.pitfall(33)
async def test_the_caller_hears_silence_soon_after_the_first_sound_of_an_interruption(
    interruptions: list[Interruption],
) -> None:
    for one in interruptions:
        # The referee measures less; other tests may be using the machine.
        assert 0.0 < one.silent - one.onset < 0.35 + 2 * one.delay + 0.1


@pytest.mark.pitfall(33)
async def test_what_was_heard_of_a_reply_agrees_with_what_the_carrier_has_played(
    interruptions: list[Interruption],
) -> None:
    for one in interruptions:
        assert one.told.seconds == pytest.approx(one.heard, abs=0.15)


@pytest.mark.pitfall(33)
async def test_what_was_heard_is_right_where_a_reply_is_ended_without_a_voice(
    house: House,
) -> None:
    told: list[Heard] = []
    turns: list[Any] = []

    def reply(audio: Any) -> Iterator[Any]:
        turns.append(audio)
        if len(turns) == 1:
            yield tone(3.0, rate=8_000)

    place = house.open(ReplyOnPause(reply, endpointing="vad", on_interrupt=told.append))
    async with place.carrier(delay=0.1) as carrier:
        call = await carrier.dial()
        handler = await place.handler()
        handler.trigger_response()
        await eventually(lambda: frames_heard(call) > 25)
        handler.trigger_response()
        await eventually(lambda: bool(told) and call.held == 0)
        await call.hang_up()
    # The order to be silent is on its way for 0.1 s, as the sound was.
    assert told[0].seconds == pytest.approx(0.02 * frames_heard(call), abs=0.15)


async def test_an_interruption_says_nothing_over_the_socket_that_twilio_does_not_know(
    interruptions: list[Interruption],
) -> None:
    assert [one.violations for one in interruptions] == [[], []]


@contextlib.asynccontextmanager
async def talked_over(
    house: House, handler: ReplyOnPause, voice: Sound, delay: float = 0.1
) -> AsyncIterator[PhoneCall]:
    """A call in which a reply has begun, and then a voice over it."""
    place = house.open(handler)
    async with place.carrier(delay=delay) as carrier:
        call = await carrier.dial()
        (await place.handler()).trigger_response()
        await eventually(lambda: loud_seconds(call.heard[1], 8_000) > 0.1)
        await call.say(voice)
        yield call
        await call.hang_up()
    assert call.violations == []


@pytest.mark.pitfall(6, 33)
async def test_a_reply_that_may_not_be_interrupted_is_heard_to_its_end(
    house: House, phrase: Sound
) -> None:
    # The voice begins while all of the reply has been made, and lasts until after its end.
    async with talked_over(house, saying(0.8, can_interrupt=False), phrase) as call:
        # Now, before the voice has been answered in its turn.
        assert 40 <= frames_heard(call) <= 41
        # In one piece, but for what a busy machine delays.
        assert loud_seconds(call.heard[1], 8_000) == pytest.approx(0.8, abs=0.15)


async def test_after_a_false_alarm_the_caller_hears_the_rest(house: House, phrase: Sound) -> None:
    cough = phrase[0], phrase[1][:, round(0.1 * 16_000) : round(0.35 * 16_000)]
    # Its words are not asked for: a recogniser makes some of whatever it is given.
    handler = saying(1.0, interruption=InterruptionPolicy(words=False))
    async with talked_over(house, handler, cough) as call:
        await eventually(lambda: frames_heard(call) >= 48)
        await eventually(lambda: call.held == 0)
    # On the way back and forth a frame may be heard twice.
    assert 48 <= frames_heard(call) <= 53
    assert loud_seconds(call.heard[1], 8_000) > 1.3


def frames_heard(call: PhoneCall) -> int:
    """How many frames of 20 ms were no silence."""
    frames = call.heard[1].reshape(-1, 160)
    return int(np.count_nonzero(np.abs(frames).max(axis=1) > 500))
