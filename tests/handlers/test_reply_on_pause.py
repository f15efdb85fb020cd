"""`ReplyOnPause` as its caller hears it: human speech, real Silero, virtual time."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastrtc import (
    AdditionalOutputs,
    AlgoOptions,
    CloseStream,
    ReplyOnPause,
    SileroVadOptions,
    WebRTCError,
    get_current_context,
)
from fastrtc import Warning as ClientWarning
from fastrtc.testing import VirtualCall
from tests.conftest import Sound, level, silence, tone
from tests.samples import Recorder, spoken

Audio = tuple[int, NDArray[np.int16]]


def test_the_function_gets_what_was_said_and_the_caller_hears_the_reply(phrase: Sound) -> None:
    reply = Recorder()
    with VirtualCall(ReplyOnPause(reply)) as call:
        call.wait(1.0)
        call.say(phrase)
        call.wait(2.0)
        (start, end), *rest = call.sounds
    (audio,) = reply.said
    assert audio[0] == 48_000
    assert audio[1].dtype == np.int16
    assert audio[1].shape[0] == 1
    assert not rest
    assert 0.48 <= end - start <= 0.54


def test_the_reply_sounds_within_half_a_second_of_the_last_word(phrase: Sound) -> None:
    with VirtualCall(ReplyOnPause(Recorder())) as call:
        call.wait(1.0)
        call.say(phrase)
        ended = call.now
        call.wait(2.0)
        start, _ = call.sounds[0]
    assert start - ended < 0.5


@pytest.mark.pitfall(4)
@pytest.mark.parametrize("lead", [0.5, 0.73, 1.01])
def test_the_first_sound_of_the_caller_is_in_what_the_function_gets(
    phrase: Sound, lead: float
) -> None:
    reply = Recorder()
    with VirtualCall(ReplyOnPause(reply), rate=16_000) as call:
        call.wait(lead)
        call.say(phrase)
        call.wait(1.0)
    rate, samples = reply.said[0]
    said = np.repeat(phrase[1][0], 3)[: rate // 2].astype(np.float64)
    # Where in the utterance does the first half second of what was said stand?
    match = np.correlate(samples[0].astype(np.float64), said, mode="valid")
    start = int(match.argmax()) / rate
    assert 0.0 < start < 0.5
    assert np.corrcoef(samples[0][int(match.argmax()) :][: len(said)], said)[0, 1] > 0.9


def test_silence_is_never_answered() -> None:
    reply = Recorder()
    with VirtualCall(ReplyOnPause(reply)) as call:
        call.wait(120.0)
    assert not reply.said
    assert not call.log


def test_a_two_minute_call_takes_seconds(phrase: Sound) -> None:
    reply = Recorder()
    with VirtualCall(ReplyOnPause(reply)) as call:
        for _ in range(20):
            call.say(phrase)
            call.wait(5.0)
    assert len(reply.said) >= 20
    assert call.now > 120


def test_an_async_function_takes_exactly_the_time_that_it_awaits(phrase: Sound) -> None:
    async def reply(audio: Audio) -> AsyncIterator[Any]:
        await asyncio.sleep(1.0)
        yield tone(0.5)

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(3.0)
        (turn,) = call.turns
    assert turn.decided is not None
    assert turn.first_sound is not None
    assert 1.0 <= turn.first_sound - turn.decided <= 1.05


@pytest.mark.pitfall(16)
def test_a_function_that_raises_is_reported_and_the_next_turn_is_answered(
    phrase: Sound, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def reply(audio: Audio) -> Iterator[Any]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise KeyError("weather")
        yield tone(0.5)

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(1.0)
        assert call.errors == ["KeyError: 'weather'"]
        call.say(phrase)
        call.wait(1.0)
        assert len(call.sounds) == 1
    assert "Traceback" in caplog.text


@pytest.mark.pitfall(16)
@pytest.mark.parametrize(
    ("nonsense", "named"),
    [
        ("hello", "got str"),
        (np.zeros(10, np.int16), "without its rate"),
        ((24_000, [1, 2, 3]), "got list"),
        ((24_000, np.zeros((3, 10))), "got (3, 10)"),
        (("24000", np.zeros(10)), "sample rate"),
        ((24_000, np.array(["a"])), "dtype"),
        ((0, np.zeros(10)), "got 0"),
    ],
)
def test_a_function_that_yields_nonsense_is_told_what_was_expected_and_what_came(
    phrase: Sound, nonsense: Any, named: str
) -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        yield nonsense

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(1.0)
        (error,) = call.errors
        assert "expected" in error
        assert named in error
        assert call.connected


def test_an_error_of_ours_reaches_the_client_word_for_word(phrase: Sound) -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        yield tone(0.1)
        raise WebRTCError("The oven is on fire.")

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(1.0)
    assert call.errors == ["The oven is on fire."]


def test_a_warning_reaches_the_client_and_the_reply_goes_on(phrase: Sound) -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        ClientWarning("The model is slow today.")
        yield tone(0.5)

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(1.0)
        warnings = [m.data for m in call.messages if m.type == "warning"]
        assert warnings == ["The model is slow today."]
        assert call.sounds


@pytest.mark.pitfall(11)
def test_an_async_function_may_have_a_sync_greeting(phrase: Sound) -> None:
    async def reply(audio: Audio) -> AsyncIterator[Any]:
        yield tone(0.5)

    def greet() -> Iterator[Any]:
        yield tone(0.3)

    with VirtualCall(ReplyOnPause(reply, startup_fn=greet)) as call:
        call.wait(1.0)
        assert len(call.sounds) == 1
        call.say(phrase)
        call.wait(1.0)
        assert len(call.sounds) == 2


def test_a_sync_function_may_have_an_async_greeting() -> None:
    async def greet() -> AsyncIterator[Any]:
        yield tone(0.3)

    with VirtualCall(ReplyOnPause(Recorder(), startup_fn=greet)) as call:
        call.wait(1.0)
        assert len(call.sounds) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda fn: functools.partial(fn),
        lambda fn: lambda audio: fn(audio),
        lambda fn: Recorder(),
        lambda fn: Bound(fn).reply,
        lambda fn: lambda audio: iter([tone(0.5)]),
    ],
    ids=["partial", "lambda", "object", "bound", "iterator"],
)
def test_anything_that_returns_an_iterator_is_a_reply(
    phrase: Sound, make: Callable[[Any], Any]
) -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        yield tone(0.5)

    with VirtualCall(ReplyOnPause(make(reply))) as call:
        call.say(phrase)
        call.wait(1.5)
        assert len(call.sounds) == 1
        assert not call.errors


class Bound:
    def __init__(self, fn: Any) -> None:
        self.fn = fn

    def reply(self, audio: Audio) -> Iterator[Any]:
        yield from self.fn(audio)


def test_replies_of_any_rate_type_and_layout_are_heard_as_they_are(phrase: Sound) -> None:
    rate, samples = tone(0.5, rate=22_050)
    stereo = np.repeat(samples, 2, axis=0)
    forms: list[Any] = [
        (rate, samples),
        (rate, samples[0]),
        (rate, samples / np.float32(32_768)),
        (rate, stereo),
        (rate, stereo.T.reshape(1, -1), "stereo"),
        (rate, samples, "mono"),
    ]
    given = iter(forms)

    def reply(audio: Audio) -> Iterator[Any]:
        yield next(given)

    with VirtualCall(ReplyOnPause(reply)) as call:
        for _ in forms:
            call.say(phrase)
            call.wait(2.0)
        assert not call.errors
        for start, end in call.sounds:
            assert 0.48 <= end - start <= 0.54
            heard = call.heard_between(start + 0.1, end - 0.1)
            assert level(heard) == pytest.approx(level(samples), abs=1.0)
        assert len(call.sounds) == len(forms)


def test_a_chunk_yielded_with_outputs_is_heard_and_its_outputs_arrive(phrase: Sound) -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        yield tone(0.3), AdditionalOutputs("a", 1)
        yield AdditionalOutputs("b")

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(1.0)
        assert [outputs.args for outputs in call.outputs] == [("a", 1), ("b",)]
        assert [m.type for m in call.messages].count("fetch_output") == 2
        assert len(call.sounds) == 1


def test_a_stream_that_is_closed_lets_its_last_sound_finish(phrase: Sound) -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        yield tone(1.0)
        yield CloseStream("Good bye")

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(0.9)
        assert call.connected
        call.wait(1.0)
        assert not call.connected
        start, end = call.sounds[0]
        assert end - start > 0.97
        assert ("end_stream", "Good bye") in [(m.type, m.data) for m in call.messages]


def test_each_reply_says_once_that_it_starts(phrase: Sound) -> None:
    def reply(audio: Audio) -> Iterator[Any]:
        for _ in range(10):
            yield tone(0.1)

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(2.0)
    assert call.log == [
        "started_talking",
        "pause_detected",
        "response_starting",
        "response_finished",
    ]


def test_the_function_runs_in_the_context_of_its_call(phrase: Sound) -> None:
    found: list[str] = []

    def reply(audio: Audio) -> Iterator[Any]:
        found.append(get_current_context().webrtc_id)
        yield tone(0.1)
        found.append(get_current_context().webrtc_id)

    async def areply(audio: Audio) -> AsyncIterator[Any]:
        found.append(get_current_context().webrtc_id)
        yield tone(0.1)

    for fn in (reply, areply):
        with VirtualCall(ReplyOnPause(fn)) as call:
            call.say(phrase)
            call.wait(1.0)
    assert found == ["virtual"] * 3


@pytest.mark.pitfall(10)
def test_a_copy_of_a_subclass_is_of_the_subclass_with_a_state_of_its_own() -> None:
    class Mine(ReplyOnPause):
        def __init__(self, name: str) -> None:
            super().__init__(Recorder(), input_sample_rate=16_000)
            self.name = name

    original = Mine("x")
    copies = [original.copy(), original.copy()]
    assert all(type(copy) is Mine and copy.name == "x" for copy in copies)
    assert all(copy.input_sample_rate == 16_000 for copy in copies)
    assert copies[0].state is not copies[1].state
    assert copies[0].latest_args is not copies[1].latest_args
    assert copies[0].args_set is not copies[1].args_set


def test_a_turn_can_be_forced_from_any_thread(phrase: Sound) -> None:
    reply = Recorder()
    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        thread = threading.Thread(target=call.handler.trigger_response)
        thread.start()
        thread.join()
        call.wait(0.1)
        assert len(reply.said) == 1
        assert spoken(reply.said[0]) > 1.0


def test_a_subclass_may_end_turns_its_own_way(phrase: Sound) -> None:
    reply = Recorder()

    class Over(ReplyOnPause):
        """Ends a turn after 3 s of sound, whatever was said."""

        heard = 0.0

        def determine_pause(self, audio: NDArray[np.int16], sampling_rate: int, state: Any) -> bool:
            assert audio.ndim == 1
            before = [] if state.stream is None else [state.stream]
            state.stream = np.concatenate([*before, audio])
            return len(state.stream) / sampling_rate >= 3.0

    with VirtualCall(Over(reply)) as call:
        call.say(phrase)
        call.wait(1.0)
        assert not reply.said
        call.say(phrase)
        call.wait(1.0)
    assert [round(spoken(audio), 1) for audio in reply.said] == [3.0]


@pytest.mark.pitfall(8)
def test_a_voice_detector_that_raises_is_reported_once_and_the_call_goes_on(
    phrase: Sound,
) -> None:
    class Broken:
        def vad(self, audio: Any, options: Any) -> Any:
            raise RuntimeError("no weights")

        def warmup(self) -> None: ...

    reply = Recorder()
    with VirtualCall(ReplyOnPause(reply, model=Broken())) as call:
        call.say(phrase)
        call.wait(10.0)
        assert call.errors == ["RuntimeError: no weights"]
        assert not reply.said
        assert call.connected


def test_a_voice_detector_of_the_users_own_takes_turns(phrase: Sound) -> None:
    class Loud:
        """Speech is what is loud."""

        def vad(self, audio: Any, options: Any) -> Any:
            _, samples = audio
            frames = samples[: len(samples) // 160 * 160].reshape(-1, 160).astype(np.float64)
            return 0.01 * int((np.abs(frames).mean(axis=1) > 200).sum()), []

        def warmup(self) -> None: ...

    reply = Recorder()
    with VirtualCall(ReplyOnPause(reply, model=Loud())) as call:
        call.say(phrase)
        call.wait(2.0)
    assert len(reply.said) == 1


def test_the_guides_options_take_turns(phrase: Sound) -> None:
    reply = Recorder()
    handler = ReplyOnPause(
        reply,
        algo_options=AlgoOptions(0.6, 0.2, 0.1),
        model_options=SileroVadOptions(
            threshold=0.5, min_speech_duration_ms=250, min_silence_duration_ms=100
        ),
    )
    with VirtualCall(handler) as call:
        call.say(phrase)
        call.wait(2.0)
        call.say(phrase)
        call.wait(2.0)
    assert len(reply.said) == 2


def test_a_caller_whose_network_stops_still_comes_to_the_end_of_the_turn(phrase: Sound) -> None:
    reply = Recorder()
    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.vanish(2.0)
    assert len(reply.said) == 1


@pytest.mark.pitfall(17)
def test_a_function_that_takes_longer_than_a_minute_is_waited_for(phrase: Sound) -> None:
    async def reply(audio: Audio) -> AsyncIterator[Any]:
        yield tone(0.2)
        await asyncio.sleep(90)
        yield tone(0.3)

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(95.0)
        assert not call.errors
        assert len(call.sounds) == 2


@pytest.mark.pitfall(9)
def test_ten_minutes_of_speech_cost_no_more_per_second_than_one(beckett: Sound) -> None:
    with VirtualCall(ReplyOnPause(Recorder(), can_interrupt=False)) as call:
        capture = call.session.driver._capture  # type: ignore[attr-defined]
        call.say(beckett)
        before = capture.end
        assert before > 9 * 48_000
        call.do(lambda: [capture.append(np.zeros((1, 960), np.int16)) for _ in range(50 * 600)])
        # Appending joins nothing: every chunk still stands as it came, and the oldest are gone.
        kept = capture.end - capture.start
    assert kept <= 302 * 48_000 + 960


def test_long_replies_are_made_only_so_far_ahead_of_the_ear(phrase: Sound) -> None:
    made = 0

    def reply(audio: Audio) -> Iterator[Any]:
        nonlocal made
        while True:
            made += 1
            yield tone(1.0)

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(5.0)
    assert 5 <= made <= 18


def test_stereo_callers_are_heard_in_stereo(phrase: Sound) -> None:
    reply = Recorder()
    with VirtualCall(ReplyOnPause(reply, expected_layout="stereo")) as call:
        rate, samples = phrase
        call.say((rate, np.concatenate([samples, samples // 2])))
        call.say(silence(1.0))
    assert reply.said[0][1].shape[0] == 2
