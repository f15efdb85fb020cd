"""Session descriptions of telephone calls: one G.711 stream, and keys as events. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fastrtc.audio.g711 import ALAW, MULAW

MOST_LINES: Final = 500
MOST_SECTIONS: Final = 8
LAWS: Final = {"PCMU": MULAW, "PCMA": ALAW}
STATIC: Final = {"0": "PCMU/8000", "8": "PCMA/8000"}
"""Payload types that need no rtpmap (RFC 3551, 6)."""
EVENT_TYPE: Final = 101
"""For telephone events in an offer of ours."""
NOWHERE: Final = "0.0.0.0"
"""A host in an old way to put a call on hold (RFC 3264, 8.4)."""
ANSWERED: Final = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}


class SdpError(ValueError):
    """A description that we have no answer to; the text says why."""


@dataclass(frozen=True)
class Media:
    """What the other side says of the call's sound.

    Attributes:
        host, port: where it hears.
        codec: ``"PCMU"`` or ``"PCMA"``.
        payload_type: how that is named in packets.
        event_type: how telephone events are; None if there are none.
        direction: who sends, seen from the other side.
        sections: kind, protocol and formats of each section, of which one is taken.
        taken: its index.
    """

    host: str
    port: int
    codec: str
    payload_type: int
    event_type: int | None
    direction: str = "sendrecv"
    sections: tuple[tuple[str, str, str], ...] = ()
    taken: int = 0

    @property
    def speaks(self) -> bool:
        """Whether the other side sends sound."""
        return self.direction in ("sendrecv", "sendonly")

    @property
    def listens(self) -> bool:
        """Whether the other side hears us."""
        return self.direction in ("sendrecv", "recvonly") and self.host != NOWHERE


@dataclass
class _Section:
    kind: str
    port: int
    protocol: str
    formats: list[str]
    host: str
    direction: str
    names: dict[str, str]
    """Codec and rate by payload type."""


def read_media(body: bytes) -> Media:
    """Read an offer, or the answer to one of ours.

    Raises:
        SdpError: it is no SDP, or has no G.711 over plain RTP.
    """
    sections = list(_sections(body))
    for index, section in enumerate(sections):
        if section.kind != "audio" or section.protocol != "RTP/AVP" or not section.port:
            continue
        codec = next((f for f in section.formats if _codec(section, f) in LAWS), None)
        if codec is None:
            continue
        try:
            ipaddress.IPv4Address(section.host)
        except ValueError as error:
            raise SdpError(f"expected an IPv4 address, got {section.host[:40]!r}") from error
        event = next((f for f in section.formats if _codec(section, f) == "TELEPHONE-EVENT"), None)
        return Media(
            section.host,
            section.port,
            _codec(section, codec),
            int(codec),
            None if event is None else int(event),
            section.direction,
            tuple((s.kind, s.protocol, " ".join(s.formats)) for s in sections),
            index,
        )
    raise SdpError("expected audio as PCMU or PCMA over RTP/AVP")


def write_answer(media: Media, host: str, port: int, session: tuple[int, int]) -> str:
    """Take what is offered, and decline other sections in their places.

    Args:
        media: the offer.
        host: where we hear.
        port: where we hear there.
        session: number and version of our side's description.
    """
    formats = [(str(media.payload_type), f"{media.codec}/8000")]
    if media.event_type is not None:
        formats.append((str(media.event_type), "telephone-event/8000"))
    lines: list[str] = []
    for index, (kind, protocol, given) in enumerate(media.sections):
        if index == media.taken:
            lines += _audio(port, formats, ANSWERED[media.direction])
        else:
            lines.append(f"m={kind} 0 {protocol} {given}")
    return _write(host, session, lines)


def write_offer(host: str, port: int, session: tuple[int, int]) -> str:
    """What we offer to a caller who leaves the offer to us (RFC 3261, 13.3.1.4)."""
    formats = [*STATIC.items(), (str(EVENT_TYPE), "telephone-event/8000")]
    return _write(host, session, _audio(port, formats, "sendrecv"))


def _audio(port: int, formats: list[tuple[str, str]], direction: str) -> list[str]:
    lines = [f"m=audio {port} RTP/AVP {' '.join(number for number, _ in formats)}"]
    for number, name in formats:
        lines.append(f"a=rtpmap:{number} {name}")
        if name.startswith("telephone-event"):
            lines.append(f"a=fmtp:{number} 0-15")
    return [*lines, "a=ptime:20", f"a={direction}"]


def _write(host: str, session: tuple[int, int], lines: list[str]) -> str:
    number, version = session
    head = ["v=0", f"o=- {number} {version} IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0"]
    return "\r\n".join([*head, *lines, ""])


def _codec(section: _Section, number: str) -> str:
    """The name of a format at 8 kHz, in capitals; nothing if it is none that we know."""
    name, _, rate = section.names.get(number, STATIC.get(number, "")).upper().partition("/")
    known = number.isascii() and number.isdigit() and int(number) < 128
    return name if known and rate in ("8000", "8000/1") else ""


def _sections(body: bytes) -> Iterator[_Section]:
    try:
        lines = body.decode().splitlines()
    except UnicodeDecodeError as error:
        raise SdpError("expected text") from error
    if not lines or not lines[0].startswith("v=") or len(lines) > MOST_LINES:
        raise SdpError("expected a session description")
    host, direction, count = "", "sendrecv", 0
    section: _Section | None = None
    for line in lines:
        kind, _, value = line.partition("=")
        words = value.split()
        if kind == "m":
            if section is not None:
                yield section
            count += 1
            section = _section(words, host, direction)
            if count > MOST_SECTIONS:
                raise SdpError(f"expected at most {MOST_SECTIONS} sections")
        elif kind == "c" and len(words) == 3:
            # Behind a slash are the lifetime and number of multicast addresses.
            found = words[2]
            if section is None:
                host = found
            else:
                section.host = found
        elif kind == "a" and value.strip() in ANSWERED:
            if section is None:
                direction = value.strip()
            else:
                section.direction = value.strip()
        elif kind == "a" and section is not None and value.startswith("rtpmap:"):
            number, _, name = value[len("rtpmap:") :].strip().partition(" ")
            section.names[number] = name.strip()
    if section is not None:
        yield section


def _section(words: list[str], host: str, direction: str) -> _Section:
    if len(words) < 4:
        raise SdpError("expected a section with a port, a protocol and formats")
    port = words[1].partition("/")[0]
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65_536):
        raise SdpError(f"expected a port, got {words[1][:40]!r}")
    return _Section(words[0], int(port), words[2], words[3:], host, direction, {})
