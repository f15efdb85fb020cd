"""Calls that we make, over Twilio's REST API (https://www.twilio.com/docs/voice/api/call-resource)."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode
from urllib.request import Request

from fastrtc.threads import Workers
from fastrtc.transports.telephone.provider import TelephoneOptions
from fastrtc.web_service import ServiceError, ask


class CallError(RuntimeError):
    """A call could not be placed; the text has what Twilio says."""


@dataclass(frozen=True)
class TwilioAccount:
    """Whose calls they are.

    Attributes:
        sid: the account; where empty, ``TWILIO_ACCOUNT_SID``.
        token: its secret; where empty, ``TWILIO_AUTH_TOKEN``.
        api: where the API is.
        workers: run what blocks.
    """

    workers: Workers = field(repr=False, compare=False)
    sid: str
    token: str = field(repr=False)
    api: str

    async def call(self, to: str, from_: str, document: str, options: TelephoneOptions) -> str:
        """Call a number, and let TwiML say what happens; the id of the call.

        Raises:
            ValueError: the account is not known.
            CallError: Twilio does not take it.
        """
        sid = self.sid or os.environ.get("TWILIO_ACCOUNT_SID", "")
        token = self.token or os.environ.get("TWILIO_AUTH_TOKEN", "")
        if not sid or not token:
            raise ValueError(
                "Twilio needs an account and its secret: set TWILIO_ACCOUNT_SID and "
                "TWILIO_AUTH_TOKEN."
            )
        fields = {"To": to, "From": from_, "Twiml": document, **_status(options)}
        secret = base64.b64encode(f"{sid}:{token}".encode()).decode()
        request = Request(
            f"{self.api.rstrip('/')}/2010-04-01/Accounts/{quote(sid, safe='')}/Calls.json",
            data=urlencode(fields).encode(),
            headers={"Authorization": f"Basic {secret}", "User-Agent": "fastrtc"},
        )
        try:
            answer = await self.workers.call(lambda: ask(request))
        except ServiceError as error:
            raise CallError(f"Twilio took no call to {to}: {error}{_told(error)}") from error
        if not isinstance(answer, Mapping) or not isinstance(answer.get("sid"), str):
            raise CallError(f"Twilio took no call to {to}: its answer names none")
        return str(answer["sid"])


def _status(options: TelephoneOptions) -> dict[str, str]:
    """Options of the call itself. Its recording is begun by the document."""
    if not options.status_callback:
        return {}
    return {"StatusCallback": options.status_callback}


def _told(error: ServiceError) -> str:
    try:
        return f" ({json.loads(error.told)['message']})"
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
