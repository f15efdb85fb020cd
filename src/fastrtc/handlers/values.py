"""The values that a handler may emit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import Pcm, as_pcm
from fastrtc.audio.playout import FRAMES_PER_SECOND
from fastrtc.audio.spoken import Spoken


class AdditionalOutputs:
    """Values for the page or the app beside the sound.

    They reach `Stream.output_stream` and `Stream.fetch_latest_output`, and the
    ``additional_outputs_handler``.
    """

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __repr__(self) -> str:
        return f"AdditionalOutputs{self.args!r}"


class CloseStream:
    """Ends the call when the sound before it has been heard."""

    def __init__(self, msg: str = "Stream closed") -> None:
        self.msg = msg

    def __repr__(self) -> str:
        return f"CloseStream({self.msg!r})"


@dataclass
class WebRTCData:
    """What a caller said or typed, where the page has a text box.

    Attributes:
        webrtc_id: the id of the call.
        textbox: what was typed; empty if it was said.
        audio: ``(rate, int16 array of shape (1, n))``, of length 0 if it was typed; None outside
            a reply.
    """

    webrtc_id: str
    textbox: str = ""
    audio: tuple[int, NDArray[np.int16]] | None = None


Sound: TypeAlias = tuple[int, NDArray[Any]] | tuple[int, NDArray[Any], str]
AudioEmitType: TypeAlias = (
    Sound | AdditionalOutputs | CloseStream | tuple[Sound, AdditionalOutputs | CloseStream] | None
)
"""``(rate, array)``, ``(rate, array, "mono" | "stereo")``, `AdditionalOutputs`, `CloseStream`, a
pair of sound and one of these, or None. Arrays are ``(1, n)`` or ``(n,)``, int16 or float32 in
[-1, 1], of any rate and length."""


@dataclass(frozen=True)
class Chunk:
    """Sound that was emitted: rate in Hz, int16 of shape ``(channels, n)``.

    ``words``: its words with the blanks behind them, each with the second at which it ends.
    """

    rate: int
    pcm: Pcm
    words: tuple[tuple[float, str], ...] = ()

    @property
    def seconds(self) -> float:
        """How long it sounds."""
        return float(self.pcm.shape[1] / self.rate)

    def pieces(self, seconds: float = 0.1) -> Iterator[Chunk]:
        """The same sound in pieces, so that no step over it takes long."""
        length = max(1, round(seconds * self.rate))
        words = list(self.words)
        for start in range(0, self.pcm.shape[1], length):
            pcm = self.pcm[:, start : start + length]
            begin, end = start / self.rate, (start + length) / self.rate
            last = start + length >= self.pcm.shape[1]
            here = [(at - begin, word) for at, word in words if last or at <= end]
            words = words[len(here) :]
            yield Chunk(self.rate, pcm, tuple(here))


Item: TypeAlias = Chunk | AdditionalOutputs | CloseStream


def read_emitted(value: Any) -> list[Item]:
    """Check what a handler emitted, and take it apart.

    Raises:
        TypeError, ValueError: it is not an `AudioEmitType`; the message says what it is.
    """
    if value is None:
        return []
    if isinstance(value, (AdditionalOutputs, CloseStream)):
        return [value]
    if isinstance(value, tuple):
        if len(value) == 2 and isinstance(value[1], (AdditionalOutputs, CloseStream)):
            return [*read_emitted(value[0]), value[1]]
        if len(value) in (2, 3) and not isinstance(value[0], tuple):
            chunk = Chunk(*as_pcm(*value))
            if isinstance(value, Spoken) and value.text:
                chunk = replace(chunk, words=tuple(_timed(value.text, chunk.seconds)))
            return [chunk]
    raise TypeError(
        "expected (rate, array), (rate, array, layout), AdditionalOutputs, CloseStream, a pair "
        f"of sound and one of these, or None, got {_describe(value)}"
    )


def pieces_of(value: Any) -> Iterator[tuple[Item, float]]:
    """Check what a handler emitted, cut it up, and weigh each piece in seconds of sound.

    What is no sound weighs a frame, so that nobody can queue it without end.
    """
    for item in read_emitted(value):
        if isinstance(item, Chunk):
            for piece in item.pieces():
                yield piece, piece.seconds
        else:
            yield item, 1 / FRAMES_PER_SECOND


def _timed(text: str, seconds: float) -> Iterator[tuple[float, str]]:
    """The words of a text and when each of them ends, as if letters took equally long."""
    said = 0
    for word in re.findall(r"\s*\S+\s*", text):
        said += len(word)
        yield seconds * said / len(text), word


def _describe(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        inner = ", ".join(type(part).__name__ for part in value[:4])
        return f"{type(value).__name__} of ({inner}{', ...' if len(value) > 4 else ''})"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} without its rate"
    return type(value).__name__
