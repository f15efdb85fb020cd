"""A caller for the turn machine, heard in steps of 32 ms."""

from __future__ import annotations

from fastrtc.turns.endpointing import Opinion
from fastrtc.turns.machine import Event, Kind, Told, TurnMachine
from fastrtc.turns.options import VAD_RATE, TurnPolicy
from fastrtc.turns.speech import steps

VOICE, SILENCE = 0.995, 0.02


def run(machine: TurnMachine, seconds: float, probability: float) -> list[Event]:
    """Let the machine hear the same probability for some time."""
    return [e for _ in range(steps(seconds)) for e in machine.hear(probability)]


def speak(machine: TurnMachine, seconds: float) -> list[Event]:
    return run(machine, seconds, VOICE)


def pause(machine: TurnMachine, seconds: float) -> list[Event]:
    return run(machine, seconds, SILENCE)


def hear(machine: TurnMachine, *probabilities: float) -> list[Event]:
    """Let the machine hear one step of each."""
    return [e for probability in probabilities for e in machine.hear(probability)]


def judge(machine: TurnMachine, asked: Event, probability: float) -> list[Event]:
    """Let a model say how finished the caller sounds."""
    return machine.judged(Opinion(probability), asked.at)


def kinds(events: list[Event]) -> list[Kind]:
    return [event.kind for event in events]


def only(events: list[Event], kind: Kind) -> Event:
    """The one event of a kind."""
    (event,) = [e for e in events if e.kind is kind]
    return event


def seconds(samples: int) -> float:
    return samples / VAD_RATE


def replying(policy: TurnPolicy | None = None) -> TurnMachine:
    """A machine whose call began with a greeting."""
    machine = TurnMachine(policy)
    machine.told(Told.REPLY_BEGAN)
    return machine
