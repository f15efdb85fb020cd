"""A question to a web service that answers in JSON: bounded in time and size."""

from __future__ import annotations

import json
from http.client import HTTPException
from time import monotonic
from typing import Any, Final
from urllib.error import URLError
from urllib.request import HTTPErrorProcessor, Request, build_opener

TIMEOUT: Final = 10.0
"""Seconds for the whole exchange."""
MOST_BYTES: Final = 65_536


class ServiceError(ValueError):
    """There was no answer, or none that could be read.

    ``told``: the beginning of what a service said that refused.
    """

    def __init__(self, text: str, told: bytes = b"") -> None:
        super().__init__(text)
        self.told = told


class _AsItCame(HTTPErrorProcessor):
    # A redirect is not followed: urllib would send the credentials on to whatever host it names.
    # And what a refusal says is read within the same bounds as an answer.
    def http_response(self, request: Request, response: Any) -> Any:
        return response

    https_response = http_response


def ask(request: Request) -> Any:
    """Send a request and read the JSON that answers it. Blocks.

    Raises:
        ServiceError: see there.
    """
    deadline = monotonic() + TIMEOUT
    try:
        with build_opener(_AsItCame).open(request, timeout=TIMEOUT) as response:
            status, body = response.status, _read(response, deadline)
    except (OSError, HTTPException) as error:
        why = type(error.reason if isinstance(error, URLError) else error).__name__
        raise ServiceError(f"no whole answer ({why}; {TIMEOUT:g} s allowed)") from error
    if not 200 <= status < 300:
        raise ServiceError(f"HTTP status {status}", body[:MOST_BYTES])
    if len(body) > MOST_BYTES:
        raise ServiceError(f"more than {MOST_BYTES} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ServiceError(f"{len(body)} bytes that are not JSON") from error


def _read(response: Any, deadline: float) -> bytes:
    """A body; of one that is too large, so much that this is seen."""
    body = b""
    while chunk := response.read1(MOST_BYTES + 1 - len(body)):
        body += chunk
        if monotonic() > deadline:
            raise TimeoutError
    return body
