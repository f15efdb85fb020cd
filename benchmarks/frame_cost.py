"""What 20 ms of one call cost, part by part, on one thread.

    taskset -c 0 python benchmarks/frame_cost.py

`hot` repeats a part without pause, as a busy server does; `cold` once every 20 ms, as for a single
caller, whose work never stays in the caches.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from fastrtc.audio.playout import Playout
from fastrtc.audio.resample import StreamResampler
from fastrtc.models.vad.silero import CONTEXT, WINDOW, shared_net
from fastrtc.transports.opus import OpusDecoder, OpusEncoder
from fastrtc.turns.machine import TurnMachine

RANDOM = np.random.default_rng(1)
FRAME_48K = RANDOM.normal(0, 3_000, (1, 960)).astype(np.int16)
FRAME_24K = RANDOM.normal(0, 3_000, (1, 480)).astype(np.int16)


def vad(batch: int) -> Callable[[], object]:
    windows = RANDOM.normal(0, 0.05, (batch, CONTEXT + WINDOW)).astype(np.float32)
    states = np.zeros((2, batch, 128), np.float32)
    return lambda: shared_net().step(windows, states)


def playing() -> Callable[[], object]:
    playout = Playout(24_000)

    def step() -> None:
        playout.push(FRAME_24K)
        playout.next_frame()

    return step


def parts() -> dict[str, tuple[Callable[[], object], float]]:
    """Each part, and how often it is done per 20 ms of a call."""
    encoder, decoder, machine = OpusEncoder(24_000, 1), OpusDecoder(1), TurnMachine()
    (packet,) = OpusEncoder(48_000, 1).encode(FRAME_48K)
    to_vad = StreamResampler(48_000, 16_000)
    per_step = 20 / 32
    return {
        "Opus decode": (lambda: decoder.decode(packet), 1),
        "resample 48 to 16 kHz": (lambda: to_vad.process(FRAME_48K), 1),
        "VAD, batch 1": (vad(1), per_step),
        "VAD, batch 8, per caller": (vad(8), per_step / 8),
        "VAD, batch 32, per caller": (vad(32), per_step / 32),
        "turn machine": (lambda: machine.hear(0.1), per_step),
        "playout": (playing(), 1),
        "Opus encode, 24 kHz mono": (lambda: encoder.encode(FRAME_24K), 1),
    }


def microseconds(part: Callable[[], object], count: int, gap: float) -> float:
    for _ in range(20):
        part()
    began = time.thread_time()
    for _ in range(count):
        part()
        if gap:
            time.sleep(gap)
    return 1e6 * (time.thread_time() - began) / count


def main() -> None:
    print(f"{'us per 20 ms of a call':30}{'hot':>8}{'cold':>8}")
    for name, (part, share) in parts().items():
        hot, cold = microseconds(part, 300, 0), microseconds(part, 100, 0.02)
        print(f"{name:30}{share * hot:8.0f}{share * cold:8.0f}")


if __name__ == "__main__":
    main()
