"""The user's guide: its snippets run as written, given the names that they leave undefined."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from textwrap import dedent, indent
from typing import Any

import numpy as np
import pytest

from fastrtc import Stream
from fastrtc.models.stt.moonshine import moonshine_available
from fastrtc.testing import VirtualCall
from tests.conftest import Sound, missing, tone
from tests.spoken import ASKED, QUESTION, said


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
STARTUP = """
    from fastrtc import get_tts_model, Stream, ReplyOnPause
    tts_client = get_tts_model()
    def echo(audio: tuple[int, np.ndarray]):
        # Implement any iterator that yields audio
        # See "LLM Voice Chat" for a more complete example
        yield audio
    def startup():
        for chunk in tts_client.stream_tts_sync("Welcome to the echo audio demo!"):
            yield chunk
    stream = Stream(
        handler=ReplyOnPause(echo, startup_fn=startup),
        modality="audio",
        mode="send-receive",
        ui_args={"title": "Echo Audio"},
    )
"""
STOP_WORDS = """
    from fastrtc import Stream, ReplyOnStopWords
    def response(audio: tuple[int, np.ndarray]):
        \"\"\"This function must yield audio frames\"\"\"
        ...
        for numpy_array in generated_audio:
            yield (sampling_rate, numpy_array, "mono")
    stream = Stream(
        handler=ReplyOnStopWords(generate,
            input_sample_rate=16000,
            stop_words=["computer"]), # (1)
        modality="audio",
        mode="send-receive"
    )
"""
STREAM_HANDLER = """
    import gradio as gr
    from fastrtc import StreamHandler
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
"""
TEXT_TO_SPEECH = """
    from fastrtc import get_tts_model
    model = get_tts_model(model="kokoro")
    for audio in model.stream_tts_sync("Hello, world!"):
        yield audio
    audio = model.tts("Hello, world!")
"""
ASYNC_TEXT_TO_SPEECH = """
    from fastrtc import get_tts_model
    model = get_tts_model(model="kokoro")
    async for audio in model.stream_tts("Hello, world!"):
        yield audio
"""
SPEECH_TO_TEXT = """
    from fastrtc import get_stt_model
    model = get_stt_model(model="moonshine/base")
    audio = (16000, np.random.randint(-32768, 32768, size=(1, 16000)))
    text = model.stt(audio)
"""


def run(*snippets: str, **given: Any) -> dict[str, Any]:
    """The names that the snippets make, one after the other."""
    names: dict[str, Any] = {"np": np, "generate_response": generate_response, "Stream": Stream}
    names.update(given)
    for snippet in snippets:
        exec(dedent(snippet), names)
    return names


def sounding(call: VirtualCall) -> float:
    """Seconds in which something was heard."""
    return sum(end - start for start, end in call.sounds)


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
    with VirtualCall(run(*snippets)["stream"]) as call:
        call.wait(0.5)
        call.say(phrase)
        call.wait(2.0)
        ((start, end),) = call.sounds
    assert end - start == pytest.approx(0.4, abs=0.03)


def test_the_startup_function_of_the_guide_greets(phrase: Sound) -> None:
    said(QUESTION)  # so that it is loaded, or known to be missing
    stream = run(STARTUP)["stream"]
    with VirtualCall(stream) as call:
        call.wait(6.0)
        assert sounding(call) > 1.0
        call.say(phrase)
        call.wait(3.0)
        assert len(call.turns) == 2
        assert not call.errors
    assert stream.ui_args == {"title": "Echo Audio"}


def test_the_stop_word_of_the_guide_is_answered() -> None:
    def generate(audio: Sound) -> Iterator[Any]:
        yield from names["response"](audio)

    sound = tone(0.2)[1]
    names = run(STOP_WORDS, generate=generate, generated_audio=[sound, sound], sampling_rate=24_000)
    with VirtualCall(names["stream"]) as call:
        call.wait(0.5)
        call.say(said(QUESTION))
        call.wait(2.0)
        assert not call.sounds
        call.say(said(ASKED))
        call.wait(2.0)
        assert sounding(call) == pytest.approx(0.4, abs=0.03)


def test_the_echo_of_the_guide_is_heard() -> None:
    with VirtualCall(run(STREAM_HANDLER)["stream"]) as call:
        call.say(tone(1.0, rate=48_000))
        call.wait(0.3)
        assert sounding(call) > 0.8


def test_the_async_echo_of_the_guide_is_heard() -> None:
    with VirtualCall(run(ASYNC_STREAM_HANDLER)["AsyncEchoHandler"]()) as call:
        call.say(tone(1.0, rate=48_000))
        call.wait(0.3)
        assert sounding(call) > 0.8


def function(head: str, snippet: str) -> Any:
    """A function of the guide's lines, as some of them can stand nowhere else."""
    return run(head + indent(dedent(snippet), "    "))["speak"]


def seconds(chunks: list[Any]) -> float:
    assert {rate for rate, _ in chunks} == {24_000}
    return float(sum(samples.size for _, samples in chunks) / 24_000)


def test_the_voice_of_the_guide_speaks() -> None:
    said(QUESTION)
    assert seconds(list(function("def speak():", TEXT_TO_SPEECH)())) > 0.5


async def test_the_voice_of_the_guide_speaks_on_the_event_loop() -> None:
    # Loading it blocks, which is for where no loop runs yet.
    await asyncio.to_thread(said, QUESTION)
    speak = function("async def speak():", ASYNC_TEXT_TO_SPEECH)
    assert seconds([chunk async for chunk in speak()]) > 0.5


def test_the_recogniser_of_the_guide_reads() -> None:
    if not moonshine_available("base"):
        missing("the package moonshine-cpp==0.1.4, which carries the larger Moonshine")
    assert isinstance(run(SPEECH_TO_TEXT)["text"], str)
