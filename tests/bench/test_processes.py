from __future__ import annotations

import os
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from fastrtc.bench.processes import BenchError, Worker, cores


def answering(pipe: Connection) -> None:
    while True:
        pipe.send(("more", "thinking"))
        pipe.send(("done", pipe.recv()))


def failing(pipe: Connection) -> None:
    pipe.send(("failed", "There is no such thing."))


def leaving(pipe: Connection) -> None:
    os._exit(3)


def stuck(pipe: Connection) -> None:
    time.sleep(60)


def where(pipe: Connection) -> None:
    pipe.send(("done", os.sched_getaffinity(0)))


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    started: list[Worker] = []
    yield started
    for worker in started:
        worker.kill()


def test_a_process_answers_and_tells_how_far_it_is(workers: list[Worker]) -> None:
    workers.append(Worker(answering, None))
    told: list[Any] = []
    assert workers[0].ask("echo", 20, told.append) == "echo"
    assert "thinking" in told


def test_what_a_process_says_of_its_failure_is_the_error(workers: list[Worker]) -> None:
    workers.append(Worker(failing, None))
    with pytest.raises(BenchError, match="There is no such thing"):
        workers[0].ask(None, 20)


def test_a_process_that_has_gone_is_an_error_in_words(workers: list[Worker]) -> None:
    workers.append(Worker(leaving, None))
    with pytest.raises(BenchError, match="has ended"):
        workers[0].ask(None, 20)


def test_a_process_that_does_not_answer_is_not_waited_for_and_is_ended_at_once(
    workers: list[Worker],
) -> None:
    workers.append(Worker(stuck, None))
    with pytest.raises(BenchError, match="in time"):
        workers[0].ask(None, 0.2)
    began = time.monotonic()
    workers[0].kill()
    assert time.monotonic() - began < 3


@pytest.mark.skipif(not cores(), reason="this system pins no process to a core")
def test_a_process_stays_on_its_core_and_we_do_not(workers: list[Worker]) -> None:
    before = cores()
    workers.append(Worker(where, before[-1]))
    assert workers[0].ask(None, 20) == {before[-1]}
    assert cores() == before
