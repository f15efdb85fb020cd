"""What several of these tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.ray_hosts import RayHosts, ray_hosts


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayHosts]:
    """Three hosts with a node of Ray each, and a fourth for callers. It takes about 10 s."""
    with ray_hosts(3) as cluster:
        yield cluster
