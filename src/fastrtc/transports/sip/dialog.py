"""One call as SIP knows it: whose it is, where requests go, and how far it has come. Pure."""

from __future__ import annotations

import re
import secrets
from enum import Enum
from typing import Final

from fastrtc.transports.sip.messages import SIP_PORT, Address, Request, write_request
from fastrtc.transports.sip.sdp import Media, write_answer, write_offer

MAGIC: Final = "z9hG4bK"
"""What every branch begins with (RFC 3261, 8.1.1.7)."""

_URI = re.compile(r"<([^<>]*)>|^\s*([^\s;,<>\"]+)")
_PLACE = re.compile(r"sips?:(?:[^@;?]*@)?([^:;?>]+)(?::(\d{1,5}))?")


class State(Enum):
    """How far a call has come."""

    WAITING = "waiting"
    """It is not decided whether it is taken."""
    ANSWERED = "answered"
    """It is taken, and the caller has not acknowledged it."""
    TALKING = "talking"
    ENDING = "ending"
    """We have hung up, and the other side has not answered to that."""
    OVER = "over"


class Call:
    """A call that came in.

    Attributes:
        invite: the request that began it.
        media: what the caller says of the sound; None until that is known.
        tag: our side's half of the dialog's name.
        number: of the last request that came.
        hang_up_soon: whether to hang up when it is acknowledged, which must come first (15).
        asked: whether we have made an offer that the next ACK answers.
    """

    def __init__(self, invite: Request, media: Media | None) -> None:
        self.invite = invite
        self.media = media
        self.state = State.WAITING
        self.tag = secrets.token_hex(8)
        self.number = invite.number
        self.hang_up_soon = False
        self.asked = False
        self._at: Address = ("", 0)
        self._hears: Address = ("", 0)
        self._session = secrets.randbits(31)
        self._version = 0
        self._target = _contact(invite)
        self._source = invite.source

    @property
    def name(self) -> tuple[str, str]:
        """Of the dialog, as the caller has it."""
        return self.invite.call_id, self.invite.from_tag

    @property
    def contact(self) -> str:
        """Where we want the caller's further requests."""
        return f"<sip:{self._at[0]}:{self._at[1]}>"

    def place(self, at: Address, media_port: int) -> None:
        """Where we are reached, and the port for the sound there."""
        self._at = at
        self._hears = at[0], media_port

    def describe(self) -> str:
        """Our description of the sound: an answer, or an offer if there is none to answer."""
        self._version += 1
        session = (self._session, self._version)
        if self.media is None or self.asked:
            return write_offer(*self._hears, session)
        return write_answer(self.media, *self._hears, session)

    def follow(self, request: Request) -> None:
        """A later request of the dialog has come."""
        self.number = request.number
        self._source = request.source
        self._target = _contact(request) or self._target

    def bye(self) -> tuple[bytes, str, Address]:
        """The request that hangs up, its branch, and where it goes."""
        routes = self.invite.values("Record-Route")
        branch = MAGIC + secrets.token_hex(8)
        lines = [
            *(("Route", route) for route in routes),
            ("From", f"{self.invite.first('To')};tag={self.tag}"),
            ("To", self.invite.first("From")),
            ("Call-ID", self.invite.call_id),
            ("CSeq", "1 BYE"),
        ]
        # A caller without a Contact is asked for by the name it gave.
        target = self._target or _uri(self.invite.first("From"))
        first = _uri(routes[0]) if routes else target
        data = write_request("BYE", target, lines, branch, self._at)
        return data, branch, _reached(first, self._source)


def _contact(request: Request) -> str:
    return _uri(request.first("Contact"))


def _uri(header: str) -> str:
    found = _URI.search(header)
    return "" if found is None else (found[1] or found[2] or "").strip()


def _reached(uri: str, source: Address) -> Address:
    """Where the owner of a URI gets our requests.

    That is where theirs come from, as a caller behind NAT names a place that only it can reach,
    and a forged one would have us send to a third party. Only the port is believed, of a host that
    is the one that sends: a proxy may send from another port than it listens at.
    """
    found = _PLACE.match(uri)
    if found is None or found[1] != source[0]:
        return source
    port = int(found[2] or SIP_PORT)
    return (source[0], port) if 0 < port < 65_536 else source
