"""The caller talks over a reply: it is held at once, and is over or goes on."""

from __future__ import annotations

import pytest

from fastrtc.turns.machine import HELD, Event, Kind, State, Told, TurnMachine
from fastrtc.turns.options import STEP_SECONDS, InterruptionPolicy, TurnPolicy
from tests.turns.calls import SILENCE, VOICE, hear, kinds, only, pause, replying, seconds, speak

INTERRUPTS, FALSE_ALARM = Kind.USER_INTERRUPTS, Kind.FALSE_ALARM
HOLD, UNCLEAR = Kind.MAY_INTERRUPT, Kind.UNCLEAR
STARTED, FINISHED = Kind.USER_STARTED, Kind.USER_FINISHED


def held_for_a_short_sound(policy: TurnPolicy | None = None) -> TurnMachine:
    """A reply over which a short sound was made, and a moment of silence since."""
    machine = replying(policy)
    pause(machine, 1.0)
    speak(machine, 0.2)
    pause(machine, 0.1)
    assert machine.state is State.FALTERING
    return machine


@pytest.mark.pitfall(1)
def test_speech_over_a_reply_holds_it_within_a_tenth_of_a_second() -> None:
    machine = replying()
    pause(machine, 1.0)
    onset = machine.position
    held = only(speak(machine, 3.0), HOLD)
    assert seconds(held.at - onset) <= 0.1


@pytest.mark.pitfall(1)
def test_who_talks_on_over_a_reply_has_interrupted_it() -> None:
    machine = replying()
    pause(machine, 1.0)
    onset = machine.position
    interrupts = only(speak(machine, 3.0), INTERRUPTS)
    least = InterruptionPolicy().min_speech
    assert least <= seconds(interrupts.at - onset) < least + STEP_SECONDS
    assert machine.state is State.SPEAKING


def test_voice_counts_with_small_gaps_between() -> None:
    machine = replying()
    events: list[Event] = []
    for _ in range(7):
        events += speak(machine, 0.1) + pause(machine, 0.1)
    assert kinds(events).count(INTERRUPTS) == 1


def test_an_interruption_is_announced_before_the_turn_that_it_begins() -> None:
    assert kinds(speak(replying(), 3.0)) == [HOLD, UNCLEAR, INTERRUPTS, STARTED]


def test_a_click_over_a_reply_is_no_event() -> None:
    machine = replying()
    assert speak(machine, 0.03) + pause(machine, 1.0) == []
    assert machine.state is State.REPLYING


def test_clicks_that_are_far_apart_do_not_add_up() -> None:
    machine = replying()
    events: list[Event] = []
    for _ in range(5):
        events += speak(machine, 0.06) + pause(machine, 0.5)
    assert events == []


def test_what_interrupts_is_the_next_utterance_from_its_first_sound() -> None:
    machine = replying()
    pause(machine, 1.0)
    onset = machine.position
    events = speak(machine, 1.0) + pause(machine, 1.0)
    assert only(events, FINISHED).start == onset


def test_a_short_sound_over_a_reply_is_a_false_alarm_and_the_reply_goes_on() -> None:
    machine = replying()
    events = speak(machine, 0.3) + pause(machine, 1.0)
    assert kinds(events) == [HOLD, UNCLEAR, FALSE_ALARM]
    assert machine.state is State.REPLYING


def test_a_false_alarm_holds_a_reply_for_no_longer_than_its_silence() -> None:
    machine = replying()
    speak(machine, 0.3)
    spoken = machine.position
    resumed = only(pause(machine, 1.0), FALSE_ALARM)
    assert 0.35 <= seconds(resumed.at - spoken) < 0.35 + STEP_SECONDS


def test_a_false_alarm_is_no_part_of_the_next_utterance() -> None:
    machine = replying()
    speak(machine, 0.3)
    pause(machine, 1.0)
    machine.told(Told.REPLY_ENDED)
    onset = machine.position
    events = speak(machine, 0.5) + pause(machine, 1.0)
    assert only(events, FINISHED).start == onset


def test_a_second_false_alarm_is_as_long_as_the_first() -> None:
    machine = replying()
    once = kinds(speak(machine, 0.3) + pause(machine, 1.0))
    assert kinds(speak(machine, 0.3) + pause(machine, 1.0)) == once


def test_who_goes_on_after_faltering_is_not_a_second_onset() -> None:
    machine = held_for_a_short_sound()
    assert speak(machine, 0.1) == []
    assert machine.state is State.INTERRUPTING


def test_each_time_that_the_voice_stops_is_a_new_question() -> None:
    machine = replying()
    first = only(speak(machine, 0.2) + pause(machine, 0.1), UNCLEAR)
    second = only(speak(machine, 0.1) + pause(machine, 0.1), UNCLEAR)
    assert first.at < second.at
    assert first.start == second.start


def test_a_word_that_is_meant_ends_the_reply_at_once() -> None:
    machine = held_for_a_short_sound()
    assert kinds(machine.told(Told.MEANT)) == [INTERRUPTS, STARTED]


def test_a_word_that_was_meant_is_the_next_utterance() -> None:
    machine = replying()
    pause(machine, 1.0)
    onset = machine.position
    speak(machine, 0.2)
    spoken = machine.position
    pause(machine, 0.1)
    machine.told(Told.MEANT)
    finished = only(pause(machine, 1.0), FINISHED)
    assert (finished.start, finished.voice_end) == (onset, spoken)


def test_a_word_that_is_not_meant_lets_the_reply_go_on_at_once() -> None:
    machine = held_for_a_short_sound()
    assert kinds(machine.told(Told.NOT_MEANT)) == [FALSE_ALARM]
    assert machine.state is State.REPLYING


@pytest.mark.parametrize("late", [Told.MEANT, Told.NOT_MEANT])
def test_words_that_are_read_too_late_change_nothing(late: Told) -> None:
    machine = held_for_a_short_sound()
    pause(machine, 1.0)
    assert machine.told(late) == []
    assert machine.state is State.REPLYING


def test_a_word_that_is_meant_ends_the_reply_though_the_caller_talks_on() -> None:
    machine = replying()
    speak(machine, 0.2)
    assert kinds(machine.told(Told.MEANT)) == [INTERRUPTS, STARTED]


def test_words_that_are_not_meant_say_nothing_while_the_caller_talks_on() -> None:
    machine = replying()
    speak(machine, 0.2)
    assert machine.told(Told.NOT_MEANT) == []
    assert machine.state is State.INTERRUPTING


def test_words_are_read_as_soon_as_there_is_enough_voice_for_it() -> None:
    machine = replying()
    question = only(speak(machine, 0.7), UNCLEAR)
    least = InterruptionPolicy().readable
    assert least <= seconds(question.at - question.start) < least + STEP_SECONDS


def test_voice_that_is_readable_after_a_gap_is_read() -> None:
    machine = replying()
    speak(machine, InterruptionPolicy().readable - STEP_SECONDS)
    assert kinds(hear(machine, SILENCE)) == [UNCLEAR]
    assert UNCLEAR in kinds(hear(machine, VOICE, SILENCE))


@pytest.mark.parametrize("silence", [0.0, 0.1])
def test_speech_in_progress_when_a_held_reply_ends_is_a_turn(silence: float) -> None:
    machine = replying()
    onset = machine.position
    speak(machine, 0.2)
    if silence:
        pause(machine, silence)
    machine.told(Told.REPLY_ENDED)
    assert STARTED in kinds(speak(machine, 0.1))
    assert only(pause(machine, 1.0), FINISHED).start == onset


def test_a_turn_that_is_forced_while_a_reply_is_held_takes_what_was_said() -> None:
    machine = held_for_a_short_sound()
    events = machine.told(Told.FORCED)
    assert kinds(events) == [INTERRUPTS, STARTED, FINISHED]
    assert events[-1].start < events[-1].voice_end < events[-1].end == machine.position
    assert machine.state is State.REPLYING


def test_a_policy_may_let_the_onset_itself_interrupt() -> None:
    at_once = InterruptionPolicy(onset=0.09, min_speech=0.09)
    machine = replying(TurnPolicy(interruption=at_once))
    assert kinds(speak(machine, 0.1)) == [INTERRUPTS, STARTED]


def test_a_voice_that_falls_away_over_a_reply_is_voice() -> None:
    machine = replying()
    hear(machine, 0.995, 0.995, 0.8)
    assert machine.state in HELD


@pytest.mark.parametrize(
    "wrong", [{"onset": 0.0}, {"resume_after": 11.0}, {"onset": 0.5, "min_speech": 0.4}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        InterruptionPolicy(**wrong)  # type: ignore[arg-type]
