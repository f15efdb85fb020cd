"""Handlers that several tests call."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue
from typing import Any

from fastrtc import StreamHandler
from tests.conftest import Sound, tone


class Echo(StreamHandler):
    """The guide's own echo, whose emit blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: Queue[Any] = Queue()

    def receive(self, frame: Any) -> None:
        self.queue.put(frame)

    def emit(self) -> Any:
        return self.queue.get()

    def copy(self) -> StreamHandler:
        return Echo()


class Recorder:
    """A function that replies with a tone, and keeps what it was given."""

    def __init__(self, seconds: float = 0.5) -> None:
        self.said: list[Sound] = []
        self.seconds = seconds

    def __call__(self, audio: Sound) -> Iterator[Any]:
        self.said.append(audio)
        yield tone(self.seconds)


def spoken(audio: Sound) -> float:
    """How many seconds were said."""
    return float(audio[1].shape[1] / audio[0])
