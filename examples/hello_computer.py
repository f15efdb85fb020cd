"""Say "Computer, what time is it?", and nothing else gets an answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from fastrtc import AdditionalOutputs, ReplyOnStopWords, Stream, get_stt_model, get_tts_model

stt, tts = get_stt_model(), get_tts_model()


def answer(question: str) -> str:
    words = question.lower()
    now = datetime.now()
    if "time" in words:
        return f"It is {now:%H:%M}."
    if "day" in words or "date" in words:
        return f"Today is {now:%A, %B %d}."
    return f"I only know the time and the day. You said: {question}"


def reply(audio: Any) -> Iterator[Any]:
    question = stt.stt(audio)
    if not question:
        return
    text = answer(question)
    yield AdditionalOutputs({"role": "user", "content": question})
    yield AdditionalOutputs({"role": "assistant", "content": text})
    yield from tts.stream_tts_sync(text)


stream = Stream(
    ReplyOnStopWords(reply, stop_words=["computer", "hello computer"]),
    ui_args={"title": "Hello, computer", "subtitle": "Say: Computer, what time is it?"},
)

if __name__ == "__main__":
    stream.run()
