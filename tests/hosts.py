"""Hosts on one switch, each in a network namespace with an address of its own.

The switch is a bridge of the kernel, in a namespace too, so that nothing is left in the network of
this machine. Its lines are as good as the kernel's; for bad ones see `tests.network`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.bridge import INTERFACE, ip
from tests.conftest import missing
from tests.network import Host

SWITCH: Final = "switch"
LEAVE_SECONDS: Final = 10.0
"""How long what has been killed may take to be gone."""
_OURS: Final = re.compile(r"hosts(\d+)-\d+-")
"""How our namespaces are called: with the process that made them, which may have died since."""
_numbers = itertools.count()


class JoinedHost(Host):
    """A host, and its line to the switch."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(f"{name}-host{number}")
        self.address = f"10.78.0.{1 + number}"
        self._switch = f"{name}-{SWITCH}"
        self._port = f"port{number}"

    def cut_off(self) -> None:
        """Let nothing through to it or from it. It does not notice, as if a switch had failed."""
        ip("-n", self._switch, "link", "set", self._port, "nomaster")

    def join(self) -> None:
        """Let everything through again."""
        ip("-n", self._switch, "link", "set", self._port, "master", SWITCH)

    def processes(self) -> list[int]:
        """The ids of the processes that run here."""
        return _processes(self.namespace)

    def kill(self) -> None:
        """End all of them at once, as if its power had failed."""
        _kill(self.namespace)

    def _set_up(self) -> None:
        here, switch = ("-n", self.namespace), ("-n", self._switch)
        ip("netns", "add", self.namespace)
        peer = ("peer", "name", INTERFACE, "netns", self.namespace)
        ip(*switch, "link", "add", self._port, "type", "veth", *peer)
        ip(*switch, "link", "set", self._port, "addrgenmode", "none", "up")
        ip(*here, "link", "set", "lo", "up")
        ip(*here, "link", "set", INTERFACE, "addrgenmode", "none", "up")
        ip(*here, "addr", "add", f"{self.address}/16", "dev", INTERFACE)
        # Programs ask for their address by a connection to the outside.
        ip(*here, "route", "add", "default", "dev", INTERFACE)
        self.join()


@contextlib.contextmanager
def joined_hosts(count: int) -> Iterator[list[JoinedHost]]:
    """So many hosts that reach each other. When this ends, what runs on them is killed."""
    if sys.platform != "linux" or os.geteuid():
        missing("root on Linux, for network namespaces,")
    if not shutil.which("ip"):
        missing("ip (of iproute2), for network namespaces,")
    _clear_up()
    name = f"hosts{os.getpid()}-{next(_numbers)}"
    try:
        try:
            hosts = _set_up(name, count)
        except subprocess.CalledProcessError as error:
            missing(f"a right to network namespaces ({error.stderr.strip()})")
        yield hosts
    finally:
        _take_down(f"{name}-")


def _set_up(name: str, count: int) -> list[JoinedHost]:
    switch = f"{name}-{SWITCH}"
    ip("netns", "add", switch)
    ip("-n", switch, "link", "add", SWITCH, "type", "bridge")
    ip("-n", switch, "link", "set", SWITCH, "up")
    hosts = [JoinedHost(name, number) for number in range(count)]
    for host in hosts:
        host._set_up()
    return hosts


def _clear_up() -> None:
    """Take down what earlier runs have left that were killed."""
    owners = {int(found[1]) for name in _namespaces() if (found := _OURS.match(name))}
    for owner in owners:
        if not Path(f"/proc/{owner}").exists():
            _take_down(f"hosts{owner}-")


def _take_down(prefix: str) -> None:
    """Delete the namespaces whose names begin so, and kill what runs in them."""
    for namespace in _namespaces():
        if namespace.startswith(prefix):
            _kill(namespace)
            ip("netns", "delete", namespace)


def _namespaces() -> list[str]:
    folder = Path("/run/netns")
    return sorted(file.name for file in folder.iterdir()) if folder.exists() else []


def _processes(namespace: str) -> list[int]:
    command = ["ip", "netns", "pids", namespace]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [int(process) for process in said.split()]


def _kill(namespace: str) -> None:
    deadline = time.monotonic() + LEAVE_SECONDS
    # Until there are none: what is killed may just have started another one.
    while processes := _processes(namespace):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"{namespace} still runs {processes}")
        time.sleep(0.01)
