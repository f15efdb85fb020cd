"""Cartesia, a hosted voice: the sound of a clause is heard while the service still makes it."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Final
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.spoken import Spoken
from fastrtc.models.tts.speaker import Text, _pieces
from fastrtc.models.tts.talk import Talk
from fastrtc.threads import Workers, in_turn

CONNECT_PATIENCE: Final = 5.0
"""Seconds for a connection to be made."""
READ_PATIENCE: Final = 10.0
"""Seconds without a byte after which the service is given up."""
PART: Final = 0.1
"""Seconds of sound that are handed out at once."""
SAMPLE: Final = 4
"""Bytes of a sample: float32, little-endian."""
PACE: Final = 15.0
"""Letters that a voice says in a second, until its own pace is known; English has 14 to 16."""
QUIET: Final = 0.01
"""Share of full scale (-40 dBFS) under which the end of a clause is silence."""
RATES: Final = range(8_000, 48_001)
"""Hz that may be asked for."""
MOST_BYTES: Final = 4_096
"""Of an answer that is no sound."""
LONGEST_COMPLAINT: Final = 300
"""Letters of the service's own words that an error repeats."""

Floats = NDArray[np.float32]
_workers: Final = Workers("fastrtc-cartesia")
"""Where replies are waited for: one thread each, so that a slow one holds up no other."""


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


class CartesiaTTSModel:
    """Cartesia. It speaks clause by clause, and each clause in parts as they arrive.

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

    def tts(
        self, text: str, options: CartesiaTTSOptions | None = None
    ) -> tuple[int, NDArray[np.float32]]:
        """All of the sound at once: its rate in Hz and float32 of shape ``(n,)``.

        Raises:
            TypeError, ValueError: there is no text, or an option is wrong.
            CartesiaError: the service cannot be reached, or refuses.
        """
        options = _checked(options)
        parts = [samples for _, samples in self.stream_tts_sync(text, options)]
        return options.sample_rate, np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def stream_tts_sync(
        self, text: Text, options: CartesiaTTSOptions | None = None
    ) -> Generator[Spoken, None, None]:
        """The sound, as it arrives. It blocks: see `stream_tts`.

        Args:
            text: a text, or an iterable of its pieces as they come. Each clause is spoken as soon
                as it is whole. Markdown, emoji, numbers and abbreviations are read as a person
                would.
            options: how to speak.

        Yields:
            `Spoken`: float32 of shape ``(n,)``, about 0.1 s, and the words of the chunk, as far as
            they can be told. The texts joined are the text.

        Raises:
            TypeError, ValueError: it is no text, or an option is wrong.
            CartesiaError: the service cannot be reached, or refuses.
        """
        return self._say_sync(_pieces(text), _checked(options))

    def stream_tts(
        self, text: Text | AsyncIterable[str], options: CartesiaTTSOptions | None = None
    ) -> AsyncGenerator[Spoken, None]:
        """The same without blocking the event loop; ``text`` may come asynchronously, too."""
        return self._say(
            text if isinstance(text, AsyncIterable) else _pieces(text), _checked(options)
        )

    def _say_sync(
        self, pieces: Iterable[str], options: CartesiaTTSOptions
    ) -> Generator[Spoken, None, None]:
        talk = PartedTalk(options.sample_rate)
        source = iter(pieces)
        try:
            for piece in source:
                talk.feed(piece)
                yield from self._chunks(talk, options)
            talk.finish()
            yield from self._chunks(talk, options)
        finally:
            if hasattr(source, "close"):
                # Who makes the text need not make the rest of it.
                source.close()

    def _chunks(
        self, talk: PartedTalk, options: CartesiaTTSOptions
    ) -> Generator[Spoken, None, None]:
        while (words := talk.next()) is not None:
            with closing(Reply(self._service, words, options).parts()) as parts:
                for sound, last in parts:
                    if (chunk := talk.part(sound, last=last)) is not None:
                        yield chunk

    async def _say(
        self, pieces: AsyncIterable[str] | Iterable[str], options: CartesiaTTSOptions
    ) -> AsyncGenerator[Spoken, None]:
        talk = PartedTalk(options.sample_rate)
        async with aclosing(in_turn(pieces)) as source:
            async for piece in source:
                talk.feed(piece)
                async with aclosing(self._achunks(talk, options)) as chunks:
                    async for chunk in chunks:
                        yield chunk
        talk.finish()
        async with aclosing(self._achunks(talk, options)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _achunks(
        self, talk: PartedTalk, options: CartesiaTTSOptions
    ) -> AsyncGenerator[Spoken, None]:
        while (words := talk.next()) is not None:
            reply = Reply(self._service, words, options)
            parts = reply.parts()
            try:
                while (part := await _workers.call(next, parts, None)) is not None:
                    sound, last = part
                    if (chunk := talk.part(sound, last=last)) is not None:
                        yield chunk
            finally:
                reply.abort()
                # It may still be inside its last step, if this was cancelled.
                with suppress(ValueError):
                    parts.close()


class PartedTalk(Talk):
    """A text being spoken, when the sound of a clause comes in parts.

    How long a clause will last is not known while it comes, so its words are dealt out at the
    pace of the voice, and what is left of them goes with the last part.
    """

    def __init__(self, rate: int) -> None:
        """Rate of the sound in Hz."""
        super().__init__(rate)
        self._rest = ""
        """Of the clause: the text that no part has had."""
        self._length = 0
        """Of the clause: letters of its text."""
        self._taken = 0
        """Of the clause: samples that have come."""
        self._quiet = 0
        """Of the clause: samples of silence at its end."""
        self._letters, self._samples = PACE, rate
        """What all clauses had, and one second at the pace that is supposed of any voice."""

    def part(self, sound: Floats, *, last: bool) -> Spoken | None:
        """The next part of the sound of what `next` gave, with its words and pauses.

        None if there is no sound at all.
        """
        clause = self._clause
        assert clause is not None
        text = ""
        before = after = 0.0
        if not self._taken:
            if not len(sound):
                return self.chunk(sound)
            text, self._text = self._text, ""
            before, self._pause = self._pause, 0.0
            self._rest, self._length, self._quiet = clause.text, len(clause.text), 0
        self._taken += len(sound)
        loud = np.flatnonzero(np.abs(sound) > QUIET)
        self._quiet = len(sound) - 1 - int(loud[-1]) if len(loud) else self._quiet + len(sound)
        if last:
            text += self._rest
            self._letters += self._length
            self._samples += self._taken
            # The service has made some of the pause itself.
            self._pause = max(0.0, clause.pause - self._quiet / self._rate)
            if self._waiting:
                after, self._pause = self._pause, 0.0
            self._clause, self._taken = None, 0
        else:
            text += self._due()
        self.begun = True
        samples = np.concatenate([self._silence(before), sound, self._silence(after)])
        return Spoken(self._rate, samples, text)

    def _due(self) -> str:
        """The words that have been said by now, but for the last one."""
        said = self._length - len(self._rest)
        letters = self._letters / self._samples * self._taken - said
        ends = [match.end() for match in re.finditer(r"\S+\s*", self._rest)]
        cut = max((end for end in ends[:-1] if end <= letters), default=0)
        text, self._rest = self._rest[:cut], self._rest[cut:]
        return text


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

    def parts(self) -> Generator[tuple[Floats, bool], None, None]:
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

    def _read(self, response: HTTPResponse) -> Generator[tuple[Floats, bool], None, None]:
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


def _checked(options: CartesiaTTSOptions | None) -> CartesiaTTSOptions:
    if options is None:
        return CartesiaTTSOptions()
    if not isinstance(options, CartesiaTTSOptions):
        raise TypeError(f"expected CartesiaTTSOptions, got {type(options).__name__}")
    # A copy, checked again: the caller's may have been changed, and may change yet.
    return replace(options, emotion=[*options.emotion])
