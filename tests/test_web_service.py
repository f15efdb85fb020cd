"""What the tests of TURN servers do not hold: `tests/test_turn_servers.py`."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from urllib.request import Request

import pytest

from fastrtc import web_service
from fastrtc.web_service import MOST_BYTES, ServiceError, ask


class Service:
    """Answers each request with the same bytes; the last of them come until it is closed."""

    def __init__(self) -> None:
        self.answer = b""
        self.drips = False
        self.asked = 0
        self._closed = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def request(self) -> Request:
        return Request(f"http://127.0.0.1:{self._socket.getsockname()[1]}/")

    def says(self, body: bytes, status: str = "200 OK", headers: str = "") -> None:
        self.answer = f"HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n".encode() + body

    def close(self) -> None:
        self._closed.set()
        # Wakes the thread that waits for a request.
        with socket.create_connection(self._socket.getsockname()):
            pass
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            caller, _ = self._socket.accept()
            with caller:
                if self._closed.is_set():
                    return
                caller.recv(65_536)
                self.asked += 1
                try:
                    caller.sendall(self.answer)
                    while self.drips and not self._closed.wait(0.02):
                        caller.sendall(b" ")
                except OSError:
                    continue  # It has gone: it had enough.


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    service = Service()
    yield service
    service.close()


def refused(service: Service) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        ask(service.request)
    return caught.value


@pytest.mark.parametrize("status", ["200 OK", "201 Created"])
def test_json_is_handed_on(service: Service, status: str) -> None:
    service.says(b'{"a": [1]}', status)
    assert ask(service.request) == {"a": [1]}


def test_an_answer_of_the_largest_size_is_read(service: Service) -> None:
    service.says(json.dumps("x" * (MOST_BYTES - 2)).encode())
    assert len(ask(service.request)) == MOST_BYTES - 2


def test_one_byte_more_is_too_much(service: Service) -> None:
    service.says(json.dumps("x" * (MOST_BYTES - 1)).encode())
    assert str(refused(service)) == f"more than {MOST_BYTES} bytes"


@pytest.mark.parametrize("body", [b"", b"{", b'"\xff"', b"1" * 5_000, b"[" * 60_000])
def test_what_is_no_json_is_told_by_its_size(service: Service, body: bytes) -> None:
    service.says(body)
    assert str(refused(service)) == f"{len(body)} bytes that are not JSON"


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "503 Busy"])
def test_what_a_service_says_as_it_refuses_is_kept_out_of_the_text(
    service: Service, status: str
) -> None:
    service.says(b'{"message": "why"}', status)
    error = refused(service)
    assert (str(error), error.told) == (f"HTTP status {status[:3]}", b'{"message": "why"}')


def test_of_a_long_refusal_the_beginning_is_kept(service: Service) -> None:
    service.says(b"why" * MOST_BYTES, "400 Bad Request")
    assert refused(service).told == (b"why" * MOST_BYTES)[:MOST_BYTES]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_a_refusal_and_is_not_followed(service: Service, status: str) -> None:
    service.says(b"", status, f"Location: {service.request.full_url}\r\n")
    assert str(refused(service)) == f"HTTP status {status[:3]}"
    assert service.asked == 1


@pytest.mark.parametrize("status", ["200 OK", "500 Broken"])
def test_an_answer_that_comes_drop_by_drop_is_not_waited_for(
    service: Service, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_service, "TIMEOUT", 0.2)
    service.says(b"", status)
    service.drips = True
    assert str(refused(service)) == "no whole answer (TimeoutError; 0.2 s allowed)"


def test_what_is_not_http_is_no_answer(service: Service) -> None:
    service.answer = b"SSH-2.0\r\n\r\n"
    assert "no whole answer (BadStatusLine" in str(refused(service))
