"""The network that speaks, its voices, and where they come from."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc import MoonshineSTT, get_stt_model
from fastrtc.models.tts import kokoro
from fastrtc.models.tts.kokoro import (
    FADE,
    LEAD_IN,
    QUIET,
    RATE,
    SPARE_VOICE,
    STYLE,
    TAIL,
    KokoroNet,
    shared_kokoro,
    trimmed,
)
from fastrtc.models.tts.kokoro_weights import KOKORO, SPARE_VOICES, VOICES
from fastrtc.models.weights import WeightsError
from tests.conftest import missing

Floats = NDArray[np.float32]
VOICE = "af_heart"
LOGGER = "fastrtc.models.tts.kokoro"


@pytest.fixture(scope="module")
def net() -> KokoroNet:
    return shared_kokoro()


@pytest.fixture(scope="module")
def ears() -> MoonshineSTT:
    return get_stt_model()


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `own` looks into first."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def own(own_folder: Path) -> KokoroNet:
    """A network that has no voices yet, and is not the one that other tests speak with."""
    return KokoroNet(own_folder)


@pytest.fixture(scope="module")
def bella() -> bytes:
    """The file of a voice that no Python package carries."""
    try:
        return VOICES["af_bella"].read()
    except WeightsError:
        missing("a way to the English voices, such as the program npm,")
        raise


@pytest.fixture
def _nothing_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty caches, no network and no npm: there are only packages."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("FASTRTC_MODELS", "XDG_CACHE_HOME", "PATH"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def put(folder: Path, voice: str, data: bytes) -> Path:
    place = folder / VOICES[voice].name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place


# Speech


def test_what_is_said_is_heard(net: KokoroNet, ears: MoonshineSTT) -> None:
    sound = net.say("Where is the station?", VOICE)
    assert sound.dtype == np.float32
    assert sound.ndim == 1
    assert ears.stt((RATE, sound)) == "Where is the station?"


def test_a_text_of_more_tokens_than_fit_is_said_in_parts(
    net: KokoroNet, ears: MoonshineSTT, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kokoro, "LONGEST", 20)
    heard = ears.stt((RATE, net.say("The train is late, and so are we.", VOICE)))
    assert heard.lower().startswith("the train is late")
    assert heard.lower().endswith("so are we.")


def test_no_text_comes_to_no_sound(net: KokoroNet) -> None:
    assert net.say("", VOICE).shape == (0,)


def test_at_twice_the_speed_it_takes_about_half_the_time(net: KokoroNet) -> None:
    slow, fast = (len(net.say("Where is the station?", VOICE, speed)) for speed in (1.0, 2.0))
    assert 0.4 < fast / slow < 0.7


def test_voices_differ(net: KokoroNet) -> None:
    assert not np.array_equal(net.voice("af_heart"), net.voice("jm_kumo"))
    assert len(net.say("Yes.", "af_heart")) != len(net.say("Yes.", "jm_kumo"))


def test_languages_differ(net: KokoroNet) -> None:
    assert len(net.say("Six.", VOICE, 1.0, "en-us")) != len(net.say("Six.", VOICE, 1.0, "fr-fr"))


@pytest.mark.parametrize("lang", ["klingon", "", "en-us "])
def test_a_language_that_nobody_knows_is_an_error_that_says_so(lang: str, net: KokoroNet) -> None:
    with pytest.raises(ValueError, match=f"expected a language .* got {lang!r}"):
        net.say("Yes.", VOICE, 1.0, lang)


def test_many_threads_do_not_disturb_each_other(net: KokoroNet) -> None:
    asked = [("Yes.", "en-us"), ("No.", "en-us"), ("Six.", "fr-fr"), ("Two.", "en-gb")]

    def say(text: str, lang: str) -> Floats:
        return net.say(text, VOICE, 2.0, lang)

    alone = [say(*one) for one in asked]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: say(*one), asked))
    for one, other in zip(alone, together, strict=True):
        # Not bit for bit: cores that share the work may add in another order.
        assert len(one) == len(other)
        assert np.abs(one - other).max() < 0.01


# The ends of a clause


def test_a_clause_begins_and_ends_softly_and_soon(net: KokoroNet) -> None:
    sound = net.say("Yes.", VOICE)
    loud = np.flatnonzero(np.abs(sound) > QUIET)
    assert loud[0] <= LEAD_IN * RATE
    assert len(sound) - loud[-1] <= TAIL * RATE
    assert sound[0] == sound[-1] == 0.0
    edge = round(FADE * RATE)
    inside = np.abs(np.diff(sound)).max()
    assert np.abs(np.diff(sound[:edge])).max() < inside / 5
    assert np.abs(np.diff(sound[-edge:])).max() < inside / 5


def test_silence_around_a_sound_is_cut() -> None:
    silence, tone = np.zeros(RATE, np.float32), np.full(RATE // 2, 0.5, np.float32)
    cut = trimmed(np.concatenate([silence, tone, silence]))
    assert len(cut) == pytest.approx(RATE // 2 + (LEAD_IN + TAIL) * RATE, abs=1)


def test_silence_inside_a_sound_is_kept() -> None:
    tone = np.full(RATE, 0.5, np.float32)
    assert len(trimmed(np.concatenate([tone, np.zeros(RATE, np.float32), tone]))) == 3 * RATE


@pytest.mark.parametrize("sample", [0.0, QUIET / 2, float("nan")])
@pytest.mark.parametrize("length", [0, 1, RATE])
def test_of_silence_nothing_is_left(sample: float, length: int) -> None:
    assert trimmed(np.full(length, sample, np.float32)).shape == (0,)


@given(
    st.integers(0, 2_000),
    st.integers(1, 2_000),
    st.integers(0, 2_000),
    st.floats(0.02, 1),
)
def test_any_sound_keeps_its_middle_and_loses_only_silence(
    before: int, length: int, after: int, level: float
) -> None:
    sound = np.concatenate([np.zeros(before), np.full(length, level), np.zeros(after)])
    given = sound.astype(np.float32)
    cut = trimmed(given)
    assert length <= len(cut) <= len(given)
    assert cut[0] == 0.0 or len(cut) == 1
    edge = round(FADE * RATE)
    assert (cut == np.float32(level)).sum() >= length - 2 * edge
    assert np.array_equal(given, sound.astype(np.float32))


# Voices


@pytest.mark.usefixtures("_nothing_to_be_had")
def test_a_voice_that_cannot_be_had_is_replaced_and_the_log_says_so(
    own: KokoroNet, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        styles = own.voice("bm_lewis")
    assert np.array_equal(styles, own.voice(SPARE_VOICE))
    assert styles.shape == (510, 1, STYLE)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"the voice {SPARE_VOICE}" in record.getMessage()
    assert "kokoro/voices/bm_lewis.bin" in record.getMessage()
    assert "HF_HUB_OFFLINE" in record.getMessage()


@pytest.mark.usefixtures("_nothing_to_be_had")
def test_the_spare_voice_is_understood(own: KokoroNet, ears: MoonshineSTT) -> None:
    heard = ears.stt((RATE, own.say("Thank you very much for calling.", "bf_emma")))
    assert heard.lower() == "thank you very much for calling."


@pytest.mark.usefixtures("_nothing_to_be_had")
def test_it_is_said_once_that_a_voice_is_replaced(
    own: KokoroNet, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(own.voice, ["bm_daniel"] * 4))
        own.voice("bm_daniel")
    assert len(caplog.records) == 1


@pytest.mark.usefixtures("_nothing_to_be_had")
def test_a_voice_that_is_among_the_spare_ones_is_no_replacement(
    own: KokoroNet, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        assert own.voice("jf_nezumi").shape == (510, 1, STYLE)
    assert not caplog.records


@pytest.mark.usefixtures("_nothing_to_be_had")
def test_without_any_voice_there_is_one_error_that_names_the_ways_out(
    own: KokoroNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kokoro, "SPARE_VOICES", replace(SPARE_VOICES, packaged=None))
    with pytest.raises(WeightsError) as caught:
        own.say("Yes.", "am_puck")
    for part in ("kokoro/voices/am_puck.bin", "FASTRTC_MODELS", "the hub", "npm"):
        assert part in str(caught.value)


@pytest.mark.usefixtures("_nothing_to_be_had")
def test_a_voice_in_the_folder_is_taken_from_there(
    bella: bytes, own: KokoroNet, own_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(own_folder, "af_bella", bella)
    with caplog.at_level(logging.WARNING, LOGGER):
        assert own.voice("af_bella").tobytes() == bella
    assert not caplog.records


@pytest.mark.usefixtures("_nothing_to_be_had")
def test_a_damaged_voice_in_the_folder_is_not_spoken_with(
    own: KokoroNet, own_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = np.full((510, STYLE), np.nan, np.float32)
    place = put(own_folder, "am_echo", damaged.tobytes())
    with caplog.at_level(logging.WARNING, LOGGER):
        styles = own.voice("am_echo")
    assert np.isfinite(styles).all()
    assert f"{place} is not the file it should be" in caplog.text


# The network


@pytest.mark.usefixtures("_nothing_to_be_had")
def test_without_its_weights_there_is_one_error_that_names_the_ways_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kokoro, "KOKORO", replace(KOKORO, packaged=None))
    with pytest.raises(WeightsError, match="FASTRTC_MODELS") as caught:
        KokoroNet()
    assert "kokoro/kokoro-v1.0.int8.onnx" in str(caught.value)
    assert "HF_HUB_OFFLINE" in str(caught.value)


@pytest.mark.parametrize("module", ["kokoro_onnx.chunker", "kokoro_onnx.tokenizer"])
def test_without_its_package_the_error_says_what_to_install(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'pip install "fastrtc\[tts\]"'):
        KokoroNet()


def test_it_is_loaded_once_in_a_process(net: KokoroNet) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert all(found is net for found in pool.map(lambda _: shared_kokoro(), range(4)))
