"""What in a request says which call it belongs to. Pure.

Clients of the old protocol, routes of a user's own and Gradio's events say it in places of their
own: in the query, in the JSON body, or somewhere within that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

DEEPEST: Final = 5
"""Levels of a body that are looked through; Gradio's values are at the fourth."""
MOST_LOOKED_AT: Final = 2_000
"""Values of a body that are looked at."""
MOST_FIELDS: Final = 100
"""Fields of a query."""
LONGEST: Final = 256
"""Characters of an id."""
GRADIO: Final = "/gradio_api/"
"""What is in the path of all that a page of Gradio asks for."""
OF_A_PAGE: Final = re.compile(r"/gradio_api/(?:heartbeat|stream)/([^/]+)")
"""Paths in which Gradio has the id of a page."""
QUEUE: Final = "/gradio_api/queue/join"
"""Where events go whose results the page reads from its own replica, whatever they are about."""


@dataclass(frozen=True)
class Key:
    """What a request belongs to.

    Attributes:
        call: the id of a call; empty if it names none.
        page: the id of a Gradio page; empty if it comes from none.
        begins: whether it is the offer of a call.
        again: whether that call was lost before.
    """

    call: str = ""
    page: str = ""
    begins: bool = False
    again: bool = False

    def __bool__(self) -> bool:
        return bool(self.call or self.page)


def read_key(path: str, query: bytes, body: bytes = b"") -> Key:
    """Read the key of a request.

    Args:
        path: of its URL.
        query: of its URL, behind the question mark.
        body: JSON; anything else says nothing.
    """
    # Elsewhere it would cost the pages that there are their places.
    of_gradio = GRADIO in path
    try:
        asked = parse_qs(query.decode("latin-1"), max_num_fields=MOST_FIELDS)
    except ValueError:
        asked = {}
    call, page = _first(asked, "webrtc_id"), ""
    if of_gradio:
        page = _first(asked, "session_hash")
    begins = again = False
    for part in _parts(body):
        found = _id(part.get("webrtc_id"))
        if found and (not call or call == found):
            call = found
            begins = begins or (part.get("type") == "offer" and "sdp" in part)
            again = again or part.get("reconnected") is True
        if of_gradio:
            page = page or _id(part.get("session_hash"))
    if not page and (found_there := OF_A_PAGE.search(path)):
        page = _id(found_there[1])
    if page and path.endswith(QUEUE):
        return Key(page=page)
    return Key(call, page, begins, again)


def _first(asked: dict[str, list[str]], name: str) -> str:
    return _id(asked.get(name, [""])[0])


def _id(given: Any) -> str:
    if not isinstance(given, str) or len(given) > LONGEST:
        return ""
    # Half a character, which JSON can have, can be sent nowhere.
    return "" if any("\ud800" <= it <= "\udfff" for it in given) else given


def _parts(body: bytes) -> Iterator[dict[str, Any]]:
    """The objects of a body, the outer ones first."""
    try:
        level = [json.loads(body)] if body else []
    except (ValueError, RecursionError):
        return
    looked_at = 0
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for value in level:
            looked_at += 1
            if looked_at > MOST_LOOKED_AT:
                return
            if isinstance(value, dict):
                yield value
                inner += value.values()
            elif isinstance(value, list):
                inner += value
        level = inner


def refusal_in(body: bytes) -> str:
    """What an answer to an offer gives as the reason of its refusal; empty if it is none."""
    for part in _parts(body):
        if part.get("status") == "failed" and isinstance(part.get("meta"), dict):
            return str(part["meta"].get("error", ""))
    return ""
