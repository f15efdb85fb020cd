from typing import Any, Literal, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc import ReplyOnPause, Stream
from fastrtc.audio.convert import Pcm
from fastrtc.audio.resample import StreamResampler
from fastrtc.transports.libopus import LIBOPUS, RATES
from fastrtc.transports.opus import (
    CLEAN,
    LOSSY,
    PATIENCE,
    OpusDecoder,
    OpusEncoder,
    OpusOptions,
    decoded_rate,
)
from tests.conftest import Sound, level, tone

RATE = 24_000
FRAME = RATE // 50


def frames(pcm: Pcm, size: int = FRAME) -> list[Pcm]:
    return [pcm[:, at : at + size] for at in range(0, pcm.shape[1] - size + 1, size)]


def encoded(pcm: Pcm, encoder: OpusEncoder | None = None) -> list[bytes]:
    encoder = encoder or OpusEncoder(RATE, 1)
    return [packet for frame in frames(pcm) for packet in encoder.encode(frame)]


def decoded(packets: list[bytes | None], rate: int = RATE) -> NDArray[np.int16]:
    """The sound of a call; None stands for a packet that was lost."""
    decoder = OpusDecoder(1, rate)
    parts = []
    for place, packet in enumerate(packets, 1):
        pcm = None if packet is None else decoder.decode(packet)
        after = packets[place] if place < len(packets) else None
        parts.append(decoder.conceal(after) if pcm is None else pcm)
    heard: NDArray[np.int16] = np.concatenate(parts, axis=1)[0]
    return heard


def robust() -> OpusEncoder:
    """Encodes for a caller who loses packets."""
    encoder = OpusEncoder(RATE, 1)
    encoder.lost(0.2)
    return encoder


def likeness(ours: NDArray[np.int16], theirs: NDArray[np.int16]) -> float:
    """Correlation of the levels of two sounds, 10 ms by 10 ms."""

    def levels(samples: NDArray[np.int16]) -> NDArray[np.float64]:
        cells = samples[: len(samples) // 240 * 240].reshape(-1, 240).astype(np.float64)
        found: NDArray[np.float64] = np.sqrt((cells**2).mean(axis=1))
        return found

    return float(np.corrcoef(levels(ours), levels(theirs))[0, 1])


@pytest.mark.parametrize("rate", RATES)
def test_a_packet_is_decoded_to_the_rate_that_is_wanted(rate: int) -> None:
    heard = decoded([*encoded(tone(1.2, RATE)[1])], rate)
    assert len(heard) == round(1.2 * rate)
    spectrum = np.abs(np.fft.rfft(heard[-rate:] * np.hanning(rate)))
    assert spectrum.argmax() == pytest.approx(440, abs=1)


@pytest.mark.parametrize(
    ("wanted", "found"), [(16_000, 16_000), (44_100, 48_000), (22_050, 48_000)]
)
def test_a_rate_that_opus_does_not_know_is_made_of_its_highest(wanted: int, found: int) -> None:
    assert decoded_rate(wanted) == found


def test_a_lost_packet_is_concealed_by_sound_like_what_was_before() -> None:
    packets: list[bytes | None] = [*encoded(tone(1.0, RATE)[1])]
    packets[25] = None
    hole = decoded(packets)[25 * FRAME : 26 * FRAME]
    assert level(hole) == pytest.approx(level(tone(1.0, RATE)[1]), abs=3)


def test_what_is_concealed_dies_away() -> None:
    packets = [*encoded(tone(0.5, RATE)[1]), *[None] * 50]
    assert level(decoded(packets)[-FRAME * 10 :]) < level(tone(0.5, RATE)[1]) - 15


def test_a_packet_that_is_lost_comes_back_out_of_the_next_one(phrase: Sound) -> None:
    rate, pcm = phrase
    speech = StreamResampler(rate, RATE).process(pcm)

    def worst(encoder: OpusEncoder) -> float:
        packets = encoded(speech, encoder)
        whole = decoded([*packets])
        holed: list[bytes | None] = [
            None if place % 5 == 3 else packet for place, packet in enumerate(packets)
        ]
        return likeness(whole, decoded(holed))

    assert worst(robust()) > worst(OpusEncoder(RATE, 1, OpusOptions(application="lowdelay")))
    assert worst(robust()) > 0.95


def test_the_first_packet_may_be_lost() -> None:
    packets: list[bytes | None] = [None, *encoded(tone(0.2, RATE)[1])]
    assert len(decoded(packets)) == 11 * FRAME


def test_errors_are_corrected_for_who_loses_packets_and_not_for_others() -> None:
    _, pcm = tone(1.0, RATE)
    encoder = OpusEncoder(RATE, 1)
    clean = encoded(pcm, encoder)
    encoder.lost(LOSSY)
    lossy = encoded(pcm, encoder)
    # The first byte of a packet tells its mode (RFC 6716, 3.1): from 16 on it has no correction.
    assert all(packet[0] >> 3 >= 16 for packet in clean)
    assert all(packet[0] >> 3 < 16 for packet in lossy)
    for _ in range(PATIENCE - 1):
        encoder.lost(CLEAN / 2)
    assert encoded(pcm, encoder)[0][0] >> 3 < 16
    encoder.lost(0.0)
    assert encoded(pcm, encoder)[0][0] >> 3 >= 16


def has_correction(packet: bytes) -> bool:
    """Whether a packet carries the one before it again; asked of libopus itself."""
    return bool(LIBOPUS.opus_packet_has_lbrr(packet, len(packet)))


@pytest.mark.parametrize("application", ["auto", "voip"])
def test_errors_are_still_corrected_after_a_report_without_loss(
    application: Literal["auto", "voip"], phrase: Sound
) -> None:
    rate, pcm = phrase
    speech = StreamResampler(rate, RATE).process(pcm)
    encoder = OpusEncoder(RATE, 1, OpusOptions(application=application))
    encoder.lost(0.1)
    shares = []
    for _ in range(3):
        packets = encoded(speech, encoder)
        shares.append(sum(map(has_correction, packets)) / len(packets))
        encoder.lost(0.0)
    assert min(shares) > 0.3
    for _ in range(PATIENCE):
        encoder.lost(0.0)
    assert not any(map(has_correction, encoded(speech, encoder)[2:]))


def test_a_loss_on_the_way_back_to_normal_begins_the_wait_anew() -> None:
    encoder = robust()
    for _ in range(3):
        for _ in range(PATIENCE - 1):
            encoder.lost(0.0)
        encoder.lost(CLEAN)
    assert encoded(tone(0.1, RATE)[1], encoder)[0][0] >> 3 < 16


@pytest.mark.parametrize("application", ["audio", "lowdelay"])
def test_an_application_that_was_chosen_stays_whatever_is_lost(application: str) -> None:
    options = OpusOptions(application=application, bit_rate=64_000)  # type: ignore[arg-type]
    encoder = OpusEncoder(48_000, 1, options)
    noise = np.random.default_rng(1).normal(0, 3_000, (1, 48_000)).astype(np.int16)
    encoder.lost(0.3)
    packets = [packet for frame in frames(noise, 960) for packet in encoder.encode(frame)]
    assert all(packet[0] >> 3 >= 16 for packet in packets[5:])


def test_a_higher_bit_rate_makes_longer_packets() -> None:
    _, pcm = tone(1.0, RATE)
    sizes = [
        sum(map(len, encoded(pcm, OpusEncoder(RATE, 1, OpusOptions(bit_rate=rate)))))
        for rate in (16_000, 64_000)
    ]
    assert sizes[1] > 2 * sizes[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"application": "music"}, 'expected the application "auto"'),
        ({"complexity": 11}, "expected a whole complexity of 0 to 10, got 11"),
        ({"complexity": -1}, "expected a whole complexity of 0 to 10, got -1"),
        ({"complexity": 5.5}, "expected a whole complexity of 0 to 10, got 5.5"),
        ({"bit_rate": 1}, "expected a whole bit_rate of 6000 to 510000, got 1"),
        ({"bit_rate": "32k"}, "expected a whole bit_rate of 6000 to 510000, got '32k'"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        OpusOptions(**options)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=200) | st.none(), max_size=8))
def test_whatever_comes_the_decoder_goes_on(packets: list[bytes | None]) -> None:
    decoder = OpusDecoder(1, RATE)
    for place, packet in enumerate(packets, 1):
        pcm = None if packet is None else decoder.decode(packet)
        if pcm is None:
            pcm = decoder.conceal(packets[place] if place < len(packets) else None)
        assert pcm.shape[0] == 1
        assert 0 < pcm.shape[1] <= 0.12 * RATE
    assert decoder.decode(encoded(tone(0.04, RATE)[1])[0]) is not None


def test_options_of_another_kind_are_refused_by_the_stream() -> None:
    with pytest.raises(TypeError, match="expected opus to be OpusOptions, got dict"):
        Stream(ReplyOnPause(lambda audio: iter([])), opus=cast(Any, {"complexity": 3}))
