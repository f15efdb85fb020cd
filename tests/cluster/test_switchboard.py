"""What the actor that all replicas ask has of its own."""

from __future__ import annotations

import pytest

pytest.importorskip("ray")

from fastrtc.cluster.switchboard import SwitchboardActor


async def test_one_that_is_started_again_has_the_secret_of_the_first() -> None:
    # Ray starts it again with what it was given at first.
    given = ("the secret",)
    assert await SwitchboardActor(*given).join() == await SwitchboardActor(*given).join()
