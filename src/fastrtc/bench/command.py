"""The command ``fastrtc bench``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Final

from fastrtc.bench.measure import Plan, Result, measure
from fastrtc.bench.plot import Series, blocks, svg
from fastrtc.bench.processes import BenchError, cores
from fastrtc.bench.progress import Progress, plain
from fastrtc.bench.report import as_json, heading, sentences, table

CALLS: Final = (1, 10, 20, 40, 60)
SECONDS: Final = 12.0
QUICK_CALLS: Final = (1, 5, 10)
QUICK_SECONDS: Final = 4.0
SETTLE, QUICK_SETTLE = 2.0, 0.5
"""Seconds from the last call that is connected to the window."""
HANDLERS: Final = ("echo", "reply")
MOST_CALLS: Final = 1_000
MOST_SECONDS: Final = 600.0
SHORTEST: Final = 1.0
"""Seconds."""
INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as shells have it."""


def add_to(bench: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    bench.description = (
        "Measure how many calls over WebRTC a core of this machine carries, and at what cost: a "
        "server on one core, callers on another. Takes about three minutes."
    )
    bench.add_argument(
        "target",
        nargs="?",
        help="module:stream or file.py:stream, to measure your own; default: streams of ours",
    )
    bench.add_argument("--quick", action="store_true", help="fewer calls, for shorter")
    bench.add_argument(
        "--calls", type=_calls, help="how many at once, such as 1,10,20; default: 1,10,20,40,60"
    )
    bench.add_argument(
        "--seconds", type=_seconds, help="that each number of calls is measured; default: 12"
    )
    bench.add_argument(
        "--handler",
        choices=HANDLERS,
        help="echo: sends back what it hears; reply: ReplyOnPause with an answer at once; "
        "default: both",
    )
    bench.add_argument("--server-core", type=_core, help="default: the first that there is")
    bench.add_argument("--caller-core", type=_core, help="default: the second")
    bench.add_argument("--port", type=_port, default=0, help="of the server; default: any")
    bench.add_argument("--plot", type=_file, help="write a plot (SVG) to this file")
    bench.add_argument("--json", type=_file, help="write the figures to this file")


def run(options: argparse.Namespace) -> int:
    """Measure, and say what was found.

    Returns:
        The exit code: 1 if something could not be measured, 2 for options that do not go together.
    """
    if options.target and options.handler:
        return _complain("--handler is for the streams of ours: leave it out with one of yours.", 2)
    targets = [options.target or options.handler] if options.target or options.handler else HANDLERS
    ours, theirs = _two_cores(options.server_core, options.caller_core)
    plans = [
        Plan(
            target,
            options.calls or (QUICK_CALLS if options.quick else CALLS),
            options.seconds or (QUICK_SECONDS if options.quick else SECONDS),
            ours,
            theirs,
            options.port,
            QUICK_SETTLE if options.quick else SETTLE,
        )
        for target in targets
    ]
    if ours is None:
        _complain("This system pins no process to a core: the figures are of several.")
    elif ours == theirs:
        _complain(f"Server and callers share core {ours}: the figures are too bad.")
    progress = Progress(sum(plan.length for plan in plans))
    results: list[Result] = []
    code = 0
    try:
        for number, plan in enumerate(plans):
            progress.skip_to(sum(p.length for p in plans[:number]))
            try:
                result = measure(plan, progress)
            finally:
                progress.clear()
            results.append(result)
            _show(result)
    except BenchError as error:
        code = _complain(str(error), 1)
    except KeyboardInterrupt:
        code = _complain("Interrupted.", INTERRUPTED)
    if results:
        _write(options, results)
    return code


def _show(result: Result) -> None:
    print(f"\n{heading(result)}\n\n{table(result)}\n")
    print(plain(blocks(result.plan.target, result.steps), sys.stdout))
    print()
    for sentence in sentences(result):
        print(sentence)
    sys.stdout.flush()


def _write(options: argparse.Namespace, results: list[Result]) -> None:
    if options.plot:
        series = [Series(result.plan.target, result.steps) for result in results]
        options.plot.write_text(svg(series), encoding="utf-8")
        print(f"\nThe plot is in {options.plot}.")
    if options.json:
        figures = json.dumps([as_json(result) for result in results], indent=2)
        options.json.write_text(figures + "\n", encoding="utf-8")
        print(f"\nThe figures are in {options.json}.")


def _complain(text: str, code: int = 0) -> int:
    print(f"fastrtc bench: {text}", file=sys.stderr, flush=True)
    return code


def _two_cores(ours: int | None, theirs: int | None) -> tuple[int | None, int | None]:
    """The cores of the server and of the callers: as asked for, or the first that are free."""
    there = cores()
    if not there:
        return None, None
    if ours is None:
        ours = next((core for core in there if core != theirs), there[0])
    if theirs is None:
        theirs = next((core for core in there if core != ours), there[0])
    return ours, theirs


# What the options may be.


def _calls(given: str) -> tuple[int, ...]:
    try:
        calls = sorted({int(part) for part in given.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected numbers such as 1,10,20, got {given!r}"
        ) from None
    if calls[0] < 1 or calls[-1] > MOST_CALLS:
        raise argparse.ArgumentTypeError(f"expected numbers from 1 to {MOST_CALLS}, got {given!r}")
    return tuple(calls)


def _seconds(given: str) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not SHORTEST <= seconds <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(
            f"expected seconds from {SHORTEST:g} to {MOST_SECONDS:g}, got {given!r}"
        )
    return seconds


def _core(given: str) -> int:
    there = cores()
    if not there:
        raise argparse.ArgumentTypeError("this system pins no process to a core")
    if not given.isdecimal() or int(given) not in there:
        raise argparse.ArgumentTypeError(
            f"expected a core of {', '.join(map(str, there))}, got {given!r}"
        )
    return int(given)


def _port(given: str) -> int:
    if not given.isdecimal() or int(given) > 65_535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {given!r}")
    return int(given)


def _file(given: str) -> Path:
    """Where a file can be written: known before three minutes are spent."""
    path = Path(given)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{given!r} cannot be written")
    return path
