"""`ReplyOnPause`: calls a function with what the caller said, whenever the caller pauses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.canceller import EchoCanceller
from fastrtc.handlers.base import StreamHandler
from fastrtc.handlers.values import AudioEmitType
from fastrtc.messages import STARTED_TALKING, create_message
from fastrtc.models.end_of_turn.protocol import EndOfTurnModel
from fastrtc.models.vad.silero import ModelOptions, PauseDetectionModel, Silero
from fastrtc.threads import OwnLock
from fastrtc.turns.options import AlgoOptions, InterruptionPolicy
from fastrtc.turns.record import Heard, Turn

if TYPE_CHECKING:
    from fastrtc.handlers.conversation import Conversation
    from fastrtc.handlers.driver import Driver, Host
    from fastrtc.models.end_of_turn.source import EndpointSource
    from fastrtc.models.vad.batcher import VadSource


@dataclass
class AppState:
    """What a user's `ReplyOnPause.determine_pause` may read and write.

    Attributes:
        stream: what the caller has said in this turn; int16, shape ``(n,)``. Where it is set
            when the turn ends, it is what the function gets.
        sampling_rate: Hz.
        started_talking: whether the turn has begun.
        responding: whether a reply is being made or heard.
        pause_detected, buffer, stopped: for old code.
    """

    stream: NDArray[Any] | None = None
    sampling_rate: int = 0
    pause_detected: bool = False
    started_talking: bool = False
    responding: bool = False
    stopped: bool = False
    buffer: NDArray[Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def new(self) -> AppState:
        """A fresh state."""
        return AppState()


class ReplyOnPause(StreamHandler):
    """Replies when the caller pauses.

    ``fn`` gets ``(rate, samples)`` with int16 samples of shape ``(1, n)``, and then the page's
    inputs, and yields what `StreamHandler.emit` may return. It may be a sync or an async
    generator function, or anything that returns an iterator.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        startup_fn: Callable[..., Any] | None = None,
        algo_options: AlgoOptions | None = None,
        model_options: ModelOptions | None = None,
        can_interrupt: bool = True,
        expected_layout: Literal["mono", "stereo"] = "mono",
        output_sample_rate: int = 24_000,
        output_frame_size: int | None = None,
        input_sample_rate: int = 48_000,
        model: PauseDetectionModel | None = None,
        needs_args: bool = False,
        *,
        endpointing: Literal["auto", "vad"] | EndOfTurnModel = "auto",
        speculative: bool = False,
        interruption: InterruptionPolicy | None = None,
        on_interrupt: Callable[[Heard], Any] | None = None,
        on_turn: Callable[[Turn], Any] | None = None,
        echo_cancellation: bool = False,
    ) -> None:
        """Set up a handler.

        Args:
            fn: see the class.
            startup_fn: called when the call begins; what it yields greets the caller.
            algo_options: how a pause is found. Where it is given, it wins over ``endpointing``.
            model_options: how speech is told from silence, usually `SileroVadOptions`.
            can_interrupt: whether the caller's speech ends a reply. Where it does not, what is
                said over a reply is answered after it.
            expected_layout: see `StreamHandler`.
            output_sample_rate: see `StreamHandler`.
            output_frame_size: deprecated and ignored.
            input_sample_rate: Hz, the rate of the samples that ``fn`` gets.
            model: a voice detector in the place of Silero. All calls share it; it is called on
                worker threads, by one of them at a time. It ends turns as ``algo_options`` say, and
                ``endpointing`` is not used.
            needs_args: ask for the page's inputs even if ``fn`` does not name them.
            endpointing: what tells that the caller has finished. ``"auto"`` weighs silence,
                Smart Turn and the words, as far as their weights are found; ``"vad"`` is silence
                alone; an `EndOfTurnModel` is asked in the place of Smart Turn.
            speculative: call ``fn`` when the caller *may* have finished, and hold what it yields
                until that is sure. If the caller goes on, what it yielded is discarded, and it
                is called again with all that was said. So ``fn`` may be called several times for
                one turn: it must change nothing outside itself before its first sound is heard.
            interruption: how the caller's voice ends a reply. Where it is not given, but
                ``algo_options`` or ``model`` are, whatever they call speech ends it at once.
            on_interrupt: called with what was `Heard` of a reply that the caller, or
                `trigger_response`, ended; a plain function on a worker thread, an async one on the
                loop.
            on_turn: called with each `Turn` when its reply is over, in the same way.
            echo_cancellation: take our own sound out of the caller's (needs ``fastrtc[aec]``), for
                callers on a loudspeaker whose device does not; browsers do it themselves.

        Raises:
            TypeError, ValueError: an option is of the wrong kind or out of range.
            WeightsError: Silero's weights are missing.
            ImportError: echo cancellation is asked for and not installed.
        """
        super().__init__(
            expected_layout=expected_layout,
            output_sample_rate=output_sample_rate,
            output_frame_size=output_frame_size,
            input_sample_rate=input_sample_rate,
        )
        if not callable(fn):
            raise TypeError(f"expected a function that yields audio, got {type(fn).__name__}")
        self.fn = fn
        self.startup_fn = startup_fn
        self.given_algo_options = algo_options
        self.given_model_options = model_options
        self.algo_options = algo_options or AlgoOptions()
        self.model_options = model_options
        self.can_interrupt = can_interrupt
        self.given_model = model
        self.model: PauseDetectionModel = model or Silero()
        self.model_lock = OwnLock()
        """All calls share a model of the user's, which need not be thread-safe."""
        self.needs_args = needs_args
        is_model = isinstance(endpointing, EndOfTurnModel) and not isinstance(endpointing, type)
        if endpointing not in ("auto", "vad") and not is_model:
            raise TypeError(
                'expected endpointing "auto", "vad" or a model with the methods end_of_turn and '
                f"warmup, got {endpointing!r}"
            )
        if not isinstance(algo_options, (AlgoOptions, type(None))):
            raise TypeError(f"expected algo_options to be AlgoOptions, got {algo_options!r}")
        if not isinstance(interruption, (InterruptionPolicy, type(None))):
            raise TypeError(
                f"expected interruption to be an InterruptionPolicy, got {interruption!r}"
            )
        if echo_cancellation:
            if expected_layout != "mono":
                raise ValueError(
                    f'expected the layout "mono" for echo_cancellation, got {expected_layout!r}'
                )
            EchoCanceller(input_sample_rate)  # To see now whether it can be had.
        self.endpointing = endpointing
        self.speculative = speculative
        for name, hook in (("on_interrupt", on_interrupt), ("on_turn", on_turn)):
            if hook is not None and not callable(hook):
                raise TypeError(f"expected {name} to be a function, got {hook!r}")
        self.interruption = interruption
        self.on_interrupt = on_interrupt
        self.on_turn = on_turn
        self.echo_cancellation = echo_cancellation
        self.state = AppState()
        self._conversation: Conversation | None = None

    def copy(self) -> ReplyOnPause:
        """A fresh handler for one call, of the same class as this one.

        A subclass whose ``__init__`` takes other arguments is copied attribute by attribute; it
        keeps its own attributes, which are then shared between calls unless it overrides this.
        """
        fresh = object.__new__(type(self))
        fresh.__dict__.update(self.__dict__)
        StreamHandler.__init__(
            fresh,
            expected_layout=self.expected_layout,
            output_sample_rate=self.output_sample_rate,
            input_sample_rate=self.input_sample_rate,
        )
        fresh.state = AppState()
        fresh._conversation = None
        return fresh

    def determine_pause(
        self, audio: NDArray[np.int16], sampling_rate: int, state: AppState
    ) -> bool:
        """Whether the turn ends with this audio. Override it to end turns your own way.

        Where a subclass overrides this, it is called on a worker thread with each
        ``algo_options.audio_chunk_duration`` seconds of sound, and nothing else ends a turn.

        Args:
            audio: int16 of shape ``(n,)``, the newest chunk.
            sampling_rate: Hz.
            state: the turn so far.
        """
        seconds, _ = self.model.vad((sampling_rate, audio), self.model_options)
        if not state.started_talking and seconds > self.algo_options.started_talking_threshold:
            state.started_talking = True
            self.send_message_sync(create_message("log", STARTED_TALKING))
        if not state.started_talking:
            return False
        before = [] if state.stream is None else [state.stream]
        state.stream = np.concatenate([*before, audio])
        return seconds < self.algo_options.speech_threshold

    def trigger_response(self) -> None:
        """End the caller's turn now, from any thread: ``fn`` gets what was said so far."""
        if self._conversation is not None:
            self._conversation.trigger()

    def reset(self) -> None:
        """Forget that inputs were set, and the state of `determine_pause`."""
        super().reset()
        self.state = AppState()

    def receive(self, frame: tuple[int, NDArray[np.int16]]) -> None:
        """Sound reaches a conversation by the session; nothing happens here."""

    def emit(self) -> AudioEmitType:
        """Replies reach the caller by the session; there is nothing here."""
        return None

    def start_up(self) -> None:
        """Called once when the call is connected; ``startup_fn`` is called beside it."""

    def shutdown(self) -> None:
        """Called once when the call has ended."""

    @property
    def ends_turns_itself(self) -> bool:
        """Whether a subclass overrides `determine_pause`."""
        return type(self).determine_pause is not ReplyOnPause.determine_pause

    def _prepare(self, vad: VadSource, endpoint: EndpointSource) -> None:
        from fastrtc.handlers.choices import asks_shared_models, choose_endpoint

        super()._prepare(vad, endpoint)
        if self.given_model is None:
            vad.prepare()
        else:
            self.given_model.warmup()
        if asks_shared_models(self):
            endpoint.fetch()
        chosen = choose_endpoint(self, endpoint, lambda *_: None)
        if chosen is endpoint:
            endpoint.prepare()
        elif chosen is not None and not isinstance(self.endpointing, str):
            self.endpointing.warmup()

    def _check_phone(self) -> None:
        from fastrtc.handlers.reply import check_defaults

        check_defaults(self.fn, after=1)
        if self.startup_fn is not None:
            check_defaults(self.startup_fn, after=0)

    def _driver(self, host: Host) -> Driver:
        from fastrtc.handlers.conversation import Conversation

        self._conversation = Conversation(self, host)
        return self._conversation
