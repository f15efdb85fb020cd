"""Where a model does its work."""

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from fastrtc import KokoroTTSOptions, SmartTurn, Stream, get_stt_model, get_tts_model
from fastrtc.cluster import wanted
from fastrtc.models.inference import InferencePool
from fastrtc.models.place import Here
from fastrtc.models.stt import recogniser
from fastrtc.models.stt.moonshine import MoonshineNet, shared_moonshine
from tests.conftest import Sound
from tests.models.pools import until
from tests.samples import Echo
from tests.words import BECKETT, words

MAKERS: list[Callable[..., Any]] = [get_stt_model, get_tts_model, SmartTurn]


@pytest.mark.parametrize("make", MAKERS)
def test_a_place_that_there_is_not_is_an_error(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="expected one of local, cluster, got where='moon'"):
        make(where="moon")


@pytest.mark.parametrize("make", MAKERS)
def test_a_model_of_a_cluster_is_the_same_as_one_of_this_process(make: Callable[..., Any]) -> None:
    assert type(make(where="cluster")) is type(make())


def test_what_is_wanted_of_a_cluster_is_known_and_nothing_else() -> None:
    code = (
        "from fastrtc import SmartTurn, get_stt_model, get_tts_model;"
        "from fastrtc.cluster import wanted;"
        "SmartTurn(where='cluster'); get_stt_model('moonshine/base', where='cluster');"
        "get_stt_model('moonshine/base', where='cluster'); get_stt_model('moonshine/tiny');"
        "print(*wanted())"
    )
    found = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert found.split() == ["end-of-turn-smart-turn", "stt-moonshine-base"]


def test_each_model_of_a_cluster_is_wanted_once() -> None:
    for make in MAKERS * 2:
        make(where="cluster")
    assert len(set(wanted())) == len(wanted())
    assert {"stt-moonshine-tiny", "tts-kokoro", "end-of-turn-smart-turn"} <= set(wanted())


# Without a cluster


def test_without_one_speech_is_read_here(beckett: Sound) -> None:
    assert words(get_stt_model(where="cluster").stt(beckett)) == BECKETT


async def test_without_one_a_text_is_spoken_here() -> None:
    far, near = get_tts_model(where="cluster"), get_tts_model()
    options = KokoroTTSOptions(voice="jm_kumo")
    (sound,) = [samples async for _, samples in far.stream_tts("Hello.", options)]
    (other,) = [samples async for _, samples in near.stream_tts("Hello.", options)]
    assert np.allclose(sound, other, atol=1e-4)


def test_without_one_a_turn_is_judged_here(phrase: Sound) -> None:
    assert SmartTurn(where="cluster").end_of_turn(phrase) == SmartTurn().end_of_turn(phrase)


def test_without_one_a_model_is_loaded_when_a_stream_is_mounted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loads = []

    def load(size: str, folder: object) -> MoonshineNet:
        loads.append(size)
        return shared_moonshine("tiny")

    monkeypatch.setattr(recogniser, "shared_moonshine", load)
    model = get_stt_model("moonshine/base", where="cluster")
    assert loads == []
    Stream(Echo()).mount(FastAPI())
    until(lambda: loads == ["base"])
    assert model.model == "moonshine/base"


def test_a_model_on_standby_is_loaded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []

    def load(size: str, folder: object) -> MoonshineNet:
        loads.append(size)
        return shared_moonshine("tiny")

    monkeypatch.setattr(recogniser, "shared_moonshine", load)
    get_stt_model("moonshine/base", where="cluster", standby=True)
    assert loads == ["base"]


# The model of this process


def test_it_is_loaded_when_it_is_first_needed_and_once() -> None:
    loads = []

    def load() -> Callable[[int], int]:
        loads.append(1)
        return lambda number: number + 1

    here = Here(load)
    assert not here.is_loaded
    assert [here.run(1), here.run(2)] == [2, 3]
    assert loads == [1]


def test_it_can_be_loaded_in_the_background() -> None:
    gate = threading.Event()

    def load() -> Callable[[], str]:
        assert gate.wait(10)
        return lambda: "done"

    here = Here(load)
    here.warm()
    here.warm()
    assert not here.is_loaded
    gate.set()
    until(lambda: here.is_loaded)
    assert here.run() == "done"


def test_what_could_not_be_loaded_in_the_background_is_loaded_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fails = [True]

    def load() -> Callable[[], str]:
        if fails.pop():
            raise OSError("no disk")
        return lambda: "done"

    here = Here(load)
    here.warm()
    until(lambda: "A model could not be loaded" in caplog.text)
    fails.append(False)
    assert here.run() == "done"


def test_an_error_of_loading_comes_with_the_work() -> None:
    def load() -> Callable[[], str]:
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        Here(load, lambda: InferencePool("test", 1)).run()


async def test_it_does_not_block_an_event_loop() -> None:
    pool = InferencePool("test", 1)
    here = Here(lambda: threading.current_thread, lambda: pool)
    assert (await here.arun()).name.startswith("fastrtc-test")
