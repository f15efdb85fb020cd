"""The turn machine: who has the floor, and what happens next.

Theory of operation
-------------------
1. The machine hears one `Signal` for every 32 ms of the caller's sound, and is told when a reply
   begins, when its last sound has been heard, and what the models think. Nothing else makes it
   move.
2. It answers with `Kind`s of event. Whoever drives it acts on them; the machine never waits.
3. Every change of state is a row of `TABLE`. A pair that has no row leaves the state alone.
   The picture in ``docs/turns.md`` is drawn from the table.
4. When the caller's voice falls away or stops, the caller *may have finished*: that is the time
   to ask the models. Their answer sets how long the silence must last (`endpointing.weigh`).
5. `REPLYING` lasts from the moment a reply is asked for until its last sound has been heard,
   so a reply is protected, or interrupted, while it thinks as well as while it speaks.
6. An interruption has two steps. At its onset the reply is held. Either the caller goes on, and
   the reply is over; or it was a false alarm, and the reply goes on from where it was held.
7. Listening never stops: what is said over a protected reply is answered after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from fastrtc.turns.endpointing import Evidence, Habits, Opinion, weigh
from fastrtc.turns.options import STEP_SAMPLES, VAD_RATE, TurnPolicy
from fastrtc.turns.speech import Judge, Signal, make_judge, steps


class State(Enum):
    """Who has the floor."""

    LISTENING = "listening"
    """Nobody."""
    STARTING = "starting"
    """Nobody yet: there is voice, too little to call it speech."""
    SPEAKING = "speaking"
    """The caller."""
    PAUSING = "pausing"
    """The caller, whose voice falls away or is silent for the moment."""
    REPLYING = "replying"
    """We do."""
    INTERRUPTING = "interrupting"
    """We do, but hold the reply: there is voice, too little to say what it means."""
    FALTERING = "faltering"
    """The same, and the voice has stopped."""
    PROTECTED = "protected"
    """We do, and nobody may interrupt."""
    OVERLAPPING = "overlapping"
    """We do, though the caller talks."""
    WAITING = "waiting"
    """We do, and the caller has finished and waits for an answer."""


class Told(Enum):
    """What the machine is told besides the sound. The last four it tells itself."""

    REPLY_BEGAN = auto()
    """A reply that nobody asked for, such as a greeting."""
    REPLY_ENDED = auto()
    """The last sound of the reply has been heard, or there was none."""
    FORCED = auto()
    """The turn is to end now, whatever is heard."""
    MEANT = auto()
    """The short sound over the reply had words that are meant to end it."""
    NOT_MEANT = auto()
    """It had none, or such as "mm-hm"."""
    READABLE = auto()
    """The caller has talked over the reply for long enough to read words from it."""
    TAKES_FLOOR = auto()
    """The caller has talked over the reply for too long not to mean it."""
    FELL_SILENT = auto()
    """The caller made a sound over the reply and has been silent for long enough."""
    LIMIT = auto()
    """The caller has talked for as long as a turn may last."""


class Kind(Enum):
    """What the machine says."""

    USER_STARTED = "user started"
    USER_MAY_HAVE_FINISHED = "user may have finished"
    USER_WENT_ON = "user went on"
    USER_FINISHED = "user finished"
    MAY_INTERRUPT = "may interrupt"
    UNCLEAR = "unclear"
    USER_INTERRUPTS = "user interrupts"
    FALSE_ALARM = "false alarm"


Input: TypeAlias = Signal | Told
Row: TypeAlias = tuple[State, tuple[Kind, ...]]
S, K = State, Kind

_TAKEN: Final[Row] = (S.SPEAKING, (K.USER_INTERRUPTS, K.USER_STARTED))
_RESUMED: Final[Row] = (S.REPLYING, (K.FALSE_ALARM,))
_CUT_SHORT: Final[Row] = (S.REPLYING, (K.USER_INTERRUPTS, K.USER_STARTED, K.USER_FINISHED))

TABLE: Final[dict[tuple[State, Input], Row]] = {
    (S.LISTENING, Signal.VOICE): (S.STARTING, ()),
    (S.LISTENING, Signal.SPEECH): (S.SPEAKING, (K.USER_STARTED,)),
    (S.LISTENING, Told.REPLY_BEGAN): (S.REPLYING, ()),
    (S.LISTENING, Told.FORCED): (S.REPLYING, (K.USER_FINISHED,)),
    #
    (S.STARTING, Signal.SPEECH): (S.SPEAKING, (K.USER_STARTED,)),
    (S.STARTING, Signal.PAUSE): (S.LISTENING, ()),
    (S.STARTING, Told.REPLY_BEGAN): (S.REPLYING, ()),
    (S.STARTING, Told.FORCED): (S.REPLYING, (K.USER_STARTED, K.USER_FINISHED)),
    #
    (S.SPEAKING, Signal.FADING): (S.PAUSING, (K.USER_MAY_HAVE_FINISHED,)),
    (S.SPEAKING, Signal.QUIET): (S.PAUSING, (K.USER_MAY_HAVE_FINISHED,)),
    (S.SPEAKING, Signal.PAUSE): (S.REPLYING, (K.USER_FINISHED,)),
    (S.SPEAKING, Told.FORCED): (S.REPLYING, (K.USER_FINISHED,)),
    # The caller talks on, and that is no interruption.
    (S.SPEAKING, Told.LIMIT): (S.PROTECTED, (K.USER_FINISHED,)),
    #
    (S.PAUSING, Signal.VOICE): (S.SPEAKING, (K.USER_WENT_ON,)),
    (S.PAUSING, Signal.SPEECH): (S.SPEAKING, (K.USER_WENT_ON,)),
    (S.PAUSING, Signal.PAUSE): (S.REPLYING, (K.USER_FINISHED,)),
    (S.PAUSING, Told.FORCED): (S.REPLYING, (K.USER_FINISHED,)),
    #
    (S.REPLYING, Signal.SPEECH): (S.INTERRUPTING, (K.MAY_INTERRUPT,)),
    (S.REPLYING, Told.TAKES_FLOOR): _TAKEN,
    (S.REPLYING, Told.REPLY_ENDED): (S.LISTENING, ()),
    (S.REPLYING, Told.FORCED): (S.REPLYING, (K.USER_INTERRUPTS, K.USER_FINISHED)),
    #
    (S.INTERRUPTING, Told.READABLE): (S.INTERRUPTING, (K.UNCLEAR,)),
    (S.INTERRUPTING, Signal.QUIET): (S.FALTERING, (K.UNCLEAR,)),
    (S.INTERRUPTING, Told.MEANT): _TAKEN,
    (S.INTERRUPTING, Told.TAKES_FLOOR): _TAKEN,
    (S.INTERRUPTING, Told.FELL_SILENT): _RESUMED,
    (S.INTERRUPTING, Told.REPLY_ENDED): (S.STARTING, ()),
    (S.INTERRUPTING, Told.FORCED): _CUT_SHORT,
    #
    (S.FALTERING, Signal.VOICE): (S.INTERRUPTING, ()),
    (S.FALTERING, Told.READABLE): (S.INTERRUPTING, (K.UNCLEAR,)),
    (S.FALTERING, Signal.SPEECH): (S.INTERRUPTING, ()),
    (S.FALTERING, Told.TAKES_FLOOR): _TAKEN,
    (S.FALTERING, Told.FELL_SILENT): _RESUMED,
    (S.FALTERING, Told.MEANT): _TAKEN,
    (S.FALTERING, Told.NOT_MEANT): _RESUMED,
    (S.FALTERING, Told.REPLY_ENDED): (S.STARTING, ()),
    (S.FALTERING, Told.FORCED): _CUT_SHORT,
    #
    (S.PROTECTED, Signal.SPEECH): (S.OVERLAPPING, (K.USER_STARTED,)),
    (S.PROTECTED, Told.FORCED): (S.WAITING, ()),
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
HELD: Final = {S.INTERRUPTING, S.FALTERING}
"""The reply is held."""
MOST_DOUBLINGS: Final = 3
"""False alarms of one reply, each of which doubles the voice that it takes to hold it again."""
SOON: Final = 1.5
"""Seconds. A caller who talks again so soon after a turn had not finished it."""


@dataclass(frozen=True)
class Event:
    """Something that happened in the conversation.

    Attributes:
        kind: what.
        at: when it was decided, in samples at `VAD_RATE` since the call began.
        start: where the caller's speech began; set where there is an utterance.
        end: where it ended, its closing silence included.
        voice_end: where its last voice ended.
        evidence: why the turn was over, where models were asked.
    """

    kind: Kind
    at: int
    start: int = 0
    end: int = 0
    voice_end: int = 0
    evidence: Evidence | None = None


class TurnMachine:
    """One caller's conversation.

    Feed it with `hear`, tell it of replies with `told`, and of what models say with `judged`.
    """

    def __init__(self, policy: TurnPolicy | None = None, judge: Judge | None = None) -> None:
        """A judge of one's own replaces the one that the policy asks for."""
        self.policy = policy or TurnPolicy()
        self.state = State.LISTENING
        self.position = 0
        """Samples heard so far, at `VAD_RATE`."""
        self.habits = Habits()
        self._evidence: Evidence | None = None
        """What the models say about the pause that lasts."""
        self._judge = judge or make_judge(self.policy)
        self._start: int | None = None
        self._end = 0
        self._voice_end = 0
        self._over_reply = 0
        """Steps of voice over the reply, since the onset."""
        self._false_alarms = 0
        """Of this reply. Each makes the next hold come later."""
        self._asked_at: int | None = None
        self._turn_end: int | None = None
        """Where the voice of the last turn ended, until it is known whether it was its end."""

    def hear(self, probability: float, level: float | None = None) -> list[Event]:
        """Take the next `STEP_SAMPLES` samples.

        Args:
            probability: that they are voice.
            level: how loud the last of them are, in dBFS; None where that is not known.
        """
        silent_before = self._judge.silence
        signal = self._judge.weigh(probability, level)
        began = self.position
        self.position += STEP_SAMPLES
        voiced = signal in (Signal.VOICE, Signal.SPEECH, Signal.FADING)
        if voiced and self._start is None:
            self._start = began
        # A click while an answer is waited for belongs to nothing.
        if self.state is not State.WAITING or signal in (Signal.SPEECH, Signal.FADING):
            self._end = self.position
            if voiced:
                self._voice_end = self.position
        if voiced and self.state is State.PAUSING:
            self.habits.went_on(silent_before)
        events = self._move(self._read(signal, voiced))
        if signal is Signal.PAUSE and self.state not in (*CALLER_HAS_FLOOR, State.WAITING, *HELD):
            self._start = None
        return events

    def told(self, told: Told) -> list[Event]:
        """Take a fact that is not sound."""
        return self._move(told)

    def judged(self, opinion: Opinion, asked_at: int) -> list[Event]:
        """Take what the models say of a turn.

        Args:
            opinion: what they say.
            asked_at: the `Event.at` of the "user may have finished" that they were asked at. The
                caller may have gone on since; then it says nothing any more.
        """
        policy = self.policy.endpoint
        if policy is None or self.state is not State.PAUSING or asked_at != self._asked_at:
            return []
        start = self.position if self._start is None else self._start
        speech = (self._voice_end - start) / VAD_RATE
        self._evidence = weigh(opinion, speech, self.habits, policy)
        return self._move(self._judge.wait(self._evidence.patience))

    def skip(self, position: int) -> None:
        """Go to a position, forwards or back, as if nothing had been heard before it."""
        self.position = self._end = self._voice_end = position
        self._start = None
        self._over_reply = 0
        self._judge.reset()

    @property
    def keep_from(self) -> int:
        """Sound before this position is in no utterance to come."""
        return self.position if self._start is None else self._start

    def _read(self, signal: Signal, voiced: bool) -> Input:
        """What a signal means here: more than it says where something has lasted too long."""
        policy = self.policy.interruption
        if policy is None:
            if self.state is State.REPLYING and signal is Signal.SPEECH:
                return Told.TAKES_FLOOR
        elif self.state in (State.REPLYING, *HELD):
            if voiced:
                self._over_reply += 1
                if self._over_reply >= steps(policy.min_speech):
                    return Told.TAKES_FLOOR
                if self._over_reply == steps(policy.readable) and self.state in HELD:
                    return Told.READABLE
                # Who coughs again, or sends us our echo, must not chop the reply to pieces.
                onset = steps(policy.onset) << min(self._false_alarms, MOST_DOUBLINGS)
                return Signal.SPEECH if self._over_reply >= onset else Signal.VOICE
            if self.state is State.FALTERING and self._judge.silence >= policy.resume_after:
                return Told.FELL_SILENT
            if self.state in HELD:
                return Signal.QUIET
            if signal is Signal.PAUSE:
                self._over_reply = 0
        if signal is Signal.FADING and self.state not in (State.SPEAKING, State.PAUSING):
            return Signal.SPEECH
        talked = 0 if self._start is None else self.position - self._start
        over = voiced and talked >= self.policy.max_speech * VAD_RATE
        return Told.LIMIT if over and self.state is State.SPEAKING else signal

    def _move(self, given: Input) -> list[Event]:
        row = TABLE.get((self.state, given))
        if row is None:
            return []
        self.state, kinds = row
        if self.state is State.REPLYING and not self.policy.can_interrupt:
            self.state = State.PROTECTED
        if given in (Told.REPLY_BEGAN, Told.REPLY_ENDED):
            self._over_reply = 0
        start = self.position if self._start is None else self._start
        end, voice_end = max(start, self._end), max(start, self._voice_end)
        paused = given is Signal.PAUSE
        evidence = self._evidence if paused and Kind.USER_FINISHED in kinds else None
        events = [Event(kind, self.position, start, end, voice_end, evidence) for kind in kinds]
        for kind in kinds:
            self._remember(kind, start, paused=paused)
        return events

    def _remember(self, kind: Kind, start: int, *, paused: bool) -> None:
        """Keep what later decisions need. ``paused``: whether the caller's silence led to it."""
        if kind is Kind.USER_STARTED:
            if self._turn_end is not None:
                pause = (start - self._turn_end) / VAD_RATE
                if pause < SOON:
                    self.habits.was_cut_in(pause)
                else:
                    self.habits.had_finished()
                self._turn_end = None
        elif kind is Kind.USER_MAY_HAVE_FINISHED:
            self._asked_at = self.position
            self._evidence = None
            unjudged = self.policy.endpoint and self.policy.endpoint.unjudged
            self._judge.wait(unjudged or self.habits.patience(self.policy.end_silence))
        elif kind in (Kind.USER_FINISHED, Kind.FALSE_ALARM):
            if kind is Kind.USER_FINISHED:
                # Only who was silent can have been cut in upon.
                self._turn_end = self._voice_end if paused else None
            self._asked_at = None
            self._evidence = None
            self._start = None
            self._over_reply = 0
            self._false_alarms += 1 if kind is Kind.FALSE_ALARM else -self._false_alarms
            self._judge.reset()
        elif kind is Kind.USER_INTERRUPTS:
            self._over_reply = 0
