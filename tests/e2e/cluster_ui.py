"""A stream with a page of Gradio's, to be served on a cluster."""

from __future__ import annotations

import os
from typing import Any

import gradio as gr
from fastapi import FastAPI

from fastrtc import Stream
from tests.e2e.cluster_apps import Echo, with_routes

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

LIMIT = 8


def show(shown: str, pid: int, call_id: str, reconnected: bool, *given: Any) -> str:
    return f"{pid} heard {' '.join(given)}"


stream = Stream(
    Echo(),
    concurrency_limit=LIMIT,
    additional_inputs=[gr.Textbox(label="Word")],
    additional_outputs=[gr.Textbox(label="Shown")],
    additional_outputs_handler=show,
)


def with_ui(stream: Stream) -> FastAPI:
    """All routes, and the page below ``/ui``."""
    app = with_routes(stream)
    gr.mount_gradio_app(app, stream.ui, path="/ui")
    return app
