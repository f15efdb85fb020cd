"""What tests of a cluster share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fastrtc.cluster import neighbours
from tests.cluster.house import House, house
from tests.cluster.talkers import Echo


@pytest.fixture(autouse=True)
def _prompt_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas report as soon as they have something to report."""
    monkeypatch.setattr(neighbours, "AT_MOST_EVERY", 0.005)


@pytest.fixture
async def two() -> AsyncIterator[House]:
    """Two replicas that real callers can talk to, with a place for one call each."""
    async with house(2, slots=1, handler=Echo(), engine="auto") as there:
        yield there
