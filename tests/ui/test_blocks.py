"""`Stream.ui`: the default Blocks for each mode, and Blocks of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest

from fastrtc import AdditionalOutputs, ReplyOnPause, Stream
from tests.ui.test_component import config_of, echo, radio, shown_component


def listen(audio: Any) -> AdditionalOutputs:
    return AdditionalOutputs(1)


def plays(stream: Stream) -> Iterator[str]:
    yield from (it["type"] for it in config_of(stream.ui)["components"])


@pytest.mark.pitfall(36)
@pytest.mark.parametrize(
    ("handler", "mode"),
    [(ReplyOnPause(echo), "send-receive"), (radio, "receive"), (listen, "send")],
)
def test_each_mode_has_a_page(handler: Any, mode: Any) -> None:
    stream = Stream(handler, mode=mode)
    assert shown_component(stream.ui)["props"]["settings"]["mode"] == mode


def test_the_page_is_made_once() -> None:
    stream = Stream(ReplyOnPause(echo))
    assert stream.ui is stream.ui


def test_the_page_that_is_first_asked_for_in_other_blocks_is_in_them_once() -> None:
    stream = Stream(ReplyOnPause(echo))
    with gr.Blocks() as around:
        stream.ui.render()
    shown_component(around)  # exactly one


def test_the_page_may_be_ones_own() -> None:
    stream = Stream(ReplyOnPause(echo))
    with gr.Blocks() as mine:
        gr.Markdown("mine")
    stream.ui = mine
    assert stream.ui is mine


def test_title_and_subtitle_are_shown() -> None:
    stream = Stream(ReplyOnPause(echo), ui_args={"title": "Parrot", "subtitle": "It *talks*."})
    page = json.dumps(config_of(stream.ui))
    assert "# Parrot" in page
    assert "It *talks*." in page


def test_a_hidden_title_is_not_shown() -> None:
    stream = Stream(
        ReplyOnPause(echo), ui_args={"title": "Parrot", "subtitle": "x", "hide_title": True}
    )
    assert "markdown" not in list(plays(stream))


def test_what_is_input_and_output_is_shown_once() -> None:
    chatbot, box = gr.Chatbot(), gr.Textbox()
    stream = Stream(
        ReplyOnPause(echo),
        additional_inputs=[chatbot, box],
        additional_outputs=[chatbot],
        additional_outputs_handler=lambda old, new: new,
    )
    shown = list(plays(stream))
    assert (shown.count("chatbot"), shown.count("textbox")) == (1, 1)


def test_one_input_needs_no_list() -> None:
    stream = Stream(ReplyOnPause(echo), additional_inputs=gr.Textbox())
    assert "textbox" in list(plays(stream))


def test_a_look_that_is_none_is_named(caplog: pytest.LogCaptureFixture) -> None:
    Stream(ReplyOnPause(echo), ui_args={"titel": "Parrot"})  # type: ignore[arg-type]
    assert "titel" in caplog.text


def test_the_page_fills_the_screen_unless_there_is_something_beside_the_call() -> None:
    alone = Stream(ReplyOnPause(echo))
    beside = Stream(
        ReplyOnPause(echo),
        additional_outputs=[gr.Textbox()],
        additional_outputs_handler=lambda old, new: new,
    )
    settings = [shown_component(it.ui)["props"]["settings"] for it in (alone, beside)]
    assert [it["full_screen"] for it in settings] == [True, False]


def test_looks_are_passed_on() -> None:
    look: Any = {"icon_button_color": "red", "pulse_color": "blue", "icon_radius": 0}
    look["full_screen"] = False
    stream = Stream(ReplyOnPause(echo), ui_args=look)
    settings = shown_component(stream.ui)["props"]["settings"]
    assert settings.items() >= look.items()


def test_the_text_box_is_passed_on() -> None:
    stream = Stream(ReplyOnPause(echo), ui_args={"variant": "textbox"})
    assert shown_component(stream.ui)["props"]["settings"]["variant"] == "textbox"
    assert stream.takes_text


@pytest.mark.parametrize("place", ["Colab", "Spaces"])
def test_a_host_without_udp_asks_for_a_turn_server(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastrtc.ui.hosting.colab_check", lambda: place == "Colab")
    monkeypatch.setattr("fastrtc.ui.hosting.get_space", lambda: place == "Spaces" and "me/app")
    with pytest.raises(RuntimeError, match=f"{place}.*rtc_configuration"):
        _ = Stream(ReplyOnPause(echo)).ui
    turn = {"iceServers": [{"urls": "turn:example.com"}]}
    assert Stream(ReplyOnPause(echo), rtc_configuration=turn).ui is not None
