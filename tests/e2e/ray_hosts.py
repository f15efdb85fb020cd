"""A cluster of Ray on hosts of its own, and a host without it, for the callers."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.conftest import missing
from tests.hosts import JoinedHost, joined_hosts
from tests.network import ROOT

GCS_PORT: Final = 6379
HTTP_PORT: Final = 8000
START_SECONDS: Final = 90.0
STORE_BYTES: Final = 80_000_000
"""Of shared memory for the objects of each node; Ray takes no less than 75 MB."""
ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Only these hosts reach each other. Unset, it depends on what ran on this machine before: a
    # head asks for a token as soon as a local cluster has left one.
    "RAY_AUTH_MODE": "disabled",
    # No process is kept ready for tasks; nothing but actors runs in these tests.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_enable_metrics_collection": "0",
}
"""Of all processes: what makes a node light, and each run the same."""


class RayHosts:
    """Hosts with a Ray node each; the first is the head.

    Attributes:
        nodes: the hosts.
        outside: a host of callers.
    """

    def __init__(self, hosts: list[JoinedHost], folder: Path, environment: dict[str, str]) -> None:
        *self.nodes, self.outside = hosts
        self._folder = folder
        self._environment = {
            **os.environ,
            **ENVIRONMENT,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            **environment,
        }
        self._programs = contextlib.ExitStack()
        self._driver: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        """Where the cluster is joined."""
        return f"{self.nodes[0].address}:{GCS_PORT}"

    def url(self, number: int) -> str:
        """Where Serve's proxy on a host listens."""
        return f"http://{self.nodes[number].address}:{HTTP_PORT}"

    def call(self, function: str, **arguments: Any) -> Any:
        """Call ``module:function`` in a driver on the head; what it returns is made of JSON.

        Raises:
            RuntimeError: it failed; the text is the traceback.
        """
        assert self._driver is not None
        assert self._driver.stdin is not None
        print(json.dumps({"call": function, "with": arguments}), file=self._driver.stdin)
        self._driver.stdin.flush()
        return self._answer()

    def start(self) -> None:
        """Start all nodes, and the driver."""
        head = self.nodes[0]
        starts = [self._start_node(0)]
        _wait_for(head, GCS_PORT)
        starts += [self._start_node(number) for number in range(1, len(self.nodes))]
        command = [sys.executable, "-m", "tests.e2e.ray_driver", self.address, head.address]
        self._driver = self._started(head, command, stderr=subprocess.DEVNULL)
        for start in starts:
            _await_start(start)
        self._answer()

    def start_node(self, number: int) -> None:
        """Start a node that is not the head again, on a host where none runs any more."""
        _await_start(self._start_node(number))

    def _start_node(self, number: int) -> subprocess.Popen[str]:
        host = self.nodes[number]
        head = [f"--port={GCS_PORT}", "--include-dashboard=false", "--no-monitor"]
        command = [
            str(Path(sys.executable).with_name("ray")),
            "start",
            *([f"--address={self.address}"] if number else ["--head", *head]),
            f"--node-ip-address={host.address}",
            f"--node-name=host{number}",
            f"--temp-dir={self._folder / str(number)}",
            f"--object-store-memory={STORE_BYTES}",
            "--num-cpus=4",
            "--num-gpus=0",
            f"--resources={json.dumps({f'host{number}': 1000})}",
            "--include-log-monitor=false",
        ]
        return self._started(host, command, stderr=subprocess.STDOUT)

    def _started(
        self, host: JoinedHost, command: list[str], *, stderr: int
    ) -> subprocess.Popen[str]:
        """A program on a host, which ends with the cluster."""
        process = subprocess.Popen(
            host.command(*command),
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        self._programs.enter_context(process)
        self._programs.callback(process.kill)
        return process

    def _answer(self) -> Any:
        assert self._driver is not None
        assert self._driver.stdout is not None
        line = self._driver.stdout.readline()
        if not line:
            raise RuntimeError(f"the driver has ended ({self._driver.wait()})")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        """End the driver, and what still starts; the nodes end with their hosts."""
        self._programs.close()


@contextlib.contextmanager
def ray_hosts(nodes: int = 3, **environment: str) -> Iterator[RayHosts]:
    """A cluster of so many nodes, with more in its environment."""
    if importlib.util.find_spec("ray") is None:
        missing("ray[serve], for a cluster,")
    # Short, since paths of sockets are.
    with (
        tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder,
        joined_hosts(nodes + 1) as hosts,
    ):
        cluster = RayHosts(hosts, Path(folder), environment)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.close()


def _await_start(start: subprocess.Popen[str]) -> None:
    said, _ = start.communicate(timeout=START_SECONDS)
    if start.returncode:
        raise RuntimeError(f"a node did not start: {said}")


def _wait_for(host: JoinedHost, port: int) -> None:
    """Until something listens there."""

    def knock() -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection((host.address, port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.02)

    host.run(knock).result()
