"""Drives `ReplyOnPause`: joins hearing, the turn machine, the models, and the replies.

Everything here runs on the event loop and returns at once. The work is done elsewhere: voice
detection, judgements and sync functions on threads, async functions in tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from fastrtc.audio.canceller import EchoCanceller
from fastrtc.audio.capture import Capture
from fastrtc.audio.convert import Pcm, with_channels
from fastrtc.audio.playout import FRAMES_PER_SECOND
from fastrtc.handlers.choices import choose_canceller, choose_endpoint, make_policy
from fastrtc.handlers.chunks import Chunks
from fastrtc.handlers.driver import Host
from fastrtc.handlers.ears import Ears, Loudness
from fastrtc.handlers.pump import SHUTDOWN_SECONDS, shut_down
from fastrtc.handlers.replies import Replies
from fastrtc.handlers.reply import inputs_wanted
from fastrtc.handlers.reply_on_pause import ReplyOnPause
from fastrtc.handlers.turn_book import TurnBook
from fastrtc.handlers.watching import ClientWatcher, Hook, HookWatcher
from fastrtc.messages import INTERRUPTED, PAUSE_DETECTED, STARTED_TALKING, create_message
from fastrtc.models.end_of_turn.source import EndpointStream, Question
from fastrtc.models.vad.batcher import VadSource
from fastrtc.models.vad.custom import CustomVad
from fastrtc.threads import call_soon, contained
from fastrtc.turns.endpointing import Opinion
from fastrtc.turns.machine import HELD, Event, Kind, Told, TurnMachine
from fastrtc.turns.options import LONGEST_UTTERANCE, VAD_RATE, TurnPolicy
from fastrtc.turns.record import Heard, Step
from fastrtc.turns.speech import HeldJudge, Judge, ReportedJudge, make_judge
from fastrtc.turns.words import is_answer, is_meant

logger = logging.getLogger(__name__)

PRE_ROLL: Final = 0.3
"""Seconds before the first voice that belong to the utterance: soft onsets score low."""
LOOK_BACK: Final = 2.0
"""Seconds of silence that are kept, so that voice detection may lag."""
SHORT_WORD: Final = 0.25
"""Seconds of voice that are a word, before anything of the reply has been heard, where no
recogniser can tell."""
LONGEST_HOLD: Final = 3.0
"""Seconds after which a held reply goes on, whatever is heard, or even if nothing is."""
NEARLY_OVER: Final = 1.0
"""Seconds. A word over so much of the end of a reply is an answer to it, not a back-channel."""


class Conversation:
    """The driver of a `ReplyOnPause`."""

    def __init__(self, handler: ReplyOnPause, host: Host) -> None:
        self.handler = handler
        self.host = host
        policy = make_policy(handler)
        source = choose_endpoint(handler, host.endpoint, self._run_model)
        if source is None:
            policy = replace(policy, endpoint=None)
        self.machine = TurnMachine(policy, self._judge(policy))
        self.book = TurnBook(host.context.webrtc_id, self._now, host.span)
        self._hooks = {
            name: Hook(host, hook, name)
            for name in ("on_interrupt", "on_turn")
            if (hook := getattr(handler, name)) is not None
        }
        if "on_turn" in self._hooks:
            self.book.watchers.append(HookWatcher(self._hooks["on_turn"]))
        if host.watched:
            self.book.watchers.append(ClientWatcher(host))
        self.replies = Replies(handler, host, self.book, self._reply_over)
        self._rate = handler.input_sample_rate
        channels = 2 if handler.expected_layout == "stereo" else 1
        self._capture = Capture(channels, round((LONGEST_UTTERANCE + LOOK_BACK) * self._rate))
        self._endpoint: EndpointStream | None = None
        self._reader: EndpointStream | None = None
        """What reads the words over a held reply."""
        complain = self._complain_of("endpointing")
        if source is not None:
            self._endpoint = source.open(self._opinion, complain)
        if source is not None and source.reads_words:
            self._reader = self._endpoint
        elif policy.interruption and policy.interruption.words and host.endpoint.reads_words:
            self._reader = host.endpoint.open(self._opinion, complain)
        self._held_ticks = 0
        canceller: EchoCanceller | None = choose_canceller(handler)
        self._ears = Ears(
            self._rate,
            self._vad_source(),
            {stream for stream in (self._endpoint, self._reader) if stream is not None},
            self._step,
            self._complain_of("voice detection"),
            canceller,
        )
        self._said_until = 0
        """Where the last utterance ended, in samples at `VAD_RATE`."""
        self._alarm: int | None = None
        """The ticket under which the words over a held reply are read."""
        self._chunks = Chunks(handler, host, self.force) if handler.ends_turns_itself else None
        self._closed = False

    # From the session.

    def start(self) -> None:
        """See `Driver`."""
        self.host.submit(self._start_up)
        if self.handler.startup_fn is not None:
            self._act(self.machine.told(Told.REPLY_BEGAN))
            self.replies.ask(self.handler.startup_fn, None)

    def hear(self, pcm: Pcm) -> None:
        """See `Driver`."""
        pcm = self._ears.hear(pcm)
        self._capture.append(pcm)
        if self._chunks is not None and self._listening:
            self._chunks.hear(with_channels(pcm, 1)[0])

    def tick(self) -> None:
        """See `Driver`."""
        self._ears.played(self.host.playing, self.host.playout.rate)
        self._held_ticks = self._held_ticks + 1 if self.host.playout.held else 0
        if self._held_ticks >= LONGEST_HOLD * FRAMES_PER_SECOND:
            self._act(self.machine.told(Told.FELL_SILENT))
        self.replies.tick()

    def clear(self) -> None:
        """See `Driver`: the reply ends here."""
        if self.replies.busy:
            self._reply_over(self.replies.drop())

    async def close(self) -> None:
        """See `Driver`."""
        self._closed = True
        self._ears.close()
        self.book.over(self.replies.drop(), interrupted=False)
        await self.replies.close()
        self.book.close()
        for hook in self._hooks.values():
            await hook.wait(SHUTDOWN_SECONDS)
        await shut_down(self.handler, self.host)

    def trigger(self) -> None:
        """End the caller's turn now. From any thread."""
        call_soon(self.host.loop, self.force)

    def force(self, utterance: Pcm | None = None) -> None:
        """End the caller's turn now, with what was said, or with this in its place."""
        if not self._closed:
            self._act(self.machine.told(Told.FORCED), utterance)

    # From the models.

    def _step(self, probability: float, loudness: Loudness) -> None:
        self._listen(probability, loudness)
        self._show(probability, loudness, self.machine.state.value)

    def _listen(self, probability: float, loudness: Loudness) -> None:
        self._act(self.machine.hear(probability, loudness.newest))
        self._capture.forget(self._in_capture(self.machine.keep_from) - self._look_back)

    def _show(self, probability: float, loudness: Loudness, state: str) -> None:
        if self.book.watchers:
            at = self.machine.position / VAD_RATE
            self.book.step(Step(at, probability, loudness.caller, loudness.playing, state))

    def _opinion(self, ticket: int, probability: float | None, words: str | None) -> None:
        if ticket == self._alarm:
            self._alarm = None
            # Before the first sound of a reply and at its end, any word is more than a nod.
            left = self.replies.remaining
            open_floor = not self.replies.sounding or (left is not None and left <= NEARLY_OVER)
            meant = is_meant(words or "") or (open_floor and is_answer(words or ""))
            logger.debug("call %s: over the reply: %r", self.host.context.webrtc_id, words)
            self._act(self.machine.told(Told.MEANT if meant else Told.NOT_MEANT))
        else:
            self._act(self.machine.judged(Opinion(probability, words), ticket))

    def _complain_of(self, doing: str) -> Callable[[Exception], None]:
        """Errors of a model stand for silence, or for no opinion, so that a turn still ends;
        said once, as a model may fail 30 times a second.
        """
        complained = False

        def complain(error: Exception) -> None:
            nonlocal complained
            if not complained:
                complained = True
                self.host.report(error, doing)

        return complain

    # What happens.

    def _act(self, events: list[Event], utterance: Pcm | None = None) -> None:
        for event in events:
            logger.debug("call %s: %s", self.host.context.webrtc_id, event)
            self.book.event(event)
            if event.kind is Kind.USER_STARTED:
                self._log(STARTED_TALKING)
                self._ask_for_inputs_early()
            elif event.kind is Kind.USER_MAY_HAVE_FINISHED:
                self._may_have_finished(event)
            elif event.kind is Kind.USER_WENT_ON:
                self._forget_questions()
                self.replies.discard()
            elif event.kind is Kind.USER_FINISHED:
                self._finished(event, utterance)
            elif event.kind is Kind.MAY_INTERRUPT:
                self.host.hold()
            elif event.kind is Kind.UNCLEAR:
                self._unclear(event)
            elif event.kind is Kind.FALSE_ALARM:
                self._forget_questions()
                self.host.playout.resume()
            elif event.kind is Kind.USER_INTERRUPTS:
                self._interrupt()

    def _may_have_finished(self, event: Event) -> None:
        if self._endpoint is not None:
            self._endpoint.ask(self._question(event))
        if self._speculates:
            start = self._in_capture(self._utterance_start(event))
            self.replies.ask_early(
                self.handler.fn, lambda: self._capture.cut(start, self._capture.end)
            )

    def _question(self, event: Event) -> Question:
        return Question(event.at, self._utterance_start(event))

    def _finished(self, event: Event, utterance: Pcm | None) -> None:
        self._forget_questions()
        self._log(PAUSE_DETECTED)
        start, end = self._utterance_start(event), event.end
        if event.voice_end <= event.start:
            start = end  # what is typed has no sound before it
        said = self._capture.cut(self._in_capture(start), self._in_capture(end))
        self._said_until = event.end
        if utterance is not None:
            self.replies.discard()
            said = utterance
        if not self.replies.adopt():
            self.replies.ask(self.handler.fn, said)

    def _unclear(self, event: Event) -> None:
        policy = self.machine.policy.interruption
        if self._reader is not None and policy is not None and policy.words:
            self._alarm = event.at
            start = self._utterance_start(event)
            self._reader.ask(Question(event.at, start, sound=False))
        elif not self.replies.sounding and event.voice_end - event.start >= SHORT_WORD * VAD_RATE:
            self._act(self.machine.told(Told.MEANT))

    def _forget_questions(self) -> None:
        """What was asked is about something that is over."""
        self._alarm = None
        for stream in (self._endpoint, self._reader):
            if stream is not None:
                stream.forget()

    def _interrupt(self) -> None:
        self._forget_questions()
        # The far side drops what it holds, and then it is known what has been heard.
        self.host.hold()
        heard = self.replies.drop()
        self.host.silence()
        self._log(INTERRUPTED)
        self.book.over(heard, interrupted=True)
        if "on_interrupt" in self._hooks:
            self._hooks["on_interrupt"].tell(heard)

    def _reply_over(self, heard: Heard) -> None:
        self.book.over(heard, interrupted=False)
        if self.machine.state in HELD:
            # It ended in the caller's word, with nothing left to be heard.
            self.host.playout.resume()
        self._act(self.machine.told(Told.REPLY_ENDED))

    def _utterance_start(self, event: Event) -> int:
        """Where an utterance begins: its voice, and the soft sound before it."""
        return max(self._said_until, event.start - round(PRE_ROLL * VAD_RATE), 0)

    def _ask_for_inputs_early(self) -> None:
        """Ask for inputs that the function can do without; they are not waited for."""
        handler = self.handler
        least, most = inputs_wanted(handler.fn, after=1)
        optional = most and not least and not handler.needs_args
        if optional and not handler.phone_mode and not handler.args_set.is_set():
            self.host.send_message(create_message("send_input"))

    # Small things.

    @property
    def _listening(self) -> bool:
        """Whether what the caller says may be a turn."""
        return True

    @property
    def _speculates(self) -> bool:
        """Whether replies are begun before it is sure that the caller has finished."""
        return self.handler.speculative and not self.handler.ends_turns_itself

    @property
    def _look_back(self) -> int:
        return round(LOOK_BACK * self._rate)

    def _in_capture(self, position: int) -> int:
        """A position of the turn machine, in samples of the capture."""
        return position * self._rate // VAD_RATE

    def _now(self) -> float:
        return self._capture.end / self._rate

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

    def _run_model(
        self,
        question: Callable[[], float],
        answered: Callable[[float], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Ask a model of the user's on a worker thread, one question of all calls at a time."""

        def run() -> None:
            try:
                with self.handler.model_lock:
                    found = question()
            except BaseException as error:
                call_soon(self.host.loop, failed, contained(error))
            else:
                call_soon(self.host.loop, answered, found)

        self.host.submit(run)
