from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrtc.bench.figures import Step
from fastrtc.bench.plot import EIGHTHS, LEFT, PANEL, TOP, WIDTH, Series, bar, blocks, svg
from tests.bench.loads import load

SVG = "{http://www.w3.org/2000/svg}"

shares = st.one_of(st.none(), st.floats(0, 1))
steps = st.builds(
    lambda calls, cpu, late, slow: load(calls, cpu=cpu, late=late, callers_late=slow),
    st.integers(1, 1_000),
    st.floats(0, 30),
    shares,
    st.sampled_from([0.001, 0.05]),
)
loads = st.lists(steps, max_size=8, unique_by=lambda step: step.calls)


def circles(root: ET.Element) -> list[ET.Element]:
    return [e for e in root.iter(f"{SVG}circle") if e.get("class") == "load"]


@given(st.lists(st.builds(Series, st.text(max_size=30), loads), max_size=3))
def test_whatever_was_measured_becomes_a_picture_with_each_load_on_its_ground(
    series: list[Series],
) -> None:
    root = ET.fromstring(svg(series))
    found = circles(root)
    assert len(found) == 2 * sum(len(one.steps) for one in series)
    right = float(root.get("width", "0"))
    for point in found:
        assert LEFT <= float(point.get("cx", "-1")) <= right
        assert TOP - 0.1 <= float(point.get("cy", "-1")) <= TOP + PANEL[1] + 0.1


def test_a_load_that_says_nothing_is_hollow_and_off_the_line() -> None:
    root = ET.fromstring(svg([Series("echo", [load(1), load(9, callers_late=1.0)])]))
    assert [c.get("fill") == "none" for c in circles(root)] == [False, True, False, True]
    for line in root.iter(f"{SVG}polyline"):
        assert len(line.get("points", "").split()) == 1


def test_the_picture_brings_its_own_ground_for_dark_pages() -> None:
    root = ET.fromstring(svg([Series("echo", [load(1)])]))
    ground = root.find(f"{SVG}rect")
    assert ground is not None
    assert (ground.get("width"), ground.get("height")) == (root.get("width"), root.get("height"))


def length(shown: str) -> int:
    """In eighths of a character."""
    return sum(EIGHTHS.index(block) for block in shown)


@given(st.floats(0, 1))
def test_a_bar_is_as_long_as_what_it_shows(share: float) -> None:
    assert length(bar(share, WIDTH)) == pytest.approx(8 * WIDTH * share, abs=0.51)


@pytest.mark.parametrize(
    ("share", "shown"), [(-1, ""), (0, ""), (0.5, "██"), (0.53, "██▏"), (1, "████"), (9, "████")]
)
def test_a_bar_ends_at_an_eighth_of_a_block(share: float, shown: str) -> None:
    assert bar(share, 4) == shown


@given(loads)
def test_on_a_terminal_each_load_has_a_line_of_cpu_and_one_of_lateness(
    measured: list[Step],
) -> None:
    lines = blocks("echo", measured).splitlines()
    assert len(lines) == 2 * (1 + len(measured))
    assert lines[0].startswith("echo: CPU, up to ")
    assert lines[len(lines) // 2].startswith("echo: late, up to ")
