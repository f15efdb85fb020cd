"""Who may ring: signatures of webhooks, tokens of media sockets, and routes that are not there."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest
from fastapi import Request, Response, WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fastrtc import Stream, TelephoneOptions
from tests.carrier import Carrier, Signing, sign
from tests.carrier.company import ACCOUNT
from tests.carrier.twiml import parse
from tests.peers import eventually, line
from tests.transports.house import House, Place, Teller

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "the account's own secret"
FORM = {"From": "+15550001111", "To": "+15552223333", "CallSid": "CA01", "ToCity": ""}
PROXY = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "phone.example"}


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch, house: House) -> str:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    return TOKEN


async def post(
    place: Place, url: str, headers: dict[str, str] | None = None, path: str = "incoming"
) -> httpx.Response:
    """A webhook that is signed for an address."""
    signature = {"X-Twilio-Signature": sign(TOKEN, url, FORM)}
    return await place.http.post(
        f"{place.url}/telephone/{path}", data=FORM, headers={**signature, **(headers or {})}
    )


def socket_of(answer: httpx.Response) -> str:
    """The address of the stream that a document connects."""
    (connecting,) = [v for v in parse(answer.content, str(answer.url)) if v.name == "Connect"]
    return connecting.children[0].attributes["url"]


# Webhooks


@pytest.mark.pitfall(32)
@pytest.mark.parametrize("signing", [Signing.WRONG, Signing.NONE])
async def test_a_webhook_that_is_not_signed_by_the_account_is_refused(
    house: House, secret: str, signing: Signing, caplog: pytest.LogCaptureFixture
) -> None:
    place = house.open(Teller())
    async with place.carrier(auth_token=secret) as carrier:
        call = await carrier.dial(signing=signing)
    assert call.webhook_status == 403
    assert not place.stream.connections
    assert "signature" in caplog.text


@pytest.mark.pitfall(32)
async def test_a_call_of_the_account_comes_in(house: House, secret: str) -> None:
    place = house.open(Teller())
    async with place.carrier(auth_token=secret) as carrier:
        call = await carrier.dial()
        await eventually(lambda: list(place.stream.connections) == [call.stream_sid])
        (session,) = place.stream.connections.values()
        assert session.context.phone is not None
        # The token is nobody's business.
        assert session.context.phone.parameters == {}
    assert call.errors == call.violations == []


async def test_a_field_that_was_not_signed_is_refused(house: House, secret: str) -> None:
    place = house.open(Teller())
    url = f"{place.url}/telephone/incoming"
    answer = await house.http.post(
        url,
        data={**FORM, "From": "+15559999999"},
        headers={"X-Twilio-Signature": sign(secret, url, FORM)},
    )
    assert answer.status_code == 403


async def test_the_signature_of_a_query_holds(house: House, secret: str) -> None:
    place = house.open(Teller())
    url = f"{place.url}/telephone/incoming?shop=l%20%C3%ADme&x="
    async with Carrier(url, auth_token=secret) as carrier:
        call = await carrier.dial()
        assert call.webhook_status == 200
        await eventually(lambda: bool(place.stream.connections))
    other = url.replace("x=", "x=1")
    answer = await house.http.post(
        other, data=FORM, headers={"X-Twilio-Signature": sign(secret, url, FORM)}
    )
    assert answer.status_code == 403


async def test_a_webhook_may_be_asked_by_get(house: House, secret: str) -> None:
    place = house.open(Teller())
    url = f"{place.url}/telephone/incoming-call?From=%2B15550001111&CallSid=CA01"
    for signature, status in ((sign(secret, url, {}), 200), ("wrong", 403)):
        answer = await house.http.get(url, headers={"X-Twilio-Signature": signature})
        assert answer.status_code == status
    await house.http.get(url)
    asked = await house.http.get(url, headers={"X-Twilio-Signature": sign(secret, url, {})})
    assert 'name="From" value="+15550001111"' in asked.text


async def test_behind_a_proxy_the_address_that_the_caller_knows_is_signed_and_answered(
    house: House, secret: str
) -> None:
    place = house.open(Teller())
    url = f"https://phone.example{place.path}/telephone/incoming"
    answer = await post(place, url, PROXY)
    assert answer.status_code == 200
    assert socket_of(answer) == f"wss://phone.example{place.path}/telephone/handler"
    assert answer.headers["content-type"].startswith("application/xml")


@pytest.mark.parametrize("signed", ["https://phone.example:8443", "https://phone.example"])
async def test_a_port_stays_in_the_address_and_may_be_missing_in_the_signature(
    house: House, secret: str, signed: str
) -> None:
    place = house.open(Teller())
    proxy = {**PROXY, "X-Forwarded-Host": "phone.example:8443"}
    answer = await post(place, f"{signed}{place.path}/telephone/incoming", proxy)
    assert answer.status_code == 200
    assert socket_of(answer) == f"wss://phone.example:8443{place.path}/telephone/handler"


async def test_a_proxy_that_is_not_trusted_is_not_believed(
    house: House, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1")
    place = house.open(Teller())
    url = f"https://phone.example{place.path}/telephone/incoming"
    assert (await post(place, url, PROXY)).status_code == 403


async def test_a_webhook_that_is_too_large_is_refused(house: House) -> None:
    place = house.open(Teller())
    answer = await house.http.post(
        f"{place.url}/telephone/incoming", data={"From": "+" + "5" * 70_000}
    )
    assert answer.status_code == 413


async def test_what_a_caller_says_of_itself_cannot_break_out_of_the_document(
    house: House,
) -> None:
    place = house.open(Teller())
    name = '"/></Stream></Connect><Hangup/>'
    answer = await house.http.post(f"{place.url}/telephone/incoming", data={"From": name})
    verbs = [verb.name for verb in parse(answer.content, place.url)]
    assert verbs == ["Say", "Connect", "Say"]


# Media sockets


async def rings(
    place: Place, parameters: dict[str, str], headers: dict[str, str] | None = None
) -> bool:
    """Whether a media socket is let in that shows these parameters."""
    stream = uuid.uuid4().hex
    start = {
        "streamSid": stream,
        "callSid": "CA01",
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": parameters,
    }
    async with connect(place.media, proxy=None, additional_headers=headers) as socket:
        await socket.send(json.dumps({"event": "connected", "protocol": "Call"}))
        await socket.send(json.dumps({"event": "start", "streamSid": stream, "start": start}))
        while True:
            # Those who are refused are hung up on, those who are let in are marked.
            try:
                await socket.send(json.dumps({"event": "dtmf", "dtmf": {"digit": "1"}}))
                if stream in place.stream.connections:
                    return True
                await eventually(
                    lambda: stream in place.stream.connections or socket.close_code is not None
                )
            except ConnectionClosed:
                assert socket.close_code == 1008
                return False


@pytest.mark.pitfall(32)
async def test_a_token_lets_one_call_in_and_no_second(house: House, secret: str) -> None:
    place = house.open(Teller())
    token = place.stream.telephone_token()
    assert await rings(place, {"fastrtc_token": token})
    assert not await rings(place, {"fastrtc_token": token})
    assert await rings(place, {"fastrtc_token": place.stream.telephone_token()})


@pytest.mark.pitfall(32)
@pytest.mark.parametrize(
    "damage",
    [
        lambda token: None,
        lambda token: "",
        lambda token: "x",
        lambda token: "..",
        lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"),
        lambda token: "f" + token,
        lambda token: token.replace(".", "é", 1),
        lambda token: token * 100,
    ],
)
async def test_a_media_socket_without_a_token_of_ours_is_refused(
    house: House, secret: str, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    place = house.open(Teller(), concurrency_limit=1)
    token = damage(place.stream.telephone_token())
    assert not await rings(place, {} if token is None else {"fastrtc_token": token})
    assert not place.stream.connections
    assert "refused" in caplog.text


async def test_a_token_of_another_server_is_refused(
    house: House, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = house.open(Teller()), house.open(Teller())
    ours.stream.telephone_token()
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "of somebody else")
    assert not await rings(ours, {"fastrtc_token": theirs.stream.telephone_token()})


async def test_a_token_of_another_platform_is_refused(house: House, secret: str) -> None:
    options = TelephoneOptions(providers=["twilio", "exotel"])
    place = house.open(Teller(), telephone=options)
    assert not await rings(place, {"fastrtc_token": place.stream.telephone_token("exotel")})
    assert await rings(place, {"fastrtc_token": place.stream.telephone_token()})


async def test_a_token_runs_out(house: House, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = house.open(Teller())
    monkeypatch.setattr("fastrtc.transports.telephone.tokens.LIFETIME", -2)
    assert not await rings(place, {"fastrtc_token": place.stream.telephone_token()})


async def test_a_handshake_that_twilio_has_signed_needs_no_token(house: House, secret: str) -> None:
    place = house.open(Teller())
    assert await rings(place, {}, {"X-Twilio-Signature": sign(secret, place.media, {})})
    assert not await rings(place, {}, {"X-Twilio-Signature": sign("other", place.media, {})})


async def test_the_first_call_is_not_taken_over_by_one_with_its_id(
    house: House, secret: str
) -> None:
    place = house.open(Teller())
    async with place.carrier(auth_token=secret) as carrier:
        call = await carrier.dial()
        await place.handler()
        session = place.stream.connections[call.stream_sid]
        start = {
            "streamSid": call.stream_sid,
            "callSid": "CA01",
            "customParameters": {"fastrtc_token": place.stream.telephone_token()},
        }
        async with connect(place.media, proxy=None) as thief:
            await thief.send(json.dumps({"event": "start", "start": start}))
            with pytest.raises(ConnectionClosed):
                await thief.recv()
        assert place.stream.connections == {call.stream_sid: session}
        assert not call.ended.is_set()


# Without a secret


async def test_without_a_secret_anybody_may_call_and_the_log_says_so_at_the_start(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    async with line(Teller()) as (stream, http):
        assert "Anyone who can reach this server may call in" in caplog.text
        assert "TWILIO_AUTH_TOKEN" in caplog.text
        place = Place(stream, str(http.base_url).rstrip("/"), http)
        assert await rings(place, {})
        async with place.carrier() as carrier:
            call = await carrier.dial(signing=Signing.WRONG)
            await eventually(lambda: call.stream_sid in stream.connections)


@pytest.mark.parametrize("way", ["secret", "no telephone"])
async def test_there_is_no_warning_where_nobody_may_call(
    house: House, monkeypatch: pytest.MonkeyPatch, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    if way == "secret":
        monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    async with line(Teller(), telephone=None if way == "secret" else False):
        assert "Anyone" not in caplog.text


# Routes


async def test_a_stream_without_telephones_has_no_such_routes(house: House) -> None:
    place = house.open(Teller(), telephone=False)
    for path in ("incoming", "incoming-call", "twilio/incoming"):
        assert (await house.http.post(f"{place.url}/telephone/{path}")).status_code == 404
    with pytest.raises(InvalidStatus):
        await rings(place, {})
    with pytest.raises(RuntimeError, match="telephone=False"):
        place.stream.telephone_token()


@pytest.mark.parametrize("name", ["telnyx", "acme", "..", "handler"])
async def test_a_platform_that_was_not_named_has_no_door(house: House, name: str) -> None:
    place = house.open(Teller())
    answer = await house.http.post(f"{place.url}/telephone/{name}/incoming")
    assert answer.status_code in (404, 405)
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(f"{place.url.replace('http', 'ws')}/telephone/{name}/handler"):
            pass
    assert refusal.value.response.status_code in (403, 404)


@pytest.mark.parametrize("reads_the_body", [False, True])
async def test_routes_of_the_apps_own_take_a_call(
    house: House, secret: str, reads_the_body: bool
) -> None:
    stream = Stream(Teller())
    own = f"/own/{reads_the_body}"

    @house.app.post(f"{own}/incoming")
    async def voice(request: Request) -> Response:
        if reads_the_body:
            assert ACCOUNT in (await request.body()).decode()
        return await stream.handle_incoming_call(request)

    @house.app.websocket(f"{own}/handler")
    async def media(websocket: WebSocket) -> None:
        await stream.telephone_handler(websocket)

    async with Carrier(f"{house.url}{own}/incoming", auth_token=secret) as carrier:
        call = await carrier.dial()
        await eventually(lambda: list(stream.connections) == [call.stream_sid])
        refused = await carrier.dial(signing=Signing.WRONG)
        assert refused.webhook_status == 403
    assert call.violations == []
    await eventually(lambda: not stream.connections)


async def test_a_webhook_of_the_apps_own_connects_with_the_mounted_socket(house: House) -> None:
    place = house.open(Teller())

    @house.app.post("/voice")
    async def voice(request: Request) -> Response:
        return await place.stream.handle_incoming_call(request)

    async with Carrier(f"{house.url}/voice") as carrier:
        await carrier.dial()
        await place.handler()
