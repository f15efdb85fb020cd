"""The figures of `fastrtc.metrics` for Prometheus. Needs the extra ``metrics``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from weakref import WeakSet

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from fastrtc.metrics import FIGURES, Counter, Gauge, Histogram

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Of a `page`."""


class FigureCollector(Collector):
    """Reads figures when it is asked."""

    def __init__(self, figures: Sequence[Counter | Histogram] = FIGURES) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """The figures, as they are now."""
        for figure in self._figures:
            yield _of_histogram(figure) if isinstance(figure, Histogram) else _of_counter(figure)


_shown: WeakSet[CollectorRegistry] = WeakSet()


def register(registry: CollectorRegistry = REGISTRY) -> None:
    """Show the figures in a registry, once: by default in that of the process, which also has its
    CPU time and memory, and whatever the app itself counts.
    """
    if registry not in _shown:
        registry.register(FigureCollector())
        _shown.add(registry)


def page() -> bytes:
    """All figures of the process as a text, which is a `CONTENT_TYPE`. Reads files: may block."""
    register()
    return generate_latest(REGISTRY)


def _of_counter(figure: Counter) -> Metric:
    family = GaugeMetricFamily if isinstance(figure, Gauge) else CounterMetricFamily
    labels = [figure.label] if figure.label else []
    metric = family(figure.name, figure.text, labels=labels)
    for what, number in figure.values.items():
        metric.add_metric([what] if labels else [], number)
    return metric


def _of_histogram(figure: Histogram) -> Metric:
    labels = [figure.label] if figure.label else []
    metric = HistogramMetricFamily(figure.name, figure.text, labels=labels)
    bounds = [*map(floatToGoString, figure.bounds), "+Inf"]
    for what, spread in figure.values.items():
        buckets = zip(bounds, accumulate(spread.counts), strict=True)
        metric.add_metric([what] if labels else [], list(buckets), spread.total)
    return metric
