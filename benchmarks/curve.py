"""Latency against cut-ins: the whole curve of each way to end a turn, as a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from fastrtc.turns.options import EndpointPolicy, TurnPolicy

SHORTEST_PAUSE, LONGEST_PAUSE = 0.3, 1.2
"""Seconds. The pauses inside sentences, any of them as likely."""
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 460, 64, 24, 24, 52
LONGEST_MS: Final = 1_500
COLOURS: Final = ("#13776f", "#c2622a", "#5b6c9c", "#9a9a9a")
LINES: Final = ("", "6 4", "2 4")

Point = tuple[float, float]
"""Median latency in seconds, and the share of pauses that are cut into."""


def share_cut(silence: float) -> float:
    """How many of the pauses are longer than the silence that ended the turn."""
    share = (LONGEST_PAUSE - silence) / (LONGEST_PAUSE - SHORTEST_PAUSE)
    return min(1.0, max(0.0, share))


def curves(
    traces: dict[str, Any], figures: Callable[..., Any]
) -> dict[tuple[str, str], list[Point]]:
    """The points of each way, by the folder of turns and the name of the way.

    A timer has one setting, its silence. The others are made more and less patient by moving the
    probabilities at which a turn is surely over, and how long is waited for one that is not.
    """
    found: dict[tuple[str, str], list[Point]] = {}
    patient = [
        TurnPolicy(endpoint=EndpointPolicy(soon=0.2 + grow, late=1.6, sure=sure, unsure=unsure))
        for sure, unsure, grow in [
            *((0.2 + 0.05 * i, 0.05 + 0.02 * i, 0.0) for i in range(13)),
            *((0.85, 0.35, 0.05 * i) for i in range(1, 13)),
        ]
    ]
    timers = [TurnPolicy(end_silence=0.1 * i) for i in range(2, 17)]
    for name, rows in traces.items():
        for label, policies, kinds in (
            ("all the evidence", patient, {}),
            ("the sound only (Smart Turn)", patient, {"words": False}),
            ("the words only", patient, {"sound": False}),
            ("a silence timer", timers, {}),
        ):
            points = []
            for policy in policies:
                latencies, cut = figures(rows, policy, **kinds)
                points.append((float(np.median(latencies)), float(np.mean(cut))))
            found[name, label] = points
    return found


def draw(found: dict[tuple[str, str], list[Point]]) -> str:
    """An SVG: seconds to the right, cut-ins upwards, a line for each way and folder."""
    folders = list(dict.fromkeys(folder for folder, _ in found))
    ways = list(dict.fromkeys(way for _, way in found))

    def place(point: Point) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, 1000 * point[0] / LONGEST_MS)
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * point[1]
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fffdf8"/>',
    ]
    for percent in range(0, 101, 20):
        left, y = place((0, percent / 100)).split(",")
        parts.append(f'<path d="M{left} {y}H{WIDTH - RIGHT}" stroke="#ddd8cc"/>')
        y = f"{float(y) + 4}"
        parts.append(f'<text x="{LEFT - 8}" y="{y}" text-anchor="end">{percent} %</text>')
    for ms in range(0, LONGEST_MS + 1, 250):
        x = place((ms / 1000, 0)).split(",")[0]
        parts.append(f'<path d="M{x} {HEIGHT - BOTTOM}v5" stroke="#888"/>')
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{ms}</text>')
    parts.append(
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
        "last word to decision, whole sentences, median, ms</text>"
        f'<text x="{LEFT}" y="{TOP - 8}">inner pauses of 0.3 to 1.2 s that are cut into</text>'
    )
    for (folder, way), points in found.items():
        line = " ".join(place(point) for point in points)
        dash, colour = LINES[folders.index(folder) % 3], COLOURS[ways.index(way) % 4]
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.2" '
            f'stroke-dasharray="{dash}"/>'
        )
    names = [(way, COLOURS[i % 4], "") for i, way in enumerate(ways)]
    names += [(folder, "#333", LINES[i % 3]) for i, folder in enumerate(folders)]
    for row, (label, colour, dash) in enumerate(names):
        down = TOP + 20 + 20 * row
        parts.append(
            f'<path d="M{WIDTH - 260} {down}h28" stroke="{colour}" stroke-width="2.2" '
            f'stroke-dasharray="{dash}"/><text x="{WIDTH - 224}" y="{down + 4}">{label}</text>'
        )
    return "\n".join([*parts, "</svg>"])
