"""Where media are reached, between hosts: one with two addresses, one behind a NAT, and IPv6."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from typing import Any, Final

import httpx
import numpy as np
import pytest

from tests.bridge import INTERFACE, ip
from tests.conftest import Sound
from tests.e2e.networks import served
from tests.network import Line, Network, bad_network
from tests.peers import Caller, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

SECOND: Final = "10.77.0.2"
PUBLIC: Final = "203.0.113.7"
"""Outside of the network, so that callers send what is for it by way of the server's line."""
SERVER_6: Final = "fd77::1"
CALLER_6: Final = "fd77::2"
PORTS: Final = (50_000, 50_009)
CALL_SECONDS: Final = 40


@contextlib.contextmanager
def hosts(public: str | None = None) -> Iterator[Network]:
    """A server of two addresses, and of IPv6, and a caller."""
    with bad_network(1, public) as network:
        server, caller = network.server.namespace, network.lines[0].namespace
        ip("-n", server, "addr", "add", f"{SECOND}/16", "dev", INTERFACE)
        for namespace, address in ((server, SERVER_6), (caller, CALLER_6)):
            ip("-n", namespace, "addr", "add", f"{address}/64", "dev", INTERFACE, "nodad")
        yield network


def call(url: str, line: Line, said: Sound) -> tuple[set[tuple[str, int]], tuple[str, int]]:
    """Make a call to an echo, which must be heard.

    Returns:
        The addresses and ports of the server's candidates, and the one that the caller sends to.
    """

    async def made() -> tuple[set[tuple[str, int]], tuple[str, int]]:
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:
            caller = Caller(http)
            await caller.connect()
            await caller.say(said)
            await eventually(lambda: np.abs(caller.sound()).max(initial=0) > 1_000)
            sdp = caller.connection.remoteDescription.sdp
            found = re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host\r\n", sdp)
            transport: Any = caller.connection.sctp
            pair = transport.transport.transport._connection._nominated[1]
            await caller.hang_up()
            return {(host, int(port)) for host, port in found}, pair.remote_addr

    return line.run(lambda: asyncio.run(made())).result(CALL_SECONDS)


@pytest.mark.parametrize("address", [Network.server_address, SECOND, SERVER_6])
def test_a_server_of_several_addresses_is_reached_at_the_one_that_was_chosen(
    address: str, phrase: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTRTC_MEDIA_ADDRESS", address)
    monkeypatch.setenv("FASTRTC_MEDIA_PORTS", f"{PORTS[0]}-{PORTS[1]}")
    with hosts() as network, served(network, "echo") as url:
        candidates, used = call(url, network.lines[0], phrase)
    assert candidates == {used}
    assert used[0] == address
    assert PORTS[0] <= used[1] <= PORTS[1]


def test_without_a_place_all_addresses_are_offered(phrase: Sound) -> None:
    with hosts() as network, served(network, "echo") as url:
        candidates, _ = call(url, network.lines[0], phrase)
    assert {host for host, _ in candidates} == {Network.server_address, SECOND, SERVER_6}


def test_a_server_behind_a_nat_is_reached_at_its_public_address(
    phrase: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTRTC_MEDIA_ADDRESS", PUBLIC)
    monkeypatch.setenv("FASTRTC_MEDIA_PORTS", f"{PORTS[0]}-{PORTS[1]}")
    with hosts(PUBLIC) as network, served(network, "echo") as url:
        candidates, used = call(url, network.lines[0], phrase)
    assert candidates == {used}
    assert used[0] == PUBLIC
    assert PORTS[0] <= used[1] <= PORTS[1]
