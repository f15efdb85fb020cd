"""How well and how fast speech is recognised and made; on real time, so on a quiet machine.

    python benchmarks/speech.py FOLDER [--pocketsphinx /usr/share/pocketsphinx/test/data]

FOLDER holds ``NAME.wav`` and ``texts.json``, which gives each name its text, or a dict with its
``text``. ``--pocketsphinx`` is where Debian's pocketsphinx-testdata lies: human speech with
transcripts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fastrtc import get_stt_model, get_tts_model
from fastrtc.testing import load_speech

REPEATS: Final = 7
SENTENCE: Final = "Sure, let me look that up for you."
STORY: Final = (
    "The train to the north leaves at half past nine, from the platform behind the clock. "
    "If you miss it, the next one goes at noon, and it stops in every village on the way. "
    "Take something to read, because there is nothing to see before the mountains."
)
CALLERS: Final = 10
SAME: Final = {
    **{str(number): word for number, word in enumerate(("zero", "one", "two", "three", "four"))},
    **{str(number): word for number, word in enumerate(("five", "six", "seven", "eight"), 5)},
    "9": "nine",
    "10": "ten",
    "55": "five five",
    "mr": "mister",
    "mrs": "missus",
    "metres": "meters",
    "okay": "ok",
    "noisyest": "noisiest",
}

Clip = tuple[str, tuple[int, NDArray[Any]], str]


def plain(text: str) -> list[str]:
    words = re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("-", " ")).split()
    return " ".join(SAME.get(word, word) for word in words).split()


def errors(said: list[str], read: list[str]) -> int:
    """Words that are wrong, missing or too many."""
    row = list(range(len(read) + 1))
    for number, word in enumerate(said, 1):
        corner, row[0] = row[0], number
        for place, other in enumerate(read, 1):
            best = min(row[place] + 1, row[place - 1] + 1, corner + (word != other))
            corner, row[place] = row[place], best
    return row[-1]


def from_folder(folder: Path) -> Iterator[Clip]:
    for name, text in json.loads((folder / "texts.json").read_text()).items():
        file = folder / f"{name.removesuffix('.wav')}.wav"
        text = text["text"] if isinstance(text, dict) else text
        if file.exists() and isinstance(text, str):
            yield file.stem, load_speech(file), text


def from_pocketsphinx(folder: Path) -> Iterator[Clip]:
    for name, file in (("cards", "cards.transcription"), ("librivox", "transcription")):
        lines = (folder / name / file).read_text()
        for text, clip in re.findall(r"<s> (.*?)\s*</s> \((.*?)\)", lines):
            yield clip, load_speech(folder / name / f"{clip}.wav"), text
    forward = np.fromfile(folder / "goforward.raw", "<i2").astype(np.int16)
    yield "goforward", (16_000, forward[None]), "go forward ten meters"


def recognise(clips: list[Clip]) -> None:
    names: list[Literal["moonshine/tiny", "moonshine/base"]] = ["moonshine/tiny", "moonshine/base"]
    for name in names:
        model = get_stt_model(name)
        wrong = words = 0
        for _, audio, text in clips:
            wrong += errors(plain(text), plain(model.stt(audio)))
            words += len(plain(text))
        longest = max(clips, key=lambda clip: clip[1][1].shape[-1])[1]
        rate, samples = longest
        times = []
        for seconds in (1, 4, 10):
            cut = (rate, samples[..., : seconds * rate])
            times.append(f"{seconds} s: {1000 * timed(partial(model.stt, cut)):.0f} ms")
        print(f"{name}: {100 * wrong / words:.1f} % of {words} words wrong; {', '.join(times)}")


def timed(work: Any) -> float:
    """The median of several runs, in seconds."""
    spent = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return median(spent)


def speak() -> None:
    tts = get_tts_model()
    firsts, factors = [], []
    for text in [SENTENCE] * REPEATS + [STORY] * 3:
        began = time.perf_counter()
        first, seconds, late, ends = 0.0, 0.0, 0.0, 0.0
        for rate, samples in tts.stream_tts_sync(text):
            now = time.perf_counter() - began
            first = first or now
            # How long the caller hears nothing, because the next clause is not made yet.
            late += max(0.0, now - ends) if ends else 0.0
            ends = max(now, ends) + len(samples) / rate
            seconds += len(samples) / rate
        if text is SENTENCE:
            firsts.append(first)
        else:
            factors.append((time.perf_counter() - began) / seconds)
            print(f"three sentences: first sound {1000 * first:.0f} ms, gaps {1000 * late:.0f} ms")
    print(f"{SENTENCE!r}: first sound {1000 * median(firsts):.0f} ms")
    print(f"three sentences: real-time factor {median(factors):.2f}")


async def crowd(audio: tuple[int, NDArray[Any]]) -> None:
    """Callers who finish speaking within the same second."""
    model = get_stt_model()

    async def caller(number: int) -> float:
        await asyncio.sleep(number / CALLERS)
        began = time.perf_counter()
        await model.astt(audio)
        return time.perf_counter() - began

    spent = await asyncio.gather(*map(caller, range(CALLERS)))
    shown = ", ".join(f"{1000 * seconds:.0f}" for seconds in spent)
    print(f"{CALLERS} callers within a second, 4 s of speech each: text after {shown} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--pocketsphinx", type=Path)
    options = parser.parse_args()
    clips = [clip for folder in options.folders for clip in from_folder(folder)]
    if options.pocketsphinx:
        clips += from_pocketsphinx(options.pocketsphinx)
    if not clips:
        parser.error("no clips")
    recognise(clips)
    speak()
    rate, samples = max(clips, key=lambda clip: clip[1][1].shape[-1])[1]
    asyncio.run(crowd((rate, samples[..., : 4 * rate])))


if __name__ == "__main__":
    main()
