import hashlib
from pathlib import Path

import pytest

from fastrtc import models_command
from fastrtc.cli import main
from fastrtc.models.catalogue import CATALOGUE
from fastrtc.models.weights import Weights

GENUINE = b"the right numbers"


def weights(name: str) -> Weights:
    return Weights(name, hashlib.sha256(GENUINE).hexdigest(), 1_500_000, "BSD-2-Clause")


SMALL_CATALOGUE = {"ear": (weights("ear/in.ort"), weights("ear/out.ort")), "voice": (weights("v"),)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models, still empty, for a small catalogue of files that cannot be had."""
    monkeypatch.setattr(models_command, "CATALOGUE", SMALL_CATALOGUE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "models"
    (folder / "ear").mkdir(parents=True)
    monkeypatch.setenv("FASTRTC_MODELS", str(folder))
    return folder


def exit_code(*arguments: str) -> object:
    with pytest.raises(SystemExit) as e:
        main(["models", *arguments])
    return e.value.code


def test_all_models_are_listed_with_size_licence_and_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "v").write_bytes(GENUINE)
    assert exit_code() == 0
    rows = [line.split(maxsplit=4) for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        ["NAME", "SIZE", "LICENCE", "WHERE"],
        ["ear", "3.0", "MB", "BSD-2-Clause", "missing"],
        ["voice", "1.5", "MB", "BSD-2-Clause", str(folder / "v")],
    ]


def test_columns_are_aligned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exit_code("list")
    heading, *rows = capsys.readouterr().out.splitlines()
    assert {row.index("missing") for row in rows} == {heading.index("WHERE")}


def test_a_model_of_which_a_part_is_here_is_listed_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "ear/in.ort").write_bytes(GENUINE)
    exit_code("list", "ear")
    assert f"1 of 2 in {folder / 'ear'}" in capsys.readouterr().out


def test_files_of_one_folder_are_listed_as_the_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("in", "out"):
        (folder / f"ear/{name}.ort").write_bytes(GENUINE)
    exit_code("list", "ear")
    assert capsys.readouterr().out.splitlines()[1].endswith(str(folder / "ear"))


def test_fetching_goes_on_after_a_failure_and_ends_with_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "v").write_bytes(GENUINE)
    assert exit_code("fetch") == 1
    output = capsys.readouterr()
    assert "ear: fetching 3.0 MB" in output.out
    assert output.err.startswith("ear: The weights ear/in.ort were not found.")
    assert output.out.endswith(f"voice: {folder / 'v'}\n")


def test_fetching_only_what_is_named_ends_with_0(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "v").write_bytes(GENUINE)
    assert exit_code("fetch", "voice") == 0
    assert capsys.readouterr().err == ""


def test_a_check_of_what_is_right_ends_with_0(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "v").write_bytes(GENUINE)
    assert exit_code("check", "voice") == 0
    assert capsys.readouterr().out == f"voice: right, {folder / 'v'}\n"


def test_a_check_of_what_is_damaged_ends_with_1_and_names_the_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "v").write_bytes(b"wrong")
    assert exit_code("check", "voice") == 1
    assert f"{folder / 'v'} is not the file it should be" in capsys.readouterr().err


def test_a_check_of_what_is_missing_ends_with_1_and_says_how_much(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "ear/in.ort").write_bytes(GENUINE)
    assert exit_code("check", "ear") == 1
    assert "ear: 1 of 2 files are missing" in capsys.readouterr().err


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    text = str(exit_code("fetch", "whisper"))
    assert "There is no model whisper." in text
    assert all(name in text for name in CATALOGUE)
