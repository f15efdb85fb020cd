"""The telephone calls of one stream: webhooks that are answered, and sockets that are let in."""

from __future__ import annotations

import importlib
import json
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from fastrtc.admission import Refused
from fastrtc.context import PhoneCall
from fastrtc.session import Session
from fastrtc.transports.addresses import as_called, is_from_welcome_page, socket_url
from fastrtc.transports.sockets.line import REFUSED, SocketLine
from fastrtc.transports.sockets.wire import Started
from fastrtc.transports.telephone.outbound import TwilioAccount
from fastrtc.transports.telephone.provider import (
    Connection,
    Provider,
    TelephoneOptions,
    Webhook,
)
from fastrtc.transports.telephone.tokens import Tokens
from fastrtc.transports.telephone.twilio import FACTS, twiml

PROVIDERS: Final = ("twilio", "telnyx", "plivo", "vonage", "signalwire", "exotel")
"""Each a file of this folder, with a class of that name."""
SECRETS: Final = ("FASTRTC_SECRET", "TWILIO_AUTH_TOKEN")
"""Variables, the first of which that is set signs our tokens."""
LARGEST_WEBHOOK: Final = 65_536
"""Bytes."""

logger = logging.getLogger(__name__)

AdmitPhone = Callable[[PhoneCall, WebSocket], Awaitable[Session]]
"""Takes a slot for a call, or raises `Refused`."""


class Exchange:
    """Answers the platforms of the telephone network."""

    def __init__(self, options: TelephoneOptions, admit: AdmitPhone) -> None:
        self._options = options
        self._admit = admit
        self._providers: dict[str, Provider] = {}
        known = [name for name in SECRETS if os.environ.get(name)]
        # Minted and spent by this process alone where there is no secret to share.
        self._secret = os.environ[known[0]] if known else secrets.token_hex()
        self._tokens: dict[str, Tokens] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The platforms that have routes."""
        return tuple(self._options.providers)

    def warn(self) -> None:
        """Tell the log if anyone may call in, as there is no secret to verify webhooks by."""
        for name in self.names:
            provider = self.provider(name)
            if not provider.has_secret:
                logger.warning(
                    "Anyone who can reach this server may call in over its telephone routes for "
                    "%s: %s",
                    name,
                    f"set {provider.secret_name}, or Stream(telephone=False) to have no such routes"
                    if provider.secret_name
                    else "it signs nothing, so give the stream an authorize function",
                )

    def add(self, provider: Provider) -> None:
        """Know another platform."""
        self._providers[provider.name] = provider

    def provider(self, name: str) -> Provider:
        """A platform by its name.

        Raises:
            ValueError: there is none.
        """
        if name not in self._providers:
            if name not in PROVIDERS:
                raise ValueError(f"expected a provider of {', '.join(PROVIDERS)}, got {name!r:.80}")
            home = importlib.import_module(f"fastrtc.transports.telephone.{name}")
            kind = next(it for key, it in vars(home).items() if key.lower() == name)
            self._providers[name] = cast("Callable[[], Provider]", kind)()
        return self._providers[name]

    async def answer(
        self, name: str, request: Request, mounted: str, *, busy: Callable[[], bool]
    ) -> Response:
        """Answer the webhook of an incoming call: connect it with our media socket.

        ``mounted``: what stands before the stream's routes.
        """
        provider = self.provider(name)
        webhook = await read_webhook(request)
        if webhook is None:
            return Response(f"expected at most {LARGEST_WEBHOOK} bytes", 413)
        if provider.has_secret and not provider.is_signed(webhook):
            logger.warning("A webhook of %s was refused: its signature does not verify", name)
            return Response("The signature does not verify.", 403)
        if busy():
            logger.info("A call over %s was turned away: all lines are busy", name)
            document, kind = provider.refuse(webhook)
        else:
            url = socket_url(request, handler_path(request, mounted, name))
            connection = Connection(url, self.token(name), self._options)
            document, kind = provider.connect(webhook, connection)
        return Response(document, media_type=kind)

    async def serve(
        self, name: str, websocket: WebSocket, origins: Sequence[str] | None = None
    ) -> None:
        """Take the call of a media socket, from its acceptance to its end.

        ``origins``: the pages that may open one, which is of use where no token is asked for.
        """
        provider = self.provider(name)
        if not provider.has_secret and not is_from_welcome_page(websocket, origins):
            await websocket.close(REFUSED)
            return
        await websocket.accept()

        async def admit(started: Started) -> Session:
            if started.phone is None:
                raise Refused("no_telephone_call")
            if provider.has_secret and not self._is_ours(provider, started, websocket):
                logger.warning(
                    "A media socket of %s was refused: it has no valid token, nor a signature",
                    name,
                )
                raise Refused("not_authorized")
            return await self._admit(started.phone, websocket)

        await SocketLine(websocket, provider.wire(), admit).serve()

    async def call(self, account: TwilioAccount, to: str, from_: str, url: str) -> str:
        """Call somebody over Twilio; see `Stream.call`."""
        url = f"{_as_socket(url)}/telephone/handler"
        connection = Connection(url, self.token("twilio"), self._options)
        facts = dict(zip(FACTS, (from_, to), strict=True))
        return await account.call(to, from_, twiml(connection, facts), self._options)

    def token(self, name: str) -> str:
        """What a media socket of a platform has to show, once, as its ``fastrtc_token``."""
        return self._tokens_of(name).mint(time.time())

    def _tokens_of(self, name: str) -> Tokens:
        # Each platform its own: one that signs nothing must not open the door of another.
        if name not in self._tokens:
            self._tokens[name] = Tokens(f"{name} {self._secret}")
        return self._tokens[name]

    def _is_ours(self, provider: Provider, started: Started, websocket: WebSocket) -> bool:
        if self._tokens_of(provider.name).spend(started.token, time.time()):
            return True
        # Documents of the user's own hand out no tokens, but some platforms sign the socket too.
        headers = {key.lower(): value for key, value in websocket.headers.items()}
        return provider.is_signed(Webhook(as_called(websocket), {}, b"", headers))


async def read_webhook(request: Request) -> Webhook | None:
    """A request of a platform; None if it is too large."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_WEBHOOK:
                return None
        form = _fields(body, request.headers.get("content-type", ""))
    except RuntimeError:
        # The user's own route has read it.
        form = {key: str(value) for key, value in (await request.form()).items()}
    headers = {key.lower(): value for key, value in request.headers.items()}
    fields = {**request.query_params, **form}
    return Webhook(as_called(request), fields, body, headers, form)


def handler_path(connection: HTTPConnection, mounted: str, name: str) -> str:
    """Where the media socket is, seen from the webhook: beside it, or where it is mounted."""
    place, _, last = connection.url.path.rpartition("/")
    if last in ("incoming", "incoming-call"):
        return f"{place}/handler"
    own = "" if name == "twilio" else f"/{name}"
    return f"{connection.scope.get('root_path', '')}{mounted}/telephone{own}/handler"


def _fields(body: bytes, kind: str) -> dict[str, Any]:
    if "json" in kind:
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            return {}
        return given if isinstance(given, dict) else {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _as_socket(url: str) -> str:
    url = url.rstrip("/")
    for scheme, socket in (("https://", "wss://"), ("http://", "ws://")):
        if url.startswith(scheme):
            return socket + url[len(scheme) :]
    raise ValueError(f'expected a url such as "https://example.com", got {url!r}')
