"""Keeps an account registered at its exchange (RFC 3261, 10.2). Pure, as its `UserAgent` is."""

from __future__ import annotations

import logging
import re
import secrets
from typing import Final

from fastrtc.transports.sip.account import SipAccount, answer_challenge, read_challenge
from fastrtc.transports.sip.agent import UserAgent
from fastrtc.transports.sip.dialog import MAGIC
from fastrtc.transports.sip.messages import Address, Response, write_request

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 30.0
"""After a refusal, or none at all, the exchange is asked again."""
SHORTEST: Final = 30
"""Seconds; an exchange that wants to be asked more often is asked as often as this."""
LONGEST: Final = 86_400

_EXPIRES = re.compile(r";\s*expires\s*=\s*(\d{1,9})", re.IGNORECASE)
_CHALLENGES: Final = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}


class Registration:
    """One account at its registrar.

    Attributes:
        due: when to `register` next; None while the exchange is being asked.
        registered: whether calls to the account come here.
    """

    def __init__(self, agent: UserAgent, account: SipAccount) -> None:
        self.due: float | None = 0.0
        self.registered = False
        self._agent = agent
        self._account = account
        self._expires = account.expires
        self._call_id = secrets.token_hex(12)
        self._tag = secrets.token_hex(8)
        self._number = 0
        self._at: Address = ("", 0)
        self._to: Address = ("", 0)
        self._leaving = False

    def register(self, at: Address, to: Address, now: float) -> None:
        """Ask the exchange to send calls here.

        Args:
            at: where we are reached.
            to: where the exchange is.
            now: the time.
        """
        self.due = None
        self._at, self._to = at, to
        self._send(now)

    def leave(self, now: float) -> None:
        """Ask it to send no more."""
        if self.registered:
            self._leaving, self.registered = True, False
            self._send(now)

    def failed(self, now: float, why: str) -> None:
        """It could not be asked, or did not agree."""
        self.registered = False
        self.due = now + RETRY_SECONDS
        logger.warning(
            "%s could not be registered at %s, and is tried again in %.0f s: %s",
            self._account.user,
            self._account.registrar,
            RETRY_SECONDS,
            why,
        )

    def _send(self, now: float, proof: tuple[str, str] | None = None) -> None:
        account = self._account
        self._number += 1
        name = f"<sip:{account.user}@{account.registrar}>"
        expires = 0 if self._leaving else self._expires
        lines = [
            ("From", f"{name};tag={self._tag}"),
            ("To", name),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._number} REGISTER"),
            ("Contact", f"<sip:{account.user}@{self._at[0]}:{self._at[1]}>;expires={expires}"),
            ("Expires", str(expires)),
        ]
        if proof is not None:
            lines.append(proof)
        branch = MAGIC + secrets.token_hex(8)
        data = write_request("REGISTER", self._uri, lines, branch, self._at)
        proved = proof is not None

        def then(response: Response | None, now: float) -> None:
            self._answered(response, proved, now)

        self._agent.ask(data, branch, self._to, then, now)

    @property
    def _uri(self) -> str:
        return f"sip:{self._account.registrar}"

    def _answered(self, response: Response | None, proved: bool, now: float) -> None:
        if response is not None and not proved and (proof := self._prove(response)) is not None:
            self._send(now, proof)
            return
        if self._leaving:
            return
        if response is None:
            self.failed(now, "there is no answer")
        elif response.code == 423 and (least := _number(response, "Min-Expires")):
            # Asked for longer, once: what is asked for then is what it wants.
            if least > self._expires:
                self._expires = min(least, LONGEST)
                self._send(now)
            else:
                self.failed(now, "it does not agree to how long")
        elif not 200 <= response.code < 300:
            self.failed(now, f"it answers {response.code}")
        else:
            if not self.registered:
                logger.info("%s is registered at %s", self._account.user, self._account.registrar)
            self.registered = True
            # Well before the end, so that there is time to ask twice.
            self.due = now + 0.8 * max(SHORTEST, self._granted(response))

    def _prove(self, response: Response) -> tuple[str, str] | None:
        asks, shows = _CHALLENGES.get(response.code, ("", ""))
        account = self._account
        for header in response.values(asks):
            challenge = read_challenge(header)
            if challenge is None:
                continue
            login = account.login or account.user
            proof = answer_challenge(
                challenge, "REGISTER", self._uri, login, account.password, secrets.token_hex(8)
            )
            if proof is not None:
                return shows, proof
        return None

    def _granted(self, response: Response) -> int:
        """For how long we are registered, of all who are registered for the account."""
        ours = f"{self._at[0]}:{self._at[1]}"
        for contact in response.values("Contact"):
            for one in contact.split(","):
                if ours in one and (found := _EXPIRES.search(one)):
                    return min(int(found[1]), LONGEST)
        return _number(response, "Expires") or self._expires


def _number(response: Response, name: str) -> int:
    value = next(iter(response.values(name)), "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0
