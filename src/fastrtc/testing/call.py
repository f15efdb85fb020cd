"""One call on virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import Pcm, as_pcm
from fastrtc.audio.playout import FRAMES_PER_SECOND
from fastrtc.handlers.base import HandlerBase
from fastrtc.handlers.conversation import Conversation
from fastrtc.handlers.values import AdditionalOutputs
from fastrtc.models.end_of_turn.source import EndpointSource, InlineEndpoint, NoEndpoint
from fastrtc.models.vad.batcher import InlineVad, VadSource
from fastrtc.runtime import Runtime
from fastrtc.session import Session
from fastrtc.stream import Stream
from fastrtc.testing.files import load_speech
from fastrtc.testing.loop import VirtualLoop
from fastrtc.testing.picture import draw
from fastrtc.threads import Workers
from fastrtc.turns.record import Decision, Step, Turn

T = TypeVar("T")

AUDIBLE: Final = 100
"""int16 amplitude (-50 dBFS) over which a frame counts as heard."""


@dataclass(frozen=True)
class Message:
    """A message to the client: when, in seconds since the call began, and what."""

    at: float
    type: str
    data: Any


class _Notes:
    """The `Watcher` of a virtual call."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.decisions: list[Decision] = []
        self.turns: list[Turn] = []
        self.step = self.steps.append
        self.decision = self.decisions.append
        self.turn = self.turns.append


class VirtualCall:
    """A caller without a network. Use it as a context manager.

    A function on a worker thread takes no virtual time, however long it takes; one that awaits
    `asyncio.sleep` takes that time. So results do not depend on the speed of the machine.
    """

    def __init__(
        self,
        target: Stream | HandlerBase,
        *,
        rate: int = 48_000,
        phone_mode: bool = False,
        inputs: list[Any] | Callable[[], list[Any]] | None = None,
        vad: VadSource | None = None,
        models: bool = False,
    ) -> None:
        """Set up a call.

        Args:
            target: a stream, or a handler, of which a copy is called.
            rate: Hz at which the caller's silence arrives; `say` has a rate of its own.
            phone_mode: whether the caller is on a telephone.
            inputs: what the client answers when it is asked for its inputs.
            vad: voice detection in the place of Silero.
            models: whether the models of ``endpointing="auto"`` are asked, as far as they are
                installed. Without them silence alone ends a turn, on every machine alike.
        """
        self._stream = target if isinstance(target, Stream) else Stream(target)  # type: ignore[arg-type]
        self._rate = rate
        self._phone_mode = phone_mode
        self._inputs = inputs
        self._workers = Workers("virtual")
        endpoint: EndpointSource = InlineEndpoint() if models else NoEndpoint()
        self._runtime = Runtime(self._workers, vad or InlineVad(), endpoint)
        self._loop = VirtualLoop(self._workers)
        self._session: Session | None = None
        self._frames: list[Pcm] = []
        self._said: list[tuple[float, Pcm]] = []
        self.messages: list[Message] = []
        """Every message to the client so far."""
        self.cleared: list[float] = []
        """When the far side was told to drop what it buffers."""
        self.outputs: list[AdditionalOutputs] = []
        """Every `AdditionalOutputs` so far."""
        notes = self._notes = _Notes()
        self.turns = notes.turns
        """The turns whose replies are over, greetings included."""
        self.steps = notes.steps
        """How turn-taking saw the call, every 32 ms."""
        self.decisions = notes.decisions
        """What the turn machine said."""

    def __enter__(self) -> VirtualCall:
        try:
            self._run(self._begin())
        except BaseException:
            self._loop.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.hang_up()
            pending = asyncio.all_tasks(self._loop)
            for task in pending:
                task.cancel()
            if pending:
                self._run(self._settle(pending))
            self._run(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    # What the caller does.

    def say(self, speech: str | Path | tuple[int, NDArray[Any]]) -> None:
        """Talk: a file, or a rate in Hz and samples. Returns when the last sample is said."""
        rate, samples = load_speech(speech) if isinstance(speech, (str, Path)) else speech
        rate, pcm = as_pcm(rate, samples)
        self._run(self._talk(rate, pcm))

    def wait(self, seconds: float) -> None:
        """Be silent."""
        silence = np.zeros((1, round(seconds * self._rate)), np.int16)
        self._run(self._talk(self._rate, silence))

    def vanish(self, seconds: float) -> None:
        """Send nothing at all, as a client whose network is gone."""
        self._run(asyncio.sleep(seconds))

    def hang_up(self) -> None:
        """End the call, and wait until everything is given back."""
        self._run(self.session.close())

    def do(self, action: Callable[[], T]) -> T:
        """Run something on the call's event loop."""

        async def run() -> T:
            return action()

        return self._run(run())

    # What the caller notices.

    @property
    def session(self) -> Session:
        """The session behind the call."""
        if self._session is None:
            raise RuntimeError("The call has not begun: use it in a with statement.")
        return self._session

    @property
    def handler(self) -> Any:
        """The handler of this call, which is a copy of the one that was given."""
        return self.session.handler

    @property
    def now(self) -> float:
        """Seconds since the call began."""
        return self._loop.now

    @property
    def connected(self) -> bool:
        """Whether the call is up."""
        return not self.session.closed.is_set()

    @property
    def heard(self) -> tuple[int, NDArray[np.int16]]:
        """Everything that the caller would have heard: rate in Hz, int16 ``(channels, n)``.

        Sample ``n`` was heard ``n / rate`` seconds after the call began.
        """
        rate = self.session.playout.rate
        if not self._frames:
            return rate, np.zeros((self.session.channels, 0), np.int16)
        return rate, np.concatenate(self._frames, axis=1)

    def heard_between(self, start: float, end: float) -> NDArray[np.int16]:
        """What was heard between two times; int16 of shape ``(channels, n)``."""
        rate, sound = self.heard
        return sound[:, round(start * rate) : round(end * rate)]

    @property
    def sounds(self) -> list[tuple[float, float]]:
        """When the caller heard something: starts and ends, in seconds."""
        spans: list[tuple[float, float]] = []
        for index, frame in enumerate(self._frames):
            if np.abs(frame).max(initial=0) <= AUDIBLE:
                continue
            start, end = index / FRAMES_PER_SECOND, (index + 1) / FRAMES_PER_SECOND
            if spans and spans[-1][1] == start:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
        return spans

    @property
    def log(self) -> list[str]:
        """The turn-taking messages, in order."""
        return [str(m.data) for m in self.messages if m.type == "log"]

    @property
    def errors(self) -> list[str]:
        """The texts of the error messages, in order."""
        return [str(m.data) for m in self.messages if m.type == "error"]

    def draw(self, path: str | Path) -> None:
        """Write a picture of the call so far, an SVG: what was said, heard and decided."""
        rate, heard = self.heard
        picture = draw(
            rate=self._rate,
            said=self._on_time_axis(),
            heard_rate=rate,
            heard=heard,
            steps=self.steps,
            turns=self.turns,
            decisions=[(d.at, d.kind, _why(d)) for d in self.decisions],
        )
        Path(path).write_text(picture, encoding="utf-8")

    def _on_time_axis(self) -> Pcm:
        """What was said, with silence where nothing was sent."""
        sound = np.zeros((1, round(self.now * self._rate)), np.int16)
        for at, pcm in self._said:
            start = round(at * self._rate)
            part = pcm[:1, : max(0, sound.shape[1] - start)]
            sound[:, start : start + part.shape[1]] = part
        return sound

    # Inside: this is the `Line` of the session.

    channel = None
    unheard = 0.0

    def send_message(self, message: str) -> None:
        """See `Line`."""
        try:
            given = json.loads(message)
        except ValueError:
            given = {"type": "text", "data": message}
        self.messages.append(Message(self.now, given.get("type", ""), given.get("data")))
        if given.get("type") == "send_input" and self._inputs is not None:
            inputs = self._inputs() if callable(self._inputs) else self._inputs
            self.session.handler.set_args(list(inputs))

    def tick(self) -> int:
        """See `Line`."""
        return 1

    def send_frame(self, frame: Pcm | None) -> None:
        """See `Line`."""
        playout = self.session.playout
        silence = np.zeros((playout.channels, playout.frame_samples), np.int16)
        self._frames.append(silence if frame is None else frame)

    def mark(self, reached: Callable[[], None]) -> None:
        """See `Line`."""
        reached()

    def clear(self) -> bool:
        """See `Line`."""
        self.cleared.append(self.now)
        return False

    def take_back(self) -> None:
        """See `Line`: there is nothing to take."""

    async def close(self) -> None:
        """See `Line`."""

    async def _begin(self) -> None:
        self._session = self._stream.admit(
            "virtual", phone_mode=self._phone_mode, runtime=self._runtime
        )
        if isinstance(self._session.driver, Conversation):
            self._session.driver.book.watchers.append(self._notes)
        self._session.start(self)
        self._session.spawn(self._collect())

    async def _collect(self) -> None:
        async for outputs in self.session.outputs.read():
            self.outputs.append(outputs)

    async def _talk(self, rate: int, pcm: Pcm) -> None:
        length = rate // FRAMES_PER_SECOND
        started = self._loop.now
        for index in range(-(-pcm.shape[1] // length)):
            frame = pcm[:, index * length : (index + 1) * length]
            # A frame arrives when its last sample has been said.
            due = started + (index + 1) / FRAMES_PER_SECOND
            await asyncio.sleep(max(0.0, due - self._loop.now))
            self._said.append((started + index / FRAMES_PER_SECOND, frame))
            self.session.hear(rate, frame)

    async def _settle(self, tasks: set[asyncio.Task[Any]]) -> None:
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)


def _why(decision: Decision) -> str:
    """The evidence of a decision, in words."""
    evidence = decision.evidence
    if evidence is None:
        return ""
    said = f' "{evidence.opinion.words}"' if evidence.opinion.words else ""
    return f"{evidence.finished:.0%} finished, {evidence.patience:.2f} s of silence{said}"
