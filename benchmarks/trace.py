"""What turn-taking sees of a sound, recorded once, so that many policies can be tried on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Final

import numpy as np
from material import Samples

from fastrtc.handlers.ears import NEWEST, decibels
from fastrtc.models.end_of_turn.source import TYPICAL_SECONDS, Listener, Question
from fastrtc.models.vad.silero import RATE, WINDOW, Silero
from fastrtc.turns.endpointing import Opinion
from fastrtc.turns.machine import Kind, TurnMachine
from fastrtc.turns.options import EndpointPolicy, TurnPolicy

PRE_ROLL: Final = 0.3
NEVER: Final = EndpointPolicy(soon=60, late=60, unjudged=60)
"""Asks at every chance and ends no turn."""


@dataclass
class Trace:
    """Steps of 32 ms: voice probability and loudness; and what the models said when asked."""

    steps: list[tuple[float, float]] = field(default_factory=list)
    opinions: dict[int, Opinion] = field(default_factory=dict)


@cache
def silero() -> Silero:
    return Silero()


def listen(samples: Samples) -> Trace:
    """Hear it to its end, and ask the models whenever the caller may have finished."""
    trace = Trace()
    listener = Listener(sound=True, words=True)
    machine = TurnMachine(TurnPolicy(endpoint=NEVER))
    probabilities = silero().probabilities(samples)
    for index, probability in enumerate(probabilities[: len(samples) // WINDOW]):
        step = samples[index * WINDOW : (index + 1) * WINDOW]
        newest = decibels(float(np.mean(step[-NEWEST:] ** 2)))
        listener.ring.feed(step)
        trace.steps.append((float(probability), newest))
        for event in machine.hear(float(probability), newest):
            if event.kind is Kind.USER_MAY_HAVE_FINISHED:
                question = Question(event.at, max(0, event.start - round(PRE_ROLL * RATE)))
                trace.opinions[event.at] = Opinion(*listener.answer(question))
    return trace


def ends(
    trace: Trace, policy: TurnPolicy, *, sound: bool = True, words: bool = True
) -> Iterator[float]:
    """When a policy would have ended turns, in seconds; the models take their usual time."""
    machine = TurnMachine(policy)
    answers: list[tuple[float, int]] = []
    for probability, newest in trace.steps:
        events = machine.hear(probability, newest)
        now = machine.position / RATE
        while answers and answers[0][0] <= now:
            due, ticket = answers.pop(0)
            opinion = trace.opinions[ticket]
            opinion = Opinion(
                opinion.probability if sound else None, opinion.words if words else None
            )
            for event in machine.judged(opinion, ticket):
                if event.kind is Kind.USER_FINISHED:
                    # Between two steps: an answer is acted upon when it comes.
                    yield min(now, due)
        for event in events:
            if event.kind is Kind.USER_MAY_HAVE_FINISHED and event.at in trace.opinions:
                answers.append((now + TYPICAL_SECONDS, event.at))
            elif event.kind is Kind.USER_FINISHED:
                yield now
