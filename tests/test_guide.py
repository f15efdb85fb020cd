"""The user's guide: its snippets run as written, given the names that they leave undefined."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from fastrtc.testing import VirtualCall
from tests.conftest import Sound, tone


def generate_response(rate: int, samples: Any) -> Iterator[Any]:
    """What the guide leaves to its reader: here 0.4 s of tone in two chunks."""
    for _ in range(2):
        yield tone(0.2, rate=rate)[1]


REPLY_ON_PAUSE = """
    from fastrtc import ReplyOnPause, Stream
    def response(audio: tuple[int, np.ndarray]): # (1)
        sample_rate, audio_array = audio
        # Generate response
        for audio_chunk in generate_response(sample_rate, audio_array):
            yield (sample_rate, audio_chunk) # (2)
    stream = Stream(
        handler=ReplyOnPause(response),
        modality="audio",
        mode="send-receive"
    )
"""
PARAMETERS = """
    from fastrtc import AlgoOptions, SileroVadOptions
    stream = Stream(
        handler=ReplyOnPause(
            response,
            algo_options=AlgoOptions(
                audio_chunk_duration=0.6,
                started_talking_threshold=0.2,
                speech_threshold=0.1
            ),
            model_options=SileroVadOptions(
                threshold=0.5,
                min_speech_duration_ms=250,
                min_silence_duration_ms=100
            )
        )
    )
"""
INTERRUPTIONS = """
    from fastrtc import Stream, ReplyOnPause
    stream = Stream(
        handler=ReplyOnPause(
            response,
            can_interrupt=True,
        )
    )
"""
STREAM_HANDLER = """
    from fastrtc import Stream, StreamHandler
    from queue import Queue
    class EchoHandler(StreamHandler):
        def __init__(self) -> None:
            super().__init__()
            self.queue = Queue()
        def receive(self, frame: tuple[int, np.ndarray]) -> None: # (1)
            self.queue.put(frame)
        def emit(self) -> None: # (2)
            return self.queue.get()
        def copy(self) -> StreamHandler:
            return EchoHandler()
        def shutdown(self) -> None: # (3)
            pass
        def start_up(self) -> None: # (4)
            pass
    stream = Stream(
        handler=EchoHandler(),
        modality="audio",
        mode="send-receive"
    )
"""
ASYNC_STREAM_HANDLER = """
    from fastrtc import AsyncStreamHandler, wait_for_item, Stream
    import asyncio
    import numpy as np
    class AsyncEchoHandler(AsyncStreamHandler):
        \"\"\"Simple Async Echo Handler\"\"\"
        def __init__(self) -> None:
            super().__init__(input_sample_rate=24000)
            self.queue = asyncio.Queue()
        async def receive(self, frame: tuple[int, np.ndarray]) -> None:
            await self.queue.put(frame)
        async def emit(self) -> None:
            return await wait_for_item(self.queue)
        def copy(self):
            return AsyncEchoHandler()
        async def shutdown(self):
            pass
        async def start_up(self) -> None:
            pass
    stream = Stream(AsyncEchoHandler())
"""


def run(*snippets: str) -> Any:
    """The stream that the snippets make."""
    names: dict[str, Any] = {"np": np, "generate_response": generate_response}
    for snippet in snippets:
        exec(dedent(snippet), names)
    return names["stream"]


@pytest.mark.parametrize(
    "snippets",
    [
        [REPLY_ON_PAUSE],
        [REPLY_ON_PAUSE, PARAMETERS],
        [REPLY_ON_PAUSE, INTERRUPTIONS],
    ],
    ids=["reply on pause", "parameters", "interruptions"],
)
def test_the_replies_of_the_guide_are_heard(snippets: list[str], phrase: Sound) -> None:
    with VirtualCall(run(*snippets)) as call:
        call.wait(0.5)
        call.say(phrase)
        call.wait(2.0)
        ((start, end),) = call.sounds
    assert end - start == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize(
    "snippet", [STREAM_HANDLER, ASYNC_STREAM_HANDLER], ids=["StreamHandler", "AsyncStreamHandler"]
)
def test_the_echoes_of_the_guide_are_heard(snippet: str) -> None:
    with VirtualCall(run(snippet)) as call:
        call.say(tone(1.0, rate=48_000))
        call.wait(0.3)
        assert sum(end - start for start, end in call.sounds) > 0.8
