"""Held against the tables of ITU-T G.711 and against FFmpeg, and not against itself."""

from typing import Literal

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc.audio.g711 import ALAW, MULAW, _Law

Pcm = NDArray[np.int16]

EVERY_CODE = bytes(range(256))
EVERY_SAMPLE = np.arange(-32768, 32768).astype(np.int16)[None]

MULAW_UNIT, ALAW_UNIT = 4, 8
"""The recommendation counts in 14 bits and in 13; samples here have 16."""
MULAW_STEPS = [1, *[2] * 15, *(2**n for n in range(2, 9) for _ in range(16))]
ALAW_STEPS = [*[2] * 32, *(2**n for n in range(2, 8) for _ in range(16))]
"""Sizes of the intervals, from zero: table 2a (mu-law) and table 1a (A-law)."""

# Codes and what they stand for, as tables 2a and 1a print them, in units.
MULAW_VALUES = {
    0b1000_0000: 8031,
    0b1000_1111: 4191,
    0b1001_1111: 2079,
    0b1010_1111: 1023,
    0b1011_1111: 495,
    0b1100_1111: 231,
    0b1101_1111: 99,
    0b1110_1111: 33,
    0b1111_1110: 2,
    0b1111_1111: 0,
}
ALAW_VALUES = {
    0b1111_1111: 4032,
    0b1111_0000: 2112,
    0b1110_0000: 1056,
    0b1101_0000: 528,
    0b1100_0000: 264,
    0b1011_0000: 132,
    0b1010_0000: 66,
    0b1000_0000: 1,
}
ALAW_ON_THE_WIRE = 0x55
"""Every other bit is inverted there; the table prints codes without that."""

every_law = pytest.mark.parametrize("law", [MULAW, ALAW], ids=["mulaw", "alaw"])


def decoded(law: _Law, data: bytes) -> list[int]:
    return [int(sample) for sample in law.decode(data)[0]]


def encoded(law: _Law, *samples: int) -> bytes:
    return law.encode(np.array([samples], np.int16))


def positive_codes(steps: list[int], unit: int) -> NDArray[np.int64]:
    """The number of the interval, from zero, of each sample from 0 to 32767."""
    ends = np.cumsum(steps) * unit
    return np.minimum(np.searchsorted(ends, np.arange(32768), side="right"), len(steps) - 1)


# What the recommendation says


def test_the_steps_are_those_of_the_recommendation() -> None:
    assert (len(MULAW_STEPS), sum(MULAW_STEPS)) == (128, 8159)
    assert (len(ALAW_STEPS), sum(ALAW_STEPS)) == (128, 4096)


@pytest.mark.parametrize(("code", "value"), MULAW_VALUES.items())
def test_mulaw_codes_stand_for_the_values_of_the_table(code: int, value: int) -> None:
    positive, negative = decoded(MULAW, bytes([code, code ^ 0x80]))
    assert (positive, negative) == (value * MULAW_UNIT, -value * MULAW_UNIT)


@pytest.mark.parametrize(("code", "value"), ALAW_VALUES.items())
def test_alaw_codes_stand_for_the_values_of_the_table(code: int, value: int) -> None:
    code ^= ALAW_ON_THE_WIRE
    positive, negative = decoded(ALAW, bytes([code, code ^ 0x80]))
    assert (positive, negative) == (value * ALAW_UNIT, -value * ALAW_UNIT)


def test_mulaw_codes_change_at_the_decision_values_of_the_table() -> None:
    numbers = positive_codes(MULAW_STEPS, MULAW_UNIT)
    assert MULAW.encode(EVERY_SAMPLE[:, 32768:]) == (0xFF - numbers).astype(np.uint8).tobytes()


def test_alaw_codes_change_at_the_decision_values_of_the_table() -> None:
    numbers = positive_codes(ALAW_STEPS, ALAW_UNIT)
    wire = ((0x80 + numbers) ^ ALAW_ON_THE_WIRE).astype(np.uint8)
    assert ALAW.encode(EVERY_SAMPLE[:, 32768:]) == wire.tobytes()


@pytest.mark.parametrize(
    ("law", "sample", "code"),
    [
        (MULAW, 0, 0xFF),
        (MULAW, 32767, 0x80),
        (MULAW, -32768, 0x00),
        (ALAW, 0, 0xD5),
        (ALAW, -1, 0x55),
        (ALAW, 32767, 0xAA),
        (ALAW, -32768, 0x2A),
    ],
)
def test_silence_and_the_loudest_samples_have_their_known_codes(
    law: _Law, sample: int, code: int
) -> None:
    assert encoded(law, sample) == bytes([code])


def test_both_zeros_of_mulaw_are_silence() -> None:
    assert decoded(MULAW, b"\xff\x7f") == [0, 0]


def test_both_codes_next_to_zero_of_alaw_are_half_a_step() -> None:
    assert decoded(ALAW, b"\xd5\x55") == [8, -8]


# What another coder says


@pytest.mark.parametrize(("law", "codec"), [(MULAW, "pcm_mulaw"), (ALAW, "pcm_alaw")])
def test_every_code_is_decoded_as_ffmpeg_decodes_it(
    law: _Law, codec: Literal["pcm_mulaw", "pcm_alaw"]
) -> None:
    decoder = av.CodecContext.create(codec, "r")
    decoder.sample_rate, decoder.layout = 8_000, "mono"
    (frame,) = decoder.decode(av.Packet(EVERY_CODE))
    assert np.array_equal(law.decode(EVERY_CODE), frame.to_ndarray())


# What holds for both


@every_law
def test_every_code_comes_back_from_the_sample_it_stands_for(law: _Law) -> None:
    back = law.encode(law.decode(EVERY_CODE))
    # Mu-law has two zeros, and a sample of zero is the positive one.
    expected = EVERY_CODE.replace(b"\x7f", b"\xff") if law is MULAW else EVERY_CODE
    assert back == expected


@pytest.mark.parametrize(
    ("law", "steps", "unit"), [(MULAW, MULAW_STEPS, MULAW_UNIT), (ALAW, ALAW_STEPS, ALAW_UNIT)]
)
def test_no_sample_is_further_off_than_half_its_interval(
    law: _Law, steps: list[int], unit: int
) -> None:
    back = law.decode(law.encode(EVERY_SAMPLE))[0].astype(int)
    samples = EVERY_SAMPLE[0].astype(int)
    magnitude = np.abs(samples)
    sizes = np.array(steps)[positive_codes(steps, unit)] * unit
    # The first of mu-law reaches from zero to both sides.
    half = np.maximum(sizes[np.minimum(magnitude, 32767)] / 2, unit)
    beyond_the_loudest = np.maximum(magnitude - sum(steps) * unit, 0)
    assert (np.abs(back - samples) <= half + beyond_the_loudest).all()


@every_law
def test_the_louder_a_sample_the_louder_what_comes_back(law: _Law) -> None:
    assert (np.diff(law.decode(law.encode(EVERY_SAMPLE))[0].astype(int)) >= 0).all()


def test_a_negative_sample_has_the_mulaw_code_of_the_positive_one_but_for_its_sign() -> None:
    positive = EVERY_SAMPLE[:, 32769:]
    codes = np.frombuffer(MULAW.encode(positive), np.uint8)
    assert MULAW.encode(-positive) == (codes ^ 0x80).tobytes()


def test_alaw_treats_both_signs_as_one_complement_of_the_other() -> None:
    codes = np.frombuffer(ALAW.encode(EVERY_SAMPLE), np.uint8)
    assert ALAW.encode(~EVERY_SAMPLE) == (codes ^ 0x80).tobytes()


@every_law
@given(st.lists(st.integers(-32768, 32767), max_size=40), st.integers(1, 3))
@settings(deadline=None, max_examples=50)
def test_channels_are_interleaved_and_come_apart_again(
    law: _Law, samples: list[int], channels: int
) -> None:
    pcm = np.array([samples] * channels, np.int16).reshape(channels, -1)
    pcm = pcm // np.arange(1, channels + 1, dtype=np.int16)[:, None]
    data = law.encode(pcm)
    alone = [law.encode(row[None]) for row in pcm]
    assert data == bytes(code for frame in zip(*alone, strict=True) for code in frame)
    back = law.decode(data, channels)
    assert back.shape == pcm.shape
    assert back.dtype == np.int16
    assert [law.encode(row[None]) for row in back] == [
        law.encode(law.decode(code)) for code in alone
    ]


@every_law
def test_a_view_of_other_samples_is_encoded_as_its_copy_is(law: _Law) -> None:
    view = EVERY_SAMPLE.reshape(2, -1)[:, ::7]
    assert law.encode(view) == law.encode(view.copy())


@every_law
def test_half_a_sample_of_stereo_is_refused(law: _Law) -> None:
    with pytest.raises(ValueError, match="3"):
        law.decode(b"\xff\xff\xff", channels=2)
