"""Hosts on one switch: that they reach each other, can be cut off, and leave nothing behind."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.hosts import JoinedHost, joined_hosts
from tests.network import ROOT

PORT = 9
KILLED_RUN = """
import os
from tests.hosts import joined_hosts
from tests.test_hosts import sleeping
with joined_hosts(1) as hosts:
    print(hosts[0].namespace, sleeping(hosts[0]).pid, flush=True)
    os._exit(1)
"""
"""A run that is killed: its host, and a process on it, stay."""


@pytest.fixture
def hosts() -> Iterator[list[JoinedHost]]:
    with joined_hosts(3) as hosts:
        yield hosts


def reaches(caller: JoinedHost, called: JoinedHost) -> bool:
    """Whether packets go there and back: a port where nobody listens refuses."""

    def knock() -> bool:
        try:
            with socket.create_connection((called.address, PORT), 0.5):
                return True
        except ConnectionRefusedError:
            return True
        except OSError:
            return False

    return caller.run(knock).result()


def sleeping(host: JoinedHost) -> subprocess.Popen[bytes]:
    """A program that would run for long."""
    program = "print(flush=True); import time; time.sleep(1000)"
    command = host.command(sys.executable, "-c", program)
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_all_hosts_reach_each_other(hosts: list[JoinedHost]) -> None:
    assert all(reaches(caller, called) for caller in hosts for called in hosts)


def test_a_host_that_is_cut_off_is_reached_by_nobody_and_reaches_nobody(
    hosts: list[JoinedHost],
) -> None:
    away, *others = hosts
    away.cut_off()
    assert not any(reaches(other, away) or reaches(away, other) for other in others)
    assert reaches(away, away)
    assert reaches(*others)


def test_a_host_that_joins_again_is_reached(hosts: list[JoinedHost]) -> None:
    hosts[0].cut_off()
    hosts[0].join()
    assert reaches(hosts[0], hosts[1])
    assert reaches(hosts[1], hosts[0])


def test_what_is_killed_is_what_runs_on_the_host_and_nothing_else(
    hosts: list[JoinedHost],
) -> None:
    with sleeping(hosts[0]) as killed, sleeping(hosts[1]) as other:
        assert hosts[0].processes() == [killed.pid]
        hosts[0].kill()
        assert killed.wait(5) < 0
        assert hosts[0].processes() == []
        assert other.poll() is None
        other.kill()


def test_what_runs_on_hosts_ends_with_them() -> None:
    with joined_hosts(1) as hosts:
        process = sleeping(hosts[0])
    with process:
        assert process.wait(5) < 0
    assert not Path(f"/run/netns/{hosts[0].namespace}").exists()


@pytest.mark.usefixtures("hosts")
def test_what_a_killed_run_has_left_goes_with_the_next_one() -> None:
    command = [sys.executable, "-c", KILLED_RUN]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        namespace, process = run.stdout.readline().split()
    assert Path(f"/run/netns/{namespace}").exists()
    with joined_hosts(1):
        assert not Path(f"/run/netns/{namespace}").exists()
        # Whoever is its parent now may not have looked after it yet.
        left = [p for p in psutil.process_iter() if p.pid == int(process)]
        assert all(p.status() == psutil.STATUS_ZOMBIE for p in left)
