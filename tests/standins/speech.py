"""What the speech models have in common: an ear that hears by loudness, and an answer by heart."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tests.conftest import Sound

OUT_RATE = 24_000
FRAME_SECONDS = 0.02
LOUD = 500.0
"""RMS of int16 from which a frame is voice."""
BEGINS = 4
"""Loud frames of the last `RECENT` that begin an utterance."""
RECENT = 8
ENDS = 25
"""Quiet frames that end one."""
PIECE_SECONDS = 0.1
FASTER = 20.0
"""How much faster than it sounds an answer is sent."""


@dataclass(frozen=True)
class Speech:
    """What a model is made of.

    Attributes:
        sound: its answer to everything, at `OUT_RATE`.
        text: the words of that.
        read: the words of what it hears.
    """

    sound: Sound
    text: str
    read: Callable[[Sound], Awaitable[str]]

    @property
    def unheard_seconds(self) -> float:
        """How much of the answer is still to be heard when all of it has been sent."""
        seconds: float = self.sound[1].shape[1] / OUT_RATE
        return seconds * (1 - 1 / FASTER)

    async def pieces(self) -> AsyncIterator[tuple[bytes, str]]:
        """Sound with the words that go with it, at the pace at which a model sends them."""
        rate, samples = self.sound
        assert rate == OUT_RATE
        length = round(rate * PIECE_SECONDS)
        starts = range(0, samples.shape[1], length)
        words = self.text.split(" ")
        for index, start in enumerate(starts):
            here = words[
                len(words) * index // len(starts) : len(words) * (index + 1) // len(starts)
            ]
            text = "".join(f" {word}" for word in here)
            yield samples[0, start : start + length].astype("<i2").tobytes(), text
            await asyncio.sleep(PIECE_SECONDS / FASTER)


class Ear:
    """Tells by loudness when an utterance begins and ends, and keeps it."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.heard_seconds = 0.0
        self.utterance: Sound = rate, np.zeros((1, 0), np.int16)
        """The last one that ended."""
        self._frames: list[NDArray[np.int16]] = []
        """Of the present utterance; or the last ones before it."""
        self._frame = round(rate * FRAME_SECONDS)
        self._rest = np.zeros(0, np.int16)
        self._loud: list[bool] = []
        self._talking = False

    def hear(self, pcm: bytes) -> list[Literal["started", "stopped"]]:
        """Take 16 bit samples; what happened in them."""
        happened: list[Literal["started", "stopped"]] = []
        self._rest = np.concatenate([self._rest, np.frombuffer(pcm, "<i2").astype(np.int16)])
        while len(self._rest) >= self._frame:
            frame, self._rest = self._rest[: self._frame], self._rest[self._frame :]
            self.heard_seconds += FRAME_SECONDS
            self._frames.append(frame)
            self._loud.append(float(np.sqrt(np.mean(np.square(frame.astype(float))))) > LOUD)
            if not self._talking:
                self._frames = self._frames[-2 * RECENT :]
                if sum(self._loud[-RECENT:]) >= BEGINS:
                    self._talking = True
                    happened.append("started")
            elif not any(self._loud[-ENDS:]):
                self._talking = False
                self.utterance = self.rate, np.concatenate(self._frames)[None]
                self._frames, self._loud = [], []
                happened.append("stopped")
        return happened


def decode(audio: object) -> bytes:
    """Base64 of whole 16 bit samples.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(audio, str):
        raise ValueError(f"expected base64 text, got {type(audio).__name__}")
    try:
        pcm = base64.b64decode(audio, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if not pcm or len(pcm) % 2:
        raise ValueError(f"expected whole samples of 16 bits, got {len(pcm)} bytes")
    return pcm


def encode(pcm: bytes) -> str:
    return base64.b64encode(pcm).decode()
