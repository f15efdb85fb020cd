"""A bad network on this machine: a server and callers in network namespaces of their own.

What makes it bad is a program of ours between them (`tests.bridge`), not the kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, TypeVar

from tests.bridge import (
    CLONE_NEWNET,
    INTERFACE,
    SERVER_ADDRESS,
    caller_address,
    caller_name,
    give_address,
    ip,
    server_name,
    take_down,
)
from tests.conftest import missing
from tests.impairment import Conditions

T = TypeVar("T")

ROOT = Path(__file__).parents[1]
_numbers = itertools.count()


class Host:
    """One end of the network."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def command(self, *arguments: str) -> list[str]:
        """A command, to be run on this host."""
        return ["ip", "netns", "exec", self.namespace, *arguments]

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Call a function on a thread whose sockets, and those it starts threads for, are here."""
        future: Future[T] = Future()

        def on_thread() -> None:
            try:
                _enter(self.namespace)
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=on_thread, name=self.namespace, daemon=True).start()
        return future


class Line(Host):
    """A caller, and its line to the server, which can be made worse while a call runs."""

    def __init__(self, name: str, number: int, orders: IO[str]) -> None:
        super().__init__(caller_name(name, number))
        self._number = number
        self._orders = orders
        self._moves = 0

    @property
    def address(self) -> str:
        return caller_address(self._number, self._moves)

    def impair(
        self,
        *,
        loss: float = 0.0,
        delay: float = 0.0,
        jitter: float = 0.0,
        reorder: bool = False,
        up: bool = True,
        down: bool = True,
    ) -> None:
        """Set the conditions (see `Conditions`), in both directions or in one of them."""
        conditions = Conditions(loss, delay, jitter, reorder)
        self._order(up=up, down=down, conditions=asdict(conditions))

    def cut(
        self, seconds: float, *, keep: bool = False, up: bool = True, down: bool = True
    ) -> None:
        """Let nothing through for so long (see `Impairment.cut`)."""
        self._order(up=up, down=down, seconds=seconds, keep=keep)

    def move(self) -> None:
        """Take the caller's address away and give it another one."""
        ip("-n", self.namespace, "addr", "flush", "dev", INTERFACE)
        self._moves += 1
        give_address(self.namespace, self.address)

    def _order(self, **order: Any) -> None:
        print(json.dumps({"caller": self._number, **order}), file=self._orders, flush=True)


class Network:
    """A server and its callers."""

    server_address = SERVER_ADDRESS

    def __init__(self, name: str, callers: int, orders: IO[str]) -> None:
        self.server = Host(server_name(name))
        self.lines = [Line(name, number, orders) for number in range(callers)]


@contextlib.contextmanager
def bad_network(callers: int = 1, public: str | None = None) -> Iterator[Network]:
    """A network with so many callers. Nothing is bad until it is asked for.

    ``public``: an address outside of the network by which callers reach the UDP ports of the
    server; it knows nothing of it, as a NAT translates.
    """
    if sys.platform != "linux" or os.geteuid():
        missing("root on Linux, for network namespaces,")
    if not shutil.which("ip"):
        missing("ip (of iproute2), for network namespaces,")
    name = f"test{os.getpid()}-{next(_numbers)}"
    command = [sys.executable, "-m", "tests.bridge", name, str(callers)]
    command += [] if public is None else [public]
    bridge = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # So that a Ctrl-C leaves it the time to take everything down.
    )
    assert bridge.stdin is not None
    assert bridge.stdout is not None
    assert bridge.stderr is not None
    with bridge:
        try:
            if bridge.stdout.readline() != "ready\n":
                missing(f"a right to network namespaces ({bridge.stderr.read().strip()})")
            yield Network(name, callers, bridge.stdin)
        finally:
            with contextlib.suppress(BrokenPipeError):
                bridge.stdin.close()
            try:
                bridge.wait(10)
            except subprocess.TimeoutExpired:
                bridge.kill()
                bridge.wait()
            # It does so itself, unless it was killed.
            take_down(name, callers)


def _enter(namespace: str) -> None:
    """Move this thread into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
