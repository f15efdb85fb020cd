"""UDP sockets out of a range of ports."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.transports.ports import NoUdpPort, UdpPorts, is_own
from tests.peers import free_ports

LOOPBACK = "127.0.0.1"
SECOND = "127.0.0.2"


def port_of(one: socket.socket) -> int:
    port: int = one.getsockname()[1]
    return port


@contextlib.contextmanager
def held(*addresses: tuple[str, int]) -> Iterator[None]:
    """Ports that others have taken."""
    with contextlib.ExitStack() as stack:
        for address in addresses:
            one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            one.bind(address)
        yield


@given(taken=st.sets(st.integers(0, 7)))
@settings(max_examples=30)
def test_every_free_port_is_given_out_once_and_then_none(taken: set[int]) -> None:
    first, last = free_ports(8)
    ports = UdpPorts((first, last))
    with held(*((LOOPBACK, first + n) for n in taken)), contextlib.ExitStack() as stack:
        given_out = set()
        for _ in range(8 - len(taken)):
            (one,) = ports.open([LOOPBACK])
            stack.enter_context(one)
            given_out.add(port_of(one))
        assert given_out == set(range(first, last + 1)) - {first + n for n in taken}
        with pytest.raises(NoUdpPort, match=f"{first} to {last} is free"):
            ports.open([LOOPBACK])


def test_a_port_that_was_given_back_is_given_out_again() -> None:
    ports = UdpPorts(free_ports(2))
    for _ in range(5):
        with ports.open([LOOPBACK])[0], ports.open([LOOPBACK])[0]:
            pass


def test_a_port_rests_while_others_are_free() -> None:
    ports = UdpPorts(free_ports(4))
    numbers = []
    for _ in range(4):
        with ports.open([LOOPBACK])[0] as one:
            numbers.append(port_of(one))
    assert len(set(numbers)) == 4


def test_all_addresses_have_the_same_port() -> None:
    first, last = free_ports(3)
    with held((LOOPBACK, first), (SECOND, last)):
        one, two = UdpPorts((first, last)).open([LOOPBACK, SECOND])
        with one, two:
            assert one.getsockname() == (LOOPBACK, first + 1)
            assert two.getsockname() == (SECOND, first + 1)


def test_a_port_that_some_address_has_not_free_is_left_as_it_was() -> None:
    first, last = free_ports(2)
    with held((SECOND, first), (SECOND, last)):
        with pytest.raises(NoUdpPort):
            UdpPorts((first, last)).open([LOOPBACK, SECOND])
        with held((LOOPBACK, first), (LOOPBACK, last)):
            pass


def test_without_a_range_the_system_gives_ports_out() -> None:
    one, two = UdpPorts(None).open([LOOPBACK, LOOPBACK])
    with one, two:
        assert port_of(one) != port_of(two)


def test_an_address_that_cannot_be_used_has_no_socket() -> None:
    (one,) = UdpPorts(free_ports(2)).open(["192.0.2.77", LOOPBACK])
    with one:
        assert one.getsockname()[0] == LOOPBACK


@pytest.mark.parametrize("addresses", [[], ["192.0.2.77"]])
def test_without_an_address_of_ours_there_is_no_port(addresses: list[str]) -> None:
    with pytest.raises(NoUdpPort, match="has none of the addresses"):
        UdpPorts(free_ports(2)).open(addresses)


@pytest.mark.parametrize(
    ("address", "own"), [(LOOPBACK, True), ("192.0.2.77", False), ("2001:db8::7", False)]
)
def test_an_address_is_known_to_be_ours(address: str, own: bool) -> None:
    assert is_own(address) is own


def test_a_range_that_is_nearly_used_up_still_gives_its_last_port() -> None:
    first, last = free_ports(200)
    spared = random.Random(1).randrange(first, last + 1)
    with held(*((LOOPBACK, port) for port in range(first, last + 1) if port != spared)):
        (one,) = UdpPorts((first, last)).open([LOOPBACK])
        with one:
            assert port_of(one) == spared
