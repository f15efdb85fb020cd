"""The middle of a bad network: `python -m tests.bridge NAME CALLERS [PUBLIC]`, as root, on Linux.

It makes a namespace for a server and one for each caller, and carries frames between them through
`Impairment`s, in user space: not every kernel has `tc netem`. With a public address the server's
datagrams pass a NAT. Orders come as JSON lines on standard input; when that is closed, everything
is taken down.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import socket
import subprocess
import sys
import time
from typing import Any, Final

from tests.impairment import Conditions, Impairment
from tests.nat import Nat

CLONE_NEWNET: Final = 0x40000000
ETH_P_ALL: Final = 3
SOL_PACKET: Final = 263
PACKET_VNET_HDR: Final = 15
PACKET_IGNORE_OUTGOING: Final = 23
HEAD: Final = 10
"""Bytes that the kernel puts before each frame: what is left to be done of checksum and cutting."""
LARGEST: Final = 1 << 17
"""Bytes; TCP hands over up to 64 KB as one frame."""
BUFFER: Final = 1 << 22
INTERFACE: Final = "eth0"
SERVER_ADDRESS: Final = "10.77.0.1"


def server_name(name: str) -> str:
    """The server's namespace."""
    return f"{name}-server"


def caller_name(name: str, number: int) -> str:
    """A caller's namespace."""
    return f"{name}-caller{number}"


def caller_address(number: int, moves: int = 0) -> str:
    """A caller's address after so many changes of it."""
    return f"10.77.{1 + moves}.{1 + number}"


def ip(*arguments: str) -> None:
    """Run `ip`; CalledProcessError with what it said if that fails."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def give_address(namespace: str, address: str) -> None:
    """Let a host have an address, and reach all others by it."""
    ip("-n", namespace, "addr", "add", f"{address}/16", "dev", INTERFACE)
    ip("-n", namespace, "route", "replace", "default", "via", SERVER_ADDRESS)


def take_down(name: str, callers: int) -> None:
    """Delete the namespaces that are there."""
    for namespace in [server_name(name), *(caller_name(name, n) for n in range(callers))]:
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("netns", "delete", namespace)


class Port:
    """Our end of the line of one host."""

    def __init__(self, namespace: str, number: int, address: str) -> None:
        near = f"host{number}"
        self.mac = bytes([2, 0, 0, 0, 0, number])
        ip("netns", "add", namespace)
        ip("link", "add", near, "type", "veth", "peer", "name", INTERFACE, "netns", namespace)
        ip("link", "set", near, "addrgenmode", "none", "up")
        ip("-n", namespace, "link", "set", "lo", "up")
        far = ("-n", namespace, "link", "set", INTERFACE)
        ip(*far, "address", self.mac.hex(":"), "addrgenmode", "none", "up")
        give_address(namespace, address)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setblocking(False)
        self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.socket.bind((near, ETH_P_ALL))

    def take(self) -> list[bytes]:
        """The frames that have come from the host."""
        frames = []
        with contextlib.suppress(BlockingIOError):
            while True:
                frames.append(self.socket.recv(LARGEST))
        return frames

    def give(self, frames: list[bytes]) -> None:
        """Hand frames to the host."""
        for frame in frames:
            # What does not fit is lost, as on any line.
            with contextlib.suppress(OSError):
                self.socket.send(frame)


class Bridge:
    """Carries frames between the server and the callers."""

    def __init__(self, name: str, callers: int, nat: Nat | None) -> None:
        self._nat = nat
        self._server = Port(server_name(name), 0, SERVER_ADDRESS)
        self._callers = [
            Port(caller_name(name, n), 1 + n, caller_address(n)) for n in range(callers)
        ]
        self._up = [Impairment(seed=2 * n) for n in range(callers)]
        self._down = [Impairment(seed=2 * n + 1) for n in range(callers)]

    def run(self) -> None:
        """Until standard input is closed."""
        poll = select.poll()
        for port in [self._server, *self._callers]:
            poll.register(port.socket, select.POLLIN)
        poll.register(sys.stdin, select.POLLIN)
        orders = b""
        while True:
            ready = {number for number, _ in poll.poll(self._wait())}
            now = time.monotonic()
            if sys.stdin.fileno() in ready:
                said = os.read(sys.stdin.fileno(), LARGEST)
                if not said:
                    return
                *lines, orders = (orders + said).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line), now)
            self._carry(now)

    def _wait(self) -> float | None:
        """Milliseconds until the next frame arrives."""
        dues = [i.next_due for i in [*self._up, *self._down] if i.next_due is not None]
        return max(0.0, 1000 * (min(dues) - time.monotonic())) if dues else None

    def _obey(self, order: dict[str, Any], now: float) -> None:
        for direction, impairments in (("up", self._up), ("down", self._down)):
            if not order[direction]:
                continue
            impairment = impairments[order["caller"]]
            if "conditions" in order:
                impairment.conditions = Conditions(**order["conditions"])
            else:
                impairment.cut(now, order["seconds"], keep=order["keep"])

    def _carry(self, now: float) -> None:
        for port, up in zip(self._callers, self._up, strict=True):
            for frame in port.take():
                up.push(frame, now)
            arrived = up.pop(now)
            if self._nat is not None:
                arrived = [self._nat.inward(frame) for frame in arrived]
            self._server.give(arrived)
        for sent in self._server.take():
            frame = sent if self._nat is None else self._nat.outward(sent)
            to = frame[HEAD : HEAD + 6]
            for port, down in zip(self._callers, self._down, strict=True):
                if to == port.mac or to[0] & 1:  # To it, or to everybody.
                    down.push(frame, now)
        for port, down in zip(self._callers, self._down, strict=True):
            port.give(down.pop(now))


def main() -> None:
    name, callers = sys.argv[1], int(sys.argv[2])
    libc = ctypes.CDLL(None, use_errno=True)
    # Our own ends lie in a namespace without a name, which ends with this process.
    if libc.unshare(CLONE_NEWNET):
        sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
    try:
        nat = Nat(SERVER_ADDRESS, sys.argv[3], HEAD) if len(sys.argv) > 3 else None
        bridge = Bridge(name, callers, nat)
        print("ready", flush=True)
        bridge.run()
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(error.cmd)}: {error.stderr}")
    finally:
        take_down(name, callers)


if __name__ == "__main__":
    main()
