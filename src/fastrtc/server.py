"""A server of one stream: the page, the routes, and nothing else."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI, HTTPException, Response
from fastapi.responses import StreamingResponse

from fastrtc.stream import Stream
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
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")

logger = logging.getLogger(__name__)


def make_app(stream: Stream) -> FastAPI:
    """An app that serves a stream and its page."""
    app = FastAPI(title=stream.ui_args.get("title", "FastRTC"))
    stream.mount(app)
    add_page(app, stream)
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


def serve(stream: Stream, host: str, port: int, **options: Any) -> None:
    """Serve a stream until the process is stopped."""
    import uvicorn

    class Server(uvicorn.Server):
        """Says where it is once it is there, and ends the calls before it goes."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                print(f"\n  Open {scheme}://{shown}:{port} and talk.\n", flush=True)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Before uvicorn waits for the pages that read the outputs of their calls.
            try:
                await stream.close()
            finally:
                await super().shutdown(sockets)

    check_port(host, port)
    if host in LOOPBACK and stream.server_rtc_configuration is None:
        # Nobody but this machine can call, so there is no outside address to ask for.
        stream.server_rtc_configuration = {"iceServers": []}
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s:  %(name)s: %(message)s")
        logging.getLogger("aioice").setLevel(logging.WARNING)
    scheme = "https" if "ssl_certfile" in options else "http"
    shown = "localhost" if host in (*LOOPBACK, "0.0.0.0", "::") else host
    options.setdefault("log_level", "warning")
    # uvicorn itself would take 16 MB into memory, of which we then read nothing.
    options.setdefault("ws_max_size", 2 * LARGEST_MESSAGE)
    Server(uvicorn.Config(make_app(stream), host=host, port=port, **options)).run()


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
