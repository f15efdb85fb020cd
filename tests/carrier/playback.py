"""What Twilio does with the sound it is sent: holds all of it, and plays it in real time."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tests.carrier import g711

FRAME: Final = 160
"""Samples that are played in one tick: 20 ms."""


class Playback:
    """The buffer of one stream; it knows no clock, and is told each 20 ms.

    Marks stand in the same line as the sound. A mark is due when the sound before it has been
    played to its end, which is at the tick after the one that began to play its last frame.
    """

    def __init__(self) -> None:
        self.most_held = 0.0
        self._heard = bytearray()
        self._waiting: deque[bytes | str] = deque()
        self._samples = 0
        self._sounding = False
        self._passed: list[str] = []

    @property
    def held(self) -> float:
        """Seconds that wait to be played."""
        return self._samples / g711.RATE

    @property
    def seconds(self) -> float:
        """Seconds that have passed, sound and silence."""
        return len(self._heard) / g711.RATE

    @property
    def heard(self) -> NDArray[np.int16]:
        """All that was played, silence included; 8 kHz, shape (n,)."""
        return g711.decode(self._heard)

    def put(self, sound: bytes) -> None:
        """Hold mu-law behind all that waits."""
        self._waiting.append(sound)
        self._samples += len(sound)
        self.most_held = max(self.most_held, self.held)

    def mark(self, name: str) -> list[str]:
        """Put a mark behind all that waits; the marks that are due now."""
        if not self._waiting and not self._sounding:
            return [name]
        self._waiting.append(name)
        return []

    def clear(self) -> list[str]:
        """Drop what has not been played; the marks that waited."""
        marks = self._passed + [item for item in self._waiting if isinstance(item, str)]
        self._passed, self._samples = [], 0
        self._waiting.clear()
        return marks

    def tick(self) -> list[str]:
        """Play 20 ms; the marks that are due at its beginning."""
        due, self._passed = self._passed, []
        frame = bytearray()
        while self._waiting and len(frame) < FRAME:
            item = self._waiting.popleft()
            if isinstance(item, str):
                (self._passed if frame else due).append(item)
                continue
            part, rest = item[: FRAME - len(frame)], item[FRAME - len(frame) :]
            frame += part
            if rest:
                self._waiting.appendleft(rest)
        self._samples -= len(frame)
        self._sounding = bool(frame)
        self._heard += frame.ljust(FRAME, g711.SILENCE)
        return due
