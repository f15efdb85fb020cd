"""The room: what we play comes back 10 dB quieter, later, and drawn out over 0.25 s."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.audio.canceller import LONGEST_WAIT, EchoCanceller
from fastrtc.audio.convert import Pcm
from fastrtc.audio.resample import StreamResampler
from fastrtc.models.vad.silero import Silero
from fastrtc.testing import load_speech
from tests.conftest import human_speech, level, tone

RATE = 16_000
SECONDS = 12.0
TALK = 7.0
"""When the caller begins to talk over us, for 3 s."""
TALKED = 10.0
RATES = [8_000, 16_000, 24_000, 32_000, 48_000]


def speech(name: str, at: float, seconds: float, rate: int) -> Pcm:
    found, pcm = load_speech(human_speech(name))
    converted = StreamResampler(found, rate).process(pcm)
    return converted[:, round(at * rate) : round((at + seconds) * rate)]


def ours(rate: int = RATE) -> Pcm:
    return speech("two_cities.wav", 0, SECONDS, rate)


def room(played: Pcm, delay: float, rate: int = RATE) -> Pcm:
    """What comes back of it, 10 dB quieter."""
    random, length = np.random.default_rng(2), round(0.25 * rate)
    response = random.normal(size=length) * 10 ** (-3 * np.arange(length) / length)
    response[0] = 4.0
    response *= 10 ** (-10 / 20) / np.sqrt(np.sum(response**2))
    size = 1 << math.ceil(math.log2(played.shape[1] + length))
    echo = np.fft.irfft(np.fft.rfft(played[0], size) * np.fft.rfft(response, size), size)
    late = np.concatenate([np.zeros(round(delay * rate)), echo])[: played.shape[1]]
    hiss = random.normal(0, 8, played.shape[1])
    return (late + hiss).clip(-32768, 32767).astype(np.int16)[None]


def theirs(rate: int = RATE) -> Pcm:
    out = np.zeros_like(ours(rate))
    talk = speech("beckett.wav", 0.3, TALKED - TALK, rate)
    start = round(TALK * rate)
    out[:, start : start + talk.shape[1]] = talk
    return out


def frames(pcm: Pcm, rate: int) -> Iterator[Pcm]:
    for start in range(0, pcm.shape[1], rate // 50):
        yield pcm[:, start : start + rate // 50]


def cancelled(heard: Pcm, playing: Pcm, rate: int = RATE) -> Pcm:
    """Both on the 20 ms clock."""
    canceller = EchoCanceller(rate)
    pairs = zip(frames(heard, rate), frames(playing, rate), strict=True)
    return np.concatenate([canceller.process(a, b) for a, b in pairs], axis=1)


def part(pcm: Pcm, start: float, end: float, rate: int = RATE) -> Pcm:
    return pcm[:, round(start * rate) : round(end * rate)]


def suppression(heard: Pcm, out: Pcm, start: float, end: float, rate: int = RATE) -> float:
    """dB by which a part is quieter than it came."""
    return level(part(heard, start, end, rate)) - level(part(out, start, end, rate))


def voiced(pcm: Pcm, start: float, end: float) -> float:
    """The share of steps that voice detection calls voice."""
    found = Silero().probabilities(pcm[0].astype(np.float32) / 32768)
    steps = found[round(start / 0.032) : round(end / 0.032)]
    return float(np.mean(steps > 0.5))


# The room


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("delay", [0.03, 0.1, 0.2])
def test_the_echo_is_over_15_db_quieter_after_a_second(rate: int, delay: float) -> None:
    heard = room(ours(rate), delay, rate)
    out = cancelled(heard, ours(rate), rate)
    assert suppression(heard, out, 1, 2, rate) > 15


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("delay", [0.03, 0.1, 0.2])
def test_the_echo_stays_away(rate: int, delay: float) -> None:
    """In the third second AEC3 may look for the delay once more, and let some through."""
    heard = room(ours(rate), delay, rate)
    out = cancelled(heard, ours(rate), rate)
    assert suppression(heard, out, 2, 4, rate) > 6
    assert suppression(heard, out, 4, SECONDS, rate) > 14


@pytest.mark.parametrize("delay", [0.03, 0.1, 0.2, 0.4])
def test_voice_detection_does_not_hear_the_echo_any_more(delay: float) -> None:
    heard = room(ours(), delay)
    assert voiced(heard, 1, 7) > 0.6
    assert voiced(cancelled(heard, ours()), 1, SECONDS) < 0.05


@pytest.mark.parametrize("delay", [0.03, 0.1, 0.2])
def test_voice_detection_hears_the_caller_who_talks_over_us(delay: float) -> None:
    alone = voiced(theirs(), TALK, TALKED)
    out = cancelled(room(ours(), delay) + theirs(), ours())
    assert voiced(out, TALK, TALKED) > 0.7 * alone


def test_a_caller_without_an_echo_loses_less_than_6_db_to_our_talk() -> None:
    out = cancelled(theirs(), ours())
    assert abs(suppression(theirs(), out, TALK, TALKED)) < 6


def test_a_caller_who_talks_while_we_are_silent_is_left_as_they_are() -> None:
    out = cancelled(theirs(), np.zeros_like(ours()))
    assert abs(suppression(theirs(), out, TALK, TALKED)) < 1


def test_a_voice_comes_out_within_12_ms_while_we_are_silent() -> None:
    heard = np.random.default_rng(5).normal(0, 3_000, (1, 2 * RATE)).astype(np.int16)
    out = cancelled(heard, np.zeros_like(heard))
    sent = heard[0, RATE:].astype(float)[: RATE // 2]
    found = [float(sent @ out[0, RATE + k :][: RATE // 2].astype(float)) for k in range(400)]
    assert int(np.argmax(found)) <= 0.012 * RATE


# Jitter


def test_two_frames_of_jitter_on_our_side_do_no_harm() -> None:
    heard, canceller = room(ours(), 0.1), EchoCanceller(RATE)
    random, held, parts = np.random.default_rng(6), [np.zeros((1, 0), np.int16)], []
    for near, far in zip(frames(heard, RATE), frames(ours(), RATE), strict=True):
        held.append(far)
        late = random.random() < 0.3 and len(held) < 3
        given_now = np.zeros((1, 0), np.int16) if late else np.concatenate(held, axis=1)
        held = held if late else [np.zeros((1, 0), np.int16)]
        parts.append(canceller.process(near, given_now))
    out = np.concatenate(parts, axis=1)
    assert suppression(heard, out, 3, SECONDS) > 10


def test_two_frames_of_jitter_on_the_callers_side_do_no_harm() -> None:
    heard, canceller = room(ours(), 0.1), EchoCanceller(RATE)
    random, held, parts = np.random.default_rng(6), [np.zeros((1, 0), np.int16)], []
    for near, far in zip(frames(heard, RATE), frames(ours(), RATE), strict=True):
        held.append(near)
        late = random.random() < 0.3 and len(held) < 3
        given_now = np.zeros((1, 0), np.int16) if late else np.concatenate(held, axis=1)
        held = held if late else [np.zeros((1, 0), np.int16)]
        parts.append(canceller.process(given_now, far))
    out = np.concatenate(parts, axis=1)
    assert suppression(heard, out, 3, SECONDS) > 15


def test_the_echo_is_found_again_after_the_callers_sound_was_lost() -> None:
    heard, canceller = room(ours(), 0.06), EchoCanceller(RATE)
    lost, parts = range(100, 120), []
    pairs = zip(frames(heard, RATE), frames(ours(), RATE), strict=True)
    for tick, (near, far) in enumerate(pairs):
        parts.append(canceller.process(near[:, :0] if tick in lost else near, far))
    out = np.concatenate(parts, axis=1)
    gap = len(lost) / 50
    left = level(part(heard, 6, SECONDS)) - level(part(out, 6 - gap, SECONDS - gap))
    assert left > 15


def test_what_we_play_does_not_pile_up_while_the_caller_sends_nothing() -> None:
    canceller, (_, pcm) = EchoCanceller(RATE), tone(10.0, RATE)
    nothing = np.zeros((1, 0), np.int16)
    for far in frames(pcm, RATE):
        canceller.process(nothing, far)
    assert canceller._playing.size <= LONGEST_WAIT * RATE


# Chunks


@given(
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 2_000)), min_size=1, max_size=30),
    st.sampled_from(RATES),
)
@settings(deadline=None, max_examples=40)
def test_chunks_of_any_sizes_come_out_whole_but_for_less_than_10_ms(
    sizes: list[tuple[int, int]], rate: int
) -> None:
    canceller = EchoCanceller(rate)
    came = gone = 0
    for heard, playing in sizes:
        out = canceller.process(np.ones((1, heard), np.int16), np.ones((1, playing), np.int16))
        assert out.dtype == np.int16
        assert out.shape[0] == 1
        came, gone = came + heard, gone + out.shape[1]
        assert 0 <= came - gone < rate // 100


def test_odd_chunks_give_what_frames_give() -> None:
    heard, playing = room(ours(), 0.1), ours()
    canceller, parts = EchoCanceller(RATE), []
    for start in range(0, heard.shape[1], 333):
        parts.append(
            canceller.process(heard[:, start : start + 333], playing[:, start : start + 333])
        )
    out = np.concatenate(parts, axis=1)
    assert np.array_equal(out, cancelled(heard, playing)[:, : out.shape[1]])


@pytest.mark.parametrize("rate", RATES)
def test_frames_of_20_ms_come_out_as_long_as_they_went_in(rate: int) -> None:
    frame = np.zeros((1, rate // 50), np.int16)
    canceller = EchoCanceller(rate)
    assert [canceller.process(frame, frame).shape for _ in range(5)] == [frame.shape] * 5


# What it needs


@pytest.mark.parametrize("rate", [0, -16_000, 4_000, 11_025, 22_050, 96_000])
def test_a_rate_without_whole_samples_in_10_ms_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match=f"got {rate}"):
        EchoCanceller(rate)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    with pytest.raises(ImportError, match=r'pip install "fastrtc\[aec\]"'):
        EchoCanceller(RATE)
