"""The replies of a conversation: one at a time is heard, and another may be begun early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from fastrtc.audio.convert import Pcm
from fastrtc.handlers.driver import Host
from fastrtc.handlers.pump import SHUTDOWN_SECONDS
from fastrtc.handlers.reply import Reply, inputs_wanted
from fastrtc.handlers.turn_book import TurnBook
from fastrtc.handlers.values import WebRTCData
from fastrtc.messages import RESPONSE_FINISHED, RESPONSE_STARTING, create_message
from fastrtc.turns.record import Heard

if TYPE_CHECKING:
    from fastrtc.handlers.reply_on_pause import ReplyOnPause

UNRETURNED: Final = 4
"""Replies of a call that were given up and whose functions may still run, before new ones are
refused; half as many, before none is begun early."""


class Replies:
    """Calls the user's functions, and knows what the caller has heard of what they say.

    ``over`` is called with what was heard whenever a reply is over by itself, has failed, or
    cannot begin.
    """

    def __init__(
        self, handler: ReplyOnPause, host: Host, book: TurnBook, over: Callable[[Heard], None]
    ) -> None:
        self.epoch = 0
        self._handler = handler
        self._host = host
        self._book = book
        self._over = over
        self._reply: Reply | None = None
        self._early: Reply | None = None
        """Begun before the turn was over; held."""
        self._inputs_were_set = False
        """Whether the early reply took the inputs that the next one would need."""
        self._unreturned: list[Reply] = []
        self._asking: asyncio.Task[Any] | None = None

    def ask(self, function: Callable[..., Any], utterance: Pcm | None) -> None:
        """Reply: with an utterance, or as a greeting, which has none."""
        self._book.asked()
        # A greeting takes inputs only, and no audio in front of them.
        least, most = inputs_wanted(function, after=0 if utterance is None else 1)
        if self._has_inputs(least):
            self._begin(function, utterance, most)
        else:
            self._asking = self._host.spawn(self._ask(function, utterance, most))

    def ask_early(self, function: Callable[..., Any], utterance: Callable[[], Pcm]) -> None:
        """Begin a reply that may not be wanted, if that costs nobody else anything."""
        self.discard()
        least, most = inputs_wanted(function, after=1)
        if not self._has_inputs(least) or len(self._still_running()) >= UNRETURNED // 2:
            return
        self._inputs_were_set = self._handler.args_set.is_set()
        self._early = self._make(function, utterance(), most, held=True)

    def adopt(self) -> bool:
        """Let the early reply be the reply to the turn that is over; False if there is none."""
        if self._handler.args_set.is_set():
            # Newer inputs have come since.
            self.discard()
        early, self._early = self._early, None
        if early is None:
            return False
        self._book.asked()
        self._reply = early
        self._handler.state.responding = True
        early.release()
        return True

    def discard(self) -> None:
        """Give up the early reply without a trace."""
        early, self._early = self._early, None
        if early is None:
            return
        self._give_up(early, quietly=True)
        self._book.discarded()
        if self._inputs_were_set:
            self._handler.args_set.set()
        if early.error is not None:
            early.log_error(early.error)

    def drop(self) -> Heard:
        """End the reply here; what has been heard of it."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        if self._reply is None:
            return Heard()
        reply, self._reply = self._reply, None
        self._give_up(reply)
        self._remember(reply.heard)
        return reply.heard

    def tick(self) -> None:
        """Move what is due into the playout."""
        for reply in (self._reply, self._early):
            if reply is not None:
                reply.tick()

    @property
    def busy(self) -> bool:
        """Whether there is a reply, or one is asked for."""
        return self._reply is not None or self._asking is not None

    @property
    def sounding(self) -> bool:
        """Whether the caller has heard anything of the reply."""
        return self._reply is not None and self._reply.heard.seconds > 0

    @property
    def remaining(self) -> float | None:
        """Seconds of the reply that are still to be heard; None while that is not known."""
        return None if self._reply is None else self._reply.remaining

    async def close(self) -> None:
        """Give up everything, and let async functions clean up."""
        self.discard()
        self.drop()
        for reply in self._unreturned:
            await reply.wait(SHUTDOWN_SECONDS)

    def _has_inputs(self, least: int) -> bool:
        handler = self._handler
        needed = least or handler.needs_args
        return not needed or handler.phone_mode or handler.args_set.is_set()

    async def _ask(self, function: Callable[..., Any], utterance: Pcm | None, most: int) -> None:
        try:
            await self._handler.wait_for_args()
        except TimeoutError as error:
            self._asking = None
            self._fail(error, "waiting for inputs")
            return
        self._asking = None
        self._begin(function, utterance, most)

    def _begin(self, function: Callable[..., Any], utterance: Pcm | None, most: int) -> None:
        if len(self._still_running()) >= UNRETURNED:
            error = RuntimeError(
                f"{UNRETURNED} interrupted replies are still being computed; "
                "there is no answer until one of them returns."
            )
            self._fail(error, "replying")
            return
        self._handler.state.responding = True
        self._reply = self._make(function, utterance, most, held=False)

    def _make(
        self, function: Callable[..., Any], utterance: Pcm | None, most: int, *, held: bool
    ) -> Reply:
        handler = self._handler
        inputs = handler.latest_args[1:][:most]
        args: tuple[Any, ...] = tuple(inputs)
        if utterance is not None:
            args = (self._first_argument(utterance, held=held), *inputs)
        handler.args_set.clear()
        self.epoch += 1
        reply = Reply(
            self.epoch,
            self._host,
            function,
            args,
            on_output=lambda: self._book.output(early=reply is self._early),
            on_sound=self._sounds,
            on_heard=self._heard,
            held=held,
            span=self._book.span(early=held),
        )
        reply.start()
        return reply

    def _first_argument(self, utterance: Pcm, *, held: bool) -> Any:
        """What the function gets before its inputs: what was said, and what was typed."""
        handler = self._handler
        audio = (handler.input_sample_rate, utterance)
        if not handler.takes_text:
            return audio
        text = ""
        if not held:  # an early reply may be discarded
            text = "\n".join(handler.typed)
            handler.typed.clear()
        return WebRTCData(self._host.context.webrtc_id, text, audio)

    def _sounds(self) -> None:
        self._book.sound()
        self._host.send_message(create_message("log", RESPONSE_STARTING))

    def _heard(self) -> None:
        reply, self._reply = self._reply, None
        if reply is None:
            return
        self._handler.state.responding = False
        if reply.error is not None:
            self._book.failed(reply.error)
        self._host.send_message(create_message("log", RESPONSE_FINISHED))
        self._remember(reply.heard)
        self._over(reply.heard)

    def _fail(self, error: Exception, doing: str) -> None:
        self._host.report(error, doing)
        self._book.failed(error)
        self._over(Heard())

    def _give_up(self, reply: Reply, *, quietly: bool = False) -> None:
        reply.cancel(quietly=quietly)
        self._handler.state.responding = False
        if reply.running:
            self._unreturned.append(reply)

    def _still_running(self) -> list[Reply]:
        self._unreturned = [reply for reply in self._unreturned if reply.running]
        return self._unreturned

    def _remember(self, heard: Heard) -> None:
        self._host.context.heard_before = heard
