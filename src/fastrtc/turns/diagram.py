"""The picture of the turn machine, drawn from its table.

python -m fastrtc.turns.diagram
"""

from __future__ import annotations

from collections.abc import Mapping

from fastrtc.turns.machine import TABLE, Input, Row, State


def draw(table: Mapping[tuple[State, Input], Row]) -> str:
    """The table as a Mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.LISTENING.value}"]
    for (state, given), (target, kinds) in table.items():
        name = given.name.lower().replace("_", " ")
        says = f" / {', '.join(kind.value for kind in kinds)}" if kinds else ""
        lines.append(f"    {state.value} --> {target.value}: {name}{says}")
    return "\n".join([*lines, "```"])


if __name__ == "__main__":
    print(draw(TABLE))
