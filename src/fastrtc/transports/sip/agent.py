"""The answering side of SIP (RFC 3261) over UDP. Pure: datagrams and times in, events out.

Give it what comes (`UserAgent.receive`) and let time pass (`UserAgent.advance`); after each call
of any method, send what is in `outbox` and act on what is in `events`.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fastrtc.transports.sip.dialog import Call, State
from fastrtc.transports.sip.messages import (
    Address,
    Request,
    Response,
    read_message,
    write_reply,
)
from fastrtc.transports.sip.sdp import SdpError, read_media
from fastrtc.transports.sip.transactions import MOST_KEPT, Memory, Name, Repeater

ALLOW: Final = ("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS")
SDP_TYPE: Final = "application/sdp"
NOT_SERVED: Final = (
    "INFO MESSAGE NOTIFY PRACK PUBLISH REFER REGISTER SUBSCRIBE UPDATE".split()  # noqa: SIM905
)
"""Methods that there are, and that we do not take."""
MOST_WAITING: Final = 100
"""Calls that are being let in, or that wait for their ACK, before more are turned away."""
RETRY_AFTER: Final = ("Retry-After", "1")


@dataclass(frozen=True)
class Invited:
    """Somebody calls: `UserAgent.accept` or `UserAgent.refuse` the call."""

    call: Call


@dataclass(frozen=True)
class Confirmed:
    """The caller knows that the call is taken: it begins."""

    call: Call


@dataclass(frozen=True)
class Renegotiated:
    """The caller has changed what it says of the sound: it holds the call, or hears elsewhere."""

    call: Call


@dataclass(frozen=True)
class Ended:
    """The call is over, not by us."""

    call: Call
    reason: str


Event = Invited | Confirmed | Renegotiated | Ended
Answered = Callable[[Response | None, float], None]
"""Takes the final answer to a request of ours, or None if there was none, and the time."""


class UserAgent:
    """All calls of one UDP port."""

    def __init__(self) -> None:
        self.outbox: deque[tuple[bytes, Address]] = deque()
        self.events: deque[Event] = deque()
        self.closing = False
        """Whether new calls are turned away."""
        self._calls: dict[tuple[str, str], Call] = {}
        self._memory = Memory()
        self._repeater = Repeater()
        self._asked: dict[str, Answered] = {}
        """Who waits for the answer to a request of ours, by its branch."""

    @property
    def busy(self) -> bool:
        """Whether time must pass: something is repeated until it is answered."""
        return len(self._repeater) > 0

    # From the network.

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """Take a datagram that came at this time (s)."""
        message = read_message(data, source)
        if isinstance(message, Response):
            self._response(message, now)
        elif message is not None:
            self._request(message, now)

    def advance(self, now: float) -> None:
        """Time has passed: repeat what is due, and give up what was never answered."""
        again, over = self._repeater.advance(now)
        self.outbox.extend(again)
        for name in over:
            if name[0] == "request":
                self._asked.pop(str(name[1]))(None, now)
                continue
            call = self._calls.get((str(name[1]), str(name[2])))
            if call is not None and call.state in (State.ANSWERED, State.TALKING):
                self._bye(call, now)
                self.events.append(Ended(call, "the answer was never acknowledged"))

    # From the line.

    def accept(self, call: Call, at: Address, media_port: int, now: float) -> None:
        """Take a call; nothing if its caller has given up.

        Args:
            call: of an `Invited`.
            at: where we are reached, as the caller sees it.
            media_port: where the sound is to be sent there.
            now: the time.
        """
        if call.state is State.WAITING:
            call.place(at, media_port)
            call.state = State.ANSWERED
            self._take(call, call.invite, now)

    def refuse(self, call: Call, code: int, now: float) -> None:
        """Turn a call away, with a status such as 486."""
        if call.state is State.WAITING:
            self._over(call)
            self._reply(call.invite, code, now, tag=call.tag)

    def hang_up(self, call: Call, now: float) -> None:
        """End a call, whatever its state."""
        if call.state is State.WAITING:
            self.refuse(call, 480, now)
        elif call.state is State.ANSWERED:
            call.hang_up_soon = True
        elif call.state is State.TALKING:
            self._bye(call, now)

    def ask(self, data: bytes, branch: str, to: Address, then: Answered, now: float) -> None:
        """Send a request of ours, until there is a final answer."""
        self.outbox.append((data, to))
        self._repeater.add(("request", branch), data, to, now)
        self._asked[branch] = then

    # Requests.

    def _request(self, request: Request, now: float) -> None:
        if request.method == "ACK":
            self._ack(request, now)
            return
        known = self._memory.find((request.key, request.method), now)
        if known is not None:
            self.outbox.append((known, request.reply_to))
            return
        required = ", ".join(request.values("Require"))
        if request.fault:
            self._reply(request, 400, now)
        elif request.method == "CANCEL":
            self._cancel(request, now)
        elif required:
            self._reply(request, 420, now, [("Unsupported", required)])
        elif request.method == "INVITE":
            self._invite(request, now)
        elif request.method == "BYE":
            self._hung_up(request, now)
        elif request.method == "OPTIONS":
            missing = request.to_tag and self._find(request) is None
            self._reply(request, 481 if missing else 200, now, [ALLOW, ("Accept", SDP_TYPE)])
        else:
            self._reply(request, 405 if request.method in NOT_SERVED else 501, now, [ALLOW])

    def _invite(self, request: Request, now: float) -> None:
        name = request.call_id, request.from_tag
        if request.to_tag:
            self._invite_again(request, now)
        elif name in self._calls:
            # The same call by another way (8.2.2.2).
            self._reply(request, 482, now)
        elif self.closing or self._waiting >= MOST_WAITING:
            self._reply(request, 503, now, [RETRY_AFTER])
        elif request.body and not _is_sdp(request):
            self._reply(request, 415, now, [("Accept", SDP_TYPE)])
        else:
            try:
                media = read_media(request.body) if request.body else None
            except SdpError:
                self._reply(request, 488, now)
                return
            call = self._calls[name] = Call(request, media)
            self._reply(request, 100, now)
            self.events.append(Invited(call))

    def _invite_again(self, request: Request, now: float) -> None:
        """The caller changes a call that is there (14.2)."""
        call = self._find(request)
        if call is None or call.state is State.ENDING:
            self._reply(request, 481, now)
        elif request.number <= call.number:
            self._reply(request, 500, now)
        elif call.state is not State.TALKING or _final(call, call.number) in self._repeater:
            self._reply(request, 500, now, [RETRY_AFTER])
        elif request.body and not _is_sdp(request):
            self._reply(request, 415, now, [("Accept", SDP_TYPE)])
        else:
            try:
                media = read_media(request.body) if request.body else None
            except SdpError:
                self._reply(request, 488, now)
                return
            call.follow(request)
            call.asked = media is None
            if media is not None:
                call.media = media
                self.events.append(Renegotiated(call))
            self._take(call, request, now)

    def _ack(self, request: Request, now: float) -> None:
        name = ("invite", request.call_id, request.from_tag, request.to_tag, str(request.number))
        call = self._find(request)
        if request.fault or not self._repeater.stop(name) or call is None:
            return
        if call.media is None or call.asked:
            call.asked = False
            try:
                call.media = read_media(request.body)
            except SdpError as error:
                self._bye(call, now)
                self.events.append(Ended(call, f"the caller's answer cannot be taken: {error}"))
                return
            if call.state is State.TALKING:
                self.events.append(Renegotiated(call))
        if call.state is State.ANSWERED:
            call.state = State.TALKING
            if call.hang_up_soon:
                self._bye(call, now)
            else:
                self.events.append(Confirmed(call))

    def _cancel(self, request: Request, now: float) -> None:
        call = self._calls.get((request.call_id, request.from_tag))
        if call is None or call.invite.key != request.key:
            answered = self._memory.find((request.key, "INVITE"), now) is not None
            self._reply(request, 200 if answered else 481, now)
            return
        self._reply(request, 200, now, tag=call.tag)
        if call.state is State.WAITING:
            self.refuse(call, 487, now)
            self.events.append(Ended(call, "the caller gave up"))

    def _hung_up(self, request: Request, now: float) -> None:
        call = self._find(request)
        if call is None:
            self._reply(request, 481, now)
        elif request.number <= call.number:
            self._reply(request, 500, now)
        else:
            self._reply(request, 200, now)
            ended_by_us = call.state is State.ENDING
            self._repeater.stop(_final(call, call.number))
            self._over(call)
            if not ended_by_us:
                self.events.append(Ended(call, "the caller hung up"))

    # Answers to requests of ours.

    def _response(self, response: Response, now: float) -> None:
        if response.code >= 200 and self._repeater.stop(("request", response.branch)):
            self._asked.pop(response.branch)(response, now)

    # Inside.

    @property
    def _waiting(self) -> int:
        waiting = (State.WAITING, State.ANSWERED)
        return sum(call.state in waiting for call in self._calls.values())

    def _find(self, request: Request) -> Call | None:
        """The call that a request belongs to, by all three parts of its name."""
        call = self._calls.get((request.call_id, request.from_tag))
        return call if call is not None and call.tag == request.to_tag else None

    def _take(self, call: Call, request: Request, now: float) -> None:
        """Answer an INVITE with our description, until the caller acknowledges that."""
        headers = [("Contact", call.contact), ALLOW, ("Content-Type", SDP_TYPE)]
        self._reply(request, 200, now, headers, tag=call.tag, body=call.describe())

    def _bye(self, call: Call, now: float) -> None:
        call.state = State.ENDING
        data, branch, to = call.bye()
        self.ask(data, branch, to, lambda *_: self._over(call), now)

    def _over(self, call: Call) -> None:
        call.state = State.OVER
        if self._calls.get(call.name) is call:
            del self._calls[call.name]

    def _reply(
        self,
        request: Request,
        code: int,
        now: float,
        headers: Sequence[tuple[str, str]] = (),
        *,
        tag: str = "",
        body: str = "",
    ) -> None:
        if code > 100 and not tag:
            tag = secrets.token_hex(8)
        data = write_reply(request, code, tag=tag, headers=headers, body=body)
        self.outbox.append((data, request.reply_to))
        self._memory.keep((request.key, request.method), data, now)
        # A flood of calls that are turned away is answered, but not again and again.
        room = code == 200 or len(self._repeater) < MOST_KEPT
        if request.method == "INVITE" and code >= 200 and room:
            tag = request.to_tag or tag
            name = ("invite", request.call_id, request.from_tag, tag, str(request.number))
            self._repeater.add(name, data, request.reply_to, now)


def _final(call: Call, number: int) -> Name:
    """The name of what we repeat until an INVITE's answer is acknowledged."""
    return ("invite", *call.name, call.tag, str(number))


def _is_sdp(request: Request) -> bool:
    kind = request.first("Content-Type").partition(";")[0].strip().lower()
    return kind in (SDP_TYPE, "")
