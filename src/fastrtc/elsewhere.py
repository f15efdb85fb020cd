"""What a stream asks of its replicas on other hosts, where there are some."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

from fastrtc.admission import Refused
from fastrtc.handlers.values import AdditionalOutputs

REFUSED: Final = "fastrtc.refused"
"""What is in the scope of an offer for which no replica has room: a `Refused`. The stream answers
with it, so that the answer comes through all layers of its app."""


class Elsewhere(Protocol):
    """The other replicas of a stream. On the event loop, except `set_input`."""

    @property
    def replica(self) -> str:
        """The id of our own."""

    def changed(self) -> None:
        """A call has come or gone here, or no more are taken."""

    async def reserve(self, call_id: str, identity: Any, *, again: bool) -> None:
        """See that one more call may come in here.

        A call of this id at another replica is in its way, and is ended if its caller has lost it.

        Args:
            call_id: its id.
            identity: who calls.
            again: whether the caller lost a call of this id and comes back.

        Raises:
            Refused: it may not come in.
        """

    async def refusal(self) -> Refused | None:
        """Why no call may come in anywhere now; None while calls are taken."""

    def set_input(self, call_id: str, args: list[Any]) -> None:
        """Give a call of another replica the values of its inputs. From any thread."""

    def outputs(self, call_id: str) -> AsyncIterator[AdditionalOutputs]:
        """The outputs of a call of another replica; ValueError if none has it."""

    async def latest(self, call_id: str) -> AdditionalOutputs:
        """The newest of them; ValueError also if it ended without any."""

    async def figures(self) -> bytes:
        """Those of all replicas, as one page for Prometheus."""
