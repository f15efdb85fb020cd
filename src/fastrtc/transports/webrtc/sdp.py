"""Session descriptions: read a browser's offer, write our answer. Pure.

The server only ever answers, and takes one audio stream in both directions and one data
channel, all on one transport (RFC 8843 bundle, RFC 8829 answers). Whatever else is offered is
declined in its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

LONGEST_SDP: Final = 100_000
"""Characters; a browser's offer with every codec and camera has some 10,000."""
MOST_SECTIONS: Final = 64
DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")
ANSWERED: Final = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}


class SdpError(ValueError):
    """An offer that cannot be answered; the text says why."""


@dataclass(frozen=True)
class Opus:
    """How the offer names Opus: its payload type and format parameters."""

    payload_type: int
    parameters: dict[str, str]


@dataclass
class Section:
    """An ``m=`` section of an offer."""

    kind: str
    port: str
    protocol: str
    formats: list[str]
    mid: str = ""
    attributes: list[tuple[str, str]] = field(default_factory=list)

    def first(self, name: str) -> str | None:
        """The value of the first attribute of this name."""
        return next((value for key, value in self.attributes if key == name), None)

    def all(self, name: str) -> list[str]:
        """The values of all attributes of this name."""
        return [value for key, value in self.attributes if key == name]

    @property
    def direction(self) -> str:
        """Who sends, seen from the offerer."""
        names = [key for key, _ in self.attributes if key in DIRECTIONS]
        return names[-1] if names else "sendrecv"


@dataclass(frozen=True)
class Offer:
    """What an answer needs to know of an offer.

    Attributes:
        sections: all of them, in order.
        audio: the index of the section that is taken as the call's sound.
        data: the index of the section for the data channel, or None.
        opus: how sound is sent.
        ufrag, password: of the offerer's ICE agent.
        lite: whether that agent is only a lite one.
        fingerprints: ``(hash name, hex digest)`` of the offerer's certificate.
        setup: who may start the DTLS handshake: actpass, active or passive.
        candidates: ``candidate:...`` lines that came with the offer.
        ended: whether no more candidates follow.
        bundled: whether it says that its sections share a transport.
    """

    sections: list[Section]
    audio: int | None
    data: int | None
    opus: Opus | None
    ufrag: str
    password: str
    lite: bool
    fingerprints: list[tuple[str, str]]
    setup: str
    candidates: list[str]
    ended: bool
    bundled: bool

    @property
    def direction(self) -> str:
        """The direction of the sound, seen from the offerer."""
        return "inactive" if self.audio is None else self.sections[self.audio].direction

    def same_client(self, other: Offer) -> bool:
        """Whether both offers come from one peer connection: its certificate is its own."""
        return sorted(self.fingerprints) == sorted(other.fingerprints)

    def restarts(self, other: Offer) -> bool:
        """Whether this is an ICE restart of the call that the other offer made (RFC 8839)."""
        fresh = (self.ufrag, self.password) != (other.ufrag, other.password)
        return self.same_client(other) and fresh


def parse_offer(text: object) -> Offer:
    """Read an offer.

    Raises:
        SdpError: it is no SDP, or offers nothing that we can answer.
    """
    session, sections = _sections(text)
    bundle = _bundle(session, sections)
    audio = next((i for i in bundle if _opus(sections[i]) is not None), None)
    data = next((i for i in bundle if _is_data(sections[i])), None)
    taken = [index for index in (audio, data) if index is not None]
    if not taken:
        raise SdpError("the offer has neither Opus audio nor a data channel")
    main = sections[min(taken)]
    if main.first("ice-ufrag") is None:
        # Only the first section of a bundle must have the transport (RFC 8843, 7.2.1).
        main = sections[bundle[0]]

    def needed(name: str) -> str:
        value = main.first(name) or session.first(name)
        if not value:
            raise SdpError(f"the offer has no a={name}")
        return value

    prints = [*main.all("fingerprint"), *session.all("fingerprint")]
    fingerprints = [tuple(p.lower().split(maxsplit=1)) for p in prints]
    if not fingerprints or any(len(p) != 2 for p in fingerprints):
        raise SdpError("the offer has no a=fingerprint: only encrypted calls are taken")
    setup = (main.first("setup") or session.first("setup") or "actpass").lower()
    if setup not in ("actpass", "active", "passive"):
        raise SdpError(f"expected a=setup of actpass, active or passive, got {setup[:40]!r}")
    return Offer(
        sections=sections,
        audio=audio,
        data=data,
        opus=None if audio is None else _opus(sections[audio]),
        ufrag=needed("ice-ufrag"),
        password=needed("ice-pwd"),
        lite=session.first("ice-lite") is not None,
        fingerprints=[(p[0], p[1]) for p in fingerprints],
        setup=setup,
        candidates=main.all("candidate"),
        ended=main.first("end-of-candidates") is not None,
        bundled=any(group.startswith("BUNDLE") for group in session.all("group")),
    )


@dataclass(frozen=True)
class Answerer:
    """Our side of an answer.

    Attributes:
        session: the number of this session, and of this version of it.
        ufrag, password: of our ICE agent.
        candidates: our ``candidate:...`` values, without that word.
        fingerprints: of our certificate.
        setup: ``"active"`` or ``"passive"``.
        ssrc: of the sound that we send.
        cname: the name of our media.
        stereo: whether we want to hear stereo.
        data_port: SCTP port of our data channel.
        largest_message: in bytes, on the data channel.
        alive: how often something is sent, be it sound or not, in milliseconds; 0 for no promise.
            Clients take us for lost if nothing comes: it is an attribute of our own, which others
            pass over (RFC 8866, 5.13).
    """

    session: tuple[int, int]
    ufrag: str
    password: str
    candidates: list[str]
    fingerprints: list[tuple[str, str]]
    setup: str
    ssrc: int
    cname: str
    stereo: bool
    data_port: int = 5000
    largest_message: int = 65_536
    alive: int = 0


def write_answer(offer: Offer, ours: Answerer) -> str:
    """The answer to an offer."""
    taken = [i for i in (offer.audio, offer.data) if i is not None]
    bundle = " ".join(offer.sections[i].mid for i in sorted(taken))
    lines = [
        "v=0",
        f"o=- {ours.session[0]} {ours.session[1]} IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        *([f"a=group:BUNDLE {bundle}"] if offer.bundled else []),
        "a=msid-semantic:WMS *",
        *([f"a=x-alive:{ours.alive}"] if ours.alive else []),
    ]
    for index, section in enumerate(offer.sections):
        if index == offer.audio:
            lines += _audio_lines(offer, section, ours)
        elif index == offer.data:
            lines += _data_lines(section, ours)
        else:
            lines += [
                f"m={section.kind} 0 {section.protocol} {' '.join(section.formats)}",
                "c=IN IP4 0.0.0.0",
                "a=inactive",
                *_mid_lines(section),
            ]
            continue
        lines += _transport_lines(ours)
    return "\r\n".join(lines) + "\r\n"


def _audio_lines(offer: Offer, section: Section, ours: Answerer) -> list[str]:
    assert offer.opus is not None
    number = offer.opus.payload_type
    stereo = ";stereo=1;sprop-stereo=1" if ours.stereo else ""
    direction = ANSWERED[section.direction]
    lines = [
        f"m=audio 9 {section.protocol} {number}",
        "c=IN IP4 0.0.0.0",
        *_mid_lines(section),
        f"a={direction}",
        "a=rtcp-mux",
        f"a=rtpmap:{number} opus/48000/2",
        # In-band FEC repairs a lost packet from the next one; 20 ms is the pace of our clock.
        f"a=fmtp:{number} minptime=20;useinbandfec=1{stereo}",
        "a=ptime:20",
    ]
    if direction in ("sendrecv", "sendonly"):
        lines += [f"a=msid:{ours.cname} audio", f"a=ssrc:{ours.ssrc} cname:{ours.cname}"]
    return lines


def _data_lines(section: Section, ours: Answerer) -> list[str]:
    return [
        f"m=application 9 {section.protocol} {' '.join(section.formats)}",
        "c=IN IP4 0.0.0.0",
        *_mid_lines(section),
        f"a=sctp-port:{ours.data_port}",
        f"a=max-message-size:{ours.largest_message}",
    ]


def _mid_lines(section: Section) -> list[str]:
    return [f"a=mid:{section.mid}"] if section.mid else []


def _transport_lines(ours: Answerer) -> list[str]:
    return [
        f"a=ice-ufrag:{ours.ufrag}",
        f"a=ice-pwd:{ours.password}",
        "a=ice-options:trickle",
        *(f"a=fingerprint:{name} {digest}" for name, digest in ours.fingerprints),
        f"a=setup:{ours.setup}",
        *(f"a=candidate:{candidate}" for candidate in ours.candidates),
        "a=end-of-candidates",
    ]


def _sections(text: object) -> tuple[Section, list[Section]]:
    """The session's own attributes, and the media sections."""
    if not isinstance(text, str):
        raise SdpError(f"expected SDP text, got {type(text).__name__}")
    if len(text) > LONGEST_SDP:
        raise SdpError(f"expected at most {LONGEST_SDP} characters of SDP, got {len(text)}")
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].strip() != "v=0":
        raise SdpError(f"expected SDP that begins with v=0, got {lines[0][:40]!r}")
    session = current = Section("session", "", "", [])
    sections: list[Section] = []
    for line in lines[1:]:
        if line.startswith("m="):
            parts = line[2:].split()
            if len(parts) < 4 or len(sections) >= MOST_SECTIONS:
                raise SdpError(f"expected 'm=KIND PORT PROTOCOL FORMATS', got {line[:80]!r}")
            current = Section(parts[0], parts[1], parts[2], parts[3:])
            sections.append(current)
        elif line.startswith("a="):
            name, _, value = line[2:].strip().partition(":")
            current.attributes.append((name, value))
    for section in sections:
        section.mid = section.first("mid") or ""
    return session, sections


def _bundle(session: Section, sections: list[Section]) -> list[int]:
    """The sections that share the transport of the first of them."""
    groups = [g.split() for g in session.all("group") if g.startswith("BUNDLE")]
    live = [
        i for i, s in enumerate(sections) if s.port != "0" or s.first("bundle-only") is not None
    ]
    if groups:
        mids = groups[0][1:]
        inside = [i for i in live if sections[i].mid in mids]
        return sorted(inside, key=lambda i: mids.index(sections[i].mid))
    return live[:1]


def _is_data(section: Section) -> bool:
    return section.kind == "application" and "SCTP" in section.protocol


def _opus(section: Section) -> Opus | None:
    if section.kind != "audio":
        return None
    for value in section.all("rtpmap"):
        number, _, name = value.partition(" ")
        if name.strip().lower().startswith("opus/48000"):
            if not (re.fullmatch("[0-9]{1,3}", number) and int(number) <= 127):
                raise SdpError(f"expected a payload type of 0 to 127, got {number[:40]!r}")
            return Opus(int(number), _parameters(section, number))
    return None


def _parameters(section: Section, number: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in section.all("fmtp"):
        which, _, rest = value.partition(" ")
        if which == number:
            pairs = (part.strip().partition("=") for part in rest.split(";"))
            found.update({key: item for key, _, item in pairs if key})
    return found
