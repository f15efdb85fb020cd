"""Calls over bad networks: what is understood, how late it is, and whether turns are answered.

    python -m benchmarks.networks [--troubles NAME ...]

From the root of the repository, as root, on Linux: server and callers are in network namespaces of
their own. One trouble after the other, two calls at a time: an echo, and turns that are answered
with a tone at once.
"""

from __future__ import annotations

import argparse
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.testing import load_speech
from tests.conftest import Sound, human_speech
from tests.e2e.networks import (
    CUT_AT,
    SAID,
    SETTLED,
    TROUBLES,
    Outcome,
    Trouble,
    calls,
    served,
    speech,
)
from tests.network import bad_network
from tests.spoken import read
from tests.words import word_error_rate

PHRASE: Final = (0.30, 1.22)
"""Where one phrase is in the recording, in seconds, without the breath behind it."""
CALL_SECONDS: Final = 60
HEAD: Final = (
    "| network | words wrong, % | holes, % | packets lost to the ear, % "
    "| mouth to ear, median / p95, ms | before a gap / at the end, ms "
    "| turns answered | time to reply, ms |"
)


def call(trouble: Trouble, turn: Sound) -> Outcome:
    with bad_network() as network, served(network, "echo", "beep") as url:
        return calls(url, network.lines[0], trouble, speech(), turn).result(CALL_SECONDS)


def row(name: str, outcome: Outcome) -> str:
    answered = [reply for reply in outcome.replies if reply is not None]
    cells = [
        name,
        f"{100 * word_error_rate(read(outcome.echo()), SAID):.0f}",
        f"{100 * outcome.holes:.1f}",
        f"{100 * outcome.heard.lost / outcome.heard.packets:.1f}",
        " / ".join(milliseconds(outcome.delays(), share) for share in (50, 95)),
        f"{milliseconds(outcome.delays(0, CUT_AT))} / {milliseconds(outcome.delays(SETTLED))}",
        f"{len(answered)} of {len(outcome.replies)}",
        ", ".join(f"{1000 * reply:.0f}" for reply in answered) or "-",
    ]
    return f"| {' | '.join(cells)} |"


def milliseconds(delays: NDArray[np.float64], share: float = 50) -> str:
    return f"{1000 * np.percentile(delays, share):.0f}" if len(delays) else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--troubles", nargs="+", choices=TROUBLES, default=list(TROUBLES))
    options = parser.parse_args()
    rate, samples = load_speech(human_speech("beckett.wav"))
    turn = rate, samples[:, round(PHRASE[0] * rate) : round(PHRASE[1] * rate)]
    print(
        "Impaired in user space, between network namespaces, frame by frame and in both"
        " directions; jitter is even, and as wide as twice what is said; an outage loses what is"
        " sent meanwhile, a stall delivers it at its end. Voices as a browser sends them (Opus,"
        " 32 kbit/s, in-band FEC); a listener that waits 0.25 s and conceals. Words wrong:"
        f" of {len(SAID.split())}, the ones that a gap swallowed among them.\n"
    )
    print(HEAD, flush=True)
    print("| --- " * (HEAD.count("|") - 1) + "|", flush=True)
    for name in options.troubles:
        print(row(name, call(TROUBLES[name], turn)), flush=True)


if __name__ == "__main__":
    main()
