"""Tickets, the ledger, and the documents of the platforms, for calls that come back."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc import TelephoneOptions
from fastrtc.transports.telephone import returning
from fastrtc.transports.telephone.exotel import Exotel
from fastrtc.transports.telephone.plivo import Plivo
from fastrtc.transports.telephone.provider import Connection, Provider, Returning
from fastrtc.transports.telephone.returning import (
    BREAK_SECONDS,
    ENDED_SECONDS,
    MOST_BREAKS,
    OwnLedger,
    Returns,
    Ticket,
    Tickets,
)
from fastrtc.transports.telephone.signalwire import SignalWire
from fastrtc.transports.telephone.telnyx import Telnyx
from fastrtc.transports.telephone.twilio import Twilio
from fastrtc.transports.telephone.vonage import LOST, Vonage
from tests.transports.telephone.examples import SOCKET, TOKEN, TRICKY, webhook

NOW = 1_700_000_000.0
BACK = "https://shop.example/telephone/any/incoming?shop=7&fastrtc_return=0.0.abc.def"
TICKET = Ticket("line-1_a", 2, int(NOW))
VERBAL = [Twilio(), SignalWire(), Telnyx(), Plivo()]
SPEECH = {"twilio": "Say", "signalwire": "Say", "telnyx": "Say", "plivo": "Speak"}


def name_of(value: Any) -> str | None:
    return getattr(value, "name", None)


def broken(ticket: Ticket, *after: float) -> Ticket | None:
    """The ticket after breaks at these seconds."""
    found: Ticket | None = ticket
    for seconds in after:
        assert found is not None
        found = found.after_break(NOW + seconds)
    return found


# How often


def test_a_call_comes_back_as_often_as_is_allowed() -> None:
    assert broken(Ticket(), *range(MOST_BREAKS)) is not None
    assert broken(Ticket(), *range(MOST_BREAKS + 1)) is None


def test_breaks_of_long_ago_do_not_count() -> None:
    again = broken(Ticket(), *range(MOST_BREAKS), BREAK_SECONDS + 1)
    assert again is not None
    assert (again.breaks, again.since) == (1, int(NOW) + BREAK_SECONDS + 1)


def test_each_connection_has_an_id_of_its_own() -> None:
    again = broken(TICKET, 1)
    assert again is not None
    assert len({TICKET.line, again.line, Ticket().line, Ticket().line}) == 4


# Tickets


@given(st.integers(0, MOST_BREAKS), st.integers(0, 1 << 40))
def test_a_ticket_that_was_written_is_read(breaks: int, since: int) -> None:
    ticket = Ticket(breaks=breaks, since=since)
    assert Tickets("secret").read(Tickets("secret").write(ticket)) == ticket


def test_a_ticket_needs_no_escape_in_an_address() -> None:
    assert (
        Tickets("secret").write(TICKET).replace("-", "").replace("_", "").replace(".", "").isalnum()
    )


def test_a_change_of_any_character_is_found_out() -> None:
    written = Tickets("secret").write(TICKET)
    for place in range(len(written)):
        other = "0" if written[place] != "0" else "1"
        assert Tickets("secret").read(written[:place] + other + written[place + 1 :]) is None


@settings(max_examples=50)
@given(st.text())
def test_what_we_have_not_written_is_no_ticket(text: str) -> None:
    assert Tickets("secret").read(text) is None


def test_a_ticket_of_another_secret_is_none() -> None:
    assert Tickets("secret").read(Tickets("other").write(TICKET)) is None


# The ledger


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_an_end_that_was_noted_is_known_and_no_other() -> None:
    ledger = OwnLedger()
    await ledger.note_end("a")
    assert [await ledger.has_ended(one) for one in "ab"] == [True, False]


async def test_an_end_is_forgotten_in_time() -> None:
    clock = Time()
    ledger = OwnLedger(clock)
    await ledger.note_end("a")
    clock.now = ENDED_SECONDS
    assert await ledger.has_ended("a")
    clock.now += 1
    assert not await ledger.has_ended("a")


async def test_only_so_many_ends_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returning, "MOST_ENDED", 2)
    ledger = OwnLedger()
    for one in "abc":
        await ledger.note_end(one)
    assert [await ledger.has_ended(one) for one in "abc"] == [False, True, True]


class Broken:
    """A ledger that fails, or never answers."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def note_end(self, call_id: str) -> None:
        await self.has_ended(call_id)

    async def has_ended(self, call_id: str) -> bool:
        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()
        return True


@pytest.mark.parametrize("error", [ConnectionError("the ledger is gone"), None])
async def test_without_its_ledger_a_call_comes_back(
    error: Exception | None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(returning, "LEDGER_SECONDS", 0.02)
    returns = Returns(ledger=Broken(error))
    await returns.note_end("a")
    assert not await returns.has_ended("a")
    assert caplog.text.count("does not answer\n") == 2


# The documents


def connect(provider: Provider, back: str = BACK, **options: Any) -> Any:
    given = Connection(SOCKET, TOKEN, TelephoneOptions(**options), back)
    document, _ = provider.connect(webhook("From=%2B1555&To=%2B1666"), given)
    return json.loads(document) if document[0] == "[" else ElementTree.fromstring(document)


@pytest.mark.parametrize("provider", VERBAL, ids=name_of)
def test_a_document_ends_with_the_way_back_in_the_place_of_the_goodbye(provider: Provider) -> None:
    last = list(connect(provider))[-1]
    assert (last.tag, last.get("method"), last.text) == ("Redirect", "POST", BACK)
    said = [one.text for one in connect(provider).iter(SPEECH[provider.name])]
    assert said == ["One moment, please."]


@pytest.mark.parametrize("provider", VERBAL, ids=name_of)
def test_without_a_way_back_a_document_ends_with_the_goodbye(provider: Provider) -> None:
    last = list(connect(provider, back=""))[-1]
    assert (last.tag, last.text) == (SPEECH[provider.name], "Goodbye.")


@pytest.mark.parametrize("provider", VERBAL, ids=name_of)
@pytest.mark.parametrize(("goodbye", "said"), [(TRICKY, [TRICKY]), (None, [])])
def test_who_is_dismissed_hears_the_goodbye_and_the_call_ends(
    provider: Returning, goodbye: str | None, said: list[str]
) -> None:
    document, kind = provider.dismiss(TelephoneOptions(goodbye=goodbye))
    verbs = list(ElementTree.fromstring(document))
    assert kind == "application/xml"
    assert [one.text for one in verbs[:-1]] == said
    assert verbs[-1].tag == "Hangup"


def test_vonage_is_asked_to_tell_of_the_end_of_the_socket_before_it_goes_on() -> None:
    greeting, action = connect(Vonage(), status_callback="https://a.example")
    assert greeting["text"] == "One moment, please."
    assert (action["eventType"], action["eventUrl"]) == ("synchronous", [BACK])


def test_vonage_tells_a_dismissed_caller_the_goodbye() -> None:
    said, _ = Vonage().dismiss(TelephoneOptions())
    nothing, _ = Vonage().dismiss(TelephoneOptions(goodbye=None))
    assert json.loads(said) == [{"action": "talk", "text": "Goodbye."}]
    assert json.loads(nothing) == []


@pytest.mark.parametrize("status", LOST)
def test_an_event_of_vonage_that_says_that_the_socket_is_gone_asks(status: str) -> None:
    assert Vonage().asks(webhook(fields={"status": status}))


@pytest.mark.parametrize("fields", [{}, {"status": "answered"}, {"status": ["disconnected"]}])
def test_other_events_of_vonage_are_news(fields: dict[str, Any]) -> None:
    assert not Vonage().asks(webhook(fields=fields))


def test_the_caller_of_vonage_is_known_from_the_headers_of_the_event() -> None:
    told = {"uuid": "aaaa", "from": "15550001111", "to": "15550002222", "fastrtc_token": "spent"}
    event: dict[str, Any] = {"uuid": "bbbb", "from": "1", "to": SOCKET, "headers": told}
    given = Connection(SOCKET, TOKEN, TelephoneOptions(), BACK)
    document, _ = Vonage().connect(webhook(fields=event), given)
    (endpoint,) = json.loads(document)[1]["endpoint"]
    assert endpoint["headers"] == {**told, "fastrtc_token": TOKEN}


def test_who_cannot_ask_again_is_not_taken_for_one_who_can() -> None:
    assert not isinstance(Exotel(), Returning)
    assert all(isinstance(one, Returning) for one in [*VERBAL, Vonage()])
