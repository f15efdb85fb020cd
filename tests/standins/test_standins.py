"""The stand-ins: they answer as the services do, and take nothing that those would not take."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from tests.conftest import Sound, silence, tone
from tests.standins import Speech, chat_endpoint, live_model, realtime_model
from tests.standins.live import PATH
from tests.standins.speech import Ear

KEY = {"authorization": "Bearer none"}
REALTIME = "/v1/realtime?model=standin"
SESSION = {"type": "realtime", "audio": {"input": {"transcription": {"model": "standin"}}}}
LIVE = f"{PATH}?key=none"
SETUP = {"model": "models/standin", "inputAudioTranscription": {}, "outputAudioTranscription": {}}
SECONDS = 4.0
QUESTION = {"role": "user", "content": "What?"}


async def read(audio: Sound) -> str:
    return f"{audio[1].shape[1] / audio[0]:.0f} second"


@pytest.fixture
def client() -> Iterator[TestClient]:
    speech = Speech(tone(SECONDS), "one two three four", read)
    app = FastAPI()
    app.include_router(chat_endpoint(lambda messages: f"{len(messages)} messages"))
    app.include_router(realtime_model(speech))
    app.include_router(live_model(speech))
    with TestClient(app) as client:
        yield client


def text_of(*sounds: Sound) -> str:
    """Sounds as the models want them."""
    samples = np.concatenate([samples for _, samples in sounds], axis=1)
    return base64.b64encode(samples.tobytes()).decode()


def utterance(rate: int) -> str:
    return text_of(tone(0.5, rate), silence(0.6, rate))


# Chat


def ask(client: TestClient, headers: dict[str, str] = KEY, **body: Any) -> Any:
    body = {"model": "standin", "stream": True, "messages": [QUESTION], **body}
    return client.post("/v1/chat/completions", json=body, headers=headers)


def test_an_answer_streams_by_the_word(client: TestClient) -> None:
    events = [line.removeprefix("data: ") for line in ask(client).text.splitlines() if line]
    assert events[-1] == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"]["content"] for event in events[:-1]]
    assert deltas == ["1 ", "messages"]


def test_content_may_be_parts(client: TestClient) -> None:
    parts = [{"type": "text", "text": "What?"}]
    assert ask(client, messages=[{"role": "user", "content": parts}]).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": None},
        {"messages": []},
        {"messages": [{"role": "robot", "content": "What?"}]},
        {"messages": [{**QUESTION, "metadata": {}}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"stream": False},
    ],
)
def test_a_request_that_is_none_is_refused(client: TestClient, wrong: dict[str, Any]) -> None:
    assert ask(client, **wrong).status_code == 400


def test_a_wrong_key_is_refused(client: TestClient) -> None:
    assert ask(client, headers={}).status_code == 401


# Realtime


def events_until(socket: Any, kind: str) -> list[dict[str, Any]]:
    events = [socket.receive_json()]
    while events[-1]["type"] != kind:
        events.append(socket.receive_json())
    return events


def test_what_is_said_is_transcribed_and_answered(client: TestClient) -> None:
    with client.websocket_connect(REALTIME, headers=KEY) as socket:
        socket.send_json({"type": "session.update", "session": SESSION})
        socket.send_json({"type": "input_audio_buffer.append", "audio": utterance(24_000)})
        events = events_until(socket, "response.done")
    kinds = [event["type"] for event in events]
    assert kinds[:4] == [
        "session.created",
        "session.updated",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
    ]
    transcripts = [event["transcript"] for event in events if "transcript" in event]
    assert transcripts == ["1 second", "one two three four"]
    deltas = [e["delta"] for e in events if e["type"] == "response.output_audio.delta"]
    sound = b"".join(map(base64.b64decode, deltas))
    assert len(sound) == 2 * round(SECONDS * 24_000)
    assert events[-1]["response"]["status"] == "completed"


def test_an_answer_ends_where_it_is_interrupted(client: TestClient) -> None:
    with client.websocket_connect(REALTIME, headers=KEY) as socket:
        socket.send_json({"type": "input_audio_buffer.append", "audio": utterance(24_000)})
        events_until(socket, "response.output_audio.delta")
        socket.send_json({"type": "input_audio_buffer.append", "audio": utterance(24_000)})
        events = events_until(socket, "response.done")
    assert events[-1]["response"]["status"] == "cancelled"
    assert "response.output_audio.done" not in [event["type"] for event in events]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "invalid_value"),
        ('{"type": "input_audio_buffer.apend"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter"),
        ('{"type": "input_audio_buffer.append", "audio": "?"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": "AA=="}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": 1}', "invalid_type"),
        ('{"type": "session.update", "session": {}}', "missing_required_parameter"),
        ('{"type": "session.update", "session": {"voice": "x"}}', "unknown_parameter"),
        (
            '{"type": "session.update", "session": {"type": "realtime", '
            '"audio": {"input": {"format": {"type": "audio/pcmu"}}}}}',
            "invalid_value",
        ),
    ],
)
def test_an_event_that_is_none_is_an_error(client: TestClient, wrong: str, code: str) -> None:
    with client.websocket_connect(REALTIME, headers=KEY) as socket:
        socket.send_text(wrong)
        assert events_until(socket, "error")[-1]["error"]["code"] == code


@pytest.mark.parametrize(
    ("url", "headers", "status"), [(REALTIME, {}, 401), ("/v1/realtime", KEY, 400)]
)
def test_who_has_no_key_or_names_no_model_is_not_let_in(
    client: TestClient, url: str, headers: dict[str, str], status: int
) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as denial,
        client.websocket_connect(url, headers=headers),
    ):
        pass
    assert denial.value.status_code == status


# Live


def said(rate: int) -> dict[str, Any]:
    audio = {"data": utterance(rate), "mimeType": f"audio/pcm;rate={rate}"}
    return {"realtimeInput": {"audio": audio}}


def contents_until(socket: Any, name: str) -> list[dict[str, Any]]:
    contents = [json.loads(socket.receive_bytes())["serverContent"]]
    while name not in contents[-1]:
        contents.append(json.loads(socket.receive_bytes())["serverContent"])
    return contents


def test_a_live_model_transcribes_and_answers(client: TestClient) -> None:
    with client.websocket_connect(LIVE) as socket:
        socket.send_json({"setup": SETUP})
        assert json.loads(socket.receive_bytes()) == {"setupComplete": {}}
        socket.send_json(said(16_000))
        contents = contents_until(socket, "turnComplete")

    def words(name: str) -> str:
        return "".join(content[name]["text"] for content in contents if name in content).strip()

    assert words("inputTranscription") == "1 second"
    assert words("outputTranscription") == "one two three four"
    turns = [content["modelTurn"] for content in contents if "modelTurn" in content]
    sound = b"".join(base64.b64decode(t["parts"][0]["inlineData"]["data"]) for t in turns)
    assert len(sound) == 2 * round(SECONDS * 24_000)


def test_a_live_model_tells_that_it_was_interrupted(client: TestClient) -> None:
    with client.websocket_connect(LIVE) as socket:
        socket.send_json({"setup": {"model": "models/standin"}})
        socket.receive_bytes()
        socket.send_json(said(16_000))
        contents_until(socket, "modelTurn")
        socket.send_json(said(16_000))
        contents = contents_until(socket, "interrupted")
    assert not any("turnComplete" in content for content in contents)


@pytest.mark.parametrize(
    "messages",
    [
        ["{"],
        [{}],
        [said(16_000)],
        [{"setup": {"model": "standin"}}],
        [{"setup": {"model": "models/standin", "voice": "Puck"}}],
        [{"setup": SETUP}, {"setup": SETUP}],
        [{"setup": SETUP}, {"realtimeInput": {"sound": ""}}],
        [{"setup": SETUP}, {"realtimeInput": {"audio": {"data": "AAA=", "mimeType": "audio/wav"}}}],
        [{"setup": SETUP}, {"realtimeInput": {"audio": {"mimeType": "audio/pcm;rate=16000"}}}],
    ],
)
def test_a_live_model_hangs_up_at_what_it_does_not_take(
    client: TestClient, messages: list[Any]
) -> None:
    with client.websocket_connect(LIVE) as socket:
        for message in messages:
            socket.send_text(message if isinstance(message, str) else json.dumps(message))
        for _ in messages[1:]:
            socket.receive_bytes()
        with pytest.raises(WebSocketDisconnect) as end:
            socket.receive_bytes()
    assert end.value.code == 1007


def test_a_live_model_hangs_up_on_a_wrong_key(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket, pytest.raises(WebSocketDisconnect) as end:
        socket.receive_bytes()
    assert end.value.reason.startswith("API key not valid")


# The ear


def test_an_utterance_is_kept_from_its_first_sound() -> None:
    ear = Ear(16_000)
    sound = np.concatenate([silence(1.0)[1], tone(0.5, 16_000)[1], silence(0.6)[1]], axis=1)
    assert ear.hear(sound.tobytes()) == ["started", "stopped"]
    _, said = ear.utterance
    assert 0.9 < said.shape[1] / 16_000 < 1.4
    assert np.count_nonzero(said) >= 0.49 * 16_000


def test_noise_is_no_utterance() -> None:
    noise = np.random.default_rng(1).normal(0, 100, 32_000).astype(np.int16)
    assert Ear(16_000).hear(noise.tobytes()) == []
