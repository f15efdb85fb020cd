"""A line with a turn machine and replies, small enough to see that it keeps the laws.

It does what a driver does with the events, and holds each event against what it should find.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from fastrtc.audio.playout import FADE_SECONDS, Playout
from fastrtc.turns.endpointing import LONGEST_VAD_WAIT, LONGEST_WAIT, Opinion
from fastrtc.turns.machine import HELD, Event, Kind, State, Told, TurnMachine
from fastrtc.turns.options import STEP_SAMPLES, STEP_SECONDS, InterruptionPolicy, TurnPolicy
from fastrtc.turns.speech import steps

RATE: Final = 8_000
FRAME: Final = RATE // 50
FADE: Final = round(RATE * FADE_SECONDS)
OVER_REPLY: Final = {State.REPLYING, *HELD}
ANSWERING: Final = {*OVER_REPLY, State.PROTECTED, State.OVERLAPPING, State.WAITING}


@dataclass(frozen=True)
class Hear:
    """Steps of the same sound."""

    probability: float
    level: float | None = None
    times: int = 1


@dataclass(frozen=True)
class Tell:
    told: Told


@dataclass(frozen=True)
class Judge:
    """The models answer, to the newest question or to another one."""

    opinion: Opinion
    stale_by: int = 0


Step = Hear | Tell | Judge


@dataclass
class Voice:
    """Steps of voice in a row, with nothing told and no turn ended in between."""

    start: int
    end: int
    over_reply: bool

    def lies_in(self, start: int, end: int) -> bool:
        return start <= self.start and self.end <= end


@dataclass
class Line:
    """Drives a machine, and raises AssertionError where a law is broken."""

    policy: TurnPolicy
    machine: TurnMachine = field(init=False)
    playout: Playout = field(default_factory=lambda: Playout(RATE))
    events: list[Event] = field(default_factory=list)
    voices: list[Voice] = field(default_factory=list)
    replies: int = 0
    reply: int | None = None
    """The one that is asked for or heard."""
    early: bool = False
    held: bool = False
    started: bool = False
    by_interruption: bool = False
    asked: Event | None = None
    voiced: bool = False
    joined: bool = False
    """Whether the next step of voice belongs to the newest `Voice`."""
    silent_steps: int = 0
    held_steps: int = 0
    forced: bool = False
    owed: bool = False
    """Whether a turn was forced over a protected reply, and is answered after it."""

    def __post_init__(self) -> None:
        self.machine = TurnMachine(self.policy)

    def take(self, step: Step) -> None:
        if isinstance(step, Hear):
            for _ in range(step.times):
                self.hear(step.probability, step.level)
        elif isinstance(step, Tell):
            self.tell(step.told)
        else:
            self.judge(step)

    def hear(self, probability: float, level: float | None) -> None:
        threshold = self.policy.release if self.voiced else self.policy.threshold
        self.voiced = probability >= threshold
        self.silent_steps = 0 if self.voiced else self.silent_steps + 1
        self.held_steps += self.held
        began, over = self.machine.position, self.machine.state in OVER_REPLY
        if self.voiced and self.joined:
            self.voices[-1].end = began + STEP_SAMPLES
        elif self.voiced:
            self.voices.append(Voice(began, began + STEP_SAMPLES, over))
        self.joined = self.voiced
        events = self.machine.hear(probability, level)
        assert self.machine.position == began + STEP_SAMPLES
        self.act(events)
        self.tick()
        self.check()

    def tell(self, told: Told) -> None:
        self.joined = False
        state = self.machine.state
        self.forced = told is Told.FORCED
        if told is Told.REPLY_BEGAN and state in (State.LISTENING, State.STARTING):
            self.ask()
        if told is Told.REPLY_ENDED and self.reply is not None:
            self.drop()
        events = self.machine.told(told)
        # What is typed over a protected reply is answered after it.
        self.owed = self.owed or (self.forced and state is State.PROTECTED)
        if told is Told.REPLY_BEGAN and state not in (State.LISTENING, State.STARTING):
            assert not events
            assert self.machine.state is state
        self.act(events)
        self.forced = False
        self.check()

    def judge(self, step: Judge) -> None:
        ticket = (self.asked.at if self.asked else 0) + step.stale_by
        state = self.machine.state
        events = self.machine.judged(step.opinion, ticket)
        if self.asked is None or step.stale_by or state is not State.PAUSING:
            assert not events, "a stale judgement decided"
        self.act(events)
        self.check()

    # What a driver does.

    def act(self, events: list[Event]) -> None:
        for event in events:
            self.check_times(event)
            self.events.append(event)
            getattr(self, f"on_{event.kind.name.lower()}")(event)

    def on_user_started(self, _: Event) -> None:
        assert not self.started, "started twice"
        self.started = True

    def on_user_may_have_finished(self, event: Event) -> None:
        assert self.reply is None
        assert not self.early, "asked twice"
        self.asked, self.early = event, True

    def on_user_went_on(self, _: Event) -> None:
        assert self.early, "nothing was asked"
        self.asked, self.early = None, False

    def on_user_finished(self, event: Event) -> None:
        assert self.reply is None, "two replies at a time"
        assert self.started or self.forced or self.owed, "finished without having started"
        self.check_voice(event)
        self.owed = False
        self.asked, self.early, self.started = None, False, False
        self.by_interruption = self.joined = False
        self.ask()

    def on_may_interrupt(self, _: Event) -> None:
        assert self.reply is not None, "no reply to hold"
        assert not self.held, "held twice"
        self.held, self.held_steps = True, 0
        self.playout.hold()

    def on_unclear(self, _: Event) -> None:
        assert self.held

    def on_false_alarm(self, _: Event) -> None:
        assert self.held, "nothing to resume"
        self.held = False
        self.playout.resume()

    def on_user_interrupts(self, _: Event) -> None:
        assert self.reply is not None, "no reply to interrupt"
        assert self.policy.can_interrupt, "a protected reply was interrupted"
        self.by_interruption = True
        self.drop()

    def ask(self) -> None:
        self.replies += 1
        self.reply = self.replies

    def drop(self) -> None:
        self.by_interruption = self.by_interruption or self.held
        self.reply, self.held = None, False
        self.playout.interrupt()

    def tick(self) -> None:
        """20 ms of sound: all of a reply's samples have its number."""
        if self.reply is not None:
            self.playout.push(np.full((1, FRAME), 100 * self.reply, np.int16))
        frame = self.playout.next_frame()
        if frame is None:
            return
        heard = {*frame[0, FADE:].tolist()} - {0}
        assert not (self.held and heard), "a held reply is heard"
        assert heard <= {100 * (self.reply or 0)}, "a reply is heard that is over"

    # The laws.

    def check(self) -> None:
        state = self.machine.state
        assert self.held == (state in HELD), f"held while {state}"
        assert (self.reply is not None) == (state in ANSWERING), f"reply while {state}"
        assert self.early == (state is State.PAUSING), f"begun early while {state}"
        assert not (self.started and state is State.LISTENING), "started and forgotten"
        if self.silent_steps > self.longest_silence:
            assert state not in (State.SPEAKING, State.PAUSING), "a silence that ends no turn"
        assert self.held_steps <= self.longest_hold, "held for too long"

    def check_times(self, event: Event) -> None:
        assert event.at == self.machine.position
        assert 0 <= event.start <= event.at
        assert event.end <= event.at
        last = self.events[-1].at if self.events else 0
        assert last <= event.at

    def check_voice(self, event: Event) -> None:
        """No reply to silence, and an utterance knows where its voice was."""
        assert event.start >= max((e.end for e in self.finished), default=0)
        inside = [(max(v.start, event.start), min(v.end, event.end)) for v in self.voices]
        voice = sum(max(0, end - start) for start, end in inside)
        if not (self.forced or self.owed):
            assert voice >= self.least_voice * STEP_SAMPLES, "a reply to silence"
            assert event.start < event.voice_end
            assert event.start < event.end

    @property
    def finished(self) -> list[Event]:
        return [e for e in self.events[:-1] if e.kind is Kind.USER_FINISHED]

    @property
    def least_voice(self) -> int:
        """Steps of voice that begin a turn."""
        if self.policy.window is not None:
            return 1  # Small gaps count as voice.
        usual = steps(self.policy.min_speech)
        onset = steps(self.how.onset)
        return min(usual, onset) if self.by_interruption else usual

    @property
    def longest_silence(self) -> int:
        """Steps of silence that surely end a turn."""
        longest = max(LONGEST_VAD_WAIT, self.policy.end_silence, LONGEST_WAIT)
        if self.policy.endpoint is not None:
            longest = max(longest, self.policy.endpoint.late, self.policy.endpoint.unjudged)
        if self.policy.window is not None:
            longest = max(longest, self.policy.window.audio_chunk_duration)
        return steps(max(longest, self.how.resume_after)) + 2

    @property
    def how(self) -> InterruptionPolicy:
        """How replies are interrupted."""
        return self.policy.interruption or InterruptionPolicy()

    @property
    def longest_hold(self) -> int:
        """Steps: before each but the first of the voice that takes the floor, all but the last
        of the silence that gives it back."""
        how = self.how
        voice = steps(how.min_speech) - steps(how.onset)
        if self.policy.window is not None:
            voice = 2 * voice + 1  # A window may lose a step of voice at its edge.
        # The first step of a silence is a question, the next may be the answer.
        return voice * max(2, steps(how.resume_after))

    @property
    def surely_speech(self) -> int:
        """Steps of voice in a row that are speech, whoever has the floor."""
        least = steps(self.policy.min_speech)
        if self.policy.window is not None:
            started = self.policy.window.started_talking_threshold
            least = max(least, int(started / STEP_SECONDS + 1e-9) + 1)
        return least

    def finish(self) -> None:
        """Let all be said and answered, and look for what was lost."""
        for _ in range(3):
            self.take(Hear(0.0, times=self.longest_silence + 1))
            self.tell(Told.REPLY_ENDED)
        assert self.machine.state is State.LISTENING
        turns = [e for e in self.events if e.kind is Kind.USER_FINISHED]
        surely_over = max(self.surely_speech, steps(self.how.min_speech))
        for voice in self.voices:
            least = surely_over if voice.over_reply else self.surely_speech
            if voice.end - voice.start >= least * STEP_SAMPLES:
                homes = [e for e in turns if voice.lies_in(e.start, e.end)]
                assert len(homes) == 1, f"{voice} is lost"
