"""`fastrtc bench`, as somebody types it: a real server, real callers, and what it says of them."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]


def test_callers_are_answered_measured_and_written_down(tmp_path: Path) -> None:
    plot, figures = tmp_path / "bench.svg", tmp_path / "bench.json"
    options = ["--quick", "--calls", "1,2", "--seconds", "3", "--handler", "reply"]
    files = ["--plot", str(plot), "--json", str(figures)]
    command = [sys.executable, "-m", "fastrtc.cli", "bench", *options, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert "reply, 2 calls: measuring" in done.stderr
    assert "\r" not in done.stderr
    assert "ReplyOnPause calls" in done.stdout
    (result,) = json.loads(figures.read_text())
    assert [step["calls"] for step in result["steps"]] == [1, 2]
    for step in result["steps"]:
        assert 0 < step["cpu"] < 2
        assert step["late"] is not None
    # Three seconds have one thing said in them, by each caller.
    assert 0.25 < result["steps"][1]["delay"]["median"] < 1.6
    assert ET.parse(plot).getroot().tag.endswith("svg")
