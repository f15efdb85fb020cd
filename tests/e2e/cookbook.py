"""All apps of the cookbook in one process: `python -m tests.e2e.cookbook NAME...`; prints its port.

An app is below its name: its routes and the built-in page, and Gradio below that. Beside them are
the services that they talk to.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import sys
from typing import Any

import gradio as gr
import numpy as np
import uvicorn
from fastapi import FastAPI

from fastrtc import Stream, get_stt_model
from fastrtc.audio.resample import StreamResampler
from fastrtc.server import add_page
from fastrtc.testing import load_speech
from fastrtc.transports.sockets.line import LARGEST_MESSAGE
from tests.conftest import Sound, human_speech
from tests.e2e.browser import ROOT
from tests.standins import Speech, chat_endpoint, live_model, realtime_model
from tests.standins.chat import Messages
from tests.standins.live import PATH
from tests.standins.speech import OUT_RATE

CAPITALS = {"france": "Paris", "italy": "Rome"}
ANSWER = "Ever tried. Ever failed. No matter. Try again."
"""What the speech models say: the words of a recording."""
ANSWER_SECONDS = 4.5


def answer(messages: Messages) -> str:
    """What the language model says: it knows two capitals, and what was asked before."""
    asked = [message["content"].lower() for message in messages if message["role"] == "user"]
    cities = [city for text in asked for name, city in CAPITALS.items() if name in text]
    return f"It is {', after '.join(reversed(cities)) or 'beyond me'}."


def recording() -> Sound:
    """The sound of what the speech models say."""
    rate, samples = load_speech(human_speech("beckett.wav"))
    resampler = StreamResampler(rate, OUT_RATE)
    sound = resampler.process(samples[:, : round(ANSWER_SECONDS * rate)])
    return OUT_RATE, np.concatenate([sound, resampler.flush()], axis=1)


def load(name: str) -> Stream:
    """The stream of an example."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stream: Stream = module.stream
    stream.server_rtc_configuration = {"iceServers": []}
    return stream


def add(app: FastAPI, name: str, stream: Stream) -> None:
    """An app in both ways, and the route by which a page of one's own gives it inputs."""
    stream.mount(app, path=f"/{name}")

    @app.post(f"/{name}/inputs")
    async def inputs(webrtc_id: str, values: list[Any]) -> None:
        stream.set_input(webrtc_id, *values)

    gr.mount_gradio_app(app, stream.ui, path=f"/{name}/ui")
    add_page(app, stream, path=f"/{name}")


def main() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    here = f"127.0.0.1:{listener.getsockname()[1]}"
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": f"http://{here}/v1",
        "OPENAI_REALTIME_URL": f"ws://{here}/v1/realtime?model=standin",
        "GEMINI_API_KEY": "none",
        "GEMINI_LIVE_URL": f"ws://{here}{PATH}",
    }
    speech = Speech(recording(), ANSWER, get_stt_model().astt)
    app = FastAPI()
    app.include_router(chat_endpoint(answer))
    app.include_router(realtime_model(speech))
    app.include_router(live_model(speech))
    for name in sys.argv[1:]:
        add(app, name, load(name))

    async def serve() -> None:
        config = uvicorn.Config(app, log_level="warning", ws_max_size=2 * LARGEST_MESSAGE)
        server = uvicorn.Server(config)
        # It already takes connections, and answers them once it runs.
        listener.listen()
        print(here, flush=True)
        await server.serve(sockets=[listener])

    asyncio.run(serve())


if __name__ == "__main__":
    main()
