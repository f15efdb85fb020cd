"""Cartesia, a hosted voice: the sound of a clause is heard while the service still makes it."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Final
from urllib.parse import urlsplit

import numpy as np

from fastrtc.models.tts.talk import Floats
from fastrtc.models.tts.voice import ClauseVoice, Part
from fastrtc.threads import readers

CONNECT_PATIENCE: Final = 5.0
"""Seconds for a connection to be made."""
READ_PATIENCE: Final = 10.0
"""Seconds without a byte after which the service is given up."""
PART: Final = 0.1
"""Seconds of sound that are handed out at once."""
SAMPLE: Final = 4
"""Bytes of a sample: float32, little-endian."""
RATES: Final = range(8_000, 48_001)
"""Hz that may be asked for."""
MOST_BYTES: Final = 4_096
"""Of an answer that is no sound."""
LONGEST_COMPLAINT: Final = 300
"""Letters of the service's own words that an error repeats."""


class CartesiaError(RuntimeError):
    """The service did not speak; the text says why."""


@dataclass
class CartesiaTTSOptions:
    """How Cartesia speaks. Which values there are is in the service's own documentation.

    Attributes:
        voice: the id of a voice.
        language: of the text, such as ``en``. Text is prepared for speech in English only.
        emotion: such as ``["positivity:high"]``.
        cartesia_version: of the service's interface, a date.
        model: the id of a model.
        sample_rate: of the sound, in Hz.
    """

    voice: str = "71a7ad14-091c-4e8e-a314-022ece01c121"
    language: str = "en"
    emotion: list[str] = field(default_factory=list)
    cartesia_version: str = "2024-06-10"
    model: str = "sonic-2"
    sample_rate: int = 22050

    def __post_init__(self) -> None:
        for name in ("voice", "language", "model"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"expected the name of a {name}, got {value!r}")
        if not isinstance(self.emotion, (list, tuple)) or not all(
            isinstance(one, str) for one in self.emotion
        ):
            raise ValueError(f"expected a list of emotions, got {self.emotion!r}")
        version = self.cartesia_version
        if not isinstance(version, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", version, re.ASCII):
            raise ValueError(f"expected a version such as '2024-06-10', got {version!r}")
        if not isinstance(self.sample_rate, int) or self.sample_rate not in RATES:
            raise ValueError(
                f"expected a sample rate of {RATES[0]} to {RATES[-1]} Hz, got {self.sample_rate!r}"
            )


class CartesiaTTSModel(ClauseVoice[CartesiaTTSOptions]):
    """Cartesia: each clause is heard in parts of about 0.1 s, as they arrive.

    Who stops taking chunks closes the connection.
    """

    def __init__(
        self, cartesia_api_key: str | None = None, base_url: str = "https://api.cartesia.ai"
    ) -> None:
        """Set up. The service is first asked when there is something to say.

        Args:
            cartesia_api_key: by default ``CARTESIA_API_KEY`` of the environment.
            base_url: where the service is.

        Raises:
            ValueError: there is no key, or it or the address cannot be right.
        """
        key = (cartesia_api_key or os.environ.get("CARTESIA_API_KEY") or "").strip()
        if not key:
            raise ValueError(
                "Cartesia needs a key: expected cartesia_api_key or CARTESIA_API_KEY in the "
                "environment, got neither"
            )
        # http.client refuses such a header too, but in a message that shows it.
        if not (key.isascii() and key.isprintable()):
            raise ValueError("cartesia_api_key holds characters that no key has")
        self._service = Service(base_url, key)

    def _checked(self, options: CartesiaTTSOptions | None) -> CartesiaTTSOptions:
        if options is None:
            return CartesiaTTSOptions()
        if not isinstance(options, CartesiaTTSOptions):
            raise TypeError(f"expected CartesiaTTSOptions, got {type(options).__name__}")
        # A copy, checked again: the caller's may have been changed, and may change yet.
        return replace(options, emotion=[*options.emotion])

    def _rate(self, options: CartesiaTTSOptions) -> int:
        return options.sample_rate

    def _parts(
        self, words: str, options: CartesiaTTSOptions, *, urgent: bool
    ) -> Generator[Part, None, None]:
        return Reply(self._service, words, options).parts()

    async def _aparts(
        self, words: str, options: CartesiaTTSOptions, *, urgent: bool
    ) -> AsyncGenerator[Part, None]:
        reply = Reply(self._service, words, options)
        parts = reply.parts()
        try:
            while (part := await readers.call(next, parts, None)) is not None:
                yield part
        finally:
            reply.abort()
            # It may still be inside its last step, if this was cancelled.
            with suppress(ValueError):
                parts.close()


class Service:
    """Where Cartesia is, and the key to it."""

    def __init__(self, base_url: str, key: str) -> None:
        """Raises `ValueError` if it is no address of the web."""
        wrong = ValueError(
            f"expected a base_url such as 'https://api.cartesia.ai', got {base_url!r}"
        )
        try:
            url = urlsplit(str(base_url))
            self.host, self.port = url.hostname or "", url.port
        except ValueError:
            raise wrong from None
        plain = re.fullmatch("[!-~]+", str(base_url))
        if not self.host or not plain or url.scheme not in ("http", "https"):
            raise wrong
        self.path = f"{url.path.rstrip('/')}/tts/bytes"
        self.key = key
        # Reading the authorities takes some 20 ms, so it is done once.
        self._tls = ssl.create_default_context() if url.scheme == "https" else None

    def connection(self) -> HTTPConnection:
        """One that is not connected yet."""
        if self._tls is None:
            return HTTPConnection(self.host, self.port, timeout=CONNECT_PATIENCE)
        return HTTPSConnection(self.host, self.port, timeout=CONNECT_PATIENCE, context=self._tls)


class Reply:
    """The sound of one clause, from one request."""

    def __init__(self, service: Service, words: str, options: CartesiaTTSOptions) -> None:
        """Set up; `parts` asks the service."""
        voice: dict[str, object] = {"mode": "id", "id": options.voice}
        if options.emotion:
            voice["__experimental_controls"] = {"emotion": [*options.emotion]}
        self._body = json.dumps(
            {
                "model_id": options.model,
                "transcript": words,
                "voice": voice,
                "language": options.language,
                "output_format": {
                    "container": "raw",
                    "encoding": "pcm_f32le",
                    "sample_rate": options.sample_rate,
                },
            }
        )
        self._headers = {
            "X-API-Key": service.key,
            "Cartesia-Version": options.cartesia_version,
            "Content-Type": "application/json",
            "User-Agent": "fastrtc",
        }
        self._service = service
        self._rate = options.sample_rate
        self._connection = service.connection()
        self._socket: socket.socket | None = None
        self._aborted = False

    def parts(self) -> Generator[Part, None, None]:
        """The sound as it comes, and whether it is the last of it. It blocks.

        There always is a last part; it is empty if there is no sound.

        Raises:
            CartesiaError: the service cannot be reached, or refuses.
        """
        trouble = "cannot be reached"
        try:
            self._connection.connect()
            self._socket = self._connection.sock
            if self._aborted:
                return
            self._socket.settimeout(READ_PATIENCE)
            trouble = "gave no whole answer"
            self._connection.request("POST", self._service.path, self._body, self._headers)
            yield from self._read(self._accepted(self._connection.getresponse()))
        except (OSError, HTTPException, UnicodeError) as error:
            why = "it took too long" if isinstance(error, TimeoutError) else _told(error)
            raise CartesiaError(f"Cartesia ({self._service.host}) {trouble}: {why}") from error
        finally:
            self._connection.close()

    def abort(self) -> None:
        """End the connection, even while another thread waits in `parts`, which then raises."""
        self._aborted = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _read(self, response: HTTPResponse) -> Generator[Part, None, None]:
        size = round(PART * self._rate) * SAMPLE
        data = bytearray()
        # A sample is kept back, so that there is one for the last part.
        while came := response.read1(size + SAMPLE - len(data)):
            data += came
            if len(data) == size + SAMPLE:
                yield _samples(data[:size]), False
                del data[:size]
        if response.length:
            raise IncompleteRead(b"", response.length)
        yield _samples(data[: len(data) // SAMPLE * SAMPLE]), True

    def _accepted(self, response: HTTPResponse) -> HTTPResponse:
        """The answer, if it is sound."""
        status, host = response.status, self._service.host
        kind = response.getheader("Content-Type", "")
        if status == 200 and not kind.startswith(("text/", "application/json")):
            return response
        words = _complaint(response.read(MOST_BYTES)) or response.reason
        words = words.replace(self._service.key, "***")[:LONGEST_COMPLAINT]
        if status == 200:
            raise CartesiaError(f"Cartesia ({host}): expected sound, got {kind}: {words}")
        if status == 401:
            raise CartesiaError(
                f"Cartesia ({host}) does not know the key (401). Expected a valid one in "
                f"cartesia_api_key, or in CARTESIA_API_KEY in the environment. It says: {words}"
            )
        raise CartesiaError(f"Cartesia ({host}) answered {status}: {words}")


def _samples(data: bytearray) -> Floats:
    return np.frombuffer(data, "<f4").astype(np.float32)


def _complaint(body: bytes) -> str:
    """What a service says is wrong: in a field of JSON, or plainly."""
    text = body.decode(errors="replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        fields = [found.get(name) for name in ("title", "message", "error")]
        text = ": ".join(one for one in fields if isinstance(one, str)) or text
    return " ".join(text.split())


def _told(error: Exception) -> str:
    """What an error of the network says, in one line."""
    return " ".join((getattr(error, "strerror", None) or str(error) or repr(error)).split())
