import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.transports.webrtc.candidates import (
    LONGEST,
    CandidateError,
    RemoteCandidate,
    parse_candidate,
)

FIREFOX = "candidate:0 1 UDP 2122252543 192.168.1.7 54321 typ host"
CHROME = (
    "candidate:842163049 1 udp 1677729535 203.0.113.9 46154 typ srflx raddr 192.168.1.7 "
    "rport 46155 generation 0 ufrag EsAw network-id 1 network-cost 10"
)
SAFARI = (
    "candidate:1467250027 1 udp 2122260223 0d9dd1a5-b4a2-4a4b-9c3e-7d2f0a1b2c3d.local 63210 "
    "typ host generation 0 ufrag 3aBc network-cost 50"
)
TCP = (
    "candidate:1645903805 1 tcp 1518083839 10.0.0.7 9 typ host tcptype active generation 0 "
    "ufrag EsAw network-id 3"
)
RELAY = "candidate:4 1 UDP 92217343 198.51.100.2 61000 typ relay raddr 203.0.113.9 rport 46154"
IPV6 = "candidate:3 1 udp 2122262783 2001:db8::8a2e:370:7334 50000 typ host generation 0"


def read(text: str) -> RemoteCandidate:
    candidate = parse_candidate({"candidate": text, "sdpMid": "0", "sdpMLineIndex": 0})
    assert candidate is not None
    return candidate


@pytest.mark.pitfall(31)
def test_the_eight_tokens_of_firefox_are_enough() -> None:
    assert read(FIREFOX) == RemoteCandidate(
        foundation="0",
        component=1,
        transport="udp",
        priority=2122252543,
        host="192.168.1.7",
        port=54321,
        type="host",
    )


def test_what_chrome_adds_is_skipped_and_its_related_address_is_read() -> None:
    candidate = read(CHROME)
    assert (candidate.host, candidate.port, candidate.type) == ("203.0.113.9", 46154, "srflx")
    assert (candidate.related_host, candidate.related_port) == ("192.168.1.7", 46155)
    assert candidate.tcp_type is None


def test_the_hidden_host_name_of_safari_is_kept() -> None:
    assert read(SAFARI).host == "0d9dd1a5-b4a2-4a4b-9c3e-7d2f0a1b2c3d.local"


def test_a_tcp_candidate_has_its_tcp_type() -> None:
    candidate = read(TCP)
    assert (candidate.transport, candidate.port, candidate.tcp_type) == ("tcp", 9, "active")


def test_a_relay_has_its_related_address_and_port() -> None:
    candidate = read(RELAY)
    assert candidate.type == "relay"
    assert (candidate.related_host, candidate.related_port) == ("203.0.113.9", 46154)


def test_an_ipv6_address_is_kept_whole() -> None:
    assert read(IPV6).host == "2001:db8::8a2e:370:7334"


@pytest.mark.parametrize("kind", ["host", "srflx", "prflx", "relay"])
def test_every_type_of_the_rfc_is_known(kind: str) -> None:
    assert read(FIREFOX.replace("host", kind)).type == kind


@pytest.mark.pitfall(31)
@pytest.mark.parametrize(
    "text", [FIREFOX, f"a={FIREFOX}", FIREFOX.removeprefix("candidate:"), f"  {FIREFOX}\r\n"]
)
def test_a_candidate_is_read_with_any_prefix(text: str) -> None:
    assert read(text) == read(FIREFOX)


def test_bare_text_is_read_as_the_object_is() -> None:
    assert parse_candidate(CHROME) == read(CHROME)


@pytest.mark.pitfall(31)
@pytest.mark.parametrize(
    "given_end",
    [
        None,
        "",
        "   ",
        {},
        {"candidate": ""},
        {"candidate": None, "sdpMid": None},
        {"candidate": "", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "EsAw"},
        "candidate:",
        "a=candidate:",
        "a=end-of-candidates",
        "end-of-candidates",
    ],
)
def test_an_empty_candidate_is_the_end_of_them(given_end: object) -> None:
    assert parse_candidate(given_end) is None


@pytest.mark.parametrize("value", [7, 1.5, True, [], ["candidate"], b"candidate:0", object()])
def test_what_is_no_text_is_refused_with_its_type(value: object) -> None:
    with pytest.raises(CandidateError, match=f"got {type(value).__name__}"):
        parse_candidate(value)
    with pytest.raises(CandidateError, match=f"got {type(value).__name__}"):
        parse_candidate({"candidate": value})


def test_an_object_in_the_place_of_the_text_is_refused() -> None:
    with pytest.raises(CandidateError, match="got dict"):
        parse_candidate({"candidate": {"candidate": FIREFOX}})


@pytest.mark.parametrize("count", range(1, 8))
def test_a_truncated_candidate_is_refused_with_what_was_expected(count: int) -> None:
    text = " ".join(FIREFOX.split()[:count])
    with pytest.raises(CandidateError, match="expected 'FOUNDATION COMPONENT TRANSPORT"):
        read(text)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (1, "-1"),
        (1, "257"),
        (1, "one"),
        (3, "4294967296"),
        (3, "9" * 500),
        (3, "1e3"),
        (3, "0x10"),
        (5, "65536"),
        (5, "-1"),
        (5, "²"),
        (5, "１２"),  # noqa: RUF001
        (5, "99999999999"),
    ],
)
def test_a_number_out_of_range_is_refused(place: int, value: str) -> None:
    tokens = FIREFOX.split()
    tokens[place] = value
    with pytest.raises(CandidateError, match=r"expected a (component|priority|port) of 0 to"):
        read(" ".join(tokens))


@pytest.mark.parametrize("value", ["-1", "65536", "x", "9" * 300])
def test_a_related_port_out_of_range_is_refused(value: str) -> None:
    with pytest.raises(CandidateError, match="expected a rport of 0 to 65535"):
        read(RELAY.replace("46154", value))


@pytest.mark.parametrize("text", [FIREFOX.replace("typ", "type"), FIREFOX.replace("host", "nat")])
def test_an_unknown_type_is_refused(text: str) -> None:
    with pytest.raises(CandidateError, match="expected"):
        read(text)


def test_a_last_name_without_a_value_is_left_out() -> None:
    assert read(f"{RELAY} generation") == read(RELAY)


def test_too_long_a_text_is_refused() -> None:
    with pytest.raises(CandidateError):
        read(FIREFOX + " x y" * LONGEST)


def test_an_error_does_not_repeat_a_long_text_in_full() -> None:
    with pytest.raises(CandidateError) as e:
        read("x" * LONGEST)
    assert len(str(e.value)) < 300


json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.just("candidate"), inner, max_size=1)
    ),
    max_leaves=4,
)
near_candidates = st.lists(
    st.one_of(
        st.sampled_from([*CHROME.split(), *TCP.split(), "a=", "candidate:", "typ", "typ host"]),
        st.text(max_size=6),
        st.integers().map(str),
    ),
    max_size=24,
).map(" ".join)


@given(st.one_of(json_values, st.binary(max_size=20), near_candidates))
@settings(deadline=None, max_examples=200)
def test_whatever_a_client_sends_is_read_or_refused(value: object) -> None:
    try:
        candidate = parse_candidate(value)
    except CandidateError:
        return
    if candidate is not None:
        assert 0 <= candidate.port <= 65_535
        assert candidate.type in ("host", "srflx", "prflx", "relay")


@given(st.sampled_from([FIREFOX, CHROME, SAFARI, TCP, RELAY, IPV6]), st.data())
@settings(deadline=None, max_examples=100)
def test_a_candidate_cut_anywhere_is_read_or_refused(text: str, data: st.DataObject) -> None:
    with contextlib.suppress(CandidateError):
        parse_candidate(text[: data.draw(st.integers(0, len(text)))])
