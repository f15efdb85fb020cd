import asyncio
import contextlib
import sys
import time
from typing import Any, cast

import numpy as np
import pytest

from fastrtc import AsyncStreamHandler, ReplyOnPause, Stream, get_current_context
from fastrtc.admission import Refused
from fastrtc.elsewhere import Elsewhere
from fastrtc.transports.sip import line as sip_line
from fastrtc.transports.sip.account import SipAccount
from fastrtc.transports.sip.listener import ANYWHERE
from fastrtc.transports.webrtc.place import MediaPlace
from tests.conftest import tone
from tests.peers import eventually, free_ports
from tests.transports.sip.caller import LOOPBACK, Caller, Port, caller, speaking
from tests.transports.sip.phone import read


class Tone(AsyncStreamHandler):
    """Says a tone all the time, and keeps what it learns."""

    def __init__(self, seen: list[Any]) -> None:
        super().__init__()
        self.seen = seen

    async def start_up(self) -> None:
        self.seen.append(get_current_context())

    async def receive(self, frame: Any) -> None:
        self.seen.append(frame[1].shape)

    async def emit(self) -> Any:
        await asyncio.sleep(0.01)
        return tone(0.02)

    async def on_dtmf(self, digit: str) -> None:
        self.seen.append(digit)

    def copy(self) -> "Tone":
        return Tone(self.seen)


@pytest.fixture
def seen() -> list[Any]:
    return []


def stream(seen: list[Any], **options: Any) -> Stream:
    return Stream(Tone(seen), **options)


async def test_a_call_is_answered_and_both_hear_each_other(seen: list[Any]) -> None:
    voice = stream(seen)
    async with await voice.answer_sip(LOOPBACK, 0) as line, caller(line) as one:
        assert (await one.invite(extra="X-Account: 7\r\n")).code == 200
        async with speaking(one):
            await eventually(lambda: np.abs(one.sound.heard().astype(int)).max(initial=0) > 6_000)
            await eventually(lambda: any(isinstance(item, tuple) for item in seen))
        await one.hang_up()
        await eventually(lambda: not voice.connections)
    phone = seen[0].phone
    assert (phone.provider, phone.call_id, phone.caller) == ("sip", one.id, "+15550001")
    assert (phone.called, phone.parameters) == ("talk", {"x-account": "7"})
    assert seen[0].webrtc_id == one.id


async def test_keys_reach_the_handler(seen: list[Any]) -> None:
    async with await stream(seen).answer_sip(LOOPBACK, 0) as line, caller(line) as one:
        await one.invite()
        one.sound.press(1, one.port)
        one.sound.press(11, one.port)
        await eventually(lambda: "#" in seen)
        await one.hang_up()
    assert [item for item in seen if isinstance(item, str)] == ["1", "#"]


async def test_a_session_that_ends_hangs_up(seen: list[Any]) -> None:
    voice = stream(seen, time_limit=0.2)
    async with await voice.answer_sip(LOOPBACK, 0) as line, caller(line) as one:
        await one.invite()
        bye = await one.next()
        one.reply(bye)
        await eventually(lambda: not voice.connections)
    assert bye.method == "BYE"


async def test_a_line_that_is_closed_hangs_up_and_gives_its_port_back(seen: list[Any]) -> None:
    voice = stream(seen)
    async with caller(await voice.answer_sip(LOOPBACK, 0)) as one:
        await one.invite()
        closing = asyncio.ensure_future(one.line.close())
        bye = await one.next()
        one.reply(bye)
        await closing
        assert (bye.method, voice.connections) == ("BYE", {})
        again = await voice.answer_sip(LOOPBACK, one.line.port)
        await again.close()
        await again.close()


async def test_a_line_that_is_closed_does_not_wait_long_for_who_has_gone(seen: list[Any]) -> None:
    async with caller(await stream(seen).answer_sip(LOOPBACK, 0)) as one:
        await one.invite()
        began = time.monotonic()
        await one.line.close()
    assert 1.5 < time.monotonic() - began < 4


async def test_a_caller_too_many_is_told_that_we_are_busy(seen: list[Any]) -> None:
    voice = stream(seen, concurrency_limit=1)
    async with (
        await voice.answer_sip(LOOPBACK, 0) as line,
        caller(line) as one,
        caller(line) as two,
    ):
        assert (await one.invite()).code == 200
        assert (await two.invite()).code == 486
        await one.hang_up()
        await eventually(lambda: not voice.connections)
        two.tag = ""
        assert (await two.invite()).code == 200
        await two.hang_up()


async def test_on_a_cluster_the_others_are_asked_for_a_place(seen: list[Any]) -> None:
    class Full:
        replica = "a"

        def changed(self) -> None: ...

        async def reserve(self, call_id: str, identity: Any, *, again: bool) -> None:
            raise Refused("concurrency_limit_reached", limit=0)

    voice = stream(seen)
    voice.share(cast(Elsewhere, Full()))
    async with await voice.answer_sip(LOOPBACK, 0) as line, caller(line) as one:
        assert (await one.invite()).code == 486
    assert not voice.connections


async def test_sound_takes_the_ports_for_media_and_who_finds_none_free_is_refused(
    seen: list[Any],
) -> None:
    voice = stream(seen)
    voice.media_place = MediaPlace(ports=free_ports(2))
    async with contextlib.AsyncExitStack() as stack:
        line = await stack.enter_async_context(await voice.answer_sip(LOOPBACK, 0))
        one, two, three = [await stack.enter_async_context(caller(line)) for _ in range(3)]
        assert [(await each.invite()).code for each in (one, two, three)] == [200, 200, 503]
        assert {one.port, two.port} == set(voice.media_place.ports or ())
        await eventually(lambda: len(voice.connections) == 2)
        await one.hang_up()
        await eventually(lambda: len(voice.connections) == 1)
        three.tag = ""
        assert (await three.invite()).code == 200
        assert three.port == one.port
        await two.hang_up()
        await three.hang_up()


async def test_one_hook_decides_on_all_callers(seen: list[Any]) -> None:
    def authorize(connection: Any) -> Any:
        seen.append(connection.client.host)
        seen.append(connection.headers["x-account"])
        return connection.state.phone.caller == "+15550001" and "alice"

    voice = stream(seen, authorize=authorize)
    async with await voice.answer_sip(LOOPBACK, 0) as line, caller(line) as one:
        assert (await one.invite(extra="X-Account: 7\r\n")).code == 200
        await eventually(lambda: len(seen) > 2)
        await one.hang_up()
    assert seen[:2] == [LOOPBACK, "7"]
    assert seen[2].identity == "alice"


async def test_a_caller_who_is_not_authorized_is_forbidden(seen: list[Any]) -> None:
    voice = stream(seen, authorize=lambda connection: False)
    async with await voice.answer_sip(LOOPBACK, 0) as line, caller(line) as one:
        assert (await one.invite()).code == 403
    assert not seen


async def test_a_handler_that_cannot_be_made_is_our_error(
    seen: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Tone):
        def copy(self) -> "Tone":
            raise OSError("broken")

    async with await Stream(Broken(seen)).answer_sip(LOOPBACK, 0) as line, caller(line) as one:
        assert (await one.invite()).code == 500
    assert "could not be answered" in caplog.text


async def test_a_caller_who_gives_up_while_it_is_decided_on_leaves_nothing(
    seen: list[Any],
) -> None:
    decided = asyncio.Event()

    async def authorize(connection: Any) -> bool:
        await decided.wait()
        return True

    voice = stream(seen, authorize=authorize)
    async with await voice.answer_sip(LOOPBACK, 0) as line, caller(line) as one:
        one.request("INVITE", body=one.offer())
        one.request("CANCEL", 1)
        replies = [await one.next(), await one.next()]
        decided.set()
        one.tag = replies[0].tag
        one.request("ACK", 1)
        one.request("OPTIONS")
        assert (await one.next()).code == 481
        assert ({reply.code for reply in replies}, voice.connections) == ({200, 487}, {})


async def test_a_line_that_is_closed_turns_away_who_is_being_decided_on(seen: list[Any]) -> None:
    async def authorize(connection: Any) -> bool:
        await asyncio.Event().wait()
        return True

    async with caller(await stream(seen, authorize=authorize).answer_sip(LOOPBACK, 0)) as one:
        one.request("INVITE", body=one.offer())
        await eventually(lambda: bool(one.signal.came))
        closing = asyncio.ensure_future(one.line.close())
        reply = await one.next()
        one.tag = reply.tag
        one.request("ACK", 1)
        await closing
    assert reply.code == 480


async def test_a_caller_on_hold_is_sent_nothing(seen: list[Any]) -> None:
    async with await stream(seen).answer_sip(LOOPBACK, 0) as line, caller(line) as one:
        await one.invite()
        await eventually(lambda: len(one.sound.came) > 5)
        assert "a=recvonly" in (await one.invite("sendonly")).body
        await asyncio.sleep(0.1)
        count = len(one.sound.came)
        await asyncio.sleep(0.2)
        assert len(one.sound.came) == count
        await one.invite()
        await eventually(lambda: len(one.sound.came) > count + 5)
        await one.hang_up()


async def test_a_caller_who_has_gone_without_a_word_is_hung_up_on(
    seen: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_line, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(sip_line, "CHECK_SECONDS", 0.05)
    voice = stream(seen)
    async with await voice.answer_sip(LOOPBACK, 0) as line, caller(line) as one:
        await one.invite()
        async with speaking(one):
            await asyncio.sleep(0.6)
            assert voice.connections
        bye = await one.next()
        one.reply(bye)
        assert bye.method == "BYE"
        await eventually(lambda: not voice.connections)


async def test_we_never_say_that_we_are_everywhere(seen: list[Any]) -> None:
    async with await stream(seen).answer_sip(ANYWHERE, 0) as line, caller(line) as one:
        answer = await one.invite()
        await one.hang_up()
    assert f"c=IN IP4 {LOOPBACK}" in answer.body
    assert answer.headers["contact"] == f"<sip:{LOOPBACK}:{line.port}>"


async def test_behind_nat_we_say_where_we_are_reached(seen: list[Any]) -> None:
    voice = stream(seen)
    opening = voice.answer_sip(LOOPBACK, 0, public_host="203.0.113.9")
    async with await opening as line, caller(line) as one:
        answer = await one.invite()
        await one.hang_up()
    assert "c=IN IP4 203.0.113.9" in answer.body
    assert answer.headers["contact"] == f"<sip:203.0.113.9:{line.port}>"


async def test_an_account_is_registered_while_the_line_is_open(seen: list[Any]) -> None:
    exchange = Port()
    await exchange.open()

    async def answered(count: int) -> str:
        await eventually(lambda: len(exchange.came) >= count)
        message = read(exchange.came[count - 1][1], ("", 0))
        one = Caller(line)
        one.signal = exchange
        one.reply(message)
        return message.headers["contact"]

    account = SipAccount(f"{LOOPBACK}:{exchange.number}", "talk", "secret")
    line = await stream(seen).answer_sip(LOOPBACK, 0, register=account)
    assert await answered(1) == f"<sip:talk@{LOOPBACK}:{line.port}>;expires=300"
    await eventually(lambda: line.registered)
    closing = asyncio.ensure_future(line.close())
    assert await answered(2) == f"<sip:talk@{LOOPBACK}:{line.port}>;expires=0"
    await closing
    exchange.close()


async def test_an_exchange_that_cannot_be_found_is_no_end_of_the_line(
    seen: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    account = SipAccount("pbx.invalid", "talk", "secret")
    async with await stream(seen).answer_sip(LOOPBACK, 0, register=account) as line:
        await eventually(lambda: "could not be registered" in caplog.text)
        async with caller(line) as one:
            assert (await one.invite()).code == 200
            await one.hang_up()


async def test_a_handler_that_cannot_serve_a_telephone_is_refused_at_once() -> None:
    def reply(audio: Any, name: str) -> Any:
        yield tone(0.1)

    with pytest.raises(ValueError, match="telephone"):
        await Stream(ReplyOnPause(reply)).answer_sip(LOOPBACK, 0)


async def test_without_the_extra_the_error_says_how_to_get_it(
    seen: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("fastrtc.transports.sip.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sipmessage", None)
    with pytest.raises(ImportError, match=r'pip install "fastrtc\[sip\]"'):
        await stream(seen).answer_sip(LOOPBACK, 0)


async def test_a_port_that_is_taken_is_an_error(seen: list[Any]) -> None:
    async with await stream(seen).answer_sip(LOOPBACK, 0) as line:
        with pytest.raises(OSError, match="in use"):
            await stream(seen).answer_sip(LOOPBACK, line.port)
