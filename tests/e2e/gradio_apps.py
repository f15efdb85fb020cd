"""Gradio apps in one process: `python -m tests.e2e.gradio_apps`; prints its address.

Each app is below its name; the one at ``/front`` is served at another port, behind a reverse proxy.
With ``launch PORT`` one app launches itself instead, with ``ssr PORT`` it does so in Gradio's SSR
mode.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import gradio as gr
import httpx
import uvicorn
from fastapi import FastAPI, Request
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse

from fastrtc import (
    AdditionalOutputs,
    AsyncStreamHandler,
    ReplyOnPause,
    Stream,
    StreamHandler,
    Warning,
    WebRTC,
    WebRTCData,
    WebRTCError,
    get_current_context,
)
from tests.conftest import tone
from tests.peers import make_stream
from tests.samples import Echo

USER = ("anna", "secret")
"""Who may log in where that is needed."""
COUNTED = 40
"""How many outputs a caller gets who is counted for."""
OF_THE_CONNECTION = ("connection", "content-length", "host", "transfer-encoding")
"""Headers that a proxy does not pass on."""

RAISE, REFUSE, WARN = "raise", "refuse", "warn"
"""What may be typed to see something go wrong."""
FAULT, CLOSED, HOT = "a <b>bold</b> fault", "The <i>kitchen</i> & bar", "The <u>soup</u> is hot"
"""What is then shown."""


def beep(audio: Any) -> Iterator[Any]:
    yield tone(0.5)


def radio() -> Iterator[Any]:
    for _ in range(600):
        yield tone(0.1)


def jingle() -> Iterator[Any]:
    yield tone(0.5)


def count() -> Iterator[Any]:
    """Outputs that say whose they are, faster than any page fetches them."""
    me = get_current_context().webrtc_id
    for number in range(COUNTED):
        yield tone(0.02), AdditionalOutputs(f"{me}:{number}")


def numbers() -> Iterator[Any]:
    for number in range(4):
        yield tone(0.1), AdditionalOutputs(number)
    yield from radio()


def append(shown: str, new: str) -> str:
    return f"{shown} {new}".strip()


def append_with_trouble(shown: str, number: int) -> str:
    if number == 0:
        raise ValueError("There is no zero.")
    if number == 1:
        time.sleep(0.5)
    return append(shown, str(number))


def converse(data: WebRTCData) -> Iterator[Any]:
    if data.textbox == RAISE:
        raise ValueError(FAULT)
    if data.textbox == REFUSE:
        raise WebRTCError(CLOSED)
    if data.textbox == WARN:
        Warning(HOT)
    yield AdditionalOutputs(data.textbox or "spoken")
    yield tone(0.5)


class Notes(AsyncStreamHandler):
    """Notes every value that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Any] = []

    async def start_up(self) -> None:
        await self.wait_for_args()

    async def receive(self, frame: Any) -> None: ...

    async def emit(self) -> None:
        await asyncio.Event().wait()

    def set_args(self, args: list[Any]) -> None:
        super().set_args(args)
        self.given += args

    def copy(self) -> Notes:
        return Notes()


class Farewell(Echo):
    """An echo that says on stdout when it is shut down."""

    def shutdown(self) -> None:
        print("shutdown", flush=True)

    def copy(self) -> StreamHandler:
        return Farewell()


def changing(stream: Stream) -> gr.Blocks:
    """A component that events change."""
    blocks: gr.Blocks
    with gr.Blocks() as blocks:
        call = WebRTC(label="before", mode="receive", full_screen=False)
        call.stream(stream, outputs=[call])
        gr.Button("Hide").click(lambda: gr.update(visible=False), None, call)
        note = gr.Markdown()
        gr.Button("Rename").click(lambda: (gr.update(label="after"), "renamed"), None, [call, note])
    return blocks


def rendered(stream: Stream) -> gr.Blocks:
    """A component that Gradio makes when it is wanted."""
    blocks: gr.Blocks
    with gr.Blocks() as blocks:
        wanted = gr.Checkbox(True, label="Wanted")

        @gr.render(inputs=wanted)  # type: ignore[untyped-decorator] # Gradio has no type for it
        def render(is_wanted: bool) -> None:
            if is_wanted:
                call = WebRTC(mode="receive", full_screen=False)
                call.stream(stream, outputs=[call])

    return blocks


def triggered(stream: Stream) -> gr.Blocks:
    """A component with a button of the user's."""
    blocks: gr.Blocks
    with gr.Blocks() as blocks:
        call = WebRTC(mode="receive", full_screen=False)
        call.stream(stream, outputs=[call], trigger=gr.Button("Play").click)
    return blocks


def with_outputs(handler: Any, merge: Any, **options: Any) -> Stream:
    return make_stream(
        handler,
        additional_outputs=[gr.Textbox(label="Shown")],
        additional_outputs_handler=merge,
        **options,
    )


def with_input(when: Any) -> Stream:
    word = gr.Textbox(label="Word")
    return make_stream(Notes(), additional_inputs=[word], ui_args={"send_input_on": when})


def make_streams() -> dict[str, Stream]:
    return {
        "change": with_input("change"),
        "changing": make_stream(radio, mode="receive"),
        "club": make_stream(ReplyOnPause(beep)),
        "counted": with_outputs(count, append, mode="receive"),
        "forbidden": make_stream(radio, mode="receive", authorize=lambda connection: False),
        "quiet": make_stream(ReplyOnPause(beep)),
        "rendered": make_stream(radio, mode="receive"),
        "shared": make_stream(radio, mode="receive", concurrency_limit=2, telephone=False),
        "submit": with_input("submit"),
        "triggered": make_stream(jingle, mode="receive"),
        "troubled": with_outputs(numbers, append_with_trouble, mode="receive"),
        "typed": with_outputs(ReplyOnPause(converse), append, ui_args={"variant": "textbox"}),
    }


PAGES = {"changing": changing, "rendered": rendered, "triggered": triggered}
"""Pages that are not the default one."""


def make_app(streams: dict[str, Stream], behind: str) -> FastAPI:
    """All apps but the one behind the proxy, and the proxy."""
    app = FastAPI()

    @app.get("/calls/{name}")
    async def calls(name: str) -> dict[str, list[Any]]:
        """The live calls of an app, and what their handlers noted."""
        live = streams[name].connections
        return {id_: getattr(call.handler, "given", []) for id_, call in live.items()}

    add_proxy(app, behind)
    streams["shared"].mount(app, "/shared")
    for name, stream in streams.items():
        if name in PAGES:
            stream.ui = PAGES[name](stream)
        auth = USER if name == "club" else None
        gr.mount_gradio_app(app, stream.ui, path=f"/{name}", auth=auth)
    return app


def make_app_behind() -> FastAPI:
    """The app behind the proxy."""
    page = make_stream(ReplyOnPause(beep)).ui
    app = FastAPI()
    gr.mount_gradio_app(app, page, path="/", root_path="/front")
    return app


def add_proxy(app: FastAPI, behind: str) -> None:
    """What a reverse proxy does that shows a server below ``/front``."""
    inside = httpx.AsyncClient(base_url=behind, timeout=None)

    @app.api_route("/front/{path:path}", methods=["GET", "POST"])
    async def forward(path: str, request: Request) -> Response:
        headers = {k: v for k, v in request.headers.items() if k not in OF_THE_CONNECTION}
        headers |= {"x-forwarded-host": request.headers["host"], "x-forwarded-proto": "http"}
        asked = inside.build_request(
            request.method,
            f"/{path}",
            params=request.query_params,
            headers=headers,
            content=await request.body(),
        )
        reply = await inside.send(asked, stream=True)

        async def passed_on() -> AsyncIterator[bytes]:
            async for part in reply.aiter_raw():
                yield part

        headers = {k: v for k, v in reply.headers.items() if k not in OF_THE_CONNECTION}
        return StreamingResponse(
            passed_on(), reply.status_code, headers, background=BackgroundTask(reply.aclose)
        )


def listen() -> tuple[socket.socket, str]:
    """A socket that takes connections, which are answered once a server runs; its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


async def serve() -> None:
    (front, address), (back, behind) = listen(), listen()
    apps = {front: make_app(make_streams(), behind), back: make_app_behind()}
    print(address, flush=True)
    await asyncio.gather(
        *(
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).serve(sockets=[listener])
            for listener, app in apps.items()
        )
    )


def main() -> None:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    if len(sys.argv) == 1:
        asyncio.run(serve())
    else:
        how, port = sys.argv[1:]
        page = make_stream(Farewell()).ui
        page.launch(server_port=int(port), ssr_mode=how == "ssr")


if __name__ == "__main__":
    main()
