"""How soon a line answers, and how soon it falls silent, on human speech and virtual time.

    python benchmarks/turns.py RECORDING.wav

The recording is cut at its silences into phrases. Each is said once in silence, and once over a
long reply. No network is in the figures: over WebRTC one way adds 20 ms of packet and the path.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrtc import ReplyOnPause
from fastrtc.testing import VirtualCall, load_speech

QUIET_DBFS = -40.0
LONGEST_GAP = 0.15
SHORTEST, LONGEST = 0.6, 3.0


def phrases(rate: int, samples: NDArray[np.int16]) -> Iterator[NDArray[np.int16]]:
    """Pieces of speech without an inner pause, shape (1, n)."""
    step = rate // 100
    frames = samples[0, : samples.shape[1] // step * step].reshape(-1, step) / 32768
    loud = 20 * np.log10(np.sqrt((frames**2).mean(axis=1)) + 1e-9) > QUIET_DBFS
    spans: list[list[int]] = []
    for index in np.flatnonzero(loud):
        if spans and index - spans[-1][1] <= LONGEST_GAP * 100:
            spans[-1][1] = int(index)
        else:
            spans.append([int(index), int(index)])
    for first, last in spans:
        if SHORTEST <= (last + 1 - first) / 100 <= LONGEST:
            yield samples[:, first * step : (last + 1) * step]


def tone(seconds: float) -> tuple[int, NDArray[np.int16]]:
    t = np.arange(round(24_000 * seconds)) / 24_000
    return 24_000, (np.sin(2 * np.pi * 440 * t) * 8_000).astype(np.int16)[None]


def short(audio: Any) -> Iterator[Any]:
    yield tone(0.5)


def long(audio: Any) -> Iterator[Any]:
    yield tone(30.0)


def answer_ms(rate: int, phrase: NDArray[np.int16]) -> float | None:
    with VirtualCall(ReplyOnPause(short)) as call:
        call.wait(1.0)
        call.say((rate, phrase))
        ended = call.now
        call.wait(2.0)
        after = [start for start, _ in call.sounds if start >= ended]
    return 1000 * (after[0] - ended) if after else None


def barge_in_ms(rate: int, opening: NDArray[np.int16], phrase: NDArray[np.int16]) -> float | None:
    with VirtualCall(ReplyOnPause(long)) as call:
        call.say((rate, opening))
        call.wait(3.0)
        onset = call.now
        call.say((rate, phrase))
        stopped = [m.at for m in call.messages if m.data == "interrupted" and m.at >= onset]
    return 1000 * (stopped[0] - onset) if stopped else None


def show(name: str, values: list[float | None]) -> None:
    found = sorted(value for value in values if value is not None)
    p95 = found[min(len(found) - 1, round(0.95 * (len(found) - 1)))]
    print(
        f"{name:34} n {len(found):3}  missed {len(values) - len(found)}"
        f"  median {statistics.median(found):4.0f} ms  p95 {p95:4.0f} ms"
    )


def main() -> None:
    rate, samples = load_speech(sys.argv[1])
    pieces = list(phrases(rate, samples))
    show("last word to first sound", [answer_ms(rate, piece) for piece in pieces])
    show("onset to interruption", [barge_in_ms(rate, pieces[0], piece) for piece in pieces])


if __name__ == "__main__":
    main()
