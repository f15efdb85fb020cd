import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.transports.sip.sdp import (
    MOST_LINES,
    MOST_SECTIONS,
    Media,
    SdpError,
    read_media,
    write_answer,
    write_offer,
)
from tests.transports.sip.phone import OFFER


def media(text: str = OFFER) -> Media:
    return read_media(text.encode())


def answered(text: str) -> list[str]:
    return write_answer(media(text), "198.51.100.1", 40_000, (7, 2)).split("\r\n")


def test_an_offer_says_where_and_how_its_caller_hears() -> None:
    found = media()
    assert (found.host, found.port) == ("192.0.2.7", 7000)
    assert (found.codec, found.payload_type, found.event_type) == ("PCMU", 0, 101)
    assert (found.speaks, found.listens) == (True, True)


def test_the_first_codec_of_ours_in_the_order_of_the_offer_is_taken() -> None:
    found = media(OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 9 8 0 101"))
    assert (found.codec, found.payload_type) == ("PCMA", 8)


def test_g711_needs_no_map() -> None:
    plain = "v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 7000 RTP/AVP 8\r\n"
    assert (media(plain).codec, media(plain).event_type) == ("PCMA", None)


def test_g711_may_have_another_number() -> None:
    text = "v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 7000 RTP/AVP 97\r\na=rtpmap:97 pcmu/8000/1\r\n"
    assert (media(text).codec, media(text).payload_type) == ("PCMU", 97)


def test_a_number_that_is_mapped_to_something_else_is_that() -> None:
    with pytest.raises(SdpError):
        media("v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 7000 RTP/AVP 0\r\na=rtpmap:0 PCMU/16000\r\n")


def test_a_section_has_an_address_of_its_own() -> None:
    text = OFFER.replace("a=ptime", "c=IN IP4 192.0.2.99\r\na=ptime")
    assert media(text).host == "192.0.2.99"


def test_the_answer_takes_one_codec_and_the_keys() -> None:
    lines = answered(OFFER)
    assert lines[1] == "o=- 7 2 IN IP4 198.51.100.1"
    assert lines[3] == "c=IN IP4 198.51.100.1"
    assert lines[5:] == [
        "m=audio 40000 RTP/AVP 0 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "",
    ]


def test_the_answer_has_no_keys_where_none_are_offered() -> None:
    lines = answered(OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 0 8"))
    assert "m=audio 40000 RTP/AVP 0" in lines


def test_other_sections_are_declined_in_their_places() -> None:
    secure = "m=audio 6000 RTP/SAVP 0\r\na=crypto:1 x\r\n"
    video = "m=video 7002 RTP/AVP 96 97\r\n"
    text = OFFER.replace("m=audio", secure + "m=audio") + video
    found = [line for line in answered(text) if line.startswith("m=")]
    assert found == [
        "m=audio 0 RTP/SAVP 0",
        "m=audio 40000 RTP/AVP 0 101",
        "m=video 0 RTP/AVP 96 97",
    ]


@pytest.mark.parametrize(
    ("offered", "answer", "speaks", "listens"),
    [
        ("sendrecv", "sendrecv", True, True),
        ("sendonly", "recvonly", True, False),
        ("recvonly", "sendonly", False, True),
        ("inactive", "inactive", False, False),
    ],
)
def test_the_direction_is_answered_with_its_mirror_image(
    offered: str, answer: str, speaks: bool, listens: bool
) -> None:
    text = OFFER.replace("sendrecv", offered)
    assert f"a={answer}" in answered(text)
    assert (media(text).speaks, media(text).listens) == (speaks, listens)


def test_the_direction_of_the_whole_description_holds_where_a_section_has_none() -> None:
    text = OFFER.replace("a=sendrecv\r\n", "").replace("t=0 0\r\n", "t=0 0\r\na=inactive\r\n")
    assert media(text).direction == "inactive"


def test_the_old_way_to_hold_a_call_is_understood() -> None:
    assert not media(OFFER.replace("192.0.2.7", "0.0.0.0")).listens


def test_what_we_offer_can_be_answered() -> None:
    offer = media(write_offer("198.51.100.1", 40_000, (7, 1)))
    assert (offer.host, offer.port, offer.codec) == ("198.51.100.1", 40_000, "PCMU")
    assert offer.event_type == 101


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        OFFER.replace("m=audio 7000", "m=audio 0"),
        OFFER.replace("m=audio 7000", "m=audio 70000"),
        OFFER.replace("m=audio 7000", "m=audio \u0667"),
        OFFER.replace("m=audio 7000", "m=audio -1"),
        OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP"),
        OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 3 18"),
        OFFER.replace("RTP/AVP", "RTP/SAVP"),
        OFFER.replace("c=IN IP4 192.0.2.7", "c=IN IP6 2001:db8::1"),
        OFFER.replace("c=IN IP4 192.0.2.7", "c=IN IP4 phone.example"),
        OFFER.replace("c=IN IP4 192.0.2.7\r\n", ""),
        OFFER + "m=video 0 RTP/AVP 96\r\n" * MOST_SECTIONS,
        OFFER + "a=x\r\n" * MOST_LINES,
    ],
)
def test_what_cannot_be_answered_is_an_error(text: str) -> None:
    with pytest.raises(SdpError):
        media(text)


@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=100)
def test_any_bytes_are_read_or_are_an_error(data: bytes) -> None:
    with contextlib.suppress(SdpError):
        read_media(b"v=0\r\n" + data)


@given(st.lists(st.sampled_from([*OFFER.split("\r\n"), "m=", "c=", "a=rtpmap:", "a=rtpmap:0"])))
@settings(deadline=None, max_examples=200)
def test_lines_in_any_order_are_answered_or_are_an_error(lines: list[str]) -> None:
    try:
        found = media("\r\n".join(["v=0", *lines]))
    except SdpError:
        return
    assert read_media(write_answer(found, "198.51.100.1", 40_000, (1, 1)).encode())
