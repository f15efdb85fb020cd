"""What the caller is about to hear, given out on the 20 ms clock.

The queue counts what has gone out, and so it knows what has been heard. It has no clock of its
own: whoever calls `next_frame` every 20 ms makes time pass.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fastrtc.audio.convert import Pcm

FRAMES_PER_SECOND: Final = 50
"""The clock: a frame is 20 ms, the packet size of WebRTC, RTP telephony and Twilio."""
FADE_SECONDS: Final = 0.005
"""Length of the fade at an interruption: shorter clicks, longer lags."""


@dataclass(frozen=True)
class Mark:
    """A place in the sound; `reached` is called when all sound before it has gone out."""

    reached: Callable[[], None]


class Playout:
    """A queue of sound and marks that leaves in frames of 20 ms."""

    def __init__(self, rate: int, channels: int = 1) -> None:
        """Rate in Hz."""
        self.rate = rate
        self.channels = channels
        self.frame_samples = rate // FRAMES_PER_SECOND
        self.heard = 0
        """Samples of sound that have gone out, silence between replies not counted."""
        self._queue: deque[Pcm | Mark] = deque()
        self._queued = 0
        self._starved = False
        self._held = False
        self._fading: Pcm | None = None
        """What is still heard while the sound is held."""
        self._fade_in = self._broken_off = False

    @property
    def buffered(self) -> float:
        """Seconds of sound that wait."""
        return self._queued / self.rate

    @property
    def end(self) -> int:
        """Where the sound that waits will end, as `heard` counts."""
        return self.heard + self._queued

    @property
    def held(self) -> bool:
        """Whether the sound waits for `resume`."""
        return self._held

    @property
    def idle(self) -> bool:
        """Whether nothing waits, neither sound nor mark."""
        return not self._queue

    def push(self, pcm: Pcm) -> None:
        """Queue samples of shape ``(channels, n)`` at this queue's rate."""
        if pcm.shape[1]:
            self._queue.append(pcm)
            self._queued += pcm.shape[1]

    def mark(self, reached: Callable[[], None]) -> None:
        """Call ``reached`` when everything queued so far has gone out."""
        self._queue.append(Mark(reached))

    def next_frame(self) -> Pcm | None:
        """The next 20 ms, shape ``(channels, frame_samples)``; None where there is silence.

        Less than a frame waits once for the rest of it, so that a source of odd chunk sizes
        has no gaps; sound before a mark, and sound whose rest did not come, is filled up with
        silence.
        """
        if self._held:
            faded, self._fading = self._fading, None
            if faded is None:
                return None
            frame = np.zeros((self.channels, self.frame_samples), np.int16)
            frame[:, : faded.shape[1]] = faded
            return frame
        self._pass_marks()
        if not self._queued:
            return None
        short = self._queued < self.frame_samples
        if short and not self._starved and not isinstance(self._queue[-1], Mark):
            self._starved = True
            return None
        self._starved = False
        frame = np.zeros((self.channels, self.frame_samples), np.int16)
        filled = 0
        while filled < self.frame_samples and self._queue:
            head = self._queue[0]
            if isinstance(head, Mark):
                # What comes after a mark may follow in the same frame.
                self._queue.popleft()
                head.reached()
                continue
            part = head[:, : self.frame_samples - filled]
            frame[:, filled : filled + part.shape[1]] = part
            filled += part.shape[1]
            # Counted here and not at the end: what a mark calls may ask, or interrupt.
            self._queued -= part.shape[1]
            self.heard += part.shape[1]
            self._queue.popleft()
            if part.shape[1] < head.shape[1]:
                self._queue.appendleft(head[:, part.shape[1] :])
        if self._fade_in:
            self._fade_in = False
            length = round(self.rate * FADE_SECONDS)
            ramp = np.linspace(0, 1, length, dtype=np.float32)
            frame[:, :length] = (frame[:, :length] * ramp).astype(np.int16)
        return frame

    def hold(self, *, fade: bool = True) -> None:
        """Fall silent within a few milliseconds, and keep all that waits.

        What is heard of the fade comes again after `resume`, so that nothing is lost. Without
        ``fade`` the sound has been broken off already, by a far side that dropped it.
        """
        if self._held:
            return
        self._held = True
        tail = self._fade_out() if fade else self._silence()
        self._fading = tail if tail.shape[1] else None
        self._broken_off = self._fade_in or self._fading is not None or not fade
        self._fade_in = False

    def put_back(self, items: Sequence[Pcm | Mark]) -> None:
        """Queue sound and marks again that went out and were not heard, before all that waits."""
        self._queue.extendleft(reversed(items))
        samples = sum(item.shape[1] for item in items if not isinstance(item, Mark))
        self._queued += samples
        self.heard -= samples

    def resume(self) -> None:
        """Go on from where the sound was held."""
        if self._held:
            # What was held for less than a frame was never broken off.
            self._fade_in = self._broken_off and self._fading is None
            self._held, self._fading = False, None

    def interrupt(self, *, fade: bool = True) -> None:
        """Drop all that waits, except a fade of a few milliseconds that avoids a click.

        Marks are dropped too: what they stood behind was not heard. Without ``fade`` nothing
        more is heard, for a far side that drops what came before it.
        """
        tail = self._fade_out()
        if self._held:
            tail = self._silence() if self._fading is None else self._fading
        if not fade:
            tail = self._silence()
        self._queue.clear()
        self._queued = 0
        self._held, self._fading, self._fade_in = False, None, False
        # A fade goes out at once.
        self._starved = tail.shape[1] > 0
        self.push(tail)

    def _fade_out(self) -> Pcm:
        """The next few milliseconds, falling to silence; they stay in the queue."""
        if self._fade_in:
            return self._silence()  # Nothing has been heard since the last fade.
        length = round(self.rate * FADE_SECONDS)
        heads = [item[:, :length] for item in self._queue if not isinstance(item, Mark)]
        if not heads:
            return self._silence()
        tail = np.concatenate(heads, axis=1)[:, :length]
        ramp = np.linspace(1, 0, tail.shape[1], dtype=np.float32)
        faded: Pcm = (tail * ramp).astype(np.int16)
        return faded

    def _silence(self) -> Pcm:
        return np.zeros((self.channels, 0), np.int16)

    def _pass_marks(self) -> None:
        while self._queue and isinstance(mark := self._queue[0], Mark):
            self._queue.popleft()
            mark.reached()
