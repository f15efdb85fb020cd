"""The default Blocks of a stream."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import gradio as gr
from gradio.context import Context

from fastrtc.ui.component import WebRTC, listed

if TYPE_CHECKING:
    from fastrtc.stream import Stream


NARROWEST: Final = 280
"""Pixels of a column, before it goes below the one beside it."""


def make_blocks(stream: Stream) -> gr.Blocks:
    """Blocks with the call and what it takes on one side, and beside it what it gives.

    Raises:
        RuntimeError: this is Colab or a Space, and the stream has no ``rtc_configuration``.
    """
    look = stream.ui_args
    given, shown = listed(stream.additional_inputs), listed(stream.additional_outputs)
    title = look.get("title", "FastRTC")
    blocks: gr.Blocks
    with _outside(), gr.Blocks(title=title) as blocks:
        if not look.get("hide_title"):
            gr.Markdown(f"# {title}")
            if look.get("subtitle"):
                gr.Markdown(look["subtitle"])
        own = [it for it in given if it not in shown]
        if look.get("variant") == "textbox":
            # As in a chat: above what was said, and below it where to write.
            with gr.Row():
                _column(own)
                _column(shown)
            call = _make_component(stream, alone=not shown)
        else:
            with gr.Row():
                with gr.Column(min_width=NARROWEST):
                    call = _make_component(stream, alone=not shown)
                    for component in own:
                        component.render()
                _column(shown)
        call.stream(
            stream,
            inputs=given if stream.mode == "receive" else [call, *given],
            outputs=[call],
            send_input_on=look.get("send_input_on", "change"),
        )
        if shown:
            assert stream.additional_outputs_handler is not None
            call.on_additional_outputs(stream.additional_outputs_handler, shown, shown)
    return blocks


@contextlib.contextmanager
def _outside() -> Iterator[None]:
    """Leave the Blocks in which the page may be asked for: it is not a part of them by itself."""
    around = Context.root_block, Context.block
    Context.root_block = Context.block = None
    try:
        yield
    finally:
        Context.root_block, Context.block = around


def _column(components: list[Any]) -> None:
    if components:
        with gr.Column(min_width=NARROWEST):
            for component in components:
                component.render()


def _make_component(stream: Stream, *, alone: bool) -> Any:
    look = stream.ui_args
    return WebRTC(
        mode=stream.mode,
        icon=look.get("icon"),
        icon_button_color=look.get("icon_button_color"),
        pulse_color=look.get("pulse_color"),
        icon_radius=look.get("icon_radius"),
        variant=look.get("variant", "wave"),
        full_screen=look.get("full_screen", alone),
    )
