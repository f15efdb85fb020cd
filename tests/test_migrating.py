"""The page on migrating knows every name of fastrtc 0.0.34, and says what is true of ours."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any, Final

import pytest

import fastrtc

PAGE: Final = Path(__file__).parents[1] / "docs" / "migrating.md"

HANDLER: Final = (
    "expected_layout='mono', output_sample_rate=24000, output_frame_size=None, "
    "input_sample_rate=48000"
)
REPLY: Final = (
    "startup_fn=None, algo_options=None, model_options=None, can_interrupt=True, "
    f"{HANDLER}, model=None, needs_args=False"
)
OLD: Final[dict[str, str | None]] = {
    "AdditionalOutputs": None,
    "AlgoOptions": "audio_chunk_duration=0.6, started_talking_threshold=0.2, "
    "speech_threshold=0.1, max_continuous_speech_s=float('inf')",
    "AsyncAudioVideoStreamHandler": f"{HANDLER}, fps=30",
    "AsyncStreamHandler": f"{HANDLER}, fps=30",
    "AudioEmitType": None,
    "AudioVideoStreamHandler": f"{HANDLER}, fps=30",
    "CartesiaTTSOptions": "voice='71a7ad14-091c-4e8e-a314-022ece01c121', language='en', "
    "emotion=[], cartesia_version='2024-06-10', model='sonic-2', sample_rate=22050",
    "CloseStream": "msg='Stream closed'",
    "KokoroTTSOptions": "voice='af_heart', speed=1.0, lang='en-us'",
    "ModelOptions": None,
    "MoonshineSTT": "model='moonshine/base'",
    "PauseDetectionModel": None,
    "ReplyOnPause": f"fn, {REPLY}",
    "ReplyOnStopWords": f"fn, stop_words, {REPLY}",
    "SileroVadOptions": "threshold=0.5, min_speech_duration_ms=250, "
    "max_speech_duration_s=float('inf'), min_silence_duration_ms=2000, "
    "window_size_samples=1024, speech_pad_ms=400",
    "Stream": "handler, additional_outputs_handler=None, mode='send-receive', modality='video', "
    "concurrency_limit='default', time_limit=None, allow_extra_tracks=False, rtp_params=None, "
    "rtc_configuration=None, server_rtc_configuration=None, track_constraints=None, "
    "additional_inputs=None, additional_outputs=None, ui_args=None, verbose=True",
    "StreamHandler": f"{HANDLER}, fps=30",
    "UIArgs": None,
    "VideoEmitType": None,
    "VideoStreamHandler": "callable, fps=30, skip_frames=False",
    "Warning": "message='Warning issued.'",
    "WebRTC": "value=None, height=None, width=None, label=None, every=None, inputs=None, "
    "show_label=None, container=True, scale=None, min_width=160, interactive=None, visible=True, "
    "elem_id=None, elem_classes=None, render=True, key=None, mirror_webcam=True, "
    "rtc_configuration=None, server_rtc_configuration=None, track_constraints=None, "
    "time_limit=None, allow_extra_tracks=False, mode='send-receive', modality='video', "
    "rtp_params=None, icon=None, icon_button_color=None, pulse_color=None, icon_radius=None, "
    "button_labels=None, variant='wave', full_screen=True",
    "WebRTCData": "webrtc_id, textbox='', audio=None",
    "WebRTCError": "message",
    "aggregate_bytes_to_16bit": "chunks_iterator",
    "async_aggregate_bytes_to_16bit": "chunks_iterator",
    "audio_to_bytes": "audio",
    "audio_to_file": "audio",
    "audio_to_float32": "audio",
    "audio_to_int16": "audio",
    "get_cloudflare_turn_credentials": "turn_key_id=None, turn_key_api_token=None, "
    "hf_token=None, ttl=600",
    "get_cloudflare_turn_credentials_async": "turn_key_id=None, turn_key_api_token=None, "
    "hf_token=None, ttl=600, client=None",
    "get_current_context": "",
    "get_hf_turn_credentials": "token=None, ttl=600",
    "get_hf_turn_credentials_async": "token=None, ttl=600, client=None",
    "get_silero_model": "",
    "get_stt_model": "model='moonshine/base'",
    "get_tts_model": "model='kokoro'",
    "get_turn_credentials": "method='cloudflare'",
    "get_turn_credentials_async": "method='cloudflare'",
    "get_twilio_turn_credentials": "twilio_sid=None, twilio_token=None",
    "wait_for_item": "queue, timeout=0.1",
}
"""What 0.0.34 exported, with the parameters of what was called by users."""

REQUIRED: Final = inspect.Parameter.empty


def rows(heading: str, columns: int) -> list[list[str]]:
    """The cells of the tables below a heading that have so many columns, without their heads."""
    text = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.M | re.S)
    assert text, f"no heading {heading!r}"
    lines = re.sub(r"\| \|$", "|  |", text[1], flags=re.M).splitlines()
    found = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in found if len(row) == columns and names_in(row[0])]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def old_parameters(name: str) -> dict[str, Any]:
    """The parameters of an old name, and their defaults."""
    function = ast.parse(f"def f({OLD[name] or ''}): pass").body[0]
    assert isinstance(function, ast.FunctionDef)
    given = [argument.arg for argument in function.args.args]
    defaults = [eval(ast.unparse(default)) for default in function.args.defaults]
    return dict.fromkeys(given, REQUIRED) | dict(
        zip(given[len(given) - len(defaults) :], defaults, strict=True)
    )


def new_parameters(name: str) -> dict[str, Any]:
    """The same of ours; those that a subclass passes on are its parent's."""
    value = getattr(fastrtc, name)
    own = {it.name: it.default for it in inspect.signature(value).parameters.values()}
    passed_on = new_parameters("ReplyOnPause") if name == "ReplyOnStopWords" else {}
    return passed_on | own


NAMES: Final = {
    name: (row[1], row[2] if len(row) > 2 else "")
    for row in rows("Every name", 3)
    for name in names_in(row[0])
}
GONE_PARAMETERS: Final = {
    (name, parameter)
    for row in rows("Parameters", 4)
    if row[2] == "gone"
    for name in names_in(row[0])
    for parameter in names_in(row[1])
}
KEPT: Final = [name for name in OLD if NAMES.get(name, ("gone",))[0] != "gone"]
CALLED: Final = [name for name in KEPT if OLD[name] is not None]


def test_every_old_name_has_a_row_and_every_row_is_of_an_old_name() -> None:
    assert set(NAMES) == set(OLD)


def test_each_name_is_the_same_or_better_or_gone_for_a_reason() -> None:
    for name, (verdict, why) in NAMES.items():
        assert verdict in ("same", "better", "gone"), name
        assert why or verdict == "same", f"{name} is {verdict}, and the page does not say why"


@pytest.mark.parametrize("name", KEPT)
def test_what_is_the_same_or_better_can_be_imported(name: str) -> None:
    assert getattr(fastrtc, name) is not None


@pytest.mark.parametrize("name", sorted(set(OLD) - set(KEPT)))
def test_what_is_gone_is_gone(name: str) -> None:
    assert not hasattr(fastrtc, name)


@pytest.mark.parametrize("name", CALLED)
def test_old_parameters_exist_or_are_named_as_gone(name: str) -> None:
    gone = {parameter for owner, parameter in GONE_PARAMETERS if owner == name}
    assert gone <= set(old_parameters(name))
    assert set(old_parameters(name)) - set(new_parameters(name)) == gone


@pytest.mark.parametrize("name", CALLED)
def test_a_default_that_has_changed_is_in_the_table(name: str) -> None:
    old, new = old_parameters(name), new_parameters(name)
    changed = {
        (parameter, default, new[parameter])
        for parameter, default in old.items()
        # One that makes a list anew shows none.
        if parameter in new and not isinstance(default, list) and default != new[parameter]
    }
    told = {
        (parameter, ast.literal_eval(row[2].strip("`")), ast.literal_eval(row[3].strip("`")))
        for row in rows("Parameters", 5)
        for parameter in names_in(row[1])
        if name in names_in(row[0])
    }
    assert told == changed


def test_parameters_that_mean_something_else_are_parameters_of_ours() -> None:
    found = rows("Parameters", 4)
    assert found
    for owners, parameters, verdict, _ in found:
        assert verdict in ("same", "better", "gone")
        for name in names_in(owners):
            for parameter in names_in(parameters):
                assert parameter in old_parameters(name), (name, parameter)


def test_the_events_of_the_component_are_those_of_the_page() -> None:
    [told] = [row for row in rows("The Gradio component", 2) if row[0].startswith("the events")]
    assert set(names_in(told[0])) <= {str(event) for event in fastrtc.WebRTC.EVENTS}
