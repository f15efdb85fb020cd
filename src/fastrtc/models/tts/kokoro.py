"""Kokoro-82M (Apache-2.0) on onnxruntime: a clause of text in, its sound out."""

from __future__ import annotations

import io
import logging
import threading
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.models.inference import SPEAKING_CORES, cores
from fastrtc.models.session import open_session
from fastrtc.models.tts.kokoro_weights import KOKORO, SPARE_VOICES, VOICES
from fastrtc.models.weights import WeightsError

logger = logging.getLogger(__name__)

RATE: Final = 24_000
STYLE: Final = 256
"""Numbers in a style, which says how a voice sounds in a text of so many tokens."""
LONGEST: Final = 500
"""Tokens that are said at once; the network takes 510."""
PAD: Final = 0
"""The token that stands before and behind a text."""
SPARE_VOICE: Final = "jf_alpha"
"""Speaks where nothing has the voice that is wanted. Japanese, and clear in English."""
QUIET: Final = 0.01
"""Share of full scale (-40 dBFS) under which the ends of a clause are silence."""
LEAD_IN: Final = 0.02
TAIL: Final = 0.06
"""Seconds of that silence that are kept: soft onsets and ends lie under it."""
FADE: Final = 0.005
"""Seconds over which what is kept of it rises and falls."""

Floats = NDArray[np.float32]


class KokoroNet:
    """The network, its voices and its spelling. It may be used from many threads."""

    def __init__(self, folder: str | Path | None = None) -> None:
        """Load it, which takes about a second, and first fetch it if need be.

        Args:
            folder: where to look for the weights first, see `Weights.read`.

        Raises:
            ImportError: ``fastrtc[tts]`` is not installed.
            WeightsError: the weights cannot be had, or are wrong.
        """
        try:
            from kokoro_onnx.chunker import split_phonemes
            from kokoro_onnx.tokenizer import Tokenizer
        except ImportError as error:
            raise ImportError(
                'Kokoro needs the package kokoro-onnx: pip install "fastrtc[tts]"'
            ) from error
        # A second thread halves the wait for the first sound.
        self._session = open_session(KOKORO.read(folder), threads=min(SPEAKING_CORES, cores()))
        # The hub's copy and the packages' call it differently.
        self._tokens_input = self._session.get_inputs()[0].name
        self._tokenizer = Tokenizer()
        # It warns of every number and abbreviation that has more words than are written.
        logging.getLogger("phonemizer").setLevel(logging.ERROR)
        self._split = split_phonemes
        self._folder = folder
        self._voices: dict[str, Floats] = {}
        self._reading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def voice(self, name: str) -> Floats:
        """The styles of a voice by the length of the text, shape ``(510, 1, 256)``.

        It is read, or downloaded, the first time. Where it cannot be had, another voice speaks,
        and the log says so.

        Raises:
            WeightsError: no voice can be had.
        """
        if name not in self._voices:
            with self._reading[name]:
                if name not in self._voices:
                    self._voices[name] = self._read_voice(name)
        return self._voices[name]

    def has_voice(self, name: str) -> bool:
        """Whether `voice` would answer at once."""
        return name in self._voices

    def say(self, text: str, voice: str, speed: float = 1.0, lang: str = "en-us") -> Floats:
        """The sound of a text, without the silence around it, shape ``(n,)``.

        Args:
            text: what to say, as `text.speakable` writes it; a clause or a short sentence.
            voice: a name in `VOICES`.
            speed: 2 is twice as fast.
            lang: as espeak-ng names it.

        Raises:
            WeightsError: no voice can be had.
            ValueError: espeak-ng does not know the language.
        """
        styles = self.voice(voice)
        parts = []
        for phonemes in self._split(self._phonemes(text, lang), LONGEST):
            tokens = self._tokenizer.tokenize(phonemes)
            if tokens:
                style = styles[min(len(tokens), len(styles)) - 1]
                parts.append(self._synthesise(tokens, style, speed))
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _synthesise(self, tokens: list[int], style: Floats, speed: float) -> Floats:
        found = self._session.run(
            None,
            {
                self._tokens_input: np.array([[PAD, *tokens, PAD]], np.int64),
                "style": style.reshape(1, STYLE),
                "speed": np.array([speed], np.float32),
            },
        )
        return trimmed(np.asarray(found[0], np.float32).ravel())

    def _phonemes(self, text: str, lang: str) -> str:
        try:
            phonemes: str = self._tokenizer.phonemize(text, lang)
        except RuntimeError as error:
            if "not supported" not in str(error):
                raise
            raise ValueError(
                f"expected a language that espeak-ng knows, such as 'en-us', got {lang!r}"
            ) from error
        return " ".join(phonemes.split())

    def _read_voice(self, name: str) -> Floats:
        try:
            data = VOICES[name].read(self._folder)
        except WeightsError as error:
            try:
                spare = np.load(io.BytesIO(SPARE_VOICES.read(self._folder)))
            except WeightsError as nor_that:
                raise WeightsError(f"{error} Another voice would do: {nor_that}") from None
            given = name if name in spare.files else SPARE_VOICE
            if given != name:
                logger.warning("Kokoro speaks with the voice %s. %s", given, error)
            return np.asarray(spare[given], np.float32).reshape(-1, 1, STYLE)
        styles: Floats = np.frombuffer(data, np.float32).reshape(-1, 1, STYLE)
        return styles


def trimmed(sound: Floats) -> Floats:
    """A clause without the silence at its ends, and without a click where it is cut."""
    loud = np.flatnonzero(np.abs(sound) > QUIET)
    if not len(loud):
        return np.zeros(0, np.float32)
    begin = max(0, int(loud[0]) - round(LEAD_IN * RATE))
    kept: Floats = sound[begin : int(loud[-1]) + round(TAIL * RATE)].clip(-1, 1)
    length = min(round(FADE * RATE), len(kept))
    ramp = np.linspace(0, 1, length, dtype=np.float32)
    kept[:length] *= ramp
    kept[len(kept) - length :] *= ramp[::-1]
    return kept


_loading: Final = threading.Lock()


def shared_kokoro(folder: str | Path | None = None) -> KokoroNet:
    """The one network of the process, warm. Raises what `KokoroNet` does."""
    with _loading:
        return _loaded(folder)


@cache
def _loaded(folder: str | Path | None) -> KokoroNet:
    net = KokoroNet(folder)
    # The first run is the slowest.
    net.say("Hello.", "af_heart")
    return net
