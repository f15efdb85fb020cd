"""Calls through the test client that Starlette brings, as users test their own apps."""

from __future__ import annotations

import numpy as np
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.conftest import tone
from tests.peers import make_stream
from tests.transports.house import Teller
from tests.transports.sockets.caller import PCM


def test_a_call_works_in_a_test_client() -> None:
    app = FastAPI()
    said = tone(0.3, rate=8_000)
    make_stream(Teller(said)).mount(app)
    with TestClient(app) as client, client.websocket_connect("/websocket/offer") as socket:
        socket.send_json({"event": "start", "format": {**PCM, "framing": "binary"}})
        assert socket.receive_json()["event"] == "started"
        heard = b"".join(socket.receive_bytes() for _ in range(15))
    assert np.array_equal(np.frombuffer(heard, "<i2"), said[1][0])
