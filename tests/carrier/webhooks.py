"""The requests that Twilio makes of a server, and how it signs them."""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

import httpx

PATIENCE: Final = 15.0
"""Seconds in which a webhook must answer."""

HEADER: Final = "X-Twilio-Signature"


class Signing(enum.Enum):
    """How a request is signed."""

    RIGHT = enum.auto()
    """With the account's token; not at all if the account has none."""
    WRONG = enum.auto()
    """With the token of somebody else."""
    NONE = enum.auto()


def sign(token: str, url: str, form: Mapping[str, str]) -> str:
    """The signature of a request: HMAC-SHA1 over its URL and its sorted form, in base64."""
    signed = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.digest(token.encode(), signed.encode(), hashlib.sha1)).decode()


class Webhooks:
    """Sends signed requests for one account."""

    def __init__(self, account: str, token: str | None) -> None:
        self.account = account
        self._token = token
        # All of it goes to loopback: no proxy of the machine, and no certificates to load.
        self._http = httpx.AsyncClient(timeout=PATIENCE, trust_env=False, verify=False)

    def headers(self, url: str, form: Mapping[str, str], signing: Signing) -> dict[str, str]:
        """The header that signs a request, or none."""
        if signing is Signing.WRONG:
            return {HEADER: sign("of somebody else", url, form)}
        if signing is Signing.NONE or self._token is None:
            return {}
        return {HEADER: sign(self._token, url, form)}

    async def post(
        self, url: str, form: Mapping[str, str], signing: Signing = Signing.RIGHT
    ) -> httpx.Response:
        """Post a form; raises `httpx.TransportError` if nobody answers."""
        return await self._http.post(url, data=form, headers=self.headers(url, form, signing))

    async def close(self) -> None:
        await self._http.aclose()
