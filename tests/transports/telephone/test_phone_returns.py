"""Telephone calls whose media socket breaks come back; those that were ended do not."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from fastapi import Request, Response
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from fastrtc import CloseStream, TelephoneOptions, get_current_context
from fastrtc.context import Context
from fastrtc.session import Session
from fastrtc.transports.telephone.exchange import RETURN
from fastrtc.transports.telephone.returning import MOST_BREAKS, OwnLedger
from tests.carrier import Carrier, PhoneCall, sign
from tests.carrier.company import ACCOUNT
from tests.carrier.twiml import parse
from tests.conftest import tone
from tests.peers import eventually, line
from tests.transports.house import House, Place, Teller, hertz, loud_seconds

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "the account's own secret"
FORM = {"From": "+15550001111", "To": "+15552223333", "CallSid": "CA01"}
INTERRUPTED = "One moment, please. The line was interrupted."
RETURNS = TelephoneOptions(returns=True)


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch, house: House) -> str:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    return TOKEN


class Witness(Teller):
    """Keeps the contexts of its calls."""

    def __init__(self, *values: Any, seen: list[Context] | None = None, **options: Any) -> None:
        super().__init__(*values, **options)
        self.seen: list[Context] = [] if seen is None else seen

    async def start_up(self) -> None:
        self.seen.append(get_current_context())

    def copy(self) -> Witness:
        return Witness(*self.values, seen=self.seen, log=self.log)


class Once(Witness):
    """Says what it is given to those who come back, and nothing before."""

    async def start_up(self) -> None:
        await super().start_up()
        if not self.seen[-1].reconnected:
            self.more = type(self.more)()

    def copy(self) -> Once:
        return Once(*self.values, seen=self.seen, log=self.log)


def kill(session: Session) -> None:
    """Break the connection below the media socket, as the end of the process would."""
    session.channel._receive.__self__.transport.abort()


async def session_of(place: Place, call: PhoneCall) -> Session:
    """The session of a call's newest stream."""
    await eventually(lambda: call.stream_sid in place.stream.connections)
    return place.stream.connections[call.stream_sid]


async def break_line(place: Place, call: PhoneCall) -> None:
    """Break a call, and wait until the carrier has connected it again, or it is over."""
    count = len(call.streams)
    kill(await session_of(place, call))
    await eventually(lambda: len(call.streams) > count or call.ended.is_set())


# Coming back


async def test_a_call_whose_socket_breaks_hears_a_sentence_and_is_connected_again(
    house: House, secret: str
) -> None:
    handler = Once(tone(0.5, rate=8_000))
    place = house.open(handler, telephone=RETURNS)
    async with place.carrier(auth_token=secret) as carrier:
        call = await carrier.dial()
        await break_line(place, call)
        await eventually(lambda: loud_seconds(call.heard[1], 8_000) > 0.45)
        assert call.streams[0].close_code == 1006
        await call.hang_up()
    assert call.said == ["One moment, please.", INTERRUPTED]
    assert hertz(call.heard[1], 8_000) == pytest.approx(440, abs=5)
    assert call.errors == call.violations == []


async def test_the_new_context_has_the_mark_and_the_same_caller(house: House, secret: str) -> None:
    handler = Witness()
    options = TelephoneOptions(returns=True, parameters={"shop": "7"})
    place = house.open(handler, telephone=options)
    async with place.carrier(auth_token=secret) as carrier:
        call = await carrier.dial("+15550001234", "+15552224321")
        await break_line(place, call)
        await eventually(lambda: len(handler.seen) == 2)
        before, after = handler.seen
        assert [before.reconnected, after.reconnected] == [False, True]
        assert before.phone is not None
        assert after.phone is not None
        assert after.phone.call_id == before.phone.call_id == call.sid
        assert (after.phone.caller, after.phone.called) == ("+15550001234", "+15552224321")
        assert after.phone.parameters == {"shop": "7"}
        assert after.phone.stream_id != before.phone.stream_id


async def test_a_call_that_came_back_and_is_ended_does_not_come_back_again(
    house: House, secret: str
) -> None:
    place = house.open(Once(tone(0.2, rate=8_000), CloseStream()), telephone=RETURNS)
    async with place.carrier(auth_token=secret) as carrier:
        call = await carrier.dial()
        await break_line(place, call)
        await call.wait_ended()
    assert call.said == ["One moment, please.", INTERRUPTED, "Goodbye."]
    assert call.executed[-1].name == "Hangup"
    assert len(call.streams) == 2


async def test_without_a_secret_a_call_comes_back_too(house: House) -> None:
    handler = Witness()
    place = house.open(handler, telephone=RETURNS)
    async with place.carrier() as carrier:
        call = await carrier.dial()
        await break_line(place, call)
        await eventually(lambda: len(handler.seen) == 2)
    assert handler.seen[1].reconnected


async def test_a_call_that_we_made_comes_back(
    house: House, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    handler = Witness()
    place = house.open(handler, telephone=RETURNS)
    async with (
        Carrier(f"{house.url}/nowhere", auth_token=secret) as carrier,
        carrier.serve() as api,
    ):
        await place.stream.call(
            to="+15550001111", from_="+15552223333", url=house.url, account_sid=ACCOUNT, api=api
        )
        (call,) = carrier.calls
        await break_line(place, call)
        await eventually(lambda: len(handler.seen) == 2)
    assert handler.seen[1].reconnected
    assert handler.seen[1].phone is not None
    assert handler.seen[1].phone.caller == "+15552223333"


async def test_the_sentence_may_be_another_or_left_out(house: House) -> None:
    for interrupted, said in (("Sorry!", ["Hello", "Sorry!"]), (None, ["Hello"])):
        options = TelephoneOptions(greeting="Hello", returns=True, interrupted=interrupted)
        place = house.open(Teller(), telephone=options)
        async with place.carrier() as carrier:
            call = await carrier.dial()
            await break_line(place, call)
            assert call.said == said


async def test_a_recording_is_begun_once(house: House) -> None:
    options = TelephoneOptions(returns=True, record=True)
    place = house.open(Teller(), telephone=options)
    async with place.carrier() as carrier:
        call = await carrier.dial()
        await break_line(place, call)
        assert call.recordings == [{}]


async def test_a_caller_who_comes_back_before_the_loss_is_noticed_gets_the_slot_back(
    house: House, secret: str
) -> None:
    place = house.open(Witness(), telephone=RETURNS, concurrency_limit=1)
    async with place.carrier(auth_token=secret) as carrier:
        call = await carrier.dial()
        old = await session_of(place, call)
        answer = await ask(place, back_of(call))
        assert [verb.name for verb in parse(answer.content, place.url)][:2] == ["Say", "Connect"]
        assert old.ended
        assert not place.stream.connections
        await call.hang_up()


# Not coming back


@pytest.mark.parametrize("way", ["handler", "empty reason", "time limit", "close"])
async def test_a_call_that_our_side_ends_hears_the_goodbye_and_is_over(
    house: House, secret: str, way: str
) -> None:
    closing = {"handler": [CloseStream()], "empty reason": [CloseStream("")]}.get(way, [])
    limit = 0.3 if way == "time limit" else None
    place = house.open(Teller(*closing), telephone=RETURNS, time_limit=limit)
    async with place.carrier(auth_token=secret) as carrier:
        call = await carrier.dial()
        if way == "close":
            await session_of(place, call)
            await place.stream.close()
        await call.wait_ended()
    assert call.said == ["One moment, please.", "Goodbye."]
    assert call.executed[-1].name == "Hangup"
    assert call.status == "completed"
    assert len(call.streams) == 1


async def test_without_a_goodbye_the_call_just_ends(house: House) -> None:
    options = TelephoneOptions(returns=True, greeting=None, goodbye=None)
    place = house.open(Teller(CloseStream()), telephone=options)
    async with place.carrier() as carrier:
        call = await carrier.dial()
        await call.wait_ended()
    assert [verb.name for verb in call.executed] == ["Connect", "Redirect", "Hangup"]


async def test_who_may_not_come_in_is_dismissed_and_not_asked_to_wait(
    house: House, secret: str
) -> None:
    place = house.open(Teller(), telephone=RETURNS, authorize=lambda connection: False)
    async with place.carrier(auth_token=secret) as carrier:
        call = await carrier.dial()
        await call.wait_ended()
    assert call.said == ["One moment, please.", "Goodbye."]
    assert len(call.streams) == 1


async def test_who_meets_a_server_that_stops_may_ask_for_another(house: House, secret: str) -> None:
    place = house.open(Teller(), telephone=RETURNS)
    answer = await ask(place, "shop=7")
    (connecting,) = [v for v in parse(answer.content, place.url) if v.name == "Connect"]
    parameters = {
        one.attributes["name"]: one.attributes["value"] for one in connecting.children[0].children
    }
    place.stream._door.closing = True
    async with connect(place.media, proxy=None) as socket:
        start = {"streamSid": "MZ1", "callSid": "CA01", "customParameters": parameters}
        await socket.send(json.dumps({"event": "start", "start": start}))
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    place.stream._door.open()
    again = await ask(place, urlsplit(redirect_of(answer)).query)
    assert verbs(again) == ["Say", "Connect", "Redirect"]


async def test_a_full_house_dismisses_who_comes_back(house: House, secret: str) -> None:
    place = house.open(Teller(), telephone=RETURNS, concurrency_limit=2)
    async with place.carrier(auth_token=secret) as carrier:
        call, other = await carrier.dial(), await carrier.dial()
        await session_of(place, other)
        session = await session_of(place, call)
        place.stream._door.limit = 1
        kill(session)
        await call.wait_ended()
        assert not other.ended.is_set()
    assert call.said == ["One moment, please.", "Goodbye."]


async def test_who_comes_back_waits_until_the_lost_calls_are_counted_no_more(
    house: House, secret: str
) -> None:
    place = house.open(Teller(), telephone=RETURNS, concurrency_limit=2)
    async with place.carrier(auth_token=secret) as carrier:
        call, other = await carrier.dial(), await carrier.dial()
        await session_of(place, other)
        session = await session_of(place, call)
        door = place.stream._door
        door.limit = 1
        kill(session)
        await asyncio.sleep(0.7)
        door.limit = 2
        await eventually(lambda: len(call.streams) == 2)
        assert call.said == [
            "One moment, please.",
            "One moment, please. The line was interrupted.",
        ]


async def test_a_call_that_breaks_again_and_again_is_ended(
    house: House, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = house.open(Teller(), telephone=RETURNS)
    async with place.carrier(auth_token=secret) as carrier:
        call = await carrier.dial()
        for _ in range(MOST_BREAKS + 1):
            await break_line(place, call)
        await call.wait_ended()
    assert call.said == ["One moment, please.", *[INTERRUPTED] * MOST_BREAKS, "Goodbye."]
    assert "again and again" in caplog.text


@pytest.mark.parametrize("returns", [None, False])
async def test_a_call_of_one_process_ends_with_its_socket(
    house: House, returns: bool | None
) -> None:
    place = house.open(Teller(), telephone=TelephoneOptions(returns=returns))
    async with place.carrier() as carrier:
        call = await carrier.dial()
        kill(await session_of(place, call))
        await call.wait_ended()
    assert [verb.name for verb in call.executed] == ["Say", "Connect", "Say"]


# What a cluster sets up


async def test_a_cluster_lets_calls_come_back_unless_the_stream_says_otherwise(
    house: House,
) -> None:
    for returns, verb in ((None, "Redirect"), (False, "Say")):
        place = house.open(Teller(), telephone=TelephoneOptions(returns=returns))
        place.stream.returns.by_default = True
        answer = await house.http.post(f"{place.url}/telephone/incoming")
        assert parse(answer.content, place.url)[-1].name == verb


async def test_the_end_of_a_call_is_noted_before_its_socket_is_closed(
    house: House, secret: str
) -> None:
    class Slow(OwnLedger):
        async def note_end(self, call_id: str) -> None:
            await asyncio.sleep(0.2)
            await super().note_end(call_id)

    place = house.open(Teller(CloseStream()), telephone=RETURNS)
    place.stream.returns.ledger = Slow()
    async with place.carrier(auth_token=secret) as carrier:
        call = await carrier.dial()
        await call.wait_ended()
    assert call.said == ["One moment, please.", "Goodbye."]


async def test_calls_that_are_over_are_not_kept(house: House, secret: str) -> None:
    place = house.open(Teller(), telephone=RETURNS)
    async with place.carrier(auth_token=secret) as carrier:
        call = await carrier.dial()
        await break_line(place, call)
        await session_of(place, call)
        assert len(place.stream.phones._live) == 1
        await call.hang_up()
    await eventually(lambda: not place.stream.phones._live)


@pytest.mark.parametrize("shared", [False, True])
async def test_the_log_says_at_the_start_if_other_servers_would_not_know_the_tickets(
    house: House, monkeypatch: pytest.MonkeyPatch, shared: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if shared:
        monkeypatch.setenv("FASTRTC_SECRET", TOKEN)
    async with line(Teller(), telephone=RETURNS):
        assert ("come back as new ones" in caplog.text) is not shared


async def test_another_server_with_the_ledger_and_the_secret_knows_who_was_ended(
    house: House, secret: str
) -> None:
    ledger = OwnLedger()
    first, second = (house.open(Teller(CloseStream()), telephone=RETURNS) for _ in range(2))
    first.stream.returns.ledger = second.stream.returns.ledger = ledger
    async with first.carrier(auth_token=secret) as carrier:
        ended = await carrier.dial()
        await ended.wait_ended()
    assert verbs(await ask(second, back_of(ended))) == ["Say", "Hangup"]


async def test_another_server_takes_over_a_call_of_one_that_was_killed(
    house: House, secret: str
) -> None:
    killed, other = (house.open(Teller(), telephone=RETURNS) for _ in range(2))
    async with killed.carrier(auth_token=secret) as carrier:
        call = await carrier.dial()
        answer = await ask(other, back_of(call))
        await call.hang_up()
    assert verbs(answer) == ["Say", "Connect", "Redirect"]


# Addresses and signatures


def verbs(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [verb.name for verb in parse(answer.content, str(answer.url))]


def back_of(call: PhoneCall) -> str:
    """The query of the redirect behind a call's newest stream."""
    return urlsplit(call.ways_back[-1]).query


async def ask(place: Place, query: str, signed: str | None = None) -> httpx.Response:
    """Ask a place's webhook with a query, signed for it or for another."""
    url = f"{place.url}/telephone/incoming?{query}"
    covered = url if signed is None else f"{place.url}/telephone/incoming?{signed}"
    headers = {"X-Twilio-Signature": sign(TOKEN, covered, FORM)}
    return await place.http.post(url, data=FORM, headers=headers)


def redirect_of(answer: httpx.Response) -> str:
    """Where a document goes at its end."""
    last = parse(answer.content, str(answer.url))[-1]
    assert last.name == "Redirect"
    assert last.attributes == {"method": "POST"}
    return last.text


async def test_a_query_of_the_webhooks_own_stays_as_it_was_written(
    house: House, secret: str
) -> None:
    place = house.open(Teller(), telephone=RETURNS)
    first = await ask(place, "shop=l%20%C3%ADme&x=")
    address, _, ticket = redirect_of(first).rpartition("&")
    assert address == f"{place.url}/telephone/incoming?shop=l%20%C3%ADme&x="
    assert ticket.startswith(f"{RETURN}=")
    second = await ask(place, urlsplit(redirect_of(first)).query)
    assert redirect_of(second).rpartition("&")[0] == address
    assert redirect_of(second) != redirect_of(first)


async def test_behind_a_proxy_the_way_back_is_the_address_that_the_platform_knows(
    house: House, secret: str
) -> None:
    place = house.open(Teller(), telephone=RETURNS)
    url = f"https://phone.example:8443{place.path}/telephone/incoming"
    answer = await place.http.post(
        f"{place.url}/telephone/incoming",
        data=FORM,
        headers={
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "phone.example:8443",
            "X-Twilio-Signature": sign(TOKEN, url, FORM),
        },
    )
    assert redirect_of(answer).partition("?")[0] == url


async def test_another_platform_comes_back_to_its_own_webhook(house: House) -> None:
    options = TelephoneOptions(returns=True, providers=["signalwire"])
    place = house.open(Teller(), telephone=options)
    url = f"{place.url}/telephone/signalwire/incoming"
    answer = await house.http.post(url)
    assert redirect_of(answer).partition("?")[0] == url
    again = await house.http.post(redirect_of(answer))
    assert INTERRUPTED in again.text


async def test_a_webhook_of_the_apps_own_is_asked_again(house: House) -> None:
    handler = Witness()
    place = house.open(handler, telephone=RETURNS)

    @house.app.post("/switchboard")
    async def voice(request: Request) -> Response:
        return await place.stream.handle_incoming_call(request)

    async with Carrier(f"{house.url}/switchboard") as carrier:
        call = await carrier.dial()
        await break_line(place, call)
        await eventually(lambda: len(handler.seen) == 2)
    assert handler.seen[1].reconnected


async def test_a_way_back_that_was_not_signed_is_refused(house: House, secret: str) -> None:
    place = house.open(Teller(), telephone=RETURNS)
    query = urlsplit(redirect_of(await ask(place, "shop=7"))).query
    assert (await ask(place, query, signed="shop=7")).status_code == 403
    assert (await ask(place, "shop=7", signed=query)).status_code == 403


@pytest.mark.parametrize("forged", ["", "1", "0.0.abc.def", "%C3%A9", "x" * 5_000])
async def test_a_ticket_that_is_none_of_ours_makes_a_new_call_that_does_not_return(
    house: House, secret: str, forged: str
) -> None:
    handler = Witness()
    place = house.open(handler, telephone=RETURNS)
    url = f"{place.url}/telephone/incoming?{RETURN}={forged}"
    async with Carrier(url, auth_token=secret) as carrier:
        call = await carrier.dial()
        kill(await session_of(place, call))
        await call.wait_ended()
    assert call.said == ["One moment, please.", "Goodbye."]
    assert not handler.seen[0].reconnected


async def test_a_ticket_of_another_secret_is_none_of_ours(
    house: House, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = house.open(Teller(), telephone=RETURNS)
    monkeypatch.setenv("FASTRTC_SECRET", "of somebody else")
    query = urlsplit(redirect_of(await ask(theirs, "shop=7"))).query
    monkeypatch.delenv("FASTRTC_SECRET")
    ours = house.open(Teller(), telephone=RETURNS)
    assert INTERRUPTED not in (await ask(ours, query)).text


async def test_the_mark_of_a_call_that_comes_back_cannot_be_made_up(
    house: House, secret: str
) -> None:
    place = house.open(Teller(), telephone=RETURNS)
    token = place.stream.telephone_token()
    body, _, signature = token.rpartition(".")
    tokens = place.stream.phones._tokens_of("twilio")
    assert tokens.read(f"{body}.again.{signature}") is None
    said = tokens.read(token)
    assert said is not None
    assert not said.again


# Vonage, whose platform tells of it in an event


async def test_vonage_asks_by_an_event_and_gets_the_next_actions(house: House) -> None:
    options = TelephoneOptions(returns=True, providers=["vonage"])
    place = house.open(Teller(), telephone=options)
    facts = {"uuid": "aaaa", "from": "15550001111", "to": "15550002222"}
    first = await house.http.post(f"{place.url}/telephone/vonage/incoming", json=facts)
    action = first.json()[-1]
    (back,) = action["eventUrl"]
    assert urlsplit(back).path == f"{place.path}/telephone/vonage/incoming"
    (endpoint,) = action["endpoint"]
    event = {"uuid": "bbbb", "from": "1", "headers": endpoint["headers"]}
    news = await house.http.post(back, json={**event, "status": "answered"})
    assert (news.status_code, news.content) == (200, b"")
    again = await house.http.post(back, json={**event, "status": "disconnected"})
    talk, connect = again.json()
    assert talk["text"] == INTERRUPTED
    headers = connect["endpoint"][0]["headers"]
    assert {name: headers[name] for name in facts} == facts
    assert dict(parse_qsl(urlsplit(connect["eventUrl"][0]).query))[RETURN]
