"""A hub on loopback: as much of the real one as its library asks of it for a download."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
"""What every branch points to."""


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Hub:
    """What it has and how it behaves; both may change while it runs.

    Attributes:
        url: for ``HF_ENDPOINT``.
        files: by ``owner/name/path``.
        status: answered to everything, if it is not 200.
        drop_after: the next download ends after so many bytes, once.
        requests: all that came.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    drop_after: int | None = None
    requests: list[Request] = field(default_factory=list)

    def downloads(self) -> list[Request]:
        return [request for request in self.requests if request.method == "GET"]


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            hub.requests.append(Request(self.command, self.path, dict(self.headers)))
            repo, _, rest = self.path[1:].partition("/resolve/")
            data = hub.files.get(f"{repo}/{rest.partition('/')[2]}")
            if hub.status != 200 or data is None:
                self.send_response(404 if hub.status == 200 else hub.status)
                if hub.status == 200:
                    self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            asked = self.headers.get("Range", "")
            start = int(asked.removeprefix("bytes=").partition("-")[0] or 0)
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Size", str(len(data)))
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            if self.command == "HEAD":
                return
            end, hub.drop_after = hub.drop_after, None
            self.wfile.write(data[start:end])
            self.close_connection = end is not None

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
