"""A server of one stream: the page, the routes, and nothing else."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from fastrtc.stream import Stream

WEB: Final = Path(__file__).parent / "web"
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")

logger = logging.getLogger(__name__)


class _Files(StaticFiles):
    """Files that a browser asks for again after an update: they are few and small."""

    def file_response(self, *args: Any, **kwargs: Any) -> Any:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


def make_app(stream: Stream) -> FastAPI:
    """An app that serves a stream and its page."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await stream.close()

    app = FastAPI(title=stream.ui_args.get("title", "FastRTC"), lifespan=lifespan)
    stream.mount(app)
    add_page(app)
    return app


def add_page(app: FastAPI, path: str = "") -> None:
    """Serve the built-in page below a path, beside a stream that is mounted there."""
    path = path.rstrip("/")

    @app.get(f"{path}/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    app.mount(f"{path}/web", _Files(directory=WEB), name="fastrtc-web")


def serve(stream: Stream, host: str, port: int, **options: Any) -> None:
    """Serve a stream until the process is stopped."""
    import uvicorn

    if host in LOOPBACK and stream.server_rtc_configuration is None:
        # Nobody but this machine can call, so there is no outside address to ask for.
        stream.server_rtc_configuration = {"iceServers": []}
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s:  %(name)s: %(message)s")
        logging.getLogger("aioice").setLevel(logging.WARNING)
    scheme = "https" if "ssl_certfile" in options else "http"
    shown = "localhost" if host in (*LOOPBACK, "0.0.0.0", "::") else host
    print(f"\n  Open {scheme}://{shown}:{port} and talk.\n", flush=True)
    options.setdefault("log_level", "warning")
    uvicorn.run(make_app(stream), host=host, port=port, **options)
