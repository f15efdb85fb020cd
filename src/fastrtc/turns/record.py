"""What happened in a turn, in a form to be read, logged and drawn."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from fastrtc.turns.endpointing import Evidence


@dataclass(frozen=True)
class Heard:
    """How much of a reply has reached the caller.

    Attributes:
        seconds: of its sound.
        text: the words of it, where sound was yielded with its text; up to the last whole word.
    """

    seconds: float = 0.0
    text: str = ""


@dataclass(frozen=True)
class Step:
    """32 ms of a call, as turn-taking saw it.

    Attributes:
        at: when it ended, in seconds of the caller's sound since the call began.
        probability: that it is voice.
        level: loudness of the caller, dBFS.
        playing: loudness of what was played to the caller, dBFS; -100 for silence.
        state: who has the floor, as `fastrtc.turns.machine.State` names it.
    """

    at: float
    probability: float
    level: float
    playing: float
    state: str


@dataclass(frozen=True)
class Decision:
    """Something that the turn machine said.

    Attributes:
        at: when, in seconds of the caller's sound since the call began.
        kind: what, as `fastrtc.turns.machine.Kind` names it.
        evidence: why, where a turn ended upon more than silence.
    """

    at: float
    kind: str
    evidence: Evidence | None = None


@dataclass
class Turn:
    """One turn of the caller and the reply to it; a greeting is a turn without speech.

    All times are seconds of the caller's sound since the call began, to one frame.

    Attributes:
        number: counts the turns of a call from 1.
        speech_start: when the caller's voice began.
        speech_end: when it ended.
        decided: when the turn was over.
        evidence: why; None where silence alone ended it, or the turn was forced.
        speculated: replies that were begun before it was sure, and discarded.
        first_output: when the function yielded its first value.
        first_sound: when the first sound was on its way to the caller.
        reply_end: when the last sound had been heard, or the reply was interrupted.
        interrupted: whether the caller ended the reply.
        false_alarms: when the reply was held for nothing, and for how many seconds.
        heard: what the caller has heard of the reply.
        error: what the function raised.
    """

    number: int
    speech_start: float | None = None
    speech_end: float | None = None
    decided: float | None = None
    evidence: Evidence | None = None
    speculated: int = 0
    first_output: float | None = None
    first_sound: float | None = None
    reply_end: float | None = None
    interrupted: bool = False
    false_alarms: list[tuple[float, float]] = field(default_factory=list)
    heard: Heard = Heard()
    error: str | None = None

    @property
    def latency(self) -> float | None:
        """Seconds from the caller's last voice to the first sound of the reply."""
        if self.speech_end is None or self.first_sound is None:
            return None
        return self.first_sound - self.speech_end

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)
