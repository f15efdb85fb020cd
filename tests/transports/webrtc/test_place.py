"""Where media are reached, as it is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrtc.transports.webrtc.place import MediaPlace, parse_ports, read_place

numbers = st.integers(1, 65_534)


@given(numbers, numbers, st.sampled_from(["{}-{}", " {} - {} "]))
def test_a_range_is_read_as_it_is_written(one: int, two: int, form: str) -> None:
    first, last = min(one, two), max(one, two) + 1
    assert parse_ports(form.format(first, last)) == (first, last)


@given(st.text(max_size=20))
def test_any_other_text_is_a_value_error(text: str) -> None:
    try:
        first, last = parse_ports(text)
    except ValueError:
        return
    assert 1 <= first < last <= 65_535


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "FIRST-LAST"),
        ("50000", "FIRST-LAST"),
        ("50000:50199", "FIRST-LAST"),
        ("-1-7", "FIRST-LAST"),
        ("\u0661-\u0669", "FIRST-LAST"),
        ("0-100", "1 to 65535"),
        ("65000-65536", "1 to 65535"),
        ("50199-50000", "in order"),
        ("50000-50000", "at least 2 ports"),
    ],
)
def test_what_is_no_range_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_ports(text)


@pytest.mark.parametrize("ports", [(0, 9), (9, 8), (9, 9), (1, 65_536)])
def test_a_place_has_no_such_range(ports: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        MediaPlace(ports=ports)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "127.0.0.1"),
        ("2001:DB8:0::7", "2001:db8::7"),
    ],
)
def test_an_address_is_kept_as_sockets_write_it(given: str, kept: str) -> None:
    assert MediaPlace(given).address == kept


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("voice.example.com", "a host's name is not looked up"),
        ("", "expected an IP address"),
        ("203.0.113.7:50000", "expected an IP address"),
        ("0.0.0.0", "of one host"),
        ("::", "of one host"),
        ("224.0.0.1", "of one host"),
        ("fe80::1%eth0", "of one host"),
        ("::ffff:203.0.113.7", "of one host"),
    ],
)
def test_what_is_no_address_of_a_host_is_refused_in_words(address: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        MediaPlace(address)


ENVIRONMENT = {"FASTRTC_MEDIA_ADDRESS": "203.0.113.7", "FASTRTC_MEDIA_PORTS": "50000-50199"}


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ({}, MediaPlace("203.0.113.7", (50_000, 50_199))),
        ({"address": "203.0.113.8"}, MediaPlace("203.0.113.8", (50_000, 50_199))),
        ({"ports": "40000-40099"}, MediaPlace("203.0.113.7", (40_000, 40_099))),
        ({"ports": (40_000, 40_099)}, MediaPlace("203.0.113.7", (40_000, 40_099))),
    ],
)
def test_what_is_asked_for_outdoes_the_environment(asked: Any, place: MediaPlace) -> None:
    assert read_place(**asked, environment=ENVIRONMENT) == place


@pytest.mark.parametrize("environment", [{}, dict.fromkeys(ENVIRONMENT, " ")])
def test_nothing_is_anywhere(environment: dict[str, str]) -> None:
    assert read_place(environment=environment) == MediaPlace()


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_a_wrong_variable_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected"):
        read_place(environment={**ENVIRONMENT, name: "here"})


def test_a_wrong_variable_is_nothing_to_who_asks_for_something_else() -> None:
    assert read_place("203.0.113.7", environment={"FASTRTC_MEDIA_ADDRESS": "here"}).address
