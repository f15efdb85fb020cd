"""Keeps live sound at real time: after a stall it comes all at once, and would stay late for ever.

Whoever answers sound with sound, frame by frame, plays one frame of 20 ms per 20 ms. What a stall
of the network or the machine held back then stands in front of all that follows. So silence is
left out of what comes in until the delay is gone; speech is never touched.
"""

from __future__ import annotations

from typing import Final

from fastrtc.audio.convert import Pcm
from fastrtc.audio.echo import level_dbfs
from fastrtc.audio.playout import FRAMES_PER_SECOND

WATCHED: Final = 25
"""Ticks (0.5 s) over which the least that waits is looked at: that is a delay that serves nobody.
What comes and goes within them is jitter."""
ALLOWED: Final = 0.02
"""Seconds of delay that may stay."""
SILENT: Final = -50.0
"""dBFS under which sound is silence, whatever else is heard."""
BELOW_SPEECH: Final = 35.0
"""dB under the loudest of late at which it is, too: rooms are not quiet."""
PAUSE: Final = 0.08
"""Seconds of silence before more of it is left out: shorter ones belong to the words, as before a
"p" or a "k"."""
LONGEST: Final = 3
"""Frames in a chunk that may be left out."""
FORGETS: Final = 0.05
"""dB by which the loudest falls with each chunk."""


class Pace:
    """How much of a live stream waits behind whoever takes 20 ms of it per tick."""

    def __init__(self, rate: int) -> None:
        """Rate in Hz."""
        self._frame = rate // FRAMES_PER_SECOND
        self._allowed = round(ALLOWED * rate)
        self._pause = round(PAUSE * rate)
        self._waiting = 0
        self._least = self._before = 0
        self._ticks = 0
        self._loudest = SILENT
        self._silent = 0
        """Samples of silence until now."""
        self.late = 0
        """Samples that have waited for all of the last ticks."""

    def tick(self) -> None:
        """20 ms have passed."""
        self._waiting = max(0, self._waiting - self._frame)
        self._least = min(self._least, self._waiting)
        self._ticks += 1
        if self._ticks >= WATCHED:
            # What goes on growing is sent faster than it is spoken, by a program that means it.
            steady = self._least <= self._before + self._allowed
            self.late = self._least if steady else 0
            self._before, self._least, self._ticks = self._least, self._waiting, 0

    def leaves_out(self, pcm: Pcm) -> bool:
        """Take note of the next sound, int16 ``(channels, n)``; True if it is not to be heard."""
        samples = pcm.shape[1]
        if self.late <= self._allowed:
            self._silent = 0
        # A long chunk may have a word in it, and a client that sends such does not mind.
        elif samples <= LONGEST * self._frame and self._is_silent(pcm):
            self.late -= samples
            return True
        self._waiting += samples
        return False

    def _is_silent(self, pcm: Pcm) -> bool:
        level = level_dbfs(pcm)
        self._loudest = max(level, self._loudest - FORGETS)
        if level >= max(SILENT, self._loudest - BELOW_SPEECH):
            self._silent = 0
            return False
        self._silent += pcm.shape[1]
        return self._silent > self._pause
