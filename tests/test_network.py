"""What the bad network of the tests does, on virtual time; and that its hosts reach each other."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.impairment import MOST_HELD, Conditions, Impairment
from tests.network import Line, Network, bad_network

FRAME_SECONDS = 0.02

shares = st.floats(0, 1)
seconds = st.floats(0, 0.5)
conditions = st.builds(
    Conditions, loss=shares, delay=seconds, jitter=seconds, reorder=st.booleans()
)


def sent(impairment: Impairment, count: int) -> list[tuple[float, int]]:
    """Send numbered frames, one every 20 ms; each one's time and number when it arrives."""
    arrived = []
    for number in range(count):
        now = number * FRAME_SECONDS
        while (due := impairment.next_due) is not None and due <= now:
            arrived += [(due, int.from_bytes(frame, "big")) for frame in impairment.pop(due)]
        impairment.push(number.to_bytes(4, "big"), now)
    while (due := impairment.next_due) is not None:
        arrived += [(due, int.from_bytes(frame, "big")) for frame in impairment.pop(due)]
    return arrived


def impaired(wanted: Conditions, seed: int = 1) -> Impairment:
    impairment = Impairment(seed)
    impairment.conditions = wanted
    return impairment


def test_a_good_line_passes_every_frame_at_once() -> None:
    arrived = sent(Impairment(), 100)
    assert arrived == [(number * FRAME_SECONDS, number) for number in range(100)]


@given(loss=shares, seed=st.integers(0, 10_000))
@settings(max_examples=50)
def test_the_share_that_is_lost_is_the_one_that_was_asked_for(loss: float, seed: int) -> None:
    arrived = sent(impaired(Conditions(loss=loss), seed), 2_000)
    # Five standard deviations of a share of 2000, and one frame.
    assert 1 - len(arrived) / 2_000 == pytest.approx(loss, abs=5 * 0.5 / 2_000**0.5)


@given(wanted=conditions, seed=st.integers(0, 10_000))
def test_a_frame_takes_as_long_as_the_conditions_say(wanted: Conditions, seed: int) -> None:
    for at, number in sent(impaired(wanted, seed), 50):
        took = at - number * FRAME_SECONDS
        assert max(0, wanted.delay - wanted.jitter) - 1e-9 <= took
        assert took <= wanted.delay + wanted.jitter + 1e-9


@given(wanted=conditions, seed=st.integers(0, 10_000))
def test_no_frame_is_made_up_or_comes_twice(wanted: Conditions, seed: int) -> None:
    impairment = impaired(wanted, seed)
    numbers = [number for _, number in sent(impairment, 50)]
    assert len(set(numbers)) == len(numbers)
    assert set(numbers) <= set(range(50))
    assert (impairment.passed, impairment.lost) == (len(numbers), 50 - len(numbers))


@given(jitter=seconds, seed=st.integers(0, 10_000))
def test_jitter_alone_keeps_the_order(jitter: float, seed: int) -> None:
    arrived = sent(impaired(Conditions(delay=0.06, jitter=jitter), seed), 50)
    assert [number for _, number in arrived] == list(range(50))


def test_with_reordering_frames_overtake_each_other() -> None:
    arrived = sent(impaired(Conditions(delay=0.06, jitter=0.06, reorder=True)), 500)
    numbers = [number for _, number in arrived]
    assert sorted(numbers) == list(range(500))
    overtaken = sum(a > b for a, b in itertools.pairwise(numbers))
    assert overtaken > 100


@given(wanted=conditions, seed=st.integers(0, 10_000))
def test_the_same_seed_does_the_same_again(wanted: Conditions, seed: int) -> None:
    assert sent(impaired(wanted, seed), 50) == sent(impaired(wanted, seed), 50)


def test_an_outage_loses_what_comes_while_it_lasts_and_nothing_else() -> None:
    impairment = Impairment()
    impairment.cut(1.0, 2.0)
    impairment.push(b"before", 0.5)
    assert impairment.pop(0.5) == []
    impairment = Impairment()
    impairment.push(b"before", 0.9)
    impairment.cut(1.0, 2.0)
    impairment.push(b"while", 1.5)
    impairment.push(b"after", 3.0)
    assert impairment.pop(10.0) == [b"before", b"after"]
    assert impairment.lost == 1


def test_an_outage_that_keeps_its_frames_gives_them_out_in_order_when_it_ends() -> None:
    impairment = Impairment()
    impairment.cut(1.0, 2.0, keep=True)
    for number in range(50):
        impairment.push(bytes([number]), 1.0 + number * FRAME_SECONDS)
    assert impairment.pop(2.99) == []
    assert impairment.next_due == 3.0
    assert impairment.pop(3.0) == [bytes([number]) for number in range(50)]


@given(st.integers(0, 3 * MOST_HELD))
@settings(max_examples=20)
def test_what_it_holds_is_bounded(count: int) -> None:
    impairment = impaired(Conditions(delay=1_000.0))
    for _ in range(count):
        impairment.push(b"", 0.0)
    assert impairment.held == min(count, MOST_HELD)
    assert impairment.lost == max(0, count - MOST_HELD)


@pytest.mark.parametrize(
    "wrong", [{"loss": -0.1}, {"loss": 1.1}, {"delay": -1.0}, {"jitter": -1.0}]
)
def test_conditions_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="and"):
        Conditions(**wrong)


# In real time, with namespaces.

PORT = 7


@pytest.fixture
def network() -> Iterator[Network]:
    """Two callers, and a server that sends each datagram back to where it came from."""
    with bad_network(2) as network, network.server.run(receive_datagrams).result() as receiver:
        answering = network.server.run(lambda: answer_datagrams(receiver))
        yield network
        receiver.sendto(b"", (Network.server_address, PORT))
        answering.result(5)


def receive_datagrams() -> socket.socket:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("", PORT))
    return receiver


def answer_datagrams(receiver: socket.socket) -> None:
    """Until one is empty."""
    while True:
        datagram, sender = receiver.recvfrom(100)
        if not datagram:
            return
        receiver.sendto(sender[0].encode(), sender)


def asked(line: Line, count: int, wait: float = 0.3) -> list[tuple[float, str]]:
    """Send datagrams, one after the other: how long each one's answer took, and whom it names."""

    def ask() -> list[tuple[float, str]]:
        answers = []
        for _ in range(count):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
                caller.settimeout(wait)
                began = time.monotonic()
                caller.sendto(b"?", (Network.server_address, PORT))
                try:
                    answer = caller.recv(100).decode()
                except TimeoutError:
                    continue
                answers.append((time.monotonic() - began, answer))
        return answers

    return line.run(ask).result()


def test_two_callers_reach_the_server_and_have_lines_of_their_own(network: Network) -> None:
    bad, good = network.lines
    bad.impair(delay=0.05)
    asked(bad, 1)  # The first one waits for the server's hardware address too.
    assert min(took for took, _ in asked(bad, 5)) >= 0.1
    assert sorted(took for took, _ in asked(good, 5))[2] < 0.05


def test_frames_are_lost_in_the_direction_that_was_asked_for(network: Network) -> None:
    line = network.lines[0]
    asked(line, 1)
    line.impair(loss=0.5, up=False)
    assert 10 < len(asked(line, 50, wait=0.02)) < 40
    line.impair()
    assert len(asked(line, 50)) == 50


def test_nothing_passes_until_an_outage_is_over(network: Network) -> None:
    line = network.lines[0]
    assert len(asked(line, 1)) == 1
    line.cut(0.5)
    began = time.monotonic()
    assert asked(line, 1) == []
    while not asked(line, 1, wait=0.05):
        assert time.monotonic() < began + 2
    assert time.monotonic() - began > 0.45


def test_a_caller_that_moves_is_reached_at_its_new_address(network: Network) -> None:
    line = network.lines[0]
    before = line.address
    assert [name for _, name in asked(line, 1)] == [before]
    line.move()
    assert line.address != before
    assert [name for _, name in asked(line, 1)] == [line.address]


def test_everything_is_given_back_after_a_failure() -> None:
    before = namespaces()

    def fail() -> None:
        with bad_network():
            assert len(namespaces() - before) == 2
            raise RuntimeError("a test fails")

    with pytest.raises(RuntimeError, match="a test fails"):
        fail()
    assert namespaces() - before == set()


def namespaces() -> set[str]:
    """Those of this process."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.split() if name.startswith(f"test{os.getpid()}-")}
