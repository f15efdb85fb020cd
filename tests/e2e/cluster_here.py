"""`fastrtc serve` on this machine in a process of its own, and questions to it."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import missing
from tests.e2e.browser import ROOT, free_port
from tests.e2e.tier import LIGHT

START_SECONDS = 90.0
ENDS_SECONDS = 20.0
TOKEN = "the account's own secret"
"""Of the telephone company."""
SERVED = [
    "tests/e2e/cluster_ui.py:stream",
    *("--app", "tests/e2e/cluster_ui.py:with_ui"),
    *("--replicas", "2"),
]


@dataclass
class Cluster:
    """A stream that is served.

    Attributes:
        url: of its proxy.
        address: of its Ray.
        process: the command.
    """

    url: str
    address: str
    process: subprocess.Popen[str]

    def update(self, grace: float) -> subprocess.Popen[str]:
        """The same command again: the replicas are exchanged until it has ended."""
        return _command(self.url, grace, subprocess.DEVNULL, "--address", self.address)

    async def ask(self, path: str, **query: str) -> Any:
        """What a route answers over a connection of its own; None if nothing does."""
        async with httpx.AsyncClient(base_url=self.url, timeout=20, trust_env=False) as http:
            try:
                answer = await http.get(path, params=query)
            except httpx.TransportError:
                return None
        return answer.json() if answer.status_code == 200 else None

    async def post(self, path: str, body: Any) -> Any:
        """The same with a body of JSON."""
        async with httpx.AsyncClient(base_url=self.url, timeout=20, trust_env=False) as http:
            return (await http.post(path, json=body)).json()

    async def home(self, call_id: str) -> int:
        """The process that has a call, as it says itself."""
        return int(await self.ask("/pid", webrtc_id=call_id))

    async def give(self, call_id: str, word: str) -> None:
        """Give the handler of a call a word."""
        assert await self.post("/input_hook", {"webrtc_id": call_id, "text": word})

    async def said(self, call_id: str, word: str) -> list[Any]:
        """What the handler of a call gives out when it is given a word."""
        async with self._outputs(call_id) as lines:
            coming = asyncio.ensure_future(anext(lines))
            while not coming.done():
                # What is given out before somebody listens is heard by nobody.
                await self.give(call_id, word)
                await asyncio.wait([coming], timeout=1.0)
        found: list[Any] = list(ast.literal_eval(coming.result().removeprefix("data: ")))
        return found

    @contextlib.asynccontextmanager
    async def _outputs(self, call_id: str) -> AsyncIterator[AsyncIterator[str]]:
        async with (
            httpx.AsyncClient(base_url=self.url, timeout=20, trust_env=False) as http,
            http.stream("GET", "/updates", params={"webrtc_id": call_id}) as answer,
        ):
            yield answer.aiter_lines()

    async def live(self) -> dict[str, int]:
        """How many calls each replica has."""
        async with httpx.AsyncClient(base_url=self.url, timeout=20, trust_env=False) as http:
            page = (await http.get("/metrics")).text
        found: dict[str, int] = {}
        up = re.findall(r'^fastrtc_replica_up\{replica="(\w+)"\} 1.0', page, re.M)
        lines = r'^fastrtc_live_sessions\{.*replica="(\w+)"\} (\d+)'
        for replica, calls in re.findall(lines, page, re.M):
            found[replica] = found.get(replica, 0) + int(calls)
        return {replica: found.get(replica, 0) for replica in up}

    async def until(self, replicas: int, calls: int, seconds: float = 30.0) -> None:
        """Wait until there are so many replicas, and so many calls on them."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(httpx.TransportError):
                live = await self.live()
                if (len(live), sum(live.values())) == (replicas, calls):
                    return
            assert time.monotonic() < deadline, live
            await asyncio.sleep(0.2)


@contextlib.contextmanager
def cluster_here(grace: float) -> Iterator[Cluster]:
    """The stream of `tests.e2e.cluster_ui` on two replicas. It takes about 15 s."""
    for name in ("ray", "gradio"):
        if importlib.util.find_spec(name) is None:
            missing(name)
    url = f"http://127.0.0.1:{free_port()}"
    with (
        tempfile.NamedTemporaryFile("w", suffix=".log") as log,
        _command(url, grace, log) as process,
    ):
        try:
            yield Cluster(url, _started(process, Path(log.name)), process)
        finally:
            # The second time it does not wait for calls that a failure has left.
            for _ in range(2):
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(ENDS_SECONDS)
            process.kill()


def _command(url: str, grace: float, log: Any, *more: str) -> subprocess.Popen[str]:
    port = url.rpartition(":")[2]
    options = [*SERVED, "--port", port, "--grace", str(grace), *more]
    # Replicas import what this process does.
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    environment = {**os.environ, **LIGHT, "PYTHONPATH": path, "TWILIO_AUTH_TOKEN": TOKEN}
    command = [sys.executable, "-m", "fastrtc.cli", "serve", *options]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True
    )


def _started(process: subprocess.Popen[str], log: Path) -> str:
    """The address that the command prints once the stream is served."""
    deadline = time.monotonic() + START_SECONDS
    while not (found := re.search(r"--address (\S+)\n", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return found[1]
