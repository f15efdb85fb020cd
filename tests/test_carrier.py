"""Calls through the carrier, over real sockets: it behaves as Twilio's documentation says."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import httpx
import numpy as np
import pytest
import pytest_asyncio
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect

from tests.carrier import BadTwiml, Carrier, Signing, g711, sign
from tests.carrier.company import ACCOUNT
from tests.carrier.playback import FRAME
from tests.conftest import level, silence, tone
from tests.peers import eventually, serving

TOKEN = "12345"
TEN_FRAMES = 10 * FRAME
LOUD = b"\x80"
CONNECT = '<Connect><Stream url="{url}"/></Connect>'


# The server, one for all calls, so that it starts and stops once


class Line:
    """The server's end of a media stream."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []
        self.closed = False

    @property
    def stream(self) -> str:
        return str(self.messages[1]["streamSid"])

    async def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = await self.socket.receive_json()
        self.messages.append(message)
        return message

    async def until(self, event: str) -> dict[str, Any]:
        while (message := await self.hear())["event"] != event:
            pass
        return message

    async def listen(self) -> None:
        """Hear everything until the carrier closes the socket."""
        try:
            await self.until("the end")
        except WebSocketDisconnect:
            self.closed = True

    async def play(self, sound: bytes) -> None:
        payload = base64.b64encode(sound).decode()
        await self.tell("media", media={"payload": payload})

    async def mark(self, name: str) -> None:
        await self.tell("mark", mark={"name": name})

    async def tell(self, event: str, **body: Any) -> None:
        await self.socket.send_json({"event": event, "streamSid": self.stream, **body})


class Office:
    """A server that answers calls as each test wants it to."""

    def __init__(self) -> None:
        self.url = ""
        self.reset()

    def reset(self) -> None:
        self.verbs = CONNECT
        self.verbs_again = ""
        """What the webhook answers when its address has a query."""
        self.status = 200
        self.kind = "application/xml"
        self.accept = True
        self.forms: list[dict[str, str]] = []
        self.headers: list[Any] = []
        self.events: list[dict[str, str]] = []
        self.lines: list[Line] = []
        self.talk: Callable[[Line], Awaitable[None]] = Line.listen

    def carrier(self, auth_token: str | None = None, delay: float = 0.0) -> Carrier:
        return Carrier(f"{self.url}/voice", auth_token=auth_token, delay=delay)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/voice")
        async def voice(request: Request) -> Response:
            body = (await request.body()).decode()
            self.forms.append(dict(parse_qsl(body, keep_blank_values=True)))
            self.headers.append(request.headers)
            asked = self.verbs_again if request.url.query else self.verbs
            verbs = asked.format(url=self.socket_url, status=f"{self.url}/status")
            content = f"<Response>{verbs}</Response>"
            return Response(content, self.status, media_type=self.kind)

        @app.post("/status")
        async def status(request: Request) -> None:
            self.events.append(dict(parse_qsl((await request.body()).decode())))

        @app.websocket("/media")
        async def media(socket: WebSocket) -> None:
            self.headers.append(socket.headers)
            if not self.accept:
                await socket.close()
                return
            await socket.accept()
            line = Line(socket)
            self.lines.append(line)
            await line.hear()
            await line.hear()
            await self.talk(line)

        return app

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws") + "/media"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def _building() -> AsyncIterator[Office]:
    office = Office()
    async with serving(office.app()) as http:
        office.url = str(http.base_url).rstrip("/")
        yield office


@pytest.fixture
def office(_building: Office) -> Office:
    _building.reset()
    return _building


# Calls

calling = pytest.mark.asyncio(loop_scope="module")


@calling
async def test_a_call_begins_with_connected_and_start(office: Office) -> None:
    office.verbs = (
        '<Connect><Stream url="{url}"><Parameter name="key" value="lime"/></Stream></Connect>'
    )
    async with office.carrier() as carrier:
        call = await carrier.dial()
        await call.hang_up()
    connected, start = office.lines[0].messages[:2]
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start == {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": call.stream_sid,
        "start": {
            "accountSid": carrier.account,
            "callSid": call.sid,
            "streamSid": call.stream_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"key": "lime"},
        },
    }
    assert call.parameters == {"key": "lime"}


@calling
async def test_the_webhook_is_told_who_calls_whom(office: Office) -> None:
    async with office.carrier() as carrier:
        call = await carrier.dial("+15550001234", "+15552224321")
    form = office.forms[0]
    assert (form["From"], form["To"]) == ("+15550001234", "+15552224321")
    assert (form["CallSid"], form["AccountSid"]) == (call.sid, carrier.account)
    assert (form["CallStatus"], form["Direction"]) == ("ringing", "inbound")


@calling
async def test_sound_comes_in_numbered_frames_of_20_ms_in_real_time(office: Office) -> None:
    async with office.carrier() as carrier:
        call = await carrier.dial()
        began = time.monotonic()
        await call.say(silence(0.2, g711.RATE))
        await call.hang_up()
        took = time.monotonic() - began
    media = [m for m in office.lines[0].messages if m["event"] == "media"]
    assert [m["sequenceNumber"] for m in media] == [str(n) for n in range(2, len(media) + 2)]
    assert [m["media"]["chunk"] for m in media] == [str(n) for n in range(1, len(media) + 1)]
    assert [m["media"]["timestamp"] for m in media] == [str(20 * n) for n in range(len(media))]
    assert all(m["media"]["payload"] == base64.b64encode(b"\xff" * 160).decode() for m in media)
    assert len(media) >= 10
    assert len(media) * 0.02 == pytest.approx(took, abs=0.08)


@calling
async def test_what_the_caller_says_comes_at_8_kilohertz(office: Office) -> None:
    async with office.carrier() as carrier:
        call = await carrier.dial(speech=tone(0.1, rate=16_000))
        await eventually(lambda: call.seconds > 0.12)
        await call.hang_up()
    media = [m["media"]["payload"] for m in office.lines[0].messages if m["event"] == "media"]
    heard = g711.decode(b"".join(base64.b64decode(payload) for payload in media))
    expected = tone(0.1, rate=g711.RATE)[1][0]
    assert level(heard[100:700] - expected[100:700]) < level(expected) - 30


@calling
async def test_a_mark_comes_back_after_the_sound_before_it(office: Office) -> None:
    took: list[float] = []

    async def talk(line: Line) -> None:
        began = time.monotonic()
        await line.play(LOUD * TEN_FRAMES)
        await line.mark("end")
        assert (await line.until("mark"))["mark"] == {"name": "end"}
        took.append(time.monotonic() - began)

    office.talk = talk
    async with office.carrier() as carrier:
        call = await carrier.dial()
        await call.wait_ended()
    assert 0.19 < took[0] < 1.0
    rate, heard = call.heard
    assert np.count_nonzero(heard) == TEN_FRAMES
    assert rate == g711.RATE


@calling
async def test_a_clear_brings_silence_and_the_marks_at_once(office: Office) -> None:
    took: list[float] = []

    async def talk(line: Line) -> None:
        await line.play(LOUD * 8_000)
        await line.mark("end")
        await line.until("media")
        began = time.monotonic()
        await line.tell("clear")
        await line.until("mark")
        took.append(time.monotonic() - began)

    office.talk = talk
    async with office.carrier() as carrier:
        call = await carrier.dial()
        await call.wait_ended()
    assert took[0] < 0.5
    assert 0 < np.count_nonzero(call.heard[1]) < 4_000
    assert call.most_held == pytest.approx(1.0)
    assert call.held == 0


@calling
async def test_a_delay_of_the_network_is_felt_both_ways(office: Office) -> None:
    took: list[float] = []

    async def talk(line: Line) -> None:
        began = time.monotonic()
        await line.mark("here")
        await line.until("mark")
        took.append(time.monotonic() - began)

    office.talk = talk
    async with office.carrier(delay=0.05) as carrier:
        call = await carrier.dial()
        await call.wait_ended()
    assert 0.1 <= took[0] < 1.0


@calling
async def test_a_stray_message_over_the_socket_is_a_violation_and_the_call_goes_on(
    office: Office,
) -> None:
    async def talk(line: Line) -> None:
        await line.socket.send_json({"type": "log", "data": "response_starting"})
        await line.mark("after")
        await line.until("mark")

    office.talk = talk
    async with office.carrier() as carrier:
        call = await carrier.dial()
        await call.wait_ended()
    assert len(call.violations) == 1
    assert "response_starting" in call.violations[0]


@calling
async def test_keys_are_told_one_by_one(office: Office) -> None:
    async with office.carrier() as carrier:
        call = await carrier.dial()
        await call.press("5#")
        await call.hang_up()
    pressed = [m["dtmf"] for m in office.lines[0].messages if m["event"] == "dtmf"]
    assert pressed == [{"track": "inbound_track", "digit": digit} for digit in "5#"]


@calling
async def test_who_hangs_up_mid_word_sends_stop_and_closes(office: Office) -> None:
    office.verbs = CONNECT + "<Say>Nobody hears this</Say>"
    async with office.carrier() as carrier:
        call = await carrier.dial()
        word = asyncio.ensure_future(call.say(tone(10.0)))
        await eventually(lambda: call.seconds > 0.1)
        await call.hang_up()
        await word
    await eventually(lambda: office.lines[0].closed)
    last = office.lines[0].messages[-1]
    assert last["event"] == "stop"
    assert last["stop"] == {"accountSid": carrier.account, "callSid": call.sid}
    assert call.seconds < 1.0
    assert (call.status, call.said) == ("completed", [])


@calling
async def test_when_the_server_closes_the_rest_of_the_twiml_is_run(office: Office) -> None:
    async def talk(line: Line) -> None:
        await line.play(LOUD * 8_000)
        await line.socket.close()

    office.talk = talk
    office.verbs = f"<Say>Hello</Say>{CONNECT}<Say>Goodbye</Say><Hangup/><Say>Never</Say>"
    async with office.carrier() as carrier:
        call = await carrier.dial()
        await call.wait_ended()
    assert call.said == ["Hello", "Goodbye"]
    assert (call.status, call.close_code) == ("completed", 1000)
    assert call.held > 0.8


@calling
async def test_the_stream_tells_its_status_callback(office: Office) -> None:
    office.verbs = '<Connect><Stream url="{url}" name="n" statusCallback="{status}"/></Connect>'
    async with office.carrier() as carrier:
        call = await carrier.dial()
        await call.hang_up()
    told = [(event["StreamEvent"], event["StreamName"]) for event in office.events]
    assert told == [("stream-started", "n"), ("stream-stopped", "n")]
    assert {event["StreamSid"] for event in office.events} == {call.stream_sid}


@calling
async def test_recordings_are_noted(office: Office) -> None:
    office.verbs = '<Start><Recording channels="dual"/></Start>' + CONNECT
    async with office.carrier() as carrier:
        call = await carrier.dial()
    assert call.recordings == [{"channels": "dual"}]


@calling
async def test_requests_and_handshakes_are_signed(office: Office) -> None:
    async with office.carrier(TOKEN) as carrier:
        await carrier.dial()
    webhook, handshake = office.headers
    assert office.forms[0]["ToCity"] == ""
    assert webhook["x-twilio-signature"] == sign(TOKEN, f"{office.url}/voice", office.forms[0])
    assert handshake["x-twilio-signature"] == sign(TOKEN, office.socket_url, {})


@calling
@pytest.mark.parametrize("signing", [Signing.NONE, Signing.WRONG])
async def test_a_signature_can_be_wrong_or_left_out(office: Office, signing: Signing) -> None:
    async with office.carrier(TOKEN) as carrier:
        await carrier.dial(signing=signing, socket_signing=signing)
    right = {
        sign(TOKEN, f"{office.url}/voice", office.forms[0]),
        sign(TOKEN, office.socket_url, {}),
    }
    given = [headers.get("x-twilio-signature") for headers in office.headers]
    assert all((value is None) is (signing is Signing.NONE) for value in given)
    assert right.isdisjoint(given)


@calling
async def test_a_webhook_that_refuses_ends_the_call(office: Office) -> None:
    office.status = 403
    async with office.carrier() as carrier:
        call = await carrier.dial()
    assert (call.status, call.webhook_status) == ("failed", 403)
    assert call.ended.is_set()


@calling
async def test_a_socket_that_is_refused_is_logged(office: Office) -> None:
    office.accept = False
    office.verbs = CONNECT + "<Say>Sorry</Say>"
    async with office.carrier() as carrier:
        call = await carrier.dial()
    assert call.errors[0].startswith("31920")
    assert call.said == ["Sorry"]


@calling
@pytest.mark.parametrize(("reason", "status"), [("busy", "busy"), ("rejected", "no-answer")])
async def test_a_call_can_be_rejected(office: Office, reason: str, status: str) -> None:
    office.verbs = f'<Reject reason="{reason}"/>'
    async with office.carrier() as carrier:
        call = await carrier.dial()
    assert call.status == status
    assert office.lines == []


@calling
async def test_a_redirect_asks_the_next_webhook_and_is_the_last_verb(office: Office) -> None:
    office.verbs = '<Redirect method="POST">/voice?b=1&amp;a=2</Redirect><Say>Never</Say>'
    office.verbs_again = "<Say>Bye</Say><Hangup/>"
    async with office.carrier(TOKEN) as carrier:
        call = await carrier.dial()
    assert call.said == ["Bye"]
    assert (office.forms[0]["CallStatus"], office.forms[1]["CallStatus"]) == (
        "ringing",
        "in-progress",
    )
    signature = sign(TOKEN, f"{office.url}/voice?b=1&a=2", office.forms[1])
    assert office.headers[1]["x-twilio-signature"] == signature


@calling
async def test_each_stream_of_a_call_has_an_id_of_its_own(office: Office) -> None:
    async def hang_up(line: Line) -> None:
        await line.socket.close()

    office.talk = hang_up
    office.verbs = CONNECT + CONNECT
    async with office.carrier() as carrier:
        call = await carrier.dial()
        await call.wait_ended()
    assert [line.stream for line in office.lines] == [stream.sid for stream in call.streams]
    assert len({stream.sid for stream in call.streams}) == 2


@calling
async def test_a_bad_document_fails_the_one_who_dials(office: Office) -> None:
    office.verbs = "<Sing/>"
    async with office.carrier() as carrier:
        with pytest.raises(BadTwiml, match="Sing"):
            await carrier.dial()


@calling
async def test_a_document_of_another_type_is_refused(office: Office) -> None:
    office.kind = "application/json"
    async with office.carrier() as carrier:
        with pytest.raises(BadTwiml, match="json"):
            await carrier.dial()


# Calls that are ordered over REST


async def order(carrier: Carrier, form: dict[str, str], token: str = TOKEN) -> httpx.Response:
    transport = httpx.ASGITransport(carrier.api)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        url = f"/2010-04-01/Accounts/{carrier.account}/Calls.json"
        return await http.post(url, data=form, auth=(carrier.account, token))


@calling
async def test_an_order_makes_a_call(office: Office) -> None:
    async with office.carrier(TOKEN) as carrier:
        form = {
            "To": "+15551112222",
            "From": "+15553334444",
            "Url": f"{office.url}/voice",
            "StatusCallback": f"{office.url}/status",
        }
        reply = await order(carrier, form)
        (call,) = carrier.calls
        await call.wait_started()
        await call.hang_up()
    assert reply.status_code == 201
    described = reply.json()
    assert (described["sid"], described["status"]) == (call.sid, "queued")
    assert described["direction"] == office.forms[0]["Direction"] == "outbound-api"
    assert office.forms[0]["CallStatus"] == "in-progress"
    assert office.lines[0].messages[1]["start"]["callSid"] == call.sid
    assert [event["CallStatus"] for event in office.events] == ["completed"]


@calling
async def test_an_order_can_bring_its_twiml_along(office: Office) -> None:
    async with office.carrier(TOKEN) as carrier:
        document = "<Response><Say>Hello</Say></Response>"
        await order(carrier, {"To": "+15551112222", "From": "+15553334444", "Twiml": document})
        await carrier.calls[0].wait_ended()
    assert carrier.calls[0].said == ["Hello"]


@calling
async def test_a_bad_document_of_a_call_that_nobody_waits_for_is_not_lost(office: Office) -> None:
    form = {"To": "+15551112222", "From": "+15553334444", "Twiml": "<Response><Sing/></Response>"}
    carrier = office.carrier(TOKEN)
    await order(carrier, form)
    await eventually(carrier.calls[0].ended.is_set)
    with pytest.raises(BadTwiml, match="Sing"):
        await carrier.close()


@calling
async def test_an_order_with_a_wrong_token_is_refused(office: Office) -> None:
    async with office.carrier(TOKEN) as carrier:
        reply = await order(carrier, {}, token="wrong")
    assert reply.status_code == 401
    assert carrier.calls == []
    assert reply.json() == {
        "code": 20003,
        "message": "Authenticate",
        "more_info": "https://www.twilio.com/docs/errors/20003",
        "status": 401,
    }


@calling
@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"From": "+15553334444", "Url": "http://localhost"}, 21201),
        ({"To": "+15551112222", "Url": "http://localhost"}, 21213),
        ({"To": "+15551112222", "From": "+15553334444"}, 21205),
        ({"To": "5551112222", "From": "+15553334444", "Url": "http://localhost"}, 21211),
        ({"To": "+15551112222", "From": "me", "Url": "http://localhost"}, 21212),
    ],
)
async def test_an_order_that_lacks_a_part_is_refused(
    office: Office, form: dict[str, str], code: int
) -> None:
    async with office.carrier(TOKEN) as carrier:
        reply = await order(carrier, form)
    assert (reply.status_code, reply.json()["code"]) == (400, code)
    assert carrier.calls == []


@calling
async def test_the_rest_api_is_served_on_loopback(office: Office) -> None:
    http = httpx.AsyncClient(trust_env=False, verify=False)
    async with office.carrier(TOKEN) as carrier, carrier.serve() as url, http:
        reply = await http.post(f"{url}/2010-04-01/Accounts/{ACCOUNT}/Calls.json")
    assert reply.json()["message"] == "Authenticate"
