"""A line to listen to: a slow scale, for ever. `fastrtc run examples/radio.py`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fastrtc import Stream

RATE = 24_000
SCALE = (262, 294, 330, 349, 392, 440, 494, 523)


def radio() -> Iterator[tuple[int, NDArray[np.float32]]]:
    t = np.arange(RATE // 2) / RATE
    shape = np.sin(np.pi * t / t[-1])
    for hertz in itertools.cycle(SCALE + SCALE[::-1]):
        yield RATE, (0.2 * shape * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


stream = Stream(radio, mode="receive", ui_args={"title": "Radio"})
