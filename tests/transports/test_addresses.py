from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import HTTPConnection

from fastrtc.transports.addresses import TRUSTED, as_called, outside, socket_url

STRANGER, PROXY = ("203.0.113.9", 40_000), ("127.0.0.1", 40_000)
FORWARDED = {"x-forwarded-proto": "https", "x-forwarded-host": "voice.example.com:8443"}


@pytest.fixture(autouse=True)
def _usual_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRUSTED, raising=False)


def request(
    host: str | None = "example.com",
    client: tuple[str, int] | None = STRANGER,
    scheme: str = "http",
    path: str = "/telephone/incoming",
    query: str = "",
    forwarded: dict[str, str] | None = None,
) -> HTTPConnection:
    named = {"host": host, **(forwarded or {})}
    scope: dict[str, Any] = {
        "type": "websocket" if scheme in ("ws", "wss") else "http",
        "scheme": scheme,
        "path": path,
        "query_string": query.encode(),
        "headers": [
            (name.encode(), value.encode("latin-1"))
            for name, value in named.items()
            if value is not None
        ],
        "client": client,
        "server": ("10.0.0.5", 8000),
    }
    return HTTPConnection(scope)


# Who is believed


def test_a_request_that_came_straight_is_at_the_host_it_names() -> None:
    assert outside(request("example.com:8000")) == (False, "example.com:8000")
    assert outside(request("example.com", scheme="https")) == (True, "example.com")
    assert outside(request("example.com", scheme="wss")) == (True, "example.com")


def test_a_stranger_is_not_believed_what_it_forwards() -> None:
    assert outside(request(forwarded=FORWARDED)) == (False, "example.com")


def test_a_stranger_cannot_make_a_safe_connection_unsafe() -> None:
    assert outside(request(scheme="https", forwarded={"x-forwarded-proto": "http"}))[0]


def test_a_proxy_of_this_machine_is_believed() -> None:
    assert outside(request(client=PROXY, forwarded=FORWARDED)) == (True, "voice.example.com:8443")


def test_a_socket_of_the_file_system_is_believed() -> None:
    assert outside(request(client=None, forwarded=FORWARDED)) == (True, "voice.example.com:8443")


def test_a_client_whom_the_server_took_from_its_proxy_is_believed() -> None:
    # So uvicorn writes it down: the far client has no port.
    assert outside(request(client=("203.0.113.9", 0), forwarded=FORWARDED))[0]


def test_the_named_proxies_are_believed_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED, "10.1.1.1, 203.0.113.9")
    assert outside(request(client=STRANGER, forwarded=FORWARDED))[0]
    assert not outside(request(client=PROXY, forwarded=FORWARDED))[0]


@pytest.mark.parametrize(
    ("host", "believed"), [("10.1.2.3", True), ("11.1.2.3", False), ("fd77::1", True), ("a", False)]
)
def test_the_proxies_of_a_named_network_are_believed(
    host: str, believed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRUSTED, "10.0.0.0/8, fd77::/16, nonsense/8")
    assert outside(request(client=(host, 4711), forwarded=FORWARDED))[0] is believed


def test_an_empty_list_of_proxies_believes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED, "")
    assert outside(request(client=PROXY, forwarded=FORWARDED)) == (False, "example.com")


def test_a_star_believes_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED, "*")
    assert outside(request(client=STRANGER, forwarded=FORWARDED))[0]


@pytest.mark.parametrize(
    ("proto", "secure"),
    [
        ("https", True),
        ("HTTPS", True),
        ("wss", True),
        ("https, http", True),
        ("http", False),
        ("http,https", False),
        ("ws", False),
        ("nonsense", False),
    ],
)
def test_the_first_of_the_forwarded_protocols_counts(proto: str, secure: bool) -> None:
    assert outside(request(client=PROXY, forwarded={"x-forwarded-proto": proto}))[0] is secure


def test_a_proxy_that_tells_nothing_changes_nothing() -> None:
    assert outside(request(client=PROXY, scheme="https")) == (True, "example.com")
    empty = {"x-forwarded-proto": " ", "x-forwarded-host": ","}
    assert outside(request(client=PROXY, scheme="https", forwarded=empty)) == (True, "example.com")


def test_the_first_of_the_forwarded_hosts_counts() -> None:
    given = request(client=PROXY, forwarded={"x-forwarded-host": "voice.example.com , inner:80"})
    assert outside(given)[1] == "voice.example.com"


def test_a_request_without_a_host_is_at_the_servers_own_address() -> None:
    assert outside(request(None)) == (False, "10.0.0.5:8000")


# The address of a socket of ours


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1:7860", "[::1]:7860", "localhost"])
def test_a_socket_on_this_machine_is_plain_and_keeps_its_port(host: str) -> None:
    assert socket_url(request(host), "/a/handler") == f"ws://{host}/a/handler"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["example.com", "example.com:8443", "192.168.0.4:80"])
def test_a_socket_elsewhere_is_over_tls_and_keeps_its_port(host: str, scheme: str) -> None:
    assert socket_url(request(host, scheme=scheme), "/h") == f"wss://{host}/h"


def test_a_socket_on_this_machine_over_tls_stays_over_tls() -> None:
    assert socket_url(request("localhost:8443", scheme="https"), "/h") == "wss://localhost:8443/h"


@pytest.mark.parametrize("host", ["localhost.evil.com", "evillocalhost", "localhost@evil.com"])
def test_a_name_that_only_looks_like_this_machine_is_elsewhere(host: str) -> None:
    assert socket_url(request(host), "/h").startswith("wss://")


def test_a_socket_behind_a_proxy_is_where_the_outside_finds_it() -> None:
    given = request("localhost:8000", client=PROXY, forwarded=FORWARDED)
    assert socket_url(given, "/h") == "wss://voice.example.com:8443/h"


def test_a_stranger_cannot_lead_a_call_to_another_host() -> None:
    given = request("example.com", forwarded={**FORWARDED, "x-forwarded-host": "evil.com"})
    assert socket_url(given, "/h") == "wss://example.com/h"


# The addresses that a signature may cover


def test_the_likeliest_address_is_the_one_that_was_called() -> None:
    given = request("example.com", scheme="https", path="/in", query="a=1&b=%20")
    assert as_called(given)[0] == "https://example.com/in?a=1&b=%20"
    assert as_called(request("example.com:8000", path="/in"))[0] == "http://example.com:8000/in"


def test_the_likeliest_address_behind_a_proxy_is_the_outer_one() -> None:
    given = request("localhost:8000", client=PROXY, path="/in", forwarded=FORWARDED)
    assert as_called(given)[0] == "https://voice.example.com:8443/in"


@pytest.mark.parametrize(
    "signed",
    [
        "https://example.com/in?a=1",
        "https://example.com:443/in?a=1",
        "https://example.com:8000/in?a=1",
        "http://example.com/in?a=1",
        "http://example.com:80/in?a=1",
        "http://example.com:8000/in?a=1",
    ],
)
def test_a_proxy_may_have_changed_the_scheme_and_the_sender_left_out_the_port(signed: str) -> None:
    assert signed in as_called(request("example.com:8000", path="/in", query="a=1"))


@pytest.mark.parametrize(
    "signed",
    [
        "wss://example.com/handler",
        "wss://example.com/handler/",
        "wss://example.com:443/handler",
        "https://example.com/handler",
        "ws://example.com/handler",
        "http://example.com:80/handler",
    ],
)
def test_a_socket_may_be_signed_as_a_page_and_with_a_slash(signed: str) -> None:
    assert signed in as_called(request("example.com", scheme="ws", path="/handler"))


def test_a_page_is_never_signed_as_a_socket() -> None:
    assert not [one for one in as_called(request()) if one.startswith("ws")]


def test_no_candidate_leaves_the_host_or_the_path() -> None:
    given = request("example.com:8000", scheme="wss", path="/handler", query="t=1")
    for one in as_called(given):
        _, _, rest = one.partition("://")
        host, _, path = rest.partition("/")
        assert host.partition(":")[0] == "example.com"
        assert path.rstrip("/") == "handler?t=1"


def test_no_candidate_is_there_twice() -> None:
    for host in ("example.com", "example.com:443", "example.com:80", "[::1]:8000"):
        found = as_called(request(host, scheme="wss"))
        assert len(set(found)) == len(found)


def test_an_address_of_version_six_keeps_its_brackets() -> None:
    found = as_called(request("[fd00::1]:8000", scheme="https", path="/in"))
    assert {"https://[fd00::1]:8000/in", "https://[fd00::1]/in"} <= set(found)


@pytest.mark.parametrize("host", ["", "[", "[::1", "a b", "\xff", "a:b:c", "a:99999999", "/", "@"])
def test_a_host_that_makes_no_sense_is_no_error(host: str) -> None:
    for proxied in (request(host), request(client=PROXY, forwarded={"x-forwarded-host": host})):
        assert socket_url(proxied, "/h").endswith("/h")
        assert all(as_called(proxied))
