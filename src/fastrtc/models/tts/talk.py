"""From text as it comes to chunks of sound that know their text."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.spoken import Spoken
from fastrtc.models.tts.clauses import Clause, Clauses

Floats = NDArray[np.float32]


class Talk:
    """One text being spoken. Feed it, say what `next` gives, and let `chunk` dress the sound.

    The pause behind a clause goes with its sound where more is known to follow, so that it is
    heard while the next clause is made, and else before the next one. Nothing pauses at the end.
    """

    def __init__(self, rate: int) -> None:
        """Rate of the sound in Hz."""
        self._rate = rate
        self._cutter = Clauses()
        self._waiting: deque[Clause] = deque()
        self._pause = 0.0
        """Seconds that are still to be heard before the next sound."""
        self._text = ""
        """What is written and cannot be said, since the last sound."""
        self._clause: Clause | None = None
        self.begun = False
        """Whether any sound has been made."""

    def feed(self, piece: str | None) -> None:
        """Take the next piece of text; None, which some services send, is no text.

        Raises:
            TypeError: it is no text.
        """
        if piece is None:
            return
        if not isinstance(piece, str):
            raise TypeError(f"expected text or pieces of text, got {type(piece).__name__}")
        self._waiting.extend(self._cutter.feed(piece))

    def finish(self) -> None:
        """No more text follows."""
        self._waiting.extend(self._cutter.finish())

    def next(self) -> str | None:
        """What to say now, or None until there is more text."""
        while self._waiting:
            self._clause = self._waiting.popleft()
            if self._clause.spoken:
                return self._clause.spoken
            self._text += self._clause.text
        return None

    def chunk(self, sound: Floats) -> Spoken | None:
        """The sound of what `next` gave, with its text and its pauses; None if it is silent."""
        clause, self._clause = self._clause, None
        assert clause is not None
        self._text += clause.text
        if not len(sound):
            return None
        text, self._text = self._text, ""
        before, self._pause = self._pause, clause.pause
        after = 0.0
        if self._waiting:
            after, self._pause = self._pause, 0.0
        self.begun = True
        return Spoken(
            self._rate, np.concatenate([self._silence(before), sound, self._silence(after)]), text
        )

    def _silence(self, seconds: float) -> Floats:
        return np.zeros(round(seconds * self._rate), np.float32)
