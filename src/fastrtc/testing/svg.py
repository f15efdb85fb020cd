"""What our pictures share: colours, and text that is safe in SVG. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from xml.sax.saxutils import escape

INK, SOFT, HAIR, PAPER = "#1f2624", "#5d6762", "#d9d2c3", "#fcfaf5"
CALLER, REPLY, WARN, END = "#c2622a", "#13776f", "#8a5a08", "#a6362c"

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML may have, escaped or not."""


def safe(words: str) -> str:
    """Text as it may stand between tags."""
    return escape(_NOT_XML.sub("\ufffd", words))


def title(words: str) -> str:
    """What is shown while the mouse is over the element that this stands in."""
    return f"<title>{safe(words)}</title>"


def text(
    x: float,
    y: float,
    words: str,
    *,
    fill: str = INK,
    anchor: str = "start",
    kind: str = "",
    stroke: str = "",
) -> str:
    """A line of text; ``kind`` is its class."""
    more = f' class="{kind}"' if kind else ""
    more += f' text-anchor="{anchor}"' if anchor != "start" else ""
    more += f' stroke="{stroke}"' if stroke else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}"{more}>{safe(words)}</text>'


def sheet(width: float, height: float, name: str, parts: Iterable[str]) -> str:
    """A whole picture, on a ground of its own, so that it can be read on a dark page too."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-size="11" '
            "font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif\">",
            title(name),
            f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
            *parts,
            "</svg>\n",
        ]
    )
