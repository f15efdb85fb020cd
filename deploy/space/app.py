"""A Space: it repeats what it hears. The secret HF_TOKEN of the Space pays for the TURN server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastrtc import (
    ReplyOnPause,
    Stream,
    get_cloudflare_turn_credentials_async,
    get_stt_model,
    get_tts_model,
)

stt, tts = get_stt_model(), get_tts_model()


def reply(audio: Any) -> Iterator[Any]:
    """Say what was heard."""
    if text := stt.stt(audio):
        yield from tts.stream_tts_sync(f"You said: {text}")


stream = Stream(
    ReplyOnPause(reply),
    rtc_configuration=get_cloudflare_turn_credentials_async,
    server_rtc_configuration=get_cloudflare_turn_credentials_async,
    time_limit=300,
    ui_args={"title": "An echo that listens"},
)

if __name__ == "__main__":
    stream.ui.launch()
