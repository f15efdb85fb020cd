"""The figures of this process: how many calls there are, and how well they are served.

They are always counted, as one costs a fraction of a microsecond. `fastrtc.prometheus` shows them.
Noting is safe from any thread: adding to a dictionary is not one step, so each figure has a lock,
which is held for a few instructions and is hardly ever waited for.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final


class Figure:
    """What all kinds of figures have.

    Attributes:
        name: as Prometheus has it, with the base unit at its end.
        text: what it says, for whoever reads the page of figures.
        label: what its values are told apart by; empty where there is one value.
    """

    def __init__(self, name: str, text: str, label: str = "") -> None:
        self.name = name
        self.text = text
        self.label = label
        self._lock = threading.Lock()


class Counter(Figure):
    """Counts events, by what they were."""

    def __init__(self, name: str, text: str, label: str = "", known: Sequence[str] = ()) -> None:
        """``known``: what may happen, to be shown before it first does."""
        super().__init__(name, text, label)
        self._values = dict.fromkeys(known, 0)

    def add(self, what: str = "", count: int = 1) -> None:
        """Count."""
        with self._lock:
            self._values[what] = self._values.get(what, 0) + count

    @property
    def values(self) -> dict[str, int]:
        """How many there were; a copy."""
        with self._lock:
            return dict(self._values)


class Gauge(Counter):
    """Counts what is there now: `Counter.add` takes negative numbers, too."""


class Spread:
    """How some values lie.

    Attributes:
        counts: how many values fell into each bucket; the last is for those over all bounds.
        total: the sum of the values.
    """

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0


class Histogram(Figure):
    """Counts durations in fixed buckets."""

    def __init__(
        self,
        name: str,
        text: str,
        bounds: Sequence[float],
        label: str = "",
        known: Sequence[str] = ("",),
    ) -> None:
        """Set up a histogram.

        Args:
            name: see `Figure`.
            text: see `Figure`.
            bounds: seconds, rising: the highest value of each bucket.
            label: see `Figure`.
            known: what may be noted, to be shown before it first is.
        """
        super().__init__(name, text, label)
        self.bounds = tuple(bounds)
        self._spreads = {what: Spread(len(self.bounds) + 1) for what in known}

    def note(self, seconds: float, what: str = "") -> None:
        """Count a duration."""
        bucket = bisect_left(self.bounds, seconds)
        with self._lock:
            spread = self._spreads.get(what)
            if spread is None:
                spread = self._spreads[what] = Spread(len(self.bounds) + 1)
            spread.counts[bucket] += 1
            spread.total += seconds

    @property
    def values(self) -> dict[str, Spread]:
        """How they lie; a copy."""
        copies = {}
        with self._lock:
            for what, spread in self._spreads.items():
                copies[what] = copy = Spread(0)
                copy.counts, copy.total = list(spread.counts), spread.total
        return copies


TRANSPORTS: Final = ("webrtc", "websocket", "telephone", "sip")
MODELS: Final = ("vad", "endpointing", "recogniser", "speaker")
TIER_MODELS: Final = (
    "stt-moonshine-tiny",
    "stt-moonshine-base",
    "tts-kokoro",
    "end-of-turn-smart-turn",
)
FALLBACKS: Final = ("late", "full", "missing", "failed", "resting")

live_sessions: Final = Gauge(
    "fastrtc_live_sessions", "Calls that are live.", "transport", TRANSPORTS
)
sessions: Final = Counter(
    "fastrtc_sessions_total", "Calls that were let in.", "transport", TRANSPORTS
)
refused: Final = Counter(
    "fastrtc_refused_total",
    "Calls that were not let in.",
    "reason",
    ("concurrency_limit_reached", "no_udp_port", "not_authorized", "overloaded", "shutting_down"),
)
frame_lateness: Final = Histogram(
    "fastrtc_frame_lateness_seconds",
    "How late a tick of the 20 ms clock was, on which all calls are played.",
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0),
)
voice_to_voice: Final = Histogram(
    "fastrtc_voice_to_voice_seconds",
    "From the end of a caller's speech to the first sound of the reply that goes out.",
    (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0),
)
barge_in: Final = Histogram(
    "fastrtc_barge_in_seconds",
    "From the first voice of an interruption to the silence of the reply.",
    (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0),
)
dropped: Final = Counter(
    "fastrtc_dropped_total",
    "What was given up: packets, ticks and messages, each by its kind.",
    "what",
    (
        "lost_packet",
        "late_packet",
        "flood_packet",
        "slow_handler_frame",
        "vad_step",
        "tick",
        "unread_message",
        "bad_message",
        "output",
        "hook_call",
    ),
)
model_queue: Final = Histogram(
    "fastrtc_model_queue_seconds",
    "How long work for a model waited before it was begun.",
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
    "model",
    MODELS,
)
model_tier: Final = Histogram(
    "fastrtc_model_tier_seconds",
    "From asking a model of the cluster to its answer.",
    (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
    "model",
    TIER_MODELS,
)
model_fallbacks: Final = Counter(
    "fastrtc_model_fallbacks_total",
    "Work that this process did because the cluster's model did not, by why.",
    "reason",
    FALLBACKS,
)
errors: Final = Counter(
    "fastrtc_errors_total",
    "Errors that a log has with their traceback, by where they came from.",
    "kind",
    ("handler", "model", "transport", "internal"),
)

FIGURES: Final[tuple[Counter | Histogram, ...]] = (
    live_sessions,
    sessions,
    refused,
    frame_lateness,
    voice_to_voice,
    barge_in,
    dropped,
    model_queue,
    model_tier,
    model_fallbacks,
    errors,
)
"""Those of every process."""

passed_on: Final = Counter(
    "fastrtc_passed_on_total",
    "Requests that this replica had another one answer, by what they were; or lost, where that "
    "did not answer.",
    "what",
    ("request", "call", "lost"),
)
unreachable: Final = Counter(
    "fastrtc_switchboard_unreachable_total",
    "Reports of this replica, of two a second, that did not reach the switchboard.",
    known=("",),
)

CLUSTER_FIGURES: Final = (passed_on, unreachable)
"""What a replica of a cluster has besides."""
