"""The client's JavaScript, as a Gradio component gets it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

WEB: Final = Path(__file__).parents[1] / "web"
LOADER: Final = Path(__file__).with_name("loader.js").read_text("utf-8")
STYLE: Final = (WEB / "component.css").read_text("utf-8")


def read_modules(entry: str) -> list[tuple[str, str]]:
    """A module and those that it names, as names and sources, each after what it names."""
    found: dict[str, str] = {}

    def visit(name: str) -> None:
        if name not in found:
            source = (WEB / name).read_text("utf-8")
            for imported in re.findall(r'"\./([\w-]+\.js)"', source):
                visit(imported)
            found[name] = source

    visit(entry)
    return list(found.items())


MODULES: Final = read_modules("component.js")
"""Sent by a server function, as blobs: behind whatever stands before Gradio, never stale."""
