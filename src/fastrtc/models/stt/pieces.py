"""Cuts a clip into pieces that a recogniser can take: speech only, each under 30 s.

Moonshine goes in circles on longer clips, and makes words of long silences. So a clip is cut in
its pauses, at the longest ones that serve, and what is silent is left out.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

LONGEST: Final = 28.0
"""Seconds of a piece at most, its margins not counted."""
MARGIN: Final = 0.3
"""Seconds of sound around speech that belong to it: soft ends score low."""
LONG_PAUSE: Final = 3.0
"""Seconds of silence that part two pieces in any case."""

Span = tuple[int, int]


def cut_pieces(
    probabilities: NDArray[np.float32],
    step: int,
    rate: int,
    *,
    threshold: float = 0.5,
    release: float = 0.35,
    least: float = 0.1,
) -> list[Span]:
    """Where to cut a clip.

    Args:
        probabilities: that each step of the clip is voice, shape ``(n,)``.
        step: samples in a step.
        rate: of the samples, in Hz.
        threshold: a probability from which a step is voice.
        release: while there is voice, it lasts down to this probability.
        least: seconds of voice in a piece; less is a click.

    Returns:
        First sample and last sample + 1 of each piece, in order, without overlap. None where
        nothing is said. The last one may reach beyond the clip by its margin.
    """
    most, margin = round(LONGEST * rate) // step, round(MARGIN * rate) // step
    pause = round(LONG_PAUSE * rate) // step
    runs = _runs(probabilities, threshold, release)
    pieces: list[Span] = []
    while runs:
        first = runs[0][0]
        count = _fitting(runs, first + most, pause)
        if count == 0:
            # Nobody pauses for so long: cut where it is most like a pause.
            begin, end = runs[0]
            tail = probabilities[first + most // 2 : first + most]
            cut = first + most // 2 + int(tail.argmin())
            pieces.append((first, cut))
            runs[0] = (cut, end)
            continue
        begin, end = first, runs[count - 1][1]
        voiced = sum(b - a for a, b in runs[:count])
        if voiced * step >= least * rate:
            pieces.append((begin, end))
        runs = runs[count:]
    return [(a * step, b * step) for a, b in _widened(pieces, margin)]


def _runs(probabilities: NDArray[np.float32], threshold: float, release: float) -> list[Span]:
    """Stretches of voice, in steps."""
    runs: list[Span] = []
    start: int | None = None
    for index, probability in enumerate(probabilities.tolist()):
        if start is None and probability >= threshold:
            start = index
        elif start is not None and probability < release:
            runs.append((start, index))
            start = None
    if start is not None:
        runs.append((start, len(probabilities)))
    return runs


def _fitting(runs: list[Span], limit: int, pause: int) -> int:
    """How many runs make the next piece: up to a long pause, or, where the limit comes first, up
    to the longest pause in the second half before it; 0 if not even the first one fits.
    """
    fitting = 0
    for index, (_, end) in enumerate(runs):
        if end > limit:
            break
        fitting = index + 1
        if index + 1 < len(runs) and runs[index + 1][0] - end >= pause:
            return fitting
    if fitting in (0, len(runs)):
        return fitting
    half = (runs[0][0] + limit) // 2
    late = [n for n in range(1, fitting + 1) if runs[n - 1][1] >= half] or [fitting]
    return max(late, key=lambda n: runs[n][0] - runs[n - 1][1])


def _widened(pieces: list[Span], margin: int) -> list[Span]:
    """With margins; two that would meet share what is between them."""
    wide = [[max(0, a - margin), b + margin] for a, b in pieces]
    for left, right, (_, end), (start, _) in zip(wide, wide[1:], pieces, pieces[1:], strict=False):
        if left[1] > right[0]:
            left[1] = right[0] = (end + start) // 2
    return [(a, b) for a, b in wide]
