"""Talk to a speech model behind a realtime WebSocket of the OpenAI kind.

pip install "fastrtc[ui]"
OPENAI_API_KEY=... python examples/openai_realtime.py
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from typing import Any

import gradio as gr
import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from fastrtc import AdditionalOutputs, AsyncStreamHandler, Stream, WebRTCError, wait_for_item

URL = os.environ.get("OPENAI_REALTIME_URL", "wss://api.openai.com/v1/realtime?model=gpt-realtime")
KEY = os.environ.get("OPENAI_API_KEY", "")
RATE = 24_000
PCM = {"type": "audio/pcm", "rate": RATE}
HEARING = {
    "format": PCM,
    "transcription": {"model": "gpt-4o-mini-transcribe"},
    "turn_detection": {"type": "server_vad"},
}
SESSION = {
    "type": "realtime",
    "instructions": "You are on the phone. Answer in one or two sentences.",
    "audio": {"input": HEARING, "output": {"format": PCM, "voice": "marin"}},
}


class Realtime(AsyncStreamHandler):
    def __init__(self) -> None:
        super().__init__(input_sample_rate=RATE, output_sample_rate=RATE)
        self.replies: asyncio.Queue[Any] = asyncio.Queue()
        self.model: ClientConnection | None = None

    async def start_up(self) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        async with connect(URL, additional_headers=headers) as self.model:
            await self.model.send(json.dumps({"type": "session.update", "session": SESSION}))
            async for message in self.model:
                self.take(json.loads(message))

    def take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "input_audio_buffer.speech_started":
                self.replies = asyncio.Queue()
                self.clear_queue()
            case "response.output_audio.delta" | "response.audio.delta":
                sound = np.frombuffer(base64.b64decode(event["delta"]), np.int16)
                self.replies.put_nowait((RATE, sound))
            case "conversation.item.input_audio_transcription.completed":
                self.show("user", event["transcript"])
            case "response.output_audio_transcript.done" | "response.audio_transcript.done":
                self.show("assistant", event["transcript"])
            case "error":
                raise WebRTCError(event["error"]["message"])

    def show(self, role: str, text: str) -> None:
        self.replies.put_nowait(AdditionalOutputs({"role": role, "content": text}))

    async def receive(self, frame: tuple[int, Any]) -> None:
        if self.model is not None:
            sound = base64.b64encode(frame[1].tobytes()).decode()
            await self.model.send(json.dumps({"type": "input_audio_buffer.append", "audio": sound}))

    async def emit(self) -> Any:
        return await wait_for_item(self.replies)

    def copy(self) -> Realtime:
        return Realtime()


chatbot = gr.Chatbot(label="Conversation")
stream = Stream(
    Realtime(),
    additional_outputs=[chatbot],
    additional_outputs_handler=lambda messages, message: [*messages, message],
    ui_args={"title": "A realtime model", "subtitle": "Interrupt it whenever you like."},
)

if __name__ == "__main__":
    stream.ui.launch()
