"""How often a stop word is missed, and how often other speech is taken for one.

    python benchmarks/stop_words.py FOLDER ... [--texts FILE.json] [--written PROSE.txt]
                                    [--condition telephone]

Every sound file below a FOLDER is transcribed by Moonshine tiny and searched. A ``texts.json``
beside some of them says in which a stop word is said: ``{"NAME": {"phrase": "hey siri"}}``; all
others are other speech. ``--texts`` keeps what was transcribed, and is read the next time.
``--written`` is searched as if somebody had read it aloud and each word had been recognised.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soxr
from material import CONDITIONS, RATE, SPEECH_DBFS, Samples

from fastrtc import get_stt_model
from fastrtc.testing import load_speech
from fastrtc.turns.stop_words import StopWords

SOUNDS: Final = (".wav", ".flac")
ROOM: Final = np.zeros(round(0.3 * RATE), np.float32)
"""What is heard before and after a clip."""
QUIETEST: Final = 1e-3
"""A file of silence is not made loud."""
WORDS_PER_HOUR: Final = 150 * 60
"""Of somebody who talks without a pause."""
SHOWN: Final = 8


@dataclass(frozen=True)
class Clip:
    """A sound file, and the stop word that is said in it, if any."""

    path: Path
    phrase: str | None


@dataclass(frozen=True)
class Heard:
    """What was recognised in a clip."""

    clip: Clip
    seconds: float
    text: str


def clips(folder: Path) -> list[Clip]:
    """All clips below a folder, by name."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in SOUNDS)
    said: dict[Path, str | None] = {}
    for texts in folder.rglob("texts.json"):
        for name, facts in json.loads(texts.read_text()).items():
            said[texts.parent / name] = facts.get("phrase")
    return [Clip(path, said.get(path.with_suffix(""))) for path in paths]


def whole(path: Path) -> Samples:
    """A file at 16 kHz and the usual level, with its soft beginning: the h of "hey" is one."""
    rate, pcm = load_speech(path)
    samples = soxr.resample(pcm[0].astype(np.float32) / 32768, rate, RATE)
    loud = samples[np.abs(samples) >= 0.05 * np.abs(samples).max()]
    gain = 10 ** (SPEECH_DBFS / 20) / max(np.sqrt(np.mean(loud**2)), QUIETEST)
    return np.asarray(samples * gain, np.float32)


def transcribe(wanted: list[Clip], condition: str, kept: Path | None) -> list[Heard]:
    """The texts of clips; of those that are kept from the last time, without listening again."""
    known = json.loads(kept.read_text()) if kept and kept.exists() else {}
    model = get_stt_model("moonshine/tiny")
    for clip in wanted:
        key = f"{condition} {clip.path}"
        if key not in known:
            samples = whole(clip.path)
            sound = CONDITIONS[condition](np.concatenate([ROOM, samples, ROOM]))
            known[key] = [len(samples) / RATE, model.stt((RATE, sound))]
    if kept:
        kept.write_text(json.dumps(known, indent=1))
    return [Heard(clip, *known[f"{condition} {clip.path}"]) for clip in wanted]


def matches(phrase: str, texts: Iterable[str]) -> Counter[str]:
    """What is taken for a stop word, in small letters, and how often; each text counts once."""
    stop_words = StopWords([phrase])
    found: Counter[str] = Counter()
    for text in texts:
        match = stop_words.find(text)
        if match:
            found[letters(text[match.start : match.end])] += 1
    return found


def letters(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def false_accepts(phrase: str, texts: Iterable[str]) -> Counter[str]:
    """The same without the stop word itself, which was said there."""
    found = matches(phrase, texts)
    own = letters(phrase)
    return Counter({text: n for text, n in found.items() if text.removesuffix(" s") != own})


def report(heard: list[Heard], written: list[str]) -> None:
    """Print the table."""
    other = [h for h in heard if h.clip.phrase is None]
    hours = sum(h.seconds for h in other) / 3600
    read_hours = sum(len(text.split()) for text in written) / WORDS_PER_HOUR
    phrases = sorted({h.clip.phrase for h in heard if h.clip.phrase})
    print(f"other speech {hours:.2f} h; written, as if spoken, {read_hours:.1f} h")
    sums: dict[str, list[tuple[int, int, int, int]]] = defaultdict(list)
    wrong: list[str] = []
    for phrase in sorted(phrases, key=lambda phrase: (len(phrase.split()), phrase)):
        said = [h.text for h in heard if h.clip.phrase == phrase]
        missed = [text for text in said if StopWords([phrase]).find(text) is None]
        taken = false_accepts(phrase, (h.text for h in other))
        aloud = false_accepts(phrase, written)
        row = (len(said), len(missed), taken.total(), aloud.total())
        line(phrase, row, hours, read_hours)
        sums["one word" if len(phrase.split()) == 1 else "two words"].append(row)
        for label, texts in (("missed", Counter(missed)), ("taken", taken), ("read", aloud)):
            shown = ", ".join(f"{text!r} {count}" for text, count in texts.most_common(SHOWN))
            wrong += [f"{phrase:14} {label:6} {shown}"] if shown else []
    for label, rows in sums.items():
        said_, missed_, taken_, read_ = (sum(column) for column in zip(*rows, strict=True))
        line(label, (said_, missed_, taken_, read_), hours * len(rows), read_hours * len(rows))
    print("\n".join(wrong))


def line(label: str, row: tuple[int, int, int, int], hours: float, read_hours: float) -> None:
    said, missed, taken, read = row
    print(
        f"{label:14} said {said:3}, missed {100 * missed / said:4.1f} %;"
        f" false accepts an hour: speech {per_hour(taken, hours)},"
        f" written {per_hour(read, read_hours)}"
    )


def per_hour(count: int, hours: float) -> str:
    return f"{count / hours:.2f} ({count})" if hours else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--texts", type=Path, help="where to keep what was transcribed (JSON)")
    parser.add_argument("--written", type=Path, help="English prose, paragraph by paragraph")
    parser.add_argument("--condition", choices=list(CONDITIONS), default="clean")
    options = parser.parse_args()
    wanted = [clip for folder in options.folders for clip in clips(folder)]
    heard = transcribe(wanted, options.condition, options.texts)
    prose = options.written.read_text() if options.written else ""
    report(heard, [text for text in re.split(r"\n\s*\n", prose) if text.strip()])


if __name__ == "__main__":
    main()
