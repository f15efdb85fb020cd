"""Takes our own reply out of what the microphone hears, where the caller's device does not.

Around WebRTC's AEC3, from the optional package pywebrtc-audio (Apache-2.0).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from fastrtc.audio.convert import Pcm

PIECES_PER_SECOND: Final = 100
"""AEC3 works in pieces of 10 ms."""
RATES: Final = range(8_000, 48_001, PIECES_PER_SECOND)
"""Hz. Rates that have whole samples in 10 ms; others would be cut crooked."""
LONGEST_WAIT: Final = 0.5
"""Seconds of what we play that may wait for the caller's sound of the same time."""
SLACK: Final = 0.04
"""Seconds that may wait all the time: two frames, by which the streams jitter."""
TYPICAL_DELAY_MS: Final = 50
"""Where AEC3 begins to look for the echo. A network is seldom faster; with 0, which stands for a
sound card, it lost the echo again for some seconds after it had found it."""


class EchoCanceller:
    """Echo cancellation for one call.

    It finds the delay of the echo itself, up to 0.4 s, and follows it; after about a second of our
    sound it takes off 20 dB and more. The caller's voice comes out 8 to 11 ms later than it went
    in, and up to 5 dB quieter while we talk.
    """

    def __init__(self, rate: int) -> None:
        """Rate of both streams in Hz.

        Raises:
            ValueError: the rate is not a multiple of 100 in 8 to 48 kHz.
            ImportError: the optional package is not installed.
        """
        if rate not in RATES:
            raise ValueError(
                f"expected a rate in 8000 to 48000 Hz with whole samples in 10 ms, got {rate}"
            )
        try:
            # Imported here, because it is optional.
            from pywebrtc_audio import AudioProcessor
        except ImportError as error:
            raise ImportError(
                "echo cancellation needs a package that is not installed: "
                'pip install "fastrtc[aec]"'
            ) from error
        self.rate = rate
        self._piece = rate // PIECES_PER_SECOND
        # Not the package's own EchoCanceller, which does the same but refuses 8 kHz.
        self._aec = AudioProcessor(
            rate, 1, echo_cancellation=True, stream_delay_ms=TYPICAL_DELAY_MS
        )
        self._heard = np.zeros(0, np.int16)
        self._playing = np.zeros(0, np.int16)
        self._least = 0
        self._watched = 0

    def process(self, heard: Pcm, playing: Pcm) -> Pcm:
        """Take the echo out of the caller's next samples.

        The two may differ in length: what we play waits, and where it is late there is silence
        in its place.

        Args:
            heard: what came from the caller, shape ``(1, n)``, any n.
            playing: what went out meanwhile, shape ``(1, m)``, any m; silence need not be given.

        Returns:
            Shape ``(1, k)``: whole pieces of 10 ms. Less than a piece is kept for the next call,
            so that over time as much comes out as went in.
        """
        self._playing = np.concatenate([self._playing, playing[0]])
        # Whatever is older, the caller's sound of its time was lost.
        self._drop(len(self._playing) - round(LONGEST_WAIT * self.rate))
        waiting = np.concatenate([self._heard, heard[0]])
        whole = len(waiting) // self._piece * self._piece
        near, self._heard = waiting[:whole], waiting[whole:]
        if not whole:
            return near[None]
        far = np.zeros(whole, np.int16)
        known = self._playing[:whole]
        far[: len(known)] = known
        self._playing = self._playing[whole:]
        self._watch(whole)
        cleaned: Pcm = self._aec.process(near, far)[None]
        return cleaned

    def _watch(self, samples: int) -> None:
        """Once a second, drop what has waited all the time.

        A burst of jitter is over within that; what stays is the caller's sound that was lost,
        and for each second of it the echo would be cancelled with what is played later.
        """
        rest = len(self._playing)
        self._least = min(self._least, rest) if self._watched else rest
        self._watched += samples
        if self._watched >= self.rate:
            if self._least > SLACK * self.rate:
                self._drop(self._least)
            self._watched = 0

    def _drop(self, samples: int) -> None:
        """Forget the oldest of what we play."""
        if samples > 0:
            self._playing = self._playing[samples:]
