"""Spans of OpenTelemetry: of each call, and of each turn within it.

Where the package opentelemetry-api is not there, nothing happens here; where no SDK is set up,
next to nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final

try:
    from opentelemetry import context, propagate, trace
except ImportError:
    INSTALLED = False
else:
    INSTALLED = True

NANOSECONDS: Final = 1_000_000_000

RawHeaders = list[tuple[bytes, bytes]]
"""As ASGI has them: the names in small letters."""

FLUSHED_WITHIN: Final = 5.0
"""Seconds that spans have to be exported when a replica ends."""


class Span:
    """A stretch of time, and what is said of it. On the event loop, except `enter`.

    ``with`` it, the spans that are begun inside are parts of it, and it ends there.
    """

    def __init__(
        self, name: str, parent: Span | None = None, *, ago: float = 0.0, **facts: Any
    ) -> None:
        """Begin.

        Args:
            name: such as ``"fastrtc.call"``.
            parent: the span that this is a part of; otherwise the one that the context is in.
            ago: seconds since it really began.
            facts: see `note`.
        """
        self._span: Any = None
        self._token: Any = None
        if not INSTALLED:
            return
        tracer = trace.get_tracer("fastrtc")
        around = None if parent is None else trace.set_span_in_context(parent._span)
        began = time.time_ns() - round(ago * NANOSECONDS)
        self._span = tracer.start_span(name, context=around, start_time=began)
        self.note(**facts)

    def note(self, **facts: Any) -> None:
        """Say something of it: ``speech_ms=640`` is its attribute ``fastrtc.speech_ms``."""
        if self._span is not None:
            known = {f"fastrtc.{name}": fact for name, fact in facts.items() if fact is not None}
            self._span.set_attributes(known)

    def failed(self, error: str) -> None:
        """Say that it did not go well."""
        if self._span is not None:
            self._span.set_status(trace.StatusCode.ERROR, error)

    def enter(self) -> None:
        """Let the spans that are begun in this context from now on be parts of this one.

        The context has to end with what runs in it: there is no way out. From any thread.
        """
        if self._span is not None:
            context.attach(trace.set_span_in_context(self._span))

    def end(self) -> None:
        """It is over."""
        if self._span is not None:
            self._span.end()

    def __enter__(self) -> Span:
        if self._span is not None:
            self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._span is not None:
            context.detach(self._token)
            if error is not None:
                self.failed(f"{type(error).__name__}: {error}")
            self._span.end()


def flush() -> None:
    """Have what is over exported now, where the process may be ended without another word.

    It blocks, for `FLUSHED_WITHIN` at the most.
    """
    if INSTALLED:
        # Only the provider of an SDK keeps spans back.
        export = getattr(trace.get_tracer_provider(), "force_flush", None)
        if export is not None:
            export(round(FLUSHED_WITHIN * 1000))


@contextlib.contextmanager
def continued(headers: Mapping[str, str] | None) -> Iterator[None]:
    """Let the spans that are begun inside be parts of the one that a request's headers name.

    A span that is around already is nearer, as that of an instrumented FastAPI, which has read the
    headers itself.

    Args:
        headers: those of the request, whose ``traceparent`` names the span (W3C Trace Context), or
            what else the user's propagators know.
    """
    if not INSTALLED or headers is None or trace.get_current_span().get_span_context().is_valid:
        yield
        return
    token = context.attach(propagate.extract(headers))
    try:
        yield
    finally:
        context.detach(token)


def onward(headers: RawHeaders) -> RawHeaders:
    """The headers of a request that is passed on: they name the span that we are in."""
    if not INSTALLED:
        return headers
    told: dict[str, str] = {}
    propagate.inject(told)
    ours = [(name.lower().encode(), value.encode("latin-1")) for name, value in told.items()]
    replaced = {name for name, _ in ours}
    return [(name, value) for name, value in headers if name not in replaced] + ours
