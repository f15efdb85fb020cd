"""Talk with a language model: any endpoint that speaks OpenAI's protocol.

pip install "fastrtc[stt,tts]" openai
OPENAI_BASE_URL=... OPENAI_API_KEY=... MODEL=... fastrtc run examples/voice_chat.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from openai import OpenAI

import fastrtc
from fastrtc import AdditionalOutputs, Heard, ReplyOnPause, Stream, get_current_context

SYSTEM = "You are on the phone. Answer in one or two short sentences."
stt, tts, llm = fastrtc.get_stt_model(), fastrtc.get_tts_model(), OpenAI()


def reply(audio: Any) -> Iterator[Any]:
    text = stt.stt(audio)
    if not text:
        return
    state = get_current_context().state
    state["answer"] = None
    messages: list[Any] = state.setdefault("messages", [])
    messages.append({"role": "user", "content": text})
    yield AdditionalOutputs(messages)
    asked = [{"role": "system", "content": SYSTEM}, *messages]
    state["answer"] = answer = {"role": "assistant", "content": ""}
    messages.append(answer)
    with llm.chat.completions.create(
        model=os.environ.get("MODEL", "gpt-4o-mini"), messages=asked, stream=True
    ) as stream:
        tokens = (chunk.choices[0].delta.content for chunk in stream if chunk.choices)
        for sound in tts.stream_tts_sync(tokens):
            yield sound
            answer["content"] += sound.text
            yield AdditionalOutputs(messages)


def cut(heard: Heard) -> None:
    """The model should know what the caller has heard, and not what it wanted to say."""
    answer = get_current_context().state.get("answer")
    if answer is not None:
        answer["content"] = heard.text


stream = Stream(ReplyOnPause(reply, on_interrupt=cut), ui_args={"title": "Voice chat"})

if __name__ == "__main__":
    stream.run()
