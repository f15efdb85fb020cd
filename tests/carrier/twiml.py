"""Reads a TwiML document, and accepts nothing in it that is not documented."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

LARGEST_DOCUMENT: Final = 64 * 1024
"""Bytes of TwiML that Twilio reads."""

LONGEST_TEXT: Final = 4_096
"""Characters of one <Say>."""

LONGEST_PARAMETER: Final = 500
"""Characters of a <Parameter>: its name and its value together."""

TYPES: Final = ("application/xml", "text/xml", "text/html")
"""The content types that are read as TwiML."""


class BadTwiml(AssertionError):
    """The server answered with a document that Twilio would not run."""


@dataclass(frozen=True)
class Element:
    """One verb or noun of a document."""

    name: str
    attributes: dict[str, str]
    text: str
    children: list[Element]


Choices = tuple[str, ...]
"""The values that an attribute may have; none stands for any value."""


@dataclass(frozen=True)
class _Rule:
    attributes: dict[str, Choices] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    text: bool = False


_RULES: Final = {
    "Response": _Rule(
        children=("Say", "Pause", "Start", "Connect", "Redirect", "Reject", "Hangup")
    ),
    "Say": _Rule({"voice": (), "language": (), "loop": ()}, text=True),
    "Pause": _Rule({"length": ()}),
    "Start": _Rule(children=("Recording",)),
    "Recording": _Rule(
        {
            "recordingStatusCallback": (),
            "recordingStatusCallbackMethod": ("GET", "POST"),
            "recordingStatusCallbackEvent": (),
            "trim": ("trim-silence", "do-not-trim"),
            "track": ("inbound", "outbound", "both"),
            "channels": ("mono", "dual"),
        }
    ),
    "Connect": _Rule(children=("Stream",)),
    "Stream": _Rule(
        {
            "url": (),
            "name": (),
            # The only track of a stream in both directions; another is error 31941.
            "track": ("inbound_track",),
            "statusCallback": (),
            "statusCallbackMethod": ("POST",),
        },
        required=("url",),
        children=("Parameter",),
    ),
    "Parameter": _Rule({"name": (), "value": ()}, required=("name", "value")),
    "Redirect": _Rule({"method": ("GET", "POST")}, text=True),
    "Reject": _Rule({"reason": ("rejected", "busy")}),
    "Hangup": _Rule(),
}


def parse(document: bytes, base: str) -> list[Element]:
    """The verbs of a document that came from the URL ``base``, in order.

    Raises:
        BadTwiml: It is not XML, or says what is not in Twilio's documentation.
    """
    _require(len(document) <= LARGEST_DOCUMENT, f"{len(document)} bytes of TwiML are too many")
    try:
        root = ElementTree.fromstring(document)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise BadTwiml(f"error 12100, not XML: {error}: {document!r}") from None
    _require(root.tag == "Response", f"the document is a <{root.tag}>, not a <Response>")
    return _read(root, base).children


def _read(node: ElementTree.Element, base: str) -> Element:
    rule = _RULES[node.tag]
    for name, value in node.attrib.items():
        _require(name in rule.attributes, f"<{node.tag}> has no attribute {name}")
        choices = rule.attributes[name]
        _require(not choices or value in choices, f"<{node.tag} {name}> is {value!r}")
    for name in rule.required:
        _require(name in node.attrib, f"<{node.tag}> lacks {name}")
    text = (node.text or "").strip()
    _require(not text or rule.text, f"<{node.tag}> holds the text {text!r}")
    for child in node:
        _require(child.tag in rule.children, f"<{node.tag}> cannot hold <{child.tag}>")
        _require(not (child.tail or "").strip(), f"stray text: {child.tail!r}")
    attributes = dict(node.attrib)
    if node.tag == "Stream":
        attributes["url"] = _stream_url(attributes["url"], base)
        _check_stream(attributes, node)
    _require(node.tag != "Say" or 0 < len(text) <= LONGEST_TEXT, "<Say> is empty or too long")
    if node.tag == "Redirect":
        _require(bool(text), "<Redirect> has no URL")
        text = urljoin(base, text)
        _require(text.startswith(("http://", "https://")), f"<Redirect> to {text}")
    _require(node.tag != "Connect" or len(node) == 1, "<Connect> needs one <Stream>")
    return Element(node.tag, attributes, text, [_read(child, base) for child in node])


def _stream_url(url: str, base: str) -> str:
    """An absolute URL; what is relative is so to the document."""
    scheme = "wss" if base.startswith("https") else "ws"
    try:
        parts = urlsplit(url if "://" in url else urljoin(base, url))
    except ValueError as error:
        raise BadTwiml(f"a Stream's url is no URL: {url}: {error}") from None
    if "://" not in url:
        parts = parts._replace(scheme=scheme)
    _require(not parts.query and "?" not in url, f"a Stream's url cannot have a query: {url}")
    secure = parts.scheme == "wss" or (parts.scheme == "ws" and _is_loopback(parts.hostname))
    _require(secure and bool(parts.hostname), f"a Stream's url must be wss://, not {url}")
    return parts.geturl()


def _check_stream(attributes: dict[str, str], node: ElementTree.Element) -> None:
    callback = attributes.get("statusCallback", "http://")
    _require(callback.startswith(("http://", "https://")), f"{callback} is no absolute URL")
    for child in node:
        length = len(child.get("name", "") + child.get("value", ""))
        _require(length <= LONGEST_PARAMETER, f"a <Parameter> of {length} characters is too long")


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise BadTwiml(fault)
