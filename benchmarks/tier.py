"""Ten utterances at once: a tier of models against the pools of one process.

    python -m benchmarks.tier [--cpus N] [--base] [--repeats N]

Needs ``fastrtc[cluster]`` and moonshine-voice, whose recordings are cut into phrases. Both sides
have the same cores: as many threads as the process may use.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from statistics import median
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from fastrtc import MoonshineSTT, get_stt_model, metrics
from fastrtc.audio.mono import as_mono
from fastrtc.models.inference import cores
from fastrtc.models.stt import recogniser
from fastrtc.models.stt.captions import Phrases
from fastrtc.models.stt.moonshine import RATE
from fastrtc.testing import load_speech
from tests.conftest import human_speech
from tests.e2e.tier import PATIENCE, tier

UTTERANCES: Final = 10
SHORTEST, LONGEST = 2.0, 6.0
"""Seconds of an utterance."""
CALLS: Final = 200
RECORDINGS: Final = ("beckett.wav", "two_cities.wav")
OFFSETS: Final = (0.0, 3.0, 7.0, 11.0)
"""Seconds at which a recording is begun: the phrases are cut at other places each time."""

Clip = NDArray[np.float32]


def utterances() -> list[Clip]:
    """What people say between two pauses."""
    found: list[Clip] = []
    for offset in OFFSETS:
        for name in RECORDINGS:
            samples = as_mono(load_speech(human_speech(name)), RATE)[round(offset * RATE) :]
            phrases = Phrases(every=60)
            for at in range(0, len(samples), RATE):
                phrases.hear(samples[at : at + RATE])
            phrases.finish()
            found += [phrase.samples for phrase in phrases.waiting]
    fitting = [clip for clip in found if SHORTEST <= len(clip) / RATE <= LONGEST]
    assert len(fitting) >= UTTERANCES
    return fitting[:UTTERANCES]


async def at_once(model: MoonshineSTT, clips: list[Clip]) -> list[float]:
    """Seconds after which each of them is read."""

    async def caller(clip: Clip) -> float:
        began = time.perf_counter()
        await model.astt((RATE, clip))
        return time.perf_counter() - began

    return list(await asyncio.gather(*map(caller, clips)))


def compare(models: dict[str, MoonshineSTT], clips: list[Clip], repeats: int) -> None:
    """Take turns, as other work on the machine comes and goes."""
    spent: dict[str, list[list[float]]] = {whose: [] for whose in models}
    for _ in range(1 + repeats):
        for whose, model in models.items():
            spent[whose].append(asyncio.run(at_once(model, clips)))
    for whose, (_, *runs) in spent.items():
        last, middle = median(map(max, runs)), median(map(median, runs))
        print(
            f"{whose}: the last of {len(clips)} texts after {1000 * last:.0f} ms "
            f"({1000 * min(map(max, runs)):.0f} to {1000 * max(map(max, runs)):.0f}), "
            f"the median after {1000 * middle:.0f} ms"
        )


def asking(model: MoonshineSTT) -> None:
    """What it costs to ask: the clip is too short for the network to be run."""
    spent = []
    for _ in range(CALLS):
        began = time.perf_counter()
        model._reader.run(np.zeros(1, np.float32))
        spent.append(1000 * (time.perf_counter() - began))
    print(f"to ask and be answered: {median(spent):.1f} ms, p95 {np.quantile(spent, 0.95):.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpus", type=int, default=cores(), help="of the replica")
    parser.add_argument("--base", action="store_true", help="the larger network")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    name: Literal["moonshine/tiny", "moonshine/base"]
    name = "moonshine/base" if options.base else "moonshine/tiny"
    clips = utterances()
    print(f"{name}: {', '.join(f'{len(clip) / RATE:.1f}' for clip in clips)} s")
    # The tier is measured, and not what takes its place when it is late.
    recogniser.TIER_SECONDS[name] = (PATIENCE, 0.0)
    with tier(f"stt-{name.replace('/', '-')}", cpus=options.cpus):
        far = get_stt_model(name, where="cluster")
        compare({"one process": get_stt_model(name), "tier": far}, clips, options.repeats)
        asking(far)
    assert not sum(metrics.model_fallbacks.values.values())


if __name__ == "__main__":
    main()
