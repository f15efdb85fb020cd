"""A realtime speech model behind a WebSocket of the OpenAI kind: `/v1/realtime?model=...`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from typing import Any

from fastapi import APIRouter, WebSocket
from fastapi.responses import JSONResponse
from starlette.websockets import WebSocketDisconnect

from tests.standins.speech import OUT_RATE, Ear, Speech, decode, encode

FORMAT = {"type": "", "rate": 0}
SHAPES: dict[str, Any] = {
    "type": "",
    "model": "",
    "instructions": "",
    "output_modalities": [],
    "audio": {
        "input": {
            "format": FORMAT,
            "transcription": {"model": "", "language": "", "prompt": ""},
            "turn_detection": {
                "type": "",
                "threshold": 0.0,
                "prefix_padding_ms": 0,
                "silence_duration_ms": 0,
                "create_response": True,
                "interrupt_response": True,
            },
        },
        "output": {"format": FORMAT, "voice": "", "speed": 0.0},
    },
}
"""What a session may have, each with a value of its type."""


class Unwanted(ValueError):
    """What the model would not take."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check(value: Any, shape: Any, name: str) -> None:
    """Find out whether a value has a shape.

    Raises:
        Unwanted: it has not.
    """
    kinds = (int, float) if isinstance(shape, float) else type(shape)
    if not isinstance(value, kinds):
        raise Unwanted("invalid_type", f"Invalid type for '{name}': {type(value).__name__}.")
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in shape:
                raise Unwanted("unknown_parameter", f"Unknown parameter: '{name}.{key}'.")
            check(inner, shape[key], f"{name}.{key}")


def realtime_model(speech: Speech, key: str = "none") -> APIRouter:
    """Hears who talks, and answers with its speech, as long as nobody interrupts."""
    router = APIRouter()

    @router.websocket("/v1/realtime")
    async def serve(socket: WebSocket) -> None:
        if socket.headers.get("authorization") != f"Bearer {key}":
            refusal = {"error": {"code": "invalid_api_key", "message": "Incorrect API key."}}
            await socket.send_denial_response(JSONResponse(refusal, 401))
            return
        if not socket.query_params.get("model"):
            refusal = {"error": {"code": "missing_model", "message": "There is no model."}}
            await socket.send_denial_response(JSONResponse(refusal, 400))
            return
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            await Call(socket, speech).run()

    return router


class Call:
    """One session."""

    def __init__(self, socket: WebSocket, speech: Speech) -> None:
        self.socket = socket
        self.speech = speech
        self.ear = Ear(OUT_RATE)
        self.transcribes = False
        self.reply: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._item = ""

    async def run(self) -> None:
        await self.send("session.created", session={"type": "realtime"})
        try:
            while True:
                text = await self.socket.receive_text()
                try:
                    await self.take(text)
                except Unwanted as error:
                    fault = {"type": "invalid_request_error", "code": error.code}
                    await self.send("error", error={**fault, "message": str(error), "param": None})
        finally:
            if self.reply is not None:
                self.reply.cancel()

    async def take(self, text: str) -> None:
        """Take a message.

        Raises:
            Unwanted: it is none.
        """
        try:
            event = json.loads(text)
        except ValueError:
            raise Unwanted("invalid_json", "We could not parse your message as JSON.") from None
        kind = event.get("type") if isinstance(event, dict) else None
        fields = {"session.update": "session", "input_audio_buffer.append": "audio"}
        if kind not in fields:
            raise Unwanted("invalid_value", f"Invalid value: '{kind}'.")
        check(event, {"type": "", "event_id": "", "audio": "", "session": SHAPES}, "event")
        if set(event) - {"type", "event_id"} != {fields[kind]}:
            raise Unwanted("missing_required_parameter", f"Expected '{fields[kind]}' alone.")
        if kind == "session.update":
            await self.update(event["session"])
        else:
            await self.append(event["audio"])

    async def update(self, session: dict[str, Any]) -> None:
        if session.get("type") != "realtime":
            raise Unwanted("missing_required_parameter", "Expected 'session.type' to be realtime.")
        audio = session.get("audio", {})
        for side in ("input", "output"):
            given = audio.get(side, {}).get("format", {"type": "audio/pcm", "rate": OUT_RATE})
            if given != {"type": "audio/pcm", "rate": OUT_RATE}:
                raise Unwanted("invalid_value", f"This stand-in does not know the format {given}.")
        self.transcribes = "transcription" in audio.get("input", {})
        await self.send("session.updated", session=session)

    async def append(self, audio: str) -> None:
        try:
            pcm = decode(audio)
        except ValueError as error:
            raise Unwanted("invalid_value", f"Invalid 'audio': {error}.") from None
        for happened in self.ear.hear(pcm):
            at = round(1000 * self.ear.heard_seconds)
            if happened == "started":
                self._item = self._new("item")
                await self.send(
                    "input_audio_buffer.speech_started", audio_start_ms=at, item_id=self._item
                )
                await self.interrupt()
            else:
                await self.send(
                    "input_audio_buffer.speech_stopped", audio_end_ms=at, item_id=self._item
                )
                await self.send("input_audio_buffer.committed", item_id=self._item)
                self.reply = asyncio.ensure_future(self.answer())

    async def interrupt(self) -> None:
        if self.reply is None or self.reply.done():
            return
        self.reply.cancel()
        await asyncio.wait([self.reply])
        why = {"type": "cancelled", "reason": "turn_detected"}
        await self.send("response.done", response={"status": "cancelled", "status_details": why})

    async def answer(self) -> None:
        if self.transcribes:
            await self.send(
                "conversation.item.input_audio_transcription.completed",
                item_id=self._item,
                content_index=0,
                transcript=await self.speech.read(self.ear.utterance),
            )
        response = self._new("resp")
        place = {"item_id": self._new("item"), "output_index": 0, "content_index": 0}
        here = {"response_id": response, **place}
        await self.send("response.created", response={"id": response, "status": "in_progress"})
        async for pcm, words in self.speech.pieces():
            await self.send("response.output_audio.delta", **here, delta=encode(pcm))
            if words:
                await self.send("response.output_audio_transcript.delta", **here, delta=words)
        await self.send("response.output_audio.done", **here)
        await self.send(
            "response.output_audio_transcript.done", **here, transcript=self.speech.text
        )
        await self.send("response.done", response={"id": response, "status": "completed"})

    async def send(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": self._new("event"), **fields}
        await self.socket.send_text(json.dumps(event))

    def _new(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers)}"
