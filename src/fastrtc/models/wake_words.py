"""Stop words that are known by their sound: pymicro-wakeword (Apache-2.0), ``fastrtc[wakeword]``.

A hundred times cheaper than reading all that is said, for the few words that it was trained on.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import audio_to_int16

KNOWN: Final = {
    "alexa": "ALEXA",
    "hey jarvis": "HEY_JARVIS",
    "hey mycroft": "HEY_MYCROFT",
    "okay nabu": "OKAY_NABU",
    "ok nabu": "OKAY_NABU",
}
"""The words, and what the package calls its models."""


class WakeWords:
    """A choice of the known words."""

    def __init__(self, words: Sequence[str]) -> None:
        """Take the words.

        Raises:
            ValueError: one of them is not known.
            ImportError: ``fastrtc[wakeword]`` is not installed.
        """
        if importlib.util.find_spec("pymicro_wakeword") is None:
            raise ImportError(
                'Knowing stop words by their sound needs pip install "fastrtc[wakeword]"'
            )
        unknown = [word for word in words if _key(word) not in KNOWN]
        if unknown:
            raise ValueError(
                f"expected stop words that are known by their sound ({', '.join(KNOWN)}), "
                f"got {', '.join(unknown)}"
            )
        self._models = sorted({KNOWN[_key(word)] for word in words})

    @staticmethod
    def know(words: Sequence[str]) -> bool:
        """Whether the package is installed and knows all of the words."""
        installed = importlib.util.find_spec("pymicro_wakeword") is not None
        return installed and all(_key(word) in KNOWN for word in words)

    def open(self) -> WakeWordListener:
        """Listen to a caller."""
        return WakeWordListener(self._models)


class WakeWordListener:
    """Listens to one caller. It takes 0.3 % of a core for each word."""

    def __init__(self, models: Sequence[str]) -> None:
        """``models``: what the package calls them."""
        from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

        self._features = MicroWakeWordFeatures()
        self._models: list[Any] = [MicroWakeWord.from_builtin(Model[name]) for name in models]

    def hear(self, samples: NDArray[np.float32]) -> bool:
        """Take mono samples at 16 kHz, shape ``(n,)``; whether one of the words has been said."""
        heard = False
        for features in self._features.process_streaming(audio_to_int16(samples).tobytes()):
            for model in self._models:
                heard = bool(model.process_streaming(features)) or heard
        return heard

    def close(self) -> None:
        """Give back the memory of the networks."""
        models, self._models = self._models, []
        for model in models:
            model.close()


def _key(word: str) -> str:
    return " ".join(re.findall(r"[a-z]+", word.lower()))
