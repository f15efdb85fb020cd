"""A result in words: a table, and what it comes to. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from fastrtc.bench.figures import (
    LATE,
    LEAST_BACK,
    MOST_LATE,
    MOST_OTHERS,
    SLOW_CALLERS,
    SLOWER,
    Doubt,
    Step,
    carried,
    doubt,
    most_carried,
)
from fastrtc.bench.measure import Result, plural

MEGABYTE: Final = 1e6
NAMES: Final = {"echo": "mouth to ear", "reply": "voice to voice"}
"""What the delay of our own streams is."""
FEW_CALLS: Final = 5
"""Of fewer, what each takes is lost in what else the server does with its memory."""


def heading(result: Result) -> str:
    """What the table below it is of."""
    plan = result.plan
    name = {
        "echo": "Echo calls",
        "reply": "ReplyOnPause calls, answered at once",
    }.get(plan.target, f"Calls of {plan.target}")
    if plan.server_core is None:
        where = "no process pinned to a core"
    else:
        where = f"server on core {plan.server_core}, callers on core {plan.caller_core}"
    return f"{name}; {where}; {plan.seconds:g} s each"


def table(result: Result) -> str:
    """A row for each number of calls."""
    delay = NAMES.get(result.plan.target)
    rows = [["calls", "CPU", "per call", "memory per call", "late", "callers late"]]
    if delay:
        rows[0] += [f"{delay}, median / p95", "lost"]
    for step in result.steps:
        row = [
            f"{step.calls}",
            f"{100 * step.cpu:.0f} %",
            f"{100 * step.cpu_per_call:.2f} %",
            "-" if step.memory is None else f"{step.memory / MEGABYTE:.2f} MB",
            "-" if step.late is None else f"{100 * step.late:.2f} %",
            f"{1000 * step.callers_late:.1f} ms",
        ]
        if delay:
            row += [_delay(step), "-" if step.delay is None else f"{step.delay.missing}"]
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(map(str.rjust, row, widths)) for row in rows]
    for number, step in enumerate(result.steps, 1):
        if (why := doubt(step, result.steps)) is not None:
            lines[number] += f"  says nothing: {why.value}"
        elif step.back is not None and step.back < LEAST_BACK:
            lines[number] += f"  {100 * step.back:.0f} % came back"
    return "\n".join(lines)


def sentences(result: Result) -> list[str]:
    """What the table comes to: how many calls, at what cost, with what memory."""
    said = [result.ended] if result.ended else []
    doubts = {step.calls: doubt(step, result.steps) for step in result.steps}
    steps = [step for step in result.steps if doubts[step.calls] is None]
    where = "This machine" if result.plan.server_core is None else "One core of this machine"
    criterion = f"under {100 * MOST_LATE:.0f} % of packets over {1000 * LATE:.0f} ms late"
    if result.plan.target == "reply":
        criterion += f", answered within {1000 * SLOWER:.0f} ms of the fewest (p95)"
    best = most_carried(result.steps)
    if not steps:
        said.append("Nothing can be said of this machine.")
    elif best is None:
        least = min(step.calls for step in steps)
        said.append(f"{where} did not carry {least} {plural(least)} with {criterion}.")
    else:
        more = [step for step in steps if step.calls > best.calls]
        limit = "more were not tried" if len(steps) == len(result.steps) else "no more is known"
        if more:
            limit = f"{min(s.calls for s in more)} were too many"
        said.append(f"{where} carried {best.calls} {plural(best.calls)} with {criterion}; {limit}.")
        if any(step.calls < best.calls and not carried(step, steps) for step in steps):
            said.append("Fewer were not: other work had this machine. Measure again.")
    if steps:
        most = best or steps[-1]
        each = "The one call" if most.calls == 1 else f"Each of {most.calls} calls"
        said.append(f"{each} cost {100 * most.cpu_per_call:.2f} % of a core.")
        said.append(_memory(result, most))
    if Doubt.CALLERS in doubts.values():
        said.append(
            f"Where {Doubt.CALLERS.value}, themselves over {1000 * SLOW_CALLERS:.0f} ms late (p95),"
            " the row says nothing."
        )
    if Doubt.OTHERS in doubts.values():
        said.append(
            f"Where {Doubt.OTHERS.value} for over {100 * MOST_OTHERS:.0f} % of the time, the row "
            "says nothing: end them, and measure again."
        )
    return said


def as_json(result: Result) -> dict[str, Any]:
    """The same for programs: seconds, bytes, and shares of 1."""
    best = most_carried(result.steps)
    return {
        "plan": asdict(result.plan),
        "memory_with_first_call": result.base,
        "ended": result.ended,
        "carried": None if best is None else best.calls,
        "steps": [
            {
                **asdict(step),
                "cpu_per_call": step.cpu_per_call,
                "doubt": None if (why := doubt(step, result.steps)) is None else why.value,
            }
            for step in result.steps
        ],
    }


def _delay(step: Step) -> str:
    if step.delay is None or step.delay.median is None or step.delay.p95 is None:
        return "-"
    return f"{1000 * step.delay.median:.0f} / {1000 * step.delay.p95:.0f} ms"


def _memory(result: Result, step: Step) -> str:
    if result.base is None:
        return "This system does not say how much memory a process has."
    base = f"The server with its first call took {result.base / MEGABYTE:.0f} MB"
    if step.memory is None or step.calls < FEW_CALLS:
        return f"{base}."
    return f"{base}, and each further one {step.memory / MEGABYTE:.2f} MB."
