"""What is made of packets that came back: the packets are real, the network is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.bench.callers import Recording, Window, said
from fastrtc.bench.figures import PACKET, Doubt, Step, carried, doubt
from fastrtc.bench.measure import judge, waits
from fastrtc.bench.server import Usage
from fastrtc.bench.sounds import echo_clip, speech_clip
from fastrtc.models.vad.silero import CONTEXT, WINDOW, shared_net
from fastrtc.transports.opus import OpusDecoder
from tests.bench.loads import paced

ECHO = echo_clip()
BEFORE = Usage(0.0, 1.0, 150_000_000, 100.0)
AFTER = Usage(10.0, 3.0, 160_000_000, 105.0)


def echoed(delay: float, rounds: int = 4) -> Recording:
    """A caller who hears the clip again after so long."""
    packets = list(ECHO.packets) * rounds
    spoken = paced(len(packets))
    end = float(spoken[-1]) - ECHO.longest
    return Recording(spoken + delay, spoken, packets, said(0.0, ECHO, 0.0, end))


def judged(*recordings: Recording, late: Sequence[float] = (0.001,)) -> Step:
    window = Window(1.0, 5.0, list(recordings), np.array(late))
    return judge(window, ECHO, "echo", BEFORE, BEFORE, AFTER)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.02, 0.9))
def test_an_echo_is_as_long_under_way_as_it_took(delay: float) -> None:
    found = waits([echoed(delay)], ECHO)
    assert found.missing == 0
    assert found.median == pytest.approx(delay, abs=PACKET)


def test_an_echo_that_does_not_come_is_missing() -> None:
    silent = Recording(np.zeros(0), np.zeros(0), [], [(0.2, 0.6), (1.7, 2.1)])
    found = waits([silent], ECHO)
    assert (found.count, found.missing) == (0, 2)


def test_what_came_is_counted_against_a_whole_echo() -> None:
    half = echoed(0.05)
    half = Recording(half.arrived[::2], half.media[::2], half.payloads[::2], half.said)
    assert judged(echoed(0.05)).back == pytest.approx(1.0, abs=0.02)
    assert judged(half).back == pytest.approx(0.5, abs=0.02)
    assert not carried(judged(half), [judged(echoed(0.05))])


def test_cpu_is_over_the_time_and_memory_over_the_further_calls() -> None:
    step = judged(*[echoed(0.05)] * 5)
    assert step.cpu == pytest.approx(0.2)
    assert step.cpu_per_call == pytest.approx(0.04)
    assert step.memory == pytest.approx(2_500_000)
    assert judged(echoed(0.05)).memory is None


def test_what_others_had_of_the_core_is_what_the_server_had_not() -> None:
    assert judged(echoed(0.05)).others == pytest.approx(0.3)


def test_callers_that_are_late_themselves_are_known() -> None:
    on_time, late = judged(echoed(0.05)), judged(echoed(0.05), late=[0.0, 0.05])
    assert doubt(on_time, [on_time]) is None
    assert doubt(late, [late]) is Doubt.CALLERS


def test_packets_that_no_decoder_takes_are_not_heard() -> None:
    damaged = Recording(paced(9), paced(9), [b"\xff"] * 9, [(0.0, 0.1)])
    assert waits([damaged], ECHO).missing == 1


@given(st.floats(-5, 5), st.lists(st.floats(0, 40), min_size=3, max_size=3))
def test_each_thing_that_is_said_is_in_one_of_two_windows(
    started: float, times: list[float]
) -> None:
    first, middle, last = sorted(times)
    parts = said(started, ECHO, first, middle) + said(started, ECHO, middle, last)
    whole = said(started, ECHO, first, last)
    # What begins at the very edge is in both.
    assert len(whole) <= len(parts) <= len(whole) + 1
    assert all(first - 1e-6 <= begin <= last + 1e-6 for begin, _ in whole)


def test_a_voice_detector_takes_the_vowels_for_speech_and_nothing_else() -> None:
    clip, decoder = speech_clip(), OpusDecoder(1)
    sound = [pcm[0] for packet in clip.packets if (pcm := decoder.decode(packet)) is not None]
    samples = (np.concatenate(sound)[::3] / 32_768).astype(np.float32)
    state = np.zeros((2, 1, 128), np.float32)
    voice = []
    for at in range(CONTEXT, len(samples) - WINDOW, WINDOW):
        probability, state = shared_net().step(samples[None, at - CONTEXT : at + WINDOW], state)
        voice.append(((at + WINDOW) / 16_000, float(np.ravel(probability)[0])))
    inside = [p for at, p in voice if clip.begins + 0.1 < at < clip.ends]
    outside = [p for at, p in voice if not clip.begins <= at < clip.ends + 0.15]
    assert min(inside) > 0.8
    assert max(outside) < 0.2
