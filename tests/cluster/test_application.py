"""What the application of a stream is made from. What it does is in tests/e2e."""

from __future__ import annotations

import threading
from typing import Any

import pytest

pytest.importorskip("ray")

from fastrtc import ReplyOnPause
from fastrtc.cluster import deployment
from tests.cluster.house import Silent
from tests.peers import make_stream

INFINITE = float("inf")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"replicas": 0}, "expected replicas of 1 or more, or .*, got 0"),
        ({"replicas": (3, 2)}, r"expected replicas of 1 or more, or .*, got \(3, 2\)"),
        ({"slots": 0}, "expected slots of 1 or more, got 0"),
        ({"target": 0.0}, "expected a target over 0 and up to 1, got 0.0"),
        ({"target": 1.5}, "expected a target over 0 and up to 1, got 1.5"),
        ({"patience": -1.0}, "expected a patience of 0 s or more, got -1.0"),
        ({"grace": -1.0}, "expected a grace of 0 s or more, got -1.0"),
        ({"grace": INFINITE}, "expected a grace of 0 s or more, got inf"),
        ({"media_ports": "many"}, "expected ports as FIRST-LAST"),
    ],
)
def test_a_number_that_cannot_be_served_is_named(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        deployment("app:stream", **wrong)


def test_what_is_no_stream_is_named() -> None:
    stream: Any = Silent()
    with pytest.raises(TypeError, match=r"expected a Stream, .*, got Silent"):
        deployment(stream)


def test_a_stream_that_cannot_travel_is_to_be_read_where_it_is_served() -> None:
    lock = threading.Lock()

    def reply(audio: Any) -> Any:
        with lock:
            yield audio

    with pytest.raises(TypeError, match=r'cannot be pickled .* deployment\("module:stream"\)'):
        deployment(make_stream(ReplyOnPause(reply)))
