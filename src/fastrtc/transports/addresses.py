"""Our own addresses as the outside sees them, through whatever proxies stand between."""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Sequence
from typing import Final

from starlette.requests import HTTPConnection

from fastrtc.transports.origin import host_name, is_loopback, is_welcome

logger = logging.getLogger(__name__)

TRUSTED: Final = "FORWARDED_ALLOW_IPS"
"""The variable by which uvicorn knows the proxies that it may believe, addresses or networks; ``*``
for all."""


def outside(connection: HTTPConnection) -> tuple[bool, str]:
    """How the outside reached us: whether over TLS, and the host with its port if it has one."""
    headers = connection.headers
    secure = connection.url.scheme in ("https", "wss")
    host = headers.get("host") or connection.url.netloc
    if _is_from_proxy(connection):
        proto = headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
        secure = proto in ("https", "wss") if proto else secure
        host = headers.get("x-forwarded-host", "").split(",")[0].strip() or host
    return secure, host


def is_from_welcome_page(connection: HTTPConnection, allowed: Sequence[str] | None) -> bool:
    """Whether no page opens this socket, or one that may; see `is_welcome`."""
    origin = connection.headers.get("origin")
    welcome = is_welcome(origin, outside(connection)[1], allowed)
    if not welcome:
        logger.warning(
            "A WebSocket from a page of %.100r was refused: Stream(allowed_origins=[...]) would "
            "let it in",
            origin,
        )
    return welcome


def socket_url(connection: HTTPConnection, path: str) -> str:
    """The address of a socket of ours: over TLS, except on this machine."""
    return f"ws{_place(connection)}{path}"


def page_url(connection: HTTPConnection, path: str) -> str:
    """The address of a page or a webhook of ours: over TLS, except on this machine."""
    return f"http{_place(connection)}{path}"


def as_called(connection: HTTPConnection) -> tuple[str, ...]:
    """The addresses by which the outside may have called this one, the likeliest first.

    A signature covers the address as its sender wrote it; a proxy may have changed the scheme, or
    left the port out.
    """
    secure, host = outside(connection)
    url = connection.url
    path = url.path + (f"?{url.query}" if url.query else "")
    kinds = [("https", "443"), ("http", "80")]
    if connection.scope["type"] == "websocket":
        kinds = [("wss", "443"), ("https", "443"), ("ws", "80"), ("http", "80")]
    if not secure:
        kinds.reverse()
    found = []
    for scheme, port in kinds:
        name = host_name(f"//{host}")
        name = f"[{name}]" if ":" in name else name
        for end in dict.fromkeys((host, f"{name}:{port}", name)):
            # A socket's address is signed with a slash behind it at times.
            found += [f"{scheme}://{end}{path}", f"{scheme}://{end}{path}/"]
    return tuple(found)


def _place(connection: HTTPConnection) -> str:
    """What stands between ``ws`` or ``http`` and the path."""
    secure, host = outside(connection)
    plain = not secure and is_loopback(host_name(f"//{host}"))
    return f"{'' if plain else 's'}://{host}"


def _is_from_proxy(connection: HTTPConnection) -> bool:
    """Whether what is forwarded to us may be believed."""
    client = connection.client
    if client is None:
        return True  # A socket of this machine's file system.
    # A server that trusts the proxy has put the far client in its place, whose port is not known.
    if client.port == 0:
        return True
    trusted = [one.strip() for one in os.environ.get(TRUSTED, "127.0.0.1,::1").split(",")]
    return "*" in trusted or any(_is_within(client.host, one) for one in trusted)


def _is_within(host: str, trusted: str) -> bool:
    """Whether a host is one that is trusted, or in such a network, as ``10.0.0.0/8``."""
    if host == trusted:
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(trusted)
    except ValueError:
        return False  # A name: it is trusted as it is written, or not.
