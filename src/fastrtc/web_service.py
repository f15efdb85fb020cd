"""A question to a web service that answers in JSON: bounded in time and size."""

from __future__ import annotations

import json
from http.client import HTTPException
from time import monotonic
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

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


class _NoRedirects(HTTPRedirectHandler):
    # urllib would send the credentials on to whatever host a redirect names.
    def redirect_request(self, *_: Any) -> None:
        return None


def ask(request: Request) -> Any:
    """Send a request and read the JSON that answers it. Blocks.

    Raises:
        ServiceError: see there.
    """
    deadline = monotonic() + TIMEOUT
    body = b""
    try:
        with build_opener(_NoRedirects).open(request, timeout=TIMEOUT) as response:
            while chunk := response.read1(MOST_BYTES + 1 - len(body)):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise ServiceError(f"more than {MOST_BYTES} bytes")
                if monotonic() > deadline:
                    raise TimeoutError
        return json.loads(body)
    except HTTPError as error:
        with error:
            raise ServiceError(f"HTTP status {error.code}", error.read(MOST_BYTES)) from error
    except (OSError, HTTPException) as error:
        why = type(error.reason if isinstance(error, URLError) else error).__name__
        raise ServiceError(f"no whole answer ({why}; {TIMEOUT:g} s allowed)") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ServiceError(f"{len(body)} bytes that are not JSON") from error
