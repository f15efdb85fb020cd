"""Text to speech for users: `get_tts_model`, and what Kokoro does with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.spoken import Spoken
from fastrtc.models.inference import speaking_pool
from fastrtc.models.tts.kokoro import RATE, shared_kokoro
from fastrtc.models.tts.kokoro_weights import VOICES
from fastrtc.models.tts.talk import Talk
from fastrtc.threads import in_turn

if TYPE_CHECKING:
    from fastrtc.models.tts.cartesia import CartesiaTTSModel

Options = TypeVar("Options", contravariant=True)
Text = str | Iterable[str]
"""A text, or its pieces as they come, such as the tokens of a language model."""


class TTSModel(Protocol[Options]):
    """What turns text into speech. Users may bring their own."""

    def tts(self, text: str, options: Options | None = None) -> tuple[int, NDArray[Any]]:
        """All of the sound: rate in Hz and samples."""

    def stream_tts_sync(
        self, text: Text, options: Options | None = None
    ) -> Generator[tuple[int, NDArray[Any]], None, None]:
        """The sound, in chunks, as it is made."""

    def stream_tts(
        self, text: Text | AsyncIterable[str], options: Options | None = None
    ) -> AsyncGenerator[tuple[int, NDArray[Any]], None]:
        """The same without blocking the event loop."""


@dataclass
class KokoroTTSOptions:
    """How Kokoro speaks.

    Attributes:
        voice: one of 54, such as ``af_heart`` (American, female) or ``bm_george`` (British, male);
            ``fastrtc.models.tts.kokoro_weights.VOICES`` has the names.
        speed: 0.5 to 2; 1 is the voice's own.
        lang: as espeak-ng names it: ``en-us``, ``en-gb``, ``fr-fr``, ``it``, ``es``, ``pt-br``,
            ``hi``. Text is prepared for speech in English only.
    """

    voice: str = "af_heart"
    speed: float = 1.0
    lang: str = "en-us"

    def __post_init__(self) -> None:
        if self.voice not in VOICES:
            raise ValueError(f"expected one of the voices {', '.join(VOICES)}, got {self.voice!r}")
        if not 0.5 <= self.speed <= 2:
            raise ValueError(f"expected a speed of 0.5 to 2, got {self.speed}")


class KokoroTTSModel:
    """Kokoro. One network serves all callers: a clause at a time, first clauses first.

    It speaks clause by clause. The first one is cut short, so that sound begins early, and the
    rest is made while it is heard. Who stops taking chunks stops the work at the next clause.
    """

    def __init__(self, *, folder: str | Path | None = None) -> None:
        """Load the network and let it say something.

        Args:
            folder: where to look for the weights first; then in ``FASTRTC_MODELS``, in installed
                packages, on the hub.

        Raises:
            ImportError: ``fastrtc[tts]`` is not installed.
            WeightsError: its weights cannot be had; the text says how they can.
        """
        self._net = shared_kokoro(folder)

    def tts(
        self, text: str, options: KokoroTTSOptions | None = None
    ) -> tuple[int, NDArray[np.float32]]:
        """All of the sound at once: 24 kHz and float32 of shape ``(n,)``, none for no words.

        It blocks for about half of the time that the sound lasts.

        Raises:
            TypeError, ValueError: there is no text, or an option is wrong.
            ModelBusy: too many callers wait already.
        """
        parts = [samples for _, samples in self.stream_tts_sync(text, options)]
        return RATE, np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def stream_tts_sync(
        self, text: Text, options: KokoroTTSOptions | None = None
    ) -> Generator[Spoken, None, None]:
        """The sound, clause by clause, as it is made. It blocks: see `stream_tts`.

        Args:
            text: a text, or an iterable of its pieces as they come. Each clause is spoken as soon
                as it is whole. Markdown, emoji, numbers and abbreviations are read as a person
                would.
            options: how to speak.

        Yields:
            `Spoken`: 24 kHz, float32 of shape ``(n,)``, and the text of the chunk. The texts
            joined are the text.

        Raises:
            TypeError, ValueError: it is no text, or an option is wrong.
            ModelBusy: too many callers wait already.
        """
        return self._say_sync(_pieces(text), _checked(options))

    def stream_tts(
        self,
        text: Text | AsyncIterable[str],
        options: KokoroTTSOptions | None = None,
    ) -> AsyncGenerator[Spoken, None]:
        """The same without blocking the event loop; ``text`` may come asynchronously, too."""
        return self._say(
            text if isinstance(text, AsyncIterable) else _pieces(text), _checked(options)
        )

    def _say_sync(
        self, pieces: Iterable[str], options: KokoroTTSOptions
    ) -> Generator[Spoken, None, None]:
        talk = Talk(RATE)
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

    def _chunks(self, talk: Talk, options: KokoroTTSOptions) -> Generator[Spoken, None, None]:
        while (words := talk.next()) is not None:
            sound = speaking_pool().run(self._job(words, options), urgent=not talk.begun)
            if (chunk := talk.chunk(sound)) is not None:
                yield chunk

    async def _say(
        self, pieces: AsyncIterable[str] | Iterable[str], options: KokoroTTSOptions
    ) -> AsyncGenerator[Spoken, None]:
        talk = Talk(RATE)
        async with aclosing(in_turn(pieces)) as source:
            async for piece in source:
                talk.feed(piece)
                async for chunk in self._achunks(talk, options):
                    yield chunk
        talk.finish()
        async for chunk in self._achunks(talk, options):
            yield chunk

    async def _achunks(self, talk: Talk, options: KokoroTTSOptions) -> AsyncGenerator[Spoken, None]:
        while (words := talk.next()) is not None:
            job = self._job(words, options)
            sound = await speaking_pool().arun(job, urgent=not talk.begun)
            if (chunk := talk.chunk(sound)) is not None:
                yield chunk

    def _job(self, words: str, options: KokoroTTSOptions) -> partial[NDArray[np.float32]]:
        return partial(self._net.say, words, options.voice, options.speed, options.lang)


@overload
def get_tts_model(
    model: Literal["kokoro"] = "kokoro", *, folder: str | Path | None = None
) -> KokoroTTSModel: ...


@overload
def get_tts_model(model: Literal["cartesia"], *, cartesia_api_key: str) -> CartesiaTTSModel: ...


def get_tts_model(model: str = "kokoro", **options: Any) -> KokoroTTSModel | CartesiaTTSModel:
    """A voice: ``"kokoro"`` on this machine, loaded once in a process and warm, or ``"cartesia"``.

    Args:
        model: which one.
        options: of `KokoroTTSModel` or `CartesiaTTSModel`.

    Raises:
        ValueError: there is no such model.
        ImportError, WeightsError: see `KokoroTTSModel`.
    """
    if model == "kokoro":
        return KokoroTTSModel(**options)
    if model == "cartesia":
        from fastrtc.models.tts.cartesia import CartesiaTTSModel

        return CartesiaTTSModel(**options)
    raise ValueError(f"expected 'kokoro' or 'cartesia', got {model!r}")


def _pieces(text: Text) -> Iterable[str]:
    if isinstance(text, str):
        return (text,)
    if isinstance(text, (bytes, dict)) or not isinstance(text, Iterable):
        raise TypeError(f"expected text or an iterable of text, got {type(text).__name__}")
    return text


def _checked(options: KokoroTTSOptions | None) -> KokoroTTSOptions:
    if options is None:
        return KokoroTTSOptions()
    if not isinstance(options, KokoroTTSOptions):
        raise TypeError(f"expected KokoroTTSOptions, got {type(options).__name__}")
    # A copy, checked again: the caller's may have been changed, and may change yet.
    return replace(options)
