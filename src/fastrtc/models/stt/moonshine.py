"""Moonshine tiny (MIT, English) on onnxruntime: the words of a short clip, 50 times real time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.models.weights import Weights, WeightsError

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
HEADS: Final = 8
HEAD_WIDTH: Final = 36
"""Of the tiny network's attention: they give an empty cache its shape."""
LONG_TOKEN: Final = 128
"""From here on, the length of a token in ``tokenizer.bin`` takes two bytes."""

_INSTALL: Final = "--no-deps moonshine-voice==0.1.0"
ENCODER: Final = Weights(
    name="moonshine-tiny-en/encoder_model.ort",
    sha256="94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
    package="moonshine_voice",
    path="assets/tiny-en/encoder_model.ort",
    install=_INSTALL,
)
DECODER: Final = Weights(
    name="moonshine-tiny-en/decoder_model_merged.ort",
    sha256="cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
    package="moonshine_voice",
    path="assets/tiny-en/decoder_model_merged.ort",
    install=_INSTALL,
)
TOKENIZER: Final = Weights(
    name="moonshine-tiny-en/tokenizer.bin",
    sha256="6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
    package="moonshine_voice",
    path="assets/tiny-en/tokenizer.bin",
    install=_INSTALL,
)


@cache
def weight_files() -> tuple[Path, Path, Path]:
    """Encoder, decoder and tokenizer. They are checked once in a process: they have 56 MB.

    Raises:
        WeightsError: one is missing or wrong. The next call looks again.
    """
    return ENCODER.find(), DECODER.find(), TOKENIZER.find()


def moonshine_available() -> bool:
    """Whether `MoonshineNet` would find its weights. Nothing is loaded."""
    try:
        weight_files()
    except WeightsError:
        return False
    return True


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
        text = b"".join(self.tokens[number] for number in ids)
        # A letter may be cut at the bound on tokens. The vocabulary writes a space as U+2581.
        return text.decode(errors="ignore").replace("\u2581", " ").strip()


class MoonshineNet:
    """The networks: a clip in, its words out. It may be used from many threads."""

    def __init__(self) -> None:
        """Load them, which takes about 0.2 s.

        Raises:
            WeightsError: weights are missing or wrong.
        """
        # Imported here, because it costs 0.1 s that `import fastrtc` should not.
        import onnxruntime

        encoder, decoder, tokenizer = weight_files()
        options = onnxruntime.SessionOptions()
        # More threads spin against each other: measured twice as slow.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            for file in (encoder, decoder)
        )
        self._tokenizer = Tokenizer(tokenizer.read_bytes())
        outputs = [output.name for output in self._decoder.get_outputs()][1:]
        self._caches = [name.replace("present", "past_key_values") for name in outputs]
        """What the outputs after the first are called when they are inputs."""
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
        (states,) = self._encoder.run(None, {"input_values": values, "attention_mask": mask})
        token = np.array([[BEGIN]], np.int64)
        empty = np.zeros((1, HEADS, 0, HEAD_WIDTH), np.float32)
        feed = {
            "input_ids": token,
            "encoder_hidden_states": states,
            "encoder_attention_mask": mask,
            "use_cache_branch": np.array([False]),
            **dict.fromkeys(self._caches, empty),
        }
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


@cache
def shared_moonshine() -> MoonshineNet:
    """The one network of the process."""
    return MoonshineNet()
