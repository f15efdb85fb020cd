"""What runs in the replicas of the tier: a network each, and threads that use it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import numpy as np
import ray
from numpy.typing import NDArray
from ray import serve

from fastrtc.cluster.model_calls import Wrong
from fastrtc.models.end_of_turn.features import BANDS, FRAMES
from fastrtc.models.end_of_turn.smart_turn import shared_smart_turn
from fastrtc.models.inference import SPEAKING_CORES
from fastrtc.models.session import use_cuda
from fastrtc.models.stt.moonshine import Size, shared_moonshine
from fastrtc.models.tts.kokoro import shared_kokoro

T = TypeVar("T")
logger = logging.getLogger(__name__)
Floats = NDArray[np.float32]

LARGEST_BATCH: Final = 16
"""Clips that are read at once."""
BATCH_WAIT: Final = 0.005
"""Seconds that the first clip waits for others. While a batch is read, the next one gathers."""
BASE_BATCH_WAIT: Final = 0.05
"""The same for the base network, which takes a second for a clip alone."""


class Replica:
    """What all replicas have. One of an application's models carries the others: Serve wants a
    single root.
    """

    def __init__(self, threads: int) -> None:
        """``threads``: how many jobs run side by side."""
        self._lanes = ThreadPoolExecutor(threads, "fastrtc-tier")
        if ray.get_gpu_ids() and not use_cuda():
            logger.warning("There is a GPU, and no onnxruntime that can use it: install one")

    async def ready(self) -> None:
        """Answer: then a caller has been through all that is slow the first time."""

    async def _on_a_lane(self, job: Callable[..., T], *given: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._lanes, job, *given)


class MoonshineReplica(Replica):
    """Reads clips: those that come at about the same time in one batch."""

    def __init__(self, size: Size, cpus: int, *_others: object) -> None:
        super().__init__(cpus)
        self._net = shared_moonshine(size)
        if size == "base":
            gathered: Any = self._read
            gathered.set_batch_wait_timeout_s(BASE_BATCH_WAIT)
        # A step of the base network's decoder costs the same for one clip as for ten.
        self._shares = cpus if size == "tiny" else 1

    async def __call__(self, samples: Floats) -> str:
        text: str = await self._read(samples)
        return text

    @serve.batch(max_batch_size=LARGEST_BATCH, batch_wait_timeout_s=BATCH_WAIT)
    async def _read(self, clips: list[Floats]) -> list[str]:
        # A thread has those of like lengths.
        order = sorted(range(len(clips)), key=lambda at: len(clips[at]))
        shares = [share.tolist() for share in np.array_split(order, self._shares) if len(share)]
        found = await asyncio.gather(
            *(
                self._on_a_lane(self._net.transcribe_all, [clips[at] for at in share])
                for share in shares
            )
        )
        texts = [""] * len(clips)
        for share, read in zip(shares, found, strict=True):
            for at, text in zip(share, read, strict=True):
                texts[at] = text
        return texts


class KokoroReplica(Replica):
    """Speaks clauses. The network takes one at a time, so they are not batched."""

    def __init__(self, cpus: int, *_others: object) -> None:
        super().__init__(max(1, cpus // SPEAKING_CORES))
        self._net = shared_kokoro()

    async def __call__(self, words: str, voice: str, speed: float, lang: str) -> Floats | Wrong:
        try:
            return await self._on_a_lane(self._net.say, words, voice, speed, lang)
        except ValueError as error:
            return Wrong(str(error))


class SmartTurnReplica(Replica):
    """Judges turns. A batch takes as long as its turns one by one, so they are not batched."""

    def __init__(self, cpus: int, *_others: object) -> None:
        super().__init__(cpus)
        self._net = shared_smart_turn()
        self._net.probability(np.zeros((1, BANDS, FRAMES), np.float32))

    async def __call__(self, features: Floats) -> float:
        return await self._on_a_lane(self._net.probability, features)
