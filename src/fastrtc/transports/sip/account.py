"""A line at an exchange of your own: what to register there, and how a password is shown."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

HASHES: Final = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
"""By the algorithm of a challenge (RFC 2617, RFC 8760)."""

LONGEST_CHALLENGE: Final = 1_000
"""Characters; usual ones have 200."""

_FIELD = re.compile(r'([\w-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]+)')


@dataclass(frozen=True)
class SipAccount:
    """An extension of a PBX, which then sends its calls here.

    Attributes:
        registrar: the PBX, such as ``"192.0.2.10"`` or ``"pbx.example.com:5061"``.
        user: the extension.
        password: its secret.
        login: the name that goes with the password, if it is not the extension.
        expires: seconds for which to register at a time.
    """

    registrar: str
    user: str
    password: str = field(repr=False)
    login: str = ""
    expires: int = 300

    @property
    def place(self) -> tuple[str, int]:
        """Host and port of the registrar.

        Raises:
            ValueError: it is none.
        """
        host, _, port = self.registrar.partition(":")
        if not host or (port and not (port.isascii() and port.isdigit())):
            raise ValueError(f'expected a registrar such as "pbx.example.com", got {port!r}')
        return host, int(port or 5060)


def read_challenge(header: str) -> dict[str, str] | None:
    """The fields of a digest challenge; None for another kind, or one that is far too long."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "digest" or len(header) > LONGEST_CHALLENGE:
        return None
    found = {}
    for name, value in _FIELD.findall(rest):
        text = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        found[name.lower()] = text
    return found


def answer_challenge(
    challenge: Mapping[str, str],
    method: str,
    uri: str,
    login: str,
    password: str,
    cnonce: str,
    count: int = 1,
) -> str | None:
    """The credentials that a digest challenge asks for (RFC 2617, 3.2.2).

    Args:
        challenge: see `read_challenge`.
        method: of the request.
        uri: of the request.
        login: who we are.
        password: what shows that.
        cnonce: something random of ours.
        count: how often the challenge has been answered, with this time.

    Returns:
        A header; None if the challenge asks for something that we do not know.
    """
    realm, nonce = challenge.get("realm", ""), challenge.get("nonce", "")
    algorithm = challenge.get("algorithm", "MD5")
    hash_ = HASHES.get(algorithm.upper())
    offered = [kind.strip() for kind in challenge.get("qop", "").split(",") if kind.strip()]
    if hash_ is None or not nonce or (offered and "auth" not in offered):
        return None

    def digest(*parts: str) -> str:
        return hash_(":".join(parts).encode()).hexdigest()

    who, what = digest(login, realm, password), digest(method, uri)
    fields = [("username", login), ("realm", realm), ("nonce", nonce), ("uri", uri)]
    bare = [("algorithm", algorithm)]
    if offered:
        used = f"{count:08x}"
        response = digest(who, nonce, used, cnonce, "auth", what)
        fields.append(("cnonce", cnonce))
        bare += [("qop", "auth"), ("nc", used)]
    else:
        response = digest(who, nonce, what)
    fields.append(("response", response))
    if "opaque" in challenge:
        fields.append(("opaque", challenge["opaque"]))
    quoted = [f'{name}="{_escape(value)}"' for name, value in fields]
    return "Digest " + ", ".join([*quoted, *(f"{name}={value}" for name, value in bare)])


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
