import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from fastrtc import turn_servers, web_service

Ask = Callable[..., dict[str, Any]]
SERVERS = [{"urls": ["turn:a"], "username": "u"}, {"url": "turn:b", "urls": "turn:b"}]
ANSWER = {"iceServers": SERVERS, "ice_servers": SERVERS, "username": "u", "credential": "c"}
HF, KEY = {"hf_token": "hf-secret"}, {"turn_key_id": "a/b", "turn_key_api_token": "key-secret"}
TOKEN, TWILIO = {"token": "hf-secret"}, {"twilio_sid": "AC1", "twilio_token": "twilio-secret"}
VARIABLES = {k: v for each in turn_servers._SERVICES.values() for k, v in each.variables.items()}
CASES = [("cloudflare", HF), ("cloudflare", KEY), ("hf", TOKEN), ("twilio", TWILIO)]
every_service = pytest.mark.parametrize(("service", "arguments"), CASES)


class Handler(BaseHTTPRequestHandler):
    server: "Remote"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((f"{self.command} {self.path}", dict(self.headers), body))
        self.send_response(self.server.status if self.server.released.wait(5) else 503)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_GET  # noqa: N815


class Remote(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.daemon_threads = False
        self.status, self.body = 201, json.dumps(ANSWER).encode()
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.released = threading.Event()
        self.released.set()


@pytest.fixture(autouse=True)
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    with Remote() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        for name, service in turn_servers._SERVICES.items():
            url = f"http://127.0.0.1:{server.server_port}/{service.url.split('/', 3)[3]}"
            monkeypatch.setitem(turn_servers._SERVICES, name, service._replace(url=url))
        for variable in VARIABLES.values():
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield server
        server.released.set()
        server.shutdown()


@pytest.fixture(params=["", "_async"], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    def call(service: str = "", **arguments: Any) -> Any:
        name = f"get_{service}_turn_credentials{request.param}".replace("__", "_")
        answer = getattr(turn_servers, name)(**arguments)
        return asyncio.run(answer) if request.param else answer

    return call


def test_a_cloudflare_answer_is_handed_on_as_it_came(ask: Ask) -> None:
    assert ask("cloudflare", **KEY) == ANSWER


def test_a_cloudflare_key_is_posted_with_the_lifetime(ask: Ask, remote: Remote) -> None:
    ask("cloudflare", **KEY, ttl=60)
    line, headers, body = remote.seen[0]
    assert line == "POST /v1/turn/keys/a%2Fb/credentials/generate-ice-servers"
    assert headers["Authorization"] == "Bearer key-secret"
    assert (headers["Content-Type"], json.loads(body)) == ("application/json", {"ttl": 60})


def test_an_hf_token_asks_cloudflare_without_a_key(ask: Ask, remote: Remote) -> None:
    assert ask("cloudflare", **HF) == ANSWER
    assert remote.seen[0][0] == "GET /credentials?ttl=600"
    assert remote.seen[0][1]["Authorization"] == "Bearer hf-secret"


def test_hf_credentials_become_an_rtc_configuration(ask: Ask, remote: Remote) -> None:
    remote.body = b'{"username": "u", "credential": "c"}'
    server = {"urls": "turn:gradio-turn.com:80", "username": "u", "credential": "c"}
    relayed = {"iceServers": [server], "iceTransportPolicy": "relay"}
    assert ask("hf", **TOKEN) == relayed
    line, headers, _ = remote.seen[0]
    assert (line, headers["X-Hf-Access-Token"]) == ("GET /credentials", "hf-secret")


def test_twilio_credentials_become_an_rtc_configuration(ask: Ask, remote: Remote) -> None:
    assert ask("twilio", **TWILIO) == {"iceServers": SERVERS, "iceTransportPolicy": "relay"}
    assert remote.seen[0][0] == "POST /2010-04-01/Accounts/AC1/Tokens.json"
    assert remote.seen[0][1]["Authorization"] == "Basic QUMxOnR3aWxpby1zZWNyZXQ="


def test_cloudflare_is_the_method_where_none_is_named(ask: Ask) -> None:
    assert ask(**KEY) == ANSWER


def test_a_named_method_takes_its_own_arguments_only(ask: Ask) -> None:
    assert ask(method="twilio", **TWILIO, **HF)["iceServers"] == SERVERS


def test_an_argument_of_no_service_is_a_type_error(ask: Ask) -> None:
    with pytest.raises(TypeError, match="twilio_sidd"):
        ask(method="twilio", twilio_sidd="AC1")


def test_an_unknown_method_is_a_value_error(ask: Ask) -> None:
    with pytest.raises(ValueError, match="cloudflare, hf, twilio, not 'metered'"):
        ask(method="metered")


async def test_the_event_loop_runs_while_a_service_is_slow(remote: Remote) -> None:
    remote.released.clear()
    asyncio.get_running_loop().call_soon(remote.released.set)
    assert await turn_servers.get_turn_credentials_async("cloudflare", **HF) == ANSWER


@every_service
def test_an_argument_wins_over_the_environment(
    ask: Ask, remote: Remote, monkeypatch: pytest.MonkeyPatch, service: str, arguments: Any
) -> None:
    ask(service, **arguments)
    for variable in VARIABLES.values():
        monkeypatch.setenv(variable, "from-the-environment")
    ask(service, **arguments)
    assert remote.seen[0] == remote.seen[1]


@every_service
def test_the_environment_serves_where_no_argument_does(
    ask: Ask, remote: Remote, monkeypatch: pytest.MonkeyPatch, service: str, arguments: Any
) -> None:
    ask(service, **arguments)
    for argument, value in arguments.items():
        monkeypatch.setenv(VARIABLES[argument], f"{value}\n")
    ask(service)
    assert remote.seen[0] == remote.seen[1]


@every_service
def test_a_missing_credential_is_a_value_error(ask: Ask, service: str, arguments: Any) -> None:
    missing = list(arguments)[-1]
    with pytest.raises(ValueError, match=rf"{missing} \(or {VARIABLES[missing]} in the env"):
        ask(service, **{k: v for k, v in arguments.items() if k != missing})


def test_a_credential_no_header_can_hold_is_refused_unshown(ask: Ask) -> None:
    with pytest.raises(ValueError, match=r"^token holds characters that no credential has$"):
        ask("hf", token="hf\nsecret")


@every_service
@pytest.mark.parametrize(
    ("status", "body", "came"),
    [
        (401, b"hf-secret key-secret twilio-secret", "HTTP status 401"),
        (302, b"", "HTTP status 302"),
        (200, b"<html>hf-secret", "15 bytes that are not JSON"),
        (200, b"[" * 60_000, "60000 bytes that are not JSON"),
        (200, b'"' + b"x" * 70_000, "more than 65536 bytes"),
        (200, b'["iceServers"]', "JSON of another shape"),
        (200, b'{"iceServers": {}, "ice_servers": ["x"]}', "JSON of another shape"),
    ],
)
def test_an_unusable_answer_is_one_runtime_error_without_secrets(
    ask: Ask, remote: Remote, service: str, arguments: Any, status: int, body: bytes, came: str
) -> None:
    remote.status, remote.body = status, body
    with pytest.raises(RuntimeError, match=rf"TURN.* \(127.*expected a JSON .*{came}") as caught:
        ask(service, **arguments)
    assert not any(secret in str(caught.value) for secret in arguments.values())
    assert len(remote.seen) == 1


def test_a_service_that_is_gone_is_a_runtime_error(ask: Ask, remote: Remote) -> None:
    remote.shutdown()
    remote.server_close()
    with pytest.raises(RuntimeError, match=r"Twilio TURN.*ConnectionRefusedError") as caught:
        ask("twilio", **TWILIO)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_service_that_hangs_is_a_runtime_error_in_time(
    ask: Ask, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_service, "TIMEOUT", 0.1)
    remote.released.clear()
    with pytest.raises(RuntimeError, match=r"Twilio TURN.*TimeoutError"):
        ask("twilio", **TWILIO)
