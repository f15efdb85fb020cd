"""The Gradio component: what it takes, what it tells the page, and what it keeps to itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.context import LocalContext

import fastrtc.ui.component
from fastrtc import ReplyOnPause, Stream, StreamHandler, WebRTC, WebRTCData
from fastrtc.ui.modules import MODULES, read_modules


def echo(audio: Any) -> Iterator[Any]:
    yield audio


def radio() -> Iterator[Any]:
    yield None


def config_of(blocks: gr.Blocks) -> dict[str, Any]:
    """What the page gets, as JSON."""
    found: dict[str, Any] = json.loads(json.dumps(blocks.get_config_file()))
    return found


def shown_component(blocks: gr.Blocks) -> dict[str, Any]:
    components = config_of(blocks)["components"]
    (found,) = [it["props"] for it in components if it["props"].get("name") == "webrtc"]
    return dict(found)


def events_of(blocks: gr.Blocks) -> list[str]:
    return [name for it in config_of(blocks)["dependencies"] for _, name in it["targets"]]


def test_a_component_in_blocks_of_ones_own_serves_a_handler() -> None:
    with gr.Blocks() as blocks:
        call = WebRTC()
        call.stream(ReplyOnPause(echo), inputs=[call], outputs=[call])
    assert isinstance(call.serving(), Stream)
    assert {"tick", "submit"} <= set(events_of(blocks))


@pytest.mark.pitfall(30)
def test_a_component_of_a_stream_shares_its_calls_and_limits() -> None:
    stream = Stream(ReplyOnPause(echo), concurrency_limit=3)
    with gr.Blocks():
        call = WebRTC()
        call.stream(stream, inputs=[call], outputs=[call])
    assert call.serving() is stream


def test_limits_given_to_the_event_hold() -> None:
    with gr.Blocks():
        call = WebRTC(time_limit=5)
        call.stream(ReplyOnPause(echo), [call], [call], concurrency_limit=7, time_limit=9)
    assert call.serving().concurrency_limit == 7
    assert call.serving().time_limit == 9


def test_what_the_page_gets_holds_no_credentials_and_no_functions() -> None:
    with gr.Blocks() as blocks:
        call = WebRTC(
            rtc_configuration={"iceServers": [{"urls": "turn:x", "credential": "secret-1"}]},
            server_rtc_configuration=lambda: {"iceServers": []},
        )
        call.stream(ReplyOnPause(echo), inputs=[call], outputs=[call])
    assert "secret-1" not in json.dumps(config_of(blocks))


def test_the_look_reaches_the_page() -> None:
    labels = {"start": "Go", "stop": "Halt", "waiting": "Soon"}
    with gr.Blocks() as blocks:
        WebRTC(
            label="Line 1",
            icon="https://example.com/phone.svg",
            icon_button_color="teal",
            pulse_color="#abc",
            icon_radius=20,
            button_labels=labels,
            full_screen=False,
            height=300,
        )
    settings = shown_component(blocks)["props"]["settings"]
    assert settings["icon"]["url"] == "https://example.com/phone.svg"
    assert settings["button_labels"] == labels
    assert settings["full_screen"] is False
    assert (settings["height"], settings["icon_radius"]) == (300, 20)
    assert shown_component(blocks)["label"] == "Line 1"


def test_an_icon_from_the_disk_gets_an_address(tmp_path: Path) -> None:
    picture = tmp_path / "phone.svg"
    picture.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    with gr.Blocks() as blocks:
        WebRTC(icon=str(picture))
    assert "/file=" in shown_component(blocks)["props"]["settings"]["icon"]["url"]


@pytest.mark.parametrize(
    ("inputs", "outputs", "options", "says"),
    [
        ([], "call", {}, "first input"),
        (["box", "call"], "call", {}, "first input"),
        ("call", "box", {}, "only output"),
        ("call", "call", {"send_input_on": "hover"}, "send_input_on"),
    ],
)
def test_wrong_inputs_and_outputs_are_named(
    inputs: Any, outputs: Any, options: Any, says: str
) -> None:
    with gr.Blocks():
        places: dict[str, Any] = {"call": WebRTC(), "box": gr.Textbox()}
        given = [places[it] for it in ([inputs] if isinstance(inputs, str) else inputs)]
        with pytest.raises(ValueError, match=says):
            places["call"].stream(ReplyOnPause(echo), given, places[outputs], **options)


def test_a_component_that_is_only_heard_is_no_input() -> None:
    with gr.Blocks():
        call = WebRTC(mode="receive")
        with pytest.raises(ValueError, match="no input"):
            call.stream(radio, inputs=[call], outputs=[call])


def test_a_stream_of_another_mode_is_refused() -> None:
    with gr.Blocks():
        call = WebRTC(mode="send-receive")
        with pytest.raises(ValueError, match="receive"):
            call.stream(Stream(radio, mode="receive"), inputs=[call], outputs=[call])


@pytest.mark.parametrize("handler", [None, 3, echo])
def test_what_is_no_handler_is_refused(handler: Any) -> None:
    with gr.Blocks():
        call = WebRTC()
        with pytest.raises(TypeError, match=r"expected|ReplyOnPause"):
            call.stream(handler, inputs=[call], outputs=[call])


def test_an_unknown_variant_is_refused() -> None:
    with gr.Blocks(), pytest.raises(ValueError, match="wave"):
        WebRTC(variant="cube")  # type: ignore[arg-type]


def test_video_is_said_to_be_missing() -> None:
    with gr.Blocks():
        call = WebRTC(modality="video")
        with pytest.raises(NotImplementedError, match="audio"):
            call.stream(ReplyOnPause(echo), inputs=[call], outputs=[call])


def test_a_component_that_serves_nothing_yet_says_so() -> None:
    with gr.Blocks():
        call = WebRTC()
    with pytest.raises(RuntimeError, match=r"stream\(handler"):
        call.serving()


@pytest.mark.parametrize(
    ("payload", "wave", "textbox"),
    [
        ({"webrtc_id": "a", "textbox": "hi"}, "a", WebRTCData("a", "hi")),
        ("a", "a", WebRTCData("a")),
        (None, "", WebRTCData("")),
        ({"webrtc_id": 3, "textbox": ["x"]}, "", WebRTCData("")),
        (["a"], "", WebRTCData("")),
    ],
)
def test_the_value_is_the_id_of_the_call_or_what_was_typed(
    payload: Any, wave: str, textbox: WebRTCData
) -> None:
    with gr.Blocks():
        assert WebRTC().preprocess(payload) == wave
        assert WebRTC(variant="textbox").preprocess(payload) == textbox


def test_a_component_that_an_event_changes_still_serves() -> None:
    with gr.Blocks():
        call = WebRTC(label="before")
        call.stream(ReplyOnPause(echo), inputs=[call], outputs=[call])
        # As Gradio does it where an event returns gr.update(visible=False).
        again = WebRTC(**{**call.constructor_args, "visible": False, "render": False})
    assert again.serving() is call.serving()


def test_an_event_may_return_a_component_as_an_update() -> None:
    with gr.Blocks():
        call = WebRTC()
        call.stream(ReplyOnPause(echo), inputs=[call], outputs=[call])
    token = LocalContext.in_event_listener.set(True)
    try:
        assert WebRTC(visible=False).constructor_args == {"visible": False}
    finally:
        LocalContext.in_event_listener.reset(token)


@pytest.mark.parametrize(
    ("component", "event"),
    [({"time_limit": 3}, {}), ({}, {"time_limit": 3}), ({}, {"concurrency_limit": 3})],
)
def test_what_a_stream_has_of_its_own_is_not_given_to_its_component(
    component: Any, event: Any
) -> None:
    with gr.Blocks():
        call = WebRTC(**component)
        with pytest.raises(ValueError, match="to the Stream"):
            call.stream(Stream(ReplyOnPause(echo)), [call], [call], **event)


def test_a_component_outside_blocks_is_told_where_it_belongs() -> None:
    with pytest.raises(RuntimeError, match=r"with gr\.Blocks"):
        WebRTC().stream(ReplyOnPause(echo))


def test_the_text_box_makes_the_stream_take_text() -> None:
    with gr.Blocks():
        call = WebRTC(variant="textbox")
        call.stream(ReplyOnPause(echo), inputs=[call], outputs=[call])
    assert call.serving().takes_text


@pytest.mark.parametrize(("when", "events"), [("change", 2), ("submit", 1)])
def test_inputs_are_listened_to_as_asked(when: Any, events: int) -> None:
    with gr.Blocks() as blocks:
        call, box, tick = WebRTC(), gr.Textbox(), gr.Checkbox()  # a checkbox has no `submit`
        call.stream(ReplyOnPause(echo), [call, box, tick], [call], send_input_on=when)
    targets = [target for it in config_of(blocks)["dependencies"] for target in it["targets"]]
    assert len([it for it in targets if it in ([box._id, when], [tick._id, when])]) == events


def test_a_trigger_begins_the_call_of_a_listener() -> None:
    with gr.Blocks() as blocks:
        call, button = WebRTC(mode="receive"), gr.Button()
        call.stream(radio, outputs=[call], trigger=button.click)
    (started,) = [
        it for it in config_of(blocks)["dependencies"] if [button._id, "click"] in it["targets"]
    ]
    assert started["outputs"] == [call._id]


def test_gradio_writes_no_stub_beside_the_source() -> None:
    source = Path(fastrtc.ui.component.__file__)
    assert not source.with_suffix(".pyi").exists()


def test_each_module_of_the_client_comes_after_those_that_it_names() -> None:
    names = [name for name, _ in MODULES]
    assert names[-1] == "component.js"
    assert {"client.js", "worklets.js"} <= set(names)
    for index, (_, source) in enumerate(MODULES):
        assert not any(f'"./{later}"' in source for later in names[index:])


def test_a_module_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        read_modules("nothing.js")


def test_without_gradio_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['gradio'] = None; from fastrtc import WebRTC"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "fastrtc[ui]"' in done.stderr


def test_a_gradio_that_is_too_old_is_named() -> None:
    code = "import gradio; gradio.__version__ = '5.49.1'; from fastrtc import WebRTC"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "5.49.1 is too old" in done.stderr


class Silent(StreamHandler):
    def receive(self, frame: Any) -> None: ...

    def emit(self) -> None: ...

    def copy(self) -> Silent:
        return Silent()


def test_a_handler_of_full_control_is_served() -> None:
    with gr.Blocks():
        call = WebRTC()
        call.stream(Silent(), inputs=[call], outputs=[call])
    assert isinstance(call.serving().handler, Silent)
