"""Telephone calls through the carrier: what is said, what is known, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from fastapi import Request

from fastrtc import (
    AdditionalOutputs,
    CloseStream,
    ReplyOnPause,
    StreamHandler,
    TelephoneOptions,
    get_current_context,
)
from fastrtc.context import PhoneCall as Facts
from tests.carrier import PhoneCall
from tests.conftest import Sound, tone
from tests.peers import eventually
from tests.samples import Recorder, spoken
from tests.transports.house import House, Parrot, Place, Teller, hertz, loud_seconds
from tests.transports.sockets.caller import PCM, calling

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT = tone(0.3, rate=8_000)


@contextlib.asynccontextmanager
async def phoned(place: Place, **options: Any) -> AsyncIterator[PhoneCall]:
    """A call that is connected; nothing but Twilio's own messages may come over its socket."""
    async with place.carrier(**options) as carrier:
        call = await carrier.dial()
        assert not call.ended.is_set()
        yield call
        await call.hang_up()
    assert call.violations == []
    assert call.errors == []


def replying(function: Any, **options: Any) -> ReplyOnPause:
    return ReplyOnPause(function, endpointing="vad", output_sample_rate=8_000, **options)


# What the document says


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (None, ["One moment, please.", "Goodbye."]),
        (TelephoneOptions(greeting="Hi <you> & all", goodbye="Bye"), ["Hi <you> & all", "Bye"]),
        (TelephoneOptions(greeting=None), ["Goodbye."]),
        (TelephoneOptions(greeting="", goodbye=None), []),
    ],
)
async def test_a_call_is_greeted_and_dismissed_as_the_stream_says(
    house: House, options: TelephoneOptions | None, said: list[str]
) -> None:
    place = house.open(Teller(CloseStream()), telephone=options)
    async with place.carrier() as carrier:
        call = await carrier.dial()
        await call.wait_ended()
    assert call.said == said
    assert call.status == "completed"


async def test_voice_language_and_recording_are_passed_on(house: House) -> None:
    options = TelephoneOptions(
        voice="alice", language="en-GB", record={"channels": "dual", "trim": "do-not-trim"}
    )
    async with phoned(house.open(Teller(), telephone=options)) as call:
        assert call.executed[0].attributes == {"voice": "alice", "language": "en-GB"}
        assert call.recordings == [{"channels": "dual", "trim": "do-not-trim"}]


async def test_a_call_is_recorded_only_if_the_stream_says_so(house: House) -> None:
    recorded = house.open(Teller(), telephone=TelephoneOptions(record=True))
    async with phoned(recorded) as call, phoned(house.open(Teller())) as other:
        assert call.recordings == [{}]
        assert other.recordings == []


async def test_the_status_of_the_stream_goes_to_the_callback(house: House) -> None:
    events: list[str] = []

    @house.app.post("/status")
    async def status(request: Request) -> None:
        events.append(str((await request.body()).decode()))

    options = TelephoneOptions(status_callback=f"{house.url}/status")
    async with phoned(house.open(Teller(), telephone=options)):
        pass
    assert ["stream-started" in event for event in events] == [True, False]
    assert "stream-stopped" in events[1]


# What is known of a call


@pytest.mark.pitfall(33)
async def test_the_facts_of_a_call_are_in_its_context(house: House) -> None:
    found: list[Facts | None] = []

    class Asker(Teller):
        async def start_up(self) -> None:
            found.append(get_current_context().phone)

        def copy(self) -> Asker:
            return Asker()

    place = house.open(Asker(), telephone=TelephoneOptions(parameters={"shop": 'l"im&e'}))
    async with phoned(place) as call:
        await eventually(lambda: bool(found))
        assert list(place.stream.connections) == [call.stream_sid]
    assert found == [
        Facts(
            provider="twilio",
            call_id=call.sid,
            stream_id=call.stream_sid,
            caller="+15550001111",
            called="+15552223333",
            parameters={"shop": 'l"im&e'},
        )
    ]


async def test_other_callers_have_no_facts_of_a_telephone(house: House) -> None:
    place = house.open(Teller())
    async with calling(place, "ann", format=PCM) as caller:
        await caller.until("started")
        session = place.stream.connections["ann"]
        assert session.context.phone is None
        assert not session.handler.phone_mode


async def test_outputs_come_in_again_as_the_inputs_of_the_next_call(house: House) -> None:
    got: list[Any] = []

    def reply(audio: Any, history: str = "", count: int = 0) -> Iterator[Any]:
        got.append((history, count))
        yield SHORT
        yield AdditionalOutputs(history + "a", count + 1)

    place = house.open(replying(reply))
    async with phoned(place) as call:
        handler = await place.handler()
        outputs = place.stream.output_stream(call.stream_sid)
        for turn in range(3):
            handler.trigger_response()
            assert (await anext(outputs)).args == ("a" * (turn + 1), turn + 1)
    assert got == [("", 0), ("a", 1), ("aa", 2)]


async def test_a_function_that_lacks_a_default_is_refused_with_what_to_do(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    def reply(audio: Any, history: list[Any]) -> Iterator[Any]:
        yield SHORT

    place = house.open(replying(reply))
    async with place.carrier() as carrier:
        call = await carrier.dial()
    answer = await house.http.post(f"{place.url}/telephone/incoming")
    assert call.webhook_status == answer.status_code == 500
    for text in (answer.text, caplog.text):
        assert "reply()" in text
        assert "default" in text
    # Over other transports the page fills it in.
    async with calling(place, format=PCM) as caller:
        await caller.until("started")


async def test_inputs_are_not_waited_for_on_a_telephone(house: House) -> None:
    class Asker(Teller):
        async def start_up(self) -> None:
            assert self.phone_mode
            await self.wait_for_args()
            self.log.append(self.latest_args)

        def copy(self) -> Asker:
            return Asker(log=self.log)

    handler = Asker()
    async with phoned(house.open(handler)):
        await eventually(lambda: bool(handler.log))
    assert handler.log[0] == ["__webrtc_value__"]


async def test_inputs_are_not_waited_for_on_a_worker_thread_either(house: House) -> None:
    went_on: list[bool] = []

    class Asker(StreamHandler):
        def receive(self, frame: Any) -> None: ...

        def emit(self) -> None: ...

        def start_up(self) -> None:
            self.wait_for_args_sync()
            went_on.append(True)

        def copy(self) -> Asker:
            return Asker()

    async with phoned(house.open(Asker())):
        await eventually(lambda: bool(went_on))


# Digits


@pytest.mark.pitfall(33)
async def test_digits_reach_the_stream_and_the_handler_in_order(house: House) -> None:
    pressed: list[tuple[str, str]] = []

    def on_dtmf(digit: str) -> None:
        context = get_current_context()
        assert context.phone is not None
        pressed.append((digit, context.phone.call_id))

    handler = Teller()
    async with phoned(house.open(handler, on_dtmf=on_dtmf)) as call:
        await call.press("1234567890*#ABCD")
        await eventually(lambda: len(handler.log) == 17 and len(pressed) == 16)
    assert [digit for digit, _ in pressed] == handler.log[1:17] == [*"1234567890*#ABCD"]
    assert {call_id for _, call_id in pressed} == {call.sid}


async def test_digits_wait_for_a_slow_hook(house: House) -> None:
    log: list[str] = []

    async def on_dtmf(digit: str) -> None:
        log.append(f"{digit} begins")
        await asyncio.sleep(0.02)
        log.append(f"{digit} ends")

    async with phoned(house.open(Teller(), on_dtmf=on_dtmf)) as call:
        await call.press("12")
        await eventually(lambda: len(log) == 4)
    assert log == ["1 begins", "1 ends", "2 begins", "2 ends"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_an_error_over_a_digit_costs_neither_the_call_nor_the_next_digit(
    house: House, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Picky(StreamHandler):
        def receive(self, frame: Any) -> None: ...

        def emit(self) -> None: ...

        def on_dtmf(self, digit: str) -> None:
            raise ArithmeticError(f"the handler wants no {digit}")

        def copy(self) -> Picky:
            return Picky()

    pressed: list[str] = []

    def on_dtmf(digit: str) -> None:
        pressed.append(digit)
        raise LookupError(f"the stream wants no {digit}")

    async def on_dtmf_async(digit: str) -> None:
        on_dtmf(digit)

    hook: Any = on_dtmf if kind == "sync" else on_dtmf_async
    place = house.open(Picky(), on_dtmf=hook)
    async with phoned(place) as call:
        await call.press("12")
        await eventually(lambda: "the handler wants no 2" in caplog.text)
        await eventually(lambda: "the stream wants no 2" in caplog.text)
        assert place.stream.connections
    assert pressed == ["1", "2"]


# What is heard


async def test_a_caller_hears_and_is_heard(house: House, phrase: Sound) -> None:
    reply = Recorder(seconds=0.5)
    async with phoned(house.open(replying(reply))) as call:
        await call.say(phrase)
        said = call.seconds
        await eventually(lambda: loud_seconds(call.heard[1], 8_000) >= 0.45)
    rate, heard = call.heard
    assert spoken(reply.said[0]) == pytest.approx(1.2, abs=0.3)
    assert hertz(heard, rate) == pytest.approx(440, abs=5)
    first = np.flatnonzero(np.abs(heard) > 500)[0] / rate
    # 0.3 s of silence end the turn.
    assert 0.0 < first - said < 0.4


async def test_sound_comes_without_a_gap_and_little_of_it_ahead(house: House) -> None:
    async with phoned(house.open(Teller(tone(1.0, rate=8_000))), delay=0.05) as call:
        await eventually(lambda: loud_seconds(call.heard[1], 8_000) > 0.98)
    assert 0.98 < loud_seconds(call.heard[1], 8_000) < 1.06
    assert call.most_held < 0.3


async def test_errors_outputs_and_news_stay_off_the_socket(house: House) -> None:
    def reply(audio: Any) -> Iterator[Any]:
        yield AdditionalOutputs("news")
        yield SHORT
        raise ArithmeticError("no such number")

    place = house.open(replying(reply))
    async with phoned(place) as call:
        (await place.handler()).trigger_response()
        await eventually(lambda: loud_seconds(call.heard[1], 8_000) > 0.28)
        await (await place.handler()).send_message('{"type": "mine"}')
        await call.press("1")
        # `phoned` looks at what came over the socket.
        await eventually(lambda: call.held == 0)


# How calls end


async def test_what_was_said_before_the_call_is_closed_is_heard_and_then_the_goodbye(
    house: House,
) -> None:
    place = house.open(Teller(tone(0.6, rate=8_000), CloseStream("done"), SHORT))
    async with place.carrier(delay=0.1) as carrier:
        call = await carrier.dial()
        await call.wait_ended()
    # All of it; a busy machine may delay a part.
    assert 0.59 < loud_seconds(call.heard[1], 8_000) < 0.8
    assert call.held == 0
    assert call.close_code == 1000
    assert call.said[-1] == "Goodbye."
    assert call.violations == []


@pytest.mark.pitfall(20, 35)
async def test_a_hang_up_in_the_middle_of_a_word_gives_everything_back(
    house: House, phrase: Sound, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Teller(tone(3.0, rate=8_000))
    place = house.open(handler, concurrency_limit=1)
    before = len(asyncio.all_tasks())
    async with place.carrier() as carrier:
        call = await carrier.dial(speech=phrase)
        await eventually(lambda: call.seconds > 0.3)
        await call.hang_up()
        await eventually(lambda: not place.stream.connections)
    await eventually(lambda: len(asyncio.all_tasks()) <= before)
    assert handler.log == ["start_up", "shutdown"]
    assert "Traceback" not in caplog.text
    async with phoned(place):
        assert len(place.stream.connections) == 1


@pytest.mark.pitfall(30)
async def test_a_call_ends_at_its_time_limit(house: House) -> None:
    place = house.open(Parrot(), time_limit=0.3)
    async with place.carrier() as carrier:
        call = await carrier.dial()
        began = time.monotonic()
        await call.wait_ended()
    assert 0.2 < time.monotonic() - began < 1.5
    assert call.said[-1] == "Goodbye."
    assert not place.stream.connections


@pytest.mark.pitfall(30)
async def test_telephone_calls_count_against_the_limit_of_all_transports(house: House) -> None:
    place = house.open(Teller(), concurrency_limit=1)
    async with phoned(place):
        async with place.carrier() as carrier:
            second = await carrier.dial()
        assert second.status == "busy"
        assert second.said == []
        async with calling(place) as caller:
            assert await caller.until_closed() == 1008
    await eventually(lambda: not place.stream.connections)
    async with calling(place, format=PCM) as caller:
        await caller.until("started")
        async with place.carrier() as carrier:
            assert (await carrier.dial()).status == "busy"


@pytest.mark.pitfall(30)
async def test_calls_that_ring_at_once_are_counted_when_they_connect(house: House) -> None:
    place = house.open(Teller(), concurrency_limit=1)
    async with place.carrier(delay=0.1) as carrier:
        calls = await asyncio.gather(*(carrier.dial() for _ in range(3)))
        await eventually(lambda: sum(call.ended.is_set() for call in calls) == 2)
        assert len(place.stream.connections) == 1
