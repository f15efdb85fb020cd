"""Drives `ReplyOnStopWords`: a conversation that hears nothing until a stop word is said.

While it sleeps, the turn machine is not fed; its steps are kept. When a stop word is found, which
is some 0.2 s after it was said, the machine hears what has been said since, as if it had listened
all the time. So whatever follows in the same breath is an ordinary turn.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastrtc.audio.convert import Pcm, audio_to_int16, with_channels
from fastrtc.handlers.conversation import Conversation
from fastrtc.handlers.driver import Host
from fastrtc.handlers.ears import Loudness
from fastrtc.handlers.reply_on_stopwords import ReplyOnStopWords
from fastrtc.handlers.spotting import TAPE_SECONDS, SoundSpotter, Spotted, Spotter, TextSpotter
from fastrtc.messages import ASLEEP, AWAKE, create_message
from fastrtc.models.end_of_turn.source import Question
from fastrtc.models.inference import listening_pool
from fastrtc.models.stt.moonshine import shared_moonshine
from fastrtc.turns.machine import Event, State, Told
from fastrtc.turns.options import STEP_SAMPLES, VAD_RATE
from fastrtc.turns.record import Heard
from fastrtc.turns.stretches import LONGEST

KEPT: Final = TAPE_SECONDS + LONGEST * STEP_SAMPLES / VAD_RATE
"""Seconds of sound that are kept while it sleeps: the time that reading may take, and a stretch."""
LONGEST_REPLY: Final = 60.0
"""Seconds of what was said since a stop word over a reply that may not be interrupted."""


class StopWordConversation(Conversation):
    """The driver of a `ReplyOnStopWords`."""

    def __init__(self, handler: ReplyOnStopWords, host: Host) -> None:
        super().__init__(handler, host)
        self._stop_words = handler
        self._awake = self._catching_up = False
        self._said_at = 0
        """Where the newest stop word ended, or the caller's last voice since."""
        self._called: Spotted | None = None
        """A stop word over a reply that may not be interrupted."""
        self._read: tuple[int, str] | None = None
        """Up to which sample of this utterance was read, and what."""
        self._known: tuple[int, str] | None = None
        """The ticket of a question whose words are known, and the words."""
        self._steps: deque[tuple[float, Loudness]] = deque(
            maxlen=round(LONGEST_REPLY * VAD_RATE / STEP_SAMPLES)
        )
        self._spotter = self._make_spotter()
        self._ears.add(self._spotter)

    def start(self) -> None:
        """See `Driver`."""
        super().start()
        self._log(ASLEEP)

    def force(self, utterance: Pcm | None = None) -> None:
        """End the caller's turn now; while it sleeps there is none, but for what is typed."""
        if self._awake or self.handler.typed:
            super().force(utterance)

    # From the models.

    def _step(self, probability: float, loudness: Loudness) -> None:
        self._steps.append((probability, loudness))
        if self._awake:
            self._spotter.skip()
            super()._step(probability, loudness)
            self._doze()
            return
        self.machine.skip(self.machine.position + STEP_SAMPLES)
        kept = self.machine.position - round(KEPT * VAD_RATE)
        if self._called is not None:
            kept = min(kept, self._called.cut)
        self._capture.forget(self._in_capture(kept))
        state = self.machine.state.value if self.replies.busy else ASLEEP
        self._show(probability, loudness, state)
        if self.handler.given_model is not None:
            # A detector of the user's gives seconds of speech.
            probability = float(probability > self.handler.algo_options.speech_threshold)
        self._spotter.step(probability, loudness.caller)

    def _spotted(self, spotted: Spotted) -> None:
        if self.replies.busy and not self.handler.can_interrupt:
            # One request can wait: the first.
            if self._called is None:
                self._called = spotted
                self.host.send_message(create_message("stopword", ""))
            return
        self.host.send_message(create_message("stopword", ""))
        if self.replies.busy:
            self._act(self.machine.told(Told.REPLY_ENDED))
            self._interrupt()
        self._wake(spotted)

    def _opinion(self, ticket: int, probability: float | None, words: str | None) -> None:
        if self._known is not None and self._known[0] == ticket:
            words = self._known[1]
        super()._opinion(ticket, probability, words)

    # What happens.

    def _wake(self, spotted: Spotted) -> None:
        """Listen, beginning with what was said since the stop word."""
        self._log(AWAKE)
        self._spotter.forget()
        self._awake = True
        self._said_until, self._said_at = spotted.cut, self.machine.position
        self._read = (spotted.read_until, spotted.rest)
        if self._chunks is not None:
            self._chunks.begin()
            said = self._capture.cut(self._in_capture(spotted.cut), self._capture.end)
            self._chunks.hear(with_channels(said, 1)[0])
        count = max(0, self.machine.position - spotted.cut) // STEP_SAMPLES
        missed = list(self._steps)[len(self._steps) - min(count, len(self._steps)) :]
        self.machine.skip(self.machine.position - len(missed) * STEP_SAMPLES)
        self._catching_up = True
        for probability, loudness in missed:
            if self._awake:
                self._listen(probability, loudness)
            else:
                self.machine.skip(self.machine.position + STEP_SAMPLES)
        self._catching_up = False

    def _doze(self) -> None:
        """Sleep where nothing follows the stop word."""
        if not self._awake:
            return
        if self.machine.state is not State.LISTENING:
            self._said_at = self.machine.position
        elif self.machine.position - self._said_at >= self._stop_words.listens_for * VAD_RATE:
            self._sleep()

    def _sleep(self) -> None:
        self._awake = False
        self._read = self._known = None
        self._log(ASLEEP)

    def _finished(self, event: Event, utterance: Pcm | None) -> None:
        super()._finished(event, utterance)
        self._sleep()

    def _reply_over(self, heard: Heard) -> None:
        super()._reply_over(heard)
        called, self._called = self._called, None
        if called is not None:
            self._wake(called)

    def _question(self, event: Event) -> Question:
        question = super()._question(event)
        ours = self._reader is self._endpoint and self._stop_words.stt is None
        if ours and self._read is not None and event.voice_end <= self._read[0]:
            # It has been read already, with the stop word.
            self._known = (question.ticket, self._read[1])
            return Question(question.ticket, question.start, words=False)
        return question

    # Small things.

    @property
    def _listening(self) -> bool:
        return self._awake

    @property
    def _speculates(self) -> bool:
        # What is heard in a moment may be far behind the end of the turn.
        return super()._speculates and not self._catching_up

    def _make_spotter(self) -> Spotter:
        fail = self._complain_of("looking for a stop word")
        if self._stop_words.wake_words is not None:
            return SoundSpotter(self.host, self._stop_words.wake_words, self._spotted, fail)
        return TextSpotter(self.host, self._words, self._look, self._spotted, fail)

    async def _look(self, text: str) -> tuple[int, int] | None:
        if self._stop_words.looks_itself:
            return await self.host.workers.call(self._stop_words.look, text)
        return self._stop_words.look(text)

    async def _words(self, samples: NDArray[np.float32]) -> str:
        """The words of a stretch, read off the event loop."""
        model = self._stop_words.stt
        if model is None:
            job = partial(_read, samples)
            return await listening_pool().arun(job, urgent=True)
        pcm = audio_to_int16(samples)[None]
        return str(await self.host.workers.call(partial(model.stt, (VAD_RATE, pcm))))


def _read(samples: NDArray[np.float32]) -> str:
    return shared_moonshine().transcribe(samples)
