"""UDP sockets out of a range of ports."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Sequence
from typing import TypeAlias

PortRange: TypeAlias = tuple[int, int]
"""The first port and the last one."""


class NoUdpPort(OSError):
    """No UDP port can be had for a call; the text says why, and what the operator may do."""


class UdpPorts:
    """Opens UDP sockets, each time at the next free port of a range.

    The order goes round, from a port taken by lot: a port rests before it is used again, so that
    what is still on its way to the call before is not taken for the new one's, and processes that
    share a range are seldom in each other's way.
    """

    def __init__(self, ports: PortRange | None) -> None:
        """``ports``: None for those that the system gives out."""
        self._ports = ports
        self._next = 0 if ports is None else random.randint(*ports)

    def open(self, addresses: Sequence[str]) -> list[socket.socket]:
        """Sockets at addresses of this host; in a range they share one number.

        An address that cannot be used at all, such as one that is just going away, has none.

        Raises:
            NoUdpPort: no address can be used, or no port of the range is free at all of them.
        """
        usable = [address for address in addresses if is_own(address)]
        if not usable:
            raise NoUdpPort(
                f"this host has none of the addresses {', '.join(addresses) or '(none)'}"
            )
        if self._ports is None:
            return _bound_all(usable, 0)
        first, last = self._ports
        why = "it is in use"
        for _ in range(first, last + 1):
            port = self._next
            self._next = first if port == last else port + 1
            try:
                return _bound_all(usable, port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    why = str(error)
        raise NoUdpPort(
            f"none of the UDP ports {first} to {last} is free ({why}). Each call takes one, and a "
            "second one while its way is mended: widen the range (--media-ports, "
            "FASTRTC_MEDIA_PORTS), or lower the concurrency_limit"
        )


def is_own(address: str) -> bool:
    """Whether an address is one of this host's, so that a socket can be bound to it."""
    try:
        _bound(address, 0).close()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise  # That says nothing of the address.
        return False
    return True


def _bound_all(addresses: Sequence[str], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            sockets.append(_bound(address, port))  # noqa: PERF401
    except BaseException:
        for one in sockets:
            one.close()
        raise
    return sockets


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.bind((address, port))
    except BaseException:
        opened.close()
        raise
    return opened
