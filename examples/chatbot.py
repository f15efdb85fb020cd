"""Voice chat whose memory is the chatbot on the page: what is in it is what the model knows.

pip install "fastrtc[stt,tts,ui]" openai
OPENAI_BASE_URL=... OPENAI_API_KEY=... MODEL=... python examples/chatbot.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import gradio as gr
from openai import OpenAI

from fastrtc import AdditionalOutputs, ReplyOnPause, Stream, get_stt_model, get_tts_model

MODEL = os.environ.get("MODEL", "gpt-4o-mini")
SYSTEM = {"role": "system", "content": "You are on the phone. Answer in one or two sentences."}
stt, tts, llm = get_stt_model(), get_tts_model(), OpenAI()


def reply(audio: Any, chat: list[dict[str, Any]] | None = None) -> Iterator[Any]:
    text = stt.stt(audio)
    if not text:
        return
    # A chatbot's messages have more in them than a model wants to know.
    messages = [{"role": line["role"], "content": line["content"]} for line in chat or []]
    messages.append({"role": "user", "content": text})
    yield AdditionalOutputs(messages)
    request: Any = {"model": MODEL, "messages": [SYSTEM, *messages]}
    answer = ""
    with llm.chat.completions.create(**request, stream=True) as chunks:
        tokens = (chunk.choices[0].delta.content for chunk in chunks if chunk.choices)
        for sound in tts.stream_tts_sync(tokens):
            answer += sound.text
            yield sound
            yield AdditionalOutputs([*messages, {"role": "assistant", "content": answer}])


chatbot = gr.Chatbot(label="Conversation")
stream = Stream(
    ReplyOnPause(reply),
    additional_inputs=[chatbot],
    additional_outputs=[chatbot],
    additional_outputs_handler=lambda _, messages: messages,
    ui_args={"title": "Voice chat", "subtitle": "Ask something, and ask again."},
)

if __name__ == "__main__":
    stream.ui.launch()
