"""Finds what a command is given by the name of its module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from fastrtc.stream import Stream


def load_stream(target: str) -> Stream:
    """The stream that ``module:name`` or ``file.py:name`` names; the name defaults to stream.

    Raises:
        SystemExit: there is none; the text says what was looked for.
    """
    place, _, name = target.partition(":")
    name = name or "stream"
    found = load(f"{place}:{name}")
    if not isinstance(found, Stream):
        what = "nothing" if found is None else type(found).__name__
        raise SystemExit(f"expected a fastrtc.Stream named {name!r} in {place}, found {what}.")
    return found


def load(target: str) -> Any:
    """What ``module:name`` or ``file.py:name`` names; None if the module has nothing of that name.

    Raises:
        SystemExit: there is no such module.
    """
    place, _, name = target.partition(":")
    Stream.being_read = True
    try:
        module = _read_module(place)
    finally:
        Stream.being_read = False
    return getattr(module, name, None)


def _read_module(place: str) -> ModuleType:
    if place.endswith(".py"):
        path = Path(place).absolute()
        if not path.is_file():
            raise SystemExit(f"There is no file {place}.")
        read = sys.modules.get(path.stem)
        if read is not None and getattr(read, "__file__", None) == str(path):
            return read
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        sys.path.insert(0, str(path.parent.resolve()))
        try:
            spec.loader.exec_module(module)
        except BaseException:
            # As `import` does: half a module would be taken for all of it.
            sys.modules.pop(path.stem, None)
            raise
    else:
        sys.path.insert(0, "")
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError as error:
            # What it imports itself may be missing, too.
            if not f"{place}.".startswith(f"{error.name}."):
                raise
            raise SystemExit(f"There is no module {place}.") from None
    return module
