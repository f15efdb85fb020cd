"""Which pages may open a socket: browsers ask no leave for that, other than for a request."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit


def is_welcome(origin: str | None, host: str, allowed: Sequence[str] | None) -> bool:
    """Whether a page of this origin may open a socket.

    Args:
        origin: the header of that name; programs, and telephone platforms, send none.
        host: the host that was asked for, with or without a port.
        allowed: origins such as ``"https://example.com"``, ``"*"`` for any. None allows the host
            itself, on any port, and for a host of this machine any page of this machine.
    """
    if origin is None:
        return True
    if allowed is not None:
        return "*" in allowed or origin.lower() in {one.lower().rstrip("/") for one in allowed}
    asked, asking = host_name(f"//{host}"), host_name(origin)
    return asking != "" and (asking == asked or (is_loopback(asking) and is_loopback(asked)))


def host_name(url: str) -> str:
    """The host of an address, in lower case and without its port; empty if there is none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
