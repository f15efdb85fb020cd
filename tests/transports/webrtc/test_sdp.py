import dataclasses
import re

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.audio.convert import Pcm
from fastrtc.transports.opus import OpusOptions
from fastrtc.transports.webrtc.aiortc_engine import AiortcEngine
from fastrtc.transports.webrtc.engine import Sound
from fastrtc.transports.webrtc.sdp import (
    LONGEST_SDP,
    MOST_SECTIONS,
    Answerer,
    Offer,
    SdpError,
    parse_offer,
    write_answer,
)
from tests.transports.webrtc.offers import (
    BROWSERS,
    CHROME,
    CHROME_AUDIO,
    CHROME_CANDIDATE,
    CHROME_DATA,
    CHROME_TRANSPORT,
    DIGEST,
    FIREFOX,
    SAFARI,
    VIDEO,
    bundle,
)

every_browser = pytest.mark.parametrize("text", BROWSERS.values(), ids=BROWSERS)

OURS = Answerer(
    session=(7, 1),
    ufrag="ours",
    password="our-password-of-22-char",
    candidates=["1 1 udp 2130706431 192.0.2.1 50000 typ host"],
    fingerprints=[("sha-256", DIGEST)],
    setup="active",
    ssrc=4711,
    cname="name",
    stereo=False,
)


def wire(text: str) -> str:
    return text.replace("\n", "\r\n")


def offer_of(text: str) -> Offer:
    return parse_offer(wire(text))


def without(text: str, attribute: str) -> str:
    return re.sub(rf"a={attribute}:.*\n", "", text)


def parts(answer: str) -> list[list[str]]:
    """The lines of each media section of an answer."""
    return [part.splitlines() for part in re.split(r"(?m)^(?=m=)", answer)[1:]]


def answer_to(text: str, ours: Answerer = OURS) -> list[list[str]]:
    return parts(write_answer(offer_of(text), ours))


# Reading


@every_browser
def test_the_sound_and_the_data_channel_of_a_browser_are_found(text: str) -> None:
    offer = offer_of(text)
    assert (offer.audio, offer.data) == (0, 1)
    assert [section.kind for section in offer.sections] == ["audio", "application"]
    assert offer.direction == "sendrecv"


@pytest.mark.parametrize(
    ("text", "payload_type", "parameter"),
    [
        (CHROME, 111, ("minptime", "10")),
        (FIREFOX, 109, ("stereo", "1")),
        (SAFARI, 96, ("useinbandfec", "1")),
    ],
    ids=BROWSERS,
)
def test_opus_is_found_under_the_number_that_the_browser_gives_it(
    text: str, payload_type: int, parameter: tuple[str, str]
) -> None:
    opus = offer_of(text).opus
    assert opus is not None
    assert opus.payload_type == payload_type
    assert parameter in opus.parameters.items()


@pytest.mark.parametrize(
    ("text", "ufrag", "password"),
    [
        (CHROME, "EsAw", "bP+XJMM09aR8AiX1jdukzR6Y"),
        (FIREFOX, "7ddb2a4e", "4a2ad6b5e5a6a3e3f9cf3ad2b4a0a5cf"),
        (SAFARI, "3aBc", "c4Vd6GmFz9kS1hTq0wYxN8uR"),
    ],
    ids=BROWSERS,
)
def test_the_credentials_of_a_browser_are_read(text: str, ufrag: str, password: str) -> None:
    offer = offer_of(text)
    assert (offer.ufrag, offer.password) == (ufrag, password)
    assert (offer.setup, offer.lite) == ("actpass", False)


@every_browser
def test_the_fingerprint_is_found_in_the_section_or_above_it(text: str) -> None:
    prints = offer_of(text).fingerprints
    assert [(name, digest.upper()) for name, digest in prints] == [("sha-256", DIGEST)]


def test_the_candidates_in_an_offer_are_read() -> None:
    assert offer_of(CHROME).candidates == [CHROME_CANDIDATE]
    assert not offer_of(CHROME).ended


def test_the_end_of_candidates_in_an_offer_is_seen() -> None:
    assert offer_of(SAFARI).ended


def test_a_lite_agent_is_seen() -> None:
    assert offer_of(CHROME.replace("s=-\n", "s=-\na=ice-lite\n")).lite


@every_browser
def test_lines_may_end_with_a_bare_line_feed(text: str) -> None:
    assert parse_offer(text) == offer_of(text)


@pytest.mark.parametrize("direction", ["sendrecv", "sendonly", "recvonly", "inactive"])
def test_the_direction_of_the_client_is_read(direction: str) -> None:
    text = CHROME.replace("a=sendrecv", f"a={direction}")
    assert offer_of(text).direction == direction


def test_no_direction_means_both() -> None:
    assert offer_of(CHROME.replace("a=sendrecv\n", "")).direction == "sendrecv"


def test_sound_may_come_without_a_data_channel() -> None:
    offer = offer_of(bundle("0", CHROME_AUDIO))
    assert (offer.audio, offer.data) == (0, None)


def test_a_data_channel_may_come_without_sound() -> None:
    offer = offer_of(bundle("1", CHROME_DATA))
    assert (offer.audio, offer.data, offer.opus) == (None, 0, None)
    assert offer.direction == "inactive"
    assert offer.ufrag == "EsAw"


def test_a_section_that_the_client_has_stopped_is_not_taken() -> None:
    stopped = CHROME_AUDIO.replace("m=audio 46154", "m=audio 0")
    offer = offer_of(bundle("1", stopped, CHROME_DATA))
    assert (offer.audio, offer.data) == (None, 1)


def test_sound_without_opus_is_not_taken() -> None:
    offer = offer_of(CHROME.replace("opus/48000/2", "speex/16000"))
    assert (offer.audio, offer.data) == (None, 1)


def test_the_name_of_opus_may_be_written_in_capitals() -> None:
    assert offer_of(CHROME.replace("opus/", "OPUS/")).opus == offer_of(CHROME).opus


def test_only_the_first_of_two_sounds_is_taken() -> None:
    second = CHROME_AUDIO.replace("a=mid:0", "a=mid:2")
    offer = offer_of(bundle("0 1 2", CHROME_AUDIO, CHROME_DATA, second))
    assert offer.audio == 0


def test_a_section_outside_the_bundle_is_not_taken() -> None:
    offer = offer_of(bundle("0", CHROME_AUDIO, CHROME_DATA))
    assert (offer.audio, offer.data) == (0, None)


def test_without_a_bundle_only_the_first_section_is_taken() -> None:
    offer = offer_of(CHROME.replace("a=group:BUNDLE 0 1\n", ""))
    assert (offer.audio, offer.data) == (0, None)


def test_a_section_that_needs_the_bundle_is_taken_though_its_port_is_0() -> None:
    data = CHROME_DATA.replace("m=application 9", "m=application 0") + "a=bundle-only\n"
    assert offer_of(bundle("0 1", CHROME_AUDIO, data)).data == 1


def test_sound_that_needs_the_bundle_of_a_camera_takes_its_transport_from_it() -> None:
    # RFC 8843, 7.2.1: only the first section of a bundle has a transport then.
    audio = CHROME_AUDIO.replace(CHROME_TRANSPORT, "").replace("m=audio 46154", "m=audio 0")
    offer = offer_of(bundle("v 0", VIDEO, audio + "a=bundle-only\n"))
    assert offer.audio == 1
    assert (offer.ufrag, offer.setup) == ("EsAw", "actpass")


# Refusing


@pytest.mark.pitfall(29)
@pytest.mark.parametrize("attribute", ["fingerprint", "ice-ufrag", "ice-pwd"])
@every_browser
def test_an_offer_without_what_a_call_needs_is_refused_by_name(text: str, attribute: str) -> None:
    with pytest.raises(SdpError, match=f"no a={attribute}"):
        offer_of(without(text, attribute))


@pytest.mark.pitfall(29)
@pytest.mark.parametrize("value", [None, 7, b"v=0", [], {"sdp": CHROME}, True])
def test_what_is_no_text_is_refused_with_its_type(value: object) -> None:
    with pytest.raises(SdpError, match=f"expected SDP text, got {type(value).__name__}"):
        parse_offer(value)


@pytest.mark.pitfall(29)
@pytest.mark.parametrize(
    "text",
    ["", "\n", "hello", "v=1", "v=0", "v=0\r\n", "\0", "{}", "V=0", " \nv=0", "m=audio 9 x 0"],
)
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(SdpError):
        parse_offer(text)


@pytest.mark.pitfall(29)
@pytest.mark.parametrize("line", ["m=", "m=audio", "m=audio 9 UDP/TLS/RTP/SAVPF", "m= \t"])
def test_a_section_without_its_four_parts_is_refused(line: str) -> None:
    with pytest.raises(SdpError, match="expected 'm=KIND PORT PROTOCOL FORMATS'"):
        offer_of(f"{CHROME}{line}\n")


def test_a_huge_offer_is_refused() -> None:
    with pytest.raises(SdpError, match=f"at most {LONGEST_SDP} characters"):
        offer_of(CHROME + "a=x\n" * LONGEST_SDP)


def test_too_many_sections_are_refused() -> None:
    with pytest.raises(SdpError):
        offer_of(CHROME + "m=x 0 x 0\n" * MOST_SECTIONS)


def test_an_offer_of_neither_opus_nor_data_is_refused() -> None:
    with pytest.raises(SdpError, match="neither Opus audio nor a data channel"):
        offer_of(bundle("v", VIDEO))


@pytest.mark.parametrize("value", ["holdconn", "x" * 1_000, "actpass passive"])
def test_an_unknown_setup_is_refused_in_a_short_text(value: str) -> None:
    with pytest.raises(SdpError, match="expected a=setup") as e:
        offer_of(CHROME.replace("a=setup:actpass", f"a=setup:{value}"))
    assert len(str(e.value)) < 200


@pytest.mark.parametrize("value", ["", "sha-256"])
def test_half_a_fingerprint_is_refused(value: str) -> None:
    with pytest.raises(SdpError, match="fingerprint"):
        offer_of(CHROME.replace(f"sha-256 {DIGEST}", value))


@pytest.mark.pitfall(29)
@pytest.mark.parametrize("number", ["128", "999", "²", "1" * 5_000, "-1", "x", ""])
def test_opus_under_an_impossible_number_is_refused(number: str) -> None:
    with pytest.raises(SdpError, match="expected a payload type of 0 to 127") as e:
        offer_of(CHROME.replace("a=rtpmap:111 ", f"a=rtpmap:{number} "))
    assert len(str(e.value)) < 200


lines_of_offers = sorted({line for text in BROWSERS.values() for line in text.splitlines()})


@pytest.mark.pitfall(29)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(lines_of_offers), max_size=40)))
@settings(deadline=None, max_examples=150)
def test_any_text_is_read_or_refused(text: str | list[str]) -> None:
    try:
        offer = parse_offer("v=0\n" + (text if isinstance(text, str) else "\n".join(text)))
    except SdpError:
        return
    write_answer(offer, OURS)


@pytest.mark.pitfall(29)
@given(st.sampled_from(sorted(BROWSERS)), st.data())
@settings(deadline=None, max_examples=100)
def test_an_offer_cut_anywhere_is_read_or_refused(name: str, data: st.DataObject) -> None:
    text = wire(BROWSERS[name])
    try:
        offer = parse_offer(text[: data.draw(st.integers(0, len(text)))])
    except SdpError:
        return
    write_answer(offer, OURS)


@pytest.mark.pitfall(29)
@given(st.sampled_from(sorted(BROWSERS)), st.data())
@settings(deadline=None, max_examples=100)
def test_an_offer_with_garbled_lines_is_read_or_refused(name: str, data: st.DataObject) -> None:
    lines = BROWSERS[name].splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(1, len(lines) - 1))
        head, _, _ = lines[place].partition(":")
        lines[place] = f"{head}:{data.draw(st.text(max_size=8))}"
    try:
        offer = parse_offer("\r\n".join(lines))
    except SdpError:
        return
    answer = write_answer(offer, OURS)
    assert all(re.match(r"[a-z]=", line) for line in answer.split("\r\n")[:-1])


# Answering


@every_browser
def test_an_answer_has_the_sections_of_the_offer_in_their_order(text: str) -> None:
    answer = answer_to(text)
    assert [lines[0].split()[0] for lines in answer] == ["m=audio", "m=application"]
    assert all(f"a=mid:{mid}" in lines for mid, lines in enumerate(answer))


def test_every_line_of_an_answer_ends_as_the_rfc_has_it() -> None:
    answer = write_answer(offer_of(CHROME), OURS)
    assert answer.startswith("v=0\r\no=- 7 1 IN IP4 ")
    assert answer.endswith("\r\n")
    assert all(re.match(r"[a-z]=\S", line) for line in answer.split("\r\n")[:-1])
    assert "\n" not in answer.replace("\r\n", "")


@pytest.mark.parametrize(
    ("text", "number"), [(CHROME, 111), (FIREFOX, 109), (SAFARI, 96)], ids=BROWSERS
)
def test_an_answer_takes_opus_alone_under_the_offered_number(text: str, number: int) -> None:
    sound = answer_to(text)[0]
    assert sound[0] == f"m=audio 9 UDP/TLS/RTP/SAVPF {number}"
    assert f"a=rtpmap:{number} opus/48000/2" in sound
    assert len([line for line in sound if line.startswith("a=rtpmap")]) == 1


def test_an_answer_repeats_the_offered_data_channel() -> None:
    data = answer_to(CHROME)[1]
    assert data[0] == "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"
    assert "a=sctp-port:5000" in data


EXTRA = {
    "a camera before the sound": bundle("v 0 1", VIDEO, CHROME_AUDIO, CHROME_DATA),
    "a camera between": bundle("0 v 1", CHROME_AUDIO, VIDEO, CHROME_DATA),
    "a camera that is stopped": bundle(
        "0 1", VIDEO.replace("m=video 9", "m=video 0"), CHROME_AUDIO, CHROME_DATA
    ),
    "a camera outside the bundle": bundle("0 1", CHROME_AUDIO, VIDEO, CHROME_DATA),
}
every_extra = pytest.mark.parametrize("text", EXTRA.values(), ids=EXTRA)


@every_extra
def test_what_else_is_offered_is_declined_in_its_place(text: str) -> None:
    answer = answer_to(text)
    kinds = [section.kind for section in offer_of(text).sections]
    assert [lines[0].split()[0].removeprefix("m=") for lines in answer] == kinds
    ports = {lines[0].split()[0]: lines[0].split()[1] for lines in answer}
    assert ports == {"m=video": "0", "m=audio": "9", "m=application": "9"}
    camera = next(lines for lines in answer if lines[0].startswith("m=video"))
    assert "a=mid:v" in camera
    assert not [line for line in camera if line.startswith(("a=ice", "a=candidate", "a=setup"))]


@every_extra
def test_a_bundle_names_only_what_is_taken(text: str) -> None:
    assert "\r\na=group:BUNDLE 0 1\r\n" in write_answer(offer_of(text), OURS)


@pytest.mark.parametrize(
    ("text", "mids"), [(bundle("0", CHROME_AUDIO), "0"), (bundle("1", CHROME_DATA), "1")]
)
def test_a_bundle_of_one_is_named_too(text: str, mids: str) -> None:
    assert f"\r\na=group:BUNDLE {mids}\r\n" in write_answer(offer_of(text), OURS)


def test_an_answer_to_an_offer_without_a_bundle_has_none() -> None:
    # RFC 8843, 7.3: an answerer may not bundle what was not offered as a bundle.
    text = CHROME.replace("a=group:BUNDLE 0 1\n", "")
    assert "a=group" not in write_answer(offer_of(text), OURS)
    assert [lines[0].split()[1] for lines in answer_to(text)] == ["9", "0"]


def test_an_answer_names_no_mid_that_was_not_offered() -> None:
    text = without(CHROME.replace("a=group:BUNDLE 0 1\n", ""), "mid")
    assert "a=mid" not in write_answer(offer_of(text), OURS)


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        ("sendrecv", "sendrecv"),
        ("sendonly", "recvonly"),
        ("recvonly", "sendonly"),
        ("inactive", "inactive"),
    ],
)
def test_the_direction_is_mirrored(offered: str, answered: str) -> None:
    sound = answer_to(CHROME.replace("a=sendrecv", f"a={offered}"))[0]
    directions = ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")
    assert [line for line in sound if line in directions] == [f"a={answered}"]


@pytest.mark.parametrize(("offered", "names"), [("recvonly", True), ("sendonly", False)])
def test_our_source_is_named_only_where_we_send(offered: str, names: bool) -> None:
    sound = answer_to(CHROME.replace("a=sendrecv", f"a={offered}"))[0]
    assert ("a=ssrc:4711 cname:name" in sound) is names


@pytest.mark.parametrize("setup", ["active", "passive"])
def test_every_taken_section_has_our_side_of_the_transport(setup: str) -> None:
    for lines in answer_to(CHROME, dataclasses.replace(OURS, setup=setup)):
        assert "a=ice-ufrag:ours" in lines
        assert f"a=fingerprint:sha-256 {DIGEST}" in lines
        assert f"a=setup:{setup}" in lines
        assert f"a=candidate:{OURS.candidates[0]}" in lines


def test_stereo_is_asked_for_where_it_is_wanted() -> None:
    assert "stereo=1" in "".join(answer_to(CHROME, dataclasses.replace(OURS, stereo=True))[0])
    assert "stereo=1" not in "".join(answer_to(CHROME)[0])


# Restarts


def restarted(text: str) -> str:
    return text.replace("EsAw", "fReS").replace("bP+XJMM09aR8AiX1jdukzR6Y", "x" * 24)


@pytest.mark.pitfall(34)
def test_the_same_client_with_fresh_credentials_restarts_ice() -> None:
    assert offer_of(restarted(CHROME)).restarts(offer_of(CHROME))


@pytest.mark.pitfall(34)
def test_the_same_offer_again_is_no_restart() -> None:
    assert not offer_of(CHROME).restarts(offer_of(CHROME))


@pytest.mark.pitfall(32)
def test_another_client_cannot_restart_the_call() -> None:
    thief = restarted(CHROME).replace(DIGEST, DIGEST.replace("4A", "5B"))
    assert not offer_of(thief).restarts(offer_of(CHROME))
    assert not offer_of(thief).same_client(offer_of(CHROME))


def test_the_case_of_a_fingerprint_does_not_matter() -> None:
    assert offer_of(CHROME.replace(DIGEST, DIGEST.lower())).same_client(offer_of(CHROME))


# With another implementation


class Nobody:
    """Hears what a peer tells, and does nothing."""

    def connected(self) -> None: ...

    def heard(self, rate: int, pcm: Pcm) -> None: ...

    def closed(self, reason: str) -> None: ...


async def real_answer(offer: Offer) -> str:
    """What our engine answers; the call is then given up."""
    peer = AiortcEngine().peer(Nobody(), Sound(24_000, 24_000, 1, OpusOptions()))
    try:
        return await peer.answer(offer, {"iceServers": []})
    finally:
        await peer.close()


@pytest.mark.parametrize(
    ("offered", "answered"), [("actpass", "active"), ("active", "passive"), ("passive", "active")]
)
async def test_the_engine_takes_the_other_role_in_the_handshake(
    offered: str, answered: str
) -> None:
    text = FIREFOX.replace("a=setup:actpass", f"a=setup:{offered}")
    for lines in parts(await real_answer(offer_of(text))):
        assert f"a=setup:{answered}" in lines


OFFERS = ["sound and data", "sound", "data"]


@pytest.mark.parametrize("what", OFFERS)
async def test_aiortc_accepts_the_answer_to_its_own_offer(what: str) -> None:
    client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    if "sound" in what:
        client.addTrack(AudioStreamTrack())
    if "data" in what:
        client.createDataChannel("text")
    try:
        await client.setLocalDescription(await client.createOffer())
        offer = parse_offer(client.localDescription.sdp)
        assert (offer.audio is not None, offer.data is not None) == (
            "sound" in what,
            "data" in what,
        )
        answer = await real_answer(offer)
        await client.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        assert client.signalingState == "stable"
    finally:
        await client.close()


@every_browser
def test_an_answer_tells_how_often_something_is_sent(text: str) -> None:
    answer = write_answer(offer_of(text), dataclasses.replace(OURS, alive=200))
    session, _, _ = answer.partition("m=")
    assert "\r\na=x-alive:200\r\n" in session


def test_an_answer_that_promises_nothing_says_nothing_of_it() -> None:
    assert "x-alive" not in write_answer(offer_of(CHROME), OURS)
