"""The turn machine: who has the floor, and what happens next.

Theory of operation
-------------------
1. The machine hears one `Signal` for every 32 ms of the caller's sound, and is told when a reply
   begins and when its last sound has been heard. Nothing else makes it move.
2. It answers with `Kind`s of event. Whoever drives it acts on them; the machine never waits.
3. Every change of state is a row of `TABLE`. A pair that has no row leaves the state alone.
   The picture in ``docs/turns.md`` is drawn from the table.
4. `REPLYING` lasts from the moment a reply is asked for until its last sound has been heard,
   so a reply is protected, or interrupted, while it thinks as well as while it speaks.
5. Listening never stops: what is said over a protected reply is answered after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from fastrtc.turns.options import STEP_SAMPLES, VAD_RATE, TurnPolicy
from fastrtc.turns.speech import Judge, Signal, make_judge


class State(Enum):
    """Who has the floor."""

    LISTENING = "listening"
    """Nobody."""
    STARTING = "starting"
    """Nobody yet: there is voice, too little to call it speech."""
    SPEAKING = "speaking"
    """The caller."""
    PAUSING = "pausing"
    """The caller, who is silent for the moment."""
    REPLYING = "replying"
    """We do."""
    INTERRUPTING = "interrupting"
    """We do, and there is voice, too little to call it speech."""
    PROTECTED = "protected"
    """We do, and nobody may interrupt."""
    OVERLAPPING = "overlapping"
    """We do, though the caller talks."""
    WAITING = "waiting"
    """We do, and the caller has finished and waits for an answer."""


class Told(Enum):
    """What the machine is told besides the sound."""

    REPLY_BEGAN = auto()
    """A reply that nobody asked for, such as a greeting."""
    REPLY_ENDED = auto()
    """The last sound of the reply has been heard, or there was none."""
    FORCED = auto()
    """The turn is to end now, whatever is heard."""
    LIMIT = auto()
    """The caller has talked for as long as a turn may last; the machine tells itself."""


class Kind(Enum):
    """What the machine says."""

    USER_STARTED = "user started"
    USER_MAY_HAVE_FINISHED = "user may have finished"
    USER_FINISHED = "user finished"
    USER_INTERRUPTS = "user interrupts"
    FALSE_ALARM = "false alarm"


Input: TypeAlias = Signal | Told
Row: TypeAlias = tuple[State, tuple[Kind, ...]]
S, K = State, Kind

TABLE: Final[dict[tuple[State, Input], Row]] = {
    (S.LISTENING, Signal.VOICE): (S.STARTING, ()),
    (S.LISTENING, Signal.SPEECH): (S.SPEAKING, (K.USER_STARTED,)),
    (S.LISTENING, Told.REPLY_BEGAN): (S.REPLYING, ()),
    (S.LISTENING, Told.FORCED): (S.REPLYING, (K.USER_FINISHED,)),
    #
    (S.STARTING, Signal.SPEECH): (S.SPEAKING, (K.USER_STARTED,)),
    (S.STARTING, Signal.PAUSE): (S.LISTENING, (K.FALSE_ALARM,)),
    (S.STARTING, Told.REPLY_BEGAN): (S.INTERRUPTING, ()),
    (S.STARTING, Told.FORCED): (S.REPLYING, (K.USER_STARTED, K.USER_FINISHED)),
    #
    (S.SPEAKING, Signal.QUIET): (S.PAUSING, (K.USER_MAY_HAVE_FINISHED,)),
    (S.SPEAKING, Signal.PAUSE): (S.REPLYING, (K.USER_FINISHED,)),
    (S.SPEAKING, Told.FORCED): (S.REPLYING, (K.USER_FINISHED,)),
    # The caller talks on, and that is no interruption.
    (S.SPEAKING, Told.LIMIT): (S.PROTECTED, (K.USER_FINISHED,)),
    #
    (S.PAUSING, Signal.VOICE): (S.SPEAKING, ()),
    (S.PAUSING, Signal.SPEECH): (S.SPEAKING, ()),
    (S.PAUSING, Signal.PAUSE): (S.REPLYING, (K.USER_FINISHED,)),
    (S.PAUSING, Told.FORCED): (S.REPLYING, (K.USER_FINISHED,)),
    #
    (S.REPLYING, Signal.VOICE): (S.INTERRUPTING, ()),
    (S.REPLYING, Signal.SPEECH): (S.SPEAKING, (K.USER_INTERRUPTS, K.USER_STARTED)),
    (S.REPLYING, Told.REPLY_ENDED): (S.LISTENING, ()),
    (S.REPLYING, Told.FORCED): (S.REPLYING, (K.USER_INTERRUPTS, K.USER_FINISHED)),
    #
    (S.INTERRUPTING, Signal.SPEECH): (S.SPEAKING, (K.USER_INTERRUPTS, K.USER_STARTED)),
    (S.INTERRUPTING, Signal.PAUSE): (S.REPLYING, (K.FALSE_ALARM,)),
    (S.INTERRUPTING, Told.REPLY_ENDED): (S.STARTING, ()),
    (S.INTERRUPTING, Told.FORCED): (
        S.REPLYING,
        (K.USER_INTERRUPTS, K.USER_STARTED, K.USER_FINISHED),
    ),
    #
    (S.PROTECTED, Signal.SPEECH): (S.OVERLAPPING, (K.USER_STARTED,)),
    (S.PROTECTED, Told.REPLY_ENDED): (S.LISTENING, ()),
    #
    (S.OVERLAPPING, Signal.PAUSE): (S.WAITING, ()),
    (S.OVERLAPPING, Told.FORCED): (S.WAITING, ()),
    (S.OVERLAPPING, Told.REPLY_ENDED): (S.SPEAKING, ()),
    #
    (S.WAITING, Signal.SPEECH): (S.OVERLAPPING, ()),
    (S.WAITING, Told.REPLY_ENDED): (S.REPLYING, (K.USER_FINISHED,)),
}
"""(state, input) to (next state, events). Where replies may not be interrupted, REPLYING reads
PROTECTED."""

CALLER_HAS_FLOOR: Final = {S.SPEAKING, S.PAUSING, S.OVERLAPPING}


@dataclass(frozen=True)
class Event:
    """Something that happened in the conversation.

    Attributes:
        kind: what.
        at: when it was decided, in samples at `VAD_RATE` since the call began.
        start: where the caller's speech began; set where there is an utterance.
        end: where it ended, its closing silence included.
    """

    kind: Kind
    at: int
    start: int = 0
    end: int = 0


class TurnMachine:
    """One caller's conversation. Feed it with `hear`, and tell it of replies with `told`."""

    def __init__(self, policy: TurnPolicy | None = None, judge: Judge | None = None) -> None:
        """A judge of one's own replaces the one that the policy asks for."""
        self.policy = policy or TurnPolicy()
        self.state = State.LISTENING
        self.position = 0
        """Samples heard so far, at `VAD_RATE`."""
        self._judge = judge or make_judge(self.policy)
        self._start: int | None = None
        self._end = 0

    def hear(self, probability: float) -> list[Event]:
        """Take the voice probability of the next `STEP_SAMPLES` samples."""
        signal = self._judge.weigh(probability)
        began = self.position
        self.position += STEP_SAMPLES
        if signal in (Signal.VOICE, Signal.SPEECH) and self._start is None:
            self._start = began
        if self.state is not State.WAITING or signal is Signal.SPEECH:
            self._end = self.position
        events = self._move(self._limited(signal))
        if signal is Signal.PAUSE and self.state not in (*CALLER_HAS_FLOOR, State.WAITING):
            self._start = None
        return events

    def told(self, told: Told) -> list[Event]:
        """Take a fact that is not sound."""
        return self._move(told)

    @property
    def keep_from(self) -> int:
        """Sound before this position is in no utterance to come."""
        return self.position if self._start is None else self._start

    def _limited(self, signal: Signal) -> Input:
        """End a turn that has no end."""
        if self._start is None or self.state is not State.SPEAKING or signal is Signal.PAUSE:
            return signal
        over = self.position - self._start >= self.policy.max_speech * VAD_RATE
        return Told.LIMIT if over else signal

    def _move(self, given: Input) -> list[Event]:
        row = TABLE.get((self.state, given))
        if row is None:
            return []
        self.state, kinds = row
        if self.state is State.REPLYING and not self.policy.can_interrupt:
            self.state = State.PROTECTED
        start = self.position if self._start is None else self._start
        events = [Event(kind, self.position, start, self._end) for kind in kinds]
        if Kind.USER_FINISHED in kinds:
            self._start = None
            self._judge.reset()
        return events
