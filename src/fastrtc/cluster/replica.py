"""One replica: a stream in a process of Ray Serve's."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve

from fastrtc.clock import FrameClock, overloaded
from fastrtc.cluster import presence, router
from fastrtc.cluster.homing import Homing
from fastrtc.cluster.neighbours import Neighbours
from fastrtc.cluster.passing import App, InnerDoor, Messenger, Receive, Scope, Send
from fastrtc.cluster.scaling import CALLS, counted
from fastrtc.cluster.switchboard import Switchboard
from fastrtc.loading import load, load_stream
from fastrtc.server import STALLED, make_app
from fastrtc.stream import Stream
from fastrtc.threads import call_soon, keep
from fastrtc.tracing import flush
from fastrtc.transports.webrtc.place import read_place

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How replicas serve.

    Attributes:
        slots: calls that a replica has room for.
        grace: seconds that calls have to end where a replica leaves.
        media_address: see `read_place`; where it is None, as the environment of each host says.
        media_ports: the same.
    """

    slots: int
    grace: float
    media_address: str | None = None
    media_ports: str | None = None


Source = str | Stream
"""A stream, or ``module:stream``, which each replica reads for itself."""
AppSource = str | Callable[[Stream], FastAPI]
"""What makes the app that a stream is mounted on, or ``module:name`` of that, or of the app."""


class Lifetime:
    """An ASGI app that begins when we are there for the others, and ends when the calls have."""

    def __init__(
        self, app: App, begin: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]]
    ) -> None:
        """``begin`` is awaited before the app's own startup, ``end`` before its shutdown."""
        self._app = app
        self._begin = begin
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, socket or lifespan."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def told() -> Any:
            message = await receive()
            await (self._begin() if message["type"] == "lifespan.startup" else self._end())
            return message

        await self._app(scope, told, send)


class Line:
    """What Serve makes replicas of; see `fastrtc.cluster.deployment`."""

    async def __init__(self, source: Source, app: AppSource | None, settings: Settings) -> None:  # type: ignore[misc] # Serve awaits it
        """Read the stream, and meet the other replicas."""
        _log_as_serve_does()
        self._settings = settings
        context = serve.get_replica_context()
        self._switchboard = Switchboard(context.app_name)
        secret = await self._switchboard.join()
        # Any replica may be asked for the call that another one has announced.
        os.environ.setdefault("FASTRTC_SECRET", secret)
        self.stream = load_stream(source) if isinstance(source, str) else source
        self._replica = context.replica_id.unique_id
        limit = self.stream.concurrency_limit if self.stream.has_limit else None
        self._neighbours = Neighbours(
            self.stream, self._switchboard, self._replica, settings.slots, limit
        )
        self._neighbours.on_drain = self._sees_itself_leave
        self.stream.share(self._neighbours)
        # Another replica answers the telephone calls that one which is gone has lost.
        self.stream.returns.by_default = True
        self.stream.returns.ledger = self._switchboard
        self.stream.media_place = read_place(settings.media_address, settings.media_ports)
        if self.stream.server_rtc_configuration is None:
            # A host of a cluster knows its address, and need not ask for it.
            self.stream.server_rtc_configuration = {"iceServers": []}
        inner = make_app(self.stream) if app is None else _app_of(app, self.stream)
        self._app: App = Homing(inner, self.stream, self._neighbours)
        self._door = InnerDoor(inner, self._neighbours.answer, secret)
        self._messenger = Messenger(secret)
        self._loop = asyncio.get_running_loop()
        self._leaving: asyncio.Task[None] | None = None
        self._reports = 0
        self._presence = own = presence.Presence(self._replica, self._sees_itself_leave)
        presence.watch(
            context.app_name,
            context.deployment,
            lambda running: call_soon(self._loop, own.look, running),
        )

    def __serve_build_asgi_app__(self) -> App:
        """See `ray.serve.ingress`."""
        return Lifetime(self._app, self._arrive, self._depart)

    async def ping(self) -> str:
        """Says which replica this is."""
        return self._replica

    async def check_health(self) -> None:
        """Asked by Serve, which replaces a replica that raises."""
        clock = FrameClock.of(self._loop)
        if clock.overdue >= STALLED:
            raise RuntimeError(f"The frame clock is {clock.overdue:.1f} s late")
        if self._presence.back and not self.stream.connections:
            raise RuntimeError("This replica took itself for one that leaves, and takes no calls")

    async def record_routing_stats(self) -> dict[str, Any]:
        """Asked by Serve for its routers."""
        self._reports += 1
        return {
            router.CALLS: len(self.stream.connections),
            router.PLACES: self._settings.slots,
            router.OPEN: self.stream.refusal is None,
            router.NUMBER: self._reports,
        }

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Asked by Serve for its autoscaler."""
        calls = len(self.stream.connections)
        return {CALLS: float(counted(calls, self._settings.slots, late=overloaded()))}

    async def _arrive(self) -> None:
        address = await self._door.open(_own_address())
        await self._neighbours.open(address, self._messenger)
        keep(self._loop.create_task(self._watch()))

    async def _depart(self) -> None:
        await self._leave()
        # Serve ends the process soon.
        await asyncio.to_thread(flush)
        await self._neighbours.close()
        await self._messenger.close()
        await self._door.close()

    async def _watch(self) -> None:
        """Have a router of our own, which is told of all replicas."""
        context = serve.get_replica_context()
        handle: Any = serve.get_deployment_handle(context.deployment, context.app_name)
        try:
            await handle.ping.remote()
        except Exception:
            logger.exception("This replica will not see itself leave")

    def _sees_itself_leave(self) -> None:
        if self._leaving is None:
            logger.info("This replica leaves: its calls have %g s", self._settings.grace)
            keep(self._loop.create_task(self._leave()))

    async def _leave(self) -> None:
        """Take no more calls, and let those that are live end."""
        if self._leaving is None:
            self._leaving = self._loop.create_task(self.stream.close(self._settings.grace))
            self._neighbours.changed()
        await asyncio.shield(self._leaving)


def _own_address() -> str:
    """That of this host, by which the others of the cluster reach it."""
    return str(ray.util.get_node_ip_address())


def _log_as_serve_does() -> None:
    """What we log goes where Serve's own lines of this replica go."""
    own = logging.getLogger("fastrtc")
    own.setLevel(logging.INFO)
    own.propagate = False
    own.handlers = logging.getLogger("ray.serve").handlers


def _app_of(source: AppSource, stream: Stream) -> FastAPI:
    found = load(source) if isinstance(source, str) else source
    app = found if isinstance(found, FastAPI) or not callable(found) else found(stream)
    if not isinstance(app, FastAPI):
        raise TypeError(f"expected {source!r} to be or to give a FastAPI app, got {app!r:.80}")
    return app
