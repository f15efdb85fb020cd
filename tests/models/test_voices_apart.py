"""Voices that take long to read, beside callers whose voices are there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fastrtc import KokoroTTSOptions, get_tts_model
from fastrtc.models.inference import InferencePool
from fastrtc.models.tts import speaker
from fastrtc.models.tts.kokoro_weights import VOICES
from fastrtc.models.tts.speaker import KokoroTTSModel
from fastrtc.models.weights import Weights
from tests.models.pools import PATIENCE, until, until_on_loop

FAR = KokoroTTSOptions(voice="am_onyx")
"""A voice that no other test has read."""
TEXT = "Yes."


class Gone(Exception):
    """What the far voice comes to in the end; so nothing of it is kept for other tests."""


class FarWeights(Weights):
    """Weights that take as long to read as a test wants."""

    gate = threading.Event()
    reading = threading.Event()

    def read(self, folder: str | Path | None = None) -> bytes:
        self.reading.set()
        assert self.gate.wait(PATIENCE)
        raise Gone


@pytest.fixture
def tts(monkeypatch: pytest.MonkeyPatch) -> KokoroTTSModel:
    """Kokoro on one thread that speaks, with its own voice in memory."""
    pool = InferencePool("test", threads=1)
    monkeypatch.setattr(speaker, "speaking_pool", lambda: pool)
    return get_tts_model()


@contextmanager
def far_voice(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Keep a voice from being read until the block is left. Gives what says that somebody reads."""
    monkeypatch.setattr(FarWeights, "gate", threading.Event())
    monkeypatch.setattr(FarWeights, "reading", threading.Event())
    monkeypatch.setitem(VOICES, FAR.voice, FarWeights("far", "", 1))
    try:
        yield FarWeights.reading
    finally:
        FarWeights.gate.set()


def in_background(work: Any, *args: Any) -> tuple[threading.Thread, list[Any]]:
    """Do something on a thread; what it returned or raised is in the list."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work(*args))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


def test_a_voice_that_takes_long_to_read_does_not_delay_who_has_another(
    tts: KokoroTTSModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with far_voice(monkeypatch) as reading:
        far, failed = in_background(tts.tts, TEXT, FAR)
        assert reading.wait(PATIENCE)
        _, spoken = in_background(tts.tts, TEXT)
        until(lambda: bool(spoken))
        assert len(spoken[0][1])
        assert not failed
    far.join(PATIENCE)
    assert isinstance(failed[0], Gone)


async def test_on_the_loop_too_a_voice_that_takes_long_does_not_delay_who_has_another(
    tts: KokoroTTSModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with far_voice(monkeypatch) as reading:
        far = asyncio.ensure_future(anext(tts.stream_tts(TEXT, FAR)))
        await until_on_loop(reading.is_set)
        chunk = await asyncio.wait_for(anext(tts.stream_tts(TEXT)), PATIENCE)
        assert chunk.text == TEXT
        assert not far.done()
    with pytest.raises(Gone):
        await far


def test_a_voice_that_takes_long_does_not_delay_the_reading_of_another(
    tts: KokoroTTSModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NearWeights(FarWeights):
        def read(self, folder: str | Path | None = None) -> bytes:
            raise Gone

    near = KokoroTTSOptions(voice="am_puck")
    with far_voice(monkeypatch) as reading:
        monkeypatch.setitem(VOICES, near.voice, NearWeights("near", "", 1))
        far, _ = in_background(tts.tts, TEXT, FAR)
        assert reading.wait(PATIENCE)
        _, outcome = in_background(tts.tts, TEXT, near)
        until(lambda: bool(outcome))
        assert isinstance(outcome[0], Gone)
        assert far.is_alive()
    far.join(PATIENCE)
