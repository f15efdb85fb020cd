import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrtc.audio.convert import Pcm
from fastrtc.audio.pace import Pace
from tests.conftest import tone

RATE = 16_000
FRAME = RATE // 50
SPEECH = tone(0.02, RATE)[1]
SILENCE = np.zeros((1, FRAME), np.int16)


class Echo:
    """Answers frame by frame: what its listener waits for is what waits here."""

    def __init__(self) -> None:
        self.pace = Pace(RATE)
        self.waiting: list[Pcm] = []
        self.left_out = 0

    def hear(self, *frames: Pcm) -> None:
        for frame in frames:
            if self.pace.leaves_out(frame):
                self.left_out += 1
            else:
                self.waiting.append(frame)

    def tick(self) -> None:
        self.pace.tick()
        del self.waiting[:1]

    def live(self, *frames: Pcm) -> None:
        """A frame each tick."""
        for frame in frames:
            self.hear(frame)
            self.tick()

    def stall(self, ticks: int, frame: Pcm = SPEECH) -> None:
        """Nothing comes, and then all at once."""
        for _ in range(ticks):
            self.tick()
        self.hear(*[frame] * ticks)


def test_sound_in_real_time_is_left_alone() -> None:
    echo = Echo()
    echo.live(*[SPEECH, SILENCE] * 500)
    assert echo.left_out == 0


def test_after_a_stall_the_delay_is_gone_with_the_pauses_of_speech() -> None:
    echo = Echo()
    echo.live(*[SPEECH] * 50)
    echo.stall(100)
    assert len(echo.waiting) == 100
    for _ in range(8):
        echo.live(*[SPEECH] * 40, *[SILENCE] * 40)
    assert len(echo.waiting) <= 2


def test_speech_is_never_left_out() -> None:
    echo = Echo()
    echo.stall(100)
    echo.live(*[SPEECH] * 500)
    assert echo.left_out == 0


def test_the_gaps_inside_words_stay() -> None:
    echo = Echo()
    echo.stall(100)
    echo.live(*[*[SPEECH] * 6, *[SILENCE] * 4] * 50)
    assert echo.left_out == 0


def test_no_more_is_left_out_than_is_late() -> None:
    echo = Echo()
    echo.stall(30)
    echo.live(*[SILENCE] * 500)
    assert echo.left_out <= 30


@pytest.mark.parametrize("room", [200, 400])
def test_the_noise_of_a_room_is_silence_beside_speech(room: int) -> None:
    noise = np.random.default_rng(1).normal(0, room / 4, (1, FRAME)).astype(np.int16)
    loud = (SPEECH * 3).astype(np.int16)
    echo = Echo()
    echo.stall(50, loud)
    for _ in range(6):
        echo.live(*[loud] * 25, *[noise] * 25)
    assert len(echo.waiting) <= 2


def test_what_a_program_sends_faster_than_it_is_spoken_is_left_alone() -> None:
    echo = Echo()
    for second in range(20):
        for _ in range(50):
            echo.hear(*[SILENCE if second % 2 else SPEECH] * 2)
            echo.tick()
    assert echo.left_out == 0


def test_jitter_is_no_delay() -> None:
    echo = Echo()
    for _ in range(200):
        for _ in range(3):
            echo.tick()
        echo.hear(SILENCE, SILENCE, SILENCE)
    assert echo.left_out == 0


def test_a_clock_that_is_fast_does_not_pile_up() -> None:
    echo = Echo()
    for _ in range(120):
        echo.live(*[SPEECH] * 30, *[SILENCE] * 20)
        echo.hear(SPEECH)
    assert len(echo.waiting) <= 5


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=300))
def test_never_is_more_left_out_than_came_too_much(bursts: list[tuple[int, bool]]) -> None:
    echo = Echo()
    longest = 0
    for count, speech in bursts:
        echo.hear(*[SPEECH if speech else SILENCE] * count)
        longest = max(longest, len(echo.waiting) + echo.left_out)
        echo.tick()
    assert echo.left_out <= longest
