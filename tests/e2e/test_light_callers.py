"""The callers that tests of the cluster use, against a plain server."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.crowds import crowd
from tests.e2e.light_callers import LOST_SECONDS
from tests.e2e.networks import served_on
from tests.hosts import JoinedHost, joined_hosts

pytestmark = pytest.mark.e2e

CALLS = 60
TALK = 4.0


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[JoinedHost]]:
    with joined_hosts(3) as hosts:
        yield hosts


@pytest.fixture
def url(hosts: list[JoinedHost]) -> Iterator[str]:
    """A server of its own for each test: sixty who hang up at once keep one busy for a while."""
    with served_on(hosts[0], hosts[0].address, "async") as url:
        yield url


def test_sixty_callers_come_at_once_and_hear_themselves_without_a_hole(
    hosts: list[JoinedHost], url: str
) -> None:
    with crowd(hosts[1], [url], CALLS, 3.0) as callers:
        time.sleep(TALK)
        accounts = callers.accounts()
    assert len(accounts) == CALLS
    for account in accounts:
        assert account.alive
        (attempt,) = account.attempts
        assert (attempt.error, attempt.media) == ("", [hosts[0].address])
        assert attempt.answered is not None
        # Half of the packets of the shortest call: a busy machine sends them late.
        assert account.packets > 0.5 * 50 * TALK
        assert all(seconds < 1 for _, seconds in account.holes)


def test_callers_whose_server_is_gone_come_back_to_another_one_with_the_same_id(
    hosts: list[JoinedHost], url: str
) -> None:
    server, caller, other = hosts
    with (
        served_on(other, other.address, "async") as lost,
        crowd(caller, [lost, url], 6, 0.5) as callers,
    ):
        time.sleep(1.0)
        gone_at = time.monotonic()
        other.kill()
        time.sleep(TALK)
        accounts = callers.accounts()
    moved, stayed = accounts[::2], accounts[1::2]
    for account in stayed:
        assert [attempt.url for attempt in account.attempts] == [url]
        assert account.alive
    for account in moved:
        assert [attempt.url for attempt in account.attempts] == [lost, url]
        assert account.attempts[-1].media == [server.address]
        assert account.alive
        ((since, seconds),) = account.holes
        assert since == pytest.approx(gone_at, abs=0.3)
        assert LOST_SECONDS < seconds < LOST_SECONDS + 1.0


def test_callers_go_on_to_the_next_address_where_nobody_answers(
    hosts: list[JoinedHost], url: str
) -> None:
    nobody = f"http://{hosts[0].address}:9"
    with crowd(hosts[1], [nobody, url], 2, 0.1) as callers:
        time.sleep(1.5)
        accounts = callers.accounts()
    assert all(account.alive for account in accounts)
    first = accounts[0].attempts
    assert [attempt.url for attempt in first] == [nobody, url]
    assert "refused" in first[0].error
