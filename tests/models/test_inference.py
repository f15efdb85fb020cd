import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.models import inference
from fastrtc.models.inference import (
    CLAUSES_A_THREAD,
    LONGEST_QUEUE,
    InferencePool,
    ModelBusy,
    cores,
    listening_pool,
    speaking_pool,
)
from fastrtc.models.place import Here
from fastrtc.models.stt import recogniser
from fastrtc.models.stt.captions import caption
from fastrtc.models.stt.recogniser import MoonshineSTT, get_stt_model
from fastrtc.models.vad.silero import Silero
from tests.conftest import Sound, silence
from tests.models.pools import PATIENCE, held, until, until_on_loop


@pytest.fixture
def pool() -> InferencePool:
    """One thread, and room for two who wait."""
    return InferencePool("test", threads=1, longest_queue=2)


class Something:
    """What a job makes."""


# Jobs and their threads


def test_a_job_runs_on_a_thread_of_the_pool_and_its_result_comes_back(pool: InferencePool) -> None:
    assert pool.run(lambda: threading.current_thread().name) == "fastrtc-test-1"


def test_the_threads_do_not_keep_the_process_from_ending(pool: InferencePool) -> None:
    assert pool.run(lambda: threading.current_thread().daemon)


def test_no_thread_begins_before_there_is_work() -> None:
    InferencePool("unused", threads=3)
    assert not [thread for thread in threading.enumerate() if "unused" in thread.name]


def test_as_many_jobs_run_at_once_as_there_are_threads() -> None:
    pool = InferencePool("test", threads=3)
    together = threading.Barrier(3)
    jobs = [pool.submit(lambda: together.wait(PATIENCE)) for _ in range(3)]
    assert sorted(job.result(PATIENCE) for job in jobs) == [0, 1, 2]


def test_no_more_jobs_run_at_once_than_there_are_threads() -> None:
    pool = InferencePool("test", threads=2)
    with held(pool):
        late = [pool.submit(threading.get_ident) for _ in range(10)]
        assert not any(job.running() or job.done() for job in late)
    assert len({job.result(PATIENCE) for job in late}) <= 2


def test_a_job_is_not_kept_from_a_free_thread_by_one_that_lasts() -> None:
    pool = InferencePool("test", threads=2)
    gate = threading.Event()
    lasting = pool.submit(lambda: gate.wait(PATIENCE))
    assert pool.submit(lambda: "quick").result(PATIENCE) == "quick"
    gate.set()
    assert lasting.result(PATIENCE)


def test_a_pool_has_a_thread_for_each_core_if_it_is_not_told() -> None:
    assert InferencePool("test").threads == cores()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no such bound")
def test_only_the_cores_that_the_process_may_use_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2, 5})
    assert cores() == 3


def test_where_the_system_does_not_say_which_cores_may_be_used_all_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores() == 7


def test_whoever_is_to_be_recognised_does_not_wait_for_replies_that_are_spoken() -> None:
    with held(speaking_pool()):
        assert listening_pool().submit(lambda: "heard").result(PATIENCE) == "heard"


def test_all_callers_share_the_two_pools() -> None:
    assert listening_pool() is listening_pool()
    assert speaking_pool() is speaking_pool()


# Their order


_shared = InferencePool("order", threads=1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), max_size=20))
def test_urgent_jobs_pass_the_others_and_else_the_first_to_come_is_the_first(
    urgent: list[bool],
) -> None:
    ran: list[int] = []
    with held(_shared):
        for number, hurried in enumerate(urgent):
            _shared.submit(lambda number=number: ran.append(number), urgent=hurried)  # type: ignore[misc]
    until(lambda: _shared.settled)
    assert ran == sorted(range(len(urgent)), key=lambda number: not urgent[number])


# Captions and clips


@pytest.fixture(scope="module")
def stt() -> MoonshineSTT:
    return get_stt_model()


async def said(phrase: Sound, pause: asyncio.Event) -> AsyncIterator[Sound]:
    """A phrase that lasts until it may end."""
    yield phrase
    await pause.wait()
    yield silence(2.0)


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_clip_passes_captions_that_will_be_read_again(
    blocking: bool, stt: MoonshineSTT, phrase: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = InferencePool("test", threads=1)
    ran: list[str] = []

    def cut(vad: Silero, samples: Any) -> Any:
        ran.append("cut")
        return probabilities(vad, samples)

    def read(samples: Any) -> str:
        ran.append("read")
        return ""

    def pooled(job: Callable[[Any], str]) -> Here[str]:
        return Here(lambda: job, lambda: pool)

    def read_caption(samples: Any) -> str:
        # The clip is to be read, too, which is asked for when it has been cut.
        until(lambda: "read" in ran or pool.waiting == 2)
        ran.append("caption")
        return "so far"

    probabilities = Silero.probabilities
    monkeypatch.setattr(recogniser, "listening_pool", lambda: pool)
    monkeypatch.setattr(Silero, "probabilities", cut)
    monkeypatch.setattr(stt, "_reader", pooled(read))
    reader = pooled(read_caption)
    async with (
        aclosing(caption(said(phrase, asyncio.Event()), reader, 0.6)) as one,
        aclosing(caption(said(phrase, asyncio.Event()), reader, 0.6)) as other,
    ):
        with held(pool):
            partial = [asyncio.ensure_future(anext(stream)) for stream in (one, other)]
            await until_on_loop(lambda: pool.waiting == 2)
            clip = asyncio.to_thread(stt.stt, phrase) if blocking else stt.astt(phrase)
            words = asyncio.ensure_future(clip)
            await until_on_loop(lambda: pool.waiting == 3)
        assert await words == ""
        assert not any([(await transcript).final for transcript in partial])
    assert ran[0] == "cut"
    assert ran.index("read") < len(ran) - 1


async def test_a_caption_that_comes_to_nothing_is_taken_back(phrase: Sound) -> None:
    texts = iter(["hm", ""])
    pause = asyncio.Event()
    found = []
    reader = Here(lambda: lambda samples: next(texts, ""), listening_pool)
    async for transcript in caption(said(phrase, pause), reader, 0.6):
        found.append((transcript.text, transcript.final))
        pause.set()
    assert found == [("hm", False), ("", True)]


# The bound


def test_who_would_wait_behind_too_many_is_refused(pool: InferencePool) -> None:
    with held(pool):
        pool.submit(lambda: None)
        pool.submit(lambda: None)
        with pytest.raises(ModelBusy, match="2 jobs wait"):
            pool.submit(lambda: None)
        assert pool.waiting == 2


def test_a_refused_job_does_not_run_later(pool: InferencePool) -> None:
    ran: list[str] = []
    with held(pool):
        for name in ("first", "second"):
            pool.submit(lambda name=name: ran.append(name))  # type: ignore[misc]
        with pytest.raises(ModelBusy):
            pool.submit(lambda: ran.append("third"))
    until(lambda: pool.settled)
    assert ran == ["first", "second"]


def test_an_urgent_job_is_refused_too(pool: InferencePool) -> None:
    with held(pool):
        pool.submit(lambda: None)
        pool.submit(lambda: None)
        with pytest.raises(ModelBusy):
            pool.submit(lambda: None, urgent=True)


def test_when_the_queue_is_shorter_again_the_next_job_is_taken(pool: InferencePool) -> None:
    with held(pool):
        pool.submit(lambda: None)
        pool.submit(lambda: None)
    until(lambda: pool.waiting == 0)
    assert pool.run(lambda: "taken") == "taken"


def test_a_blocking_caller_is_refused_at_once(pool: InferencePool) -> None:
    with held(pool):
        pool.submit(lambda: None)
        pool.submit(lambda: None)
        with pytest.raises(ModelBusy):
            pool.run(lambda: None)


async def test_a_caller_on_the_loop_is_refused_at_once(pool: InferencePool) -> None:
    with held(pool):
        pool.submit(lambda: None)
        pool.submit(lambda: None)
        with pytest.raises(ModelBusy):
            await pool.arun(lambda: None)


def test_a_reply_is_refused_at_its_beginning_and_never_in_its_middle() -> None:
    pool = speaking_pool()
    until(lambda: pool.settled)
    with held(pool):
        for _ in range(CLAUSES_A_THREAD * pool.threads):
            pool.submit(lambda: None, urgent=True)
        with pytest.raises(ModelBusy):
            pool.submit(lambda: None, urgent=True)
        while pool.waiting < LONGEST_QUEUE:
            pool.submit(lambda: None)
        with pytest.raises(ModelBusy):
            pool.submit(lambda: None)
    until(lambda: pool.settled)


# Cancelling


def test_a_job_that_is_cancelled_while_it_waits_does_not_run(pool: InferencePool) -> None:
    ran: list[str] = []
    with held(pool):
        job = pool.submit(lambda: ran.append("ran"))
        assert job.cancel()
    until(lambda: pool.settled)
    assert ran == []
    with pytest.raises(CancelledError):
        job.result(PATIENCE)


def test_a_job_that_is_cancelled_leaves_its_place_to_another(pool: InferencePool) -> None:
    with held(pool):
        pool.submit(lambda: None)
        pool.submit(lambda: None, urgent=True).cancel()
        late = pool.submit(lambda: "late")
        assert pool.waiting == 2
    assert late.result(PATIENCE) == "late"
    until(lambda: pool.settled)


def test_a_job_that_runs_is_not_cancelled(pool: InferencePool) -> None:
    gate = threading.Event()
    job = pool.submit(lambda: gate.wait(PATIENCE))
    until(job.running)
    assert not job.cancel()
    gate.set()
    assert job.result(PATIENCE)


async def test_cancelling_on_the_loop_takes_a_job_from_the_queue(pool: InferencePool) -> None:
    ran: list[str] = []
    with held(pool):
        task = asyncio.ensure_future(pool.arun(lambda: ran.append("ran")))
        await until_on_loop(lambda: pool.waiting == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await until_on_loop(lambda: pool.settled)
    assert ran == []


async def test_cancelling_on_the_loop_leaves_a_job_that_runs_to_its_end(
    pool: InferencePool,
) -> None:
    gate = threading.Event()
    waited: list[bool] = []
    task = asyncio.ensure_future(pool.arun(lambda: waited.append(gate.wait(PATIENCE))))
    await until_on_loop(lambda: not pool.settled and pool.waiting == 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    assert await pool.arun(lambda: "next") == "next"
    assert waited == [True]


# On the event loop


async def test_the_loop_is_free_while_a_job_waits_and_runs(pool: InferencePool) -> None:
    gate = threading.Event()
    # Nobody but the loop opens the gate.
    task = asyncio.ensure_future(pool.arun(lambda: gate.wait(PATIENCE)))
    await until_on_loop(lambda: not pool.settled)
    gate.set()
    assert await task


async def test_an_error_of_a_job_reaches_the_loop(pool: InferencePool) -> None:
    with pytest.raises(ZeroDivisionError):
        await pool.arun(lambda: 1 // 0)


# Errors


def test_an_error_of_a_job_reaches_who_asked_for_it(pool: InferencePool) -> None:
    with pytest.raises(ZeroDivisionError):
        pool.run(lambda: 1 // 0)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, StopIteration])
async def test_a_job_that_fails_does_not_take_its_thread_with_it(
    error: type[BaseException], pool: InferencePool
) -> None:
    def fail() -> None:
        raise error

    thread = await pool.arun(threading.get_ident)
    # Those that would end a thread or a loop come in another form.
    with pytest.raises(ValueError if error is ValueError else RuntimeError):
        await pool.arun(fail)
    with pytest.raises(ValueError if error is ValueError else RuntimeError):
        await asyncio.to_thread(pool.run, fail)
    assert await pool.arun(threading.get_ident) == thread


# A job within a job


def test_a_job_that_runs_another_one_does_not_wait_for_a_second_thread(
    pool: InferencePool,
) -> None:
    outer, inner = pool.run(lambda: (threading.get_ident(), pool.run(threading.get_ident)))
    assert outer == inner


def test_a_job_runs_another_one_though_the_queue_is_full(pool: InferencePool) -> None:
    with held(pool):
        job = pool.submit(lambda: pool.run(lambda: "inner"))
        pool.submit(lambda: None)
        with pytest.raises(ModelBusy):
            pool.submit(lambda: None)
    assert job.result(PATIENCE) == "inner"


def test_a_job_may_wait_for_one_of_another_pool(pool: InferencePool) -> None:
    other = InferencePool("other", threads=1)
    name = pool.run(lambda: other.run(lambda: threading.current_thread().name))
    assert name == "fastrtc-other-1"


# What virtual time waits for


def test_a_pool_is_settled_when_it_has_nothing_to_do(pool: InferencePool) -> None:
    assert pool.settled
    with held(pool):
        assert not pool.settled
    until(lambda: pool.settled)


def test_a_pool_with_jobs_that_wait_is_not_settled(pool: InferencePool) -> None:
    gate = threading.Event()
    with held(pool):
        pool.submit(lambda: gate.wait(PATIENCE))
    assert not pool.settled
    gate.set()
    until(lambda: pool.settled)


def test_a_pool_is_settled_after_jobs_that_failed_and_ones_that_were_cancelled(
    pool: InferencePool,
) -> None:
    with held(pool):
        pool.submit(lambda: 1 // 0)
        pool.submit(lambda: None).cancel()
    until(lambda: pool.settled)


async def test_what_a_settled_pool_did_has_reached_the_loop(pool: InferencePool) -> None:
    with held(pool):
        task = asyncio.ensure_future(pool.arun(lambda: "done"))
        await until_on_loop(lambda: pool.waiting == 1)
    until(lambda: pool.settled)
    # The outcome is with the loop already: it takes as many turns as the hand-over has steps.
    for _ in range(3):
        await asyncio.sleep(0)
    assert task.done()


@pytest.mark.parametrize("which", [listening_pool, speaking_pool])
def test_the_process_is_settled_when_both_pools_are(which: Any) -> None:
    until(inference.settled)
    with held(which()):
        assert not inference.settled()
    until(inference.settled)


# What is left behind


def test_a_result_does_not_live_on_in_the_pool(pool: InferencePool) -> None:
    job = pool.submit(Something)
    made = weakref.ref(job.result(PATIENCE))
    until(lambda: pool.settled)
    del job
    gc.collect()
    assert made() is None


def test_what_a_job_worked_on_does_not_live_on_in_the_pool(pool: InferencePool) -> None:
    clip = Something()
    kept = weakref.ref(clip)
    pool.run(lambda clip=clip: None)  # type: ignore[misc]
    del clip
    until(lambda: pool.settled)
    gc.collect()
    assert kept() is None


# Where the system is short of something


def test_a_thread_that_cannot_begin_loses_no_later_job(
    pool: InferencePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(lambda: "refused")
    assert pool.settled
    assert pool.submit(lambda: "later").result(PATIENCE) == "later"


FORK = """
import os, signal, sys
from fastrtc.models.inference import listening_pool, speaking_pool

pools = listening_pool, speaking_pool
assert [pool().run(os.getpid) for pool in pools] == [os.getpid()] * 2
child = os.fork()
if not child:
    signal.alarm(20)
    right = [pool().run(os.getpid) for pool in pools] == [os.getpid()] * 2
    os._exit(0 if right else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no such processes")
def test_a_process_that_was_forked_has_pools_of_its_own() -> None:
    # Python 3.12 warns of it, as other threads might hold locks.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0
