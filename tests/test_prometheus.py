"""The figures of a process, as Prometheus reads them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fastrtc import metrics
from fastrtc.cluster.figures import merge, own_page
from fastrtc.prometheus import page, register

DASHBOARD = Path(__file__).parents[1] / "deploy" / "grafana-dashboard.json"


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The value of each name and set of labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(name: str, **labels: str) -> float:
    return samples(page().decode())[name, frozenset(labels.items())]


def test_a_counter_is_there_with_its_label() -> None:
    before = value("fastrtc_refused_total", reason="not_authorized")
    metrics.refused.add("not_authorized", 2)
    assert value("fastrtc_refused_total", reason="not_authorized") == before + 2


def test_what_may_happen_is_there_before_it_has() -> None:
    for transport in metrics.TRANSPORTS:
        assert value("fastrtc_live_sessions", transport=transport) >= 0
    assert value("fastrtc_model_queue_seconds_count", model="recogniser") >= 0


def test_a_histogram_counts_in_each_bucket_all_that_is_below_it() -> None:
    name = "fastrtc_barge_in_seconds"
    bounds = ["0.1", "0.25", "0.3", "+Inf"]
    before = [value(f"{name}_bucket", le=bound) for bound in bounds]
    total = value(f"{name}_sum")
    metrics.barge_in.note(0.22)
    after = [value(f"{name}_bucket", le=bound) for bound in bounds]
    assert [a - b for a, b in zip(after, before, strict=True)] == [0, 1, 1, 1]
    assert value(f"{name}_count") == after[-1]
    assert value(f"{name}_sum") == pytest.approx(total + 0.22)


def test_the_page_has_every_figure_and_those_of_the_process() -> None:
    text = page().decode()
    for figure in metrics.FIGURES:
        assert f"# HELP {figure.name} {figure.text}" in text
    assert "process_cpu_seconds_total" in text


def test_the_figures_can_be_shown_in_a_registry_of_ones_own_and_are_there_once() -> None:
    registry = CollectorRegistry()
    register(registry)
    register(registry)
    register(registry=registry)
    text = generate_latest(registry).decode()
    assert text.count("# TYPE fastrtc_sessions_total counter") == 1


def test_making_a_stream_does_not_load_the_client_of_prometheus() -> None:
    code = (
        "import sys; from fastrtc import Stream, ReplyOnPause; Stream(ReplyOnPause(print));"
        "print('prometheus_client' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


# The dashboard


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def test_the_dashboard_asks_for_nothing_that_is_not_there() -> None:
    there = {name for name, _ in samples(merge({"a": own_page(leaving=False)}).decode())}
    asked = set()
    for panel in panels():
        for target in panel.get("targets", []):
            asked |= set(re.findall(r"\b(?:fastrtc|process)_\w+", target["expr"]))
    assert asked
    assert asked <= there


def test_the_dashboard_shows_every_figure() -> None:
    text = DASHBOARD.read_text()
    for figure in (*metrics.FIGURES, *metrics.CLUSTER_FIGURES):
        assert figure.name in text


def test_what_the_dashboard_tells_apart_by_replica_is_told_apart_by_process_without_one() -> None:
    by_replica = [
        target
        for panel in panels()
        for target in panel["targets"]
        if "replica" in target["legendFormat"]
    ]
    assert len(by_replica) == 4
    for target in by_replica:
        assert "{{instance}}" in target["legendFormat"]
        # Without `by` all labels are kept.
        assert "by (" not in target["expr"] or "instance, replica" in target["expr"]


def test_a_process_alone_has_no_figures_of_a_cluster() -> None:
    text = page().decode()
    for figure in metrics.CLUSTER_FIGURES:
        assert figure.name not in text


def test_the_dashboard_asks_whatever_source_is_chosen_on_it() -> None:
    (source,) = (
        variable
        for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]
        if variable["type"] == "datasource"
    )
    for panel in panels():
        assert panel["datasource"]["uid"] == f"${{{source['name']}}}"


def test_no_two_panels_of_the_dashboard_have_one_id_or_one_place() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
