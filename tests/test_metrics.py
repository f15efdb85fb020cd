"""What a process counts of its calls."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrtc import AsyncStreamHandler, InterruptionPolicy, ReplyOnPause, metrics
from fastrtc.admission import Refused
from fastrtc.clock import CATCH_UP, TICK, FrameClock
from fastrtc.handlers.pump import UNHEARD_SECONDS
from fastrtc.metrics import Counter, Gauge, Histogram
from fastrtc.models.inference import InferencePool
from fastrtc.models.vad.batcher import VadBatcher
from fastrtc.models.vad.silero import WINDOW, SileroNet
from fastrtc.testing import VirtualCall
from fastrtc.testing.loop import VirtualLoop
from fastrtc.threads import Workers
from fastrtc.transports.rtp import BURST, RtpPacket
from fastrtc.transports.webrtc.media import Incoming
from tests.handlers.lines import Line, Talker, voice
from tests.peers import Caller, eventually, line, make_stream

FRAME = 960
"""Ticks of an RTP clock of 48 kHz."""


def count(histogram: Histogram, what: str = "") -> int:
    """How many durations were noted."""
    return sum(histogram.values[what].counts)


class Since:
    """What has been counted since now: the figures are those of the whole process."""

    def __init__(self) -> None:
        self._counted = {f.name: f.values for f in metrics.FIGURES if isinstance(f, Counter)}
        self._noted = {f.name: f.values for f in metrics.FIGURES if isinstance(f, Histogram)}

    def counted(self, counter: Counter, what: str) -> int:
        return counter.values.get(what, 0) - self._counted[counter.name].get(what, 0)

    def noted(self, histogram: Histogram, what: str = "") -> tuple[int, float]:
        """How many, and their sum."""
        now, before = histogram.values[what], self._noted[histogram.name][what]
        return sum(now.counts) - sum(before.counts), now.total - before.total


@pytest.fixture
def since() -> Since:
    return Since()


# Counters and histograms


def test_a_counter_counts_each_kind_by_itself() -> None:
    counter = Counter("calls_total", "Calls.", "kind", ("a",))
    counter.add("b", 3)
    counter.add("b")
    assert counter.values == {"a": 0, "b": 4}


def test_a_gauge_falls_too() -> None:
    gauge = Gauge("calls", "Calls.", "kind")
    gauge.add("a", 2)
    gauge.add("a", -1)
    assert gauge.values == {"a": 1}


@given(st.lists(st.floats(0, 20)))
def test_every_duration_is_in_the_first_bucket_that_holds_it(durations: list[float]) -> None:
    bounds = (0.1, 0.5, 1.0, 10.0)
    histogram = Histogram("wait_seconds", "Waits.", bounds)
    for duration in durations:
        histogram.note(duration)
    spread = histogram.values[""]
    for index, bound in enumerate(bounds):
        assert sum(spread.counts[: index + 1]) == sum(d <= bound for d in durations)
    assert sum(spread.counts) == len(durations)
    assert spread.total == pytest.approx(sum(durations))


def test_a_histogram_takes_kinds_that_it_did_not_know() -> None:
    histogram = Histogram("wait_seconds", "Waits.", (1.0,), "model", ())
    histogram.note(2.0, "new")
    assert histogram.values["new"].counts == [0, 1]


def test_what_is_read_does_not_change_with_what_is_noted_later() -> None:
    histogram = Histogram("wait_seconds", "Waits.", (1.0,))
    before = histogram.values
    histogram.note(0.5)
    assert before[""].counts == [0, 0]


def test_nothing_is_lost_where_threads_count_at_once() -> None:
    counter = Counter("calls_total", "Calls.", "kind")
    histogram = Histogram("wait_seconds", "Waits.", (1.0,))

    def work() -> None:
        for _ in range(5_000):
            counter.add("a")
            histogram.note(0.5)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.values == {"a": 40_000}
    assert count(histogram) == 40_000


def test_all_figures_have_names_of_their_own_with_base_units() -> None:
    names = [figure.name for figure in metrics.FIGURES]
    assert len(set(names)) == len(names)
    for figure in metrics.FIGURES:
        if isinstance(figure, Histogram):
            assert figure.name.endswith("_seconds")
        elif not isinstance(figure, Gauge):
            assert figure.name.endswith("_total")


# Calls


def test_a_call_is_live_until_it_ends_and_counted_for_ever(since: Since) -> None:
    with VirtualCall(ReplyOnPause(print)):
        assert since.counted(metrics.live_sessions, "webrtc") == 1
    assert since.counted(metrics.live_sessions, "webrtc") == 0
    assert since.counted(metrics.sessions, "webrtc") == 1


async def test_a_caller_who_is_refused_is_counted_by_the_reason(since: Since) -> None:
    stream = make_stream(ReplyOnPause(print), authorize=lambda connection: False)
    answer = await stream.offer({"webrtc_id": "a", "type": "offer", "sdp": ""})
    assert answer == Refused("not_authorized").as_reply()
    assert since.counted(metrics.refused, "not_authorized") == 1


def test_an_error_of_a_handler_is_counted(since: Since) -> None:
    def fail(audio: Any) -> Iterator[Any]:
        raise ValueError("no")
        yield

    with Line(ReplyOnPause(fail)) as call:
        call.say(voice(0.6))
        call.wait(2.0)
        assert call.errors
    assert since.counted(metrics.errors, "handler") == 1
    assert since.counted(metrics.errors, "model") == 0


def test_an_error_of_voice_detection_is_one_of_a_model(since: Since) -> None:
    class Broken:
        def vad(self, audio: Any, options: Any) -> Any:
            raise ValueError("no")

        def warmup(self) -> None: ...

    with VirtualCall(ReplyOnPause(Talker(), model=Broken())) as call:
        call.say(voice(2.0))
        assert call.errors
    assert since.counted(metrics.errors, "model") == 1


# Turns


def test_voice_to_voice_is_from_the_last_voice_to_the_first_sound_that_is_heard(
    since: Since,
) -> None:
    with Line(ReplyOnPause(Talker())) as call:
        call.wait(0.5)
        call.say(voice(0.64))
        spoken = call.now
        call.wait(2.0)
        heard = call.sounds[0][0]
    notes, total = since.noted(metrics.voice_to_voice)
    assert notes == 1
    assert total == pytest.approx(heard - spoken, abs=0.06)


def test_a_greeting_has_no_voice_before_it_to_measure_from(since: Since) -> None:
    with Line(ReplyOnPause(Talker(), startup_fn=Talker())) as call:
        call.wait(1.0)
        assert call.sounds
    assert since.noted(metrics.voice_to_voice)[0] == 0


def test_a_barge_in_is_from_the_first_voice_to_the_silence(since: Since) -> None:
    with Line(ReplyOnPause(Talker())) as call:
        call.say(voice(0.64))
        call.wait(1.5)
        onset = call.now
        call.say(voice(InterruptionPolicy().min_speech + 0.2))
        silent = call.sounds[-1][1]
    notes, total = since.noted(metrics.barge_in)
    assert notes == 1
    assert total == pytest.approx(silent - onset, abs=0.06)


def test_a_sound_that_does_not_end_the_reply_is_no_barge_in(since: Since) -> None:
    with Line(ReplyOnPause(Talker())) as call:
        call.say(voice(0.64))
        call.wait(1.5)
        call.say(voice(0.16))
        call.wait(1.5)
        assert "false alarm" in call.kinds()
    assert since.noted(metrics.barge_in)[0] == 0


def test_who_interrupts_before_a_sound_was_heard_silences_nothing(since: Since) -> None:
    async def think(audio: Any) -> Any:
        await asyncio.sleep(30)
        yield audio

    with Line(ReplyOnPause(think)) as call:
        call.say(voice(0.64))
        call.wait(1.5)
        call.say(voice(2.0))
        assert "user interrupts" in call.kinds()
    assert since.noted(metrics.barge_in)[0] == 0


# What is dropped, and what waits


def rtp(number: int) -> RtpPacket:
    return RtpPacket(111, number, number * FRAME, 7, b"\xf8\xff\xfe")


def test_packets_that_are_lost_or_late_are_counted(since: Since) -> None:
    incoming = Incoming(111, 1, 48_000)
    for number in (0, 1, 3, 4, 5, 2, 6):
        incoming.add(rtp(number), number / 50)
    assert since.counted(metrics.dropped, "lost_packet") == 1
    assert since.counted(metrics.dropped, "late_packet") == 1


def test_packets_of_a_flood_are_counted(since: Since) -> None:
    incoming = Incoming(111, 1, 48_000)
    for number in range(BURST + 5):
        incoming.add(rtp(number), 0.0)
    assert since.counted(metrics.dropped, "flood_packet") == 5


def test_a_tick_is_noted_with_how_late_it_was_and_what_was_given_up(since: Since) -> None:
    loop = VirtualLoop(Workers())
    stop = FrameClock.of(loop).add(lambda: None)
    loop.run_until_complete(asyncio.sleep(5.5 * TICK))
    notes, total = since.noted(metrics.frame_lateness)
    assert notes == 5
    assert total == pytest.approx(0, abs=1e-6)
    loop.now += 1.0
    loop.run_until_complete(asyncio.sleep(0))
    notes, total = since.noted(metrics.frame_lateness)
    late = 1.0 - TICK / 2
    made_up = [CATCH_UP * TICK + TICK / 2 - place * TICK for place in range(1, CATCH_UP + 1)]
    assert notes == 6 + CATCH_UP
    assert total == pytest.approx(late + sum(made_up))
    assert since.counted(metrics.dropped, "tick") == int((1.0 - TICK / 2) / TICK) - CATCH_UP
    stop()
    loop.close()


def test_work_for_a_model_is_noted_with_how_long_it_waited(since: Since) -> None:
    pool = InferencePool("speaker", threads=1)
    go = threading.Event()
    first = pool.submit(go.wait)
    second = pool.submit(lambda: None)
    time.sleep(0.05)
    go.set()
    first.result()
    second.result()
    notes, total = since.noted(metrics.model_queue, "speaker")
    assert notes == 2
    assert total >= 0.05


async def test_each_window_is_noted_with_how_long_voice_detection_was_behind(since: Since) -> None:
    class Slow:
        def step(self, windows: Any, states: Any) -> tuple[Any, Any]:
            time.sleep(0.02)
            return np.zeros(len(windows), np.float32), states

    heard: list[float] = []
    batcher = VadBatcher(lambda: cast(SileroNet, Slow()))
    stream = batcher.open(heard.append, lambda error: None)
    stream.feed(np.zeros(5 * WINDOW, np.float32))
    await eventually(lambda: len(heard) == 5)
    stream.close()
    notes, total = since.noted(metrics.model_queue, "vad")
    assert notes == 5
    assert total >= (1 + 2 + 3 + 4) * 0.02


async def test_a_caller_over_the_limit_is_counted(since: Since) -> None:
    async with line(ReplyOnPause(print), concurrency_limit=1) as (stream, http):
        stream.admit("a")
        caller = Caller(http)
        await caller.post(await caller.offer())
        await caller.hang_up()
    assert since.counted(metrics.refused, "concurrency_limit_reached") == 1
    assert since.counted(metrics.sessions, "webrtc") == 1


def test_frames_that_a_handler_is_too_slow_for_are_counted(since: Since) -> None:
    class Slow(AsyncStreamHandler):
        async def receive(self, frame: Any) -> None:
            await asyncio.sleep(0.04)

        async def emit(self) -> None: ...

        def copy(self) -> Slow:
            return Slow()

    with VirtualCall(Slow()) as call:
        call.wait(2 * UNHEARD_SECONDS + 2.0)
    # It takes every other frame, and some may wait.
    assert 40 <= since.counted(metrics.dropped, "slow_handler_frame") <= 52
