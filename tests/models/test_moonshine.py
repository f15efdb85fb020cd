import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc.audio.convert import audio_to_float32
from fastrtc.audio.resample import StreamResampler
from fastrtc.models.stt import moonshine
from fastrtc.models.stt.captions import Phrases
from fastrtc.models.stt.moonshine import (
    RATE,
    SHORTEST,
    TOGETHER,
    MoonshineNet,
    Tokenizer,
    grouped,
    moonshine_available,
    shared_moonshine,
)
from fastrtc.models.stt.moonshine_weights import BASE, TINY
from fastrtc.models.weights import WeightsError
from fastrtc.testing import load_speech
from tests.conftest import Sound, human_speech, missing
from tests.words import BECKETT, TWO_CITIES, word_error_rate, words

OPENING = TWO_CITIES[: TWO_CITIES.index("wisdom") + len("wisdom")]
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


@pytest.fixture(scope="module")
def base() -> MoonshineNet:
    if not moonshine_available("base"):
        missing("the package moonshine-cpp==0.1.4, which carries the larger Moonshine")
    return shared_moonshine("base")


@pytest.fixture(params=[0, 1, 2], ids=["encoder", "decoder", "vocabulary"])
def _no_weights(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the three files is nowhere."""
    files = list(moonshine.SIZES["tiny"])
    there = files[request.param]
    assert there.packaged is not None
    packaged = replace(there.packaged, parts=(("no_such_package", "model.ort"),))
    files[request.param] = replace(there, packaged=packaged, hub=None)
    monkeypatch.delenv("FASTRTC_MODELS", raising=False)
    monkeypatch.setitem(moonshine.SIZES, "tiny", tuple(files))


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
    assert words(net.transcribe(two_cities)) == OPENING


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
    assert [words(text) for text in found] == [BECKETT, OPENING] * 2


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


# Several at once


def phrases_of(*recordings: Floats) -> list[Floats]:
    """What is said between two pauses each."""
    found: list[Floats] = []
    for samples in recordings:
        phrases = Phrases(every=60)
        for at in range(0, len(samples), RATE):
            phrases.hear(samples[at : at + RATE])
        phrases.finish()
        found += [phrase.samples for phrase in phrases.waiting]
    return found


@pytest.fixture(scope="module")
def phrases(floats: Floats) -> list[Floats]:
    """15 phrases of 1 to 8 s; two voices."""
    rate, samples = load_speech(human_speech("two_cities.wav"))
    two_cities = audio_to_float32(StreamResampler(rate, RATE).process(samples))[0]
    return [clip for clip in phrases_of(floats, two_cities) if len(clip) < 8 * RATE]


def test_several_clips_at_once_are_read_as_each_alone(
    net: MoonshineNet, phrases: list[Floats]
) -> None:
    alone = [words(net.transcribe(clip)) for clip in phrases]
    together = [words(text) for text in net.transcribe_all(phrases)]
    # The rows of a batch are rounded on one scale, so a word may differ.
    wrong = word_error_rate(" ".join(together), " ".join(alone))
    assert wrong <= 0.02
    assert sum(a != b for a, b in zip(alone, together, strict=True)) <= 1


def test_the_larger_network_reads_several_clips_word_for_word_as_each_alone(
    base: MoonshineNet, phrases: list[Floats]
) -> None:
    clips = sorted(phrases, key=len)[:4]
    assert [words(text) for text in base.transcribe_all(clips)] == [
        words(base.transcribe(clip)) for clip in clips
    ]


def test_texts_come_in_the_order_of_their_clips(net: MoonshineNet, floats: Floats) -> None:
    clips = [floats[: 3 * RATE], floats[:100], floats[: round(1.5 * RATE)], floats[: 3 * RATE]]
    whole, nothing, short, again = net.transcribe_all(clips)
    assert words(whole) == words(again) == "ever tried ever failed"
    assert nothing == ""
    assert words(short) == "ever tried"


def test_no_clips_have_no_texts(net: MoonshineNet) -> None:
    assert net.transcribe_all([]) == []


def test_a_clip_of_numbers_that_are_none_spoils_no_other(net: MoonshineNet, floats: Floats) -> None:
    clip = floats[: 3 * RATE]
    spoilt = np.full(2 * RATE, np.nan, np.float32)
    assert net.transcribe_all([clip, spoilt]) == [net.transcribe(clip), ""]


def test_a_loud_clip_spoils_no_other(net: MoonshineNet, floats: Floats) -> None:
    clip = floats[: 3 * RATE]
    _, text = net.transcribe_all([clip * 50, clip])
    assert words(text) == words(net.transcribe(clip))


def test_each_clip_of_a_batch_is_ended_by_its_own_length(net: MoonshineNet) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 4 * RATE).astype(np.float32)
    short, _ = net.transcribe_all([noise[: RATE // 5], noise])
    assert len(short.split()) <= int(0.2 * 6.5) + 4


@given(st.lists(st.integers(0, 40 * RATE), max_size=40))
def test_clips_are_grouped_with_those_of_like_lengths(lengths: list[int]) -> None:
    groups = grouped(lengths)
    places = [place for group in groups for place in group]
    assert sorted(places) == [at for at, length in enumerate(lengths) if length >= SHORTEST]
    assert [lengths[at] for at in places] == sorted(lengths[at] for at in places)
    for group in groups:
        longest = max(lengths[at] for at in group)
        assert len(group) == 1 or len(group) * longest <= TOGETHER * RATE


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
    assert len(Tokenizer(TINY[2].read()).tokens) == 32_768


# The larger one


def test_the_larger_network_reads_word_for_word(base: MoonshineNet, floats: Floats) -> None:
    assert words(base.transcribe(floats[: round(3.1 * RATE)])) == "ever tried ever failed"


def test_the_larger_network_hears_nothing_in_too_little(base: MoonshineNet) -> None:
    assert base.transcribe(np.full(SHORTEST - 1, 0.1, np.float32)) == ""


def test_the_larger_network_takes_the_shortest_clip(base: MoonshineNet, floats: Floats) -> None:
    assert tokens(base, floats[8_000 : 8_000 + SHORTEST]) <= 4


def test_the_larger_network_is_bounded_by_the_length_of_a_clip(base: MoonshineNet) -> None:
    assert tokens(base, np.full(SHORTEST, np.nan, np.float32)) == 4


def test_the_vocabulary_of_one_network_serves_the_other(base: MoonshineNet) -> None:
    ours, theirs = (Tokenizer(files[2].read()).tokens for files in (BASE, TINY))
    different = [our for our, their in zip(ours, theirs, strict=False) if our != their]
    # Nobody says a line separator.
    assert different == ["\u2028".encode()]
    # The others control the network, and are no text.
    assert not any(theirs[len(ours) :])


# One for all callers


def test_a_network_is_loaded_once(net: MoonshineNet) -> None:
    assert shared_moonshine() is net
    assert shared_moonshine("tiny") is net


def test_the_two_networks_are_not_the_same(net: MoonshineNet, base: MoonshineNet) -> None:
    assert net is not base


def test_threads_that_come_at_once_get_one_network(tmp_path: Path) -> None:
    # The folder makes it another network than the one that is loaded.
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: shared_moonshine("tiny", tmp_path), range(4)))
    assert len(found) == 1


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


@pytest.mark.usefixtures("_no_weights")
@pytest.mark.parametrize("_no_weights", [2], indirect=True)
def test_a_network_that_could_not_be_had_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError):
        shared_moonshine("tiny", tmp_path)
    monkeypatch.setitem(moonshine.SIZES, "tiny", TINY)
    assert shared_moonshine("tiny", tmp_path).transcribe(np.zeros(0, np.float32)) == ""


def test_a_folder_of_ones_own_is_looked_into_first(tmp_path: Path) -> None:
    file = tmp_path / TINY[1].name
    file.parent.mkdir()
    file.write_bytes(b"something else")
    with pytest.raises(WeightsError, match="is not the file it should be"):
        MoonshineNet("tiny", tmp_path)


def test_the_package_with_the_weights_is_not_imported_and_nothing_is_loaded_to_find_them() -> None:
    code = (
        "import sys; from fastrtc.models.stt.moonshine import moonshine_available;"
        "print(moonshine_available(), {'moonshine_voice', 'onnxruntime'} & set(sys.modules))"
    )
    found = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    assert found == "True set()"
