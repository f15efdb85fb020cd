"""The telephone calls of one stream: webhooks that are answered, and sockets that are let in."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from fastrtc import metrics
from fastrtc.admission import Refused
from fastrtc.context import PhoneCall
from fastrtc.session import Session
from fastrtc.transports.addresses import as_called, is_from_welcome_page, page_url, socket_url
from fastrtc.transports.sockets.line import REFUSED, SocketLine
from fastrtc.transports.sockets.wire import Started
from fastrtc.transports.telephone.outbound import TwilioAccount
from fastrtc.transports.telephone.provider import (
    Connection,
    Provider,
    Returning,
    TelephoneOptions,
    Webhook,
)
from fastrtc.transports.telephone.returning import Returns, Ticket, Tickets
from fastrtc.transports.telephone.tokens import Tokens
from fastrtc.transports.telephone.twilio import FACTS, twiml

PROVIDERS: Final = ("twilio", "telnyx", "plivo", "vonage", "signalwire", "exotel")
"""Each a file of this folder, with a class of that name."""
SECRETS: Final = ("FASTRTC_SECRET", "TWILIO_AUTH_TOKEN")
"""Variables, the first of which that is set signs our tokens."""
LARGEST_WEBHOOK: Final = 65_536
"""Bytes."""
RETURN: Final = "fastrtc_return"
"""What carries the ticket, in the query of a webhook that is asked again for a call."""
CLOSED_WITHIN: Final = 2.0
"""Seconds that a session has to end whose call comes back before it knows of the break."""
COUNTED_FOR: Final = 3.0
"""Seconds for which calls whose server is gone may still be counted among the live ones."""
ASKED_EVERY: Final = 0.5
"""Seconds between two looks whether they are."""

logger = logging.getLogger(__name__)

AdmitPhone = Callable[[PhoneCall, WebSocket, bool], Awaitable[Session]]
"""Takes a slot for a call, or raises `Refused`; True for one that comes back."""


FindRefusal = Callable[[], Awaitable["Refused | None"]]
"""Says why no call may come in now, if that is so."""


class Exchange:
    """Answers the platforms of the telephone network."""

    def __init__(self, options: TelephoneOptions, returns: Returns, admit: AdmitPhone) -> None:
        self._options = options
        self._returns = returns
        self._admit = admit
        self._providers: dict[str, Provider] = {}
        known = [name for name in SECRETS if os.environ.get(name)]
        # Minted and spent by this process alone where there is no secret to share.
        self._secret = os.environ[known[0]] if known else secrets.token_hex()
        self._is_shared = bool(known)
        self._tokens: dict[str, Tokens] = {}
        self._live: dict[str, Session] = {}
        """By the id of the connection."""

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

            if self._come_back(provider) and not self._is_shared:
                logger.warning(
                    "Telephone calls of %s come back as new ones to a server that was restarted: "
                    "set FASTRTC_SECRET, the same for all servers",
                    name,
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
        self,
        name: str,
        request: Request,
        mounted: str,
        *,
        refusal: FindRefusal,
    ) -> Response:
        """Answer the webhook of an incoming call: connect it with our media socket.

        Args:
            name: of the platform.
            request: what it asks.
            mounted: what stands before the stream's routes.
            refusal: asked whether a call may come in now.
        """
        provider = self.provider(name)
        webhook = await read_webhook(request)
        if webhook is None:
            return Response(f"expected at most {LARGEST_WEBHOOK} bytes", 413)
        if provider.has_secret and not provider.is_signed(webhook):
            logger.warning("A webhook of %s was refused: its signature does not verify", name)
            metrics.refused.add("not_authorized")
            return Response("The signature does not verify.", 403)
        given = request.query_params.get(RETURN)
        if given is None or not isinstance(provider, Returning):
            ticket: Ticket | None = Ticket()
        elif not provider.asks(webhook):
            return Response()
        elif (lost := self._tickets_of(name).read(given)) is not None:
            document, kind = await self._answer_again(
                provider, webhook, request, mounted, lost, refusal
            )
            return Response(document, media_type=kind)
        else:
            # Nobody knows how often it has come back already, so it is the last time.
            ticket = None
        if self._turned_away(name, await refusal()):
            document, kind = provider.refuse(webhook)
        else:
            connection = self._connection(name, request, mounted, self._options, ticket)
            document, kind = provider.connect(webhook, connection)
        return Response(document, media_type=kind)

    async def _answer_again(
        self,
        provider: Returning,
        webhook: Webhook,
        request: Request,
        mounted: str,
        lost: Ticket,
        refusal: FindRefusal,
    ) -> tuple[str, str]:
        """The document for a call whose connection is gone, and its media type."""
        ticket = await self._next(lost)
        if ticket is None or self._turned_away(provider.name, await _refusal_in_the_end(refusal)):
            # Not refused: it was answered long ago, so there is no busy signal.
            return provider.dismiss(self._options)
        # A recording goes on beside the call.
        options = replace(self._options, greeting=self._options.interrupted, record=False)
        connection = self._connection(provider.name, request, mounted, options, ticket, again=True)
        return provider.connect(webhook, connection)

    async def serve(
        self, name: str, websocket: WebSocket, origins: Sequence[str] | None = None
    ) -> None:
        """Take the call of a media socket, from its acceptance to its end.

        ``origins``: the pages that may open one, which is of use where no token is asked for.
        """
        provider = self.provider(name)
        if not provider.has_secret and not is_from_welcome_page(websocket, origins):
            metrics.refused.add("unwelcome_origin")
            await websocket.close(REFUSED)
            return
        await websocket.accept()
        line, session = "", None

        async def admit(started: Started) -> Session:
            nonlocal line, session
            if started.phone is None:
                raise Refused("no_telephone_call")
            if provider.has_secret and not self._is_ours(provider, started, websocket):
                logger.warning(
                    "A media socket of %s was refused: it has no valid token, nor a signature",
                    name,
                )
                raise Refused("not_authorized")
            shown = self._tokens_of(name).read(started.token)
            line = shown.line if shown is not None else ""
            again = shown is not None and shown.again
            try:
                session = await self._admit(started.phone, websocket, again)
            except Refused as refused:
                # While this server stops, another may take the call.
                if line and refused.error != "shutting_down":
                    await self._returns.note_end(line)
                raise
            if line:
                self._live[line] = session
            return session

        async def leave() -> None:
            # Before the socket is closed: then the platform asks.
            if line and session is not None and session.ended_by:
                await self._returns.note_end(line)

        try:
            await SocketLine(websocket, provider.wire(), admit, leave).serve()
        finally:
            self._live.pop(line, None)

    async def call(self, account: TwilioAccount, to: str, from_: str, url: str) -> str:
        """Call somebody over Twilio; see `Stream.call`."""
        ticket = Ticket()
        token = self._tokens_of("twilio").mint(time.time(), ticket.line)
        back = ""
        if self._come_back(self.provider("twilio")):
            back = self._back("twilio", f"{url.rstrip('/')}/telephone/incoming", ticket)
        url = f"{_as_socket(url)}/telephone/handler"
        connection = Connection(url, token, self._options, back)
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

    def _tickets_of(self, name: str) -> Tickets:
        return Tickets(f"{name} {self._secret}")

    def _come_back(self, provider: Provider) -> bool:
        """Whether documents for this platform let a call come back."""
        asked = self._options.returns
        wanted = self._returns.by_default if asked is None else asked
        return wanted and isinstance(provider, Returning)

    def _connection(
        self,
        name: str,
        request: Request,
        mounted: str,
        options: TelephoneOptions,
        ticket: Ticket | None,
        *,
        again: bool = False,
    ) -> Connection:
        """What the caller of a webhook shall connect a call with, which may return by a ticket."""
        url = socket_url(request, handler_path(request, mounted, name))
        token = self._tokens_of(name).mint(time.time(), ticket.line if ticket else "", again=again)
        back = ""
        if ticket is not None and self._come_back(self.provider(name)):
            back = self._back(name, webhook_url(request), ticket)
        return Connection(url, token, options, back)

    def _turned_away(self, name: str, refused: Refused | None) -> bool:
        if refused is None:
            return False
        logger.info("A call over %s was turned away: %s", name, refused.error)
        metrics.refused.add(refused.why)
        return True

    def _back(self, name: str, url: str, ticket: Ticket) -> str:
        """The address at which to ask again for a call, when its connection is gone."""
        mark = "&" if "?" in url else "?"
        return f"{url}{mark}{RETURN}={self._tickets_of(name).write(ticket)}"

    async def _next(self, lost: Ticket) -> Ticket | None:
        """The ticket for the next connection of a call that has lost one; None if it is over."""
        if await self._returns.has_ended(lost.line):
            return None
        if (session := self._live.get(lost.line)) is not None:
            # The platform knows it before us; its slot, and maybe its id, are wanted again.
            with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                await asyncio.wait_for(session.close(), CLOSED_WITHIN)
        ticket = lost.after_break(time.time())
        if ticket is None:
            logger.warning("A telephone call is ended, as it was interrupted again and again")
        else:
            logger.info("A telephone call comes back, as its media socket broke")
        return ticket

    def _is_ours(self, provider: Provider, started: Started, websocket: WebSocket) -> bool:
        if self._tokens_of(provider.name).spend(started.token, time.time()):
            return True
        # Documents of the user's own hand out no tokens, but some platforms sign the socket too.
        headers = {key.lower(): value for key, value in websocket.headers.items()}
        return provider.is_signed(Webhook(as_called(websocket), {}, b"", headers))


async def _refusal_in_the_end(refusal: FindRefusal) -> Refused | None:
    """Why a call may not come back: not because the lost calls themselves take all places."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + COUNTED_FOR
    while True:
        found = await refusal()
        if found is None or found.error == "shutting_down" or loop.time() >= deadline:
            return found
        await asyncio.sleep(ASKED_EVERY)


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


def webhook_url(request: Request) -> str:
    """Where a webhook was asked, as seen from outside, without the ticket if there was one."""
    # Not taken apart and put together: its sender signs every character.
    parts = request.url.query.split("&")
    query = "&".join(part for part in parts if not part.startswith(f"{RETURN}="))
    return page_url(request, request.url.path) + (f"?{query}" if query else "")


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
