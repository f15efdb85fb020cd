"""The command ``fastrtc``."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from fastrtc import models_command
from fastrtc.stream import Stream


def load_stream(target: str) -> Stream:
    """The stream that ``module:name`` or ``file.py:name`` names; the name defaults to stream.

    Raises:
        SystemExit: there is none; the text says what was looked for.
    """
    place, _, name = target.partition(":")
    name = name or "stream"
    Stream.being_read = True
    try:
        module = _read_module(place)
    finally:
        Stream.being_read = False
    found = getattr(module, name, None)
    if not isinstance(found, Stream):
        what = "nothing" if found is None else type(found).__name__
        raise SystemExit(f"expected a fastrtc.Stream named {name!r} in {place}, found {what}.")
    return found


def _read_module(place: str) -> ModuleType:
    if place.endswith(".py"):
        path = Path(place)
        if not path.is_file():
            raise SystemExit(f"There is no file {place}.")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        sys.path.insert(0, str(path.parent.resolve()))
        spec.loader.exec_module(module)
    else:
        sys.path.insert(0, "")
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name != place.split(".")[0]:
                raise
            raise SystemExit(f"There is no module {place}.") from None
    return module


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="fastrtc", description="Voice lines for functions.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="serve a stream with its page")
    run.add_argument("target", help="module:stream or file.py:stream")
    demo = commands.add_parser("demo", help="talk to a parrot with a phrase book")
    for command in (run, demo):
        command.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
        command.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    models_command.add_to(commands)
    options = parser.parse_args(arguments)
    if options.command == "models":
        sys.exit(models_command.run(options.action, options.names))
    if options.command == "demo":
        from fastrtc.demo import stream
    else:
        stream = load_stream(options.target)
    stream.run(options.host, options.port)


if __name__ == "__main__":
    main()
