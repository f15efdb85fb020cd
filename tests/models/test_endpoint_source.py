"""Who answers whether a caller has finished: the thread for all calls, and its double in tests."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc.audio.convert import audio_to_float32
from fastrtc.models.end_of_turn import source
from fastrtc.models.end_of_turn.smart_turn import SmartTurn, smart_turn_missing
from fastrtc.models.end_of_turn.source import (
    IN_TIME,
    TYPICAL_SECONDS,
    CustomEndpoint,
    EndpointSource,
    EndpointStream,
    EndpointWorker,
    InlineEndpoint,
    Listener,
    NoEndpoint,
    Question,
    Ring,
)
from fastrtc.models.stt.moonshine import moonshine_available, shared_moonshine
from fastrtc.testing.loop import VirtualLoop
from fastrtc.threads import Workers
from tests.conftest import Sound, missing

RATE = 16_000
PATIENCE = 10.0

Floats = NDArray[np.float32]
Answer = tuple[int, float | None, str | None]


class Nets:
    """Both networks, which answer only while the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()
        self.failing: Exception | None = None
        self.read: list[int] = []
        """How many samples were read, for each question."""
        self.threads: set[threading.Thread] = set()

    def probability(self, features: Any) -> float:
        self.threads.add(threading.current_thread())
        self.waiting.set()
        assert self.gate.wait(PATIENCE)
        if self.failing is not None:
            raise self.failing
        return 0.75

    def transcribe(self, samples: Floats) -> str:
        self.read.append(len(samples))
        return f"{len(samples)} samples"


@pytest.fixture
def nets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nets]:
    """Networks of a test, in the place of Smart Turn and Moonshine."""
    nets = Nets()
    monkeypatch.setattr(source, "smart_turn_missing", str)
    monkeypatch.setattr(source, "moonshine_available", lambda: True)
    for name in ("shared_smart_turn", "shared_moonshine"):
        monkeypatch.setattr(source, name, lambda: nets)
    yield nets
    nets.gate.set()


class Caller:
    """Asks a source, and notes what comes back."""

    def __init__(self, source: EndpointSource, log: list[int] | None = None) -> None:
        """``log``: where the tickets of several callers are noted together."""
        self.answers: list[Answer] = []
        self._log = [] if log is None else log
        self.errors: list[Exception] = []
        self.threads: set[threading.Thread] = set()
        self._news = asyncio.Event()
        self.stream: EndpointStream = source.open(self._deliver, self._fail)

    def _deliver(self, ticket: int, probability: float | None, words: str | None) -> None:
        self.answers.append((ticket, probability, words))
        self._log.append(ticket)
        self.threads.add(threading.current_thread())
        self._news.set()

    def _fail(self, error: Exception) -> None:
        self.errors.append(error)
        self.threads.add(threading.current_thread())
        self._news.set()

    def ask(self, ticket: int, start: int = 0, **options: bool) -> None:
        self.stream.ask(Question(ticket, start, **options))

    async def answered(self, count: int) -> list[int]:
        """Wait for so many answers; their tickets."""
        while len(self.answers) + len(self.errors) < count:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), PATIENCE)
        return [ticket for ticket, _, _ in self.answers]


async def reached(event: threading.Event) -> None:
    assert await asyncio.get_running_loop().run_in_executor(None, event.wait, PATIENCE)


def sound(seconds: float) -> Floats:
    size = round(seconds * RATE)
    return np.random.default_rng(1).normal(0, 0.1, size).astype(np.float32)


async def busy(worker: EndpointWorker, nets: Nets) -> Caller:
    """Have the worker at a question that it does not answer until the gate opens."""
    caller = Caller(worker)
    caller.ask(0)
    await caller.answered(1)
    nets.waiting.clear()
    nets.gate.clear()
    caller.ask(1)
    await reached(nets.waiting)
    return caller


# The thread


async def test_answers_come_in_order_and_on_the_loop(nets: Nets) -> None:
    caller = Caller(EndpointWorker())
    for ticket in range(5):
        caller.ask(ticket)
        await caller.answered(ticket + 1)
    assert [ticket for ticket, _, _ in caller.answers] == [0, 1, 2, 3, 4]
    assert caller.answers[0] == (0, 0.75, "0 samples")
    assert caller.threads == {threading.current_thread()}
    assert threading.current_thread() not in nets.threads


async def test_the_newest_question_of_a_caller_replaces_one_that_waits(nets: Nets) -> None:
    caller = await busy(EndpointWorker(), nets)
    for ticket in (2, 3, 4):
        caller.ask(ticket)
    nets.gate.set()
    assert await caller.answered(3) == [0, 1, 4]
    caller.ask(5)
    assert await caller.answered(4) == [0, 1, 4, 5]


async def test_a_question_that_was_forgotten_is_not_answered(nets: Nets) -> None:
    caller = await busy(EndpointWorker(), nets)
    caller.ask(2)
    caller.stream.forget()
    nets.gate.set()
    await caller.answered(2)
    caller.ask(3)
    assert await caller.answered(3) == [0, 1, 3]


async def test_callers_are_served_in_turn_and_none_is_overtaken(nets: Nets) -> None:
    worker = EndpointWorker()
    first = await busy(worker, nets)
    order: list[int] = []
    others = [Caller(worker, order) for _ in range(20)]
    for number, other in enumerate(others):
        other.ask(number)
    # A caller who asks again keeps the place of the first question.
    others[0].ask(100)
    others[5].ask(105)
    nets.gate.set()
    for other in others:
        await other.answered(1)
    await first.answered(2)
    assert order == [100, 1, 2, 3, 4, 105, *range(6, 20)]
    assert all(len(other.answers) == 1 for other in others)


async def test_each_caller_is_answered_about_its_own_sound(nets: Nets) -> None:
    worker = EndpointWorker()
    callers = [Caller(worker) for _ in range(3)]
    for number, caller in enumerate(callers):
        caller.stream.feed(sound(0.5 * (number + 1)))
        caller.ask(number)
    for number, caller in enumerate(callers):
        await caller.answered(1)
        assert caller.answers == [(number, 0.75, f"{8_000 * (number + 1)} samples")]


async def test_a_caller_who_has_closed_hears_nothing_more(nets: Nets) -> None:
    worker = EndpointWorker()
    caller = await busy(worker, nets)
    waits = Caller(worker)
    waits.ask(7)
    caller.stream.close()
    waits.stream.close()
    nets.gate.set()
    other = Caller(worker)
    other.ask(1)
    await other.answered(1)
    await asyncio.sleep(0.01)
    assert [ticket for ticket, _, _ in caller.answers] == [0]
    assert not waits.answers


async def test_a_caller_who_has_closed_costs_no_judgement(nets: Nets) -> None:
    worker = EndpointWorker()
    caller = await busy(worker, nets)
    waits = Caller(worker)
    waits.stream.feed(sound(1.0))
    waits.ask(7)
    waits.stream.close()
    nets.gate.set()
    caller.ask(2)
    await caller.answered(3)
    assert 16_000 not in nets.read[1:]


async def test_a_caller_who_has_closed_is_not_kept(nets: Nets) -> None:
    worker = EndpointWorker()
    caller = Caller(worker)
    caller.ask(0)
    await caller.answered(1)
    caller.stream.close()
    kept = weakref.ref(caller.stream)
    del caller
    other = Caller(worker)
    other.ask(0)
    await other.answered(1)
    gc.collect()
    assert kept() is None


async def test_an_error_of_a_network_reaches_the_caller_and_the_thread_lives_on(nets: Nets) -> None:
    caller = Caller(EndpointWorker())
    caller.ask(0)
    await caller.answered(1)
    nets.failing = RuntimeError("out of memory")
    caller.ask(1)
    await caller.answered(2)
    nets.failing = None
    caller.ask(2)
    assert await caller.answered(3) == [0, 2]
    assert [str(error) for error in caller.errors] == ["out of memory"]
    assert caller.threads == {threading.current_thread()}
    assert len(nets.threads) == 1


async def test_an_error_that_a_closed_caller_left_behind_is_nobodys(nets: Nets) -> None:
    worker = EndpointWorker()
    caller = await busy(worker, nets)
    nets.failing = RuntimeError("out of memory")
    caller.stream.close()
    nets.gate.set()
    await asyncio.sleep(0.05)
    assert not caller.errors


async def test_networks_that_do_not_load_are_logged_and_told_with_each_question(
    nets: Nets, caplog: pytest.LogCaptureFixture
) -> None:
    nets.failing = RuntimeError("damaged weights")
    caller = Caller(EndpointWorker())
    with caplog.at_level(logging.ERROR):
        caller.ask(0)
        await caller.answered(1)
    assert "could not be loaded" in caplog.text
    assert str(caller.errors[0]) == "damaged weights"


async def test_one_daemon_thread_serves_all_callers(nets: Nets) -> None:
    worker = EndpointWorker()
    worker.prepare()
    worker.prepare()
    callers = [Caller(worker) for _ in range(5)]
    for caller in callers:
        caller.ask(0)
        await caller.answered(1)
    (thread,) = nets.threads
    assert thread.daemon
    assert thread.name == "fastrtc-endpointing"


async def test_a_loop_that_has_closed_does_not_end_the_thread(nets: Nets) -> None:
    worker = EndpointWorker()

    def gone() -> None:
        async def ask() -> None:
            Caller(worker).ask(0)

        asyncio.run(ask())

    caller = await busy(worker, nets)
    await asyncio.get_running_loop().run_in_executor(None, gone)
    nets.gate.set()
    caller.ask(2)
    assert await caller.answered(3) == [0, 1, 2]


async def test_only_what_is_asked_for_is_judged(nets: Nets) -> None:
    caller = Caller(EndpointWorker())
    caller.ask(1, words=False)
    await caller.answered(1)
    caller.ask(2, sound=False)
    await caller.answered(2)
    assert caller.answers == [(1, 0.75, None), (2, None, "0 samples")]


async def test_without_a_recogniser_there_are_no_words(
    nets: Nets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "moonshine_available", lambda: False)
    worker = EndpointWorker()
    assert (worker.available, worker.reads_words) == (True, False)
    caller = Caller(worker)
    caller.ask(0)
    await caller.answered(1)
    assert caller.answers == [(0, 0.75, None)]
    assert not nets.read


def test_without_weights_there_is_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "smart_turn_missing", lambda: "There are none.")
    monkeypatch.setattr(source, "moonshine_available", lambda: False)
    assert not EndpointWorker().available
    assert not InlineEndpoint().available
    assert not NoEndpoint().available
    with pytest.raises(NotImplementedError):
        NoEndpoint().open(lambda *_: None, lambda _: None)


def test_words_alone_are_asked_for_where_the_sound_cannot_be_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source, "smart_turn_missing", lambda: "There are none.")
    monkeypatch.setattr(source, "moonshine_available", lambda: True)
    monkeypatch.setattr(source, "shared_moonshine", Words)
    assert EndpointWorker().available
    listener = source.Listener(sound=False, words=True)
    listener.ring.feed(np.zeros(16_000, np.float32))
    assert listener.answer(Question(1, 0)) == (None, "to the")


class Words:
    def transcribe(self, samples: Any) -> str:
        return "to the"


# What is heard


@pytest.mark.parametrize(("fed", "start", "read"), [(3.0, 0, 3.0), (9.0, 0, 4.0), (9.0, 7, 2.0)])
async def test_the_words_are_those_of_the_turn_and_of_the_last_seconds(
    nets: Nets, fed: float, start: float, read: float
) -> None:
    caller = Caller(EndpointWorker())
    caller.stream.feed(sound(fed))
    caller.ask(0, round(start * RATE))
    await caller.answered(1)
    assert nets.read[-1] == round(read * RATE)


@pytest.fixture
def _models() -> None:
    if smart_turn_missing() or not moonshine_available():
        missing("Smart Turn or Moonshine")
    SmartTurn().warmup()
    shared_moonshine().transcribe(np.zeros(RATE, np.float32))


@pytest.mark.usefixtures("_models")
def test_a_listener_that_is_asked_often_judges_as_one_that_is_asked_once(beckett: Sound) -> None:
    speech = audio_to_float32(beckett[1])[0]
    often = Listener(sound=True, words=False)
    for second in range(1, 10):
        often.ring.feed(speech[(second - 1) * RATE : second * RATE])
        found, _ = often.answer(Question(0, 0))
        once = Listener(sound=True, words=False)
        once.ring.feed(speech[max(0, second - 8) * RATE : second * RATE])
        expected, _ = once.answer(Question(0, 0))
        assert found == pytest.approx(expected, abs=0.02)


@pytest.mark.usefixtures("_models")
def test_what_was_said_before_the_turn_is_not_judged(beckett: Sound) -> None:
    speech = audio_to_float32(beckett[1])[0]
    turn = speech[round(1.8 * RATE) : round(2.9 * RATE)]
    long, short = Listener(sound=True, words=True), Listener(sound=True, words=True)
    long.ring.feed(speech[: round(2.9 * RATE)])
    short.ring.feed(turn)
    found = long.answer(Question(0, round(1.8 * RATE)))
    expected = short.answer(Question(0, 0))
    assert found[0] == pytest.approx(expected[0], abs=0.05)
    assert found[1] == expected[1]


# The ring


@settings(deadline=None)
@given(st.lists(st.integers(0, 2_500), max_size=12), st.integers(-100, 12_000))
def test_a_ring_keeps_the_newest_samples_whatever_the_chunks(chunks: list[int], since: int) -> None:
    ring = Ring(1_000 / RATE)
    whole = audio_to_float32(np.arange(sum(chunks)) % 30_011)
    at = 0
    for length in chunks:
        ring.feed(whole[at : at + length])
        at += length
    begins, samples = ring.last(since)
    assert ring.end == len(whole)
    assert begins == min(len(whole), max(since, len(whole) - 1_000, 0))
    assert np.array_equal(samples, whole[begins:])


def test_what_a_ring_gives_out_does_not_change_when_it_is_fed() -> None:
    ring = Ring(100 / RATE)
    ring.feed(np.ones(100, np.float32))
    _, before = ring.last(0)
    ring.feed(np.zeros(100, np.float32))
    assert before.all()


# In virtual time


@pytest.mark.parametrize("seconds", [None, 0.0, 0.5])
def test_in_virtual_time_an_answer_takes_the_time_that_it_is_said_to_take(
    nets: Nets, seconds: float | None
) -> None:
    loop = VirtualLoop(Workers("virtual"))
    endpoint = InlineEndpoint() if seconds is None else InlineEndpoint(seconds)

    async def call() -> list[float]:
        caller = Caller(endpoint)
        caller.stream.feed(sound(1.0))
        caller.ask(7)
        # What is said later is not in the answer.
        caller.stream.feed(sound(1.0))
        assert not caller.answers
        await caller.answered(1)
        assert caller.answers == [(7, 0.75, "16000 samples")]
        return [loop.now]

    try:
        (took,) = loop.run_until_complete(call())
    finally:
        loop.close()
    assert took == pytest.approx(TYPICAL_SECONDS if seconds is None else seconds)


async def test_in_virtual_time_too_a_caller_who_has_closed_hears_nothing(nets: Nets) -> None:
    caller = Caller(InlineEndpoint(0.0))
    caller.ask(1)
    caller.stream.close()
    await asyncio.sleep(0.01)
    assert not caller.answers


async def test_in_virtual_time_too_an_error_of_a_network_reaches_the_caller(nets: Nets) -> None:
    caller = Caller(InlineEndpoint(0.0))
    nets.failing = RuntimeError("out of memory")
    caller.ask(1)
    await caller.answered(1)
    assert [str(error) for error in caller.errors] == ["out of memory"]


# A model of the user's


class Waiting:
    """A model whose answers a test gives, in the place of a worker thread."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.running: list[Any] = []

    def end_of_turn(self, audio: Any) -> float:
        self.asked.append(audio)
        return 0.5

    def warmup(self) -> None: ...

    def run(self, question: Any, answered: Any, failed: Any) -> None:
        self.running.append((question, answered))

    def answer(self) -> None:
        question, answered = self.running.pop(0)
        answered(question())


async def test_a_model_of_the_users_is_asked_one_question_at_a_time_and_then_the_newest() -> None:
    model = Waiting()
    caller = Caller(CustomEndpoint(model, model.run))
    caller.stream.feed(sound(1.0))
    for ticket in (1, 2, 3):
        caller.ask(ticket)
    assert len(model.running) == 1
    model.answer()
    model.answer()
    assert not model.running
    assert caller.answers == [(1, 0.5, None), (3, 0.5, None)]


async def test_a_model_of_the_users_is_given_half_a_minute_at_most() -> None:
    model = Waiting()
    caller = Caller(CustomEndpoint(model, model.run))
    for _ in range(40):
        caller.stream.feed(sound(1.0))
    caller.ask(1)
    model.answer()
    rate, samples = model.asked[0]
    assert (rate, samples.dtype, samples.shape) == (RATE, np.int16, (1, 30 * RATE))


async def test_a_model_of_the_users_is_not_asked_after_the_call() -> None:
    model = Waiting()
    caller = Caller(CustomEndpoint(model, model.run))
    caller.ask(1)
    caller.ask(2)
    caller.stream.close()
    model.answer()
    assert not model.running
    assert not caller.answers


# Words that would make the next answer late


async def test_words_are_left_unread_while_somebody_waits_for_too_long(nets: Nets) -> None:
    worker = EndpointWorker()
    first = await busy(worker, nets)
    others = [Caller(worker) for _ in range(3)]
    for number, other in enumerate(others):
        other.ask(number)
    await asyncio.sleep(IN_TIME * 1.1)
    nets.gate.set()
    await first.answered(2)
    for other in others:
        await other.answered(1)
    answers = [first.answers[1], *(other.answers[0] for other in others)]
    assert [probability for _, probability, _ in answers] == [0.75] * 4
    # After the last of them nobody is waiting.
    assert [words is None for _, _, words in answers] == [True, True, True, False]


async def test_words_of_a_question_that_is_forgotten_meanwhile_are_not_read(nets: Nets) -> None:
    caller = await busy(EndpointWorker(), nets)
    read = len(nets.read)
    caller.stream.forget()
    nets.gate.set()
    await caller.answered(2)
    assert len(nets.read) == read


async def test_words_over_a_reply_are_always_read(nets: Nets) -> None:
    worker = EndpointWorker()
    await busy(worker, nets)
    others = [Caller(worker) for _ in range(3)]
    for number, other in enumerate(others):
        other.ask(number, sound=False)
    await asyncio.sleep(IN_TIME * 1.1)
    nets.gate.set()
    for other in others:
        await other.answered(1)
    assert all(other.answers[0][2] is not None for other in others)
