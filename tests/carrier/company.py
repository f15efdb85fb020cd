"""The carrier: an account, the calls that come in on its number, and those it is asked to make."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final

from fastapi import FastAPI

from tests.carrier.call import PhoneCall
from tests.carrier.rest import Form, make_api
from tests.carrier.webhooks import Signing, Webhooks
from tests.conftest import Sound
from tests.peers import serving

ACCOUNT: Final = "AC" + "0123456789abcdef" * 2
"""An account for tests that need no other."""

CALLER: Final = "+15550001111"
CALLED: Final = "+15552223333"


class Carrier:
    """Twilio on loopback, in the event loop of the test: ``async with Carrier(...) as carrier``.

    When the block ends, calls that are not over are hung up, and a fault in the TwiML of a call
    that the test did not wait for is raised.
    """

    def __init__(
        self,
        webhook: str,
        account: str = ACCOUNT,
        auth_token: str | None = None,
        delay: float = 0.0,
    ) -> None:
        """``webhook`` is the URL of the number; ``delay`` is in seconds, for each direction."""
        self.account = account
        self.calls: list[PhoneCall] = []
        self._webhook = webhook
        self._token = auth_token
        self._delay = delay
        self._webhooks = Webhooks(account, auth_token)

    async def dial(
        self,
        from_: str = CALLER,
        to: str = CALLED,
        speech: Sound | None = None,
        *,
        signing: Signing = Signing.RIGHT,
        socket_signing: Signing = Signing.RIGHT,
    ) -> PhoneCall:
        """Call the number; returns when the stream has started, or the call is over without.

        Args:
            from_: Who calls.
            to: Whom they call.
            speech: What they say from the first moment on.
            signing: How the webhook is signed.
            socket_signing: How the handshake of the media stream is signed.

        Raises:
            BadTwiml: The webhook's answer is not what Twilio would run.
        """
        call = PhoneCall(
            self._webhooks,
            from_,
            to,
            "inbound",
            delay=self._delay,
            speech=speech,
            socket_signing=socket_signing,
        )
        self.calls.append(call)
        call.place(self._webhook, signing=signing)
        await call.wait_started(timeout=20)
        return call

    @property
    def api(self) -> FastAPI:
        """The REST API as an app, for a client that needs no socket."""
        return make_api(self.account, self._token, self._order)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Serve the REST API on loopback; gives the URL that stands for Twilio's own."""
        async with serving(self.api) as http:
            yield str(http.base_url).rstrip("/")

    async def close(self) -> None:
        """Hang up every call; the first fault that nobody was told of is raised."""
        faults = [await call.close() for call in self.calls]
        await self._webhooks.close()
        for fault in faults:
            if fault is not None:
                raise fault

    async def __aenter__(self) -> Carrier:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.close()
        except Exception:
            # The test's own failure says more than one that came after it.
            if error is None:
                raise

    def _order(self, form: Form) -> PhoneCall:
        """Make the call that was asked for over REST; somebody answers at once."""
        call = PhoneCall(
            self._webhooks, form["From"][0], form["To"][0], "outbound-api", delay=self._delay
        )
        call.form = form
        self.calls.append(call)
        call.place(form.get("Url", [self._webhook])[0], form.get("Twiml", [None])[0])
        return call
