"""The other side of SIP, on virtual time: writes requests, and reads what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastrtc.transports.sip.agent import Event, Invited, UserAgent
from fastrtc.transports.sip.dialog import Call

HERE = ("192.0.2.7", 5090)
"""Where the caller is."""
US = ("198.51.100.1", 5060)
"""Where we are."""
MEDIA_PORT = 40_000

OFFER = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
    "m=audio 7000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
)
HOLD = OFFER.replace("sendrecv", "sendonly")


@dataclass
class Message:
    """What came: its first line, headers by name in lower case, and body."""

    start: str
    headers: dict[str, str]
    body: str
    to: tuple[str, int]

    @property
    def code(self) -> int:
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        return "" if self.code else self.start.split()[0]

    @property
    def tag(self) -> str:
        return self.headers["to"].partition(";tag=")[2]


def read(data: bytes, to: tuple[str, int]) -> Message:
    head, _, body = data.decode().partition("\r\n\r\n")
    start, *lines = head.split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    assert int(headers["content-length"]) == len(body.encode())
    return Message(start, headers, body, to)


def write(
    method: str,
    *,
    branch: str = "z9hG4bKone",
    number: int = 1,
    call_id: str = "call-1",
    tag: str = "theirs",
    to_tag: str = "",
    body: str = "",
    extra: str = "",
    via: str = "SIP/2.0/UDP 192.0.2.7:5090;rport",
    contact: str = "<sip:alice@192.0.2.7:5090>",
) -> bytes:
    to = f"<sip:talk@example.com>{f';tag={to_tag}' if to_tag else ''}"
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"{method} sip:talk@198.51.100.1 SIP/2.0\r\nVia: {via};branch={branch}\r\n"
        f'From: "Alice" <sip:+15550001@example.com>;tag={tag}\r\nTo: {to}\r\n'
        f"Call-ID: {call_id}\r\nCSeq: {number} {method}\r\nContact: {contact}\r\n"
        f"Max-Forwards: 70\r\n{extra}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


@dataclass
class Desk:
    """An agent, a caller and a clock."""

    agent: UserAgent = field(default_factory=UserAgent)
    now: float = 100.0

    def send(self, data: bytes, source: tuple[str, int] = HERE) -> list[Message]:
        """Give the agent a datagram; what it sends."""
        self.agent.receive(data, source, self.now)
        return self.sent()

    def sent(self) -> list[Message]:
        found = [read(*item) for item in self.agent.outbox]
        self.agent.outbox.clear()
        return found

    def events(self) -> list[Event]:
        found = list(self.agent.events)
        self.agent.events.clear()
        return found

    def wait(self, seconds: float, step: float = 0.1) -> list[tuple[float, Message]]:
        """Let time pass; what is sent meanwhile, and after how long."""
        start, found = self.now, []
        for n in range(1, round(seconds / step) + 1):
            self.now = start + n * step
            self.agent.advance(self.now)
            found += [(round(n * step, 3), message) for message in self.sent()]
        return found

    def invite(self, **given: str) -> Call:
        """A call that waits to be let in."""
        self.send(write("INVITE", **{"body": OFFER, **given}))  # type: ignore[arg-type]
        (event,) = self.events()
        assert isinstance(event, Invited)
        return event.call

    def accept(self, call: Call) -> Message:
        self.agent.accept(call, US, MEDIA_PORT, self.now)
        (answer,) = self.sent()
        return answer

    def talk(self, **given: str) -> Call:
        """A call that has begun."""
        call = self.invite(**given)
        self.accept(call)
        assert not self.send(ack(call))
        self.events()
        return call


def ack(call: Call, number: int = 1, body: str = "") -> bytes:
    return write(
        "ACK",
        branch=f"z9hG4bKack{number}",
        number=number,
        call_id=call.invite.call_id,
        to_tag=call.tag,
        body=body,
    )


def bye(call: Call, number: int = 2) -> bytes:
    return write("BYE", branch="z9hG4bKbye", number=number, to_tag=call.tag)
