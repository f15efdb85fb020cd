"""What the image serves until you put an app of yours in its place: it repeats what it hears."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastrtc import ReplyOnPause, Stream, get_stt_model, get_tts_model

stt, tts = get_stt_model(), get_tts_model()


def reply(audio: Any) -> Iterator[Any]:
    """Say what was heard."""
    if text := stt.stt(audio):
        yield from tts.stream_tts_sync(f"You said: {text}")


stream = Stream(ReplyOnPause(reply))

if __name__ == "__main__":
    stream.run(host="0.0.0.0")
