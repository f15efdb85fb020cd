"""A stream on three hosts, with a node of Ray each, and callers on a fourth. What goes wrong there
goes wrong while people talk.

The tests are in an order: each leaves a stream that takes calls.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.e2e.crowds import Crowd, crowd
from tests.e2e.light_callers import Account
from tests.e2e.ray_hosts import HTTP_PORT, RayHosts
from tests.peers import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

APPS = "tests.e2e.cluster_hosts"
CALLS = 60
WITHIN = 3.0
"""Seconds in which they come."""
SETTLES = 2.0
"""Seconds after a change in which calls must not have noticed it."""
BACK_WITHIN = 12.0
"""Seconds from a death to the end of the silence of who it hit. On a machine of their own it is 2.5
for a killed replica and 4 for a host that is cut off; this one is busy."""
WAIT = 60.0
"""Seconds for Serve to act on a change, on a busy machine."""


@pytest.fixture(scope="module")
def line(cluster: RayHosts) -> RayHosts:
    cluster.call(f"{APPS}:start", port=HTTP_PORT)
    deploy(cluster, [3])
    return cluster


def deploy(cluster: RayHosts, replicas: list[int], **options: Any) -> None:
    cluster.call(f"{APPS}:deploy", replicas=replicas, grace=120, **options)
    # A proxy of each host answers, and from then on replicas know each other.
    until(lambda: all(ask(cluster, number, "/readyz") for number in range(3)))


def ask(cluster: RayHosts, number: int, path: str, **query: str) -> Any:
    """What a route answers a caller at a host's proxy; None if nothing does."""

    def asked() -> Any:
        url = f"{cluster.url(number)}{path}"
        try:
            answer = httpx.get(url, params=query, timeout=5, trust_env=False)
        except httpx.TransportError:
            return None
        return answer.json() if answer.status_code == 200 else None

    return cluster.outside.run(asked).result()


def people(cluster: RayHosts, calls: int = CALLS, hosts: tuple[int, ...] = (0, 1, 2)) -> Any:
    return crowd(cluster.outside, [cluster.url(number) for number in hosts], calls, WITHIN)


def until(condition: Callable[[], bool]) -> None:
    asyncio.run(eventually(condition, WAIT))


def replicas(cluster: RayHosts, state: str = "RUNNING") -> int:
    states: dict[str, int] = cluster.call(f"{APPS}:states")
    return states.get(state, 0)


def home(account: Account, at: float) -> str:
    """The host that somebody talks to at a time."""
    *_, talking = (it for it in account.attempts if it.at < at and not it.error)
    return talking.media[0]


def homes(accounts: list[Account], at: float = float("inf")) -> Counter[str]:
    """How many people talk to which host."""
    return Counter(home(account, at) for account in accounts)


def talk_on(seconds: float) -> None:
    """Let people talk: the time that they do so is what is looked at."""
    time.sleep(seconds)


def finished(talking: Crowd) -> list[Account]:
    """Their accounts, where all of them had their call in the end."""
    accounts = talking.accounts()
    assert [account.id for account in accounts if not account.alive] == []
    return accounts


def returned(accounts: list[Account], since: float) -> list[Account]:
    """Who lost a call after a time."""
    return [a for a in accounts if any(attempt.at > since for attempt in a.attempts[1:])]


def silence(account: Account, since: float) -> float:
    """The longest time for which somebody heard nothing."""
    return max([seconds for at, seconds in account.holes if at + seconds > since], default=0.0)


def test_calls_are_spread_over_the_hosts_and_sound_goes_straight_to_each(line: RayHosts) -> None:
    with people(line) as talking:
        talk_on(SETTLES)
        accounts = finished(talking)
    spread = homes(accounts)
    assert set(spread) == {node.address for node in line.nodes}
    assert min(spread.values()) >= CALLS // 6


def test_a_killed_replica_takes_only_its_own_calls_and_they_come_back(line: RayHosts) -> None:
    with people(line) as talking:
        talk_on(SETTLES)
        began = time.monotonic()
        host, pid = line.nodes[1].address, ask(line, 1, "/pid")
        os.kill(pid, signal.SIGKILL)
        talk_on(BACK_WITHIN)
        accounts = finished(talking)
    lost = returned(accounts, began)
    assert {home(account, began) for account in lost} == {host}
    assert len(lost) == homes(accounts, began)[host]
    assert max(silence(account, began) for account in lost) < BACK_WITHIN
    until(lambda: replicas(line) == 3)


def test_an_update_loses_no_call_and_those_who_come_then_are_served_by_the_new_replicas(
    line: RayHosts,
) -> None:
    before = {ask(line, number % 3, "/pid") for number in range(12)}
    with people(line, 45) as talking:
        talk_on(SETTLES)
        began = time.monotonic()
        deploy(line, [3], wait=False)
        until(lambda: not before & {ask(line, number % 3, "/pid") for number in range(6)})
        with people(line, 15) as late:
            talk_on(SETTLES)
            assert replicas(line, "STOPPING") > 0
            assert returned(finished(late), began) == []
        accounts = finished(talking)
    assert returned(accounts, began) == []
    until(lambda: replicas(line, "STOPPING") == 0)


def test_replicas_come_and_go_with_the_calls_and_lose_none(line: RayHosts) -> None:
    deploy(line, [1, 3], slots=20, patience=1.0)
    until(lambda: replicas(line) == 1)
    with people(line, 6) as few:
        began = time.monotonic()
        with people(line, 24) as many:
            until(lambda: replicas(line) == 3)
            talk_on(SETTLES)
            finished(many)
        until(lambda: replicas(line) == 1)
        talk_on(SETTLES)
        assert returned(finished(few), began) == []


def test_a_host_that_is_cut_off_takes_only_its_own_calls_and_they_come_back(
    line: RayHosts,
) -> None:
    deploy(line, [3])
    with people(line) as talking:
        talk_on(SETTLES)
        began = time.monotonic()
        host = line.nodes[2].address
        line.nodes[2].cut_off()
        try:
            talk_on(BACK_WITHIN)
        finally:
            line.nodes[2].join()
        accounts = finished(talking)
    lost = returned(accounts, began)
    assert {home(account, began) for account in lost} == {host}
    assert len(lost) == homes(accounts, began)[host]
