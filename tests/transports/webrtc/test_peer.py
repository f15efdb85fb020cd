"""What comes to the port of a call, from its client or from anybody."""

from __future__ import annotations

import struct
from typing import Any, cast

import pylibsrtp
import pytest

from fastrtc import metrics
from fastrtc.transports.opus import OpusOptions
from fastrtc.transports.webrtc.aiortc_engine.peer import REPORTS_AT_ONCE, AiortcEngine, AiortcPeer
from fastrtc.transports.webrtc.engine import Sound
from fastrtc.transports.webrtc.media import Outgoing
from fastrtc.transports.webrtc.rtp import RECEIVER_REPORT

KEY = bytes(range(30))


class Deaf:
    """Takes what a peer tells."""

    def connected(self) -> None: ...

    def heard(self, rate: int, pcm: Any) -> None: ...

    def closed(self, reason: str) -> None: ...


def session(side: int) -> pylibsrtp.Session:
    return pylibsrtp.Session(policy=pylibsrtp.Policy(key=KEY, ssrc_type=side))


@pytest.fixture
def peer() -> AiortcPeer:
    made = AiortcEngine().peer(Deaf(), Sound(16_000, 24_000, 1, OpusOptions()))
    made._dtls._rx_srtp = cast(Any, session(pylibsrtp.Policy.SSRC_ANY_INBOUND))
    made._outgoing = Outgoing(111, 24_000, 1)
    return made


@pytest.mark.parametrize("first", [128, 144, 191])
@pytest.mark.parametrize("size", [0, 1, 2, 11, 12, 1_500, 1_501, 9_000, 65_507])
async def test_no_datagram_of_a_stranger_raises(first: int, size: int, peer: AiortcPeer) -> None:
    for second in (0, 111, 200, 255):
        peer._link.on_media((bytes([first, second]) + bytes(size))[:size])


async def test_a_flood_of_reports_is_counted_and_not_read(peer: AiortcPeer) -> None:
    assert peer._outgoing is not None
    read: list[float] = []
    peer._outgoing.lost = read.append  # type: ignore[method-assign, assignment]
    dropped = metrics.dropped.values["flood_packet"]
    client = session(pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    block = struct.pack("!II", peer._outgoing.ssrc, 64 << 24) + bytes(16)
    report = struct.pack("!BBHI", 0x81, RECEIVER_REPORT, 7, 9) + block
    for _ in range(REPORTS_AT_ONCE + 50):
        peer._link.on_media(client.protect_rtcp(report))
    assert REPORTS_AT_ONCE <= len(read) <= REPORTS_AT_ONCE + 5
    assert set(read) == {0.25}
    assert metrics.dropped.values["flood_packet"] - dropped >= 45
