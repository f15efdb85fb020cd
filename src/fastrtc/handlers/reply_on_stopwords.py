"""`ReplyOnStopWords`: replies to what follows a stop word, and to nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from fastrtc.handlers.reply_on_pause import ReplyOnPause
from fastrtc.models.stt.moonshine import shared_moonshine
from fastrtc.models.stt.recogniser import STTModel
from fastrtc.models.wake_words import WakeWords
from fastrtc.turns.stop_words import StopWords

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from fastrtc.handlers.driver import Driver, Host
    from fastrtc.models.end_of_turn.source import EndpointSource
    from fastrtc.models.vad.batcher import VadSource

LISTENS_FOR: Final = 30.0
"""Seconds after a stop word in which something has to be said."""


class ReplyOnStopWords(ReplyOnPause):
    """Replies to what the caller says after a stop word, such as "computer" or "hey siri".

    "Computer, what time is it?" replies to "what time is it?"; after a mere "Computer." the next
    thing that is said is replied to. Then it sleeps again. While a reply is heard, only a stop
    word interrupts it.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        stop_words: Sequence[str],
        startup_fn: Callable[..., Any] | None = None,
        *args: Any,
        stt: STTModel | None = None,
        spotting: Literal["auto", "text", "sound"] = "auto",
        listens_for: float = LISTENS_FOR,
        **options: Any,
    ) -> None:
        """Set up a handler.

        Args:
            fn: see `ReplyOnPause`; it gets what was said after the stop word.
            stop_words: words, or phrases of a few words. Case and punctuation do not count, and
                words that sound alike are taken for each other: see `StopWords`. English, unless
                ``stt`` reads another language.
            startup_fn: see `ReplyOnPause`.
            args: as those of `ReplyOnPause`, by position.
            stt: reads what is said in the place of Moonshine tiny; called on worker threads.
            spotting: ``"text"`` reads every stretch of speech and looks for the words;
                ``"sound"`` knows a few words by their sound, a hundred times cheaper
                (``fastrtc[wakeword]``, `fastrtc.models.wake_words.KNOWN`); ``"auto"`` takes the
                sound where it is installed and knows all the words, and no ``stt`` is given.
            listens_for: seconds after a stop word in which something has to be said.
            options: as those of `ReplyOnPause`, by name.

        Raises:
            TypeError, ValueError: an option is of the wrong kind or out of range.
            ImportError: ``spotting="sound"`` is not installed.
        """
        super().__init__(fn, startup_fn, *args, **options)
        self.words = StopWords(stop_words)
        self.stop_words = list(stop_words)
        if spotting not in ("auto", "text", "sound"):
            raise ValueError(f'expected spotting "auto", "text" or "sound", got {spotting!r}')
        if stt is not None and (isinstance(stt, type) or not isinstance(stt, STTModel)):
            raise TypeError(f"expected stt to be an object with a method stt, got {stt!r}")
        if spotting == "sound" and (stt is not None or self.looks_itself):
            raise ValueError(
                'spotting="sound" reads no text: leave out stt, and do not override '
                "stop_word_detected"
            )
        if not listens_for > 0:
            raise ValueError(f"expected listens_for over 0 s, got {listens_for}")
        self.stt = stt
        self.listens_for = listens_for
        self.spotting = spotting
        by_sound = spotting == "sound"
        if spotting == "auto" and stt is None and not self.looks_itself:
            by_sound = WakeWords.know(stop_words)
        self.wake_words = WakeWords(stop_words) if by_sound else None

    def stop_word_detected(self, text: str) -> bool:
        """Whether a stop word is in a text.

        Override it to look for something else. It is then called on worker threads, and where
        none of the stop words is in the text, what follows is the next thing that is said.
        """
        return self.words.find(text) is not None

    def look(self, text: str) -> tuple[int, int] | None:
        """Where in a text a stop word begins and ends, in characters; None if there is none."""
        match = self.words.find(text)
        if self.looks_itself:
            if not self.stop_word_detected(text):
                return None
            if match is None:
                return 0, len(text)
        return None if match is None else (match.start, match.end)

    @property
    def looks_itself(self) -> bool:
        """Whether a subclass overrides `stop_word_detected`."""
        return type(self).stop_word_detected is not ReplyOnStopWords.stop_word_detected

    def _prepare(self, vad: VadSource, endpoint: EndpointSource) -> None:
        super()._prepare(vad, endpoint)
        if self.wake_words is not None:
            try:
                self.wake_words.open().close()
            except Exception:
                if self.spotting == "sound":
                    raise
                logger.exception("Stop words cannot be known by their sound; they are read")
                self.wake_words = None
        if self.wake_words is None and self.stt is None:
            shared_moonshine()

    def _driver(self, host: Host) -> Driver:
        from fastrtc.handlers.stop_word_conversation import StopWordConversation

        self._conversation = StopWordConversation(self, host)
        return self._conversation
