"""How people and the line take turns: latency, cut-ins, barge-in, false alarms; on virtual time.

    python benchmarks/turns.py --turns FOLDER [--short FOLDER] [--recording SPEECH.wav]
                               [--curve docs/turns.svg]

``--turns`` holds ``whole/NAME.wav`` and ``broken/NAME-1.wav``, ``NAME-2.wav`` (see material.py); it
may be given more than once. ``--short`` holds ``NAME.wav`` and ``short.json``, which gives each
name a kind: "backchannel", "cough", "knock", "keyboard", or "command". ``--recording`` is cut at
its silences into phrases. No network is in the figures: over WebRTC, packets and codec add 30 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from trace import Trace, ends, listen
from typing import Any, Final

import numpy as np
from curve import curves, draw, share_cut
from material import CONDITIONS, RATE, Said, Samples, phrases, read, turns
from numpy.typing import NDArray

from fastrtc import ReplyOnPause
from fastrtc.testing import VirtualCall
from fastrtc.turns.options import EndpointPolicy, TurnPolicy

LEAD, TAIL = 1.0, 2.6
"""Seconds of room before and after what is said."""
THINKING: Final = 0.3
"""Seconds to the first sound of the function that is called early."""


def tone(seconds: float) -> tuple[int, NDArray[np.int16]]:
    t = np.arange(round(24_000 * seconds)) / 24_000
    return 24_000, (np.sin(2 * np.pi * 440 * t) * 8_000).astype(np.int16)[None]


def room(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.float32)


def percentiles(values: list[float]) -> str:
    if not values:
        return "none"
    median, p95 = np.percentile(values, [50, 95])
    return f"{1000 * median:4.0f} / {1000 * p95:4.0f} ms"


# Endpointing.


def heard(said: Said, condition: str) -> tuple[float, Trace]:
    """When it ends, and what turn-taking sees of it."""
    sound = np.concatenate([room(LEAD), said.samples, room(TAIL)])
    return LEAD + len(said.samples) / RATE, listen(CONDITIONS[condition](sound))


def endpointing(name: str, folder: Path) -> list[tuple[bool, float, Trace]]:
    """Print latency and cut-ins in each condition; the traces of the clean one."""
    clean: list[tuple[bool, float, Trace]] = []
    for condition in CONDITIONS:
        rows = [(said.finished, *heard(said, condition)) for said in turns(folder)]
        clean = clean or rows
        for label, policy in (
            ("evidence", TurnPolicy(endpoint=EndpointPolicy())),
            ("silence of 0.3 s", TurnPolicy(end_silence=0.3)),
        ):
            latencies, cut = figures(rows, policy)
            print(
                f"{name:8} {condition:12} {label:17} whole {len(latencies):3}: last word to"
                f" decision {percentiles(latencies)}; broken {len(cut):3}: cut in upon"
                f" {100 * np.mean(cut):4.1f} %"
            )
    return clean


def figures(
    rows: list[tuple[bool, float, Trace]], policy: TurnPolicy, **kinds: bool
) -> tuple[list[float], list[float]]:
    """Latencies of the whole turns; for each broken one, how often its pause is cut into."""
    latencies, cut = [], []
    for finished, end, trace in rows:
        decided = next(iter(ends(trace, policy, **kinds)), float("inf"))
        if not finished:
            cut.append(share_cut(decided - end))
        elif decided >= end:
            latencies.append(decided - end)
    return latencies, cut


def early(folder: Path) -> None:
    """`speculative=True` with a function that needs 0.3 s to its first sound."""

    async def reply(audio: Any) -> AsyncIterator[Any]:
        await asyncio.sleep(THINKING)
        yield tone(0.5)

    for speculative in (False, True):
        latencies, calls = [], 0
        for said in turns(folder):
            if not said.finished:
                continue
            with VirtualCall(ReplyOnPause(reply, speculative=speculative), models=True) as call:
                clean = CONDITIONS["clean"]
                call.say((RATE, clean(np.concatenate([room(LEAD), said.samples]))))
                ended = call.now
                call.say((RATE, clean(room(TAIL))))
                latencies += [start - ended for start, _ in call.sounds if start > ended][:1]
                calls += sum(turn.speculated for turn in call.turns)
        label = f"speculative={speculative}"
        print(f"{label:18} last word to first sound {percentiles(latencies)}; discarded {calls}")


# Interruptions.


def long_reply(audio: Any) -> Iterator[Any]:
    yield tone(14.0)


def over_a_reply(opening: Samples, sound: Samples, *, models: bool) -> tuple[VirtualCall, float]:
    """A call in which something sounds over a reply; and when it began."""
    clean = CONDITIONS["clean"]
    with VirtualCall(ReplyOnPause(long_reply), models=models, rate=RATE) as call:
        call.say((RATE, clean(np.concatenate([room(0.5), opening, room(3.0)]))))
        onset = call.now
        call.say((RATE, clean(np.concatenate([sound, room(2.0)]))))
    return call, onset


def interruptions(opening: Samples, said: list[Samples]) -> None:
    silent, missing = [], 0
    for phrase in said:
        call, onset = over_a_reply(opening, phrase, models=True)
        if not any(m.data == "interrupted" and m.at >= onset for m in call.messages):
            continue
        stops = [end for start, end in call.sounds if start <= onset < end]
        silent += [end - onset for end in stops]
        starts = [turn.speech_start for turn in call.turns if turn.speech_start is not None]
        # An utterance begins 0.3 s before its first voice.
        missing += not any(start - 0.3 <= onset + 0.01 for start in starts if start > onset - 1)
    print(
        f"onset to silence, {len(silent)} phrases: {percentiles(silent)};"
        f" first sound lost {missing}"
    )


def false_alarms(opening: Samples, folder: Path) -> None:
    kinds: dict[str, list[str]] = {}
    for name, facts in json.loads((folder / "short.json").read_text()).items():
        kinds.setdefault(facts["kind"], []).append(name)
    for models in (True, False):
        for kind, names in sorted(kinds.items()):
            ended = 0
            for name in names:
                sound = read(folder / f"{name}.wav")
                call, onset = over_a_reply(opening, sound, models=models)
                ended += any(m.data == "interrupted" and m.at >= onset for m in call.messages)
            words = "with words" if models else "without words"
            print(
                f"{words:14} {kind:12} n {len(names):3}:"
                f" end a reply {100 * ended / len(names):3.0f} %"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=Path, action="append", required=True)
    parser.add_argument("--short", type=Path)
    parser.add_argument("--recording", type=Path)
    parser.add_argument("--curve", type=Path, help="where to draw latency against cut-ins (SVG)")
    options = parser.parse_args()
    traces = {folder.name: endpointing(folder.name, folder) for folder in options.turns}
    if options.curve:
        options.curve.write_text(draw(curves(traces, figures)))
    early(options.turns[0])
    opening = next(iter(turns(options.turns[0]))).samples
    if options.recording:
        interruptions(opening, phrases(read(options.recording)))
    if options.short:
        false_alarms(opening, options.short)


if __name__ == "__main__":
    main()
