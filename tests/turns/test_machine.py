"""The turn machine: driven by probabilities, one step of 32 ms after the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.turns.diagram import draw
from fastrtc.turns.machine import TABLE, Event, Kind, State, Told, TurnMachine
from fastrtc.turns.options import STEP_SAMPLES, VAD_RATE, AlgoOptions, TurnPolicy
from fastrtc.turns.speech import Signal, steps

STARTED, FINISHED = Kind.USER_STARTED, Kind.USER_FINISHED
INTERRUPTS = Kind.USER_INTERRUPTS


def run(machine: TurnMachine, seconds: float, probability: float) -> list[Event]:
    """Let the machine hear the same probability for some time."""
    return [e for _ in range(steps(seconds)) for e in machine.hear(probability)]


def speak(machine: TurnMachine, seconds: float) -> list[Event]:
    return run(machine, seconds, 0.95)


def pause(machine: TurnMachine, seconds: float) -> list[Event]:
    return run(machine, seconds, 0.02)


def kinds(events: list[Event]) -> list[Kind]:
    return [event.kind for event in events]


def seconds(samples: int) -> float:
    return samples / VAD_RATE


def replying(policy: TurnPolicy | None = None) -> TurnMachine:
    machine = TurnMachine(policy)
    machine.told(Told.REPLY_BEGAN)
    return machine


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
    (finished,) = [e for e in pause(machine, 1.0) if e.kind is FINISHED]
    assert 0.25 < seconds(finished.at - spoken) < 0.35


def test_silence_of_less_than_the_pause_does_not_end_a_turn() -> None:
    machine = TurnMachine()
    events = speak(machine, 1.0) + pause(machine, 0.25) + speak(machine, 1.0)
    assert FINISHED not in kinds(events)
    assert machine.state is State.SPEAKING


def test_a_click_is_no_turn() -> None:
    machine = TurnMachine()
    events = speak(machine, 0.03) + pause(machine, 1.0)
    assert kinds(events) == [Kind.FALSE_ALARM]
    assert machine.state is State.LISTENING


@pytest.mark.pitfall(1)
def test_speech_over_a_reply_interrupts_it_within_a_tenth_of_a_second() -> None:
    machine = replying()
    pause(machine, 1.0)
    onset = machine.position
    (event,) = [e for e in speak(machine, 3.0) if e.kind is INTERRUPTS]
    assert seconds(event.at - onset) <= 0.1


def test_a_click_over_a_reply_does_not_interrupt_it() -> None:
    machine = replying()
    assert INTERRUPTS not in kinds(speak(machine, 0.03) + pause(machine, 1.0))
    assert machine.state is State.REPLYING


def test_what_interrupts_is_the_next_utterance_from_its_first_sound() -> None:
    machine = replying()
    pause(machine, 1.0)
    onset = machine.position
    events = speak(machine, 1.0) + pause(machine, 1.0)
    assert next(e for e in events if e.kind is FINISHED).start == onset


def test_an_utterance_reaches_from_its_first_voice_to_the_end_of_its_pause() -> None:
    machine = TurnMachine()
    pause(machine, 2.0)
    onset = machine.position
    events = speak(machine, 1.0) + pause(machine, 1.0)
    finished = next(e for e in events if e.kind is FINISHED)
    assert finished.start == onset
    assert finished.end == finished.at


@pytest.mark.pitfall(6)
def test_a_protected_reply_is_not_interrupted() -> None:
    machine = replying(TurnPolicy(can_interrupt=False))
    assert INTERRUPTS not in kinds(speak(machine, 2.0) + pause(machine, 1.0))
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
    events = speak(machine, 0.5) + pause(machine, 1.0)
    assert next(e for e in events if e.kind is FINISHED).start == onset


def test_a_reply_that_has_been_heard_leaves_the_machine_listening() -> None:
    machine = replying()
    machine.told(Told.REPLY_ENDED)
    assert machine.state is State.LISTENING


def test_a_forced_turn_ends_at_once() -> None:
    machine = TurnMachine()
    speak(machine, 1.0)
    assert kinds(machine.told(Told.FORCED)) == [FINISHED]


def test_a_turn_that_never_pauses_ends_at_its_limit_and_is_not_its_own_interruption() -> None:
    machine = TurnMachine(TurnPolicy(max_speech=2.0))
    events = speak(machine, 3.0)
    assert kinds(events).count(FINISHED) == 1
    assert INTERRUPTS not in kinds(events)
    finished = next(e for e in events if e.kind is FINISHED)
    assert 1.9 < seconds(finished.end - finished.start) < 2.1


@pytest.mark.pitfall(9)
def test_an_utterance_without_end_is_bounded_by_default() -> None:
    machine = TurnMachine()
    events = speak(machine, 301.0)
    assert FINISHED in kinds(events)


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


def test_options_of_the_user_end_a_turn_by_their_window() -> None:
    machine = TurnMachine(TurnPolicy(window=AlgoOptions(0.6, 0.2, 0.1)))
    speak(machine, 1.0)
    spoken = machine.position
    (finished,) = [e for e in pause(machine, 1.0) if e.kind is FINISHED]
    # Fewer than 0.1 s of speech in the last 0.6 s: after about half a second of silence.
    assert 0.45 < seconds(finished.at - spoken) < 0.6


def test_options_of_the_user_start_a_turn_by_their_window() -> None:
    options = AlgoOptions(0.6, started_talking_threshold=0.4, speech_threshold=0.1)
    machine = TurnMachine(TurnPolicy(window=options))
    onset = machine.position
    (started,) = [e for e in speak(machine, 1.0) if e.kind is STARTED]
    assert 0.4 < seconds(started.at - onset) < 0.48


@pytest.mark.pitfall(3)
def test_one_window_of_speech_counts_as_one_window_and_not_as_a_whole_chunk() -> None:
    machine = TurnMachine(TurnPolicy(window=AlgoOptions(0.6, 0.2, 0.1)))
    assert STARTED not in kinds(speak(machine, 0.06) + pause(machine, 1.0))


def test_the_picture_in_the_documentation_is_that_of_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "turns.md"
    assert draw(TABLE) in page.read_text()


def test_every_state_can_be_left() -> None:
    for state in State:
        assert any(at is state and to is not state for (at, _), (to, _) in TABLE.items()), state


def test_every_signal_is_known_to_the_table() -> None:
    assert {given for _, given in TABLE} >= {*Signal, *Told}


PROBABILITIES = st.lists(
    st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.99])), min_size=1, max_size=300
)
TELLS = st.dictionaries(st.integers(0, 300), st.sampled_from([Told.REPLY_ENDED, Told.FORCED]))


@given(PROBABILITIES, TELLS, st.booleans())
@settings(deadline=None, max_examples=200)
def test_the_laws_hold_whatever_is_heard(
    probabilities: list[float], tells: dict[int, Told], can_interrupt: bool
) -> None:
    machine = TurnMachine(TurnPolicy(can_interrupt=can_interrupt))
    events: list[Event] = []
    for index, probability in enumerate(probabilities):
        if index in tells:
            events += machine.told(tells[index])
        events += machine.hear(probability)
        assert machine.position == (index + 1) * STEP_SAMPLES
    ends = 0
    for event in events:
        assert 0 <= event.start <= event.at
        if event.kind is FINISHED:
            # Utterances follow one another, and no sound is in two of them.
            assert event.start >= ends
            ends = event.end
        if event.kind is INTERRUPTS:
            assert can_interrupt or event.at in {
                (index * STEP_SAMPLES) for index, told in tells.items() if told is Told.FORCED
            }
    # Nothing is answered that was not said, unless it was forced.
    if Told.FORCED not in tells.values():
        assert kinds(events).count(FINISHED) <= kinds(events).count(STARTED)
