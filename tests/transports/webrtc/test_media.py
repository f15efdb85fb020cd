import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from fastrtc.transports.opus import OpusEncoder
from fastrtc.transports.rtp import RtpPacket, parse_rtp, write_rtp
from fastrtc.transports.webrtc.media import (
    FRAME_TICKS,
    LONGEST_CONCEALED,
    MOST_SOUND,
    SOUND_AT_ONCE,
    Incoming,
    Outgoing,
)
from tests.conftest import Sound, level, tone

RATES = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000]
PAYLOAD_TYPE = 111
OUT = 48_000
"""Hz of what a peer hears."""

Pcm = NDArray[np.int16]


def frames_of(rate: int, pcm: Pcm) -> list[Pcm | None]:
    size = rate // 50
    return [pcm[:, s : s + size] for s in range(0, pcm.shape[1] - size + 1, size)]


def silence(seconds: float) -> list[Pcm | None]:
    return [None] * round(seconds * 50)


@dataclass
class Sent:
    """Packets, and the tick at which each left."""

    packets: list[RtpPacket] = field(default_factory=list)
    ticks: list[int] = field(default_factory=list)
    markers: list[bool] = field(default_factory=list)

    def between(self, first: int, last: int) -> int:
        """How many packets left at these ticks."""
        return sum(first <= tick < last for tick in self.ticks)


def send(frames: list[Pcm | None], rate: int, channels: int = 1) -> Sent:
    out, sent = Outgoing(PAYLOAD_TYPE, rate, channels), Sent()
    for tick, frame in enumerate(frames):
        for data in out.next(frame):
            packet = parse_rtp(data)
            assert packet is not None
            sent.packets.append(packet)
            sent.ticks.append(tick)
            sent.markers.append(bool(data[1] & 0x80))
    return sent


def hear(packets: list[RtpPacket], channels: int = 1) -> Pcm:
    incoming = Incoming(PAYLOAD_TYPE, channels, OUT)
    sound = [pcm for at, p in enumerate(packets) for pcm in incoming.add(p, at * 0.02)]
    return np.concatenate([np.zeros((channels, 0), np.int16), *sound], axis=1)


def pitch(samples: NDArray[np.int16]) -> float:
    """Hz of the strongest frequency of one second."""
    return float(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax())


# There and back


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_its_pitch_and_its_level(rate: int) -> None:
    _, pcm = tone(1.5, rate)
    heard = hear(send([*frames_of(rate, pcm), *silence(0.1)], rate).packets)
    middle = heard[0, OUT // 4 : OUT // 4 + OUT]
    assert pitch(middle) == pytest.approx(440, abs=1)
    assert level(middle) == pytest.approx(level(pcm), abs=1.0)


@pytest.mark.pitfall(26)
@pytest.mark.parametrize("rate", RATES)
def test_the_channels_of_stereo_stay_apart(rate: int) -> None:
    pcm = np.concatenate([tone(1.5, rate, hertz=440)[1], tone(1.5, rate, hertz=1_000)[1]])
    heard = hear(send(frames_of(rate, pcm), rate, 2).packets, 2)
    middle = heard[:, OUT // 4 : OUT // 4 + OUT]
    assert [pitch(channel) for channel in middle] == [440, 1_000]
    assert level(middle) == pytest.approx(level(pcm), abs=1.0)


@pytest.mark.parametrize("rate", RATES)
def test_a_sound_is_heard_in_its_full_length(rate: int) -> None:
    _, pcm = tone(1.0, rate)
    heard = hear(send([*frames_of(rate, pcm), *silence(0.2)], rate).packets)
    loud = np.flatnonzero(np.abs(heard[0].astype(int)) > 2_000) / OUT
    assert loud[-1] - loud[0] == pytest.approx(1.0, abs=0.025)


@pytest.mark.pitfall(25)
@pytest.mark.parametrize("rate", RATES)
def test_a_tone_has_no_clicks_at_the_frames(rate: int) -> None:
    _, pcm = tone(1.5, rate, hertz=1_000)
    heard = hear(send(frames_of(rate, pcm), rate).packets)[0, OUT // 4 : OUT // 4 + OUT]
    # A click stands alone above what Opus makes of a tone.
    steps = np.abs(np.diff(heard.astype(int)))
    assert steps.max() < 8_000 * 2 * np.pi * 1_000 / OUT * 1.6


def test_speech_keeps_its_shape_and_its_level(phrase: Sound) -> None:
    rate, pcm = phrase
    heard = hear(send([*frames_of(rate, pcm), *silence(0.2)], rate).packets)[0]
    assert level(heard[: round(1.22 * OUT)]) == pytest.approx(level(pcm), abs=1.5)

    def envelope(samples: Pcm, at: int) -> NDArray[np.float64]:
        cells = samples[: len(samples) // at * at].reshape(-1, at).astype(float)
        found: NDArray[np.float64] = np.sqrt((cells**2).mean(axis=1))
        return found

    before, after = envelope(pcm[0], rate // 50), envelope(heard, OUT // 50)
    size = len(before) - 2
    likeness = max(np.corrcoef(before[:size], after[k : k + size])[0, 1] for k in range(3))
    assert likeness > 0.95


def test_stereo_is_mixed_down_for_a_listener_of_mono() -> None:
    pcm = np.concatenate([tone(1.5, OUT)[1]] * 2)
    heard = hear(send(frames_of(OUT, pcm), OUT, 2).packets, 1)
    assert heard.shape[0] == 1
    assert pitch(heard[0, OUT // 4 : OUT // 4 + OUT]) == 440


def test_mono_fills_both_ears_of_a_listener_of_stereo() -> None:
    heard = hear(send(frames_of(*tone(1.5, OUT)), OUT).packets, 2)
    assert heard.shape[0] == 2
    assert level(heard[0]) == pytest.approx(level(heard[1]), abs=0.5)


# Time, and silence


@pytest.mark.pitfall(14)
@pytest.mark.parametrize("rate", RATES)
def test_silence_sends_at_most_3_packets_a_second_after_the_tail(rate: int) -> None:
    sent = send([*frames_of(*tone(0.5, rate)), *silence(10.5)], rate)
    for second in range(10):
        assert sent.between(50 * second + 50, 50 * second + 100) <= 3


@pytest.mark.pitfall(14)
def test_a_call_that_has_said_nothing_yet_sends_nearly_nothing() -> None:
    sent = send(silence(10), 24_000)
    assert len(sent.packets) <= 10 + 30


def test_the_way_is_kept_open_in_silence() -> None:
    sent = send(silence(10), 24_000)
    assert max(np.diff(sent.ticks)) <= 25


def test_the_end_of_a_sound_is_followed_by_a_tail_of_silence() -> None:
    sent = send([*frames_of(*tone(0.5, 24_000)), *silence(1)], 24_000)
    assert sent.between(25, 35) == 10


@pytest.mark.pitfall(14, 27)
@pytest.mark.parametrize("rate", RATES)
def test_the_timestamp_keeps_time_through_speech_and_silence(rate: int) -> None:
    speech = frames_of(*tone(0.3, rate))
    sent = send([*speech, *silence(2.22), *speech, *silence(0.5), *speech], rate)
    first = sent.packets[0].timestamp - sent.ticks[0] * FRAME_TICKS
    for packet, tick in zip(sent.packets, sent.ticks, strict=True):
        assert (packet.timestamp - first) % 2**32 == tick * FRAME_TICKS


def test_the_numbers_count_the_packets_without_a_hole() -> None:
    sent = send([*frames_of(*tone(0.5, 24_000)), *silence(3)], 24_000)
    numbers = [packet.sequence for packet in sent.packets]
    assert {(b - a) % 65_536 for a, b in itertools.pairwise(numbers)} == {1}


def test_all_packets_of_a_call_have_one_source() -> None:
    sent = send([*frames_of(*tone(0.5, 24_000)), *silence(3)], 24_000)
    assert len({packet.ssrc for packet in sent.packets}) == 1


@pytest.mark.parametrize("rate", RATES)
def test_the_first_packet_after_a_pause_is_marked(rate: int) -> None:
    speech = frames_of(*tone(0.5, rate))
    sent = send([*speech, *silence(2.1), *speech], rate)
    marked = [tick for tick, marker in zip(sent.ticks, sent.markers, strict=True) if marker]
    again = next(tick for tick in sent.ticks if tick >= 130)
    assert marked[0] == sent.ticks[0]
    assert again in marked
    assert not [tick for tick in marked if 1 < tick < 35 or tick > again]


def test_what_was_sent_is_counted() -> None:
    out = Outgoing(PAYLOAD_TYPE, 24_000, 1)
    packets = [data for frame in frames_of(*tone(0.5, 24_000)) for data in out.next(frame)]
    assert out.packets == len(packets)
    assert out.bytes == sum(len(data) - 12 for data in packets)


def test_two_calls_begin_at_their_own_numbers() -> None:
    calls = [Outgoing(PAYLOAD_TYPE, 24_000, 1) for _ in range(5)]
    assert len({call.ssrc for call in calls}) == 5
    assert len({call.timestamp for call in calls}) == 5


# What the network does


def test_a_lost_packet_keeps_the_length() -> None:
    packets = send(frames_of(*tone(1.0, OUT)), OUT).packets
    whole = hear(packets)
    assert hear(packets[:20] + packets[21:]).shape == whole.shape
    assert hear(packets[:20] + packets[25:]).shape == whole.shape


def test_swapped_packets_sound_as_if_they_were_not() -> None:
    packets = send(frames_of(*tone(1.0, OUT)), OUT).packets
    swapped = [*packets[:20], packets[21], packets[20], *packets[22:]]
    assert np.array_equal(hear(swapped), hear(packets))


def test_a_doubled_packet_is_heard_once() -> None:
    packets = send(frames_of(*tone(1.0, OUT)), OUT).packets
    assert np.array_equal(hear([p for packet in packets for p in (packet, packet)]), hear(packets))


def test_another_payload_type_is_not_heard() -> None:
    packets = send(frames_of(*tone(0.2, OUT)), OUT).packets
    other = [parse_rtp(write_rtp(13, False, 0, 0, p.ssrc, p.payload)) for p in packets]
    assert hear([packet for packet in other if packet is not None]).shape == (1, 0)


def test_a_packet_without_payload_is_not_heard() -> None:
    packets = send(frames_of(*tone(0.2, OUT)), OUT).packets
    empty = RtpPacket(PAYLOAD_TYPE, packets[-1].sequence + 1, 0, packets[0].ssrc, b"")
    assert np.array_equal(hear([*packets, empty]), hear(packets))


@pytest.mark.parametrize("payload", [b"\xff", b"\xff" * 40, b"\x03", b"not opus", bytes(2_000)])
def test_a_payload_that_is_no_opus_does_not_end_the_sound(payload: bytes) -> None:
    packets = send(frames_of(*tone(1.0, OUT)), OUT).packets
    bad = packets[20]
    packets[20] = RtpPacket(PAYLOAD_TYPE, bad.sequence, bad.timestamp, bad.ssrc, payload)
    heard = hear(packets)
    assert pitch(heard[0, -OUT // 2 :]) * 2 == pytest.approx(440, abs=2)


def test_a_new_source_is_heard_from_its_first_packet() -> None:
    first = send(frames_of(*tone(0.5, OUT)), OUT).packets
    # Its numbers look as if they came late from the first.
    before = first[-1].sequence - 10
    second = [
        packet._replace(ssrc=1, sequence=(before + place) % 65_536)
        for place, packet in enumerate(send(frames_of(*tone(0.5, OUT)), OUT).packets)
    ]
    assert hear([*first, *second]).shape[1] == hear(first).shape[1] + hear(second).shape[1]


def test_what_came_is_counted_for_the_report() -> None:
    incoming = Incoming(PAYLOAD_TYPE, 1, OUT)
    for at, packet in enumerate(send(frames_of(*tone(0.5, OUT)), OUT).packets):
        incoming.add(packet, at * 0.02)
    assert incoming.reception is not None
    assert incoming.reception.received == 25


def huge(first: int, step: int, count: int) -> list[RtpPacket]:
    """Packets of six frames of 20 ms each, with a hole between any two."""
    (frame,) = OpusEncoder(OUT, 1).encode(tone(0.02, OUT)[1])
    # RFC 6716, 3.2.5: code 3, a constant rate, six frames.
    six = bytes([frame[0] | 3, 6]) + frame[1:] * 6
    return [
        RtpPacket(PAYLOAD_TYPE, (first + step * n) % 65_536, n * 5_760, 7, six)
        for n in range(count)
    ]


@pytest.mark.parametrize("step", [1, 8])
def test_a_client_cannot_make_more_sound_than_a_call_has(step: int) -> None:
    incoming = Incoming(PAYLOAD_TYPE, 1, OUT)
    seconds = 10
    made = 0
    for place, packet in enumerate(huge(1, step, 200 * seconds)):
        made += sum(pcm.shape[1] for pcm in incoming.add(packet, place / 200))
    assert made / OUT < SOUND_AT_ONCE + MOST_SOUND * seconds + 1.5


def test_no_more_than_half_a_second_is_made_up_at_a_time() -> None:
    incoming = Incoming(PAYLOAD_TYPE, 1, OUT)
    first, *rest = huge(1, 1, 25)
    incoming.add(first, 0.0)
    made = sum(pcm.shape[1] for packet in rest[20:] for pcm in incoming.add(packet, 0.1))
    assert made / OUT <= LONGEST_CONCEALED + 0.12 * 5
