"""Serve's way to a replica, for what has no home yet: sockets, pages, the first request of a call.

The routers of Serve's proxies send a socket to where there is room, and that of each replica knows
when that is about to go.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any, Final

from ray.serve.request_router import (
    FIFOMixin,
    LocalityMixin,
    PendingRequest,
    RequestRouter,
    RunningReplica,
)

CALLS: Final = "calls"
PLACES: Final = "places"
OPEN: Final = "open"
NUMBER: Final = "number"
"""What a replica reports of itself to the routers: how many calls it has, and has room for, whether
it takes more, and which of its reports this is."""
CLOSED: Final = 1_000.0
"""The load of a replica that takes no more calls."""
SILENT: Final = 3.0
"""Seconds without a new report after which a replica is taken for cut off: they come every second,
and Ray itself waits longer until it calls a node dead."""
NEARLY: Final = 0.1
"""What the load of a replica on this host may be above the least, for a socket that becomes a call
there. Other requests stay on their host, where they do not hang on the network between hosts: what
they begin is placed by the board."""


class CallRouter(FIFOMixin, LocalityMixin, RequestRouter):
    """Chooses a replica on the same host, or else the one with fewer calls out of two."""

    def initialize_state(self, **kwargs: Any) -> None:
        """See `RequestRouter`."""
        self._sent: dict[str, tuple[Any, int]] = {}
        """Sockets that were sent to a replica since the report of this number, which does not have
        them."""
        self._heard: dict[str, tuple[Any, float]] = {}
        """The number of a replica's newest report, and when it came."""

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """See `RequestRouter`."""
        super().update_replicas(replicas)
        running = frozenset(it.replica_id.unique_id for it in replicas)
        now = time.monotonic()
        for replica in replicas:
            name, number = replica.replica_id.unique_id, replica.routing_stats.get(NUMBER)
            if name not in self._heard or self._heard[name][0] != number:
                self._heard[name] = number, now
        self._heard = {name: heard for name, heard in self._heard.items() if name in running}
        self._sent = {name: sent for name, sent in self._sent.items() if name in running}
        # Serve copies this module into a process, with what is in it: only another one is shared
        # with our replica, and is there in no other process.
        presence = sys.modules.get("fastrtc.cluster.presence")
        if presence is not None:
            presence.tell(self._deployment_id.app_name, self._deployment_id.name, running)

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """See `RequestRouter`."""
        if not candidate_replicas:
            return []
        two = random.sample(candidate_replicas, min(2, len(candidate_replicas)))
        rest = [it for it in candidate_replicas if it not in two]
        ranked = sorted(two, key=self._load) + sorted(rest, key=self._load)
        calls = _is_socket(pending_request)
        limit = self._load(ranked[0]) + NEARLY if calls else CLOSED - 1
        here = [it for it in ranked if it.node_id == self._self_node_id and self._load(it) <= limit]
        ranked = [*here, *(it for it in ranked if it not in here)]
        if calls:
            self._note_sent(ranked[0])
        return [[it] for it in ranked]

    def _note_sent(self, replica: RunningReplica) -> None:
        number, sent = replica.routing_stats.get(NUMBER), self._sent_to(replica)
        self._sent[replica.replica_id.unique_id] = number, sent + 1

    def _load(self, replica: RunningReplica) -> float:
        stats = replica.routing_stats
        _, heard = self._heard.get(replica.replica_id.unique_id, (None, float("inf")))
        if not stats.get(OPEN, True) or heard < time.monotonic() - SILENT:
            return CLOSED
        return float((stats.get(CALLS, 0) + self._sent_to(replica)) / stats.get(PLACES, 1))

    def _sent_to(self, replica: RunningReplica) -> int:
        number, sent = self._sent.get(replica.replica_id.unique_id, (None, 0))
        return sent if number == replica.routing_stats.get(NUMBER) else 0


def _is_socket(request: PendingRequest | None) -> bool:
    # What Serve's proxies send; anything else is no socket.
    given = None if request is None or not request.args else request.args[0]
    scope: Any = getattr(given, "asgi_scope", None)
    return isinstance(scope, dict) and scope.get("type") == "websocket"
