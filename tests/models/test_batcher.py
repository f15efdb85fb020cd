import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from fastrtc.audio.convert import audio_to_float32
from fastrtc.models.vad.batcher import (
    BACKLOG,
    BATCH,
    MANY,
    InlineVad,
    VadBatcher,
    VadSource,
    VadStream,
)
from fastrtc.models.vad.silero import WINDOW, Silero, SileroNet, shared_net
from tests.conftest import Sound, tone

CHUNK = 320
"""20 ms, which is no whole number of windows."""
PATIENCE = 10.0

Floats = NDArray[np.float32]
Source = Callable[[Callable[[], SileroNet]], VadSource]

every_source = pytest.mark.parametrize("source", [VadBatcher, InlineVad])


@pytest.fixture(autouse=True)
def _loaded() -> None:
    """The network is there: a loop may not wait for a file."""
    shared_net()


@pytest.fixture(scope="module")
def speech(beckett: Sound) -> Floats:
    """3 s of speech, a whole number of windows."""
    found: Floats = audio_to_float32(beckett[1])[0, : 94 * WINDOW]
    return found


class Caller:
    """Feeds a stream, and notes what comes back."""

    def __init__(self, source: VadSource) -> None:
        self.found: list[float] = []
        self.errors: list[Exception] = []
        self._fed = 0
        self._news = asyncio.Event()
        self.stream: VadStream = source.open(self._deliver, self.errors.append)

    def _deliver(self, probability: float) -> None:
        self.found.append(probability)
        self._news.set()

    def feed(self, samples: Floats) -> None:
        self.stream.feed(samples)
        self._fed += len(samples)

    async def answered(self, steps: int | None = None) -> None:
        """Wait for an answer to each whole window, or for so many answers."""
        steps = self._fed // WINDOW if steps is None else steps
        while len(self.found) < steps:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), PATIENCE)


class Gate:
    """The network, which answers only while the gate is open."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.failing: Exception | None = None
        self.waiting = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def load(self) -> SileroNet:
        return cast(SileroNet, self)

    def step(self, windows: Floats, states: Floats) -> tuple[Floats, Floats]:
        self.waiting.set()
        assert self._open.wait(PATIENCE)
        self.batches.append(len(windows))
        if self.failing is not None:
            raise self.failing
        return shared_net().step(windows, states)


async def reached(event: threading.Event) -> None:
    assert await asyncio.get_running_loop().run_in_executor(None, event.wait, PATIENCE)


def nothing(error: Exception) -> None:
    """For a caller whose errors do not matter."""


def silence(steps: int) -> Floats:
    return np.zeros(steps * WINDOW, np.float32)


async def talk(callers: Sequence[Caller], sounds: Sequence[Floats]) -> None:
    """All talk at once, 20 ms each in turn, and no faster than they are answered."""
    for start in range(0, len(sounds[0]), CHUNK):
        for caller, sound in zip(callers, sounds, strict=True):
            caller.feed(sound[start : start + CHUNK])
        if start % (50 * CHUNK) == 0:
            for caller in callers:
                await caller.answered()
    for caller in callers:
        await caller.answered()


# What is delivered


@pytest.mark.pitfall(3)
@every_source
async def test_a_stream_in_pieces_scores_as_the_clip_does(source: Source, speech: Floats) -> None:
    caller = Caller(source(shared_net))
    await talk([caller], [speech])
    assert caller.found == pytest.approx(Silero().probabilities(speech), abs=1e-4)
    assert caller.errors == []


@every_source
@pytest.mark.parametrize("size", [1, 511, 512, 513, 2_000])
async def test_pieces_of_any_size_score_the_same(source: Source, size: int, speech: Floats) -> None:
    caller, sound = Caller(source(shared_net)), speech[: 40 * WINDOW]
    for start in range(0, len(sound), size):
        caller.feed(sound[start : start + size])
    await caller.answered()
    assert caller.found == pytest.approx(Silero().probabilities(sound), abs=1e-4)


@pytest.mark.pitfall(3, 10)
@every_source
async def test_callers_at_once_do_not_mix_their_states(source: Source, speech: Floats) -> None:
    sounds = [
        speech,
        silence(len(speech) // WINDOW),
        speech[::-1].copy(),
        np.roll(speech, 20_000),
        tone(len(speech) / 16_000, 16_000)[1][0].astype(np.float32) / 32_768,
    ]
    shared = source(shared_net)
    callers = [Caller(shared) for _ in sounds]
    await talk(callers, sounds)
    for caller, sound in zip(callers, sounds, strict=True):
        assert caller.found == pytest.approx(Silero().probabilities(sound), abs=1e-4)


@every_source
async def test_half_a_window_is_not_answered_yet(source: Source) -> None:
    caller = Caller(source(shared_net))
    caller.feed(np.zeros(WINDOW + WINDOW // 2, np.float32))
    await caller.answered(1)
    caller.feed(np.zeros(WINDOW // 2 - 1, np.float32))
    await asyncio.sleep(0)
    assert len(caller.found) == 1
    caller.feed(np.zeros(1, np.float32))
    await caller.answered(2)


async def test_waiting_callers_are_answered_in_one_batch() -> None:
    gate = Gate()
    batcher = VadBatcher(gate.load)
    callers = [Caller(batcher) for _ in range(1 + BATCH)]
    callers[0].feed(silence(1))
    await reached(gate.waiting)
    for caller in callers[1:]:
        caller.feed(silence(1))
    gate.open()
    for caller in callers:
        await caller.answered()
    assert gate.batches == [1, BATCH]


async def test_a_caller_with_a_backlog_does_not_keep_the_others_waiting() -> None:
    gate = Gate()
    batcher = VadBatcher(gate.load)
    greedy, modest = Caller(batcher), Caller(batcher)
    greedy.feed(silence(50))
    await reached(gate.waiting)
    modest.feed(silence(1))
    gate.open()
    await modest.answered()
    await greedy.answered()
    assert gate.batches[:3] == [1, 2, 1]


async def test_answers_come_on_the_callers_own_loop_and_thread() -> None:
    threads: list[int] = []
    answered = asyncio.Event()

    def deliver(probability: float) -> None:
        threads.append(threading.get_ident())
        answered.set()

    VadBatcher(shared_net).open(deliver, nothing).feed(silence(1))
    await asyncio.wait_for(answered.wait(), PATIENCE)
    assert threads == [threading.get_ident()]


def test_the_network_is_loaded_off_the_loop_before_the_first_caller() -> None:
    loaded, threads = threading.Event(), []

    def load() -> SileroNet:
        threads.append(threading.get_ident())
        loaded.set()
        return shared_net()

    VadBatcher(load).prepare()
    assert loaded.wait(PATIENCE)
    assert threading.get_ident() not in threads


# Failures


@pytest.mark.pitfall(8)
@every_source
async def test_a_failing_network_is_reported_and_counts_as_silence(source: Source) -> None:
    gate = Gate()
    gate.failing = RuntimeError("no memory")
    gate.open()
    caller = Caller(source(gate.load))
    caller.feed(silence(5))
    await caller.answered()
    assert caller.found == [0.0] * 5
    assert set(caller.errors) == {gate.failing}


@pytest.mark.pitfall(8)
async def test_a_network_that_cannot_be_loaded_is_reported_and_counts_as_silence() -> None:
    error = RuntimeError("no weights")

    def load() -> SileroNet:
        raise error

    caller = Caller(VadBatcher(load))
    caller.feed(silence(3))
    await caller.answered()
    assert caller.found == [0.0] * 3
    assert set(caller.errors) == {error}


@every_source
async def test_speech_is_heard_again_when_the_network_recovers(
    source: Source, speech: Floats
) -> None:
    gate = Gate()
    gate.open()
    caller = Caller(source(gate.load))
    gate.failing = RuntimeError("a moment")
    caller.feed(silence(2))
    await caller.answered()
    gate.failing = None
    caller.feed(speech[: 40 * WINDOW])
    await caller.answered()
    assert caller.found[:2] == [0.0, 0.0]
    assert max(caller.found) > 0.9


async def test_who_hangs_up_at_an_error_does_not_disturb_the_others() -> None:
    gate = Gate()
    gate.failing = RuntimeError("no memory")
    batcher = VadBatcher(gate.load)
    first, second = Caller(batcher), Caller(batcher)
    first.feed(silence(1))
    await reached(gate.waiting)
    leaver: list[VadStream] = []
    heard: list[float] = []
    leaver.append(batcher.open(heard.append, lambda error: leaver[0].close()))
    leaver[0].feed(silence(1))
    second.feed(silence(1))
    gate.open()
    await first.answered()
    await second.answered()
    assert heard == []


async def test_a_caller_that_fails_does_not_take_the_answers_of_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    batcher = VadBatcher(gate.load)
    first, second = Caller(batcher), Caller(batcher)
    first.feed(silence(1))
    await reached(gate.waiting)

    def fail(probability: float) -> None:
        raise ValueError("mine alone")

    batcher.open(fail, nothing).feed(silence(1))
    second.feed(silence(1))
    gate.open()
    await second.answered()
    assert gate.batches == [1, 2]
    assert "mine alone" in caplog.text


# The end of a call


async def test_after_close_nothing_is_delivered() -> None:
    gate = Gate()
    batcher = VadBatcher(gate.load)
    leaver, other = Caller(batcher), Caller(batcher)
    leaver.feed(silence(20))
    await reached(gate.waiting)
    other.feed(silence(25))
    leaver.stream.close()
    gate.open()
    # The worker goes by turns: what the leaver had asked for would have come before.
    await other.answered()
    assert leaver.found == []


@pytest.mark.pitfall(35)
@every_source
async def test_sound_after_close_is_neither_answered_nor_reported(source: Source) -> None:
    gate = Gate()
    gate.open()
    gate.failing = RuntimeError("no memory")
    shared = source(gate.load)
    leaver, other = Caller(shared), Caller(shared)
    leaver.stream.close()
    leaver.feed(silence(5))
    other.feed(silence(6))
    await other.answered()
    assert (leaver.found, leaver.errors) == ([], [])
    assert sum(gate.batches) == 6


@pytest.mark.pitfall(35)
@every_source
async def test_a_closed_stream_is_not_kept(source: Source) -> None:
    shared = source(shared_net)
    leaver, other = Caller(shared), Caller(shared)
    leaver.feed(silence(1))
    await leaver.answered()
    leaver.stream.close()
    gone = weakref.ref(leaver)
    del leaver
    other.feed(silence(2))
    await other.answered()
    gc.collect()
    assert gone() is None


@pytest.mark.pitfall(35)
def test_a_loop_that_has_closed_does_not_stop_the_worker() -> None:
    gate = Gate()
    batcher = VadBatcher(gate.load)

    async def leave() -> None:
        Caller(batcher).feed(silence(3))
        await reached(gate.waiting)

    async def stay() -> None:
        caller = Caller(batcher)
        caller.feed(silence(3))
        gate.open()
        await caller.answered()

    asyncio.run(leave())
    asyncio.run(stay())


@pytest.mark.pitfall(35)
async def test_all_callers_share_one_thread() -> None:
    before = threading.active_count()
    batcher = VadBatcher(shared_net)
    callers = [Caller(batcher) for _ in range(40)]
    for caller in callers:
        caller.feed(silence(1))
        await caller.answered()
    assert threading.active_count() <= before + 1


# Overload


@pytest.mark.pitfall(22)
async def test_a_backlog_is_bounded_to_the_newest_steps() -> None:
    gate = Gate()
    caller = Caller(VadBatcher(gate.load))
    caller.feed(silence(1))
    await reached(gate.waiting)
    caller.feed(silence(10 * BACKLOG))
    gate.open()
    await caller.answered(1 + BACKLOG)
    assert len(gate.batches) <= 1 + BACKLOG


@pytest.mark.pitfall(2)
async def test_a_step_that_is_skipped_counts_as_silence() -> None:
    # A call knows by the count of its steps where in its sound it is.
    gate = Gate()
    caller = Caller(VadBatcher(gate.load))
    caller.feed(silence(1))
    await reached(gate.waiting)
    caller.feed(silence(3 * BACKLOG))
    gate.open()
    await caller.answered()
    assert len(caller.found) == 1 + 3 * BACKLOG
    assert caller.found.count(0.0) == 2 * BACKLOG


async def test_a_caller_who_is_behind_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    caller = Caller(VadBatcher(gate.load))
    caller.feed(silence(1))
    await reached(gate.waiting)
    caller.feed(silence(3 * BACKLOG))
    gate.open()
    await caller.answered(1 + BACKLOG)
    warnings: list[Any] = [r for r in caplog.records if r.name.startswith("fastrtc")]
    assert len(warnings) == 1


class Sizes:
    """A network that hears nothing, and notes how many callers it had at each step."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def step(self, windows: Floats, states: Floats) -> tuple[Floats, Floats]:
        self.steps.append(len(windows))
        return np.zeros(len(windows), np.float32), states


async def many(batcher: VadBatcher) -> list[Caller]:
    """Callers who have been heard, and of whom there are many."""
    callers = [Caller(batcher) for _ in range(MANY)]
    for caller in callers:
        caller.feed(silence(1))
    for caller in callers:
        await caller.answered()
    return callers


async def test_windows_of_many_callers_are_gathered() -> None:
    net = Sizes()
    callers = await many(VadBatcher(lambda: cast(SileroNet, net)))
    net.steps.clear()
    for caller in callers:
        caller.feed(silence(1))
    for caller in callers:
        await caller.answered()
    assert sum(net.steps) == MANY
    assert len(net.steps) <= MANY // 2


async def test_a_single_window_of_many_callers_does_not_wait_for_ever() -> None:
    callers = await many(VadBatcher(lambda: cast(SileroNet, Sizes())))
    callers[0].feed(silence(1))
    await callers[0].answered()


async def test_callers_who_were_never_heard_are_not_among_the_many() -> None:
    batcher = VadBatcher(lambda: cast(SileroNet, Sizes()))
    for caller in [Caller(batcher) for _ in range(MANY)]:
        caller.stream.close()
    waiting = [Caller(batcher) for _ in range(MANY)]
    await many(batcher)
    assert batcher._callers == MANY
    for caller in waiting:
        caller.stream.close()
    assert batcher._callers == MANY
