"""`Stream` as apps use it: what it takes, its limits, inputs and outputs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from fastrtc import AdditionalOutputs, ReplyOnPause, Stream
from fastrtc.handlers.base import AsyncStreamHandler
from fastrtc.testing import VirtualCall
from tests.conftest import Sound, tone


def echo(audio: Any) -> Iterator[Any]:
    yield audio


class Notes(AsyncStreamHandler):
    """Gives a numbered output ten times a second."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    async def receive(self, frame: Any) -> None: ...

    async def emit(self) -> Any:
        await asyncio.sleep(0.1)
        self.number += 1
        return AdditionalOutputs(self.number)

    def copy(self) -> Notes:
        return Notes()


@pytest.mark.parametrize("modality", ["video", "audio-video"])
def test_video_is_said_to_be_missing(modality: Any) -> None:
    with pytest.raises(NotImplementedError, match="audio"):
        Stream(ReplyOnPause(echo), modality=modality)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"additional_outputs": [object()]}, ValueError),
        ({"mode": "sideways"}, ValueError),
        ({"concurrency_limit": 0}, ValueError),
        ({"concurrency_limit": "many"}, ValueError),
        ({"time_limit": 0}, ValueError),
    ],
)
def test_a_bad_option_is_refused_when_the_stream_is_made(options: Any, error: Any) -> None:
    with pytest.raises(error):
        Stream(ReplyOnPause(echo), **options)


@pytest.mark.parametrize("handler", [echo, None, 3, ReplyOnPause])
def test_what_is_no_handler_is_refused_with_what_to_do(handler: Any) -> None:
    with pytest.raises(TypeError):
        Stream(handler)


@pytest.mark.pitfall(30)
def test_a_call_ends_at_its_time_limit_and_the_client_is_told() -> None:
    with VirtualCall(Stream(ReplyOnPause(echo), time_limit=5)) as call:
        call.wait(4.9)
        assert call.connected
        call.wait(0.3)
        assert not call.connected
        assert call.messages[-2].type == "end_stream"
        assert "5 s" in call.messages[-2].data


def test_a_call_that_has_ended_has_given_its_slot_back() -> None:
    stream = Stream(ReplyOnPause(echo), concurrency_limit=1)
    for _ in range(3):
        with VirtualCall(stream) as call:
            assert list(stream.connections) == ["virtual"]
            call.hang_up()
            assert not stream.connections


@pytest.mark.pitfall(23)
def test_outputs_are_read_as_they_come_until_the_call_ends() -> None:
    stream = Stream(Notes())
    read: list[int] = []

    async def reader() -> str:
        async for outputs in stream.output_stream("virtual"):
            read.append(outputs.args[0])
        return "ended"

    with VirtualCall(stream) as call:
        task = call.do(lambda: asyncio.ensure_future(reader()))
        call.wait(1.05)
        assert read == list(range(1, 11))
        call.hang_up()
        call.vanish(0.1)
        assert task.result() == "ended"


@pytest.mark.pitfall(23)
def test_two_readers_both_read_everything_from_then_on() -> None:
    stream = Stream(Notes())
    read: list[list[int]] = [[], []]

    async def reader(index: int) -> None:
        async for outputs in stream.output_stream("virtual"):
            read[index].append(outputs.args[0])

    with VirtualCall(stream) as call:
        for index in range(2):
            call.do(lambda index=index: asyncio.ensure_future(reader(index)))  # type: ignore[misc]
        call.wait(0.55)
        assert read == [[1, 2, 3, 4, 5]] * 2


@pytest.mark.pitfall(23)
async def test_the_outputs_of_an_unknown_call_are_an_error_and_not_a_wait() -> None:
    stream = Stream(ReplyOnPause.__new__(ReplyOnPause))
    with pytest.raises(ValueError, match="nobody"):
        await stream.fetch_latest_output("nobody")
    with pytest.raises(ValueError, match="nobody"):
        async for _ in stream.output_stream("nobody"):
            pass
    with pytest.raises(ValueError, match="nobody"):
        stream.set_input("nobody", 1)


def test_the_latest_output_is_fetched() -> None:
    stream = Stream(Notes())

    async def fetch() -> Any:
        return (await stream.fetch_latest_output("virtual")).args

    with VirtualCall(stream) as call:
        first = call.do(lambda: asyncio.ensure_future(fetch()))
        call.wait(0.55)
        later = call.do(lambda: asyncio.ensure_future(fetch()))
        call.wait(0.01)
        assert first.result() == (1,)
        assert later.result() == (5,)


def test_inputs_reach_the_function_of_their_call(phrase: Sound) -> None:
    got: list[Any] = []

    def reply(audio: Any, voice: str) -> Iterator[Any]:
        got.append(voice)
        yield tone(0.2)

    stream = Stream(ReplyOnPause(reply))
    with VirtualCall(stream) as call:
        stream.set_input("virtual", "alto")
        call.say(phrase)
        call.wait(1.0)
    assert got == ["alto"]


def test_fastphone_points_to_the_guide() -> None:
    with pytest.raises(NotImplementedError, match="telephone"):
        Stream(ReplyOnPause(echo)).fastphone()
