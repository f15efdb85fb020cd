import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.audio.convert import Pcm
from fastrtc.audio.g711 import ALAW, MULAW
from fastrtc.transports.rtp import parse_rtp, write_rtp
from fastrtc.transports.sip.rtp import LONGEST_PAYLOAD, RATE, Incoming, Outgoing
from fastrtc.transports.sip.sdp import Media, read_media
from tests.conftest import Sound, level, tone
from tests.transports.sip.phone import OFFER

HERE, ELSEWHERE = ("192.0.2.7", 7000), ("203.0.113.66", 9)
NAT = ("203.0.113.5", 31_000)
SILENCE = b"\xff" * 160
MEDIA = read_media(OFFER.encode())
A_LAW = read_media(OFFER.replace("RTP/AVP 0 8", "RTP/AVP 8").encode())


def packet(
    number: int, payload: bytes = SILENCE, kind: int = 0, ssrc: int = 1, at: int | None = None
) -> bytes:
    return write_rtp(kind, False, number, number * 160 if at is None else at, ssrc, payload)


def key(number: int, digit: int, pressed: int, duration: int = 160, end: bool = False) -> bytes:
    payload = struct.pack("!BBH", digit, 10 | (0x80 if end else 0), duration)
    return packet(number, payload, 101, at=pressed)


def hear(incoming: Incoming, data: list[bytes], source: tuple[str, int] = HERE) -> Pcm:
    sound = [s for n, d in enumerate(data) for s in incoming.add(d, source, n * 0.02).sound]
    return np.concatenate([np.zeros((1, 0), np.int16), *sound], axis=1)


def keys(incoming: Incoming, data: list[bytes]) -> str:
    found = [incoming.add(d, HERE, n * 0.02).keys for n, d in enumerate(data)]
    return "".join(key for part in found for key in part)


def frames(sound: Sound) -> list[Pcm]:
    rate, pcm = sound
    size = rate // 50
    return [pcm[:, s : s + size] for s in range(0, pcm.shape[1] - size + 1, size)]


# Out


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("media", [MEDIA, A_LAW])
def test_a_tone_arrives_with_its_pitch_and_level(rate: int, media: Media) -> None:
    outgoing, incoming = Outgoing(media, rate), Incoming(media, 0.0)
    sound = tone(1.5, rate)
    heard = hear(incoming, [outgoing.next(frame) for frame in frames(sound)])
    assert heard.shape == (1, 1.5 * RATE)
    middle = heard[0, RATE // 4 : RATE // 4 + RATE]
    assert np.abs(np.fft.rfft(middle)).argmax() == 440
    assert level(middle) == pytest.approx(level(sound[1]), abs=0.5)


def test_a_packet_leaves_every_20_ms_in_silence_too() -> None:
    outgoing = Outgoing(MEDIA, 24_000)
    sent = [parse_rtp(outgoing.next(None)) for _ in range(100)]
    assert all(p is not None and p.payload == SILENCE for p in sent)
    first, last = sent[0], sent[-1]
    assert first is not None
    assert last is not None
    assert (last.sequence - first.sequence) & 0xFFFF == 99
    assert (last.timestamp - first.timestamp) & 0xFFFFFFFF == 99 * 160
    assert {p.ssrc for p in sent if p is not None} == {first.ssrc}


def test_sound_after_a_long_silence_is_whole() -> None:
    outgoing, incoming = Outgoing(MEDIA, 24_000), Incoming(MEDIA, 0.0)
    data = [outgoing.next(frame) for frame in frames(tone(0.5))]
    data += [outgoing.next(None) for _ in range(50)]
    data += [outgoing.next(frame) for frame in [*frames(tone(0.5)), None, None, None]]
    loud = np.flatnonzero(np.abs(hear(incoming, data)[0].astype(int)) > 2_000)
    (pause,) = np.flatnonzero(np.diff(loud) > 1_000)
    assert (loud[pause] - loud[0]) / RATE == pytest.approx(0.5, abs=0.01)
    assert (loud[-1] - loud[pause + 1]) / RATE == pytest.approx(0.5, abs=0.01)


def test_the_first_packet_is_marked_as_such() -> None:
    outgoing = Outgoing(MEDIA, 24_000)
    assert [bool(outgoing.next(None)[1] & 0x80) for _ in range(3)] == [True, False, False]


def test_a_change_of_codec_is_followed() -> None:
    outgoing = Outgoing(MEDIA, 8_000)
    outgoing.follow(A_LAW)
    found = parse_rtp(outgoing.next(np.full((1, 160), 1_000, np.int16)))
    assert found is not None
    assert (found.payload_type, found.payload) == (8, ALAW.encode(np.full((1, 160), 1_000, "i2")))


# In


def test_speech_is_heard_in_order_and_what_is_lost_as_silence() -> None:
    loud = MULAW.encode(np.full((1, 160), 5_000, np.int16))
    sent = [packet(n, loud) for n in range(20)]
    sent[4], sent[5] = sent[5], sent[4]
    del sent[10]
    heard = hear(Incoming(MEDIA, 0.0), sent)
    assert heard.shape[1] == 20 * 160
    assert np.flatnonzero(heard[0] == 0).tolist() == list(range(1_600, 1_760))


def test_packets_of_another_length_are_heard_whole() -> None:
    heard = hear(Incoming(MEDIA, 0.0), [packet(n, b"\x80" * 240) for n in range(10)])
    assert heard.shape[1] == 2_400


def test_the_first_packet_shows_where_the_caller_is() -> None:
    incoming = Incoming(MEDIA, 0.0)
    hear(incoming, [packet(1)], NAT)
    assert incoming.source == NAT


def test_nobody_else_is_heard_afterwards() -> None:
    incoming = Incoming(MEDIA, 0.0)
    hear(incoming, [packet(1)], NAT)
    assert not hear(incoming, [packet(2), packet(3)], ELSEWHERE).size
    assert not incoming.add(key(4, 1, 0), ELSEWHERE, 0.1).keys
    assert hear(incoming, [packet(2)], NAT).size


def test_the_host_that_called_takes_the_place_of_a_stranger_who_was_quicker() -> None:
    incoming = Incoming(MEDIA, 0.0, caller=NAT[0])
    hear(incoming, [packet(1)], ELSEWHERE)
    assert hear(incoming, [packet(1)], NAT).size
    assert incoming.source == NAT
    assert not hear(incoming, [packet(2)], ELSEWHERE).size


def test_after_two_seconds_the_place_is_taken() -> None:
    incoming = Incoming(MEDIA, 0.0, caller=NAT[0])
    incoming.add(packet(1), ELSEWHERE, 0.0)
    assert not incoming.add(packet(2), NAT, 2.1).sound
    assert incoming.source == ELSEWHERE


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", packet(1, kind=18), write_rtp(72, True, 1, 1, 1, b"report"), b"\x80" * 11],
)
def test_what_is_no_sound_of_the_call_shows_nothing(data: bytes) -> None:
    incoming = Incoming(MEDIA, 0.0)
    assert not hear(incoming, [data], ELSEWHERE).size
    assert incoming.source is None


def test_a_caller_who_hears_elsewhere_may_speak_from_elsewhere() -> None:
    incoming = Incoming(MEDIA, 0.0)
    hear(incoming, [packet(1)])
    incoming.follow(read_media(OFFER.replace("7000", "7002").encode()), 1.0)
    assert hear(incoming, [packet(2)], NAT).size
    assert incoming.source == NAT


def test_a_caller_who_changes_nothing_keeps_its_place() -> None:
    incoming = Incoming(MEDIA, 0.0)
    hear(incoming, [packet(1)])
    incoming.follow(MEDIA, 1.0)
    assert not hear(incoming, [packet(2)], ELSEWHERE).size


def test_an_exchange_may_change_who_speaks() -> None:
    incoming = Incoming(MEDIA, 0.0)
    hear(incoming, [packet(n) for n in range(100)])
    assert incoming.add(packet(40_000, ssrc=2), HERE, 2.0).sound
    assert not incoming.add(packet(101, ssrc=1), HERE, 2.1).sound


def test_too_large_a_packet_is_not_heard() -> None:
    assert not hear(Incoming(MEDIA, 0.0), [packet(1, b"\x80" * (LONGEST_PAYLOAD + 1))]).size


def test_a_flood_is_not_heard_in_full() -> None:
    incoming = Incoming(MEDIA, 0.0)
    heard = [incoming.add(packet(n % 65_536), HERE, 1 + n / 100_000) for n in range(100_000)]
    assert 200 <= sum(len(h.sound) for h in heard) <= 450


def test_comfort_noise_is_no_loss() -> None:
    sent = [packet(0), packet(1, b"\x40", 13), packet(2), packet(3), packet(4), packet(5)]
    assert hear(Incoming(MEDIA, 0.0), sent).shape[1] == 5 * 160


# Keys


def test_each_key_is_pressed_once() -> None:
    sent, number = [packet(0)], 1
    for n, digit in enumerate([1, 1, 11, 10, 15]):
        pressed = 10_000 * (n + 1)
        for step in range(6):
            sent.append(key(number, digit, pressed, 160 * (step + 1), end=step > 2))
            number += 1
    assert keys(Incoming(MEDIA, 0.0), sent) == "11#*D"


def test_a_key_whose_first_packets_are_lost_is_pressed() -> None:
    sent = [packet(0), key(5, 7, 800, 800, end=True), key(6, 7, 800, 800, end=True)]
    assert keys(Incoming(MEDIA, 0.0), sent) == "7"


def test_a_key_that_comes_late_is_not_pressed_again() -> None:
    sent = [key(1, 7, 800), key(3, 8, 4_000), key(2, 7, 800, end=True)]
    assert keys(Incoming(MEDIA, 0.0), sent) == "78"


def test_keys_are_told_apart_where_time_wraps_around() -> None:
    sent = [key(1, 7, 2**32 - 100), key(2, 8, 60)]
    assert keys(Incoming(MEDIA, 0.0), sent) == "78"


@pytest.mark.parametrize("payload", [b"", b"\1\2\3", b"\x10\0\0\0", b"\xff\0\0\0"])
def test_what_is_no_key_is_not_pressed(payload: bytes) -> None:
    assert not keys(Incoming(MEDIA, 0.0), [packet(1, payload, 101)])


def test_keys_are_no_loss_of_sound() -> None:
    sent = [packet(0), *(key(n, 5, 160) for n in range(1, 7)), *(packet(n) for n in range(7, 12))]
    assert hear(Incoming(MEDIA, 0.0), sent).shape[1] == 6 * 160


@given(st.lists(st.tuples(st.sampled_from([0, 13, 101]), st.integers(0, 9), st.binary(max_size=9))))
@settings(deadline=None, max_examples=150)
def test_any_packets_are_heard_or_not(given: list[tuple[int, int, bytes]]) -> None:
    incoming = Incoming(MEDIA, 0.0)
    for n, (kind, number, payload) in enumerate(given):
        heard = incoming.add(packet(number, payload, kind), HERE, n * 0.02)
        assert all(pcm.dtype == np.int16 and pcm.shape[0] == 1 for pcm in heard.sound)
