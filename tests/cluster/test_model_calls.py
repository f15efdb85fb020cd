"""The tier is asked first; where it does not answer, this process does the work."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fastrtc import metrics
from fastrtc.cluster.model_breaker import REST
from fastrtc.cluster.model_calls import Ask, TierModel, Unanswered, Wrong
from fastrtc.models.inference import InferencePool
from fastrtc.models.place import Here
from fastrtc.threads import readers
from tests.models.pools import PATIENCE, until, until_on_loop

SOON = 0.05
"""Seconds that the tier has in these tests, where it is not to answer."""


class Tier:
    """A tier that does what it is told, and counts what it is asked."""

    def __init__(self) -> None:
        self.answer: Callable[[str], Any] = lambda word: f"tier {word}"
        self.asked = 0
        self.cancelled = 0
        self.found = 0
        self.missing = False
        self.shown = threading.Event()
        self.shown.set()

    async def find(self, name: str) -> Ask:
        self.found += 1
        await readers.call(self.shown.wait, PATIENCE)
        if self.missing:
            raise KeyError(f"{name} does not exist")
        return self.ask

    async def ask(self, word: str) -> Any:
        self.asked += 1
        found = self.answer(word)
        try:
            return await found if isinstance(found, Awaitable) else found
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class House:
    """A process with a model that says whose it is, and a clock that stands."""

    def __init__(self) -> None:
        self.tier = Tier()
        self.now = 100.0
        self.bound = PATIENCE
        self.loads = 0
        self.cluster = True
        self.pool = InferencePool("test", 2)
        self.here = Here(self._load, lambda: self.pool)

    def _load(self) -> Callable[[str], str]:
        self.loads += 1
        return lambda word: f"here {word}"

    def model(self, bound: float = PATIENCE) -> TierModel[str]:
        self.bound = bound
        return TierModel(
            "test",
            self.here,
            lambda word: self.bound,
            find=self.tier.find,
            reachable=lambda: self.cluster,
            clock=lambda: self.now,
        )


@pytest.fixture
def house() -> House:
    return House()


async def never(word: str) -> str:
    await asyncio.Event().wait()
    raise AssertionError("it was set")


async def broken(word: str) -> str:
    raise OSError("the replica died")


async def full(word: str) -> str:
    raise Unanswered("full")


# The tier answers


def test_the_tier_does_the_work_and_nothing_is_loaded_here(house: House) -> None:
    assert house.model().run("a") == "tier a"
    assert house.loads == 0


async def test_it_does_so_for_an_event_loop(house: House) -> None:
    assert await house.model().arun("a") == "tier a"


def test_the_tier_is_found_once(house: House) -> None:
    model = house.model()
    assert [model.run("a"), model.run("b")] == ["tier a", "tier b"]
    assert house.tier.found == 1


def test_work_that_is_wrong_is_an_error_and_no_outage(house: House) -> None:
    model = house.model()
    house.tier.answer = lambda word: Wrong("no such language")
    with pytest.raises(ValueError, match="no such language"):
        model.run("a")
    house.tier.answer = lambda word: "tier"
    assert model.run("a") == "tier"
    assert house.loads == 0


def test_the_answers_are_timed(house: House) -> None:
    before = metrics.model_tier.values.get("test")
    house.model().run("a")
    spread = metrics.model_tier.values["test"]
    assert sum(spread.counts) == (sum(before.counts) if before else 0) + 1


async def test_who_gives_up_takes_the_work_from_the_tier(house: House) -> None:
    house.tier.answer = never
    asking = asyncio.ensure_future(house.model().arun("a"))
    await until_on_loop(lambda: house.tier.asked == 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until_on_loop(lambda: house.tier.cancelled == 1)
    assert house.loads == 0


# It does not


@pytest.mark.parametrize(("answer", "why"), [(never, "late"), (broken, "failed"), (full, "full")])
def test_this_process_does_what_the_tier_does_not(
    answer: Callable[[str], Any], why: str, house: House
) -> None:
    before = metrics.model_fallbacks.values[why]
    house.tier.answer = answer
    assert house.model(SOON).run("a") == "here a"
    assert metrics.model_fallbacks.values[why] == before + 1


@pytest.mark.parametrize("answer", [never, broken, full])
async def test_it_does_so_for_an_event_loop_too(answer: Callable[[str], Any], house: House) -> None:
    house.tier.answer = answer
    assert await house.model(SOON).arun("a") == "here a"


def test_work_that_is_late_is_taken_from_the_tier(house: House) -> None:
    house.tier.answer = never
    house.model(SOON).run("a")
    until(lambda: house.tier.cancelled == 1)


def test_a_tier_that_is_not_deployed_is_not_waited_for(house: House) -> None:
    before = metrics.model_fallbacks.values["missing"]
    house.tier.missing = True
    assert house.model(1000).run("a") == "here a"
    assert metrics.model_fallbacks.values["missing"] == before + 1


def test_after_a_failure_the_tier_is_left_alone(house: House) -> None:
    model = house.model()
    house.tier.answer = broken
    assert [model.run("a") for _ in range(5)] == ["here a"] * 5
    assert house.tier.asked == 1


def test_after_its_rest_it_is_asked_again_and_does_the_work_if_it_can(house: House) -> None:
    model = house.model()
    house.tier.answer = broken
    model.run("a")
    house.tier.answer = lambda word: "tier"
    house.now += REST
    assert [model.run("a"), model.run("a")] == ["tier", "tier"]


def test_a_tier_that_is_deployed_later_is_found(house: House) -> None:
    model = house.model()
    house.tier.missing = True
    model.run("a")
    house.tier.missing = False
    house.now += REST
    assert model.run("a") == "tier a"


def test_a_full_tier_is_asked_again_at_once(house: House) -> None:
    model = house.model()
    house.tier.answer = full
    model.run("a")
    house.tier.answer = lambda word: "tier"
    assert model.run("a") == "tier"


def test_an_outage_is_told_once_and_so_is_its_end(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    model = house.model()
    house.tier.answer = broken
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            model.run("a")
            house.now += REST
        house.tier.answer = lambda word: "tier"
        model.run("a")
        model.run("a")
    outage, end = [r.message for r in caplog.records if r.name.startswith("fastrtc.cluster")]
    assert "out of order (OSError: the replica died)" in outage
    assert "answers again" in end


def test_a_tier_that_is_slow_to_be_found_is_sought_once(house: House) -> None:
    model = house.model(SOON)
    house.tier.shown.clear()
    assert model.run("a") == "here a"
    house.now += REST
    assert model.run("a") == "here a"
    house.bound = PATIENCE
    house.now += REST
    house.tier.shown.set()
    assert model.run("a") == "tier a"
    assert house.tier.found == 1


# The model here


def test_the_model_here_is_loaded_when_the_tier_is_slow_and_before_it_is_given_up(
    house: House,
) -> None:
    gate = threading.Event()

    async def slow(word: str) -> str:
        await readers.call(gate.wait, PATIENCE)
        return "tier"

    house.tier.answer = slow
    asking = InferencePool("asks", 1).submit(lambda: house.model(4).run("a"))
    until(lambda: house.here.is_loaded)
    gate.set()
    assert asking.result() == "tier"
    assert house.loads == 1


def test_a_tier_that_is_there_is_prepared_without_a_model_here(house: House) -> None:
    house.model().prepare()
    until(lambda: house.tier.found == 1)
    assert house.loads == 0


def test_where_the_tier_is_missing_the_model_here_is_ready_for_the_first_caller(
    house: House,
) -> None:
    house.tier.missing = True
    house.model().prepare()
    until(lambda: house.here.is_loaded)


# No cluster


def test_without_a_cluster_the_work_is_done_here_and_nobody_is_asked(house: House) -> None:
    house.cluster = False
    before = metrics.model_fallbacks.values
    assert house.model().run("a") == "here a"
    assert house.tier.found == 0
    assert metrics.model_fallbacks.values == before


async def test_nor_is_anybody_asked_for_an_event_loop(house: House) -> None:
    house.cluster = False
    assert await house.model().arun("a") == "here a"
    assert house.tier.found == 0


def test_that_there_is_none_is_said_once_and_is_no_warning(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.cluster = False
    model = house.model()
    with caplog.at_level(logging.INFO):
        model.run("a")
        model.run("a")
    (said,) = [r for r in caplog.records if r.name.startswith("fastrtc.cluster")]
    assert (said.levelno, said.message) == (
        logging.INFO,
        "There is no cluster: the model test runs in this process",
    )


def test_without_a_cluster_the_model_is_ready_for_the_first_caller(house: House) -> None:
    house.cluster = False
    house.model().prepare()
    until(lambda: house.here.is_loaded)
