"""The example of the page on telephone platforms works as it stands there."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from fastrtc.context import PhoneCall
from fastrtc.transports.sockets.wire import Digit, Marked, Started, Stopped, WireError
from fastrtc.transports.telephone.provider import Provider
from tests.transports.telephone.examples import frame, heard

PAGE = Path(__file__).parents[3] / "docs" / "telephone-providers.md"


@pytest.fixture(name="example")
def _example() -> dict[str, Any]:
    blocks = [one.partition("```")[0] for one in PAGE.read_text("utf-8").split("```python\n")[1:]]
    code = next(block for block in blocks if "class AcmeWire" in block)
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec", dont_inherit=True), names)
    return names


def test_its_wire_reads_and_writes(example: dict[str, Any]) -> None:
    provider: Provider = example["Acme"]()
    wire = provider.wire()
    start = wire.read('{"type": "hello", "call": "7", "token": "secret"}')
    assert start == Started("7", PhoneCall("acme", "7", ""), token="secret")
    assert wire.read('{"type": "key", "key": "#"}') == Digit("#")
    assert wire.read('{"type": "played", "name": "25"}') == Marked("25")
    assert wire.read('{"type": "bye"}') == Stopped()
    (message,) = wire.media(frame(wire.rate))
    assert isinstance(message, bytes)
    assert np.array_equal(heard(wire, message), frame(wire.rate)[0])
    with pytest.raises(WireError, match="got 'what'"):
        wire.read('{"type": "what"}')


def test_its_webhook_is_answered_when_it_is_signed(
    example: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_SECRET", "x")
    client = TestClient(example["app"], base_url="https://shop.example")
    body = b'{"call": "7"}'
    signature = hmac.new(b"x", body, hashlib.sha256).hexdigest()
    url = "/telephone/acme/incoming"
    assert client.post(url, content=body).status_code == 403
    answer = client.post(url, content=body, headers={"x-acme-signature": signature})
    assert answer.status_code == 200
    assert json.loads(answer.text)["socket"] == "wss://shop.example/telephone/acme/handler"
    assert json.loads(answer.text)["token"]
