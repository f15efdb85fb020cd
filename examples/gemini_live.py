"""Talk to a speech model behind a live WebSocket of the Gemini kind.

pip install "fastrtc[ui]"
GEMINI_API_KEY=... python examples/gemini_live.py
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

from fastrtc import AdditionalOutputs, AsyncStreamHandler, Stream, wait_for_item

HOST = "wss://generativelanguage.googleapis.com"
METHOD = "google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
URL = os.environ.get("GEMINI_LIVE_URL", f"{HOST}/ws/{METHOD}")
KEY = os.environ.get("GEMINI_API_KEY", "")
SETUP = {
    "model": os.environ.get("MODEL", "models/gemini-2.5-flash-native-audio-preview-09-2025"),
    "generationConfig": {"responseModalities": ["AUDIO"]},
    "inputAudioTranscription": {},
    "outputAudioTranscription": {},
}


class Live(AsyncStreamHandler):
    def __init__(self) -> None:
        super().__init__(input_sample_rate=16_000, output_sample_rate=24_000)
        self.replies: asyncio.Queue[Any] = asyncio.Queue()
        self.messages: list[dict[str, str]] = []
        self.model: ClientConnection | None = None

    async def start_up(self) -> None:
        async with connect(URL, additional_headers={"x-goog-api-key": KEY}) as model:
            await model.send(json.dumps({"setup": SETUP}))
            async for message in model:
                event = json.loads(message)
                if "setupComplete" in event:
                    self.model = model
                self.take(event.get("serverContent", {}))

    def take(self, content: dict[str, Any]) -> None:
        if content.get("interrupted"):
            self.replies = asyncio.Queue()
            self.clear_queue()
        for part in content.get("modelTurn", {}).get("parts", []):
            if "inlineData" in part:
                sound = np.frombuffer(base64.b64decode(part["inlineData"]["data"]), np.int16)
                self.replies.put_nowait((24_000, sound))
        for role, name in (("user", "inputTranscription"), ("assistant", "outputTranscription")):
            if text := content.get(name, {}).get("text"):
                self.show(role, text)

    def show(self, role: str, text: str) -> None:
        """A transcript comes in pieces."""
        if not self.messages or self.messages[-1]["role"] != role:
            self.messages.append({"role": role, "content": ""})
        self.messages[-1]["content"] += text
        self.replies.put_nowait(AdditionalOutputs([dict(message) for message in self.messages]))

    async def receive(self, frame: tuple[int, Any]) -> None:
        if self.model is not None:
            sound = base64.b64encode(frame[1].tobytes()).decode()
            audio = {"data": sound, "mimeType": "audio/pcm;rate=16000"}
            await self.model.send(json.dumps({"realtimeInput": {"audio": audio}}))

    async def emit(self) -> Any:
        return await wait_for_item(self.replies)

    def copy(self) -> Live:
        return Live()


chatbot = gr.Chatbot(label="Conversation")
stream = Stream(
    Live(),
    additional_outputs=[chatbot],
    additional_outputs_handler=lambda _, messages: messages,
    ui_args={"title": "A live model", "subtitle": "Interrupt it whenever you like."},
)

if __name__ == "__main__":
    stream.ui.launch()
