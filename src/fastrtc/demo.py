"""The demo: a parrot with a phrase book. You see your words, and a voice answers them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from fastrtc.handlers.reply_on_pause import ReplyOnPause
from fastrtc.handlers.values import AdditionalOutputs
from fastrtc.models.stt.recogniser import MoonshineSTT, get_stt_model
from fastrtc.models.tts.speaker import KokoroTTSModel, get_tts_model
from fastrtc.models.weights import WeightsError
from fastrtc.stream import Stream

logger = logging.getLogger(__name__)

PHRASES: Final = {
    r"how are you|how do you do": "Very well, thank you. My models are warm.",
    r"your name|who are you|what are you": "I am a parrot with a phrase book.",
    r"what time|the time": "It is {now:%H:%M}.",
    r"what day|the date|today": "Today is {now:%A, %B %d}.",
    r"joke": "Why do parrots never get lost? They always know whom to repeat it to.",
    r"thank": "You are welcome.",
    r"good ?bye|bye bye|see you": "Good bye! It was nice to hear you.",
    r"what can you|help": "Ask me for the time, the day, or a joke. I repeat everything else.",
    r"\bhello\b|\bhi\b|\bhey\b|good (morning|evening)": "Hello! What shall I say?",
}
GREETING: Final = "Hello! Say something, and I will answer."


def _models() -> tuple[MoonshineSTT, KokoroTTSModel] | None:
    try:
        return get_stt_model(), get_tts_model()
    except (ImportError, WeightsError) as error:
        logger.warning("The demo can but say your own words again. %s", error)
        return None


models = _models()


def answer(text: str) -> str:
    """What the phrase book has, or what was said."""
    for pattern, phrase in PHRASES.items():
        if re.search(pattern, text.lower()):
            return phrase.format(now=datetime.now())
    return f"You said: {text}"


def greet() -> Iterator[Any]:
    """The first words of a call."""
    if models is not None:
        _, tts = models
        yield AdditionalOutputs({"role": "assistant", "content": GREETING})
        yield from tts.stream_tts_sync(GREETING)


def reply(audio: tuple[int, Any]) -> Iterator[Any]:
    """Write down what was said, and answer."""
    if models is None:
        yield audio
        return
    stt, tts = models
    text = stt.stt(audio)
    if not text:
        return
    yield AdditionalOutputs({"role": "user", "content": text})
    said = answer(text)
    yield AdditionalOutputs({"role": "assistant", "content": said})
    yield from tts.stream_tts_sync(said)


stream = Stream(
    ReplyOnPause(reply, startup_fn=greet),
    ui_args={"title": "The parrot", "subtitle": "Talk to it. It has a phrase book."},
    # It is for this page: nobody needs a number, nor the warning that anybody may call it.
    telephone=False,
)
