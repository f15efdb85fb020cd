"""Requests on their way from the replica that got them to the one that has the call.

Each replica has an inner door: an HTTP server of its own, at the address of its host, for the other
replicas alone. Serve's proxies choose replicas by themselves, and do not reach one that leaves.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import aiohttp
import uvicorn
from yarl import URL

from fastrtc.cluster.board import Home

if TYPE_CHECKING:
    from fastrtc.cluster.incoming import Incoming

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Body = bytes | AsyncIterator[bytes]

SECRET: Final = b"x-fastrtc-secret"
"""The header by which replicas know each other."""
OUTSIDE: Final = b"x-fastrtc-outside"
"""The header that says how a request came in, where it came in."""
PASSED: Final = "fastrtc.passed"
"""What is in the scope of a request that another replica has passed on."""
CONNECTS_WITHIN: Final = 1.0
"""Seconds. A replica is near."""
ANSWERS_WITHIN: Final = 60.0
"""Seconds until an answer begins: a user's own route may take its time."""
TAKEN_WITHIN: Final = 35.0
"""Seconds until a call is answered: what an ``authorize`` function has, the end of a call that was
lost, a function that gives the configuration, and gathering."""
OF_ONE_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
"""Headers that say something of one connection only (RFC 9110, 7.6.1)."""
FAILURES: Final = (aiohttp.ClientError, OSError, TimeoutError, asyncio.TimeoutError)
"""What asking a replica that is gone raises."""
SLOW: Final = (TimeoutError, asyncio.TimeoutError)
"""What asking one raises that is there, and has not answered in time."""
NOT_ADDED: Final = ("accept", "accept-encoding", "user-agent", "content-type")
"""Headers that aiohttp would give a request whose client sent none."""
LARGEST_HEADER: Final = 2**16
"""Bytes; what uvicorn takes."""
KEPT_FOR: Final = 15.0
"""Seconds that a connection is kept for the next request. The door keeps it for longer: it must not
close what is just being used."""
SILENT_FOR: Final = 2_000
"""Milliseconds after which a host that takes nothing in is gone: a connection that was kept from
before would wait for minutes."""
ENDS_WITHIN: Final = 2
"""Seconds that answers have to end when a replica goes."""


class Lost(Exception):
    """The replica does not answer."""


class Broken(ConnectionError):
    """One of the two sides has gone in the middle."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Messenger:
    """Asks other replicas. On the event loop."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._http = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEPT_FOR, socket_factory=_socket
            ),
            # What one client is given is not for the next.
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=NOT_ADDED,
            max_line_size=LARGEST_HEADER,
            max_field_size=LARGEST_HEADER,
        )

    async def close(self) -> None:
        """Give back the connections."""
        await self._http.close()

    async def ask(
        self, home: Home, method: str, path: str, body: bytes = b"", *, within: float
    ) -> bytes:
        """Ask the inner door itself. Raises `Lost`; LookupError if there is no such call."""
        try:
            async with self._open(home, method, path, [], body, within) as response:
                _check(response, path)
                answer: bytes = await response.read()
                return answer
        except FAILURES as error:
            raise Lost(f"{home.address}: {error!r}") from error

    async def listen(self, home: Home, path: str) -> AsyncIterator[bytes]:
        """The lines of an answer that lasts. Raises as `ask` does."""
        try:
            async with self._open(home, "GET", path, [], b"") as response:
                _check(response, path)
                rest = bytearray()
                async for chunk in response.content.iter_any():
                    rest += chunk
                    if b"\n" in chunk:
                        *lines, last = bytes(rest).split(b"\n")
                        rest = bytearray(last)
                        for line in lines:
                            yield line
        except FAILURES as error:
            raise Lost(f"{home.address}: {error!r}") from error

    async def pass_on(self, home: Home, scope: Scope, body: bytes) -> Answer:
        """Let a replica answer an offer that was read; 504 where that takes it too long.

        Raises:
            Lost: it does not answer.
        """
        try:
            async with self._request(home, scope, body, TAKEN_WITHIN) as response:
                return Answer(response.status, _headers(response), await response.read())
        except aiohttp.ServerTimeoutError as error:  # it has not even taken the connection
            raise Lost(f"{home.address}: {error!r}") from error
        except SLOW:
            return Answer(504, [], b"")
        except FAILURES as error:
            raise Lost(f"{home.address}: {error!r}") from error

    async def relay(self, home: Home, scope: Scope, incoming: Incoming, send: Send) -> None:
        """The same, with a request and an answer that may last.

        Raises:
            Lost: the replica does not answer.
            Broken: it began to, or its client has gone.
        """
        body = incoming.whole if incoming.whole is not None else incoming.parts()
        async with contextlib.AsyncExitStack() as stack:
            begins = stack.enter_async_context(self._request(home, scope, body))
            try:
                response = await asyncio.wait_for(begins, ANSWERS_WITHIN)
            except aiohttp.ServerTimeoutError as error:  # it has not even taken the connection
                raise Lost(f"{home.address}: {error!r}") from error
            except SLOW:
                await reply(send, 504)
                return
            except FAILURES as error:
                if incoming.gone.is_set():
                    raise Broken("the client has gone") from error
                raise Lost(f"{home.address}: {error!r}") from error
            await incoming.while_there(_copy(response, send))

    def _request(self, home: Home, scope: Scope, body: Body, within: float | None = None) -> Any:
        path = scope.get("raw_path") or quote(scope["path"]).encode()
        query = scope.get("query_string", b"")
        # aiohttp says how long a body is that is there.
        whole = isinstance(body, bytes)
        headers = [
            (name, value)
            for name, value in scope["headers"]
            if name not in OF_ONE_HOP
            and name not in (SECRET, OUTSIDE)
            and not (whole and name == b"content-length")
        ]
        headers.append((OUTSIDE, _outside(scope)))
        target = _text(path).partition("?")[0] + (f"?{_text(query)}" if query else "")
        return self._open(home, scope["method"], target, headers, body, within)

    def _open(
        self,
        home: Home,
        method: str,
        path: str,
        headers: list[tuple[bytes, bytes]],
        body: Body,
        within: float | None = None,
    ) -> Any:
        told = [(_text(name), _text(value)) for name, value in headers]
        told.append((SECRET.decode(), self._secret))
        # What a client asks for may be anything, such as "@example.com/": it is no host of ours.
        slash = "" if path.startswith("/") else "/"
        url = URL(f"http://{home.address}{slash}{path}", encoded=True)
        timeout = aiohttp.ClientTimeout(total=within, connect=CONNECTS_WITHIN)
        return self._http.request(
            method, url, headers=told, data=body or None, allow_redirects=False, timeout=timeout
        )


class InnerDoor:
    """Takes what other replicas pass on."""

    def __init__(self, app: App, own: App, secret: str) -> None:
        """Set it up.

        Args:
            app: what answers requests that are passed on.
            own: what answers those that other replicas make themselves.
            secret: what others have to show.
        """
        self._app = app
        self._own = own
        self._secret = secret.encode()
        self._server: uvicorn.Server | None = None
        self._sockets: list[socket.socket] = []

    async def open(self, host: str) -> str:
        """Listen at a free port; the address."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.bind((host, 0))
        listener.listen(256)
        listener.setblocking(False)
        port = listener.getsockname()[1]
        config = uvicorn.Config(
            self,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            ws="none",
            timeout_keep_alive=int(2 * KEPT_FOR),
            timeout_graceful_shutdown=ENDS_WITHIN,
        )
        # Not `serve`: it takes the signals of the process, looks ten times a second whether it is
        # to stop, and gives answers a date, as the front does.
        config.load()
        self._server = server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        self._sockets = [listener]
        await server.startup(self._sockets)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def close(self) -> None:
        """Listen no more."""
        server, self._server = self._server, None
        if server is not None:
            await server.shutdown(self._sockets)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers = dict(scope["headers"])
        if not hmac.compare_digest(headers.get(SECRET, b""), self._secret):
            await reply(send, 403)
            return
        if OUTSIDE not in headers:
            # By another replica itself. What a client asks for, whatever it is, has that header.
            await self._own(scope, receive, send)
            return
        outside = json.loads(base64.b64decode(headers[OUTSIDE]))
        kept = [(k, v) for k, v in scope["headers"] if k not in (SECRET, OUTSIDE)]
        client, server = outside.pop("client", None), outside.pop("server", None)
        inner = {
            **scope,
            **outside,
            "client": client and tuple(client),
            "server": server and tuple(server),
            "headers": kept,
            PASSED: True,
        }
        await self._app(inner, receive, send)


async def reply(send: Send, status: int, body: bytes = b"", kind: bytes = b"text/plain") -> None:
    """Answer with a body that is whole."""
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _outside(scope: Scope) -> bytes:
    facts = {
        "scheme": scope.get("scheme", "http"),
        "client": scope.get("client"),
        "server": scope.get("server"),
        "root_path": scope.get("root_path", ""),
    }
    return base64.b64encode(json.dumps(facts).encode())


def _headers(response: aiohttp.ClientResponse) -> list[tuple[bytes, bytes]]:
    return [(k.lower(), v) for k, v in response.raw_headers if k.lower() not in OF_ONE_HOP]


def _text(raw: bytes) -> str:
    # It is sent as UTF-8: what is that already comes through as it was.
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _check(response: aiohttp.ClientResponse, path: str) -> None:
    if response.status == 404:
        raise LookupError(path)
    response.raise_for_status()


def _socket(address: Any) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_FOR)
        # Where nothing is sent for long, it is asked whether it is there.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    return made


async def _copy(response: aiohttp.ClientResponse, send: Send) -> None:
    start = {"status": response.status, "headers": _headers(response)}
    await send({"type": "http.response.start", **start})
    try:
        async for chunk in response.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except FAILURES as error:
        # What came must not look as if it were all.
        raise Broken("the replica that answered has gone") from error
    await send({"type": "http.response.body", "body": b""})
