"""The figures of all replicas on one page."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fastrtc import metrics
from fastrtc.cluster import neighbours
from fastrtc.cluster.figures import merge, own_page
from fastrtc.cluster.passing import Receive, Scope, Send, reply
from tests.cluster.house import House, Replica, house
from tests.peers import Caller, eventually

GARBAGE = [
    b"",
    b"no page",
    b"\xff\xfe",
    b"Internal Server Error",
    b"fastrtc_live_sessions 1",
    b"# HELP \n",
    b"# TYPE it\n",
    b"# TYPE 1st gauge\n1st 1\n",
    b"# TYPE it gorge\nit 1\n",
    b"# TYPE it gauge\nit\n",
    b"# TYPE it gauge\nit many\n",
    b"# TYPE it gauge\nit 1 now\n",
    b"# TYPE it gauge\nit{ 1\n",
    b"# TYPE it gauge\nit} 1\n",
    b"# TYPE it gauge\nit{} 1\n",
    b"# TYPE it gauge\nit{a=b} 1\n",
    b'# TYPE it gauge\nit{a="b} 1\n',
    b'# TYPE it gauge\nit{a="\\b"} 1\n',
    b'# TYPE it gauge\nit{a="b",} 1\n',
    b'# TYPE it gauge\nit{a="b" c="d"} 1\n',
    b'# TYPE it gauge\nit{a="b",a="c"} 1\n',
    b'# TYPE it gauge\nit{replica="b",exported_replica="c"} 1\n',
    b'# TYPE it gauge\nit{__name__="that"} 1\n',
    b'# TYPE it gauge\n{"it"} 1\n',
]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(page: bytes) -> Samples:
    """The value of each name and set of labels, each of which is there once."""
    read = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    ]
    assert len(dict(read)) == len(read)
    return dict(read)


def value(page: bytes, name: str, **labels: str) -> float:
    return samples(page)[name, frozenset(labels.items())]


def each_family_is_there_once(page: bytes) -> bool:
    lines = page.decode().split("\n")
    for mark in ("# HELP ", "# TYPE "):
        named = [line.split(" ", 3)[2] for line in lines if line.startswith(mark)]
        if len(named) != len(set(named)):
            return False
    return True


# Merging


VALUES = st.floats(allow_nan=False)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20)


@st.composite
def pages(draw: st.DrawFn) -> bytes:
    """What a process may count, and its users."""
    registry = CollectorRegistry()
    for at in draw(st.sets(st.integers(0, 4), min_size=1)):
        text = draw(TEXTS)
        labels = draw(st.sampled_from([(), ("what",), ("replica",), ("le_", "what")]))
        kind = (Gauge, Counter, Histogram)[at % 3]
        figure: Any = kind(f"figure_{at}", text, labels, registry=registry)
        for _ in range(draw(st.integers(0, 3))):
            told = [draw(TEXTS) for _ in labels]
            one = figure.labels(*told) if labels else figure
            if isinstance(figure, Gauge):
                one.set(draw(VALUES))
            elif isinstance(figure, Counter):
                one.inc(abs(draw(VALUES)))
            else:
                one.observe(draw(st.floats(0, 20)))
    return generate_latest(registry)


def with_replica(page: bytes, replica: str) -> Samples:
    found = {}
    for (name, labels), number in samples(page).items():
        told = {"exported_replica" if k == "replica" else k: v for k, v in labels}
        found[name, frozenset({**told, "replica": replica}.items())] = number
    return found


@given(st.dictionaries(TEXTS.filter(bool), pages(), min_size=1, max_size=3))
def test_a_page_of_all_has_every_sample_of_each_with_its_replica(given: dict[str, bytes]) -> None:
    expected: Samples = {}
    for replica, page in given.items():
        expected.update(with_replica(page, replica))
        expected["fastrtc_replica_up", frozenset({("replica", replica)})] = 1.0
    merged = merge(given)
    assert samples(merged) == expected
    assert each_family_is_there_once(merged)


@given(st.dictionaries(TEXTS, st.none() | st.binary() | st.text().map(str.encode), max_size=3))
def test_whatever_a_replica_says_the_page_can_be_read(given: dict[str, bytes | None]) -> None:
    own = b"# HELP calls Live.\n# TYPE calls gauge\ncalls 3.0\n"
    merged = merge({**given, "own": own})
    assert value(merged, "calls", replica="own") == 3.0
    assert value(merged, "fastrtc_replica_up", replica="own") == 1.0
    assert each_family_is_there_once(merged)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_page_that_cannot_be_read_is_left_out_and_said_to_be(garbage: bytes) -> None:
    merged = merge({"a": own_page(leaving=False), "b": garbage})
    assert value(merged, "fastrtc_replica_up", replica="a") == 1.0
    assert value(merged, "fastrtc_replica_up", replica="b") == 0.0
    assert {labels for name, labels in samples(merged) if ("replica", "b") in labels} == {
        frozenset({("replica", "b")})
    }


def test_where_replicas_differ_in_what_a_figure_is_the_first_is_right() -> None:
    old, new = b"# TYPE it gauge\nit 1.0\n", b"# TYPE it untyped\nit 2.0\n"
    merged = merge({"a": old, "b": new + b"# TYPE other gauge\nother 3.0\n"})
    assert value(merged, "it", replica="a") == 1.0
    assert ("it", frozenset({("replica", "b")})) not in samples(merged)
    assert value(merged, "other", replica="b") == 3.0


def test_a_time_that_a_sample_has_stays_with_it() -> None:
    merged = merge({"a": b"# TYPE it gauge\nit 1.0 1700000000000\n"})
    assert b'it{replica="a"} 1.0 1700000000000\n' in merged


def test_a_replica_has_the_figures_of_its_process_and_those_of_the_cluster() -> None:
    page = own_page(leaving=False)
    names = {name for name, _ in samples(page)}
    assert {"fastrtc_live_sessions", "process_cpu_seconds_total"} <= names
    for figure in metrics.CLUSTER_FIGURES:
        assert f"# HELP {figure.name} {figure.text}".encode() in page
    assert each_family_is_there_once(page)


@pytest.mark.parametrize("leaving", [False, True])
def test_a_replica_that_leaves_says_so(leaving: bool) -> None:
    assert value(own_page(leaving=leaving), "fastrtc_replica_leaving") == leaving


# At one address


async def figures(replica: Replica) -> bytes:
    """What Prometheus gets."""
    page = await replica.http.get("/metrics")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/plain; version=")
    assert each_family_is_there_once(page.content)
    return page.content


async def test_any_replica_has_the_figures_of_all() -> None:
    async with house(3) as there:
        for asked in there.replicas:
            page = await figures(asked)
            for replica in there.replicas:
                name = replica.name
                assert value(page, "fastrtc_replica_up", replica=name) == 1.0
                assert value(page, "process_cpu_seconds_total", replica=name) > 0
                value(page, "fastrtc_live_sessions", transport="webrtc", replica=name)


async def test_a_replica_that_is_gone_is_not_up(two: House) -> None:
    first, second = two.replicas
    await second.door.close()
    page = await figures(first)
    assert value(page, "fastrtc_replica_up", replica="a") == 1.0
    assert value(page, "fastrtc_replica_up", replica="b") == 0.0


async def test_a_replica_that_does_not_answer_in_time_is_not_waited_for(
    two: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two.replicas
    stuck = asyncio.Event()

    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        await stuck.wait()

    second.answers = never
    monkeypatch.setattr(neighbours, "FIGURES_WITHIN", 0.2)
    page = await asyncio.wait_for(figures(first), 10)
    assert value(page, "fastrtc_replica_up", replica="b") == 0.0
    stuck.set()


async def test_a_neighbour_whose_page_cannot_be_read_is_not_up(two: House) -> None:
    first, second = two.replicas

    async def nonsense(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, 200, b"nonsense")

    second.answers = nonsense
    assert value(await figures(first), "fastrtc_replica_up", replica="b") == 0.0


async def test_a_replica_that_leaves_is_seen_to(two: House) -> None:
    first, second = two.replicas
    await second.stream.close()
    page = await figures(first)
    assert value(page, "fastrtc_replica_leaving", replica="a") == 0.0
    assert value(page, "fastrtc_replica_leaving", replica="b") == 1.0


async def test_a_switchboard_that_cannot_be_reached_is_counted(two: House) -> None:
    first, _ = two.replicas
    name = "fastrtc_switchboard_unreachable_total"
    before = value(await figures(first), name, replica="a")
    two.switchboard.reachable = False
    await eventually(lambda: metrics.unreachable.values[""] >= before + 2)
    # What it knew of the others it still knows.
    page = await figures(first)
    assert value(page, name, replica="a") >= before + 2
    assert value(page, "fastrtc_replica_up", replica="b") == 1.0


class Since:
    """What has been passed on since now."""

    def __init__(self) -> None:
        self._before = metrics.passed_on.values

    @property
    def passed_on(self) -> dict[str, int]:
        now = metrics.passed_on.values
        return {what: now[what] - count for what, count in self._before.items()}


async def test_a_call_that_is_placed_elsewhere_is_counted(two: House) -> None:
    first, second = two.replicas
    since = Since()
    callers = [Caller(first.http), Caller(first.http)]
    for caller in callers:
        await caller.connect()
    assert list(second.stream.connections) == [callers[1].id]
    assert since.passed_on == {"request": 0, "call": 1, "lost": 0}
    for caller in callers:
        await caller.hang_up()


async def test_a_request_for_a_call_of_another_replica_is_counted(two: House) -> None:
    first, second = two.replicas
    caller = Caller(second.http)
    await caller.connect()
    since = Since()
    await first.http.post(
        "/webrtc/offer", json={"type": "ice-candidate", "webrtc_id": caller.id, "candidate": None}
    )
    assert since.passed_on == {"request": 1, "call": 0, "lost": 0}
    await caller.hang_up()


async def test_a_request_that_a_replica_does_not_answer_is_counted(two: House) -> None:
    first, second = two.replicas
    call = second.stream.admit("theirs")
    await two.told()
    await second.door.close()
    since = Since()
    await first.http.post("/webrtc/offer", json={"type": "cancel", "webrtc_id": "theirs"})
    assert since.passed_on == {"request": 0, "call": 0, "lost": 1}
    await call.close()
