"""Hostile clients of every socket, while somebody talks: `FUZZ_SECONDS=300` for minutes of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from tests.e2e.sockets import ROOT, Caller, Report, Served, served

SECONDS = float(os.environ.get("FUZZ_SECONDS", "8"))
"""Half of them with a seed that is always the same, half with a fresh one."""
HALF = SECONDS / 2
LATE = 0.5 + 0.1 * HALF
"""Seconds that the echo may be behind in the end. Each time the server stands still adds to that:
uvicorn reads up to 256 KB of tiny frames in one go, and all processes share two cores."""
MIB = 1 << 20
EXPECTED = (
    "Invalid UTF-8 sequence received from client",
    "websockets.exceptions.InvalidState: connection is closing",
    "A telephone call could not be taken: expected parameters of at most",
)
"""Errors that a client can cause, by the first or last line of their records: the first two are
uvicorn's own, for a text that is none, and for one with a close right behind it; the last tells of
webhooks from somebody whose number is longer than a platform carries."""
FAULTS = ("Traceback", "never retrieved", "Exception ignored", "was destroyed")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120 + 3 * SECONDS)]


@contextlib.contextmanager
def attacked(server: Served, seed: str) -> Iterator[None]:
    """Hostile clients, in a process of their own, for half of the time."""
    print(f"python -m tests.e2e.fuzz URL {HALF:g} {seed}")
    command = [sys.executable, "-m", "tests.e2e.fuzz", server.url, str(HALF), seed]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as hostile:
        assert hostile.stderr is not None
        yield
        error = hostile.stderr.read()
    assert hostile.returncode == 0, error


def talk(server: Served, seconds: float) -> Report:
    """A decent caller."""

    async def call() -> Report:
        caller = Caller("pcm")
        await caller.connect(server.url)
        await caller.talk(seconds, patience=8 + LATE)
        caller.socket.hang_up()
        return caller.report

    return asyncio.run(call())


def is_harmless(record: str) -> bool:
    """Whether a record of the log is a warning without a traceback, or expected."""
    lines = record.strip().splitlines()
    if any(text in lines[0] or text in lines[-1] for text in EXPECTED):
        return True
    return record.startswith("WARNING") and not any(fault in record for fault in FAULTS)


def test_hostile_clients_disturb_nobody_and_leave_nothing_behind() -> None:
    with served("plain", "answer") as server:
        talk(server, 0.5)
        before = server.stats()
        reports, memory = [], []
        for seed in ("always the same", secrets.token_hex(4)):
            with attacked(server, seed):
                reports.append(talk(server, HALF))
            memory.append(server.stats()["memory"])
        after = server.calm(before)
        records = server.records()
    for report in reports:
        assert report.faults == []
        assert report.heard == report.sent == round(50 * HALF)
        assert max(report.late) < LATE, np.percentile(report.late, [5, 50, 95])
    for key in ("calls", "threads", "tasks", "files"):
        assert after[key] <= before[key], (key, before, after)
    # What allocators and models keep levels off; what leaks grows with every attack.
    assert memory[1] - memory[0] < 128 * MIB, (before, memory)
    wrong = [record for record in records if not is_harmless(record)]
    assert not wrong, "\n".join(wrong)
