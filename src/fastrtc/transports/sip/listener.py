"""The UDP port that SIP calls come to: moves datagrams, and lets calls in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol

from starlette.requests import HTTPConnection

from fastrtc import metrics
from fastrtc.admission import Refused
from fastrtc.context import PhoneCall
from fastrtc.session import Session
from fastrtc.transports.ports import NoUdpPort, UdpPorts
from fastrtc.transports.sip.account import SipAccount
from fastrtc.transports.sip.agent import Confirmed, Ended, Event, Invited, UserAgent
from fastrtc.transports.sip.dialog import Call, State
from fastrtc.transports.sip.line import SipLine
from fastrtc.transports.sip.messages import Address, Request
from fastrtc.transports.sip.registration import Registration

logger = logging.getLogger(__name__)

REPEAT_SECONDS: Final = 0.1
"""How often what is to be repeated is looked through, while there is any."""
GOODBYE_SECONDS: Final = 2.0
"""How long a line that closes waits for the answers to its last requests."""
ANYWHERE: Final = "0.0.0.0"
MOST_UNCONFIRMED: Final = 10
"""Calls that hold a slot before their caller has shown, by an ACK, that it is where it says: who
forges its address must not fill all lines."""
CODES: Final = {
    "concurrency_limit_reached": 486,
    "shutting_down": 503,
    "no_udp_port": 503,
    "too_many_unconfirmed_calls": 503,
    "not_authorized": 403,
}
"""What a refusal is in SIP; 500 for others."""

Identify = Callable[[HTTPConnection], Awaitable[Any]]
"""Says who a caller is, or raises `Refused`."""


class Admit(Protocol):
    """Takes a slot for an id, or raises `Refused`."""

    async def __call__(
        self, session_id: str, /, *, phone: PhoneCall, identity: Any, reconnected: bool
    ) -> Session: ...


class SipListener(asyncio.DatagramProtocol):
    """Answers the SIP calls that come to a port, from `open` until `close`.

    Usable as ``async with``.

    Attributes:
        port: of UDP; where it was left to the system, which one it took.
    """

    def __init__(
        self,
        host: str,
        public_host: str | None,
        identify: Identify,
        admit: Admit,
        ports: UdpPorts,
    ) -> None:
        """``ports``: what the sound of calls takes."""
        self.port = 0
        self._host = host
        self._public_host = public_host
        self._identify = identify
        self._admit = admit
        self._ports = ports
        self._agent = UserAgent()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._lines: dict[Call, tuple[Session, SipLine]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._repeating: asyncio.TimerHandle | None = None
        self._registration: Registration | None = None
        self._exchange: Address = ("", 0)
        self._renewing: asyncio.TimerHandle | None = None
        self._quiet = asyncio.Event()

    @property
    def registered(self) -> bool:
        """Whether the account is registered at its exchange."""
        return self._registration is not None and self._registration.registered

    async def open(self, port: int, account: SipAccount | None = None) -> None:
        """Open the port, and begin to register the account if there is one.

        Raises:
            OSError: the port cannot be had.
            ValueError: the account names no registrar.
        """
        if account is not None:
            self._exchange = account.place
            self._registration = Registration(self._agent, account)
        self._transport, _ = await self._loop.create_datagram_endpoint(
            lambda: self, local_addr=(self._host, port), family=socket.AF_INET
        )
        self.port = self._transport.get_extra_info("sockname")[1]
        logger.info("SIP calls are answered at UDP port %d of %s", self.port, self._host)
        self._drain()

    async def close(self) -> None:
        """End the calls of this line, and give the port back."""
        if self._transport is None:
            return
        self._agent.closing = True
        if self._renewing is not None:
            self._renewing.cancel()
        sessions = [session for session, _ in self._lines.values()]
        for session in sessions:
            session.end("The line is closing")
        await asyncio.gather(*(session.close() for session in sessions))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._registration is not None:
            self._registration.leave(self._loop.time())
        self._quiet.clear()
        self._drain()
        with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), GOODBYE_SECONDS)
        if self._repeating is not None:
            self._repeating.cancel()
        transport, self._transport = self._transport, None
        transport.close()

    async def __aenter__(self) -> SipListener:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    # From the network.

    def datagram_received(self, data: bytes, source: Address) -> None:
        """See `asyncio.DatagramProtocol`."""
        self._agent.receive(data, source, self._loop.time())
        self._drain()

    def error_received(self, error: Exception) -> None:
        """See `asyncio.DatagramProtocol`: nobody is there, which repetitions will find out."""
        logger.debug("A SIP message could not be sent: %s", error)

    # Inside.

    def _drain(self) -> None:
        """Send and do what the agent wants, and see to it that time passes for it."""
        agent = self._agent
        while agent.outbox or agent.events:
            while agent.outbox:
                data, to = agent.outbox.popleft()
                if self._transport is not None:
                    self._transport.sendto(data, to)
            if agent.events:
                self._act(agent.events.popleft())
        if not agent.busy:
            self._quiet.set()
        elif self._repeating is None:
            self._repeating = self._loop.call_later(REPEAT_SECONDS, self._repeat)
        due = None if self._registration is None else self._registration.due
        if due is not None and self._renewing is None and not agent.closing:
            self._renewing = self._loop.call_at(due, self._renew)

    def _repeat(self) -> None:
        self._repeating = None
        self._agent.advance(self._loop.time())
        self._drain()

    def _act(self, event: Event) -> None:
        if isinstance(event, Invited):
            self._spawn(self._answer(event.call))
            return
        session, line = self._lines.get(event.call, (None, None))
        if session is None or line is None:
            return
        if isinstance(event, Ended):
            logger.info("Call %s has ended: %s", session.id, event.reason)
            session.hang_up()
            return
        assert event.call.media is not None
        line.follow(event.call.media)
        if isinstance(event, Confirmed):
            session.start(line)

    async def _answer(self, call: Call) -> None:
        """Let a call in, or turn it away."""
        try:
            session = await self._let_in(call)
            if session is not None:
                await self._connect(call, session)
        except Refused as refused:
            logger.info("A SIP call was refused: %s", refused.error)
            metrics.refused.add(refused.why)
            self._agent.refuse(call, CODES.get(refused.error, 500), self._loop.time())
        except Exception:
            logger.exception("A SIP call could not be answered")
            metrics.errors.add("transport")
            self._agent.refuse(call, 500, self._loop.time())
        finally:
            # If it has been answered in no way so far: this line is closing.
            if call.state is State.WAITING:
                self._agent.hang_up(call, self._loop.time())
            self._drain()

    async def _let_in(self, call: Call) -> Session | None:
        invite = call.invite
        call_id = invite.call_id
        unconfirmed = sum(not session.started for session, _ in self._lines.values())
        if unconfirmed >= MOST_UNCONFIRMED:
            raise Refused("too_many_unconfirmed_calls")
        phone = PhoneCall("sip", call_id, call_id, invite.caller, invite.called, invite.facts)
        identity = await self._identify(_as_connection(invite, phone))
        # Its caller may have given up meanwhile.
        if call.state is not State.WAITING:
            return None
        session = await self._admit(call_id, phone=phone, identity=identity, reconnected=False)
        if call.state is not State.WAITING:
            session.hang_up()
            return None
        return session

    async def _connect(self, call: Call, session: Session) -> None:
        line = SipLine(session, call.invite.source[0], lambda: self._hang_up(call))
        self._lines[call] = session, line
        session.on_close(lambda: self._lines.pop(call, None))
        try:
            port = await line.open(self._host, self._ports)
        except NoUdpPort as error:
            logger.warning("Call %s could not be answered: %s", session.id, error)
            session.hang_up()
            raise Refused("no_udp_port") from None
        except Exception:
            self._agent.refuse(call, 500, self._loop.time())
            session.hang_up()
            raise
        if not session.ending:
            host = self._public_host or _facing(self._host, call.invite.source)
            self._agent.accept(call, (host, self.port), port, self._loop.time())

    def _hang_up(self, call: Call) -> None:
        self._agent.hang_up(call, self._loop.time())
        self._drain()

    def _renew(self) -> None:
        self._spawn(self._register())

    async def _register(self) -> None:
        assert self._registration is not None
        try:
            found = await self._loop.getaddrinfo(*self._exchange, family=socket.AF_INET)
            exchange: Address = str(found[0][4][0]), self._exchange[1]
            host = self._public_host or _facing(self._host, exchange)
            self._registration.register((host, self.port), exchange, self._loop.time())
        except OSError as error:
            self._registration.failed(self._loop.time(), str(error))
        self._renewing = None
        self._drain()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _as_connection(invite: Request, phone: PhoneCall) -> HTTPConnection:
    """A call as an ``authorize`` function knows callers: one hook serves all transports."""
    headers = [
        (name.lower().encode(), value.encode())
        for name in invite.headers.keys()  # noqa: SIM118
        for value in invite.values(name)
    ]
    scope = {
        "type": "http",  # Starlette knows no other kind.
        "method": invite.method,
        "scheme": "sip",
        "path": invite.uri,
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": invite.source,
        "state": {"phone": phone},
    }
    return HTTPConnection(scope)


def _facing(host: str, other: Address) -> str:
    """The address of ours that another host sees: one that is bound everywhere has many."""
    if host != ANYWHERE:
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        # Sends nothing: it asks the system for the way there.
        probe.connect(other)
        found: str = probe.getsockname()[0]
        return found
