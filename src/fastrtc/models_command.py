"""The command ``fastrtc models``: lists the weights of models, fetches them, checks them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fastrtc.models.catalogue import CATALOGUE
from fastrtc.models.weights import Weights, WeightsError

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]

HEADING: Final = ("NAME", "SIZE", "LICENCE", "WHERE")


def add_to(commands: Subcommands) -> None:
    """Add ``models`` to the commands of the program."""
    models = commands.add_parser("models", help="list, fetch or check the weights of models")
    models.add_argument(
        "action",
        nargs="?",
        choices=["list", "fetch", "check"],
        default="list",
        help="list: where each is; fetch: download what is missing; check: compare what is here "
        "with its checksums (default: %(default)s)",
    )
    models.add_argument("names", nargs="*", metavar="NAME", help="of a model; default: all")


def run(action: str, names: Sequence[str]) -> int:
    """Do it, and say what was done.

    Args:
        action: ``list``, ``fetch`` or ``check``.
        names: as in `CATALOGUE`; none means all.

    Returns:
        The exit code: 1 if something could not be had, is missing or is damaged.

    Raises:
        SystemExit: a name is unknown.
    """
    if unknown := [name for name in names if name not in CATALOGUE]:
        raise SystemExit(
            f"There is no model {', '.join(unknown)}. There are: {', '.join(CATALOGUE)}."
        )
    chosen = {name: CATALOGUE[name] for name in names or CATALOGUE}
    if action == "list":
        _list(chosen)
        return 0
    one = _fetch if action == "fetch" else _check
    # All of them, whatever becomes of the first.
    outcomes = [one(name, files) for name, files in chosen.items()]
    return 0 if all(outcomes) else 1


def _list(chosen: dict[str, tuple[Weights, ...]]) -> None:
    rows = [HEADING]
    rows += [(n, _size(files), files[0].licence, _where(files)) for n, files in chosen.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADING) - 1)]
    for row in rows:
        print("  ".join([*map(str.ljust, row, widths), row[-1]]))


def _fetch(name: str, files: tuple[Weights, ...]) -> bool:
    if not all(file.find() for file in files):
        print(f"{name}: fetching {_size(files)}", flush=True)
    try:
        # The first failure ends it: the next file would fail of the same.
        for file in files:
            file.fetch()
    except WeightsError as error:
        _complain(name, error)
        return False
    print(f"{name}: {_where(files)}", flush=True)
    return True


def _check(name: str, files: tuple[Weights, ...]) -> bool:
    missing = [file for file in files if not file.find()]
    if missing:
        ways = f"`fastrtc models fetch {name}` downloads them"
        _complain(name, f"{len(missing)} of {len(files)} files are missing; {ways}.")
    damaged = False
    for file in files:
        if file not in missing:
            try:
                file.check()
            except WeightsError as error:
                _complain(name, error)
                damaged = True
    if missing or damaged:
        return False
    print(f"{name}: right, {_where(files)}", flush=True)
    return True


def _complain(name: str, reason: WeightsError | str) -> None:
    print(f"{name}: {reason}", file=sys.stderr, flush=True)


def _size(files: tuple[Weights, ...]) -> str:
    return f"{sum(file.size for file in files) / 1e6:.1f} MB"


def _where(files: tuple[Weights, ...]) -> str:
    """The file or the folders that hold them, and how many are missing."""
    found = [parts for file in files if (parts := file.find())]
    if not found:
        return "missing"
    # With one file this is the file, with several the folders around them.
    places = [os.path.commonpath(parts) for parts in found]
    if len(files) > 1:
        places = sorted(
            {place if os.path.isdir(place) else os.path.dirname(place) for place in places}
        )
    where = " and ".join(places)
    return where if len(found) == len(files) else f"{len(found)} of {len(files)} in {where}"
