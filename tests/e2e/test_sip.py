"""SIP calls by real programs, with human speech, over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastrtc import AsyncStreamHandler, CloseStream, ReplyOnPause, Stream
from fastrtc.audio.g711 import ALAW, MULAW
from fastrtc.audio.resample import StreamResampler
from tests.conftest import Sound, level, tone
from tests.e2e.softphones import RATE, baresip, sipp
from tests.peers import eventually
from tests.transports.sip.caller import LOOPBACK, caller, speaking

pytestmark = pytest.mark.e2e

Samples = NDArray[np.int16]


class Echo(AsyncStreamHandler):
    """Says what it hears, and keeps it."""

    heard: list[list[Samples]]

    def __init__(self, heard: list[list[Samples]]) -> None:
        super().__init__(input_sample_rate=RATE, output_sample_rate=RATE)
        self.heard = heard
        self._mine: list[Samples] = []
        self._frames: asyncio.Queue[Any] = asyncio.Queue()

    async def start_up(self) -> None:
        self.heard.append(self._mine)

    async def receive(self, frame: Any) -> None:
        self._mine.append(frame[1][0])
        self._frames.put_nowait(frame)

    async def emit(self) -> Any:
        return await self._frames.get()

    def copy(self) -> Echo:
        return Echo(self.heard)


@pytest.fixture(scope="session")
def speech(beckett: Sound) -> Samples:
    """3 s of human speech; 8 kHz."""
    return narrow(beckett)[: 3 * RATE]


@pytest.fixture(scope="session")
def question(phrase: Sound) -> Samples:
    """A phrase with silence around it; 8 kHz, 6 s in all, which nobody hears to the end."""
    said = narrow(phrase)
    return np.pad(said, (RATE // 2, 6 * RATE - len(said) - RATE // 2))


def narrow(sound: Sound) -> Samples:
    resampler = StreamResampler(sound[0], RATE)
    samples: Samples = resampler.process(sound[1])[0]
    return samples


def likeness(said: Samples, heard: Samples) -> tuple[float, float]:
    """How much the best stretch of what was heard is like what was said (1 is the same), and where
    it begins, in seconds.
    """
    size = len(said) + len(heard)
    spectrum = np.fft.rfft(heard.astype(float), size) * np.conj(np.fft.rfft(said, size))
    at = int(np.argmax(np.fft.irfft(spectrum, size)[: max(1, len(heard) - len(said) + 1)]))
    return float(np.corrcoef(said, heard[at : at + len(said)])[0, 1]), at / RATE


def is_tone(heard: Samples, hertz: float = 440.0) -> bool:
    """Whether the loudest half second is a sine of this pitch."""
    size = RATE // 2
    parts = [heard[s : s + size] for s in range(0, len(heard) - size, size // 4)]
    loudest = max(parts, key=level)
    spectrum = np.abs(np.fft.rfft(loudest * np.hanning(size)))
    return level(loudest) > -20 and bool(abs(int(spectrum.argmax()) * 2 - hertz) <= 2)


async def goodbye(audio: Any) -> AsyncIterator[Any]:
    yield tone(0.8)
    yield CloseStream("Goodbye")


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
async def test_a_softphone_hears_its_own_voice_from_an_echo_and_hangs_up(
    tmp_path: Path, speech: Samples, codec: str
) -> None:
    voice = Stream(Echo([]))
    said = np.pad(speech, (0, RATE))
    async with (
        await voice.answer_sip(LOOPBACK, 0) as line,
        baresip(tmp_path, line.port, said, codec) as phone,
    ):
        await phone.until("Call established")
        assert len(voice.connections) == 1
        await phone.until("terminated")
        await eventually(lambda: not voice.connections)
    alike, at = likeness(speech, phone.heard())
    assert alike > 0.95
    assert at < 0.3


async def test_a_softphone_is_answered_and_hung_up_on(tmp_path: Path, question: Samples) -> None:
    voice = Stream(ReplyOnPause(goodbye))
    async with (
        await voice.answer_sip(LOOPBACK, 0) as line,
        baresip(tmp_path, line.port, question) as phone,
    ):
        await phone.until("terminated")
        await eventually(lambda: not voice.connections)
    assert "session closed" in phone.log
    assert is_tone(phone.heard())


async def test_ten_callers_at_once_are_heard_without_a_gap(tmp_path: Path, speech: Samples) -> None:
    heard: list[list[Samples]] = []
    voice = Stream(Echo(heard), concurrency_limit=None)
    async with await voice.answer_sip(LOOPBACK, 0) as line:
        sound = ALAW.encode(speech[None])
        await sipp(tmp_path, line.port, sound, codec="PCMA", calls=10, seconds=3.4)
        await eventually(lambda: not voice.connections)
    assert len(heard) == 10
    for parts in heard:
        assert likeness(speech, np.concatenate(parts))[0] > 0.95


async def test_a_carrier_is_answered_and_hung_up_on(tmp_path: Path, question: Samples) -> None:
    said: list[Sound] = []

    def reply(audio: Sound) -> Iterator[Any]:
        said.append(audio)
        yield CloseStream("Goodbye")

    voice = Stream(ReplyOnPause(reply))
    async with await voice.answer_sip(LOOPBACK, 0) as line:
        await sipp(tmp_path, line.port, MULAW.encode(question[None]))
        await eventually(lambda: not voice.connections)
    (audio,) = said
    assert 1.0 < audio[1].shape[1] / audio[0] < 2.5


async def test_an_echo_comes_back_within_a_tenth_of_a_second(speech: Samples) -> None:
    voice = Stream(Echo([]))
    async with await voice.answer_sip(LOOPBACK, 0) as line, caller(line) as one:
        await one.invite()
        async with speaking(one) as sound:
            await eventually(lambda: len(sound.came) > 10)
            before = len(sound.heard())
            sound.say(speech[None, :RATE])
            await asyncio.sleep(1.3)
        came = [at for at, _ in sound.came]
        await one.hang_up()
    alike, at = likeness(speech[:RATE], sound.heard()[before:])
    delay = came[before // 160] + at - sound.said_at
    print(f"echo after {delay * 1000:.0f} ms")
    assert alike > 0.95
    assert delay < 0.1
