import asyncio
import contextvars
import json
from collections.abc import Iterator
from typing import Any

import pytest

import fastrtc
from fastrtc import utils
from fastrtc.context import Context, current_context, current_reply, get_current_context
from fastrtc.errors import Warning
from fastrtc.threads import Workers
from fastrtc.turns.record import Heard


class Client:
    """Notes what it is sent."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def send_message(self, message: str) -> None:
        self.messages.append(json.loads(message))


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def context(client: Client) -> Iterator[Context]:
    """The context of a call, for the code of this test."""
    context = Context("ann", "ann", notices=client)
    token = current_context.set(context)
    yield context
    current_context.reset(token)


def test_outside_a_call_there_is_no_context() -> None:
    with pytest.raises(RuntimeError, match="There is no current call"):
        get_current_context()


def test_in_a_call_its_context_is_found(context: Context) -> None:
    assert get_current_context() is context


def test_the_context_has_the_id_under_both_of_its_names(context: Context) -> None:
    assert (context.webrtc_id, context.websocket_id) == ("ann", "ann")


async def test_a_task_of_a_call_finds_its_context() -> None:
    async def ask() -> str:
        return get_current_context().webrtc_id

    calls = [contextvars.copy_context() for _ in range(3)]
    tasks = []
    for number, call in enumerate(calls):
        call.run(current_context.set, Context(str(number)))
        tasks.append(call.run(asyncio.ensure_future, ask()))
    assert await asyncio.gather(*tasks) == ["0", "1", "2"]


async def test_a_worker_of_a_call_finds_its_context() -> None:
    current_context.set(Context("ann"))
    assert (await Workers().call(get_current_context)).webrtc_id == "ann"


async def test_a_worker_outside_a_call_finds_none() -> None:
    with pytest.raises(RuntimeError, match="There is no current call"):
        await Workers().call(get_current_context)


@pytest.mark.pitfall(10)
def test_two_calls_share_no_state() -> None:
    first, second = Context("a"), Context("b")
    first.state["name"] = "Ann"
    assert second.state == {}


def test_a_context_prints_the_ids_and_not_its_inside(context: Context) -> None:
    assert repr(context) == "Context(webrtc_id='ann', websocket_id='ann', state={})"


def test_outside_a_reply_nothing_is_heard_of_it(context: Context) -> None:
    assert context.heard == Heard(0.0, "")


def test_in_a_reply_its_own_part_is_heard(context: Context) -> None:
    class Said:
        heard = Heard(1.5, "Good day")

    token = current_reply.set(Said())
    assert get_current_context().heard == Heard(1.5, "Good day")
    current_reply.reset(token)
    assert get_current_context().heard == Heard()


async def test_two_replies_of_a_call_do_not_hear_each_other(context: Context) -> None:
    class Said:
        def __init__(self, seconds: float) -> None:
            self.heard = Heard(seconds)

    async def reply(seconds: float) -> float:
        current_reply.set(Said(seconds))
        await asyncio.sleep(0)
        return get_current_context().heard.seconds

    current_context.set(context)
    assert list(await asyncio.gather(reply(1.0), reply(2.0))) == [1.0, 2.0]


def test_before_the_first_reply_nothing_was_heard(context: Context) -> None:
    assert context.heard_before == Heard()


def test_a_warning_in_a_call_is_shown_to_its_client(context: Context, client: Client) -> None:
    Warning("The model is slow")
    (message,) = client.messages
    assert message["type"] == "warning"
    assert message["data"] == message["message"] == "The model is slow"


def test_a_warning_in_a_call_without_a_client_is_only_an_object() -> None:
    token = current_context.set(Context("ann"))
    assert Warning("slow").message == "slow"
    current_context.reset(token)


def test_the_names_of_older_code_are_the_same_things() -> None:
    assert utils.get_current_context is fastrtc.get_current_context is get_current_context
    assert utils.Context is Context
    assert utils.current_context is current_context
