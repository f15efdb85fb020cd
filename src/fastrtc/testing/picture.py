"""A call as a picture: what was said and heard, who had the floor, and what was decided.

Drawn in rows, from left to right; each row has the same lanes, with one time axis below them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, isfinite
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import FULL_SCALE, Pcm
from fastrtc.testing.svg import (
    CALLER,
    END,
    HAIR,
    INK,
    PAPER,
    REPLY,
    SOFT,
    WARN,
    sheet,
    text,
    title,
)
from fastrtc.turns.options import STEP_SECONDS
from fastrtc.turns.record import Step, Turn

SCALE: Final = 120.0
"""Pixels per second."""
ROW_SECONDS: Final = 20.0
"""A call that is longer is drawn in several rows."""
MOST_ROWS: Final = 60
"""A call that would need more is drawn smaller, so that the picture stays small enough to open."""
MARGIN: Final = 84
"""Pixels at the left, for the names of the lanes."""
EDGE: Final = 24
"""Pixels at the right."""

LINE: Final = 15
"""Pixels from one line of text to the next."""
CHARACTER: Final = 6.2
"""Pixels that a character of a label takes, a little more than most do."""
LABEL_LINES: Final = 8
"""Lines of labels in a row at most; what finds no room is a tick with a tooltip."""
LABEL_LENGTH: Final = 72
LANE: Final = 76
RIBBON: Final = 20
TURN: Final = 34
AXIS: Final = 22
GAP: Final = 8

QUIET: Final = 0.05
"""A lane is drawn as high as its loudest sample, but as if that were -26 dBFS at least: else the
noise of a silent lane would look like a voice."""

Decided = tuple[float, str, str]
"""When, what, and why in words."""

FLOORS: Final = {
    "listening": (SOFT, 0.1),
    "starting": (CALLER, 0.22),
    "speaking": (CALLER, 0.55),
    "pausing": (CALLER, 0.22),
    "replying": (REPLY, 0.5),
    "interrupting": (WARN, 0.4),
    "faltering": (WARN, 0.25),
    "protected": (REPLY, 0.3),
    "overlapping": (END, 0.35),
    "waiting": (SOFT, 0.3),
}
"""Colour and opacity of a state; one that is not here is drawn grey."""


def draw(
    *,
    rate: int,
    said: Pcm,
    heard_rate: int,
    heard: Pcm,
    steps: Sequence[Step],
    turns: Sequence[Turn],
    decisions: Sequence[Decided],
) -> str:
    """A call as SVG, which needs nothing else to be seen.

    Args:
        rate: Hz of what was said.
        said: what the caller said, int16 ``(channels, n)``.
        heard_rate: Hz of what was heard.
        heard: what the caller heard, int16 ``(channels, n)``.
        steps: the call as turn-taking saw it, in order.
        turns: the turns, in order.
        decisions: when, what, and why in words; in order. All times are in seconds.
    """
    steps = [step for step in steps if isfinite(step.at)]
    decisions = [decision for decision in decisions if isfinite(decision[0])]
    length = max(
        1.0,
        said.shape[1] / rate,
        heard.shape[1] / heard_rate,
        *(step.at for step in steps),
        *(at for at, _, _ in decisions),
        *(time for turn in turns for time in _times(turn)),
    )
    rows = ceil(length / ROW_SECONDS)
    seconds = length / rows
    if rows > MOST_ROWS:
        rows, seconds = MOST_ROWS, length / MOST_ROWS
    scale = min(SCALE, SCALE * ROW_SECONDS / seconds)
    lanes = [_lane(rate, said), _lane(heard_rate, heard)]
    parts: list[str] = []
    top = float(GAP)
    for index in range(rows):
        end = length if index == rows - 1 else (index + 1) * seconds
        row = _Row(index * seconds, end, scale, top, last=index == rows - 1)
        parts += row.draw(lanes, steps, turns, decisions)
        top = row.bottom + 2 * GAP
    told = [_tell(turn) for turn in turns]
    for line in told:
        top += LINE + 3
        parts.append(text(MARGIN, top, line, kind="told"))
    wanted = [MARGIN + seconds * scale + EDGE, *(MARGIN + len(t) * CHARACTER + EDGE for t in told)]
    # A long error should not make the picture wider than a row can be.
    width = ceil(min(max(wanted), MARGIN + ROW_SECONDS * SCALE + EDGE))
    height = ceil(top + 2 * GAP)
    return sheet(width, height, f"A call of {length:.1f} s, {len(turns)} turns", parts)


@dataclass(frozen=True)
class _Lane:
    """A sound, ready to be drawn: its lowest and highest values, of all channels, in [-1, 1]."""

    rate: int
    low: NDArray[np.int16]
    high: NDArray[np.int16]
    peak: float


def _lane(rate: int, sound: Pcm) -> _Lane:
    if not sound.size:
        empty = np.zeros(0, np.int16)
        return _Lane(rate, empty, empty, 0.0)
    low, high = sound.min(axis=0), sound.max(axis=0)
    return _Lane(rate, low, high, max(-float(low.min()), float(high.max())) / FULL_SCALE)


@dataclass
class _Row:
    """A stretch of the call, from ``start`` to ``end`` in seconds, drawn below ``top``."""

    start: float
    end: float
    scale: float
    top: float
    last: bool
    bottom: float = 0.0

    def draw(
        self,
        lanes: list[_Lane],
        steps: Sequence[Step],
        turns: Sequence[Turn],
        decisions: Sequence[Decided],
    ) -> list[str]:
        labels, lines = self._arranged([d for d in decisions if self._holds(d[0])])
        y = self.top + max(1, lines) * LINE + GAP / 2
        floor = y + LANE
        heard = floor + RIBBON
        turned = heard + LANE + GAP
        tracks = self._tracks(turns)
        axis = turned + max(1, len(tracks)) * TURN
        self.bottom = axis + AXIS
        # A step is in the row in which it ends, and in the next if it reaches over.
        here = [s for s in steps if self.start < s.at and s.at - STEP_SECONDS < self.end]
        return [
            *self._grid(y, axis),
            _name(y + LANE / 2 - 8, "caller", _peak(lanes[0]), CALLER),
            _name(y + LANE / 2 + 22, "line: voice", fill=INK),
            _name(floor + RIBBON / 2 + 4, "floor"),
            _name(heard + LANE / 2, "heard", _peak(lanes[1]), REPLY),
            _name(turned + 12, "turns"),
            self._wave(lanes[0], y, "said", CALLER),
            self._wave(lanes[1], heard, "heard", REPLY),
            self._voice(here, y),
            *self._floors(here, floor),
            *(
                self._turn(turn, turned + index * TURN)
                for index, track in enumerate(tracks)
                for turn in track
            ),
            *self._ticks(labels, heard),
        ]

    # Where things are.

    def _x(self, at: float) -> float:
        return MARGIN + (min(self.end, max(self.start, at)) - self.start) * self.scale

    def _holds(self, at: float) -> bool:
        """Each moment is in one row, and none in no row."""
        return (at >= self.start or not self.start) and (at < self.end or self.last)

    def _arranged(self, decisions: list[Decided]) -> tuple[list[tuple[int, Decided]], int]:
        """The decisions, each with its line of labels or -1; and how many lines there are."""
        free: list[float] = []
        found: list[tuple[int, Decided]] = []
        for decision in decisions:
            x = self._x(decision[0])
            width = _width(decision)
            start = x if self._fits(decision) else x - width
            line = next((n for n, taken in enumerate(free) if taken <= start), len(free))
            if line == LABEL_LINES:
                found.append((-1, decision))
                continue
            free[line : line + 1] = [start + width]
            found.append((line, decision))
        return found, len(free)

    def _tracks(self, turns: Sequence[Turn]) -> list[list[Turn]]:
        """The turns in this row, in lines such that no two lie over each other."""
        tracks: list[list[Turn]] = []
        for turn in turns:
            times = _times(turn)
            if not times or times[0] > self.end or times[-1] < self.start:
                continue
            for track in tracks:
                # What is written below a turn takes room too, and may be longer.
                bar, written = self._x(_times(track[-1])[-1]), self._written(track[-1])[1]
                if bar <= self._x(times[0]) and written <= self._written(turn)[0]:
                    track.append(turn)
                    break
            else:
                tracks.append([turn])
        return tracks

    def _written(self, turn: Turn) -> tuple[float, float]:
        """From where to where the words below a turn reach."""
        width = (len(_short(turn)) + 1) * CHARACTER
        left = min(self._x(_times(turn)[0]), self._x(self.end) + EDGE - width)
        return left, left + width

    def _fits(self, decision: Decided) -> bool:
        """Whether the label has room at the right of its tick."""
        return self._x(decision[0]) + _width(decision) < self._x(self.end) + EDGE

    # What is drawn.

    def _grid(self, top: float, axis: float) -> Iterator[str]:
        left, right = self._x(self.start), self._x(self.end)
        yield f'<g class="axis" stroke="{HAIR}" fill="none">'
        yield f'<path d="M{left:.1f} {axis}H{right:.1f}"/>'
        # Times a call that is drawn small has less room for.
        steps = (1, 2, 5, 10, 30, 60, 300, 3600)
        every = next((n for n in steps if n * self.scale >= 44), 1_000_000)
        for second in range(ceil(self.start / every) * every, int(self.end) + 1, every):
            x = self._x(second)
            yield f'<path stroke-dasharray="1 3" d="M{x:.1f} {top:.1f}V{axis}"/>'
            yield f'<path d="M{x:.1f} {axis}v5"/>'
            yield text(x, axis + 17, _clock(second), fill=SOFT, anchor="middle", stroke="none")
        yield "</g>"

    def _wave(self, lane: _Lane, top: float, kind: str, color: str) -> str:
        """The lowest and the highest sample of each column of pixels, as one line from one to
        the other: so the picture grows with its width, and not with the sound.
        """
        middle, half = top + LANE / 2, LANE / 2 - 3
        gain = half / (max(QUIET, lane.peak) * FULL_SCALE)
        columns = ceil((self.end - self.start) * self.scale)
        edges = (self.start + np.arange(columns + 1) / self.scale) * lane.rate
        edges = np.unique(edges.astype(np.int64).clip(0, len(lane.low)))
        lines = [f"M{MARGIN} {middle:.1f}h{(self.end - self.start) * self.scale:.1f}"]
        if len(edges) > 1:
            first, last = edges[0], edges[-1]
            cuts = edges[:-1] - first
            lows = np.minimum.reduceat(lane.low[first:last], cuts) * gain
            highs = np.maximum.reduceat(lane.high[first:last], cuts) * gain
            at = MARGIN + (edges[:-1] / lane.rate - self.start) * self.scale
            lines += [
                f"M{x:.1f} {middle - high:.1f}V{middle - low:.1f}"
                for x, low, high in zip(at, lows, highs, strict=True)
                # Silence is the line in the middle.
                if high - low >= 0.5
            ]
        return f'<path class="{kind}" stroke="{color}" fill="none" d="{"".join(lines)}"/>'

    def _voice(self, steps: list[Step], top: float) -> str:
        """The voice probability, over the caller's sound; 0 at the bottom of the lane."""
        columns: dict[int, float] = {}
        for step in steps:
            column = round(self._x(step.at - STEP_SECONDS / 2))
            columns[column] = max(_share(step.probability), columns.get(column, 0.0))
        points = " ".join(
            f"{x},{top + (LANE - 3) * (1 - share) + 1:.1f}" for x, share in columns.items()
        )
        return (
            f'<polyline class="voice" points="{points}" fill="none" stroke="{INK}" '
            'stroke-opacity="0.8" stroke-width="1.25" stroke-linejoin="round"/>'
        )

    def _floors(self, steps: list[Step], top: float) -> Iterator[str]:
        yield '<g class="floor">'
        for state, group in groupby(steps, key=lambda step: step.state):
            same = list(group)
            left, right = self._x(same[0].at - STEP_SECONDS), self._x(same[-1].at)
            color, opacity = FLOORS.get(state, (SOFT, 0.2))
            yield (
                f'<rect x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="{RIBBON}" '
                f'fill="{color}" fill-opacity="{opacity}">{title(state)}</rect>'
            )
            if len(state) * CHARACTER + 8 < right - left:
                yield text(left + 5, top + 14, state)
        yield "</g>"

    def _turn(self, turn: Turn, top: float) -> str:
        """A turn as a bar: the caller, the wait until the reply sounds, and the reply."""
        parts = [f'<g class="turn">{title(_tell(turn))}']
        reply = turn.first_sound
        parts += self._bar(turn.speech_start, turn.speech_end, top, CALLER, 0.8)
        parts += self._bar(turn.speech_end, turn.decided, top, INK, 0.45)
        waited = turn.decided if turn.speech_end is not None else None
        parts += self._bar(waited, reply, top, SOFT, 0.3)
        parts += self._bar(reply, turn.reply_end, top, END if turn.interrupted else REPLY, 0.8)
        for at, seconds in turn.false_alarms:
            parts += self._bar(at, at + seconds, top, WARN, 1.0)
        parts.append(text(self._written(turn)[0], top + 19, _short(turn)))
        return "".join([*parts, "</g>"])

    def _bar(
        self, start: float | None, end: float | None, top: float, color: str, opacity: float
    ) -> Iterator[str]:
        if start is None or end is None or not (isfinite(start) and isfinite(end)):
            return
        left, right = self._x(start), self._x(end)
        if right > left:
            yield (
                f'<rect x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="6" '
                f'fill="{color}" fill-opacity="{opacity}"/>'
            )

    def _ticks(self, labels: list[tuple[int, Decided]], bottom: float) -> Iterator[str]:
        words: list[str] = []
        for line, decision in labels:
            at, kind, why = decision
            color = END if "interrupt" in kind else WARN if kind == "false alarm" else INK
            x = self._x(at)
            top = self.top + max(0, line) * LINE
            yield (
                f'<g class="decision"><path stroke="{color}" stroke-opacity="0.55" '
                f'd="M{x:.1f} {top:.1f}V{bottom}"/>{title(f"{at:.2f} s: {kind} {why}".strip())}'
                "</g>"
            )
            if line < 0:
                continue
            place, anchor = (x + 4, "start") if self._fits(decision) else (x - 4, "end")
            words.append(text(place, top + 10, _label(decision), fill=color, anchor=anchor))
        # Written last and on a ground of their own, as ticks go through them.
        yield f'<g class="why" stroke="{PAPER}" stroke-width="3" paint-order="stroke">'
        yield from words
        yield "</g>"


# In words.


def _times(turn: Turn) -> list[float]:
    """When something happened in a turn, in order."""
    return sorted(
        _finite(
            time
            for time in (
                turn.speech_start,
                turn.speech_end,
                turn.decided,
                turn.first_output,
                turn.first_sound,
                turn.reply_end,
            )
            if time is not None
        )
    )


def _short(turn: Turn) -> str:
    """What is written below the bar of a turn."""
    parts = [f"{turn.number}"]
    if turn.latency is not None:
        parts.append(f"reply after {turn.latency:.2f} s")
    if turn.interrupted:
        parts.append("interrupted")
    if turn.error is not None:
        parts.append("failed")
    return " · ".join(parts)


def _tell(turn: Turn) -> str:
    """A turn in one line."""
    parts = [f"Turn {turn.number}"]
    if turn.speech_start is not None and turn.speech_end is not None:
        parts.append(f"spoke {turn.speech_end - turn.speech_start:.1f} s")
    elif turn.speech_start is None:
        parts.append("greeting" if turn.decided is None else "nothing said")
    if turn.decided is not None and turn.speech_end is not None:
        parts.append(f"decided after {turn.decided - turn.speech_end:.2f} s{_why(turn)}")
    if turn.speculated:
        parts.append(f"early replies discarded: {turn.speculated}")
    if turn.latency is not None:
        parts.append(f"first sound {turn.latency:.2f} s")
    elif turn.first_sound is not None:
        parts.append(f"first sound at {turn.first_sound:.2f} s")
    if turn.false_alarms:
        parts.append(f"held for nothing {sum(s for _, s in turn.false_alarms):.2f} s")
    if turn.heard.seconds or turn.heard.text:
        words = f": “{_cut(turn.heard.text, 60)}”" if turn.heard.text else ""
        parts.append(f"heard {turn.heard.seconds:.1f} s{words}")
    if turn.interrupted:
        parts.append("interrupted")
    if turn.error is not None:
        parts.append(f"failed: {_cut(turn.error, 120)}")
    return " · ".join(parts)


def _why(turn: Turn) -> str:
    if turn.evidence is None:
        return ""
    words = turn.evidence.opinion.words
    # The end of what was said is what decided.
    said = f": “{words if len(words) <= 60 else '…' + words[-59:]}”" if words else ""
    return f" ({100 * turn.evidence.finished:.0f} % finished{said})"


def _label(decision: Decided) -> str:
    _, kind, why = decision
    return _cut(f"{kind} · {why}" if why else kind, LABEL_LENGTH)


def _width(decision: Decided) -> float:
    """Pixels that a label takes, and some air."""
    return (len(_label(decision)) + 2) * CHARACTER


def _cut(words: str, length: int) -> str:
    return words if len(words) <= length else f"{words[: length - 1]}…"


def _clock(second: int) -> str:
    return f"{second // 60}:{second % 60:02d}"


def _peak(lane: _Lane) -> str:
    return f"peak {20 * np.log10(lane.peak):.0f} dB" if lane.peak else "silent"


# Numbers.


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if isfinite(value)]


def _share(value: float) -> float:
    return min(1.0, max(0.0, value)) if isfinite(value) else 0.0


def _name(y: float, name: str, below: str = "", fill: str = SOFT) -> str:
    """The name of a lane."""
    words = text(MARGIN - 8, y, name, fill=fill, anchor="end")
    return words + (text(MARGIN - 8, y + 13, below, fill=SOFT, anchor="end") if below else "")
