import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.transports.origin import host_name, is_loopback, is_welcome

ALLOWED = ["https://example.com", "http://localhost:3000/"]


# Without a list


@pytest.mark.parametrize("allowed", [None, [], ALLOWED])
def test_a_program_names_no_origin_and_is_welcome(allowed: list[str] | None) -> None:
    assert is_welcome(None, "example.com", allowed)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://example.com", "example.com"),
        ("https://example.com", "example.com:8000"),
        ("https://example.com:8443", "example.com"),
        ("https://EXAMPLE.com", "example.COM"),
        ("https://example.com", "example.com."),
        ("http://192.168.1.5:7860", "192.168.1.5:7860"),
        ("http://[fd00::1]:7860", "[fd00::1]:8000"),
    ],
)
def test_a_page_of_the_host_itself_is_welcome_whatever_the_ports(origin: str, host: str) -> None:
    assert is_welcome(origin, host, None)


@pytest.mark.parametrize(
    "origin", ["http://localhost:5173", "http://127.0.0.1", "http://[::1]:80", "http://a.localhost"]
)
@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:7860", "[::1]", "127.8.8.8"])
def test_pages_of_this_machine_may_call_this_machine(origin: str, host: str) -> None:
    assert is_welcome(origin, host, None)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.com", "example.com"),
        ("https://sub.example.com", "example.com"),
        ("https://example.com", "sub.example.com"),
        ("https://example.com.evil.com", "example.com"),
        ("https://evilexample.com", "example.com"),
        ("https://example.com@evil.com", "example.com"),
        ("https://evil.com/example.com", "example.com"),
        ("https://evil.com#@example.com", "example.com"),
        ("https://evil.com", "localhost:8000"),
        ("https://localhost.evil.com", "localhost:8000"),
        ("https://evillocalhost", "localhost:8000"),
        ("http://127.0.0.1.evil.com", "127.0.0.1"),
        ("http://localhost:8000", "example.com"),
    ],
)
def test_a_page_of_another_host_is_not_welcome(origin: str, host: str) -> None:
    assert not is_welcome(origin, host, None)


@pytest.mark.parametrize(
    "origin", ["", "null", "file://", "example.com", "https://", "https://[", "//:80", "\ud800"]
)
def test_an_origin_that_names_no_host_is_not_welcome(origin: str) -> None:
    for host in ("example.com", "localhost", "", "["):
        assert not is_welcome(origin, host, None)


# With a list


@pytest.mark.parametrize(
    "origin", ["https://example.com", "https://Example.COM", "http://localhost:3000"]
)
def test_a_page_that_is_on_the_list_is_welcome_at_any_host(origin: str) -> None:
    assert is_welcome(origin, "api.other.org", ALLOWED)


def test_case_and_a_slash_behind_it_do_not_matter_in_the_list() -> None:
    assert is_welcome("https://example.com", "other.org", ["HTTPS://Example.com/"])


@pytest.mark.parametrize(
    "origin",
    [
        "http://example.com",
        "https://example.com:8443",
        "https://sub.example.com",
        "https://example.com.evil.com",
        "http://localhost:3001",
        "null",
        "",
    ],
)
def test_a_page_that_is_not_on_the_list_is_not_welcome(origin: str) -> None:
    assert not is_welcome(origin, "api.other.org", ALLOWED)


def test_a_list_takes_the_place_of_the_host_itself() -> None:
    assert not is_welcome("https://api.other.org", "api.other.org", ALLOWED)


def test_an_empty_list_lets_no_page_in() -> None:
    assert not is_welcome("http://localhost", "localhost", [])


@pytest.mark.parametrize("origin", ["https://evil.com", "null", ""])
def test_a_star_lets_every_page_in(origin: str) -> None:
    assert is_welcome(origin, "example.com", ["https://example.com", "*"])


# Whatever comes


@given(st.text(max_size=40), st.text(max_size=40))
@settings(deadline=None, max_examples=120)
def test_no_origin_and_no_host_is_an_error(origin: str, host: str) -> None:
    assert is_welcome(origin, host, None) in (True, False)
    assert is_welcome(f"https://{origin}", host, ALLOWED) in (True, False)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://Example.com:8000/a?b", "example.com"),
        ("//example.com.", "example.com"),
        ("//[::1]:80", "::1"),
        ("//user:secret@example.com", "example.com"),
        ("//example.com:no-port", "example.com"),
        ("example.com", ""),
        ("//[::1", ""),
        ("", ""),
    ],
)
def test_a_host_name_has_neither_port_nor_upper_case(url: str, name: str) -> None:
    assert host_name(url) == name


@pytest.mark.parametrize("host", ["localhost", "app.localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_these_hosts_are_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "example.com", "mylocalhost", "localhost.com", "192.168.0.1", "0.0.0.0", "::", "1270.0.1"],
)
def test_these_hosts_are_not(host: str) -> None:
    assert not is_loopback(host)
