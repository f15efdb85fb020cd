"""What a voice is, and what all voices that speak clause by clause have in common."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from contextlib import aclosing, closing
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.spoken import Spoken
from fastrtc.models.tts.talk import Floats, Talk
from fastrtc.threads import in_turn

Piece = str | None
"""Some services send None among their tokens; it is no text."""
Text = str | Iterable[Piece]
"""A text, or its pieces as they come, such as the tokens of a language model."""
Part = tuple[Floats, bool]
"""Sound of a clause, and whether it is the last of it."""
Options = TypeVar("Options")
Taken = TypeVar("Taken", contravariant=True)


class TTSModel(Protocol[Taken]):
    """What turns text into speech. Users may bring their own."""

    def tts(self, text: str, options: Taken | None = None) -> tuple[int, NDArray[Any]]:
        """All of the sound: rate in Hz and samples."""

    def stream_tts_sync(
        self, text: Text, options: Taken | None = None
    ) -> Generator[tuple[int, NDArray[Any]], None, None]:
        """The sound, in chunks, as it is made."""

    def stream_tts(
        self, text: Text | AsyncIterable[Piece], options: Taken | None = None
    ) -> AsyncGenerator[tuple[int, NDArray[Any]], None]:
        """The same without blocking the event loop."""


class ClauseVoice(ABC, Generic[Options]):
    """A voice that speaks clause by clause.

    The first clause is cut short, so that sound begins early, and the rest is made while it is
    heard. Who stops taking chunks stops the work.
    """

    def tts(self, text: str, options: Options | None = None) -> tuple[int, NDArray[np.float32]]:
        """All of the sound at once: its rate in Hz and float32 of shape ``(n,)``. It blocks.

        Takes and raises what `stream_tts_sync` does.
        """
        chosen = self._checked(options)
        parts = [samples for _, samples in self.stream_tts_sync(text, chosen)]
        return self._rate(chosen), np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def stream_tts_sync(
        self, text: Text, options: Options | None = None
    ) -> Generator[Spoken, None, None]:
        """The sound, as it is made. It blocks: see `stream_tts`.

        Args:
            text: a text, or an iterable of its pieces as they come. Each clause is spoken as soon
                as it is whole. Markdown, emoji, numbers and abbreviations are read as a person
                would.
            options: how to speak.

        Yields:
            `Spoken`: float32 of shape ``(n,)`` and the text of the chunk. The texts joined are the
            text, but for what follows the last sound and cannot be said.

        Raises:
            TypeError, ValueError: it is no text, or an option is wrong.
            ModelBusy: too many callers wait already.
            CartesiaError: the hosted service cannot be reached, or refuses.
        """
        return self._say_sync(_pieces(text), self._checked(options))

    def stream_tts(
        self, text: Text | AsyncIterable[Piece], options: Options | None = None
    ) -> AsyncGenerator[Spoken, None]:
        """The same without blocking the event loop; ``text`` may come asynchronously, too."""
        pieces = text if isinstance(text, AsyncIterable) else _pieces(text)
        return self._say(pieces, self._checked(options))

    # What a voice has of its own.

    @abstractmethod
    def _checked(self, options: Options | None) -> Options:
        """Options that are right. Raises TypeError or ValueError."""

    @abstractmethod
    def _rate(self, options: Options) -> int:
        """Of the sound, in Hz."""

    @abstractmethod
    def _parts(self, words: str, options: Options, *, urgent: bool) -> Generator[Part, None, None]:
        """The sound of a clause, with a last part; ``urgent``: nothing is heard yet."""

    @abstractmethod
    def _aparts(self, words: str, options: Options, *, urgent: bool) -> AsyncGenerator[Part, None]:
        """The same without blocking the event loop."""

    # What all have.

    def _say_sync(self, pieces: Iterable[Piece], options: Options) -> Generator[Spoken, None, None]:
        talk = Talk(self._rate(options))
        source = iter(pieces)
        try:
            for piece in source:
                talk.feed(piece)
                if isinstance(pieces, _Whole):
                    talk.finish()
                yield from self._chunks(talk, options)
            talk.finish()
            yield from self._chunks(talk, options)
        finally:
            if hasattr(source, "close") and not isinstance(source, io.IOBase):
                # Who makes the text need not make the rest of it.
                source.close()

    def _chunks(self, talk: Talk, options: Options) -> Generator[Spoken, None, None]:
        while (words := talk.next()) is not None:
            with closing(self._parts(words, options, urgent=not talk.begun)) as parts:
                for sound, last in parts:
                    if (chunk := talk.chunk(sound, last=last)) is not None:
                        yield chunk

    async def _say(
        self, pieces: AsyncIterable[Piece] | Iterable[Piece], options: Options
    ) -> AsyncGenerator[Spoken, None]:
        talk = Talk(self._rate(options))
        async with aclosing(in_turn(pieces)) as source:
            async for piece in source:
                talk.feed(piece)
                if isinstance(pieces, _Whole):
                    talk.finish()
                async with aclosing(self._achunks(talk, options)) as chunks:
                    async for chunk in chunks:
                        yield chunk
        talk.finish()
        async with aclosing(self._achunks(talk, options)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _achunks(self, talk: Talk, options: Options) -> AsyncGenerator[Spoken, None]:
        while (words := talk.next()) is not None:
            async with aclosing(self._aparts(words, options, urgent=not talk.begun)) as parts:
                async for sound, last in parts:
                    if (chunk := talk.chunk(sound, last=last)) is not None:
                        yield chunk


class _Whole(tuple[str]):
    """A text of which nothing more will come."""


def _pieces(text: Text) -> Iterable[Piece]:
    if isinstance(text, str):
        return _Whole((text,))
    if isinstance(text, (bytes, dict)) or not isinstance(text, Iterable):
        raise TypeError(f"expected text or an iterable of text, got {type(text).__name__}")
    return text
