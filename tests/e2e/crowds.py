"""What `tests.e2e.light_callers` do, for a test: they call from a host, and account for it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

from tests.e2e.light_callers import Account, Attempt
from tests.hosts import JoinedHost
from tests.network import ROOT


class Crowd:
    """Callers who talk until they are asked for their accounts."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def accounts(self) -> list[Account]:
        """Let all hang up; what became of each."""
        told, _ = self._process.communicate()
        return [
            Account(
                **{
                    **account,
                    "attempts": [Attempt(**attempt) for attempt in account["attempts"]],
                    "holes": [(since, seconds) for since, seconds in account["holes"]],
                }
            )
            for account in json.loads(told)
        ]


@contextlib.contextmanager
def crowd(host: JoinedHost, urls: list[str], calls: int, seconds: float) -> Iterator[Crowd]:
    """So many callers, who have come from a host within so many seconds to the URLs in turn."""
    program = [sys.executable, "-m", "tests.e2e.light_callers", str(calls), str(seconds), *urls]
    with subprocess.Popen(
        host.command(*program),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("the callers have failed")
            yield Crowd(process)
        finally:
            process.kill()
