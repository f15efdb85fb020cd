"""ICE candidates in the forms that browsers send them. Pure.

RFC 8839, section 5.1. Chrome adds ``generation`` and ``network-cost``, Firefox sends the bare
eight tokens, Safari hides addresses behind mDNS names; all three end with an empty candidate or
null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LONGEST: Final = 1_000
TYPES: Final = ("host", "srflx", "prflx", "relay")


class CandidateError(ValueError):
    """A candidate that cannot be read; the text says why."""


@dataclass(frozen=True)
class RemoteCandidate:
    """A candidate of the client. A host is an address or an mDNS name."""

    foundation: str
    component: int
    transport: str
    priority: int
    host: str
    port: int
    type: str
    related_host: str | None = None
    related_port: int | None = None
    tcp_type: str | None = None


def parse_candidate(given: object) -> RemoteCandidate | None:
    """Read what a client posted; None is the end of its candidates.

    Args:
        given: what ``RTCIceCandidate.toJSON()`` gives, or null, or the bare text.

    Raises:
        CandidateError: it is none of these.
    """
    if isinstance(given, dict):
        given = given.get("candidate")
    if given is None:
        return None
    if not isinstance(given, str) or len(given) > LONGEST:
        raise CandidateError(f"expected candidate text, got {type(given).__name__}")
    text = given.strip().removeprefix("a=").removeprefix("candidate:")
    if not text or text == "end-of-candidates":
        return None
    return parse_candidate_text(text)


def parse_candidate_text(text: str) -> RemoteCandidate:
    """Read the eight tokens of a candidate, and what may follow them."""
    tokens = text.removeprefix("candidate:").split()
    if len(tokens) < 8 or tokens[6] != "typ":
        raise CandidateError(
            "expected 'FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT typ TYPE', "
            f"got {text[:120]!r}"
        )
    extra = dict(zip(tokens[8::2], tokens[9::2], strict=False))
    if tokens[7] not in TYPES:
        raise CandidateError(f"expected a type of {', '.join(TYPES)}, got {tokens[7][:40]!r}")
    return RemoteCandidate(
        foundation=tokens[0][:32],
        component=_number("component", tokens[1], 256),
        transport=tokens[2].lower(),
        priority=_number("priority", tokens[3], 2**32 - 1),
        host=tokens[4],
        port=_number("port", tokens[5], 65_535),
        type=tokens[7],
        related_host=extra.get("raddr"),
        related_port=_number("rport", extra["rport"], 65_535) if "rport" in extra else None,
        tcp_type=extra.get("tcptype"),
    )


def _number(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= most):
        raise CandidateError(f"expected a {name} of 0 to {most}, got {text[:40]!r}")
    return int(text)
