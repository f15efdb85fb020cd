"""Callers on a loudspeaker: their microphone hears our own reply. Human speech, real Silero."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastrtc import ReplyOnPause
from fastrtc.audio.resample import StreamResampler
from fastrtc.handlers.conversation import Conversation
from fastrtc.testing import VirtualCall, load_speech
from tests.conftest import Sound, human_speech, tone

RATE = 16_000
FRAME = RATE // 50
ECHO_GAIN = 10 ** (-10 / 20)
LEVEL = 0.1 * 32_768
"""RMS of both voices: -20 dBFS."""


class Speakerphone(VirtualCall):
    """A caller whose microphone hears what their loudspeaker plays, and a little noise."""

    def __init__(self, handler: ReplyOnPause, delay: float) -> None:
        """``delay``: seconds from our sending a sound to our hearing it again."""
        super().__init__(handler, rate=RATE)
        self._delay = delay
        self._noise = np.random.default_rng(3)

    def __enter__(self) -> Speakerphone:
        super().__enter__()
        return self

    def talk(self, speech: NDArray[np.int16] | None = None, seconds: float = 0.0) -> None:
        """Say something, or be silent, into the microphone."""
        near = np.zeros(round(seconds * RATE)) if speech is None else speech[0].astype(np.float64)
        for start in range(0, len(near), FRAME):
            part = near[start : start + FRAME]
            sound = part + self._echo()[: len(part)] + self._noise.normal(0, 10, len(part))
            self.say((RATE, np.clip(sound, -32_768, 32_767).astype(np.int16)[None]))

    def _echo(self) -> NDArray[np.float64]:
        # This frame is heard when its last sample has been said.
        start = self.now - self._delay
        heard = self.heard_between(start, start + 0.02)[0] if start >= 0 else np.zeros(0)
        frame = np.zeros(FRAME)
        assert self.heard[0] == RATE
        frame[: len(heard)] = heard * ECHO_GAIN
        return frame

    def held(self) -> int:
        """How often a reply was held."""
        return [decision.kind for decision in self.decisions].count("may interrupt")


def loud(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """A voice as loud as voices are."""
    rms = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
    scaled: NDArray[np.int16] = np.clip(samples * (LEVEL / rms), -32_768, 32_767).astype(np.int16)
    return scaled


@pytest.fixture(scope="module")
def story() -> Sound:
    """Some 15 s of a human voice, which is our reply; 16 kHz."""
    rate, samples = load_speech(human_speech("two_cities.wav"))
    resampler = StreamResampler(rate, RATE)
    sound = resampler.process(samples[:, round(1.2 * rate) : round(17.0 * rate)])
    return RATE, loud(np.concatenate([sound, resampler.flush()], axis=1))


@pytest.fixture(scope="module")
def remark(beckett: Sound) -> Sound:
    """2.3 s of another human voice."""
    return RATE, loud(beckett[1][:, round(1.89 * RATE) : round(4.19 * RATE)])


def handler(story: Sound, **options: Any) -> ReplyOnPause:
    def reply(audio: Sound) -> Iterator[Any]:
        yield story

    return ReplyOnPause(reply, output_sample_rate=RATE, **options)


ways = pytest.mark.parametrize(
    ("delay", "cancelled"), [(0.06, False), (0.3, False), (0.06, True), (0.15, True), (0.3, True)]
)


def hears_itself(story: Sound, phrase: Sound, delay: float, **options: Any) -> Speakerphone:
    with Speakerphone(handler(story, **options), delay) as call:
        call.talk(seconds=0.5)
        call.talk(loud(phrase[1]))
        call.talk(seconds=19.0)
    return call


@ways
def test_our_own_reply_from_the_loudspeaker_does_not_interrupt_it(
    phrase: Sound, story: Sound, delay: float, cancelled: bool
) -> None:
    call = hears_itself(story, phrase, delay, echo_cancellation=cancelled)
    assert "interrupted" not in call.log
    assert call.log.count("started_talking") == 1
    (turn,) = call.turns
    assert turn.heard.seconds == pytest.approx(story[1].shape[1] / RATE, abs=0.05)
    assert call.held() <= 1


@pytest.mark.parametrize("delay", [0.1, 0.15, 0.18])
def test_a_reply_is_heard_in_one_piece_whatever_the_delay_of_its_echo(
    phrase: Sound, story: Sound, delay: float
) -> None:
    call = hears_itself(story, phrase, delay)
    # A delay that lies between two of those that are tried takes longer to be known.
    assert call.held() <= 4
    assert call.turns[0].heard.seconds == pytest.approx(story[1].shape[1] / RATE, abs=0.05)


@ways
@pytest.mark.parametrize("after", [3.0, 6.0])
def test_a_caller_on_a_loudspeaker_can_interrupt(
    phrase: Sound, remark: Sound, story: Sound, delay: float, cancelled: bool, after: float
) -> None:
    with Speakerphone(handler(story, echo_cancellation=cancelled), delay) as call:
        call.talk(seconds=0.5)
        call.talk(loud(phrase[1]))
        call.talk(seconds=after)
        assert "interrupted" not in call.log
        onset = call.now
        call.talk(remark[1])
        interrupted = [message.at for message in call.messages if message.data == "interrupted"]
    assert interrupted
    assert interrupted[0] - onset < 2.0


@ways
def test_what_a_caller_on_a_loudspeaker_says_in_silence_is_a_turn(
    phrase: Sound, story: Sound, delay: float, cancelled: bool
) -> None:
    rate, samples = story
    short = (rate, samples[:, : 3 * rate])
    with Speakerphone(handler(short, echo_cancellation=cancelled), delay) as call:
        for _ in range(3):
            call.talk(seconds=0.5)
            call.talk(loud(phrase[1]))
            call.talk(seconds=4.5)
        assert len(call.turns) == 3
        assert not any(turn.interrupted for turn in call.turns)


@pytest.mark.parametrize("after", [0.0, 0.1, 0.2, 0.3, 0.5])
def test_a_caller_who_talks_on_as_the_reply_begins_is_not_taken_for_an_echo(
    phrase: Sound, remark: Sound, story: Sound, after: float
) -> None:
    with VirtualCall(handler(story), rate=RATE) as call:
        call.say(phrase)
        while not call.sounds:
            call.wait(0.02)
        call.wait(after)
        onset = call.now
        call.say(remark)
        interrupted = next(m.at for m in call.messages if m.data == "interrupted")
    assert interrupted - onset < 1.2


def test_a_quiet_caller_with_a_headset_is_not_taken_for_an_echo(
    phrase: Sound, remark: Sound, story: Sound
) -> None:
    rate, samples = remark
    with VirtualCall(handler(story), rate=RATE) as call:
        call.say(phrase)
        call.wait(5.0)
        call.say((rate, (samples * 0.05).astype(np.int16)))
        assert "interrupted" in call.log


def test_echo_cancellation_takes_our_own_sound_out_of_what_the_function_gets(
    phrase: Sound, story: Sound
) -> None:
    protected = handler(story, echo_cancellation=True, can_interrupt=False)
    with Speakerphone(protected, 0.15) as call:
        call.talk(loud(phrase[1]))
        call.talk(seconds=8.0)
        assert isinstance(call.session.driver, Conversation)
        capture = call.session.driver._capture
        left = capture.cut(capture.end - 48_000, capture.end).astype(np.float64)
        echo = call.heard_between(call.now - 1.2, call.now - 0.2).astype(np.float64) * ECHO_GAIN
    assert np.sqrt(np.mean(left**2)) < 0.1 * np.sqrt(np.mean(echo**2))


def test_what_was_said_with_echo_cancellation_is_as_long_as_it_was(phrase: Sound) -> None:
    said: list[Sound] = []

    def reply(audio: Sound) -> Iterator[Any]:
        said.append(audio)
        yield tone(0.2)

    for cancels in (False, True):
        with VirtualCall(ReplyOnPause(reply, echo_cancellation=cancels), rate=RATE) as call:
            call.wait(1.0)
            call.say(phrase)
            call.wait(1.0)
    plain, clean = (audio[1].shape[1] / audio[0] for audio in said)
    assert clean == pytest.approx(plain, abs=0.05)


def test_echo_cancellation_for_stereo_callers_is_refused() -> None:
    with pytest.raises(ValueError, match="stereo"):
        ReplyOnPause(lambda audio: iter([]), echo_cancellation=True, expected_layout="stereo")
