"""The room: a loudspeaker 0.06 to 0.4 s away plays our reply into the caller's microphone."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc.audio import echo
from fastrtc.audio.echo import FLOOR, SETTLED, STEP_SECONDS, EchoGuard, level_dbfs
from fastrtc.audio.resample import StreamResampler
from fastrtc.models.vad.silero import Silero
from fastrtc.testing import load_speech
from tests.conftest import human_speech, tone

Wave = NDArray[np.float64]

RATE = 16_000
STEP = 512
OURS = -20.0
"""dBFS at which we speak."""
PAUSE = 1.5
"""Seconds before each reply."""
REPLY = 5.0


def read(name: str, at: float, seconds: float, level: float) -> Wave:
    """Human speech at a level in dBFS, from its first sound after a place on."""
    found, pcm = load_speech(human_speech(name))
    pcm = StreamResampler(found, RATE).process(pcm)
    wave = pcm[0, round(at * RATE) :].astype(np.float64) / 32768
    loud = np.abs(wave) > 0.1 * np.abs(wave).max()
    wave = wave[int(loud.argmax()) :][: round(seconds * RATE)]
    return wave * 10 ** ((level - active(wave)) / 20)


def active(wave: Wave) -> float:
    """dBFS, pauses not counted."""
    levels = track(wave)
    powers = 10 ** (levels[levels > levels.max() - 30] / 10)
    return 10 * math.log10(float(powers.mean()))


def track(wave: Wave) -> Wave:
    pcm = (np.clip(wave, -1, 1) * 32767).astype(np.int16)
    steps = range(0, len(pcm) - STEP + 1, STEP)
    return np.array([level_dbfs(pcm[None, s : s + STEP]) for s in steps])


def said(count: int = 2) -> Wave:
    """A call's worth of replies, each after a pause."""
    parts: list[Wave] = []
    for index in range(count):
        reply = read("two_cities.wav", 2 + 9.0 * index, REPLY, OURS)
        parts += [np.zeros(round(PAUSE * RATE)), reply]
    return np.concatenate([*parts, np.zeros(RATE)])


def echo_of(wave: Wave, delay: float, coupling: float) -> Wave:
    """As a small loudspeaker in a room of 0.3 s sends it back."""
    random = np.random.default_rng(round(delay * 1000) - round(coupling))
    length = round(0.3 * RATE)
    response = random.normal(size=length) * 10 ** (-3 * np.arange(length) / length)
    response[0] = 4.0
    size = 1 << math.ceil(math.log2(len(wave) + length + RATE))
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    small = 1 / (1 + (250 / np.maximum(hertz, 1)) ** 4)
    spectrum = np.fft.rfft(wave, size) * np.fft.rfft(response, size) * small
    late = np.zeros(round(delay * RATE))
    echo = np.concatenate([late, np.fft.irfft(spectrum, size)])[: len(wave)]
    echo /= np.abs(echo).max()
    return echo * 10 ** ((active(wave) + coupling - active(echo)) / 20)


def microphone(*sounds: Wave, noise: float = -68.0) -> Wave:
    random = np.random.default_rng(1)
    return sum(sounds, random.normal(size=len(sounds[0])) * 10 ** (noise / 20))


def at(seconds: float, wave: Wave, length: int) -> Wave:
    out = np.zeros(length)
    start = round(seconds * RATE)
    out[start : start + len(wave)] = wave[: length - start]
    return out


def steps(seconds: float) -> int:
    return round(seconds / STEP_SECONDS)


def guarded(heard: Wave, playing: Wave, guard: EchoGuard | None = None) -> list[bool]:
    guard = guard or EchoGuard()
    pairs = zip(track(heard).tolist(), track(playing).tolist(), strict=True)
    return [guard.step(theirs, ours) for theirs, ours in pairs]


def suspected(heard: Wave, explained: list[bool]) -> list[int]:
    """Steps at which 0.1 s of voice is not explained: a reply would be held."""
    found: list[int] = []
    voice, quiet = 0, 0
    for index, probability in enumerate(Silero().probabilities(heard.astype(np.float32))):
        if probability >= 0.5 and index < len(explained) and not explained[index]:
            voice, quiet = voice + 1, 0
            found += [index] if voice == 3 else []
        else:
            quiet += 1
            voice = 0 if quiet >= 10 else voice
    return found


def knowing(delay: float = 0.2, coupling: float = -10.0) -> EchoGuard:
    """A guard that has heard one reply come back."""
    guard, ours = EchoGuard(), said(1)
    guarded(microphone(echo_of(ours, delay, coupling)), ours, guard)
    assert guard.coupling is not None
    return guard


every_delay = pytest.mark.parametrize("delay", [0.06, 0.15, 0.26, 0.4])
every_coupling = pytest.mark.parametrize("coupling", [0.0, -10.0, -20.0, -30.0])

# The level


def test_digital_silence_and_no_sound_at_all_are_at_the_floor() -> None:
    assert level_dbfs(np.zeros((1, 320), np.int16)) == FLOOR
    assert level_dbfs(np.zeros((1, 0), np.int16)) == FLOOR


def test_a_sine_of_full_scale_is_at_minus_3_dbfs() -> None:
    _, pcm = tone(1.0, amplitude=32767.0)
    assert level_dbfs(pcm) == pytest.approx(-3.01, abs=0.02)


def test_the_level_of_the_loudest_samples_does_not_overflow() -> None:
    assert level_dbfs(np.full((2, 320), -32768, np.int16)) == pytest.approx(0.0, abs=1e-6)


# A caller with a loudspeaker


@every_delay
@every_coupling
def test_our_echo_is_taken_for_a_caller_at_most_once_in_a_call(
    delay: float, coupling: float
) -> None:
    ours = said()
    heard = microphone(echo_of(ours, delay, coupling))
    assert len(suspected(heard, guarded(heard, ours))) <= 1


def test_without_the_guard_the_echo_would_hold_the_reply_again_and_again() -> None:
    ours = said()
    heard = microphone(echo_of(ours, 0.2, -10.0))
    assert len(suspected(heard, [False] * len(track(ours)))) >= 4


@every_delay
@every_coupling
def test_the_echo_of_a_second_reply_is_known_from_its_start(delay: float, coupling: float) -> None:
    ours = said()
    heard = microphone(echo_of(ours, delay, coupling))
    second = steps(2 * PAUSE + REPLY)
    assert not [step for step in suspected(heard, guarded(heard, ours)) if step >= second]


@every_delay
def test_the_delay_and_the_coupling_are_learned(delay: float) -> None:
    guard, ours = EchoGuard(), said(1)
    guarded(microphone(echo_of(ours, delay, -12.0)), ours, guard)
    assert guard.coupling == pytest.approx(-12.0, abs=4.0)
    assert guard.delay == pytest.approx(delay, abs=0.05)


def test_a_greeting_held_at_its_echo_is_known_when_it_goes_on() -> None:
    """The owner holds the reply at the first suspicion, and goes on 0.8 s later."""
    guard, whole = EchoGuard(), said(1)
    heard = microphone(echo_of(whole, 0.2, -10.0))
    first = suspected(heard, guarded(heard, whole))[0] * STEP
    ours = np.concatenate([whole[:first], np.zeros(round(0.8 * RATE)), whole[first:]])
    heard = microphone(echo_of(ours, 0.2, -10.0))
    assert len(suspected(heard, guarded(heard, ours, guard))) <= 2


def test_what_was_learned_lasts_through_a_minute_of_the_callers_talk() -> None:
    guard = knowing()
    for _ in range(steps(60)):
        assert not guard.step(-25.0, FLOOR)
    assert guard.coupling is not None


def test_a_louder_loudspeaker_is_learned_while_we_speak() -> None:
    guard, ours = knowing(0.2, -20.0), said(1)
    heard = microphone(echo_of(ours, 0.2, -6.0))
    late = [s for s in suspected(heard, guarded(heard, ours, guard)) if s > steps(PAUSE + 2)]
    assert not late
    assert guard.coupling == pytest.approx(-6.0, abs=4.0)


def test_an_echo_that_dies_away_after_our_last_word_is_still_ours() -> None:
    guard = knowing(0.3)
    ours = said(1)[: round((PAUSE + 2) * RATE)]
    ours = np.concatenate([ours, np.zeros(RATE)])
    heard = microphone(echo_of(ours, 0.3, -10.0))
    explained = guarded(heard, ours, guard)
    assert all(explained[steps(PAUSE + 2) + 1 : steps(PAUSE + 2.25)])


# A caller who talks over their echo


@pytest.mark.parametrize("over", [6.0, 10.0, 20.0])
@every_delay
def test_a_caller_louder_than_the_echo_gets_through_within_130_ms(
    over: float, delay: float
) -> None:
    guard, ours = knowing(delay), said(1)
    theirs = at(PAUSE + 2, read("endgame_nagg_nell.wav", 2, 2, OURS - 10 + over), len(ours))
    heard = microphone(echo_of(ours, delay, -10.0), theirs)
    start = steps(PAUSE + 2)
    assert not all(guarded(heard, ours, guard)[start : start + 4])


def test_a_caller_10_db_over_the_echo_ends_the_reply() -> None:
    guard, ours = knowing(), said(1)
    theirs = at(PAUSE + 2, read("endgame_nagg_nell.wav", 2, 2, OURS), len(ours))
    heard = microphone(echo_of(ours, 0.2, -10.0), theirs)
    found = suspected(heard, guarded(heard, ours, guard))
    assert found
    assert steps(PAUSE + 2) <= found[0] <= steps(PAUSE + 2.3)


def test_a_caller_who_answers_right_after_our_reply_is_not_its_echo() -> None:
    guard = knowing(0.1)
    ours = np.concatenate([said(1)[: round((PAUSE + 2) * RATE)], np.zeros(3 * RATE)])
    theirs = at(PAUSE + 2.4, read("endgame_nagg_nell.wav", 2, 2, OURS - 10), len(ours))
    heard = microphone(echo_of(ours, 0.1, -10.0), theirs)
    assert not any(guarded(heard, ours, guard)[steps(PAUSE + 2.5) :])


# A caller with a headset


@pytest.mark.parametrize("level", [-50.0, -40.0, -30.0, -20.0, -12.0])
@pytest.mark.parametrize("after", [0.5, 1.0, 3.0])
def test_a_headset_caller_gets_through_at_any_level(level: float, after: float) -> None:
    ours = said()
    theirs = read("beckett.wav", 0, 1.5, level)
    both = [at(PAUSE + after, theirs, len(ours))]
    both.append(at(2 * PAUSE + REPLY + after, theirs, len(ours)))
    assert not any(guarded(microphone(*both), ours))


@pytest.mark.parametrize("after", [0.0, 0.1, 0.2, 0.3, 0.4])
def test_a_headset_caller_who_begins_together_with_us_gets_through(after: float) -> None:
    ours = said(1)
    heard = microphone(at(PAUSE + after, read("beckett.wav", 0, 2, -25.0), len(ours)))
    alone = suspected(heard, [False] * len(track(ours)))
    assert suspected(heard, guarded(heard, ours))[0] == alone[0]


@given(st.lists(st.floats(-100, -60), min_size=40, max_size=200), st.floats(-50, 0))
@settings(deadline=None, max_examples=50)
def test_a_silent_microphone_is_no_evidence_of_an_echo(heard: list[float], ours: float) -> None:
    guard = EchoGuard()
    assert not any(guard.step(level, ours) for level in heard)


def test_who_puts_on_a_headset_gets_through_in_the_next_reply() -> None:
    guard, ours = knowing(0.2, 0.0), said(1)
    heard = microphone(at(PAUSE + 1, read("beckett.wav", 0, 2, -30.0), len(ours)))
    explained = guarded(heard, ours, guard)
    assert guard.coupling is None
    assert not any(explained[steps(PAUSE + 1) :])


# Always


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=200))
@settings(deadline=None, max_examples=100)
def test_no_level_makes_a_step_raise(levels: list[tuple[float, float]]) -> None:
    guard = EchoGuard()
    for heard, playing in levels:
        assert isinstance(guard.step(heard, playing), bool)
    assert guard.coupling is None or math.isfinite(guard.coupling)


@given(st.lists(st.floats(-100, 0), min_size=1, max_size=100), st.floats(-100, 0))
@settings(deadline=None, max_examples=50)
def test_nothing_is_an_echo_when_we_have_been_silent_for_a_second(
    heard: list[float], before: float
) -> None:
    guard = knowing_once()
    for _ in range(10):
        guard.step(before, before)
    for _ in range(steps(1.0)):
        guard.step(before, FLOOR)
    assert not any(guard.step(level, FLOOR) for level in heard)


def knowing_once() -> EchoGuard:
    """A guard that knows an echo, quickly made."""
    guard, random = EchoGuard(), np.random.default_rng(3)
    ours = random.uniform(-40, -10, 120).tolist()
    for now, then in zip(ours, [FLOOR] * 5 + ours[:-5], strict=True):
        guard.step(then - 6, now)
    assert guard.coupling is not None
    return guard


def test_a_step_takes_under_a_tenth_of_a_millisecond() -> None:
    """It takes 25 microseconds; a busy machine is given four times that."""
    guard, levels = EchoGuard(), np.random.default_rng(4).uniform(-40, -10, 500).tolist()
    best = math.inf
    for _ in range(5):
        start = time.perf_counter()
        for level in levels:
            guard.step(level - 10, level)
        best = min(best, (time.perf_counter() - start) / len(levels))
    assert best < 100e-6


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(SETTLED, 3 * SETTLED))
def test_a_guard_that_rests_between_replies_judges_as_one_that_does_not(
    seed: int, pause: int
) -> None:
    random = np.random.default_rng(seed)
    rested, awake = EchoGuard(), EchoGuard()
    ours = np.concatenate([np.append(random.uniform(-30, -10, 60), [-100.0] * pause)] * 3)
    theirs = np.maximum(np.roll(ours, 3) - 12, random.uniform(-75, -65, len(ours)))
    found = [rested.step(heard, playing) for heard, playing in zip(theirs, ours, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(echo, "SETTLED", 10**9)
        expected = [awake.step(heard, playing) for heard, playing in zip(theirs, ours, strict=True)]
    assert found == expected
    assert any(found)
