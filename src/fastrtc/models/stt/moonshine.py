"""Moonshine (MIT, English) on onnxruntime: the words of a clip; tiny at 50 times real time."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

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
TOGETHER: Final = 60.0
"""Seconds of sound that are read at once, each clip counted as the longest. It bounds memory: the
caches of the base network take 130 MB."""
STRETCH: Final = 2
"""How often a state of the longest clip comes where clips are made equally long."""
BOUNDLESS: Final = 1_000_000
LONG_TOKEN: Final = 128
"""From here on, the length of a token in ``tokenizer.bin`` takes two bytes."""

Floats = NDArray[np.float32]
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

    def transcribe(self, samples: Floats, longest: int | None = None) -> str:
        """The words of a clip.

        On silence it tends to say "You", and over 30 s it goes in circles: give it speech only,
        in pieces.

        Args:
            samples: mono float32 in [-1, 1] at `RATE`, shape ``(n,)``.
            longest: at most so many tokens, if that is less than the clip's length allows.

        Returns:
            The text with its punctuation; empty for less than `SHORTEST` samples.
        """
        return self.transcribe_all([samples], longest)[0]

    def transcribe_all(self, clips: Sequence[Floats], longest: int | None = None) -> list[str]:
        """The words of several clips, in less time than one after the other.

        Most texts are those that each clip alone gives, and some differ by a word or a comma: the
        tiny network rounds all rows of a batch on one scale, and the base network has no mask. Of
        95 human phrases, ten at once, the tiny one wrote 93 word for word as it does alone; the
        base one all of 40.

        Takes and returns, for each clip, what `transcribe` does.
        """
        texts = [""] * len(clips)
        for group in grouped([len(clip) for clip in clips]):
            # One clip of numbers that are none would spoil the others.
            together = [at for at in group if np.isfinite(clips[at]).all()]
            apart = [[at] for at in group if at not in together]
            for places in filter(None, [together, *apart]):
                found = self._tokens([clips[at] for at in places], longest)
                for at, tokens in zip(places, found, strict=True):
                    texts[at] = self._tokenizer.decode(tokens)
        return texts

    def _tokens(self, clips: list[Floats], longest: int | None) -> list[list[int]]:
        """Greedy decoding: the likeliest token, each time, of each clip that still has one."""
        feed = self._begin(clips)
        allowed = [
            min(
                int(len(clip) / RATE * TOKENS_PER_SECOND) + SPARE_TOKENS,
                BOUNDLESS if longest is None else longest,
            )
            for clip in clips
        ]
        found: list[list[int]] = [[] for _ in clips]
        live = list(range(len(clips)))
        """Which clip each row of the batch belongs to."""
        outputs, caches = None, self._caches
        while longest != 0:
            logits, *cached = self._decoder.run(outputs, feed)
            best = logits[:, -1].argmax(-1)
            for at, token in zip(live, best.tolist(), strict=True):
                if token != END:
                    found[at].append(token)
            kept = [
                row
                for row, at in enumerate(live)
                if best[row] != END and len(found[at]) < allowed[at]
            ]
            if not kept:
                break
            feed.update(zip(caches, cached, strict=True))
            feed["input_ids"] = best[:, None]
            del feed["use_cache_branch"]
            if len(kept) < len(live):
                live = [live[row] for row in kept]
                feed = {name: values[kept] for name, values in feed.items()}
            feed["use_cache_branch"] = np.array([True])
            outputs, caches = self._later_outputs, self._growing
        return found

    def _begin(self, clips: list[Floats]) -> dict[str, NDArray[Any]]:
        """What the decoder is fed first: what the encoder made of each clip, in equal length."""
        # Apart, as padding would cost more than is saved.
        heard = [self._encode(clip) for clip in clips]
        most = max(len(states) for states in heard)
        feed: dict[str, NDArray[Any]] = {
            "input_ids": np.full((len(clips), 1), BEGIN, np.int64),
            "use_cache_branch": np.array([False]),
            **dict.fromkeys(self._caches, np.repeat(self._empty, len(clips), axis=0)),
        }
        if self._masks_states:
            mask = np.zeros((len(clips), max(map(len, clips))), np.int64)
            states = np.zeros((len(clips), most, heard[0].shape[1]), np.float32)
            for row, clip in enumerate(clips):
                mask[row, : len(clip)] = 1
                states[row, : len(heard[row])] = heard[row]
            feed["encoder_attention_mask"] = mask
        else:
            # What is attended to is a weighted mean, which stays the same if each state comes as
            # often as the others, whatever the length. Twice or more, it comes nearly as often.
            same = all(len(states) == most for states in heard)
            steps = np.arange(most if same else STRETCH * most)
            states = np.stack([one[steps * len(one) // len(steps)] for one in heard])
        feed["encoder_hidden_states"] = states
        return feed

    def _encode(self, clip: Floats) -> Floats:
        values = clip[None]
        mask = {"attention_mask": np.ones(values.shape, np.int64)} if self._masks_audio else {}
        (states,) = self._encoder.run(None, {"input_values": values, **mask})
        found: Floats = states[0]
        return found


def grouped(lengths: Sequence[int]) -> list[list[int]]:
    """Which clips to read together: those of like lengths, as the longest counts for all.

    Args:
        lengths: of the clips, in samples.

    Returns:
        The places of the clips in each group. Those under `SHORTEST` are in none.
    """
    groups: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if lengths[place] < SHORTEST:
            continue
        if not groups or (len(groups[-1]) + 1) * lengths[place] > TOGETHER * RATE:
            groups.append([])
        groups[-1].append(place)
    return groups


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
