"""From text as it comes to chunks of sound that know their text."""

from __future__ import annotations

import re
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.spoken import Spoken
from fastrtc.models.tts.clauses import Clause, Clauses

PACE: Final = 15.0
"""Letters that a voice says in a second, until its own pace is known; English has 14 to 16."""
QUIET: Final = 0.01
"""Share of full scale (-40 dBFS) under which the end of a clause is silence."""

Floats = NDArray[np.float32]


class Talk:
    """One text being spoken. Feed it, say what `next` gives, and let `chunk` dress the sound.

    The pause behind a clause goes with its sound where more is known to follow, so that it is
    heard while the next clause is made, and else before the next one. Nothing pauses at the end.

    The sound of a clause may come in parts. How long it will last is not known while it comes, so
    its words are dealt out at the pace of the voice, and what is left goes with the last part.
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
        self._rest = ""
        """Of the clause: the text that no part has had."""
        self._taken = 0
        """Of the clause: samples that have come."""
        self._quiet = 0
        """Of the clause: samples of silence at its end."""
        self._letters, self._samples = PACE, rate
        """What all clauses had, and one second at the pace that is supposed of any voice."""
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
        self._text += self._unsaid()
        if not self._waiting:
            return None
        self._clause = self._waiting.popleft()
        self._rest, self._taken, self._quiet = self._clause.text, 0, 0
        return self._clause.spoken

    def chunk(self, sound: Floats, *, last: bool = True) -> Spoken | None:
        """The sound of what `next` gave, or a part of it, with its text and its pauses.

        None if the whole is silent: its text then goes with the next sound.
        """
        clause = self._clause
        assert clause is not None
        if last and not self._taken and not len(sound):
            self._text += clause.text
            return None
        before = after = 0.0
        text = ""
        if not self._taken:
            text, self._text = self._text, ""
            before, self._pause = self._pause, 0.0
        self._taken += len(sound)
        loud = np.flatnonzero(np.abs(sound) > QUIET)
        self._quiet = len(sound) - 1 - int(loud[-1]) if len(loud) else self._quiet + len(sound)
        if last:
            text += self._rest + self._unsaid()
            self._letters += len(clause.text)
            self._samples += self._taken
            # The voice has made some of the pause itself.
            self._pause = max(0.0, clause.pause - self._quiet / self._rate)
            if self._waiting:
                after, self._pause = self._pause, 0.0
            self._clause = None
        else:
            text += self._due(len(clause.text))
        self.begun = True
        samples = np.concatenate([self._silence(before), sound, self._silence(after)])
        return Spoken(self._rate, samples, text)

    def _unsaid(self) -> str:
        """The text that comes next and cannot be said."""
        text = ""
        while self._waiting and not self._waiting[0].spoken:
            text += self._waiting.popleft().text
        return text

    def _due(self, length: int) -> str:
        """The words of a clause of so many letters that have been said by now, but for the last."""
        said = length - len(self._rest)
        letters = self._letters / self._samples * self._taken - said
        ends = [match.end() for match in re.finditer(r"\S+\s*", self._rest)]
        cut = max((end for end in ends[:-1] if end <= letters), default=0)
        text, self._rest = self._rest[:cut], self._rest[cut:]
        return text

    def _silence(self, seconds: float) -> Floats:
        return np.zeros(round(seconds * self._rate), np.float32)
