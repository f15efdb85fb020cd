"""A live speech model behind a WebSocket of the Gemini kind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from tests.standins.speech import OUT_RATE, Ear, Speech, decode, encode

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
SETUP = {
    "model",
    "generationConfig",
    "systemInstruction",
    "tools",
    "realtimeInputConfig",
    "sessionResumption",
    "contextWindowCompression",
    "inputAudioTranscription",
    "outputAudioTranscription",
    "proactivity",
}
GENERATION = {"responseModalities", "speechConfig", "temperature", "maxOutputTokens"}


class Unwanted(ValueError):
    """What the model would not take, and why it hangs up."""


def known(fields: Any, names: set[str], place: str) -> dict[str, Any]:
    """An object that has no other fields.

    Raises:
        Unwanted: it has, or is none.
    """
    if not isinstance(fields, dict):
        raise Unwanted(f"Invalid value at '{place}'.")
    if more := set(fields) - names:
        raise Unwanted(f"Unknown name \"{sorted(more)[0]}\" at '{place}': Cannot find field.")
    return fields


def live_model(speech: Speech, key: str = "none") -> APIRouter:
    """Hears who talks, and answers with its speech, as long as nobody interrupts."""
    router = APIRouter()

    @router.websocket(PATH)
    async def serve(socket: WebSocket) -> None:
        await socket.accept()
        given = socket.headers.get("x-goog-api-key") or socket.query_params.get("key")
        if given != key:
            await socket.close(1007, "API key not valid. Please pass a valid API key.")
            return
        with contextlib.suppress(WebSocketDisconnect):
            try:
                await Call(socket, speech).run()
            except Unwanted as error:
                await socket.close(1007, f"Invalid JSON payload received. {error}"[:123])

    return router


class Call:
    """One session."""

    def __init__(self, socket: WebSocket, speech: Speech) -> None:
        self.socket = socket
        self.speech = speech
        self.setup: dict[str, Any] = {}
        self.ear: Ear | None = None
        self.reply: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve it to its end.

        Raises:
            Unwanted: it was sent something that it does not take.
        """
        await self.begin(await self.next("setup"))
        try:
            while True:
                await self.hear(await self.next("realtimeInput"))
        finally:
            if self.reply is not None:
                self.reply.cancel()

    async def next(self, name: str) -> Any:
        """What is in the next message, which has to be this one."""
        message = await self.socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        try:
            event = json.loads(message.get("text") or message.get("bytes") or b"")
        except ValueError:
            raise Unwanted("It is no JSON.") from None
        if not isinstance(event, dict) or list(event) != [name]:
            raise Unwanted(f"Expected '{name}', and nothing else.")
        return event[name]

    async def begin(self, setup: Any) -> None:
        self.setup = known(setup, SETUP, "setup")
        if not str(setup.get("model", "")).startswith("models/"):
            raise Unwanted("Expected a model at 'setup.model'.")
        known(setup.get("generationConfig", {}), GENERATION, "setup.generation_config")
        await self.send(setupComplete={})

    async def hear(self, given: Any) -> None:
        audio = known(given, {"audio"}, "realtime_input").get("audio")
        audio = known(audio, {"data", "mimeType"}, "realtime_input.audio")
        kind = re.fullmatch(r"audio/pcm;rate=(\d+)", str(audio.get("mimeType")))
        if kind is None:
            raise Unwanted(f"Unsupported MIME type {audio.get('mimeType')!r}.")
        if self.ear is None:
            self.ear = Ear(int(kind[1]))
        try:
            pcm = decode(audio.get("data"))
        except ValueError as error:
            raise Unwanted(f"At 'realtime_input.audio.data': {error}.") from None
        for happened in self.ear.hear(pcm):
            if happened == "started":
                await self.interrupt()
            else:
                self.reply = asyncio.ensure_future(self.answer(self.ear))

    async def interrupt(self) -> None:
        if self.reply is None or self.reply.done():
            return
        self.reply.cancel()
        await asyncio.wait([self.reply])
        await self.send(serverContent={"interrupted": True})
        await self.send(serverContent={"turnComplete": True})

    async def answer(self, ear: Ear) -> None:
        if "inputAudioTranscription" in self.setup:
            text = await self.speech.read(ear.utterance)
            for word in re.findall(r"\s*\S+", text):
                await self.send(serverContent={"inputTranscription": {"text": word}})
        kind = f"audio/pcm;rate={OUT_RATE}"
        async for pcm, words in self.speech.pieces():
            part = {"inlineData": {"mimeType": kind, "data": encode(pcm)}}
            await self.send(serverContent={"modelTurn": {"parts": [part]}})
            if words and "outputAudioTranscription" in self.setup:
                await self.send(serverContent={"outputTranscription": {"text": words}})
        await self.send(serverContent={"generationComplete": True})
        # The turn is over when the caller has heard it.
        await asyncio.sleep(self.speech.unheard_seconds)
        await self.send(serverContent={"turnComplete": True}, usageMetadata={})

    async def send(self, **event: Any) -> None:
        # In binary messages, as the real one does.
        await self.socket.send_bytes(json.dumps(event).encode())
