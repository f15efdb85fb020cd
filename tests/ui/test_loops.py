"""Calls of a Gradio page end with the event loop of its server."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any, cast

import gradio as gr

from fastrtc import ReplyOnPause, Stream, WebRTC
from fastrtc.session import Session
from tests.ui.test_component import echo
from tests.ui.test_updates import Line


def served(stream: Stream) -> WebRTC:
    with gr.Blocks():
        call = WebRTC()
    show(call, stream)
    return call


def show(call: WebRTC, stream: Stream) -> None:
    with gr.Blocks():
        call.stream(stream, inputs=[call], outputs=[call])


async def begin(component: WebRTC, call_id: str) -> Session:
    """A call on this loop, after an offer that Gradio has brought (here a broken one)."""
    await component.offer({}, None)
    return component.serving().admit(call_id)


def test_calls_are_closed_when_the_loop_of_their_server_ends() -> None:
    component = served(Stream(ReplyOnPause(echo), verbose=False))
    session = asyncio.run(begin(component, "a"))
    assert session.ended
    assert not component.serving().connections


def test_who_is_on_the_line_is_told_that_the_server_stops() -> None:
    component = served(Stream(ReplyOnPause(echo), verbose=False))
    line = Line()

    async def call() -> None:
        session = await begin(component, "a")
        session.line = cast("Any", line)

    asyncio.run(call())
    assert [it["data"] for it in line.sent] == ["The server is stopping", "closed"]


def test_a_server_that_ends_leaves_the_calls_of_another_alone() -> None:
    component = served(Stream(ReplyOnPause(echo), verbose=False))

    async def outlive() -> None:
        mine = await begin(component, "mine")
        theirs = await asyncio.to_thread(lambda: asyncio.run(begin(component, "theirs")))
        assert theirs.ended
        assert not mine.ending

    asyncio.run(outlive())
    assert not component.serving().connections


def test_a_stream_that_another_takes_the_place_of_is_given_back() -> None:
    component = served(Stream(ReplyOnPause(echo), verbose=False))
    gone = weakref.ref(component.serving())

    async def talk() -> None:
        session = await begin(component, "a")
        await session.close()
        other = Stream(ReplyOnPause(echo), verbose=False)
        await asyncio.to_thread(show, component, other)
        del session
        await asyncio.sleep(0)
        gc.collect()
        assert gone() is None

    asyncio.run(talk())
