"""Where the microseconds of a call go: sums up samples of a server that carries calls.

    py-spy record --pid SERVER --duration 12 --rate 250 --format raw --output samples.txt
    python benchmarks/profile.py samples.txt --calls 40 --cpu 61

`--cpu` is what the process took meanwhile, in per cent of a core: samples tell shares, not seconds.
py-spy is no dependency of ours.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Final

FRAMES_PER_SECOND: Final = 50
JUDGING: Final = "EndpointWorker._answer"
IDLE: Final = ("Condition.wait", "threading.py")
PARTS: Final = (
    ("Opus encode", ("OpusEncoder._encode",)),
    ("Opus decode", ("OpusDecoder",)),
    ("resampling", ("polyphase.py", "decimate.py", "resample.py")),
    ("SRTP", ("pylibsrtp",)),
    ("voice detection: the network", ("onnxruntime",)),
    ("voice detection: around it", ("models/vad",)),
    ("RTP, jitter buffer", ("media.py", "rtp.py", "jitter.py", "aiortc_engine/peer.py")),
    ("echo guard, levels", ("audio/echo.py", "ears.py")),
    ("the user's handler, and its tasks", ("subject.py", "pump.py", "waiting.py", "values.py")),
    ("playout, mouth, clock, session", ("playout.py", "mouth.py", "clock.py", "session.py")),
    ("turns, replies, capture", ("turns/", "handlers/", "capture.py", "threads.py")),
    ("sockets, ICE, event loop", ("asyncio/", "selectors.py", "aioice", "ice.py")),
)
"""Each with what its frames are known by. A sample counts for the innermost frame that is known."""


def part_of(stack: list[str]) -> str:
    """Which part a sample belongs to."""
    if any(JUDGING in frame for frame in stack):
        return "judging turns (Smart Turn, Moonshine)"
    for frame in reversed(stack):
        for name, marks in PARTS:
            if any(mark in frame for mark in marks):
                return name
    return "other"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("samples", type=Path, help="what py-spy wrote, in its raw format")
    parser.add_argument("--calls", type=int, required=True, help="how many there were")
    parser.add_argument("--cpu", type=float, required=True, help="per cent of a core")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    for line in options.samples.read_text().splitlines():
        text, _, count = line.rpartition(" ")
        stack = text.split(";")
        # What waits for a lock in C is sampled as if it ran.
        if not all(mark in stack[-1] for mark in IDLE):
            counts[part_of(stack)] += int(count)
    whole = options.cpu / 100 / options.calls / FRAMES_PER_SECOND * 1e6
    total = sum(counts.values())
    print(f"{'us per 20 ms of a call':40}{whole:6.0f}")
    for name, count in counts.most_common():
        print(f"  {name:38}{whole * count / total:6.0f}")


if __name__ == "__main__":
    main()
