"""User code at its worst: the line stays up, and the client is told."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fastrtc import (
    AdditionalOutputs,
    AsyncStreamHandler,
    CloseStream,
    ReplyOnPause,
    Stream,
    StreamHandler,
)
from fastrtc import Warning as ClientWarning
from fastrtc.testing import VirtualCall
from tests.conftest import Sound, tone


class Sync(StreamHandler):
    """A sync handler whose methods are given as functions."""

    def __init__(self, **methods: Any) -> None:
        super().__init__()
        self.methods = methods

    def receive(self, frame: Any) -> None:
        self.methods.get("receive", lambda frame: None)(frame)

    def emit(self) -> Any:
        return self.methods.get("emit", lambda: None)()

    def shutdown(self) -> None:
        self.methods.get("shutdown", lambda: None)()

    def copy(self) -> StreamHandler:
        return Sync(**self.methods)


class Async(AsyncStreamHandler):
    """An async handler whose methods are given as functions, sync or async."""

    def __init__(self, **methods: Any) -> None:
        super().__init__()
        self.methods = methods

    async def receive(self, frame: Any) -> None:
        await self._call("receive", frame)

    async def emit(self) -> Any:
        return await self._call("emit")

    async def shutdown(self) -> None:
        await self._call("shutdown")

    def copy(self) -> AsyncStreamHandler:
        return Async(**self.methods)

    async def _call(self, name: str, *args: Any) -> Any:
        made = self.methods.get(name, lambda *args: None)(*args)
        return await made if asyncio.iscoroutine(made) else made


@pytest.mark.parametrize("kind", [Sync, Async])
@pytest.mark.parametrize("emitted", [AdditionalOutputs(1), CloseStream("bye")], ids=repr)
def test_a_handler_that_always_has_something_to_emit_does_not_take_the_loop(
    kind: Any, emitted: Any
) -> None:
    with VirtualCall(kind(emit=lambda: emitted)) as call:
        call.wait(2.0)
        assert call.connected == isinstance(emitted, AdditionalOutputs)
        assert len(call.outputs) < 2.0 * 50 * 51


def test_a_function_that_floods_outputs_does_not_take_the_loop(phrase: Sound) -> None:
    def reply(audio: Any) -> Iterator[Any]:
        while True:
            yield AdditionalOutputs(1)

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(1.0)
        assert call.connected


@pytest.mark.parametrize("method", ["receive", "emit", "shutdown"])
@pytest.mark.parametrize("kind", [Sync, Async])
def test_sys_exit_in_a_handler_ends_neither_the_server_nor_the_call(kind: Any, method: str) -> None:
    with VirtualCall(kind(**{method: lambda *args: sys.exit(3)})) as call:
        call.wait(0.5)
        assert call.connected
        call.hang_up()
        # Time passes when all workers have come back.
        call.vanish(0.02)
        assert "SystemExit" in call.errors[0]
        assert call.session.workers.settled


def test_sys_exit_in_a_reply_ends_the_reply(phrase: Sound) -> None:
    def reply(audio: Any) -> Iterator[Any]:
        yield tone(0.1)
        sys.exit(3)

    async def areply(audio: Any) -> AsyncIterator[Any]:
        yield tone(0.1)
        sys.exit(3)

    for fn in (reply, areply):
        with VirtualCall(ReplyOnPause(fn)) as call:
            call.say(phrase)
            call.wait(1.5)
            assert call.connected
            assert "SystemExit" in call.errors[0]
            assert call.log[-1] == "response_finished"


@pytest.mark.parametrize("method", ["receive", "emit"])
def test_a_cancelled_task_inside_a_method_does_not_make_the_line_deaf_or_mute(
    method: str,
) -> None:
    calls = 0

    async def flaky(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            inner = asyncio.ensure_future(asyncio.sleep(1))
            inner.cancel()
            await inner

    with VirtualCall(Async(**{method: flaky})) as call:
        call.wait(1.0)
        assert calls > 20
        assert "cancelled" in call.errors[0]


def test_a_shutdown_that_is_no_coroutine_is_called_and_the_line_is_closed() -> None:
    ended: list[str] = []

    class Plain(Async):
        def shutdown(self) -> None:  # type: ignore[override]
            ended.append("shutdown")

        def copy(self) -> AsyncStreamHandler:
            return Plain()

    with VirtualCall(Plain()) as call:
        call.hang_up()
        assert not call.connected
    assert ended == ["shutdown"]


def test_an_async_reply_may_clean_up_at_the_end_of_the_call(phrase: Sound) -> None:
    done: list[str] = []

    async def reply(audio: Any) -> AsyncIterator[Any]:
        try:
            yield tone(0.2)
            await asyncio.sleep(60)
        finally:
            done.append("begins")
            await asyncio.sleep(0.3)
            done.append("done")

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(1.0)
        call.hang_up()
    assert done == ["begins", "done"]


def test_turns_that_are_forced_again_at_once_do_not_use_up_the_line(phrase: Sound) -> None:
    async def reply(audio: Any) -> AsyncIterator[Any]:
        yield tone(0.2)

    with VirtualCall(ReplyOnPause(reply)) as call:
        for _ in range(6):
            call.do(lambda: [call.handler.trigger_response() for _ in range(2)])
            call.wait(0.5)
        call.say(phrase)
        call.wait(1.5)
        assert not call.errors
        assert call.sounds[-1][0] > call.now - 1.5


@pytest.mark.parametrize("seconds", [9.0, 12.0, 20.03])
def test_a_long_async_reply_is_heard_whole(phrase: Sound, seconds: float) -> None:
    async def reply(audio: Any) -> AsyncIterator[Any]:
        yield tone(seconds)

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(seconds + 2)
        ((start, end),) = call.sounds
    assert end - start == pytest.approx(seconds, abs=0.03)


def test_a_listener_that_returns_sound_queues_nothing(phrase: Sound) -> None:
    with VirtualCall(Stream(lambda frame: tone(1.0), mode="send")) as call:
        call.say(phrase)
        call.wait(1.0)
        assert call.session.driver.out.empty  # type: ignore[attr-defined]


def test_waiting_for_inputs_on_the_event_loop_is_refused_and_not_a_deadlock() -> None:
    async def emit() -> None:
        call.handler.wait_for_args_sync()

    call = VirtualCall(Async(emit=emit))
    with call:
        call.wait(0.2)
        assert "event loop" in call.errors[0]


def test_a_warning_of_a_thread_of_the_users_own_reaches_the_client_when_raised(
    phrase: Sound,
) -> None:
    warning = ClientWarning("Made outside of the call.")

    def reply(audio: Any) -> Iterator[Any]:
        raise warning
        yield

    with VirtualCall(ReplyOnPause(reply)) as call:
        call.say(phrase)
        call.wait(1.0)
        told = [m.data for m in call.messages if m.type == "warning"]
    assert told == ["Made outside of the call."]
