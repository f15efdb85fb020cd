"""An endpoint for chat completions of the OpenAI kind, that streams."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

ROLES = ("developer", "system", "user", "assistant")
KEYS = {"role", "content", "name"}

Messages = list[dict[str, Any]]


class Unwanted(ValueError):
    """What the endpoint would not take."""


def text_of(content: Any) -> str:
    """The text of a message, which is a string or a list of parts.

    Raises:
        Unwanted: it is neither.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise Unwanted("Invalid type for 'content': expected a string or an array of objects.")
    for part in content:
        if (
            not isinstance(part, dict)
            or part.get("type") != "text"
            or set(part) != {"type", "text"}
        ):
            raise Unwanted(f"Invalid value for a part of 'content': {part!r}.")
    return "".join(part["text"] for part in content)


def read_messages(body: Any) -> Messages:
    """The messages of a request, their content as text.

    Raises:
        Unwanted: it is no request.
    """
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise Unwanted("You must provide a model parameter.")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Unwanted("Invalid 'messages': expected a non-empty array.")
    read = []
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise Unwanted(f"Invalid value for 'messages': {message!r}.")
        if more := set(message) - KEYS:
            raise Unwanted(f"Additional properties are not allowed: {sorted(more)}.")
        read.append({"role": message["role"], "content": text_of(message.get("content"))})
    if body.get("stream") is not True:
        raise Unwanted("This stand-in streams, and nothing else.")
    return read


def chat_endpoint(answer: Callable[[Messages], str], key: str = "none") -> APIRouter:
    """`/v1/chat/completions`: answers messages with what ``answer`` makes of them, by the word."""
    router = APIRouter()

    @router.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {key}":
            return refusal(401, "Incorrect API key provided.")
        try:
            messages = read_messages(await request.json())
        except ValueError as error:
            return refusal(400, str(error))

        async def events() -> AsyncIterator[str]:
            for word in re.findall(r"\S+\s*", answer(messages)):
                await asyncio.sleep(0.02)
                delta = {"choices": [{"index": 0, "delta": {"content": word}}]}
                yield f"data: {json.dumps({'id': '1', 'object': 'chunk', **delta})}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    return router


def refusal(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status)
