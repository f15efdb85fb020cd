"""SIP messages (RFC 3261): what a datagram says, and how a request is answered. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

try:
    import sipmessage
except ImportError as error:
    raise ImportError('SIP calls need sipmessage: pip install "fastrtc[sip]"') from error

LARGEST_MESSAGE: Final = 16_384
"""Bytes; an INVITE with every header that carriers know has some 5,000."""
LONGEST_CALL_ID: Final = 256
SIP_PORT: Final = 5060

PHRASES: Final = {
    100: "Trying",
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    415: "Unsupported Media Type",
    420: "Bad Extension",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}

Address = tuple[str, int]
"""Host and port."""
Key = tuple[str, ...]
"""What names a transaction: the same for an INVITE, its CANCEL and each repetition (17.2.3)."""

_FOLD = re.compile(rb"\r\n[ \t]+")
_SPACE_BEFORE_COLON = re.compile(rb"(\r\n[^\s:]+)[ \t]+:")
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\n")
_TOP_VIA = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^,"])*')
_RPORT = re.compile(r";\s*rport\s*(?==|;|$)(?:=\s*\d*)?", re.IGNORECASE)
_FACTS = ("p-asserted-identity", "diversion", "user-agent", "subject", "user-to-user")
_MALFORMED: Final = (ValueError, TypeError, KeyError, IndexError)
"""What the parser raises: a parameter named ``self`` is a TypeError, no header a KeyError."""


@dataclass(frozen=True)
class Request:
    """A request that has come.

    Attributes:
        method: such as ``"INVITE"``.
        uri: whom it is for.
        source: where it came from.
        reply_to: where its replies go (18.2.2, RFC 3581).
        key: of its transaction.
        call_id, from_tag, to_tag: of its dialog; the last is empty before there is one.
        number: of its CSeq.
        caller, called: the users of From and To, such as a telephone number.
        headers: all of them, with the names as they are spelled in RFC 3261 where they came short.
        body: as long as Content-Length says.
        fault: why it cannot be served, or nothing.
    """

    method: str
    uri: str
    source: Address
    reply_to: Address
    key: Key
    call_id: str
    from_tag: str
    to_tag: str
    number: int
    caller: str
    called: str
    headers: sipmessage.Headers = field(repr=False)
    body: bytes = field(repr=False)
    fault: str = ""

    def values(self, name: str) -> list[str]:
        """All values of a header, in order."""
        return self.headers.getlist(name)

    def first(self, name: str) -> str:
        """The first value of a header, or nothing."""
        return self.headers.get(name) or ""

    @property
    def facts(self) -> dict[str, str]:
        """What the headers tell of the call: those of the caller's own (``x-...``) and a few more,
        by their names in lower case.
        """
        names = [(name.lower(), name) for name in self.headers.keys()]  # noqa: SIM118
        return {
            low: self.first(name) for low, name in names if low in _FACTS or low.startswith("x-")
        }


@dataclass(frozen=True)
class Response:
    """An answer to a request of ours."""

    code: int
    branch: str
    headers: sipmessage.Headers = field(repr=False)

    def values(self, name: str) -> list[str]:
        """All values of a header, in order."""
        return self.headers.getlist(name)


def read_message(data: bytes, source: Address) -> Request | Response | None:
    """Read a datagram; None if it is nothing that can be answered, or no SIP at all."""
    head, gap, body = data.partition(b"\r\n\r\n")
    if not gap or len(data) > LARGEST_MESSAGE:
        return None
    head = _SPACE_BEFORE_COLON.sub(rb"\1:", _FOLD.sub(b" ", head))
    # Headers are echoed: one that hides a line of its own must not come into a reply.
    if _CONTROL.search(head.replace(b"\r\n", b"")):
        return None
    try:
        message = sipmessage.Message.parse(head + gap + body)
        via = message.via[0]
        if isinstance(message, sipmessage.Response):
            return Response(message.code, via.parameters.get("branch") or "", message.headers)
        return _request(message, via, source)
    except _MALFORMED:
        return None


def _request(message: sipmessage.Message, via: sipmessage.Via, source: Address) -> Request | None:
    assert isinstance(message, sipmessage.Request)
    headers = message.headers
    if not all(headers.get(name) for name in ("From", "To", "Call-ID", "CSeq")):
        return None
    port = SIP_PORT if via.port is None else via.port
    if "rport" in via.parameters:
        port = source[1]
    if not 0 < port < 65_536:
        return None
    fault, number, caller, called = "", 0, ("", ""), ("", "")
    body = message.body
    try:
        caller, called = _party(message.from_address), _party(message.to_address)
        number = message.cseq.sequence
        size = message.content_length
        if message.cseq.method != message.method:
            fault = "the CSeq is of another method"
        elif number >= 1 << 31:
            fault = "the CSeq is too large"
        elif len(message.call_id) > LONGEST_CALL_ID:
            fault = "the Call-ID is too long"
        elif size is not None and not 0 <= size <= len(body):
            fault = "the body is not as long as Content-Length says"
        body = body[:size]
    except _MALFORMED:
        fault = "a header cannot be read"
    branch = via.parameters.get("branch") or ""
    return Request(
        message.method,
        str(message.uri),
        source,
        (source[0], port),
        (via.host, str(via.port), branch, message.call_id, headers["CSeq"].split()[0]),
        message.call_id,
        caller[1],
        called[1],
        number,
        caller[0],
        called[0],
        headers,
        body,
        fault,
    )


def _party(address: sipmessage.Address) -> tuple[str, str]:
    """User and tag."""
    return address.uri.user or "", address.parameters.get("tag") or ""


def write_reply(
    request: Request,
    code: int,
    *,
    tag: str = "",
    headers: Sequence[tuple[str, str]] = (),
    body: str = "",
) -> bytes:
    """The answer to a request (8.2.6). ``tag``: ours, for a request that has none in its To."""
    vias = [_received(request), *request.values("Via")[1:]]
    to = request.first("To")
    if tag and not request.to_tag:
        to += f";tag={tag}"
    lines = [("Via", via) for via in vias]
    if code > 100:
        # The route of the dialog, which the caller's requests will take too.
        lines += [("Record-Route", route) for route in request.values("Record-Route")]
    lines += [
        ("From", request.first("From")),
        ("To", to),
        ("Call-ID", request.call_id),
        ("CSeq", request.first("CSeq")),
        *headers,
    ]
    return _write(f"SIP/2.0 {code} {PHRASES[code]}", lines, body)


def write_request(
    method: str, uri: str, lines: Sequence[tuple[str, str]], branch: str, at: Address
) -> bytes:
    """A request of ours, from where we are reached. ``lines``: all headers but Via."""
    via = f"SIP/2.0/UDP {at[0]}:{at[1]};branch={branch};rport"
    head = [("Via", via), ("Max-Forwards", "70"), *lines]
    return _write(f"{method} {uri} SIP/2.0", head, "")


def _write(start: str, lines: Sequence[tuple[str, str]], body: str) -> bytes:
    data = body.encode()
    text = [start, *(f"{name}: {value}" for name, value in lines)]
    return "\r\n".join([*text, f"Content-Length: {len(data)}", "", ""]).encode() + data


def _received(request: Request) -> str:
    """The topmost Via, with the place that the request came from. As text, because a branch that
    is written in another way is another branch.
    """
    value = request.first("Via")
    found = _TOP_VIA.match(value)
    top = value[: found.end()].strip() if found else value
    host, port = request.source
    top = _RPORT.sub(f";rport={port}", top)
    return f"{top};received={host}{value[found.end() :] if found else ''}"
