"""One trace from the offer of a call to its end, whichever replica has it."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from tests.cluster.house import House
from tests.peers import Caller
from tests.test_tracing import (
    TRACEPARENT,
    Spans,
    exporter,
    facts,
    is_part_of,
    is_part_of_the_request,
    spans,
)

__all__ = ["exporter", "spans"]

tracer = trace.get_tracer("of the user")


def is_within(span: ReadableSpan, whole: ReadableSpan, spans: Spans) -> bool:
    """Whether it is a part of another, or of its parts: FastAPI may have spans of its own."""
    known = {it.context.span_id: it for it in spans.get_finished_spans() if it.context}
    at: ReadableSpan | None = span
    while at is not None and at.parent is not None:
        at = known.get(at.parent.span_id)
        if at is whole:
            return True
    return False


async def test_a_call_that_was_placed_elsewhere_is_a_part_of_its_offer(
    spans: Spans, two: House
) -> None:
    first, second = two.replicas
    first.stream.admit("the first")
    await two.told()
    first.http.headers["traceparent"] = TRACEPARENT
    caller = Caller(first.http)
    await caller.connect()
    await second.stream.connections[caller.id].close()
    await caller.hang_up()
    offer, call = spans.one("fastrtc.offer"), spans.one("fastrtc.call")
    assert is_part_of_the_request(offer)
    assert is_within(call, offer, spans)
    assert facts(offer) == {
        "call_id": caller.id,
        "replica": "a",
        "passed_on": True,
        "home": "b",
    }
    assert facts(call)["replica"] == "b"


async def test_a_call_that_is_taken_where_it_came_is_a_part_of_its_offer(
    spans: Spans, two: House
) -> None:
    first, _ = two.replicas
    caller = Caller(first.http)
    await caller.connect()
    await first.stream.connections[caller.id].close()
    await caller.hang_up()
    offer, call = spans.one("fastrtc.offer"), spans.one("fastrtc.call")
    assert offer.parent is None
    assert is_within(call, offer, spans)
    assert facts(offer) == {"call_id": caller.id, "replica": "a", "passed_on": False}


async def test_an_offer_of_a_call_that_was_lost_says_so(spans: Spans, two: House) -> None:
    first, _ = two.replicas
    caller = Caller(first.http)
    await caller.post({**await caller.offer(), "reconnected": True})
    await caller.hang_up()
    assert facts(spans.one("fastrtc.offer"))["reconnected"] is True


async def test_an_offer_that_is_refused_says_why(spans: Spans, two: House) -> None:
    _, second = two.replicas
    for replica in two.replicas:
        replica.stream.admit(f"of {replica.name}")
    await two.told()
    caller = Caller(second.http)
    await caller.post(await caller.offer())
    await caller.hang_up()
    assert facts(spans.one("fastrtc.offer"))["refused"] == "concurrency_limit_reached"


async def test_a_span_that_is_around_an_offer_is_nearer_than_its_header(
    spans: Spans, two: House
) -> None:
    first, _ = two.replicas
    first.http.headers["traceparent"] = TRACEPARENT
    caller = Caller(first.http)
    with tracer.start_as_current_span("proxy"):
        await caller.connect()
    await caller.hang_up()
    assert is_part_of(spans.one("fastrtc.offer"), spans.one("proxy"))
