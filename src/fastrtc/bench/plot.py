"""A result as a plot: as SVG, and with blocks for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Final, NamedTuple

from fastrtc.bench.figures import MOST_LATE, Step, doubt
from fastrtc.testing.svg import CALLER, HAIR, INK, REPLY, SOFT, WARN, sheet, text

PANEL: Final = (330, 190)
"""Pixels of the ground that lines are drawn on."""
LEFT, RIGHT, TOP, BOTTOM, BETWEEN = 52, 24, 64, 48, 64
TICKS: Final = 4
"""Parts that an axis upwards has."""
ROOM: Final = 34
"""Pixels that a number of calls takes on the axis below."""
COLOURS: Final = (REPLY, CALLER, WARN)

EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
WIDTH: Final = 30
"""Characters of the longest bar."""


class Series(NamedTuple):
    """The loads of one kind of call."""

    name: str
    steps: Sequence[Step]


Value = Callable[[Step], float]


def svg(series: Sequence[Series]) -> str:
    """CPU and lateness over the number of calls, as a picture that needs nothing else.

    Loads that say nothing of the server are hollow, and no line leads to them.
    """
    width = LEFT + 2 * PANEL[0] + BETWEEN + RIGHT
    height = TOP + PANEL[1] + BOTTOM
    parts = [
        *_panel(LEFT, "CPU of the server, % of a core", series, _cpu),
        *_panel(LEFT + PANEL[0] + BETWEEN, "packets over 60 ms late, %", series, _late),
        *_names(series),
    ]
    return sheet(width, height, "Calls that this machine carries", parts)


def blocks(name: str, steps: Sequence[Step]) -> str:
    """The same for a terminal: a bar for each number of calls."""
    lines = []
    digits = max((len(str(step.calls)) for step in steps), default=1)
    for title, value in ((f"{name}: CPU", _cpu), (f"{name}: late", _late)):
        most = _round_up(max(map(value, steps), default=0.0))
        lines.append(f"{title}, up to {most:g} %")
        for step in steps:
            share = value(step)
            shown = bar(share / most, WIDTH).ljust(WIDTH)
            lines.append(f"{step.calls:>{digits}} {shown} {share:.1f}")
    return "\n".join(lines)


def bar(share: float, width: int) -> str:
    """A bar of blocks, to an eighth of a character; as wide as it is long."""
    eighths = round(min(1.0, max(0.0, share)) * width * 8)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (EIGHTHS[rest] if rest else "")


def _cpu(step: Step) -> float:
    return 100 * step.cpu


def _late(step: Step) -> float:
    return 100 * (step.late or 0.0)


def _round_up(value: float) -> float:
    """The next number that an axis may well end at."""
    steps = (1, 2, 4, 10, 20, 40, 60, 80, 100, 120, 160, 200)
    return float(next((step for step in steps if value <= step), 100 * ceil(value / 100)))


def _panel(left: float, title: str, series: Sequence[Series], value: Value) -> Iterator[str]:
    every = [step for _, steps in series for step in steps]
    top = _round_up(max(map(value, every), default=0.0))
    most = max((step.calls for step in every), default=1)
    wide, high = PANEL

    def across(calls: float) -> float:
        return left + wide * calls / most

    def up(share: float) -> float:
        return TOP + high * (1 - share / top)

    yield text(left, TOP - 14, title, fill=INK)
    for tick in range(TICKS + 1):
        share = top * tick / TICKS
        yield f'<path stroke="{HAIR}" d="M{left} {up(share):.1f}h{wide}"/>'
        yield text(left - 8, up(share) + 4, f"{share:g}", fill=SOFT, anchor="end")
    if value is _late:
        limit = up(100 * MOST_LATE)
        yield f'<path stroke="{SOFT}" stroke-dasharray="3 3" d="M{left} {limit:.1f}h{wide}"/>'
    written = -float(ROOM)
    for calls in sorted({step.calls for step in every}):
        if across(calls) - written >= ROOM:
            written = across(calls)
            yield text(written, TOP + high + 18, f"{calls}", fill=SOFT, anchor="middle")
    yield text(left + wide / 2, TOP + high + 36, "calls", fill=SOFT, anchor="middle")
    for index, (_, steps) in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        points = [(across(s.calls), up(value(s)), doubt(s, steps) is None) for s in steps]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, valid in points if valid)
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for x, y, valid in points:
            inside = colour if valid else "none"
            yield (
                f'<circle class="load" cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{inside}" '
                f'stroke="{colour}"/>'
            )


def _names(series: Sequence[Series]) -> Iterator[str]:
    x = float(LEFT)
    for index, (name, _) in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        yield f'<circle cx="{x + 4:.1f}" cy="22" r="4" fill="{colour}"/>'
        yield text(x + 14, 26, name, fill=INK, kind="name")
        x += 14 + 7 * len(name) + 24
