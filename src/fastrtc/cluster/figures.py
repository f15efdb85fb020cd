"""The figures of all replicas as one page for Prometheus. Pure, but for `own_page`.

Pages are read by their lines, and not by the parser of prometheus_client, which takes ten times as
long: a replica that is asked has calls to serve meanwhile.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fastrtc.metrics import CLUSTER_FIGURES
from fastrtc.prometheus import FigureCollector, page

REPLICA: Final = "replica"
"""The label that tells the replicas apart."""
THEIRS: Final = "exported_replica"
"""What such a label of a figure of the user's own is called then, as Prometheus itself does."""
UP: Final = "fastrtc_replica_up"
KINDS: Final = frozenset({"counter", "gauge", "summary", "histogram", "untyped"})

NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL: Final = re.compile(r'((?!__)[a-zA-Z_][a-zA-Z0-9_]*)=("(?:[^"\\\n]|\\[\\"n])*")')
HEAD: Final = re.compile(
    rf"(?P<name>{NAME.pattern})(?:\{{(?P<labels>{LABEL.pattern}(?:,{LABEL.pattern})*)\}})?"
)
VALUE: Final = re.compile(
    r"(?:[+-]?(?:[0-9]{1,20}(?:\.[0-9]{1,24})?(?:e[+-]?[0-9]{1,3})?|Inf)|NaN)(?: -?[0-9]{1,18})?"
)
"""What the lines of a page are made of, as prometheus_client writes them (text format 0.0.4)."""
HEADS_KEPT: Final = 10_000
"""Names with their labels, which are the same at all replicas and at all times."""


@dataclass
class Family:
    """A figure on a page."""

    text: str = ""
    kind: str = "untyped"
    samples: list[str] = field(default_factory=list)


class Families(Collector):
    """Some figures, to be written."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self._families


def own_page(*, leaving: bool) -> bytes:
    """The figures of this process and of its part in the cluster. Reads files: may block.

    ``leaving``: whether this replica takes no more calls, as it is about to go.
    """
    leaves = GaugeMetricFamily(
        "fastrtc_replica_leaving",
        "Whether this replica takes no more calls, as it is about to go.",
        value=float(leaving),
    )
    own = Families([*FigureCollector(CLUSTER_FIGURES).collect(), leaves])
    return page() + generate_latest(own)


def merge(pages: Mapping[str, bytes | None]) -> bytes:
    """Make one page of those of the replicas, by their ids.

    Each sample gets the label ``replica``. A replica that gave no page, or none that can be read,
    is one that ``fastrtc_replica_up`` has a 0 of.
    """
    up = Family("Whether a replica has given its figures.", "gauge")
    merged = {UP: up}
    for replica, given in pages.items():
        label = f'{REPLICA}="{_escaped(replica)}"'
        try:
            families = _read((given or b"").decode(), label)
        except ValueError:
            families = {}
        up.samples.append(f"{UP}{{{label}}} {1.0 if families else 0.0}")
        for name, family in families.items():
            known = merged.setdefault(name, family)
            # Where an old replica and a new one differ in what a figure is, the first is right.
            if known is not family and known.kind == family.kind:
                known.samples += family.samples
    return "".join(_lines(merged)).encode()


def _read(text: str, label: str) -> dict[str, Family]:
    """The figures of a page by their names, with another label; ValueError if it is no page."""
    families: dict[str, Family] = {}
    family: Family | None = None
    for line in text.split("\n"):
        if line.startswith(("# HELP ", "# TYPE ")):
            _, about, name, said = f"{line} ".split(" ", 3)
            if not NAME.fullmatch(name):
                raise ValueError(f"expected a name, got {name!r:.80}")
            family = families.setdefault(name, Family())
            if about == "HELP":
                family.text = said.strip()
            elif said.strip() in KINDS:
                family.kind = said.strip()
            else:
                raise ValueError(f"expected a kind of figure, got {said!r:.80}")
        elif line and not line.startswith("#"):
            if family is None:
                raise ValueError(f"expected what a figure is first, got {line!r:.80}")
            family.samples.append(_labelled(line, label))
    return families


def _labelled(line: str, label: str) -> str:
    head, _, value = line.partition(" ")
    if "{" in line:
        head, _, value = line.rpartition("} ")
        head += "}"
    if not VALUE.fullmatch(value):
        raise ValueError(f"expected a value, got {line!r:.80}")
    return f"{_opened(head)}{label}}} {value}"


@functools.lru_cache(HEADS_KEPT)
def _opened(head: str) -> str:
    """A name and its labels, in braces that another label may close."""
    found = HEAD.fullmatch(head)
    if found is None:
        raise ValueError(f"expected a name with labels, got {head!r:.80}")
    labels = LABEL.findall(found["labels"] or "")
    told = {THEIRS if name == REPLICA else name: value for name, value in labels}
    if len(told) < len(labels):
        raise ValueError(f"expected each label once, got {head!r:.80}")
    return f"{found['name']}{{" + "".join(f"{name}={value}," for name, value in told.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _lines(families: Mapping[str, Family]) -> Iterable[str]:
    for name, family in families.items():
        yield f"# HELP {name} {family.text}\n# TYPE {name} {family.kind}\n"
        for sample in family.samples:
            yield f"{sample}\n"
