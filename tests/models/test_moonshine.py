import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from fastrtc.audio.convert import audio_to_float32
from fastrtc.audio.resample import StreamResampler
from fastrtc.models.stt import moonshine
from fastrtc.models.stt.moonshine import (
    RATE,
    SHORTEST,
    MoonshineNet,
    Tokenizer,
    moonshine_available,
    shared_moonshine,
)
from fastrtc.models.weights import Weights, WeightsError
from fastrtc.testing import load_speech
from tests.conftest import Sound, human_speech

BECKETT = "ever tried ever failed no matter try again fail again fail better"
TWO_CITIES = "it was the best of times it was the worst of times it was the age of wisdom"
"""What is said in the first 6.5 s of the recording."""

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def net() -> MoonshineNet:
    return shared_moonshine()


@pytest.fixture(scope="module")
def floats(beckett: Sound) -> Floats:
    found: Floats = audio_to_float32(beckett[1])[0]
    return found


@pytest.fixture(scope="module")
def two_cities() -> Floats:
    rate, samples = load_speech(human_speech("two_cities.wav"))
    resampler = StreamResampler(rate, RATE)
    found: Floats = audio_to_float32(resampler.process(samples[:, : round(6.5 * rate)]))[0]
    return found


@pytest.fixture
def _no_weights(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One of the three files is nowhere."""
    there = moonshine.TOKENIZER
    missing = Weights(there.name, there.sha256, "no_such_package", there.path, there.install)
    monkeypatch.delenv("FASTRTC_MODELS", raising=False)
    monkeypatch.setattr(moonshine, "TOKENIZER", missing)
    moonshine.weight_files.cache_clear()
    yield
    moonshine.weight_files.cache_clear()


def words(text: str) -> str:
    """Without punctuation and capitals."""
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def tokens(net: MoonshineNet, samples: Floats, longest: int | None = None) -> int:
    """How many tokens a clip comes to."""
    found: list[int] = []

    class Counting(Tokenizer):
        def __init__(self) -> None:
            super().__init__(b"")

        def decode(self, ids: object) -> str:
            assert isinstance(ids, list)
            found.extend(ids)
            return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(net, "_tokenizer", Counting())
        net.transcribe(samples, longest)
    return len(found)


# Speech


def test_short_phrases_are_read_word_for_word(net: MoonshineNet, floats: Floats) -> None:
    assert words(net.transcribe(floats)) == BECKETT


def test_long_sentences_are_read_word_for_word(net: MoonshineNet, two_cities: Floats) -> None:
    assert words(net.transcribe(two_cities)) == TWO_CITIES


def test_the_text_has_capitals_and_a_full_stop(net: MoonshineNet, two_cities: Floats) -> None:
    text = net.transcribe(two_cities)
    assert text.startswith("It was the best of times")
    assert text.endswith(".")


def test_one_phrase_alone_is_read(net: MoonshineNet, floats: Floats) -> None:
    assert words(net.transcribe(floats[round(0.3 * RATE) : round(1.5 * RATE)])) == "ever tried"


def test_the_same_clip_gives_the_same_text_twice(net: MoonshineNet, floats: Floats) -> None:
    assert net.transcribe(floats[: 3 * RATE]) == net.transcribe(floats[: 3 * RATE])


def test_two_threads_do_not_disturb_each_other(
    net: MoonshineNet, floats: Floats, two_cities: Floats
) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(net.transcribe, [floats, two_cities] * 2))
    assert [words(text) for text in found] == [BECKETT, TWO_CITIES] * 2


def test_a_clip_is_not_changed(net: MoonshineNet, floats: Floats) -> None:
    clip = floats[:RATE].copy()
    net.transcribe(clip)
    assert np.array_equal(clip, floats[:RATE])


def test_a_part_of_a_longer_recording_may_be_given_as_it_lies(
    net: MoonshineNet, floats: Floats
) -> None:
    every_other = np.repeat(floats, 2)[::2]
    assert words(net.transcribe(every_other)) == BECKETT


# What is no speech


@pytest.mark.parametrize("length", [0, 1, 400, 894, SHORTEST - 1])
def test_less_than_a_tenth_of_a_second_says_nothing(length: int, net: MoonshineNet) -> None:
    assert net.transcribe(np.full(length, 0.1, np.float32)) == ""


def test_a_tenth_of_a_second_is_enough_for_the_network(net: MoonshineNet, floats: Floats) -> None:
    assert tokens(net, floats[8_000 : 8_000 + SHORTEST]) <= 4


@pytest.mark.parametrize("seconds", [0.5, 2, 5])
def test_silence_comes_to_a_word_or_two_at_most(seconds: float, net: MoonshineNet) -> None:
    text = net.transcribe(np.zeros(round(seconds * RATE), np.float32))
    assert len(text.split()) <= 2


def test_noise_does_not_fail(net: MoonshineNet) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 2 * RATE).astype(np.float32)
    assert tokens(net, noise) <= 2 * 6.5 + 4


def test_samples_that_are_no_numbers_say_nothing(net: MoonshineNet) -> None:
    assert net.transcribe(np.full(RATE, np.nan, np.float32)) == ""


# The bound on tokens


@pytest.mark.parametrize("seconds", [0.1, 1, 2])
def test_a_clip_that_never_ends_is_ended_by_its_length(seconds: float, net: MoonshineNet) -> None:
    # Of samples that are no numbers the network makes one token after another.
    endless = np.full(round(seconds * RATE), np.nan, np.float32)
    assert tokens(net, endless) == int(seconds * 6.5) + 4


@pytest.mark.parametrize("longest", [0, 1, 5])
def test_no_more_tokens_are_made_than_asked_for(
    longest: int, net: MoonshineNet, floats: Floats
) -> None:
    assert tokens(net, floats, longest) == longest


def test_a_shortened_text_is_the_beginning_of_the_whole(net: MoonshineNet, floats: Floats) -> None:
    short = net.transcribe(floats, 4)
    assert short
    assert net.transcribe(floats).startswith(short)


def test_a_bound_beyond_the_clips_own_changes_nothing(net: MoonshineNet, floats: Floats) -> None:
    assert net.transcribe(floats, 10_000) == net.transcribe(floats)


# The tokenizer


def test_tokens_are_joined_and_their_spaces_are_spaces() -> None:
    parts = [b"<unk>", b"<s>", b"</s>", "▁We".encode(), "▁go".encode(), b"ing", b"."]
    tokenizer = Tokenizer(b"".join(bytes([len(part)]) + part for part in parts))
    assert tokenizer.decode([3, 4, 5, 6]) == "We going."


def test_a_long_token_has_a_length_of_two_bytes() -> None:
    data = b"\x01a\x01b\x01c" + bytes([128 + (200 & 127), 200 >> 7]) + b"x" * 200 + b"\x01y"
    assert Tokenizer(data).decode([3, 4]) == "x" * 200 + "y"


def test_a_letter_that_is_cut_is_left_out() -> None:
    data = b"\x01a\x01b\x01c\x01h\x01\xc3\x01\xa9"
    assert Tokenizer(data).decode([3, 4, 5]) == "hé"
    assert Tokenizer(data).decode([3, 4]) == "h"


def test_tokens_that_control_the_network_are_no_text() -> None:
    parts = [b"<unk>", b"<s>", b"</s>", b"<<ST_7>>", b"<"]
    tokenizer = Tokenizer(b"".join(bytes([len(part)]) + part for part in parts))
    assert tokenizer.decode(range(5)) == "<"


def test_the_vocabulary_has_a_text_for_all_that_the_network_can_say() -> None:
    assert len(Tokenizer(moonshine.weight_files()[2].read_bytes()).tokens) == 32_768


# Its weights


def test_the_weights_are_there_and_are_known_to_be() -> None:
    assert moonshine_available()


@pytest.mark.usefixtures("_no_weights")
def test_without_weights_the_network_says_how_to_get_them() -> None:
    with pytest.raises(WeightsError, match=r"pip install --no-deps moonshine-voice==0\.1\.0"):
        MoonshineNet()


@pytest.mark.usefixtures("_no_weights")
def test_without_weights_it_is_known_that_they_are_missing() -> None:
    assert not moonshine_available()


def test_the_package_with_the_weights_is_not_imported_and_nothing_is_loaded_to_find_them() -> None:
    code = (
        "import sys; from fastrtc.models.stt.moonshine import moonshine_available;"
        "print(moonshine_available(), {'moonshine_voice', 'onnxruntime'} & set(sys.modules))"
    )
    found = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    assert found == "True set()"
