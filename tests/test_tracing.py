"""What OpenTelemetry gets to know of a call."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from fastrtc import AsyncStreamHandler, InterruptionPolicy, ReplyOnPause, Stream
from fastrtc.testing import VirtualCall
from fastrtc.tracing import Span, continued, flush, onward
from tests.handlers.lines import Advice, Audio, Line, Talker, noise, voice
from tests.peers import Caller, make_stream

tracer = trace.get_tracer("of the user")


class Spans(InMemorySpanExporter):
    """Those that are over."""

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


@pytest.fixture(scope="session")
def exporter() -> Spans:
    """A process has one provider for ever; it may have been set already."""
    spans = Spans()
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return spans


@pytest.fixture
def spans(exporter: Spans) -> Spans:
    exporter.clear()
    return exporter


def facts(span: ReadableSpan) -> dict[str, Any]:
    assert span.attributes is not None
    return {name.removeprefix("fastrtc."): fact for name, fact in span.attributes.items()}


def is_part_of(span: ReadableSpan, whole: ReadableSpan) -> bool:
    return (
        span.parent is not None
        and whole.context is not None
        and span.parent.span_id == whole.context.span_id
    )


def think(audio: Audio) -> Iterator[Any]:
    with tracer.start_as_current_span("thinking"):
        yield noise(0.5)


async def think_async(audio: Audio) -> AsyncIterator[Any]:
    with tracer.start_as_current_span("thinking"):
        yield noise(0.5)


def test_a_call_is_a_span_from_its_admission_to_its_end(spans: Spans) -> None:
    with Line(ReplyOnPause(Talker())):
        assert not spans.named("fastrtc.call")
    assert facts(spans.one("fastrtc.call")) == {
        "call_id": "virtual",
        "transport": "webrtc",
        "ended_by": "the line",
    }


def test_a_call_that_we_end_says_why(spans: Spans) -> None:
    with Line(Stream(ReplyOnPause(Talker()), time_limit=2.0)) as call:
        call.wait(3.0)
    assert facts(spans.one("fastrtc.call"))["ended_by"] == "The time limit of 2 s is over"


def test_a_turn_is_a_part_of_its_call_and_says_how_long_its_parts_took(spans: Spans) -> None:
    with Line(ReplyOnPause(think)) as call:
        call.wait(0.5)
        call.say(voice(0.64))
        call.wait(3.0)
        (turn,) = call.turns
    span = spans.one("fastrtc.turn")
    assert is_part_of(span, spans.one("fastrtc.call"))
    assert turn.latency is not None
    assert turn.decided is not None
    assert turn.speech_end is not None
    assert facts(span) == {
        "turn": 1,
        "speech_ms": pytest.approx(640, abs=33),
        "end_of_turn_ms": round(1000 * (turn.decided - turn.speech_end)),
        "voice_to_voice_ms": round(1000 * turn.latency),
        "interrupted": False,
    }


def test_a_turn_begins_where_the_caller_began_to_talk(spans: Spans) -> None:
    with Line(ReplyOnPause(Talker())) as call:
        call.say(voice(6.4))
        call.wait(20.0)
    span = spans.one("fastrtc.turn")
    assert span.start_time is not None
    assert span.end_time is not None
    # Virtual seconds take none: all that it lasts is what it was dated back by.
    assert span.end_time - span.start_time > 6e9


@pytest.mark.parametrize("function", [think, think_async])
def test_spans_of_the_users_function_are_parts_of_the_turn(spans: Spans, function: Any) -> None:
    with Line(ReplyOnPause(function)) as call:
        for _ in range(2):
            call.say(voice(0.64))
            call.wait(3.0)
    turns = spans.named("fastrtc.turn")
    thoughts = spans.named("thinking")
    assert len(turns) == len(thoughts) == 2
    assert all(is_part_of(thought, turn) for thought, turn in zip(thoughts, turns, strict=True))


def test_a_greeting_is_a_turn_without_speech(spans: Spans) -> None:
    def greet() -> Iterator[Any]:
        with tracer.start_as_current_span("greeting"):
            yield noise(0.5)

    with Line(ReplyOnPause(think, startup_fn=greet)) as call:
        call.wait(1.0)
    assert facts(spans.one("fastrtc.turn")) == {"turn": 1, "interrupted": False}
    assert is_part_of(spans.one("greeting"), spans.one("fastrtc.turn"))


def test_a_turn_whose_reply_is_interrupted_says_so(spans: Spans) -> None:
    with Line(ReplyOnPause(Talker())) as call:
        call.say(voice(0.64))
        call.wait(1.5)
        call.say(voice(InterruptionPolicy().min_speech + 0.2))
    assert facts(spans.named("fastrtc.turn")[0])["interrupted"] is True


def test_a_function_that_raises_makes_its_turn_an_error(spans: Spans) -> None:
    def fail(audio: Audio) -> Iterator[Any]:
        raise ValueError("no model")
        yield

    with Line(ReplyOnPause(fail)) as call:
        call.say(voice(0.64))
        call.wait(2.0)
    status = spans.one("fastrtc.turn").status
    assert status.status_code is trace.StatusCode.ERROR
    assert status.description == "ValueError: no model"


def test_replies_that_were_begun_early_belong_to_the_turn_that_came_of_them(spans: Spans) -> None:
    with Line(ReplyOnPause(think, speculative=True), endpoint=Advice(0.0)) as call:
        call.say(voice(0.64))
        call.wait(0.3)
        call.say(voice(0.64))
        call.wait(6.0)
        assert call.turns[0].speculated
    turn = spans.one("fastrtc.turn")
    thoughts = spans.named("thinking")
    assert len(thoughts) == 2
    assert all(is_part_of(thought, turn) for thought in thoughts)


def test_a_call_that_ends_while_the_caller_talks_leaves_no_span_open(spans: Spans) -> None:
    with Line(ReplyOnPause(think, speculative=True), endpoint=Advice(0.0)) as call:
        call.say(voice(0.64))
        call.wait(0.3)
    call_span = spans.one("fastrtc.call")
    assert is_part_of(spans.one("fastrtc.turn"), call_span)


def test_spans_of_a_handler_without_turns_are_parts_of_the_call(spans: Spans) -> None:
    class Greeter(AsyncStreamHandler):
        async def start_up(self) -> None:
            with tracer.start_as_current_span("greeting"):
                pass

        async def receive(self, frame: Any) -> None: ...

        async def emit(self) -> None: ...

        def copy(self) -> Greeter:
            return Greeter()

    with VirtualCall(Greeter()) as call:
        call.wait(0.1)
    assert is_part_of(spans.one("greeting"), spans.one("fastrtc.call"))


def test_a_call_is_a_part_of_what_its_offer_is_a_part_of(spans: Spans) -> None:
    with tracer.start_as_current_span("request"), Line(ReplyOnPause(Talker())):
        pass
    assert is_part_of(spans.one("fastrtc.call"), spans.one("request"))


# What came with a request


TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


def is_part_of_the_request(span: ReadableSpan) -> bool:
    """Whether it is a part of the span that the header names."""
    assert span.context is not None
    return (
        span.parent is not None
        and f"{span.context.trace_id:032x}" == TRACE
        and f"{span.parent.span_id:016x}" == PARENT
    )


def test_what_is_begun_inside_is_a_part_of_what_the_headers_name(spans: Spans) -> None:
    with continued(Headers({"Traceparent": TRACEPARENT})):
        Span("inside").end()
    Span("outside").end()
    assert is_part_of_the_request(spans.one("inside"))
    assert spans.one("outside").parent is None


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", "é" * 55])
def test_a_header_that_names_no_span_begins_a_trace(spans: Spans, header: str) -> None:
    with continued({"traceparent": header}):
        Span("inside").end()
    assert spans.one("inside").parent is None


def test_a_span_that_is_around_is_nearer_than_the_headers(spans: Spans) -> None:
    with tracer.start_as_current_span("request"), continued({"traceparent": TRACEPARENT}):
        Span("inside").end()
    assert is_part_of(spans.one("inside"), spans.one("request"))


def test_a_request_that_is_passed_on_names_the_span_that_passes_it_on(spans: Spans) -> None:
    with Span("passing"):
        headers = onward([(b"host", b"a"), (b"traceparent", TRACEPARENT.encode())])
    context = spans.one("passing").context
    assert context is not None
    (host, (name, value)) = headers
    assert (host, name) == ((b"host", b"a"), b"traceparent")
    assert value.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-".encode())


def test_outside_of_a_span_the_headers_of_a_request_are_passed_on_as_they_are() -> None:
    headers = [(b"host", b"a"), (b"traceparent", TRACEPARENT.encode())]
    assert onward(headers) == headers


def test_a_span_that_something_is_raised_in_is_an_error_and_over(spans: Spans) -> None:
    with pytest.raises(ValueError, match="no"), Span("failing"):
        raise ValueError("no")
    Span("after").end()
    assert spans.one("failing").status.description == "ValueError: no"
    assert spans.one("after").parent is None


async def test_a_call_is_a_part_of_what_the_header_of_its_offer_names(spans: Spans) -> None:
    stream = make_stream(ReplyOnPause(Talker()))
    headers = [(b"traceparent", TRACEPARENT.encode())]
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": headers})
    async with httpx.AsyncClient() as http:
        caller = Caller(http)
        answer = await stream.offer(await caller.offer(), request)
    assert "sdp" in answer
    await stream.close()
    await caller.hang_up()
    assert is_part_of_the_request(spans.one("fastrtc.call"))


@pytest.mark.parametrize("path", ["socket", "telephone"])
def test_a_call_over_a_socket_is_a_part_of_what_its_handshake_names(
    spans: Spans, path: str
) -> None:
    stream = make_stream(ReplyOnPause(Talker()))
    serve = {"socket": stream.websocket_offer, "telephone": stream.telephone_handler}[path]

    async def take(websocket: WebSocket) -> None:
        await serve(websocket)

    app = Starlette(routes=[WebSocketRoute("/", take)])
    facts = {"streamSid": "MZ1", "callSid": "CA1"}
    begin = {"event": "start", "websocket_id": "it", "streamSid": "MZ1", "start": facts}
    headers = {"traceparent": TRACEPARENT}
    with TestClient(app) as client:
        with client.websocket_connect("/", headers=headers) as socket:
            socket.send_json(begin)
            socket.send_json({"event": "stop"})
            with contextlib.suppress(WebSocketDisconnect):
                while True:
                    socket.receive_json()
        assert client.portal is not None
        # A call is still being given back when its socket is closed.
        client.portal.call(stream.close)
    assert is_part_of_the_request(spans.one("fastrtc.call"))


async def test_a_call_whose_caller_comes_back_says_so(spans: Spans) -> None:
    stream = make_stream(ReplyOnPause(Talker()))
    await stream.admit("it", reconnected=True).close()
    assert facts(spans.one("fastrtc.call"))["reconnected"] is True


def test_without_opentelemetry_calls_are_as_they_were() -> None:
    code = """
import sys
sys.modules["opentelemetry"] = None
from fastrtc import ReplyOnPause, tracing
from fastrtc.testing import VirtualCall
assert not tracing.INSTALLED
with tracing.continued({"traceparent": "00-1-1-01"}), tracing.Span("nothing"):
    assert tracing.onward([(b"host", b"a")]) == [(b"host", b"a")]
def greet():
    yield 24_000, __import__("numpy").full((1, 2_400), 9_000, "int16")
with VirtualCall(ReplyOnPause(print, startup_fn=greet)) as call:
    call.wait(0.5)
    print(len(call.sounds))
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "1"


def test_what_is_over_is_exported_before_a_process_is_ended(exporter: Spans) -> None:
    provider, late = trace.get_tracer_provider(), Spans()
    assert isinstance(provider, TracerProvider)
    batch = BatchSpanProcessor(late, schedule_delay_millis=60_000)
    provider.add_span_processor(batch)
    Span("of a replica that leaves").end()
    assert not late.named("of a replica that leaves")
    flush()
    assert late.one("of a replica that leaves")
    batch.shutdown()  # type: ignore[no-untyped-call]
