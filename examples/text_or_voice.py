"""Type or talk: the answer is written, and spoken to who is on the line.

pip install "fastrtc[stt,tts,ui]"
python examples/text_or_voice.py
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from fastrtc import (
    AdditionalOutputs,
    ReplyOnPause,
    Stream,
    WebRTCData,
    get_stt_model,
    get_tts_model,
)

stt, tts = get_stt_model(), get_tts_model()


def answer(text: str) -> str:
    words = len(text.split())
    return f"That was one word: {text}" if words == 1 else f"Those were {words} words: {text}"


def reply(data: WebRTCData, chat: list[Any] | None = None) -> Iterator[Any]:
    text = data.textbox or (stt.stt(data.audio) if data.audio else "")
    if not text:
        return
    messages = [*(chat or []), {"role": "user", "content": text}]
    yield AdditionalOutputs(messages)
    said = answer(text)
    yield AdditionalOutputs([*messages, {"role": "assistant", "content": said}])
    yield from tts.stream_tts_sync(said)


chatbot = gr.Chatbot(label="Conversation")
stream = Stream(
    ReplyOnPause(reply),
    additional_inputs=[chatbot],
    additional_outputs=[chatbot],
    additional_outputs_handler=lambda _, messages: messages,
    ui_args={"title": "Text or voice", "variant": "textbox"},
)

if __name__ == "__main__":
    stream.ui.launch()
