"""Writes down the turns of a call: for the log, for the user's hook, and for whoever watches."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, Protocol

from fastrtc import metrics
from fastrtc.tracing import Span
from fastrtc.turns.machine import Event, Kind
from fastrtc.turns.options import VAD_RATE
from fastrtc.turns.record import Decision, Heard, Step, Turn

logger = logging.getLogger(__name__)


class Watcher(Protocol):
    """Sees how turns are taken, as it happens. On the event loop."""

    def step(self, step: Step) -> None:
        """32 ms of the call have passed."""

    def decision(self, decision: Decision) -> None:
        """The turn machine has said something."""

    def turn(self, turn: Turn) -> None:
        """A turn is over, and its reply too."""


class TurnBook:
    """Keeps the turn that is being made, and gives it out when its reply is over."""

    def __init__(self, call: str, now: Callable[[], float], parent: Span) -> None:
        """Begin a book.

        Args:
            call: the id of the call, for the log.
            now: gives the seconds of the caller's sound since the call began.
            parent: what is traced of the call.
        """
        self.watchers: list[Watcher] = []
        self._call = call
        self._now = now
        self._parent = parent
        self._count = 0
        self._turn: Turn | None = None
        """The one whose reply is being made or heard."""
        self._coming: Turn | None = None
        """The one that the caller is making."""
        self._span: Span | None = None
        self._coming_span: Span | None = None
        """Of the two turns; that of a coming one is begun with its first reply."""
        self._held_at: float | None = None
        """When the reply fell silent, while it is held."""

    # From the turn machine.

    def event(self, event: Event) -> None:
        """Take what the machine says."""
        now = self._now()
        if event.kind is Kind.USER_STARTED:
            self.close()
            self._coming = Turn(0, speech_start=event.start / VAD_RATE)
        elif event.kind is Kind.USER_FINISHED:
            turn = self._coming = self._coming or Turn(0)
            if turn.speech_start is not None:
                turn.speech_end = event.voice_end / VAD_RATE
            turn.decided = now
            turn.evidence = event.evidence
        elif event.kind is Kind.MAY_INTERRUPT:
            self._held_at = now
        elif event.kind is Kind.FALSE_ALARM:
            held_at, self._held_at = self._held_at, None
            if self._turn is not None and held_at is not None:
                self._turn.false_alarms.append((held_at, now - held_at))
        elif event.kind is Kind.USER_INTERRUPTS:
            self._interrupted(event, now)
        decision = Decision(now, event.kind.value, event.evidence)
        for watcher in self.watchers:
            watcher.decision(decision)

    def step(self, step: Step) -> None:
        """Take 32 ms of the call."""
        for watcher in self.watchers:
            watcher.step(step)

    # From the replies.

    def span(self, *, early: bool) -> Span:
        """What a reply is traced in; ``early``: it is begun before its turn is over."""
        if not early:
            self._span = self._span or self._begin_span(self._turn)
            return self._span
        self._coming_span = self._coming_span or self._begin_span(self._coming)
        return self._coming_span

    def discarded(self) -> None:
        """A reply that was begun before it was sure has been given up."""
        if self._coming is not None:
            self._coming.speculated += 1
            self._coming.first_output = None

    def asked(self) -> None:
        """A reply is asked for: the turn that was coming is the one that is answered."""
        self._count += 1
        self._turn = self._coming or Turn(0)
        self._turn.number = self._count
        self._coming = None
        self._span, self._coming_span = self._coming_span, None

    def output(self, *, early: bool) -> None:
        """The function has yielded its first value; ``early``: before its turn was over."""
        turn = self._coming if early else self._turn
        if turn is not None:
            turn.first_output = self._now()

    def sound(self) -> None:
        """The first sound is on its way."""
        if self._turn is not None:
            self._turn.first_sound = self._now()
            if (latency := self._turn.latency) is not None:
                metrics.voice_to_voice.note(latency)

    def failed(self, error: BaseException) -> None:
        """The function has raised."""
        if self._turn is not None:
            self._turn.error = f"{type(error).__name__}: {error}"

    def over(self, heard: Heard, *, interrupted: bool) -> Turn | None:
        """The reply has been heard, or is over before that."""
        turn, self._turn = self._turn, None
        self._held_at = None
        if turn is None:
            return None
        turn.reply_end = self._now()
        turn.heard = heard
        turn.interrupted = interrupted
        facts = _facts(turn, words=logger.isEnabledFor(logging.DEBUG))
        line = " ".join(f"{name}={json.dumps(value)}" for name, value in facts.items())
        logger.info("Call %s: %s", self._call, line, extra={"turn": facts})
        for watcher in self.watchers:
            watcher.turn(turn)
        span = self._span or self._begin_span(turn)
        span.note(**_traced(turn))
        if turn.error is not None:
            span.failed(turn.error)
        span.end()
        self._span = None
        return turn

    def close(self) -> None:
        """What the caller was saying will be no turn."""
        if self._coming_span is not None:
            self._coming_span.end()
            self._coming_span = None

    def _begin_span(self, turn: Turn | None) -> Span:
        start = None if turn is None else turn.speech_start
        ago = 0.0 if start is None else self._now() - start
        return Span("fastrtc.turn", self._parent, ago=ago)

    def _interrupted(self, event: Event, now: float) -> None:
        """Count how long it took, if there was a voice that ended a sound."""
        silent = now if self._held_at is None else self._held_at
        sounds = self._turn is not None and self._turn.first_sound is not None
        if sounds and event.voice_end > event.start:
            metrics.barge_in.note(silent - event.start / VAD_RATE)


def _traced(turn: Turn) -> dict[str, Any]:
    """A turn for a trace: how long its parts took, in milliseconds."""
    facts: dict[str, Any] = {"turn": turn.number, "interrupted": turn.interrupted}
    if turn.speech_start is not None and turn.speech_end is not None:
        facts["speech_ms"] = _milliseconds(turn.speech_end - turn.speech_start)
        if turn.decided is not None:
            facts["end_of_turn_ms"] = _milliseconds(turn.decided - turn.speech_end)
    if turn.latency is not None:
        facts["voice_to_voice_ms"] = _milliseconds(turn.latency)
    return facts


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _facts(turn: Turn, *, words: bool) -> dict[str, Any]:
    """A turn for the log. What was said is private: its words only where ``words`` asks for it."""
    evidence = turn.evidence
    spoken = turn.speech_start is not None and turn.speech_end is not None
    facts: dict[str, Any] = {
        "turn": turn.number,
        "speech_start": turn.speech_start,
        "speech_end": turn.speech_end if spoken else None,
        "decided": turn.decided,
        "finished": evidence and evidence.finished,
        "sounds_finished": evidence and evidence.opinion.probability,
        "patience": evidence and evidence.patience,
        "words": evidence.opinion.words if words and evidence else None,
        "speculated": turn.speculated or None,
        "first_output": turn.first_output,
        "first_sound": turn.first_sound,
        "latency": turn.latency,
        "reply_end": turn.reply_end,
        "heard": turn.heard.seconds,
        "heard_text": turn.heard.text if words else None,
        "interrupted": turn.interrupted or None,
        "false_alarms": len(turn.false_alarms) or None,
        "error": turn.error,
    }
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in facts.items()
        if value is not None
    }
