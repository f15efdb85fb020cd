"""What a server keeps of calls that have ended: nothing."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
MIB = 2**20


@contextlib.contextmanager
def served(handler: str) -> Iterator[str]:
    """A server in a process of its own; yields its URL."""
    command = [sys.executable, "-m", "tests.e2e.served", handler]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def crowd(url: str, calls: int, together: int, kind: str) -> dict[str, Any]:
    """Make so many calls, so many at a time."""
    command = [sys.executable, "-m", "tests.e2e.crowd", url, str(calls), str(together), kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def stats(url: str) -> dict[str, int]:
    found: dict[str, int] = httpx.get(f"{url}/stats", timeout=20).json()
    return found


def wait_for(url: str, calm: Callable[[dict[str, int]], bool]) -> dict[str, int]:
    """The server's state once it is calm; as it is after 20 s otherwise."""
    deadline = time.monotonic() + 20
    while not calm(found := stats(url)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


@pytest.mark.pitfall(35)
@pytest.mark.parametrize("handler", ["echo", "reply"])
def test_200_calls_leave_memory_threads_tasks_and_files_as_they_were(handler: str) -> None:
    with served(handler) as url:
        crowd(url, 16, 8, "talk")
        before = wait_for(url, lambda s: s["calls"] == 0 and s["threads"] <= 4)
        first = crowd(url, 96, 8, "talk")
        middle = wait_for(url, lambda s: s["calls"] == 0 and s["threads"] <= before["threads"])
        second = crowd(url, 104, 8, "talk")
        after = wait_for(url, lambda s: s["calls"] == 0 and s["threads"] <= before["threads"])
    assert first["answered"] + second["answered"] == 200
    for key in ("calls", "threads", "tasks", "files"):
        assert after[key] <= before[key], (key, before, after)
    # What allocators keep, those of the networks too, levels off; what leaks grows with every call.
    assert after["memory"] - middle["memory"] < 16 * MIB, (before, middle, after)


def test_a_hundred_callers_at_once_of_a_handler_that_blocks_leave_no_thread() -> None:
    with served("echo") as url:
        crowd(url, 1, 1, "quiet")
        before = wait_for(url, lambda s: s["calls"] == 0 and s["threads"] <= 3)
        report = crowd(url, 100, 100, "quiet")
        after = wait_for(url, lambda s: s["calls"] == 0 and s["threads"] <= before["threads"])
    assert report["answered"] == 100
    assert report["peak_threads"] >= 200
    assert after["threads"] <= before["threads"]
    assert after["tasks"] <= before["tasks"]
