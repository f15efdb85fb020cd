"""Calls over a bad network: real speech and models; server and callers on hosts of their own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.conftest import Sound
from tests.e2e.browser import (
    browsing,
    chromium,
    opened,
    script,
    state_is,
    turn_is,
    write_wav,
)
from tests.e2e.networks import (
    AFTER_CUT,
    CUT_AT,
    SAID,
    SAID_AFTER_CUT,
    SETTLED,
    TROUBLES,
    TURNS,
    Outcome,
    calls,
    served,
    speech,
)
from tests.network import ROOT, Network, bad_network
from tests.spoken import read
from tests.words import word_error_rate

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

STEADY = ("5 % loss", "60 ms jitter, reordering", "both")
BROKEN = ("2 s outage", "2 s stall")
CALL_SECONDS = 40
PAGE_PORT = 8000
WORDS_WRONG = {"5 % loss": 0.1, "60 ms jitter, reordering": 0.1, "both": 0.2}
"""Of 44 words; Moonshine misreads one or two of them where nothing is lost."""
WORDS_WRONG_AFTER = 0.25
"""Of 17 words, with the same one or two."""
LOSSY = ("5 % loss", "both")
HOLES = 0.03
"""Share of an echo that is silent where speech is due, over both calls that lose packets: 0.01 to
0.02, as a busy machine adds its own; 0.035 where nothing stands for what is lost."""
LONGEST_REPLY = 1.5
"""Seconds from the end of a turn to its reply: about 0.3, what the network takes, and room."""
DRAINED = {"2 s outage": 0.06, "2 s stall": 1.0}
"""Seconds that an echo may still be later than it was before; the pauses of six seconds of speech
are all that there is to drain a stall in."""


def made(names: tuple[str, ...], turn: Sound) -> dict[str, Outcome]:
    """Make a call over a line of its own in each trouble, all at the same time."""
    with bad_network(len(names)) as network, served(network, "echo", "beep") as url:
        made = [
            calls(url, line, TROUBLES[name], speech(), turn)
            for line, name in zip(network.lines, names, strict=True)
        ]
        return {n: call.result(CALL_SECONDS) for n, call in zip(names, made, strict=True)}


@pytest.fixture(scope="module")
def steady(phrase: Sound) -> dict[str, Outcome]:
    return made(STEADY, phrase)


@pytest.fixture(scope="module")
def broken(phrase: Sound) -> dict[str, Outcome]:
    return made(BROKEN, phrase)


@pytest.mark.parametrize("trouble", STEADY)
def test_a_call_lives_and_turns_are_answered(trouble: str, steady: dict[str, Outcome]) -> None:
    assert_answered(steady[trouble])


@pytest.mark.parametrize("trouble", STEADY)
def test_an_echo_stays_intelligible(trouble: str, steady: dict[str, Outcome]) -> None:
    text = read(steady[trouble].echo())
    assert word_error_rate(text, SAID) <= WORDS_WRONG[trouble], text


def test_what_is_lost_on_the_way_leaves_no_holes(steady: dict[str, Outcome]) -> None:
    assert all(len(steady[trouble].pieces) > 100 for trouble in LOSSY)
    assert np.mean([steady[trouble].holes for trouble in LOSSY]) <= HOLES


def test_what_is_only_late_leaves_no_holes(steady: dict[str, Outcome]) -> None:
    jittered = steady["60 ms jitter, reordering"]
    assert len(jittered.pieces) > 100
    assert jittered.holes <= HOLES


@pytest.mark.parametrize("trouble", BROKEN)
def test_a_call_outlives_a_gap_and_turns_are_answered_before_and_after_it(
    trouble: str, broken: dict[str, Outcome]
) -> None:
    assert_answered(broken[trouble])


@pytest.mark.parametrize("trouble", BROKEN)
def test_an_echo_is_intelligible_again_after_a_gap(
    trouble: str, broken: dict[str, Outcome]
) -> None:
    # What was late is still heard before it.
    heard = read(broken[trouble].echo(AFTER_CUT)).split()
    text = " ".join(heard[-len(SAID_AFTER_CUT.split()) :])
    assert word_error_rate(text, SAID_AFTER_CUT) <= WORDS_WRONG_AFTER, text


@pytest.mark.parametrize("trouble", BROKEN)
def test_the_delay_of_a_gap_drains_within_seconds(trouble: str, broken: dict[str, Outcome]) -> None:
    before = broken[trouble].delays(0.0, CUT_AT - 0.5)
    after = broken[trouble].delays(SETTLED)
    assert len(before) > 50
    assert len(after) > 50
    assert np.median(after) <= np.median(before) + DRAINED[trouble]


def assert_answered(outcome: Outcome) -> None:
    """The calls stood to the end, and each turn had its reply in time."""
    assert outcome.alive
    assert len(outcome.replies) == TURNS
    assert all(r is not None and r <= LONGEST_REPLY for r in outcome.replies), outcome.replies


@contextlib.contextmanager
def page(network: Network) -> Iterator[str]:
    """The built-in page, on the server's host; yields its URL."""
    port = str(PAGE_PORT)
    program = [sys.executable, "-m", "fastrtc.cli", "run", "tests/e2e/apps.py:conversation"]
    where = ["--host", network.server_address, "--port", port, "--grace", "0"]
    url = f"http://{network.server_address}:{port}"

    def answers() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(url).status_code == 200
        return False

    with subprocess.Popen(network.server.command(*program, *where), cwd=ROOT) as server:
        try:
            deadline = time.monotonic() + 30
            while not network.server.run(answers).result():
                assert server.poll() is None, "the server has ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.1)
            yield url
        finally:
            server.terminate()


async def test_a_browser_whose_address_changes_goes_on_with_its_call(
    tmp_path: Path, phrase: Sound
) -> None:
    voice, start = tmp_path / "voice.wav", tmp_path / "chromium"
    write_wav(voice, phrase[0], script(phrase, [1.0, 2.0]))
    with bad_network() as network, page(network) as url:
        (line,) = network.lines
        command = " ".join(line.command(chromium()))
        start.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        start.chmod(0o755)
        # Without TLS only loopback has microphones.
        flag = f"--unsafely-treat-insecure-origin-as-secure={url}"
        async with browsing(voice, flag, program=start) as browser:
            call = await opened(browser, url)
            await call.click("#talk")
            await turn_is(call, "speaking")
            number = await call.evaluate("fastrtc.id")
            line.move()
            await call.wait_for_function("seen.states.includes('reconnecting')", timeout=20_000)
            await state_is(call, "connected", 20)
            await turn_is(call, "hearing", 20)
            await turn_is(call, "speaking", 20)
            assert await call.evaluate("fastrtc.id") == number
