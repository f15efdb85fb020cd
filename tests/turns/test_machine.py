"""The turn machine: turns, protected replies, options of the user, and the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastrtc.turns.diagram import draw
from fastrtc.turns.machine import TABLE, Kind, State, Told, TurnMachine
from fastrtc.turns.options import VAD_RATE, AlgoOptions, TurnPolicy
from fastrtc.turns.speech import Signal
from tests.turns.calls import kinds, only, pause, replying, run, seconds, speak

STARTED, FINISHED = Kind.USER_STARTED, Kind.USER_FINISHED
INTERRUPTS = Kind.USER_INTERRUPTS


# Turns


def test_a_caller_who_talks_and_pauses_has_started_and_finished() -> None:
    machine = TurnMachine()
    events = pause(machine, 1.0) + speak(machine, 1.0) + pause(machine, 1.0)
    assert kinds(events) == [STARTED, Kind.USER_MAY_HAVE_FINISHED, FINISHED]
    assert machine.state is State.REPLYING


@pytest.mark.pitfall(2)
@pytest.mark.parametrize("offset", range(0, 30, 3))
def test_a_turn_ends_after_the_same_silence_wherever_it_falls(offset: int) -> None:
    machine = TurnMachine()
    for _ in range(offset):
        machine.hear(0.0)
    speak(machine, 1.0)
    spoken = machine.position
    finished = only(pause(machine, 1.0), FINISHED)
    assert 0.25 < seconds(finished.at - spoken) < 0.35


def test_silence_of_less_than_the_pause_does_not_end_a_turn() -> None:
    machine = TurnMachine()
    events = speak(machine, 1.0) + pause(machine, 0.25) + speak(machine, 1.0)
    assert FINISHED not in kinds(events)
    assert machine.state is State.SPEAKING


def test_who_goes_on_after_a_short_silence_is_said_to() -> None:
    machine = TurnMachine()
    events = speak(machine, 1.0) + pause(machine, 0.25) + speak(machine, 1.0)
    assert kinds(events) == [STARTED, Kind.USER_MAY_HAVE_FINISHED, Kind.USER_WENT_ON]


def test_a_click_is_no_event() -> None:
    machine = TurnMachine()
    assert speak(machine, 0.03) + pause(machine, 1.0) == []
    assert machine.state is State.LISTENING


def test_an_utterance_reaches_from_its_first_voice_to_the_end_of_its_pause() -> None:
    machine = TurnMachine()
    pause(machine, 2.0)
    onset = machine.position
    finished = only(speak(machine, 1.0) + pause(machine, 1.0), FINISHED)
    assert finished.start == onset
    assert finished.end == finished.at


def test_an_utterance_knows_where_its_last_voice_ended() -> None:
    machine = TurnMachine()
    speak(machine, 1.0)
    spoken = machine.position
    assert only(pause(machine, 1.0), FINISHED).voice_end == spoken


def test_a_reply_that_has_been_heard_leaves_the_machine_listening() -> None:
    machine = replying()
    machine.told(Told.REPLY_ENDED)
    assert machine.state is State.LISTENING


@pytest.mark.pitfall(8)
def test_steps_that_are_no_number_read_as_silence() -> None:
    machine = TurnMachine()
    speak(machine, 1.0)
    assert FINISHED in kinds(run(machine, 1.0, float("nan")))


def test_sound_before_a_turn_may_be_forgotten_and_sound_of_it_may_not() -> None:
    machine = TurnMachine()
    pause(machine, 1.0)
    assert machine.keep_from == machine.position
    onset = machine.position
    speak(machine, 1.0)
    assert machine.keep_from == onset


# Turns that end without a pause


def test_a_forced_turn_ends_at_once() -> None:
    machine = TurnMachine()
    speak(machine, 1.0)
    assert kinds(machine.told(Told.FORCED)) == [FINISHED]


def test_a_turn_may_be_forced_though_nothing_was_said() -> None:
    machine = TurnMachine()
    pause(machine, 1.0)
    (finished,) = machine.told(Told.FORCED)
    assert finished.kind is FINISHED
    assert finished.start == finished.end == finished.at


def test_a_turn_that_is_forced_during_a_reply_ends_the_reply() -> None:
    machine = replying()
    assert kinds(machine.told(Told.FORCED)) == [INTERRUPTS, FINISHED]


def test_a_turn_that_never_pauses_ends_at_its_limit_and_is_not_its_own_interruption() -> None:
    machine = TurnMachine(TurnPolicy(max_speech=2.0))
    events = speak(machine, 3.0)
    finished = only(events, FINISHED)
    assert INTERRUPTS not in kinds(events)
    assert 1.9 < seconds(finished.end - finished.start) < 2.1


@pytest.mark.pitfall(9)
def test_an_utterance_without_end_is_bounded_by_default() -> None:
    machine = TurnMachine()
    events = speak(machine, 301.0)
    assert FINISHED in kinds(events)


# Replies that are protected


@pytest.mark.pitfall(6)
def test_a_protected_reply_is_not_interrupted() -> None:
    machine = replying(TurnPolicy(can_interrupt=False))
    events = speak(machine, 2.0) + pause(machine, 1.0)
    assert not {INTERRUPTS, Kind.MAY_INTERRUPT} & {*kinds(events)}
    assert machine.state is State.WAITING


@pytest.mark.pitfall(5)
def test_what_is_said_over_a_protected_reply_is_answered_after_it() -> None:
    machine = replying(TurnPolicy(can_interrupt=False))
    onset = machine.position
    speak(machine, 1.0)
    said = machine.position
    pause(machine, 2.0)
    (finished,) = machine.told(Told.REPLY_ENDED)
    assert finished.kind is FINISHED
    assert finished.start == onset
    assert said <= finished.end <= said + VAD_RATE // 2


@pytest.mark.pitfall(5)
def test_speech_in_progress_when_a_protected_reply_ends_is_kept_whole() -> None:
    machine = replying(TurnPolicy(can_interrupt=False))
    onset = machine.position
    speak(machine, 1.0)
    machine.told(Told.REPLY_ENDED)
    assert machine.state is State.SPEAKING
    finished = only(speak(machine, 0.5) + pause(machine, 1.0), FINISHED)
    assert finished.start == onset


def test_two_utterances_over_a_protected_reply_are_answered_as_one() -> None:
    machine = replying(TurnPolicy(can_interrupt=False))
    onset = machine.position
    speak(machine, 0.5)
    pause(machine, 1.0)
    speak(machine, 0.5)
    said = machine.position
    pause(machine, 1.0)
    (finished,) = machine.told(Told.REPLY_ENDED)
    assert (finished.start, finished.voice_end) == (onset, said)


def test_who_talks_again_while_waiting_is_heard_out_when_the_reply_ends() -> None:
    machine = replying(TurnPolicy(can_interrupt=False))
    onset = machine.position
    speak(machine, 0.5)
    pause(machine, 1.0)
    speak(machine, 0.5)
    assert machine.told(Told.REPLY_ENDED) == []
    assert only(speak(machine, 0.5) + pause(machine, 1.0), FINISHED).start == onset


def test_a_click_while_an_answer_is_waited_for_is_no_part_of_the_utterance() -> None:
    machine = replying(TurnPolicy(can_interrupt=False))
    speak(machine, 1.0)
    said = machine.position
    pause(machine, 1.0)
    speak(machine, 0.03)
    (finished,) = machine.told(Told.REPLY_ENDED)
    assert finished.voice_end == said


def test_a_turn_that_is_forced_at_once_after_one_that_waited_ends_where_it_begins() -> None:
    machine = replying(TurnPolicy(can_interrupt=False))
    speak(machine, 1.0)
    pause(machine, 1.0)
    machine.told(Told.REPLY_ENDED)
    machine.told(Told.REPLY_ENDED)
    (finished,) = machine.told(Told.FORCED)
    assert finished.start == finished.end == finished.at


# Options of the user


def test_options_of_the_user_end_a_turn_by_their_window() -> None:
    machine = TurnMachine(TurnPolicy(window=AlgoOptions(0.6, 0.2, 0.1)))
    speak(machine, 1.0)
    spoken = machine.position
    finished = only(pause(machine, 1.0), FINISHED)
    # Fewer than 0.1 s of speech in the last 0.6 s: after about half a second of silence.
    assert 0.45 < seconds(finished.at - spoken) < 0.6


def test_options_of_the_user_start_a_turn_by_their_window() -> None:
    options = AlgoOptions(0.6, started_talking_threshold=0.4, speech_threshold=0.1)
    machine = TurnMachine(TurnPolicy(window=options))
    onset = machine.position
    started = only(speak(machine, 1.0), STARTED)
    assert 0.4 < seconds(started.at - onset) < 0.48


@pytest.mark.pitfall(3)
def test_one_window_of_speech_counts_as_one_window_and_not_as_a_whole_chunk() -> None:
    machine = TurnMachine(TurnPolicy(window=AlgoOptions(0.6, 0.2, 0.1)))
    assert STARTED not in kinds(speak(machine, 0.06) + pause(machine, 1.0))


def test_a_turn_ends_where_a_pause_is_no_speech_at_all() -> None:
    machine = TurnMachine(TurnPolicy(window=AlgoOptions(0.6, 0.2, speech_threshold=0.0)))
    assert FINISHED in kinds(speak(machine, 1.0) + pause(machine, 5.0))


# The table


def test_the_picture_in_the_documentation_is_that_of_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "turns.md"
    assert draw(TABLE) in page.read_text()


def test_every_state_can_be_left() -> None:
    for state in State:
        assert any(at is state and to is not state for (at, _), (to, _) in TABLE.items()), state


def test_every_state_can_be_reached() -> None:
    assert {to for to, _ in TABLE.values()} == {*State}


def test_every_input_is_known_to_the_table() -> None:
    assert {given for _, given in TABLE} == {*Signal, *Told}


def test_every_event_is_in_the_table() -> None:
    assert {kind for _, kinds in TABLE.values() for kind in kinds} == {*Kind}
