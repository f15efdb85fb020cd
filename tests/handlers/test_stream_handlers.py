"""`StreamHandler`, `AsyncStreamHandler` and plain functions, as their caller notices them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

from fastrtc import (
    AdditionalOutputs,
    AsyncStreamHandler,
    CloseStream,
    Stream,
    StreamHandler,
    get_current_context,
    wait_for_item,
)
from fastrtc.testing import VirtualCall
from tests.conftest import Sound, level, silence, tone
from tests.samples import Echo


class AsyncEcho(AsyncStreamHandler):
    """The guide's own."""

    def __init__(self) -> None:
        super().__init__(input_sample_rate=24_000)
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    async def receive(self, frame: Any) -> None:
        await self.queue.put(frame)

    async def emit(self) -> Any:
        return await wait_for_item(self.queue)

    def copy(self) -> AsyncStreamHandler:
        return AsyncEcho()


class Quiet(StreamHandler):
    """Says nothing, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.emits = 0
        self.frames: list[Any] = []
        self.events: list[str] = []

    def start_up(self) -> None:
        self.events.append("start_up")

    def shutdown(self) -> None:
        self.events.append("shutdown")

    def receive(self, frame: Any) -> None:
        self.frames.append(frame)

    def emit(self) -> Any:
        self.emits += 1
        return None

    def copy(self) -> StreamHandler:
        return type(self)()


class AsyncQuiet(AsyncStreamHandler):
    def __init__(self) -> None:
        super().__init__()
        self.emits = 0
        self.events: list[str] = []

    async def start_up(self) -> None:
        self.events.append("start_up")

    async def shutdown(self) -> None:
        self.events.append("shutdown")

    async def receive(self, frame: Any) -> None: ...

    async def emit(self) -> Any:
        self.emits += 1
        return None

    def copy(self) -> AsyncStreamHandler:
        return type(self)()


@pytest.mark.parametrize("handler", [Echo, AsyncEcho])
def test_an_echo_is_heard_as_it_was_said(handler: Any) -> None:
    with VirtualCall(handler()) as call:
        call.say(tone(2.0, rate=48_000))
        call.wait(0.5)
        heard = call.heard_between(0.5, 1.5)
    assert level(heard) == pytest.approx(level(tone(1.0)[1]), abs=1.0)


@pytest.mark.pitfall(14)
@pytest.mark.parametrize("handler", [Quiet, AsyncQuiet])
def test_a_handler_with_nothing_to_say_is_asked_no_faster_than_the_clock(handler: Any) -> None:
    with VirtualCall(handler()) as call:
        call.wait(10.0)
        assert 0 < call.handler.emits <= 510


@pytest.mark.pitfall(15)
def test_nothing_queues_up_while_nobody_talks() -> None:
    with VirtualCall(AsyncQuiet()) as call:
        call.wait(60.0)
        assert call.session.playout.idle
        assert call.session.playout.buffered == 0


@pytest.mark.pitfall(20)
@pytest.mark.parametrize("handler", [Quiet, AsyncQuiet])
def test_start_up_and_shutdown_are_called_exactly_once(handler: Any) -> None:
    with VirtualCall(handler()) as call:
        call.wait(0.5)
        inner = call.handler
        call.hang_up()
        call.hang_up()
    assert inner.events == ["start_up", "shutdown"]


def test_receive_gets_frames_of_the_rate_shape_and_type_that_it_asked_for() -> None:
    class Low(Quiet):
        def __init__(self) -> None:
            super().__init__()
            StreamHandler.__init__(self, input_sample_rate=16_000, expected_layout="stereo")

    with VirtualCall(Low()) as call:
        call.say(tone(1.0, rate=48_000))
        frames = call.handler.frames
    rates = {rate for rate, _ in frames}
    assert rates == {16_000}
    assert all(pcm.dtype == np.int16 and pcm.shape[0] == 2 for _, pcm in frames)
    assert sum(pcm.shape[1] for _, pcm in frames) == pytest.approx(16_000, abs=1_000)


def test_the_tail_of_the_callers_sound_is_not_flattened_from_stereo_to_mono() -> None:
    with VirtualCall(Quiet()) as call:
        rate, samples = tone(1.0, rate=48_000)
        call.say((rate, np.repeat(samples, 2, axis=0)))
        total = sum(pcm.shape[1] for _, pcm in call.handler.frames)
    assert total == pytest.approx(48_000, abs=1_000)


@pytest.mark.pitfall(16)
@pytest.mark.parametrize("method", ["receive", "emit"])
def test_a_method_that_raises_is_reported_and_called_again(method: str) -> None:
    class Failing(Quiet):
        def emit(self) -> Any:
            super().emit()
            if method == "emit" and self.emits < 5:
                raise ValueError("not yet")
            return tone(0.02) if self.emits == 10 else None

        def receive(self, frame: Any) -> None:
            if method == "receive":
                raise ValueError("not yet")

    with VirtualCall(Failing()) as call:
        call.wait(1.0)
        assert call.errors[0] == "ValueError: not yet"
        assert len(call.errors) <= 2
        assert call.sounds


@pytest.mark.pitfall(22)
def test_a_slow_receive_loses_old_sound_and_not_time(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    class Slow(Quiet):
        def receive(self, frame: Any) -> None:
            super().receive(frame)
            if len(self.frames) == 1:
                with call.session.workers.may_block():
                    release.wait(30)

    call = VirtualCall(Slow())
    with call:
        call.wait(10.0)
        release.set()
        call.wait(0.2)
        frames = len(call.handler.frames)
    # One that was held, three seconds that waited, and what came since.
    assert frames <= 1 + 150 + 15
    assert "slower than the caller talks" in caplog.text


def test_sound_of_any_chunk_size_is_heard_without_a_gap() -> None:
    class Odd(StreamHandler):
        def __init__(self) -> None:
            super().__init__()
            self.rest = tone(1.0)[1]

        def receive(self, frame: Any) -> None: ...

        def emit(self) -> Any:
            if not self.rest.shape[1]:
                return None
            chunk, self.rest = self.rest[:, :331], self.rest[:, 331:]
            return 24_000, chunk

        def copy(self) -> StreamHandler:
            return Odd()

    with VirtualCall(Odd()) as call:
        call.wait(2.0)
        assert len(call.sounds) == 1


def test_the_queue_can_be_cleared_and_the_far_side_is_told() -> None:
    class Talker(Quiet):
        def emit(self) -> Any:
            self.emits += 1
            return tone(5.0) if self.emits == 1 else None

    with VirtualCall(Talker()) as call:
        call.wait(1.0)
        call.handler.clear_queue()
        call.wait(1.0)
        ((_, end),) = call.sounds
        assert end < 1.1
        assert call.cleared


def test_a_handler_closes_the_stream_after_its_last_sound() -> None:
    class Once(Quiet):
        def emit(self) -> Any:
            self.emits += 1
            return ((24_000, tone(0.5)[1]), CloseStream("Done")) if self.emits == 1 else None

    with VirtualCall(Once()) as call:
        call.wait(2.0)
        assert not call.connected
        ((start, end),) = call.sounds
        assert end - start == pytest.approx(0.5, abs=0.03)
        assert [m.type for m in call.messages] == ["end_stream", "update_connection"]


@pytest.mark.pitfall(18)
def test_messages_sent_from_a_worker_thread_arrive_in_order() -> None:
    class Chatty(Quiet):
        def start_up(self) -> None:
            assert threading.current_thread() is not threading.main_thread()
            for number in range(100):
                self.send_message_sync(f'{{"type": "log", "data": {number}}}')

    with VirtualCall(Chatty()) as call:
        call.wait(0.1)
        assert [m.data for m in call.messages] == list(range(100))


def test_the_context_of_the_call_is_known_in_every_method() -> None:
    found: set[str] = set()

    class Curious(Quiet):
        def start_up(self) -> None:
            found.add("start_up " + get_current_context().webrtc_id)

        def receive(self, frame: Any) -> None:
            found.add("receive " + get_current_context().webrtc_id)

        def emit(self) -> Any:
            found.add("emit " + get_current_context().webrtc_id)

        def shutdown(self) -> None:
            found.add("shutdown " + get_current_context().webrtc_id)

    with VirtualCall(Curious()) as call:
        call.wait(0.1)
    assert found == {f"{m} virtual" for m in ("start_up", "receive", "emit", "shutdown")}


def test_there_is_no_context_outside_a_call() -> None:
    with pytest.raises(RuntimeError, match="no current call"):
        get_current_context()


def test_an_async_start_up_that_never_returns_ends_with_the_call() -> None:
    ended: list[str] = []

    class Bridge(AsyncQuiet):
        async def start_up(self) -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append("ended")

    with VirtualCall(Bridge()) as call:
        call.wait(1.0)
        assert not ended
    assert ended == ["ended"]


@pytest.mark.pitfall(35)
def test_no_thread_is_left_of_a_handler_that_blocks_in_emit() -> None:
    with VirtualCall(Echo()) as call:
        call.wait(0.2)
        workers = call.session.workers
        call.hang_up()
        assert workers.lenient == 0
    deadline = time.monotonic() + 5
    while not workers.settled and time.monotonic() < deadline:
        time.sleep(0.01)
    assert workers.settled


def test_a_shutdown_that_raises_is_logged_and_the_call_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Bad(Quiet):
        def shutdown(self) -> None:
            raise OSError("disk full")

    with VirtualCall(Bad()) as call:
        call.hang_up()
        assert not call.connected
    assert "disk full" in caplog.text


class Asking(AsyncQuiet):
    """Waits for the page's inputs, and says how loud to be."""

    async def start_up(self) -> None:
        await self.wait_for_args()
        self.events.append(str(self.latest_args))


def test_inputs_are_asked_for_and_stand_behind_the_value_of_the_call() -> None:
    with VirtualCall(Asking(), inputs=["loud", 3]) as call:
        call.wait(0.2)
        assert [m.type for m in call.messages] == ["send_input"]
        assert call.handler.events == ["['__webrtc_value__', 'loud', 3]"]


@pytest.mark.pitfall(19)
def test_a_client_that_never_answers_is_given_up_after_a_minute() -> None:
    with VirtualCall(Asking()) as call:
        call.wait(59.0)
        assert not call.errors
        call.wait(2.0)
        (error,) = call.errors
        assert "no inputs" in error


@pytest.mark.pitfall(19)
def test_a_thread_that_waits_for_inputs_is_free_when_the_call_ends() -> None:
    ended = threading.Event()

    class Waiting(Quiet):
        def start_up(self) -> None:
            try:
                with call.session.workers.may_block():
                    self.wait_for_args_sync()
            finally:
                ended.set()

    call = VirtualCall(Waiting())
    with call:
        call.wait(0.5)
        assert not ended.is_set()
    assert ended.wait(5)


def test_on_the_telephone_nobody_is_asked_for_inputs() -> None:
    with VirtualCall(Asking(), phone_mode=True) as call:
        call.wait(0.2)
        assert call.handler.phone_mode
        assert not call.messages
        assert call.handler.events == ["['__webrtc_value__']"]


@pytest.mark.parametrize("rate", [11_025, 24_001, 0, -8_000])
def test_a_rate_that_is_no_multiple_of_50_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match="multiple of 50"):
        Echo.__mro__[1].__init__(Echo(), output_sample_rate=rate)  # type: ignore[misc]


def test_the_frame_size_of_old_code_is_accepted_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="output_frame_size"):
        StreamHandler.__init__(Echo(), output_frame_size=480)


def test_a_function_that_speaks_is_heard_and_then_the_call_ends() -> None:
    def radio() -> Iterator[Any]:
        for _ in range(3):
            yield tone(0.5)

    with VirtualCall(Stream(radio, mode="receive")) as call:
        call.wait(3.0)
        ((start, end),) = call.sounds
        assert end - start == pytest.approx(1.5, abs=0.03)
        assert not call.connected


def test_an_async_function_that_speaks_gets_the_inputs_of_the_page() -> None:
    async def radio(seconds: float) -> AsyncIterator[Any]:
        yield tone(seconds)

    with VirtualCall(Stream(radio, mode="receive"), inputs=[0.7]) as call:
        call.wait(2.0)
        ((start, end),) = call.sounds
        assert end - start == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("kind", ["function", "async function", "generator"])
def test_a_function_that_listens_gets_every_frame_and_may_give_outputs(kind: str) -> None:
    heard: list[int] = []

    def note(frame: Any) -> Any:
        heard.append(frame[1].shape[1])
        return AdditionalOutputs(len(heard))

    async def anote(frame: Any) -> Any:
        return note(frame)

    def gnote(frame: Any) -> Any:
        yield note(frame)

    fn = {"function": note, "async function": anote, "generator": gnote}[kind]
    with VirtualCall(Stream(fn, mode="send")) as call:
        call.say(silence(1.0, rate=48_000))
        call.wait(0.1)
        assert 48_000 <= sum(heard) <= 53_000
        assert call.outputs[0].args == (1,)
        assert not call.sounds


def test_a_listener_may_end_the_call() -> None:
    def until_loud(frame: Any) -> Any:
        return CloseStream("Heard you") if np.abs(frame[1]).max() > 1_000 else None

    with VirtualCall(Stream(until_loud, mode="send")) as call:
        call.wait(1.0)
        assert call.connected
        call.say(tone(0.5, rate=48_000))
        call.wait(0.5)
        assert not call.connected


def test_a_caller_who_only_sends_is_sent_no_sound(phrase: Sound) -> None:
    with VirtualCall(Stream(Echo(), mode="send")) as call:
        call.say(phrase)
        call.wait(0.5)
        assert not call.sounds


def test_sound_that_comes_half_a_second_at_a_time_is_not_torn_apart() -> None:
    with VirtualCall(Quiet()) as call:
        rate, samples = tone(3.0, rate=48_000, amplitude=8_000)
        for start in range(0, samples.shape[1], rate // 2):
            chunk = samples[:, start : start + rate // 2]
            call.do(lambda chunk=chunk: call.session.hear(rate, chunk))  # type: ignore[misc]
            call.vanish(0.5)
        heard = np.concatenate([frame[1] for frame in call.handler.frames], axis=1)
    assert np.array_equal(heard[:, : samples.shape[1]], samples)
