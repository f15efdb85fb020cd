"""Speech to text for users: `get_stt_model` and what it returns."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.mono import as_mono
from fastrtc.models.inference import listening_pool
from fastrtc.models.place import Here, Runner, Where, placed
from fastrtc.models.stt.captions import Transcript, caption
from fastrtc.models.stt.moonshine import RATE, Size, shared_moonshine
from fastrtc.models.stt.pieces import cut_pieces
from fastrtc.models.vad.silero import WINDOW, AudioChunk, Silero
from fastrtc.threads import readers

Audio = tuple[int, NDArray[Any]]
"""Rate in Hz, and samples as `as_mono` takes them."""
MoonshineName = Literal["moonshine/tiny", "moonshine/base"]
NAMES: Final[tuple[str, ...]] = get_args(MoonshineName)
TIER_SECONDS: Final[dict[MoonshineName, tuple[float, float]]] = {
    "moonshine/tiny": (0.5, 0.25),
    "moonshine/base": (1.5, 1.0),
}
"""What a tier has for a piece, besides a share of its length: a few times what it takes alone."""


@runtime_checkable
class STTModel(Protocol):
    """What turns speech into text. Users may bring their own."""

    def stt(self, audio: Audio) -> str:
        """The words of a clip."""


class MoonshineSTT:
    """Moonshine, English. One network serves all callers, on as many threads as there are cores.

    Tiny takes 2 % of the length of the audio on one core, base 14 %, for somewhat fewer errors
    (``benchmarks/speech.py``).
    """

    def __init__(
        self,
        model: MoonshineName = "moonshine/tiny",
        *,
        folder: str | Path | None = None,
        where: Where = "local",
        standby: bool = False,
    ) -> None:
        """Load the network and run it once.

        Args:
            model: which one.
            folder: where to look for the weights first; then in ``FASTRTC_MODELS``, in installed
                packages, on the hub.
            where: ``"cluster"`` has the tier of models of a Ray cluster read. This process then
                loads the network when the tier first fails to answer in time, and reads itself.
            standby: with ``"cluster"``, load it now all the same.

        Raises:
            ValueError: there is no such model, or no such place.
            WeightsError: its weights cannot be had; the text says how they can.
        """
        if model not in NAMES:
            raise ValueError(f"expected one of {', '.join(NAMES)}, got {model!r}")
        self.model = model
        size: Size = "tiny" if model == "moonshine/tiny" else "base"
        base, share = TIER_SECONDS[model]
        self._reader: Runner[str] = placed(
            where,
            f"stt-{model.replace('/', '-')}",
            Here(lambda: shared_moonshine(size, folder).transcribe, lambda: listening_pool()),
            lambda samples: base + share * len(samples) / RATE,
            standby=standby,
        )
        self._vad = Silero()

    def stt(self, audio: Audio) -> str:
        """The words of a clip; "" where nothing is said. It blocks: see `astt`.

        Long clips are cut in their pauses.

        Args:
            audio: rate in Hz and samples of any dtype, ``(n,)``, ``(channels, n)`` or
                ``(n, channels)``.

        Raises:
            TypeError, ValueError: it is no such audio.
            ModelBusy: too many callers wait already.
        """
        samples = as_mono(audio, RATE)
        pool = listening_pool()
        pieces = pool.run(partial(self._pieces, samples), urgent=True)
        texts = [self._reader.run(piece) for piece in pieces]
        return " ".join(filter(None, texts))

    async def astt(self, audio: Audio) -> str:
        """The same on the event loop, which it does not block. Cancelling it saves the work."""
        samples = await readers.call(as_mono, audio, RATE)
        pool = listening_pool()
        pieces = await pool.arun(partial(self._pieces, samples), urgent=True)
        texts = [await self._reader.arun(piece) for piece in pieces]
        return " ".join(filter(None, texts))

    def stt_stream(
        self, audio: AsyncIterable[Audio] | Iterable[Audio], *, every: float = 0.6
    ) -> AsyncGenerator[Transcript, None]:
        """Text while the caller is still talking.

        Args:
            audio: the sound as it comes, in frames of any length; an iterator that may block is
                read on a thread.
            every: seconds of new speech after which the text so far is given anew.

        Yields:
            `Transcript`s. Those that are not final are replaced by the next one; a final one ends
            a phrase.

        Raises:
            TypeError, ValueError: a frame is no audio.
        """
        if not every > 0:
            raise ValueError(f"expected every over 0 s, got {every}")
        return caption(audio, self._reader, every)

    def _pieces(self, samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        spans = cut_pieces(self._vad.probabilities(samples), WINDOW, RATE)
        return [samples[start:end] for start, end in spans]


def get_stt_model(
    model: MoonshineName = "moonshine/tiny",
    *,
    folder: str | Path | None = None,
    where: Where = "local",
    standby: bool = False,
) -> MoonshineSTT:
    """The on-device recogniser, loaded and warm. It is loaded once in a process.

    Takes and raises what `MoonshineSTT` does.
    """
    return MoonshineSTT(model, folder=folder, where=where, standby=standby)


def stt_for_chunks(
    stt_model: STTModel, audio: Audio, chunks: Sequence[AudioChunk | dict[str, int]]
) -> str:
    """The words of the parts of a clip, joined.

    Args:
        stt_model: a recogniser.
        audio: rate in Hz and samples, ``(n,)`` or ``(channels, n)``.
        chunks: the parts, as `PauseDetectionModel.vad` gives them: ``start`` and ``end`` in
            samples.
    """
    rate, samples = audio
    samples = np.asarray(samples)
    parts = (stt_model.stt((rate, samples[..., c["start"] : c["end"]])) for c in chunks)
    return " ".join(part for part in parts if part)
