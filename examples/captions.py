"""Live captions: what you say, in writing, while you say it.

pip install "fastrtc[stt,ui]"
python examples/captions.py, or fastrtc run examples/captions.py for a page without Gradio
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from fastrtc import AdditionalOutputs, AsyncStreamHandler, Stream, get_stt_model

stt = get_stt_model()


class Captions(AsyncStreamHandler):
    def __init__(self) -> None:
        super().__init__(input_sample_rate=16_000)
        self.heard: asyncio.Queue[Any] = asyncio.Queue(maxsize=500)
        self.lines = stt.stt_stream(self.frames())

    async def frames(self) -> AsyncIterator[Any]:
        while True:
            yield await self.heard.get()

    async def receive(self, frame: Any) -> None:
        await self.heard.put(frame)

    async def emit(self) -> Any:
        line = await anext(self.lines)
        return AdditionalOutputs({"role": "user", "content": line.text, "partial": not line.final})

    async def shutdown(self) -> None:
        await self.lines.aclose()

    def copy(self) -> Captions:
        return Captions()


def write(before: str, _: str, line: dict[str, Any]) -> tuple[str, str]:
    """What was said goes to the text before it; what is being said is on its own."""
    if line["partial"]:
        return before, line["content"]
    return f"{before}\n{line['content']}".strip(), ""


stream = Stream(
    Captions(),
    mode="send",
    additional_outputs=[gr.Textbox(label="Said", lines=8), gr.Textbox(label="Saying")],
    additional_outputs_handler=write,
    ui_args={"title": "Live captions"},
)

if __name__ == "__main__":
    stream.ui.launch()
