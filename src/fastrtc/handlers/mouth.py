"""Puts what a handler emits into the playout, at the playout's rate and channels."""

from __future__ import annotations

from collections.abc import Callable

from fastrtc.audio.convert import Pcm, with_channels
from fastrtc.audio.resample import StreamResampler
from fastrtc.handlers.driver import Host
from fastrtc.handlers.script import Script
from fastrtc.handlers.values import AdditionalOutputs, Chunk, CloseStream, Item
from fastrtc.threads import call_soon


class Mouth:
    """One stream of emitted items. Sound keeps its order; outputs pass it, as they are news."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.script = Script(host.playout.rate)
        """What was said here."""
        self._resampler: StreamResampler | None = None
        self._hurried = False

    def tick(self) -> None:
        """20 ms have passed."""
        self._hurried = False

    def hurry(self, item: object, move: Callable[[], None]) -> None:
        """Outputs with no sound before them need not wait for the next tick: ``move`` what is due
        on the loop now. Once a tick, as a function may flood. From any thread.
        """
        if isinstance(item, AdditionalOutputs) and not self._hurried:
            self._hurried = True
            call_soon(self._host.loop, move)

    def say(self, item: Item) -> None:
        """Pass one item on."""
        if isinstance(item, Chunk):
            self._sound(item)
        elif isinstance(item, AdditionalOutputs):
            self._host.deliver(item)
        elif isinstance(item, CloseStream):
            self.finish()
            reason = item.msg
            self._host.when_heard(lambda: self._host.end(reason))

    def finish(self) -> None:
        """No more sound follows: give out the resampler's tail."""
        if self._resampler is not None:
            self._push(self._resampler.flush())
            self._resampler = None

    def _sound(self, chunk: Chunk) -> None:
        playout = self._host.playout
        if self._resampler is None or self._resampler.rate_in != chunk.rate:
            self.finish()
            self._resampler = StreamResampler(chunk.rate, playout.rate, playout.channels)
        sound = self._resampler.process(with_channels(chunk.pcm, playout.channels))
        self._push(sound, chunk.words)

    def _push(self, sound: Pcm, words: tuple[tuple[float, str], ...] = ()) -> None:
        playout = self._host.playout
        begin = playout.end
        playout.push(sound)
        self.script.add(begin, playout.end, words)
