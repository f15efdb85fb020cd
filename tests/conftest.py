"""What all tests share: strict parts, human speech, and a detector of blocked event loops."""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blockbuster import blockbuster_ctx
from numpy.typing import NDArray

# Tests mount streams on a running loop; an app does that before, and what is imported then looks
# for a library in folders.
import fastrtc.transports.opus  # noqa: F401
from fastrtc.testing import load_speech

Sound = tuple[int, NDArray[np.int16]]

_new_event_loop = asyncio.new_event_loop


def _new_event_loop_of_ours() -> asyncio.AbstractEventLoop:
    """Gradio makes loops that it neither runs nor closes, which would be warned of."""
    loop = _new_event_loop()
    if sys._getframe(1).f_globals.get("__name__") == "gradio.utils":
        loop.close()
    return loop


asyncio.new_event_loop = _new_event_loop_of_ours


def missing(part: str) -> None:
    """A part that a test needs is not there: skip on a laptop, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{part} is missing, and in CI no test is skipped for a missing part")
    pytest.skip(f"{part} is missing")


@pytest.fixture(autouse=True)
def _unblocked_loop() -> Iterator[None]:
    """Fail a test in which our code blocks an event loop."""
    with blockbuster_ctx("fastrtc") as detector:
        # Virtual time gives real threads a moment, on purpose.
        detector.functions["time.sleep"].can_block_in("fastrtc/testing/loop.py", "select")
        # Weights are looked for once in a process, when the first handler is made.
        for name, function in detector.functions.items():
            if name.startswith(("os.", "io.")):
                function.can_block_in("fastrtc/models/weights.py", "find")
        yield


@pytest.fixture(scope="module", autouse=True)
def _all_closed() -> Iterator[None]:
    """What a file leaves open fails in that file, not wherever it happens to be collected."""
    yield
    # FastAPI remembers the routes of apps, and with them all that they use.
    for module in [it for name, it in sys.modules.items() if name.startswith("fastapi.")]:
        for value in vars(module).values():
            if isinstance(value, functools._lru_cache_wrapper):
                value.cache_clear()
    gc.collect()


def human_speech(name: str) -> Path:
    """A recording that the package moonshine-voice carries."""
    spec = importlib.util.find_spec("moonshine_voice")
    if spec is None or not spec.submodule_search_locations:
        missing("the package moonshine-voice==0.1.0, which carries human speech")
    assert spec is not None
    folders = [Path(place) for place in spec.submodule_search_locations or []]
    return next(f for folder in folders for f in folder.rglob(name))


@pytest.fixture(scope="session")
def beckett() -> Sound:
    """10 s of human speech in many phrases; 16 kHz, shape (1, n)."""
    return load_speech(human_speech("beckett.wav"))


@pytest.fixture(scope="session")
def phrase(beckett: Sound) -> Sound:
    """One phrase of 1.2 s, without an inner pause of over 0.15 s; 16 kHz, shape (1, n)."""
    rate, samples = beckett
    return rate, np.ascontiguousarray(samples[:, round(0.30 * rate) : round(1.52 * rate)])


def silence(seconds: float, rate: int = 16_000) -> Sound:
    return rate, np.zeros((1, round(seconds * rate)), np.int16)


def tone(
    seconds: float, rate: int = 24_000, hertz: float = 440.0, amplitude: float = 8_000.0
) -> Sound:
    """A sine, shape (1, n)."""
    t = np.arange(round(seconds * rate)) / rate
    return rate, (np.sin(2 * np.pi * hertz * t) * amplitude).astype(np.int16)[None]


def level(samples: NDArray[Any]) -> float:
    """RMS level in dB relative to full scale."""
    rms = float(np.sqrt(np.mean(np.square(samples.astype(np.float64))))) if samples.size else 0.0
    return 20 * float(np.log10(rms / 32768 + 1e-9))
