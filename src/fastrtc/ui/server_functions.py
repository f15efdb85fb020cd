"""What the component's JavaScript asks of Python: its modules, the settings, and the signalling."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr
from pydantic import ValidationError

from fastrtc.admission import Refused
from fastrtc.routes import Offer
from fastrtc.ui.ending import end_with_the_loop
from fastrtc.ui.modules import MODULES

if TYPE_CHECKING:
    from fastrtc.ui.component import WebRTC

logger = logging.getLogger(__name__)


def make_server_functions(component: WebRTC) -> list[Callable[..., Any]]:
    """Functions for `gradio.HTML`; they go where Gradio's own requests go."""

    async def modules(_: Any) -> list[tuple[str, str]]:
        return MODULES

    async def settings(_: Any, request: gr.Request) -> dict[str, Any]:
        stream = component.serving()
        try:
            # TURN credentials are not for everybody.
            await stream.identify(_connection(request))
            return await stream.client_settings()
        except Refused as refused:
            return refused.as_reply()
        except Exception as error:
            logger.exception("The settings of a call could not be had")
            return Refused("connection_failed", reason=type(error).__name__).as_reply()

    async def offer(body: Any, request: gr.Request) -> dict[str, Any]:
        stream = component.serving()
        end_with_the_loop(stream)
        try:
            message = Offer.model_validate(body)
        except ValidationError as error:
            return Refused("invalid_offer", reason=str(error)).as_reply()
        reply = await stream.offer(message, _connection(request))
        if reply.get("type") == "answer":
            component.follow(message.webrtc_id)
        return reply

    return [modules, settings, offer]


def _connection(request: Any) -> Any:
    """What Starlette calls a request: Gradio gives it wrapped, or as it is."""
    return getattr(request, "request", None) or request
