"""Drives `ReplyOnPause`: joins voice detection, the turn machine, and replies.

Everything here runs on the event loop and returns at once. The work is done elsewhere: voice
detection and sync functions on threads, async functions in tasks.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import numpy as np

from fastrtc.audio.capture import Capture
from fastrtc.audio.convert import Pcm, with_channels
from fastrtc.handlers.driver import Host
from fastrtc.handlers.pump import SHUTDOWN_SECONDS, shut_down
from fastrtc.handlers.reply import Reply, inputs_wanted
from fastrtc.handlers.reply_on_pause import ReplyOnPause
from fastrtc.messages import (
    INTERRUPTED,
    PAUSE_DETECTED,
    RESPONSE_FINISHED,
    RESPONSE_STARTING,
    STARTED_TALKING,
    create_message,
)
from fastrtc.models.vad.batcher import VadSource
from fastrtc.models.vad.custom import CustomVad
from fastrtc.models.vad.feed import VadFeed
from fastrtc.models.vad.silero import HYSTERESIS, SileroVadOptions
from fastrtc.threads import call_soon, contained
from fastrtc.turns.machine import Event, Kind, Told, TurnMachine
from fastrtc.turns.options import LONGEST_UTTERANCE, VAD_RATE, TurnPolicy
from fastrtc.turns.speech import HeldJudge, Judge, ReportedJudge, make_judge

logger = logging.getLogger(__name__)

PRE_ROLL: Final = 0.3
"""Seconds before the first voice that belong to the utterance: soft onsets score low."""
LOOK_BACK: Final = 2.0
"""Seconds of silence that are kept, so that voice detection may lag."""
UNRETURNED: Final = 4
"""Interrupted replies of a call whose functions may still run, before new ones are refused."""


def make_policy(handler: ReplyOnPause) -> TurnPolicy:
    """What the user's options mean to the turn machine."""
    options: dict[str, Any] = {"can_interrupt": handler.can_interrupt}
    given = handler.given_model_options
    if isinstance(given, SileroVadOptions):
        options["threshold"] = given.threshold
        options["release"] = max(0.01, given.threshold - HYSTERESIS)
        options["min_speech"] = given.min_speech_duration_ms / 1000
        options["min_gap"] = given.min_silence_duration_ms / 1000
    if handler.given_algo_options is not None:
        options["window"] = handler.given_algo_options
        options["max_speech"] = min(
            LONGEST_UTTERANCE, handler.given_algo_options.max_continuous_speech_s
        )
    return TurnPolicy(**options)


class Conversation:
    """The driver of a `ReplyOnPause`."""

    def __init__(self, handler: ReplyOnPause, host: Host) -> None:
        self.handler = handler
        self.host = host
        policy = make_policy(handler)
        self.machine = TurnMachine(policy, self._judge(policy))
        self.epoch = 0
        self._rate = handler.input_sample_rate
        channels = 2 if handler.expected_layout == "stereo" else 1
        self._capture = Capture(channels, round((LONGEST_UTTERANCE + LOOK_BACK) * self._rate))
        self._feed = VadFeed(self._rate)
        self._vad = self._vad_source().open(self._probability, self._vad_failed)
        self._vad_complained = False
        self._said_until = 0
        """Where the last utterance ended, in samples of the capture."""
        self._reply: Reply | None = None
        self._unreturned: list[Reply] = []
        self._asking: asyncio.Task[Any] | None = None
        self._chunks = _Chunks(self) if handler.ends_turns_itself else None
        self._closed = False

    # From the session.

    def start(self) -> None:
        """See `Driver`."""
        self.host.submit(self._start_up)
        if self.handler.startup_fn is not None:
            self._act(self.machine.told(Told.REPLY_BEGAN))
            self._ask_then_reply(self.handler.startup_fn, None)

    def hear(self, pcm: Pcm) -> None:
        """See `Driver`."""
        self._capture.append(pcm)
        if self._chunks is not None:
            self._chunks.hear(with_channels(pcm, 1)[0])
        samples = self._feed.add(pcm)
        if len(samples):
            self._vad.feed(samples)

    def tick(self) -> None:
        """See `Driver`."""
        if self._reply is not None:
            self._reply.tick()

    def clear(self) -> None:
        """See `Driver`: the reply ends here."""
        if self._reply is not None:
            self._drop_reply()
            self._act(self.machine.told(Told.REPLY_ENDED))

    async def close(self) -> None:
        """See `Driver`."""
        self._closed = True
        self._vad.close()
        self._drop_reply()
        for reply in self._unreturned:
            await reply.wait(SHUTDOWN_SECONDS)
        await shut_down(self.handler, self.host)

    def trigger(self) -> None:
        """End the caller's turn now. From any thread."""
        call_soon(self.host.loop, self.force)

    def force(self, utterance: Pcm | None = None) -> None:
        """End the caller's turn now, with what was said, or with this in its place."""
        if not self._closed:
            self._act(self.machine.told(Told.FORCED), utterance)

    # From voice detection.

    def _probability(self, probability: float) -> None:
        self._act(self.machine.hear(probability))
        self._capture.forget(self._in_capture(self.machine.keep_from) - self._look_back)

    def _vad_failed(self, error: Exception) -> None:
        # It stands for silence, so that a turn still ends; said once, as it may fail 30 times
        # a second.
        if not self._vad_complained:
            self._vad_complained = True
            self.host.report(error, "voice detection")

    # What happens.

    def _act(self, events: list[Event], utterance: Pcm | None = None) -> None:
        for event in events:
            logger.debug("call %s: %s", self.host.context.webrtc_id, event)
            if event.kind is Kind.USER_STARTED:
                self._log(STARTED_TALKING)
                self._ask_early()
            elif event.kind is Kind.USER_INTERRUPTS:
                self._interrupt()
            elif event.kind is Kind.USER_FINISHED:
                self._log(PAUSE_DETECTED)
                cut = self._utterance(event)
                self._ask_then_reply(self.handler.fn, cut if utterance is None else utterance)

    def _interrupt(self) -> None:
        self._drop_reply()
        self.host.playout.interrupt()
        self.host.far_clear()
        self._log(INTERRUPTED)

    def _utterance(self, event: Event) -> Pcm:
        start = self._in_capture(event.start) - round(PRE_ROLL * self._rate)
        end = self._in_capture(event.end)
        start = max(start, self._said_until)
        self._said_until = end
        return self._capture.cut(start, end)

    def _ask_then_reply(self, function: Any, utterance: Pcm | None) -> None:
        self._drop_reply()
        # A greeting takes inputs only, and no audio in front of them.
        least, most = inputs_wanted(function, after=0 if utterance is None else 1)
        needed = least or self.handler.needs_args
        if not needed or self.handler.phone_mode or self.handler.args_set.is_set():
            self._begin(function, utterance, most)
        else:
            self._asking = self.host.spawn(self._ask(function, utterance, most))

    def _ask_early(self) -> None:
        """Ask for inputs that the function can do without; they are not waited for."""
        handler = self.handler
        least, most = inputs_wanted(handler.fn, after=1)
        optional = most and not least and not handler.needs_args
        if optional and not handler.phone_mode and not handler.args_set.is_set():
            self.host.send_message(create_message("send_input"))

    async def _ask(self, function: Any, utterance: Pcm | None, most: int) -> None:
        try:
            await self.handler.wait_for_args()
        except (TimeoutError, asyncio.TimeoutError) as error:
            self._asking = None
            self.host.report(error, "waiting for inputs")
            self._act(self.machine.told(Told.REPLY_ENDED))
            return
        self._asking = None
        self._begin(function, utterance, most)

    def _begin(self, function: Any, utterance: Pcm | None, most: int) -> None:
        self._unreturned = [reply for reply in self._unreturned if reply.running]
        if len(self._unreturned) >= UNRETURNED:
            error = RuntimeError(
                f"{UNRETURNED} interrupted replies are still being computed; "
                "there is no answer until one of them returns."
            )
            self.host.report(error, "replying")
            self._act(self.machine.told(Told.REPLY_ENDED))
            return
        inputs = self.handler.latest_args[1:][:most]
        args: tuple[Any, ...] = tuple(inputs)
        if utterance is not None:
            args = ((self._rate, utterance), *inputs)
        self.handler.args_set.clear()
        self.handler.state.responding = True
        self.epoch += 1
        self._reply = Reply(
            self.epoch,
            self.host,
            function,
            args,
            on_sound=lambda: self._log(RESPONSE_STARTING),
            on_heard=self._reply_heard,
        )
        self._reply.start()

    def _reply_heard(self) -> None:
        self._reply = None
        self.handler.state.responding = False
        self._log(RESPONSE_FINISHED)
        self._act(self.machine.told(Told.REPLY_ENDED))

    def _drop_reply(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        if self._reply is not None:
            self._reply.cancel()
            if self._reply.running:
                self._unreturned.append(self._reply)
            self._reply = None
            self.handler.state.responding = False

    # Small things.

    @property
    def _look_back(self) -> int:
        return round(LOOK_BACK * self._rate)

    def _in_capture(self, position: int) -> int:
        """A position of the turn machine, in samples of the capture."""
        return position * self._rate // VAD_RATE

    def _log(self, what: str) -> None:
        self.host.send_message(create_message("log", what))

    def _start_up(self) -> None:
        try:
            self.handler.start_up()
        except BaseException as error:
            call_soon(self.host.loop, self.host.report, error, "start_up")

    def _judge(self, policy: TurnPolicy) -> Judge:
        judge = (
            make_judge(policy)
            if self.handler.given_model is None
            else ReportedJudge(self.handler.algo_options)
        )
        return HeldJudge(judge) if self.handler.ends_turns_itself else judge

    def _vad_source(self) -> VadSource:
        if self.handler.given_model is None:
            return self.host.vad
        return CustomVad(
            self.handler.given_model,
            self.handler.model_options,
            self.handler.algo_options.audio_chunk_duration,
            self._run_model,
        )

    def _run_model(self, question: Any, answered: Any, failed: Any) -> None:
        def run() -> None:
            try:
                with self.handler.model_lock:
                    seconds = question()
            except BaseException as error:
                call_soon(self.host.loop, failed, contained(error))
            else:
                call_soon(self.host.loop, answered, seconds)

        self.host.submit(run)


class _Chunks:
    """Feeds a user's own `determine_pause`, one chunk after the other, on a worker thread."""

    def __init__(self, conversation: Conversation) -> None:
        handler = conversation.handler
        self._conversation = conversation
        self._length = round(handler.algo_options.audio_chunk_duration * handler.input_sample_rate)
        self._heard: list[Any] = []
        self._count = 0
        self._waiting: list[Any] = []
        self._busy = False

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
        self._conversation.host.submit(lambda: self._judge(chunk))

    def _judge(self, chunk: Any) -> None:
        handler = self._conversation.handler
        ends = False
        try:
            ends = bool(handler.determine_pause(chunk, handler.input_sample_rate, handler.state))
        except BaseException as error:
            call_soon(handler.loop, self._conversation.host.report, error, "determine_pause")
        call_soon(handler.loop, self._judged, ends)

    def _judged(self, ends: bool) -> None:
        handler = self._conversation.handler
        self._busy = False
        if ends:
            said = handler.state.stream
            handler.state = handler.state.new()
            self._conversation.force(None if said is None else np.asarray(said)[None])
        if self._waiting:
            self._next()
