"""Records what you say in a WAV file: `python examples/recorder.py`."""

from __future__ import annotations

import os
import wave
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from fastrtc import AdditionalOutputs, Stream, get_current_context

FOLDER = Path(os.environ.get("RECORDINGS", "recordings"))


def new_file(rate: int) -> wave.Wave_write:
    FOLDER.mkdir(exist_ok=True)
    call = "".join(filter(str.isalnum, get_current_context().webrtc_id))
    file = wave.Wave_write(str(FOLDER / f"{call}.wav"))
    file.setparams((1, 2, rate, 0, "NONE", ""))
    return file


def record(audio: tuple[int, Any]) -> AdditionalOutputs | None:
    """Gets every 20 ms of the call, and tells once a second what it has."""
    rate, samples = audio
    state = get_current_context().state
    if "file" not in state:
        state["file"] = new_file(rate)
    file = state["file"]
    file.writeframes(samples.tobytes())
    if file.getnframes() % rate:
        return None
    loudness = 20 * np.log10(np.sqrt(np.mean(np.square(samples / 32768.0))) + 1e-6)
    seconds = file.getnframes() // rate
    return AdditionalOutputs(f"{seconds} s, {loudness:.0f} dB")


stream = Stream(
    record,
    mode="send",
    additional_outputs=[gr.Textbox(label="Recorded")],
    additional_outputs_handler=lambda _, text: text,
    ui_args={"title": "Recorder"},
)

if __name__ == "__main__":
    stream.ui.launch()
