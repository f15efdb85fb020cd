"""Real models in a real Ray: the tier does the work, and its failures are not heard."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastrtc import (
    KokoroTTSOptions,
    MoonshineSTT,
    SmartTurn,
    get_stt_model,
    get_tts_model,
    metrics,
)
from fastrtc.models.end_of_turn import smart_turn
from fastrtc.models.stt import recogniser
from fastrtc.models.tts import speaker
from tests.conftest import Sound, missing
from tests.e2e.tier import PATIENCE, eventually, replica_pids, tier
from tests.words import BECKETT, words

# Ray warns of its own ways.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore")]

STT, TTS, TURN = "stt-moonshine-tiny", "tts-kokoro", "end-of-turn-smart-turn"


def answers(name: str) -> int:
    """How often the tier has answered."""
    spread = metrics.model_tier.values.get(name)
    return sum(spread.counts) if spread else 0


@pytest.fixture(scope="module", autouse=True)
def _tier() -> Iterator[None]:
    if importlib.util.find_spec("ray") is None:
        missing("Ray")
    with tier(STT, TTS, TURN):
        yield


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a busy machine is late with is no failure here."""
    for module in (smart_turn, speaker):
        monkeypatch.setattr(module, "TIER_SECONDS", PATIENCE)
    monkeypatch.setitem(recogniser.TIER_SECONDS, "moonshine/tiny", (PATIENCE, 0.0))


@pytest.fixture
def stt() -> MoonshineSTT:
    return get_stt_model(where="cluster")


def test_speech_is_read_by_the_tier(stt: MoonshineSTT, beckett: Sound) -> None:
    before = answers(STT)
    assert words(stt.stt(beckett)) == BECKETT
    assert answers(STT) > before


async def test_it_is_read_for_an_event_loop_and_in_captions(
    stt: MoonshineSTT, phrase: Sound
) -> None:
    assert words(await stt.astt(phrase)) == "ever tried"
    finals = [line.text async for line in stt.stt_stream([phrase]) if line.final]
    assert [words(text) for text in finals] == ["ever tried"]


def test_ten_callers_at_once_are_read_in_fewer_batches_and_rightly(
    stt: MoonshineSTT, phrase: Sound
) -> None:
    with ThreadPoolExecutor(10) as callers:
        texts = list(callers.map(stt.stt, [phrase] * 10))
    assert [words(text) for text in texts] == ["ever tried"] * 10


def test_a_turn_is_judged_as_it_is_here(phrase: Sound) -> None:
    far, near = SmartTurn(where="cluster"), SmartTurn()
    before = answers(TURN)
    assert far.end_of_turn(phrase) == pytest.approx(near.end_of_turn(phrase), abs=1e-3)
    assert answers(TURN) == before + 1


def test_a_text_is_spoken_by_the_tier() -> None:
    voice = get_tts_model(where="cluster")
    before = answers(TTS)
    rate, samples = voice.tts("Hello there.", KokoroTTSOptions(voice="jm_kumo"))
    assert rate == 24_000
    assert float(np.abs(samples).max()) > 0.05
    assert answers(TTS) > before


def test_a_language_that_there_is_not_is_the_callers_mistake_and_no_outage() -> None:
    voice = get_tts_model(where="cluster")
    before = metrics.model_fallbacks.values["failed"]
    with pytest.raises(ValueError, match="expected a language that espeak-ng knows"):
        voice.tts("Hello.", KokoroTTSOptions(voice="jm_kumo", lang="xx"))
    assert metrics.model_fallbacks.values["failed"] == before


def test_a_model_that_is_not_deployed_is_run_here_at_once(phrase: Sound) -> None:
    before = metrics.model_fallbacks.values["missing"]
    base = get_stt_model("moonshine/base", where="cluster", standby=True)
    assert words(base.stt(phrase)) == "ever tried"
    assert metrics.model_fallbacks.values["missing"] == before + 1


def test_when_a_replica_is_killed_this_process_reads_until_there_is_another(
    stt: MoonshineSTT, phrase: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tier_reads(stt, phrase)
    # Who has just been killed is not to be waited for.
    monkeypatch.setitem(recogniser.TIER_SECONDS, "moonshine/tiny", (1.0, 0.0))
    stt = get_stt_model(where="cluster")
    (pid,) = replica_pids(STT)
    os.kill(pid, signal.SIGKILL)
    before = sum(metrics.model_fallbacks.values.values())
    assert not tier_reads(stt, phrase)
    assert sum(metrics.model_fallbacks.values.values()) > before
    eventually(lambda: tier_reads(stt, phrase))
    assert replica_pids(STT) != [pid]


def tier_reads(stt: MoonshineSTT, phrase: Sound) -> bool:
    before = answers(STT)
    assert words(stt.stt(phrase)) == "ever tried"
    return answers(STT) > before


async def test_who_hangs_up_does_not_wait_for_the_tier(stt: MoonshineSTT, beckett: Sound) -> None:
    reading = asyncio.ensure_future(stt.astt(beckett))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
