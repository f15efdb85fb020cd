"""Moonshine (MIT, English) on onnxruntime: the words of a clip; tiny at 50 times real time."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from fastrtc.models.session import open_session
from fastrtc.models.stt.moonshine_weights import BASE, TINY
from fastrtc.models.weights import Weights

RATE: Final = 16_000
SHORTEST: Final = RATE // 10
"""Samples under which nothing is heard. The encoder itself fails under 895."""
TOKENS_PER_SECOND: Final = 6.5
"""English is not spoken faster. The limit is Moonshine's own, against text that goes in circles."""
SPARE_TOKENS: Final = 4
"""Beyond that limit, for the full stop and the like of a very short clip."""
BEGIN: Final = 1
END: Final = 2
"""The tokens around a text, in Moonshine's vocabulary."""
LONG_TOKEN: Final = 128
"""From here on, the length of a token in ``tokenizer.bin`` takes two bytes."""

Size = Literal["tiny", "base"]
SIZES: Final[dict[Size, tuple[Weights, Weights, Weights]]] = {"tiny": TINY, "base": BASE}


def moonshine_available(size: Size = "tiny") -> bool:
    """Whether the weights are on this machine. Nothing is loaded, fetched or checked."""
    return all(weights.find() for weights in SIZES[size])


class Tokenizer:
    """The vocabulary: from tokens to text."""

    def __init__(self, data: bytes) -> None:
        """``data``: each token's length and its bytes, in the order of their numbers.

        A length of 128 or more has two bytes: the low seven bits, and the rest. Tokens that
        control the network are no text.
        """
        self.tokens: list[bytes] = []
        place = 0
        while place < len(data):
            length = data[place]
            place += 1
            if length >= LONG_TOKEN:
                length = (length - LONG_TOKEN) | data[place] << 7
                place += 1
            token = data[place : place + length]
            place += length
            control = len(self.tokens) <= END or token.startswith(b"<<ST_")
            self.tokens.append(b"" if control else token)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of tokens, without spaces at its ends."""
        # The network knows more numbers than there are tokens.
        text = b"".join(self.tokens[number] for number in ids if number < len(self.tokens))
        # A letter may be cut at the bound on tokens. The vocabulary writes a space as U+2581.
        return text.decode(errors="ignore").replace("\u2581", " ").strip()


class MoonshineNet:
    """The networks: a clip in, its words out. It may be used from many threads."""

    def __init__(self, size: Size = "tiny", folder: str | Path | None = None) -> None:
        """Load them, which takes about 0.2 s, and first fetch them if need be.

        Args:
            size: which of the two.
            folder: where to look for the weights first, see `Weights.read`.

        Raises:
            WeightsError: weights cannot be had, or are wrong.
        """
        encoder, decoder, tokenizer = (weights.read(folder) for weights in SIZES[size])
        self._encoder, self._decoder = open_session(encoder), open_session(decoder)
        self._tokenizer = Tokenizer(tokenizer)
        inputs = {value.name: value.shape for value in self._decoder.get_inputs()}
        outputs = [output.name for output in self._decoder.get_outputs()][1:]
        self._caches = [name.replace("present", "past_key_values") for name in outputs]
        """What the outputs after the first are called when they are inputs."""
        _, heads, _, width = inputs[self._caches[0]]
        self._empty = np.zeros((1, heads, 0, width), np.float32)
        # Only the tiny network is told which samples count.
        self._masks_audio = "attention_mask" in {value.name for value in self._encoder.get_inputs()}
        self._masks_states = "encoder_attention_mask" in inputs
        growing = [name for name in outputs if ".decoder." in name]
        # The caches of the encoder's side stay as the first step makes them.
        self._later_outputs = ["logits", *growing]
        self._growing = [name.replace("present", "past_key_values") for name in growing]

    def transcribe(self, samples: NDArray[np.float32], longest: int | None = None) -> str:
        """The words of a clip.

        On silence it tends to say "You", and over 30 s it goes in circles: give it speech only,
        in pieces.

        Args:
            samples: mono float32 in [-1, 1] at `RATE`, shape ``(n,)``.
            longest: at most so many tokens, if that is less than the clip's length allows.

        Returns:
            The text with its punctuation; empty for less than `SHORTEST` samples.
        """
        if len(samples) < SHORTEST:
            return ""
        allowed = int(len(samples) / RATE * TOKENS_PER_SECOND) + SPARE_TOKENS
        if longest is not None:
            allowed = min(allowed, longest)
        return self._tokenizer.decode(self._tokens(samples, allowed))

    def _tokens(self, samples: NDArray[np.float32], allowed: int) -> list[int]:
        """Greedy decoding: the likeliest token, each time."""
        values = samples[None]
        mask = np.ones(values.shape, np.int64)
        heard = {"attention_mask": mask} if self._masks_audio else {}
        (states,) = self._encoder.run(None, {"input_values": values, **heard})
        token = np.array([[BEGIN]], np.int64)
        feed = {
            "input_ids": token,
            "encoder_hidden_states": states,
            "use_cache_branch": np.array([False]),
            **dict.fromkeys(self._caches, self._empty),
        }
        if self._masks_states:
            feed["encoder_attention_mask"] = mask
        outputs, caches = None, self._caches
        found: list[int] = []
        while len(found) < allowed:
            logits, *cached = self._decoder.run(outputs, feed)
            best = int(logits[0, -1].argmax())
            if best == END:
                break
            found.append(best)
            token[0, 0] = best
            feed.update(zip(caches, cached, strict=True))
            if outputs is None:
                outputs, caches = self._later_outputs, self._growing
                feed["use_cache_branch"] = np.array([True])
        return found


_loading: Final = threading.Lock()


def shared_moonshine(size: Size = "tiny", folder: str | Path | None = None) -> MoonshineNet:
    """The one network of the process. Raises `WeightsError`; the next call then tries again."""
    with _loading:
        return _loaded(size, folder)


@cache
def _loaded(size: Size, folder: str | Path | None) -> MoonshineNet:
    net = MoonshineNet(size, folder)
    # The first run is the slowest.
    net.transcribe(np.zeros(RATE, np.float32))
    return net
