"""Where the media of a server is reached: an address, and a range of UDP ports."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastrtc.transports.ports import PortRange

ADDRESS_VARIABLE: Final = "FASTRTC_MEDIA_ADDRESS"
PORTS_VARIABLE: Final = "FASTRTC_MEDIA_PORTS"
LEAST_PORTS: Final = 2
"""A call takes one port, and a second one while its way is mended."""
HIGHEST_PORT: Final = 65_535


@dataclass(frozen=True)
class MediaPlace:
    """Where callers reach the media of a server.

    Attributes:
        address: the IP address that they are told. One of this host's own is the only one that
            is used; any other is that of a NAT which hands on to this host, port by port. None
            for all addresses of this host, and what a STUN server says.
        ports: the first and the last UDP port for calls; None for those that the system gives
            out.

    Raises:
        ValueError: it is no address, or no range, that calls can be reached at.
    """

    address: str | None = None
    ports: PortRange | None = None

    def __post_init__(self) -> None:
        if self.address is not None:
            # As sockets write it, of the many ways to write an IPv6 address.
            object.__setattr__(self, "address", _read_address(self.address))
        if self.ports is not None:
            _check_ports(*self.ports)


def parse_ports(text: str) -> PortRange:
    """Read ``FIRST-LAST``.

    Raises:
        ValueError: it is no range of ports.
    """
    found = re.fullmatch(r"\s*([0-9]{1,5})\s*-\s*([0-9]{1,5})\s*", text)
    if found is None:
        raise ValueError(f"expected ports as FIRST-LAST, such as 50000-50199, got {text[:40]!r}")
    first, last = int(found[1]), int(found[2])
    _check_ports(first, last)
    return first, last


def read_place(
    address: str | None = None,
    ports: str | PortRange | None = None,
    environment: Mapping[str, str] = os.environ,
) -> MediaPlace:
    """The place that was asked for; what was not is as the environment says.

    Args:
        address: an IP address; otherwise ``FASTRTC_MEDIA_ADDRESS``.
        ports: two numbers, or ``"FIRST-LAST"``; otherwise ``FASTRTC_MEDIA_PORTS``.
        environment: in the place of the process's own.

    Raises:
        ValueError: see `MediaPlace`; the text names the variable if it is that one's fault.
    """
    given = MediaPlace(address, parse_ports(ports) if isinstance(ports, str) else ports)
    try:
        named = ADDRESS_VARIABLE
        if given.address is None and (text := environment.get(named, "").strip()):
            given = MediaPlace(text, given.ports)
        named = PORTS_VARIABLE
        if given.ports is None and (text := environment.get(named, "").strip()):
            given = MediaPlace(given.address, parse_ports(text))
    except ValueError as error:
        raise ValueError(f"{named}: {error}") from None
    return given


def _read_address(given: str) -> str:
    try:
        address = ipaddress.ip_address(given)
    except ValueError:
        # Not looked up: a name may have several addresses, and others tomorrow.
        raise ValueError(
            f"expected an IP address that callers reach, got {given[:100]!r}; a host's name is "
            "not looked up"
        ) from None
    scoped = isinstance(address, ipaddress.IPv6Address) and (
        address.scope_id is not None or address.ipv4_mapped is not None
    )
    if address.is_unspecified or address.is_multicast or scoped:
        raise ValueError(f"expected the IP address of one host, as callers reach it, got {given!r}")
    return str(address)


def _check_ports(first: int, last: int) -> None:
    if not 1 <= first <= last <= HIGHEST_PORT:
        raise ValueError(f"expected ports of 1 to {HIGHEST_PORT}, in order, got {first}-{last}")
    if last - first + 1 < LEAST_PORTS:
        raise ValueError(
            f"expected at least {LEAST_PORTS} ports, as a call takes a second one while its way "
            f"is mended, got {first}-{last}"
        )
