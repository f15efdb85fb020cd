"""Calls that we make, over the REST API of a Twilio of our own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from fastapi import Response

from fastrtc import ReplyOnPause, TelephoneOptions
from fastrtc.context import PhoneCall as Facts
from fastrtc.transports.telephone.outbound import CallError
from tests.carrier import Carrier
from tests.carrier.company import ACCOUNT
from tests.conftest import tone
from tests.peers import eventually
from tests.transports.house import House, Teller, hertz, loud_seconds

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "the account's own secret"
HELLO = tone(0.3, rate=8_000)
NUMBERS = {"to": "+15550001111", "from_": "+15552223333"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def _company(_house: House) -> AsyncIterator[tuple[Carrier, str]]:
    """One for all tests, and where its API is."""
    async with (
        Carrier(f"{_house.url}/nowhere", auth_token=TOKEN) as carrier,
        carrier.serve() as api,
    ):
        yield carrier, api


@pytest_asyncio.fixture(loop_scope="module")
async def carrier(_company: tuple[Carrier, str]) -> AsyncIterator[Carrier]:
    carrier, _ = _company
    yield carrier
    for call in carrier.calls:
        await call.hang_up()
    carrier.calls.clear()


@pytest.fixture
def twilio(_company: tuple[Carrier, str], carrier: Carrier, house: House) -> dict[str, Any]:
    """What a call needs to reach this Twilio, and Twilio us."""
    return {
        "api": _company[1],
        "url": house.url,
        "account_sid": ACCOUNT,
        "auth_token": TOKEN,
        **NUMBERS,
    }


async def test_who_answers_talks_to_the_handler(
    house: House, carrier: Carrier, twilio: dict[str, Any]
) -> None:
    place = house.open(Teller(HELLO))
    sid = await place.stream.call(**twilio)
    (call,) = carrier.calls
    await eventually(lambda: loud_seconds(call.heard[1], 8_000) > 0.28)
    (session,) = place.stream.connections.values()
    assert hertz(call.heard[1], 8_000) == pytest.approx(440, abs=5)
    assert session.context.phone == Facts(
        provider="twilio",
        call_id=sid,
        stream_id=call.stream_sid,
        caller=NUMBERS["from_"],
        called=NUMBERS["to"],
    )
    assert sid == call.sid
    assert call.violations == []


async def test_the_account_and_the_address_may_come_from_the_environment(
    house: House, carrier: Carrier, twilio: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # With the secret there, the media socket has to show the token of the document.
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", ACCOUNT)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("FASTRTC_URL", f"{house.url}/")
    place = house.open(Teller())
    await place.stream.call(**NUMBERS, api=f"{twilio['api']}/")
    await place.handler()
    assert len(carrier.calls) == 1


async def test_options_are_passed_on(
    house: House, carrier: Carrier, twilio: dict[str, Any]
) -> None:
    events: list[str] = []

    @house.app.post("/outbound-status")
    async def status() -> None:
        events.append("told")

    options = TelephoneOptions(
        greeting="Hello",
        record=True,
        status_callback=f"{house.url}/outbound-status",
        parameters={"shop": "lime"},
    )
    place = house.open(Teller(), telephone=options)
    await place.stream.call(**twilio)
    (call,) = carrier.calls
    await place.handler()
    assert call.said == ["Hello"]
    assert call.recordings == [{}]
    assert call.form["StatusCallback"] == [options.status_callback]
    (session,) = place.stream.connections.values()
    assert session.context.phone is not None
    assert session.context.phone.parameters == {"shop": "lime"}
    await call.hang_up()
    # The stream has begun, the stream has ended, the call has ended.
    await eventually(lambda: len(events) == 3)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"auth_token": "wrong"}, "401.*Authenticate"),
        ({"account_sid": "AC01"}, "401.*Authenticate"),
        ({"account_sid": "AC/../1"}, "404"),
        ({"to": "me"}, "400.*Invalid 'To' Phone Number: me"),
        ({"to": ""}, "400.*No 'To' number"),
        ({"from_": "&To=+15559999999"}, "400.*Invalid 'From'"),
    ],
)
async def test_what_twilio_does_not_take_is_an_error_with_what_it_says(
    house: House, carrier: Carrier, twilio: dict[str, Any], wrong: dict[str, str], text: str
) -> None:
    place = house.open(Teller())
    with pytest.raises(CallError, match=text) as error:
        await place.stream.call(**{**twilio, **wrong})
    assert TOKEN not in str(error.value)
    assert not carrier.calls


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ("account_sid", "TWILIO_ACCOUNT_SID"),
        ("auth_token", "TWILIO_AUTH_TOKEN"),
        ("url", "FASTRTC_URL"),
    ],
)
async def test_what_is_not_known_is_asked_for(
    house: House, twilio: dict[str, Any], missing: str, text: str
) -> None:
    place = house.open(Teller())
    with pytest.raises(ValueError, match=text):
        await place.stream.call(**{**twilio, missing: ""})


async def test_an_address_that_is_none_is_refused(house: House, twilio: dict[str, Any]) -> None:
    place = house.open(Teller())
    with pytest.raises(ValueError, match="a url such as"):
        await place.stream.call(**{**twilio, "url": "phone.example"})


@pytest.mark.parametrize(
    "answer",
    [
        Response("[]", 201),
        Response("{}", 201),
        Response('{"sid": 7}', 201),
        Response("<html>", 200),
        Response("down", 503),
        Response("", 302, {"Location": "https://evil.example"}),
        None,
    ],
    ids=["list", "empty", "number", "html", "503", "redirect", "nobody"],
)
async def test_an_api_that_is_not_twilios_is_an_error_that_says_what_came(
    house: House, twilio: dict[str, Any], answer: Response | None
) -> None:
    place = house.open(Teller())
    api = f"{place.url}/api"

    @house.app.post(f"{place.path}/api/2010-04-01/Accounts/{ACCOUNT}/Calls.json")
    async def calls() -> Any:
        return answer

    nobody = "http://127.0.0.1:9"
    with pytest.raises(CallError, match="Twilio took no call to"):
        await place.stream.call(**{**twilio, "api": api if answer else nobody})


async def test_a_handler_that_cannot_serve_a_telephone_calls_nobody(
    house: House, carrier: Carrier, twilio: dict[str, Any]
) -> None:
    def reply(audio: Any, history: list[Any]) -> Iterator[Any]:
        yield HELLO

    place = house.open(ReplyOnPause(reply, endpointing="vad"))
    with pytest.raises(ValueError, match="default"):
        await place.stream.call(**twilio)
    assert not carrier.calls
