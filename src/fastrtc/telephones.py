"""The telephone side of a `Stream`: webhooks and media sockets, outbound calls, and SIP."""

from __future__ import annotations

import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from fastrtc.admission import Door
from fastrtc.context import PhoneCall
from fastrtc.handlers.base import HandlerBase
from fastrtc.runtime import shared_runtime
from fastrtc.session import Session
from fastrtc.tracing import continued
from fastrtc.transports.ports import UdpPorts
from fastrtc.transports.telephone.provider import TelephoneOptions
from fastrtc.transports.telephone.returning import Returns
from fastrtc.transports.webrtc.place import MediaPlace

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

    from fastrtc.transports.sip.account import SipAccount
    from fastrtc.transports.sip.listener import SipListener
    from fastrtc.transports.telephone.exchange import Exchange


class Telephones(ABC):
    """What a stream can do with telephones."""

    handler: HandlerBase
    telephone: TelephoneOptions | Literal[False] | None
    allowed_origins: Sequence[str] | None
    returns: Returns
    _door: Door
    _mounted: str
    _phones: Exchange | None
    _listeners: list[SipListener]

    @property
    @abstractmethod
    def media_place(self) -> MediaPlace:
        """See `Stream.media_place`."""

    @abstractmethod
    async def _let_in(
        self, session_id: str, *, identity: Any, reconnected: bool, **options: Any
    ) -> Session:
        """See `Stream._let_in`."""

    @abstractmethod
    async def identify(self, connection: HTTPConnection | None) -> Any:
        """See `Stream.identify`."""

    async def handle_incoming_call(self, request: Request, provider: str = "twilio") -> Response:
        """Answer the webhook of an incoming telephone call, with a document that connects it.

        Args:
            request: what the platform asks.
            provider: ``"twilio"``, ``"telnyx"``, ``"plivo"``, ``"vonage"``, ``"signalwire"`` or
                ``"exotel"``.

        Raises:
            ValueError: the handler cannot serve a telephone; the text says why.
        """
        self.handler._check_phone()
        return await self.phones.answer(
            provider, request, self._mounted, refusal=self._door.find_refusal
        )

    async def telephone_handler(self, websocket: WebSocket, provider: str = "twilio") -> None:
        """Serve the media socket of a telephone call, from its acceptance to its end.

        Where the platform's secret is in the environment, the call must show a token: the
        document of `handle_incoming_call` has one, a document of your own gets one by
        `telephone_token`.

        Raises:
            ValueError: the handler cannot serve a telephone; the text says why.
        """
        self.handler._check_phone()
        with continued(websocket.headers):
            await self.phones.serve(provider, websocket, self.allowed_origins)

    def telephone_token(self, provider: str = "twilio") -> str:
        """A token for a document of your own: a ``<Parameter>`` named ``fastrtc_token``.

        It lets one call of this provider in, within five minutes.
        """
        return self.phones.token(provider)

    async def call(
        self,
        *,
        to: str,
        from_: str,
        url: str | None = None,
        account_sid: str = "",
        auth_token: str = "",
        api: str = "https://api.twilio.com",
    ) -> str:
        """Call a telephone over Twilio; who answers talks to the handler.

        Args:
            to: the number to call, such as ``"+15550001111"``.
            from_: a number of the account's.
            url: where this app is reached from outside, such as ``"https://example.com"``;
                otherwise ``FASTRTC_URL`` in the environment.
            account_sid: the account; otherwise ``TWILIO_ACCOUNT_SID``.
            auth_token: its secret; otherwise ``TWILIO_AUTH_TOKEN``.
            api: where the REST API is, for another region than the default.

        Returns:
            Twilio's id of the call, which is ``get_current_context().phone.call_id`` once it is
            answered.

        Raises:
            ValueError: the account or the url is not known, or the handler cannot serve a
                telephone.
            CallError: Twilio does not take the call; the text has what it says.
        """
        self.handler._check_phone()
        url = url or os.environ.get("FASTRTC_URL", "")
        if not url:
            raise ValueError(
                "Twilio has to reach this app: give its address, as in "
                'call(..., url="https://example.com"), or set FASTRTC_URL.'
            )
        from fastrtc.transports.telephone.outbound import TwilioAccount

        account = TwilioAccount(shared_runtime().workers, account_sid, auth_token, api)
        return await self.phones.call(account, to, from_, url.rstrip("/") + self._mounted)

    async def answer_sip(
        self,
        host: str = "0.0.0.0",
        port: int = 5060,
        *,
        public_host: str | None = None,
        register: SipAccount | None = None,
    ) -> SipListener:
        """Answer SIP calls at a UDP port, until what is returned is closed.

        ``public_host`` is our address as callers see it, where ``host`` is another; ``register``
        an extension of a PBX to be.

        Raises:
            ValueError, OSError, ImportError: the handler cannot serve a telephone, the port cannot
                be had, the extra ``sip`` is not installed.
        """
        self.handler._check_phone()
        from fastrtc.transports.sip.listener import SipListener

        runtime = shared_runtime()
        await runtime.workers.call(lambda: self.handler._prepare(runtime.vad, runtime.endpoint))
        ports = UdpPorts(self.media_place.ports)
        listener = SipListener(host, public_host, self.identify, self._let_in, ports)
        await listener.open(port, register)
        self._door.open()
        self._listeners.append(listener)
        return listener

    @property
    def phones(self) -> Exchange:
        """What telephone calls come through.

        Raises:
            RuntimeError: the stream takes none.
        """
        if self.telephone is False:
            raise RuntimeError("This stream takes no telephone calls: it has telephone=False.")
        if self._phones is None:
            from fastrtc.transports.telephone.exchange import Exchange

            options = self.telephone or TelephoneOptions()
            self._phones = Exchange(options, self.returns, self._admit_phone)
        return self._phones

    async def _admit_phone(
        self, phone: PhoneCall, websocket: WebSocket, reconnected: bool
    ) -> Session:
        websocket.state.phone = phone
        identity = await self.identify(websocket)
        call_id = phone.stream_id or phone.call_id or secrets.token_hex(12)
        return await self._let_in(call_id, phone=phone, identity=identity, reconnected=reconnected)
