"""What a caller hears of RTP packets, and how late: as a good client plays them, after the call.

aiortc's own receiver is no judge of a bad network: it conceals nothing, and its jitter buffer
waits for 16 packets where one is lost. This one waits a fixed time, and conceals what is lost.
"""

from __future__ import annotations

import ctypes
import itertools
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

RATE: Final = 16_000
"""Hz, of what is heard."""
SLOT: Final = RATE // 50
TICKS: Final = 960
"""RTP ticks of 20 ms (RFC 7587)."""
PATIENCE: Final = 0.25
"""Seconds after the fastest packet of its time: what comes later is lost, as in a browser."""
AROUND: Final = 50
"""Packets before and after one (1 s) that are of its time: a sender's clock may slip."""
LONGEST_CONCEALED: Final = 5
"""Packets in a row; after 100 ms a listener hears silence."""

WINDOW: Final = RATE // 2
STEP: Final = RATE // 4
LONGEST_DELAY: Final = 3 * RATE
LIKENESS: Final = 0.5
"""Correlation from which on a piece of what is heard is taken for a piece of what was said: where
much is lost it is low, and other speech of the same voice reaches 0.4 in one piece of ten."""
AUDIBLE: Final = 300.0
"""RMS of a piece of speech."""
HOLE: Final = 0.2
"""The share of its level (-14 dB) under which a piece is not there."""

Samples = NDArray[np.int16]


@dataclass(frozen=True)
class Packet:
    """A packet of RTP that has come.

    ``at``: its time on the monotonic clock, in seconds.
    """

    sequence: int
    timestamp: int
    payload: bytes
    at: float


@dataclass(frozen=True)
class Hearing:
    """A call as it was heard.

    Attributes:
        samples: from the first packet on; mono, at `RATE`.
        arrived: when each 20 ms of it came, in seconds on the monotonic clock; NaN if it did not.
        played: the same, if each had been as fast as the fastest of its time.
        lost: packets that did not come, or too late.
        packets: packets that were sent.
    """

    samples: Samples
    arrived: NDArray[np.float64]
    played: NDArray[np.float64]
    lost: int
    packets: int

    def since(self, at: float, until: float = float("inf")) -> Samples:
        """What was heard between two times on the monotonic clock."""
        first, last = np.searchsorted(self.played, at), np.searchsorted(self.played, until)
        return self.samples[first * SLOT : last * SLOT]


def hear(packets: list[Packet]) -> Hearing:
    """Play packets that came in any order; ValueError if none came."""
    if not packets:
        raise ValueError("not one packet came")
    first = packets[0]
    by_slot: dict[int, Packet] = {}
    numbers: dict[int, int] = {}
    for packet in packets:
        slot = _signed(packet.timestamp - first.timestamp, 32) // TICKS
        by_slot.setdefault(slot, packet)
        numbers.setdefault(slot, _signed(packet.sequence - first.sequence, 16))
    begin, end = min(by_slot), max(by_slot) + 1
    at = np.array([by_slot[s].at if s in by_slot else np.inf for s in range(begin, end)])
    played = _fastest(at)
    came = {s for s, p in by_slot.items() if p.at - played[s - begin] <= PATIENCE}
    # A hole in time without one in the numbers is silence that was not sent.
    order = sorted(came)
    quiet = {
        slot
        for a, b in itertools.pairwise(order)
        if numbers[b] - numbers[a] == 1
        for slot in range(a + 1, b)
    }
    decoder = _Decoder()
    samples = np.zeros((end - begin) * SLOT, np.int16)
    arrived = np.full(end - begin, np.nan)
    missing = 0
    for slot in range(begin, end):
        place = slot - begin
        if slot in came:
            sound = decoder.decode(by_slot[slot].payload)
            arrived[place] = by_slot[slot].at
            missing = 0
        elif slot in quiet or (missing := missing + 1) > LONGEST_CONCEALED:
            continue
        else:
            after = by_slot[slot + 1].payload if slot + 1 in came else None
            sound = decoder.conceal(after)
        samples[place * SLOT : place * SLOT + len(sound)] = sound[: len(samples) - place * SLOT]
    sent = max(numbers.values()) - min(numbers.values()) + 1
    return Hearing(samples, arrived, played, sent - len(came), sent)


def _fastest(at: NDArray[np.float64]) -> NDArray[np.float64]:
    """When each 20 ms would have come, had it been as fast as the fastest around it.

    ``at``: when they came; infinite if they did not. Time never goes back.
    """
    slots = np.arange(len(at)) / 50
    took = np.pad(at - slots, AROUND, constant_values=np.inf)
    around = np.lib.stride_tricks.sliding_window_view(took, 2 * AROUND + 1)
    fastest = around.min(axis=1)
    known = np.isfinite(fastest)
    fastest = np.interp(slots, slots[known], fastest[known])
    return np.maximum.accumulate(slots + fastest)


@dataclass(frozen=True)
class Piece:
    """20 ms of speech that came back.

    Attributes:
        place: where in what was said, in seconds.
        delay: mouth to ear, in seconds; NaN if its packet did not come.
        hole: whether 10 ms of it are silent although something was said.
    """

    place: float
    delay: float
    hole: bool


def compare(said: Samples, said_at: NDArray[np.floating[Any]], heard: Hearing) -> list[Piece]:
    """Find what was said in what was heard, as far as it is there.

    Args:
        said: mono, at `RATE`.
        said_at: when each 20 ms of it began, in seconds on the monotonic clock.
        heard: the echo of it.
    """
    found = []
    for start in range(0, len(said) - WINDOW, STEP):
        piece = said[start : start + WINDOW].astype(np.float64)
        if _rms(piece) < AUDIBLE:
            continue
        first = int(np.searchsorted(heard.played, said_at[start // SLOT] - PATIENCE)) * SLOT
        there = heard.samples[first : first + WINDOW + LONGEST_DELAY].astype(np.float64)
        place = _find(piece, there)
        if place is None:
            continue
        begin = first + place
        for slot in range(-(-begin // SLOT), (begin + STEP) // SLOT):
            mouth = start + slot * SLOT - begin
            delay = heard.arrived[slot] - said_at[mouth // SLOT] - mouth % SLOT / RATE
            hole = _has_hole(said[mouth:][:SLOT], heard.samples[slot * SLOT :][:SLOT])
            found.append(Piece(mouth / RATE, float(delay), hole))
    return found


def _has_hole(said: Samples, heard: Samples) -> bool:
    halves = zip(np.split(said, 2), np.split(heard, 2), strict=True)
    return any(_rms(a) >= AUDIBLE and _rms(b) < HOLE * _rms(a) for a, b in halves)


def _rms(samples: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def _find(piece: NDArray[np.float64], there: NDArray[np.float64]) -> int | None:
    """Where a piece of sound is in another; None if it is not there."""
    if len(there) < len(piece):
        return None
    size = 1 << (len(there) + len(piece)).bit_length()
    product = np.fft.rfft(there, size) * np.conj(np.fft.rfft(piece, size))
    likeness = np.fft.irfft(product, size)[: len(there) - len(piece) + 1]
    energy = np.concatenate([[0.0], np.cumsum(there**2)])
    norms = np.sqrt((energy[len(piece) :] - energy[: -len(piece)]) * np.sum(piece**2))
    likeness = likeness / np.maximum(norms, 1.0)
    best = int(likeness.argmax())
    return best if likeness[best] >= LIKENESS else None


def _signed(number: int, bits: int) -> int:
    """A difference of two counters that wrap."""
    half = 1 << (bits - 1)
    return (number + half) % (1 << bits) - half


class _Decoder:
    """libopus itself, because PyAV's way to it conceals nothing."""

    def __init__(self) -> None:
        error = ctypes.c_int()
        opus = _libopus()
        self._memory = ctypes.create_string_buffer(opus.opus_decoder_get_size(1))
        error.value = opus.opus_decoder_init(self._memory, RATE, 1)
        if error.value:
            raise RuntimeError(f"libopus: error {error.value}")

    def decode(self, payload: bytes) -> Samples:
        return self._decode(payload, 6 * SLOT, 0)

    def conceal(self, after: bytes | None) -> Samples:
        """Stand for a lost packet, by what the next one repeats of it, if that is there."""
        return self._decode(after, SLOT, 0 if after is None else 1)

    def _decode(self, payload: bytes | None, most: int, repeated: int) -> Samples:
        samples = np.zeros(most, np.int16)
        place = samples.ctypes.data_as(ctypes.c_void_p)
        size = 0 if payload is None else len(payload)
        count = _libopus().opus_decode(self._memory, payload, size, place, most, repeated)
        return samples[: max(0, count)]


@cache
def _libopus() -> Any:
    """The library that PyAV brings, or the system's."""
    beside = Path(av.__file__).parents[1] / "av.libs"
    found = sorted(beside.glob("libopus*.so*"))
    library = ctypes.CDLL(str(found[0]) if found else "libopus.so.0")
    library.opus_decode.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_int,
    ]
    return library
