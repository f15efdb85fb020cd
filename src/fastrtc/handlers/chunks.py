"""Feeds a user's own `ReplyOnPause.determine_pause`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastrtc.audio.convert import Pcm
from fastrtc.handlers.driver import Host
from fastrtc.threads import call_soon

if TYPE_CHECKING:
    from fastrtc.handlers.reply_on_pause import ReplyOnPause


class Chunks:
    """One chunk after the other, on a worker thread.

    ``force`` ends the turn, with what was said, or with what the user's code says was said.
    """

    def __init__(
        self, handler: ReplyOnPause, host: Host, force: Callable[[Pcm | None], None]
    ) -> None:
        self._handler = handler
        self._host = host
        self._force = force
        self._length = round(handler.algo_options.audio_chunk_duration * handler.input_sample_rate)
        self._heard: list[Any] = []
        self._count = 0
        self._waiting: list[Any] = []
        self._busy = False

    def begin(self) -> None:
        """Forget what was heard, and what was made of it: a turn begins now."""
        self._heard, self._count, self._waiting = [], 0, []
        self._handler.state = self._handler.state.new()

    def hear(self, samples: Any) -> None:
        """Take mono samples, shape ``(n,)``."""
        self._heard.append(samples)
        self._count += len(samples)
        if self._count < self._length:
            return
        joined = np.concatenate(self._heard)
        self._heard, self._count = [joined[self._length :]], self._count - self._length
        self._waiting = [*self._waiting[-9:], joined[: self._length]]
        if not self._busy:
            self._next()

    def _next(self) -> None:
        self._busy = True
        chunk = self._waiting.pop(0)
        self._host.submit(lambda: self._judge(chunk))

    def _judge(self, chunk: Any) -> None:
        handler = self._handler
        ends = False
        try:
            ends = bool(handler.determine_pause(chunk, handler.input_sample_rate, handler.state))
        except BaseException as error:
            call_soon(self._host.loop, self._host.report, error, "determine_pause")
        call_soon(self._host.loop, self._judged, ends)

    def _judged(self, ends: bool) -> None:
        handler = self._handler
        self._busy = False
        if ends:
            said = handler.state.stream
            handler.state = handler.state.new()
            self._force(None if said is None else np.asarray(said)[None])
        if self._waiting:
            self._next()
