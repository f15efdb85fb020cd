"""Smart Turn v3.2 (BSD-2) on onnxruntime: whether speech sounds finished, in any language."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.mono import as_mono
from fastrtc.models.end_of_turn.features import BANDS, FRAMES, RATE, log_mel
from fastrtc.models.place import Here, Runner, Where, placed
from fastrtc.models.session import open_session
from fastrtc.models.weights import HubFile, Packaged, Weights

SMART_TURN: Final = Weights(
    name="smart-turn-v3.2-cpu.onnx",
    sha256="2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
    size=8_679_182,
    licence="BSD-2-Clause",
    packaged=Packaged(
        parts=(("pipecat", "audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"),),
        install="--no-deps pipecat-ai==1.14.0",
    ),
    hub=HubFile(
        "pipecat-ai/smart-turn-v3",
        "smart-turn-v3.2-cpu.onnx",
        revision="f766f81d3cfdf7737ac64aad813d91bbfd56bf93",
    ),
)
TIER_SECONDS: Final = 0.15
"""What a tier has for a judgement, a third of it at work: callers wait in silence."""


def smart_turn_missing() -> str:
    """How to get the weights of `SmartTurn`; empty where they are found. Nothing is loaded."""
    return SMART_TURN.missing()


class SmartTurnNet:
    """The network: a picture in, a probability out. It may be used from many threads."""

    def __init__(self) -> None:
        """Load it.

        Raises:
            WeightsError: the weights are missing or wrong.
        """
        self._session = open_session(SMART_TURN.read())

    def probability(self, features: NDArray[np.float32]) -> float:
        """Probability in [0, 1] that the caller has finished.

        Args:
            features: float32 ``(1, BANDS, FRAMES)``, see `log_mel`.
        """
        # The output is called logits, but it has been through the sigmoid.
        (found,) = self._session.run(None, {"input_features": features})
        return float(found.item())


@cache
def shared_smart_turn() -> SmartTurnNet:
    """The one network of the process."""
    return SmartTurnNet()


def _warm() -> SmartTurnNet:
    net = shared_smart_turn()
    net.probability(np.zeros((1, BANDS, FRAMES), np.float32))
    return net


class SmartTurn:
    """The network on a turn at a time, as an `EndOfTurnModel`."""

    def __init__(self, *, where: Where = "local", standby: bool = False) -> None:
        """See that the weights are there, and download them if need be.

        Args:
            where: ``"cluster"`` has the tier of models of a Ray cluster judge. This process then
                loads the network when the tier first fails to answer in time, and judges itself.
            standby: with ``"cluster"``, see to the weights all the same, and load it in `warmup`.

        Raises:
            ValueError: there is no such place.
            WeightsError: they cannot be had, or are wrong.
        """
        self._here = Here(lambda: _warm().probability)
        self._judge: Runner[float] = (
            self._here
            if where == "local"
            else placed(where, "end-of-turn-smart-turn", self._here, lambda features: TIER_SECONDS)
        )
        self._warms = where == "local" or standby
        if self._warms:
            SMART_TURN.fetch()

    def warmup(self) -> None:
        """Load the network, and run it once: the first run is the slowest."""
        if self._warms:
            self._here.load()

    def end_of_turn(self, audio: tuple[int, NDArray[Any]]) -> float:
        """Probability in [0, 1] that the caller has finished. The last 8 s count.

        Args:
            audio: rate in Hz and samples, any shape and dtype that the package takes.
        """
        return self._judge.run(log_mel(as_mono(audio, RATE)))
