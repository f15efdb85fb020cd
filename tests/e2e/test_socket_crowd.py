"""Many callers at once, over sockets and telephones, in real time."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from tests.carrier import Carrier, PhoneCall
from tests.conftest import Sound, silence
from tests.e2e.sockets import ROOT, Caller, Report, Served, served
from tests.peers import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

CALLERS = 100
SECONDS = 6
LATE = 8.0
"""Seconds that an echo may be behind: none is lost, where all processes share two busy cores."""
PHONES = 20
ANSWER_SECONDS = 0.5


@dataclass
class Line:
    """A server, and what it held after its first call."""

    server: Served
    before: dict[str, int]


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    async def first_call(url: str) -> None:
        caller = Caller("pcm")
        await caller.connect(url)
        await caller.talk(0.5)
        caller.socket.hang_up()

    with served("plain", "answer") as server:
        asyncio.run(first_call(server.url))
        yield Line(server, server.stats())


def hertz_of(number: int) -> int:
    """The tone that a caller is answered with."""
    return 300 + 50 * number


def answers(call: PhoneCall) -> tuple[float, float]:
    """Seconds from the first to the last sound that a caller has heard, and its frequency."""
    rate, heard = call.heard
    sound = np.flatnonzero(np.abs(heard) > 100)
    if not sound.size:
        return 0.0, 0.0
    hertz = np.argmax(np.abs(np.fft.rfft(heard))) * rate / len(heard)
    return (sound[-1] - sound[0]) / rate, float(hertz)


async def test_each_of_twenty_telephones_gets_the_answer_to_its_own_caller(
    line: Line, phrase: Sound
) -> None:
    rate, samples = phrase
    async with Carrier(f"{line.server.url}/answer/telephone/incoming") as carrier:

        async def dial(number: int) -> PhoneCall:
            pause = silence(0.3 + 0.02 * number, rate)[1]
            speech = rate, np.concatenate([pause, samples], axis=1)
            return await carrier.dial(f"+1555000{hertz_of(number):04}", speech=speech)

        calls = await asyncio.gather(*(dial(number) for number in range(PHONES)))
        await eventually(lambda: all(answers(c)[0] > 0.9 * ANSWER_SECONDS for c in calls), 15)
        await asyncio.gather(*(call.hang_up() for call in calls))
    for number, call in enumerate(calls):
        seconds, hertz = answers(call)
        assert seconds == pytest.approx(ANSWER_SECONDS, abs=0.06)
        assert hertz == pytest.approx(hertz_of(number), abs=2)
        assert call.violations == []


def test_a_hundred_callers_each_hear_all_they_say_in_order_and_leave_nothing(line: Line) -> None:
    command = [sys.executable, "-m", "tests.e2e.sockets", line.server.url]
    command += [str(CALLERS), str(SECONDS), "pcm"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    after = line.server.calm(line.before)
    reports = [Report(**report) for report in json.loads(done.stdout)["reports"]]
    assert len(reports) == CALLERS
    for report in reports:
        assert report.faults == []
        assert report.heard == report.sent == 50 * SECONDS
        assert max(report.late) < LATE
    for key in ("calls", "threads", "tasks", "files"):
        assert after[key] <= line.before[key], (key, line.before, after)
