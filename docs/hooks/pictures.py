"""Draws the state diagram of a page as an SVG, while the site is built.

The diagram is Mermaid, as `fastrtc.turns.diagram` writes it. What Mermaid itself makes of it needs
a script from another host, and cannot be read by those who see no pictures; so here are a drawing,
and a table of the same.
"""

from __future__ import annotations

import math
import re
from html import escape
from typing import Final, NamedTuple

DIAGRAM: Final = re.compile(r"```mermaid\nstateDiagram-v2\n(.*?)```", re.S)
ARROW: Final = re.compile(r"^ *(\w+) --> (\w+): ([^/\n]*?)(?: / (.*))?$", re.M)
PLACES: Final = {
    "protected": (210, 70),
    "overlapping": (490, 70),
    "waiting": (790, 70),
    "pausing": (660, 180),
    "speaking": (420, 260),
    "replying": (880, 300),
    "listening": (90, 330),
    "starting": (300, 500),
    "faltering": (540, 640),
    "interrupting": (820, 560),
}
"""Where each state is drawn: on the left who waits, on the right who replies."""
BENDS: Final = {
    ("listening", "replying"): 0,
    ("replying", "listening"): 45,
    ("listening", "speaking"): 0,
    ("starting", "speaking"): 0,
    ("starting", "replying"): 12,
    ("speaking", "replying"): 22,
    ("replying", "speaking"): 0,
    ("replying", "interrupting"): 42,
    ("interrupting", "replying"): 34,
    ("speaking", "protected"): 0,
    ("protected", "listening"): 0,
    ("protected", "overlapping"): 0,
    ("protected", "waiting"): 44,
    ("overlapping", "speaking"): 0,
    ("waiting", "replying"): 0,
    ("pausing", "replying"): 0,
    ("faltering", "replying"): -30,
    ("faltering", "speaking"): 0,
    ("interrupting", "speaking"): 0,
    ("interrupting", "starting"): -14,
}
"""How far an arrow leaves the straight line, to its left, where it is not a little."""
SIZE: Final = (1030, 690)
BOX: Final = (116, 38)
LITTLE: Final = 18


class Arrow(NamedTuple):
    """What leads from one state to another."""

    source: str
    target: str
    given: str
    says: str


def on_page_markdown(markdown: str, **_: object) -> str:
    """MkDocs' hook: replaces the diagram of a page."""
    return DIAGRAM.sub(lambda found: show(found[1]), markdown)


def show(diagram: str) -> str:
    """A state diagram as HTML and Markdown."""
    arrows = [Arrow(*(part or "" for part in found)) for found in ARROW.findall(diagram)]
    rows = [f"| *{a.source}* | {a.given} | *{a.target}* | {a.says} |" for a in arrows]
    head = ["| in | on | goes to | and says |", "| --- | --- | --- | --- |"]
    return "\n".join([f'<div class="picture">{draw(arrows)}</div>', "", *head, *rows])


def draw(arrows: list[Arrow]) -> str:
    """The states in their places, and one line for all arrows from one to another."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for arrow in arrows:
        pairs.setdefault((arrow.source, arrow.target), []).append(arrow.given)
    lines = [line(*pair, ", ".join(given)) for pair, given in pairs.items()]
    boxes = [box(state) for state in PLACES]
    return (
        f'<svg viewBox="0 0 {SIZE[0]} {SIZE[1]}" role="img" aria-label="The states of a turn and '
        'what leads from one to another; the table below says the same">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>'
        f"{''.join(line for line, _ in lines)}{''.join(boxes)}"
        f"{''.join(label for _, label in lines)}</svg>"
    )


def box(state: str) -> str:
    """A state."""
    x, y = PLACES[state]
    width, height = BOX
    return (
        f'<rect x="{x - width / 2}" y="{y - height / 2}" width="{width}" height="{height}" '
        f'rx="8"/><text class="state" x="{x}" y="{y + 5}">{state}</text>'
    )


def line(source: str, target: str, given: str) -> tuple[str, str]:
    """An arrow from one state to another, and its label."""
    (x1, y1), (x2, y2) = PLACES[source], PLACES[target]
    if source == target:
        side = x1 + BOX[0] / 2
        path = f"M{side + 3} {y1 - 12}c34 -10 34 34 2 24"
        return curve(path), label(side + 50, y1, given)
    bend = BENDS.get((source, target), LITTLE)
    length = math.hypot(x2 - x1, y2 - y1)
    # Halfway, and to the left of the way.
    x = (x1 + x2) / 2 + bend * (y2 - y1) / length
    y = (y1 + y2) / 2 - bend * (x2 - x1) / length
    # The control point of a curve is twice as far out as its middle.
    control = (2 * x - (x1 + x2) / 2, 2 * y - (y1 + y2) / 2)
    begin, end = edge(source, control), edge(target, control)
    path = "M{:.0f} {:.0f}Q{:.0f} {:.0f} {:.0f} {:.0f}".format(*begin, *control, *end)
    return curve(path), label(x, y, given)


def edge(state: str, towards: tuple[float, float]) -> tuple[float, float]:
    """Where the way from the middle of a box leaves it."""
    x, y = PLACES[state]
    dx, dy = towards[0] - x, towards[1] - y
    reach = min(
        (BOX[0] / 2 + 3) / abs(dx) if dx else math.inf,
        (BOX[1] / 2 + 3) / abs(dy) if dy else math.inf,
    )
    return x + dx * reach, y + dy * reach


def curve(path: str) -> str:
    """A line with a tip."""
    return f'<path class="way" d="{path}" marker-end="url(#tip)"/>'


def label(x: float, y: float, given: str) -> str:
    """What leads along a line."""
    return f'<text x="{x:.0f}" y="{y + 4:.0f}">{escape(given)}</text>'
