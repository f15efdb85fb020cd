"""The documentation as a site: it fetches nothing from other hosts, and no link is broken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from fastrtc.turns.machine import TABLE

ROOT = Path(__file__).parents[1]
LOADED = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "image": "href",
    "img": "src",
    "link": "href",
    "object": "data",
    "script": "src",
    "source": "src",
    "track": "src",
    "use": "href",
    "video": "src",
}
"""What a browser fetches by itself: the attribute that says from where, by element."""
NOT_FETCHED = {"canonical", "next", "prev"}
"""Kinds of ``<link>`` that only tell."""
IN_STYLES = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""")


@dataclass
class Page(HTMLParser):
    """What a page loads, where its links lead, and what can be linked to in it."""

    text: str
    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    classes: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self._styles = False
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._styles = tag == "style"
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        self.classes.update(given.get("class", "").split())
        self.loads += IN_STYLES.findall(given.get("style", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        place = given.get(LOADED.get(tag, ""))
        if place is not None and given.get("rel") not in NOT_FETCHED:
            self.loads.append(place)

    def handle_data(self, data: str) -> None:
        if self._styles:
            self.loads += IN_STYLES.findall(data)


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does; not with ``--quiet``, which forgets the warnings."""
    place = tmp_path_factory.mktemp("docs") / "site"
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", place],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return place


@pytest.fixture(name="pages", scope="module")
def _pages(site: Path) -> dict[Path, Page]:
    return {place: Page(place.read_text("utf-8")) for place in sorted(site.rglob("*.html"))}


def elsewhere(loads: dict[Path, list[str]]) -> list[tuple[Path, str]]:
    """What is fetched from other hosts, and by which file."""
    return [(place, what) for place, found in loads.items() for what in found if is_elsewhere(what)]


def is_elsewhere(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def test_every_page_of_the_documentation_is_in_it(pages: dict[Path, Page], site: Path) -> None:
    docs = ROOT / "docs"
    for page in docs.rglob("*.md"):
        name = page.relative_to(docs).with_suffix("")
        place = site / (name.parent if name.name == "index" else name) / "index.html"
        assert place in pages, page


def test_no_page_loads_anything_from_another_host(pages: dict[Path, Page]) -> None:
    assert not elsewhere({place: page.loads for place, page in pages.items()})


def test_no_style_loads_anything_from_another_host(site: Path) -> None:
    styles = {place: IN_STYLES.findall(place.read_text("utf-8")) for place in site.rglob("*.css")}
    assert styles
    assert not elsewhere(styles)


def test_no_page_has_what_the_theme_would_fetch_a_script_for(pages: dict[Path, Page]) -> None:
    assert not [place for place, page in pages.items() if page.classes & {"mermaid", "tablesort"}]


def test_every_link_within_the_site_leads_to_a_page_and_an_anchor(
    pages: dict[Path, Page], site: Path
) -> None:
    broken = []
    for place, page in pages.items():
        # The page for what is not found is served below any address.
        if place.name == "404.html":
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (place.parent / unquote(parts.path)).resolve() if parts.path else place
            if target.is_dir():
                target /= "index.html"
            anchor = unquote(parts.fragment)
            found = target in pages and (not anchor or anchor in pages[target].anchors)
            if not found and not (target.is_file() and not anchor):
                broken.append((str(place.relative_to(site)), link))
    assert not broken


def test_the_machine_is_drawn_from_its_diagram(pages: dict[Path, Page], site: Path) -> None:
    page = pages[site / "turns" / "index.html"].text
    picture = page[page.index('<div class="picture">') :]
    drawing, _, table = picture.partition("</svg>")
    between = {(state, target) for (state, _), (target, _) in TABLE.items()}
    assert drawing.count('class="way"') == len(between)
    assert table.count("<tr>") == len(TABLE) + 1
