"""A stream on three hosts while people talk: how soon calls are answered, and what they lose.

    python -m benchmarks.cluster [--calls N]

From the root of the repository, as root, on Linux: the hosts are network namespaces, with a node of
Ray each, and the callers are in a fourth. Needs ``fastrtc[cluster]``.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from tests.e2e.crowds import crowd
from tests.e2e.light_callers import Account
from tests.e2e.ray_hosts import HTTP_PORT, RayHosts, ray_hosts
from tests.e2e.test_cluster_hosts import (
    APPS,
    WITHIN,
    ask,
    deploy,
    home,
    replicas,
    returned,
    silence,
    until,
)

SETTLES: Final = 4.0
"""Seconds until something happens, so that what a start costs is over."""
AFTER: Final = 12.0
"""Seconds for which it is looked at."""
HEAD: Final = (
    "| what happens | calls | offer to answer, median / p95, ms | calls that it hits | others that "
    "lost theirs | silence of those hit, median / longest, s |"
)


def nothing(cluster: RayHosts) -> str:
    return ""


def kill(cluster: RayHosts) -> str:
    os.kill(ask(cluster, 1, "/pid"), signal.SIGKILL)
    return cluster.nodes[1].address


def cut(cluster: RayHosts) -> str:
    cluster.nodes[2].cut_off()
    return cluster.nodes[2].address


def update(cluster: RayHosts) -> str:
    deploy(cluster, [3], wait=False)
    return ""


EVENTS: Final[dict[str, Callable[[RayHosts], str]]] = {
    "nothing": nothing,
    "a replica is killed": kill,
    "a rolling update": update,
    "a host is cut off": cut,
}


def row(name: str, accounts: list[Account], began: float, hit: str) -> str:
    answered = [a.attempts[0].answered for a in accounts if a.attempts[0].answered is not None]
    soon = " / ".join(f"{1000 * np.percentile(answered, share):.0f}" for share in (50, 95))
    lost = returned(accounts, began)
    own = [account for account in lost if home(account, began) == hit]
    gaps = [silence(account, began) for account in own]
    quiet = f"{np.median(gaps):.1f} / {max(gaps):.1f}" if gaps else "-"
    cells = [name, len(accounts), soon, len(own), len(lost) - len(own), quiet]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=60)
    calls = parser.parse_args().calls
    print(HEAD)
    print("|---" * (HEAD.count("|") - 1) + "|")
    with ray_hosts(3) as cluster:
        cluster.call(f"{APPS}:start", port=HTTP_PORT)
        deploy(cluster, [3])
        for name, happen in EVENTS.items():
            urls = [cluster.url(number) for number in range(len(cluster.nodes))]
            with crowd(cluster.outside, urls, calls, WITHIN) as talking:
                time.sleep(SETTLES)
                began = time.monotonic()
                hit = happen(cluster)
                time.sleep(AFTER)
                accounts = talking.accounts()
            print(row(name, accounts, began, hit), flush=True)
            if hit != cluster.nodes[2].address:
                until(lambda: replicas(cluster) == 3 and not replicas(cluster, "STOPPING"))


if __name__ == "__main__":
    main()
