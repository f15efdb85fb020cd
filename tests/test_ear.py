"""The ear that judges calls over bad networks: known networks, on virtual time."""

from __future__ import annotations

import numpy as np
import pytest

from fastrtc.transports.opus import OpusEncoder
from tests.conftest import Sound
from tests.ear import RATE, SLOT, TICKS, Packet, Piece, compare, hear

BEGAN = 100.0
DELAY = 0.15


@pytest.fixture(scope="module")
def packets(beckett: Sound) -> list[Packet]:
    """4 s of speech, on their way for `DELAY`; the counters wrap meanwhile."""
    rate, samples = beckett
    assert rate == RATE
    encoder = OpusEncoder(RATE, 1)
    payloads = []
    for start in range(0, 4 * RATE, SLOT):
        payloads += encoder.encode(samples[:, start : start + SLOT])
    return [
        Packet(
            (n + 0xFFF0) & 0xFFFF,
            (n * TICKS + 0xFFFF0000) & 0xFFFFFFFF,
            payload,
            BEGAN + n * 0.02 + DELAY,
        )
        for n, payload in enumerate(payloads)
    ]


def pieces(beckett: Sound, packets: list[Packet]) -> list[Piece]:
    said = beckett[1][0, : 4 * RATE]
    return compare(said, BEGAN + np.arange(len(said) // SLOT) * 0.02, hear(packets))


def delayed(packet: Packet, seconds: float) -> Packet:
    return Packet(packet.sequence, packet.timestamp, packet.payload, packet.at + seconds)


def test_the_delay_of_an_echo_is_measured(beckett: Sound, packets: list[Packet]) -> None:
    found = pieces(beckett, packets)
    assert len(found) > 50
    late = [piece.delay for piece in found]
    # An encoder looks 6.5 ms ahead.
    assert np.percentile(late, [5, 95]) == pytest.approx([DELAY, DELAY], abs=0.015)
    assert np.mean([piece.hole for piece in found]) < 0.01


def test_an_echo_that_becomes_later_is_followed(beckett: Sound, packets: list[Packet]) -> None:
    half = len(packets) // 2
    silence = np.zeros((1, SLOT), np.int16)
    quiet = OpusEncoder(RATE, 1).encode(silence)[0]
    inserted = [
        Packet(packets[half + n].sequence, packets[half + n].timestamp, quiet, packets[half + n].at)
        for n in range(25)
    ]
    shifted = [
        Packet(a.sequence, a.timestamp, b.payload, a.at)
        for a, b in zip(packets[half + 25 :], packets[half:], strict=False)
    ]
    found = pieces(beckett, [*packets[:half], *inserted, *shifted])
    before = [piece.delay for piece in found if piece.place < 1.5]
    after = [piece.delay for piece in found if piece.place > 2.2]
    assert np.median(before) == pytest.approx(DELAY, abs=0.015)
    assert np.median(after) == pytest.approx(DELAY + 0.5, abs=0.015)


def test_lost_packets_are_counted_and_concealed(beckett: Sound, packets: list[Packet]) -> None:
    rest = [packet for n, packet in enumerate(packets) if n % 10 != 5]
    heard = hear(rest)
    assert (heard.lost, heard.packets) == (len(packets) - len(rest), len(packets))
    assert np.mean([piece.hole for piece in pieces(beckett, rest)]) < 0.03


def test_a_long_loss_is_a_hole(beckett: Sound, packets: list[Packet]) -> None:
    rest = [packet for n, packet in enumerate(packets) if not 60 <= n < 80]
    heard = hear(rest)
    assert heard.lost == 20
    assert not heard.samples[66 * SLOT : 79 * SLOT].any()


def test_packets_that_overtake_each_other_are_heard_in_order(packets: list[Packet]) -> None:
    mixed = [delayed(packet, 0.06 * (n % 4)) for n, packet in enumerate(packets)]
    mixed.sort(key=lambda packet: packet.at)
    heard = hear(mixed)
    assert heard.lost == 0
    assert np.array_equal(heard.samples, hear(packets).samples)


def test_a_packet_that_comes_too_late_is_lost(packets: list[Packet]) -> None:
    heard = hear([*packets[:70], delayed(packets[70], 0.4), *packets[71:]])
    assert heard.lost == 1


def test_silence_that_is_not_sent_is_not_lost(packets: list[Packet]) -> None:
    sent = [packet for n, packet in enumerate(packets) if not 60 <= n < 80]
    numbered = [
        Packet((n + 5) & 0xFFFF, packet.timestamp, packet.payload, packet.at)
        for n, packet in enumerate(sent)
    ]
    assert hear(numbered).lost == 0


def test_a_call_of_one_packet_is_heard(packets: list[Packet]) -> None:
    heard = hear(packets[:1])
    assert (heard.lost, heard.packets, len(heard.samples)) == (0, 1, SLOT)


def test_a_call_without_a_packet_is_refused() -> None:
    with pytest.raises(ValueError, match="not one packet"):
        hear([])
