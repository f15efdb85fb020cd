"""A server of one stream: the page, the routes, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from fastapi import APIRouter, FastAPI, HTTPException, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse

from fastrtc.clock import FrameClock
from fastrtc.stream import Stream
from fastrtc.threads import call_soon, keep
from fastrtc.transports.sockets.line import LARGEST_MESSAGE

WEB: Final = Path(__file__).parent / "web"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".ts": "text/plain; charset=utf-8",
}
FILES: Final = {
    place.name: place.read_bytes() for place in sorted(WEB.iterdir()) if place.suffix in TYPES
}
"""The page: few files, read once, so that a request touches no disk."""
STALLED: Final = 5.0
"""Seconds without a tick of the clock, after which a process is no longer healthy."""
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")

logger = logging.getLogger(__name__)


def make_app(stream: Stream) -> FastAPI:
    """An app that serves a stream and its page."""
    app = FastAPI(title=stream.ui_args.get("title", "FastRTC"))
    stream.mount(app)
    add_page(app, stream)
    add_health(app, stream)
    return app


def add_page(
    app: FastAPI,
    stream: Stream,
    path: str = "",
    dependencies: Sequence[Any] | None = None,
) -> None:
    """Serve the built-in page below a path, beside a stream that is mounted there.

    ``dependencies``: FastAPI dependencies of its routes, such as authentication; give it those of
    `Stream.mount`.

    The page also reads the call's `AdditionalOutputs`, from ``{path}/outputs``, once there are
    any. That answer lasts as long as the call, and uvicorn waits for it when it stops: a server
    of your own wants a ``timeout_graceful_shutdown``. `serve` ends the calls by itself.
    """
    path = path.rstrip("/")
    router = APIRouter(dependencies=list(dependencies or ()), include_in_schema=False)

    def send(name: str) -> Response:
        # Browsers ask again each time, so that an update is seen.
        headers = {"Cache-Control": "no-cache"}
        return Response(FILES[name], media_type=TYPES[Path(name).suffix], headers=headers)

    @router.get(f"{path}/")
    async def page() -> Response:
        return send("index.html")

    @router.get(f"{path}/web/{{name}}")
    async def file(name: str) -> Response:
        if name not in FILES:
            raise HTTPException(404)
        return send(name)

    @router.get(f"{path}/outputs")
    async def outputs(webrtc_id: str) -> Response:
        if webrtc_id not in stream.connections:
            raise HTTPException(404)
        # Without the second of them nginx keeps events to itself until it has some kilobytes.
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        events = _events(stream, webrtc_id)
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    app.include_router(router)


def add_health(
    app: FastAPI,
    stream: Stream,
    path: str = "",
    dependencies: Sequence[Any] | None = None,
) -> None:
    """Let an orchestrator ask how a server is, below a path.

    - ``{path}/healthz``: 200 while the event loop turns and the frame clock ticks, otherwise 503.
    - ``{path}/readyz``: 200 while calls are taken, otherwise 503 with the reason.
    - ``{path}/metrics``: the figures of the process for Prometheus, if the extra ``metrics`` is
      installed; on a cluster those of all replicas.

    ``dependencies``: FastAPI dependencies of these routes, such as authentication.
    """
    path = path.rstrip("/")
    router = APIRouter(dependencies=list(dependencies or ()), include_in_schema=False)
    headers = {"Cache-Control": "no-store"}

    @router.get(f"{path}/healthz")
    async def healthz() -> Response:
        clock = FrameClock.of(asyncio.get_running_loop())
        ticks = clock.overdue < STALLED
        facts = {
            "status": "ok" if ticks else "stalled",
            "live": len(stream.connections),
            "lateness": round(max(clock.lateness, clock.overdue), 4),
        }
        return JSONResponse(facts, 200 if ticks else 503, headers)

    @router.get(f"{path}/readyz")
    async def readyz() -> Response:
        refusal = await stream.find_refusal()
        if refusal is None:
            return JSONResponse({"status": "ready"}, 200, headers)
        return JSONResponse({"status": refusal.why, **refusal.facts}, 503, headers)

    if importlib.util.find_spec("prometheus_client") is not None:

        @router.get(f"{path}/metrics")
        async def metrics() -> Response:
            if stream.elsewhere is None:
                # It loads a package and reads files.
                page = await run_in_threadpool(_figures)
            else:
                page = await stream.elsewhere.figures()
            from fastrtc import prometheus

            return Response(page, 200, headers, prometheus.CONTENT_TYPE)

    app.include_router(router)


def _figures() -> bytes:
    from fastrtc import prometheus

    return prometheus.page()


async def _events(stream: Stream, webrtc_id: str) -> AsyncIterator[str]:
    """The outputs of a call as server-sent events, until it ends."""
    with contextlib.suppress(ValueError):  # the call has ended before we began
        async for outputs in stream.output_stream(webrtc_id):
            yield f"data: [{', '.join(map(_as_json, outputs.args))}]\n\n"


def _as_json(value: Any) -> str:
    """A value as JSON in one line; what is no JSON by its `str`."""
    try:
        return json.dumps(value, default=str, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(str(value))


def serve(
    stream: Stream,
    host: str,
    port: int,
    *,
    grace: float = 30.0,
    app: FastAPI | None = None,
    **options: Any,
) -> None:
    """Serve a stream until the process is stopped; see `Stream.run`.

    ``app``: one of your own that the stream is mounted on, in the place of the built-in page.
    """
    import uvicorn

    class Server(uvicorn.Server):
        """Says where it is once it is there, and ends the calls before it goes."""

        loop: asyncio.AbstractEventLoop
        patience = 0.0
        """Seconds that the calls have to end."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            self.loop = asyncio.get_running_loop()
            await super().startup(sockets)
            if self.started:
                print(f"\n  Open {scheme}://{shown}:{port} and talk.\n", flush=True)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if self.should_exit and self.started:
                call_soon(self.loop, self._hurry)
            elif sig == signal.SIGTERM:
                self.patience = grace
            super().handle_exit(sig, frame)

        def _hurry(self) -> None:
            keep(self.loop.create_task(stream.close()))

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Before uvicorn stops to listen, so that who calls is told why not, and before it
            # waits for the pages that read the outputs of their calls.
            try:
                await stream.close(self.patience)
            finally:
                await super().shutdown(sockets)

    check_port(host, port)
    if host in LOOPBACK and stream.server_rtc_configuration is None:
        # Nobody but this machine can call, so there is no outside address to ask for.
        stream.server_rtc_configuration = {"iceServers": []}
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s:  %(name)s: %(message)s")
        logging.getLogger("aioice").setLevel(logging.WARNING)
    warn_of_few_ports(stream)
    scheme = "https" if "ssl_certfile" in options else "http"
    shown = name_of(host)
    options.setdefault("log_level", "warning")
    # uvicorn itself would take 16 MB into memory, of which we then read nothing.
    options.setdefault("ws_max_size", 2 * LARGEST_MESSAGE)
    served = make_app(stream) if app is None else app
    # uvicorn ends well, and then raises what a signal asks for.
    with _ending_like_others(), contextlib.suppress(KeyboardInterrupt):
        Server(uvicorn.Config(served, host=host, port=port, **options)).run()


@contextlib.contextmanager
def _ending_like_others() -> Iterator[None]:
    """Let SIGTERM end what is inside as Ctrl-C does, and not the process in the middle: what comes
    after is the user's, and spans are exported at the exit of the interpreter.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals are none of its business.
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def warn_of_few_ports(stream: Stream) -> None:
    """Say so in the log if there may be more calls than ports for them."""
    ports, limit = stream.media_place.ports, stream.concurrency_limit
    if ports is not None and limit is not None and ports[1] - ports[0] + 1 < limit:
        logger.warning(
            "There may be %d calls at once, and there are %d UDP ports: whoever finds none free is "
            "refused",
            limit,
            ports[1] - ports[0] + 1,
        )


def name_of(host: str) -> str:
    """What a browser on this machine calls the address that a server listens at."""
    return "localhost" if host in (*LOOPBACK, "0.0.0.0", "::") else host


def check_port(host: str, port: int) -> None:
    """Find out whether a port is free before anything is loaded.

    Raises:
        SystemExit: it is not, or is no port; the text says why.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError, TypeError) as error:
            raise SystemExit(
                f"Port {port} of {host} cannot be used: {error}. Try another."
            ) from None
