"""A server that is shared, and an environment without secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.transports.house import House, building


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def _house() -> AsyncIterator[House]:
    async with building() as house:
        yield house


@pytest_asyncio.fixture(loop_scope="module")
async def house(_house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    for name in (
        "FASTRTC_SECRET",
        "FASTRTC_URL",
        "FORWARDED_ALLOW_IPS",
        "TWILIO_ACCOUNT_SID",
        "TWILIO_AUTH_TOKEN",
    ):
        monkeypatch.delenv(name, raising=False)
    yield _house
    await _house.clear()
