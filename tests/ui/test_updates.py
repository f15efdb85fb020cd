"""`AdditionalOutputs` on their way into Gradio components."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import gradio as gr
import pytest
import pytest_asyncio

from fastrtc import AdditionalOutputs, ReplyOnPause, Stream
from fastrtc.ui.updates import Updates
from tests.ui.test_component import echo


class Line:
    """Notes what the client is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send_message(self, message: str) -> None:
        self.sent.append(json.loads(message))

    async def close(self) -> None: ...


class Page:
    """Two components of a page, and a call that updates them."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.session, self.other = stream.admit("a"), stream.admit("b")
        self.line = Line()
        self.session.line = cast("Any", self.line)
        with gr.Blocks():
            self.first, self.second = gr.Textbox(), gr.Textbox()

    def updates(self, fn: Callable[..., Any], count: int = 2) -> Updates:
        outputs = [self.first, self.second][:count]
        updates = Updates(fn, [self.first, self.second], outputs)
        updates.follow(self.session)
        return updates

    def give(self, *values: Any) -> None:
        self.session.deliver(AdditionalOutputs(*values))


@pytest_asyncio.fixture
async def page() -> AsyncIterator[Page]:
    stream = Stream(ReplyOnPause(echo), verbose=False)
    yield Page(stream)
    await stream.close()


def values(shown: Any) -> list[Any]:
    """What components are to show; None where they are left as they are."""
    return [None if it == gr.skip() else it for it in shown]


async def test_outputs_are_shown_with_the_present_values_before_them(page: Page) -> None:
    updates = page.updates(lambda first, second, new: (first + new, second))
    page.give("!")
    assert values(await updates.fetch("a", "one", "two")) == ["one!", "two"]


async def test_several_outputs_build_on_each_other_in_order(page: Page) -> None:
    updates = page.updates(lambda first, second, new: (first + new, second))
    for letter in "abc":
        page.give(letter)
    assert values(await updates.fetch("a", "", "")) == ["abc", ""]


async def test_what_was_fetched_is_not_shown_again(page: Page) -> None:
    updates = page.updates(lambda first, second, new: (new, new))
    page.give("x")
    await updates.fetch("a", "", "")
    assert values(await updates.fetch("a", "", "")) == [None, None]


async def test_each_call_gets_its_own_outputs(page: Page) -> None:
    updates = page.updates(lambda first, second, new: (new, new))
    updates.follow(page.other)
    page.give("x")
    assert values(await updates.fetch("b", "", "")) == [None, None]
    assert values(await updates.fetch("a", "", "")) == ["x", "x"]


async def test_two_functions_get_the_same_outputs(page: Page) -> None:
    both = [page.updates(lambda first, second, new: (new, new)) for _ in range(2)]
    page.give("x")
    assert [values(await it.fetch("a", "", "")) for it in both] == [["x", "x"]] * 2


async def test_an_unknown_call_changes_nothing(page: Page) -> None:
    updates = page.updates(lambda first, second, new: (new, new))
    assert values(await updates.fetch("nobody", "", "")) == [None, None]


async def test_one_output_is_no_list(page: Page) -> None:
    updates = page.updates(lambda first, second, new: [new], count=1)
    page.give("x")
    assert await updates.fetch("a", "", "") == ["x"]


async def test_an_async_function_may_make_updates(page: Page) -> None:
    async def later(first: str, second: str, new: str) -> tuple[str, str]:
        await asyncio.sleep(0)
        return new, second

    updates = page.updates(later)
    page.give("x")
    assert values(await updates.fetch("a", "", "two")) == ["x", "two"]


async def test_what_is_skipped_keeps_an_earlier_update(page: Page) -> None:
    def fn(first: str, second: str, new: str) -> tuple[Any, Any]:
        return (new, gr.skip()) if new == "x" else (gr.skip(), new)

    updates = page.updates(fn)
    page.give("x")
    page.give("y")
    assert values(await updates.fetch("a", "", "")) == ["x", "y"]


async def test_properties_and_values_of_one_component_come_together(page: Page) -> None:
    def fn(first: str, second: str, new: Any) -> Any:
        return {page.first: new}

    updates = page.updates(fn)
    page.give("x")
    page.give(gr.update(visible=False))
    first, second = await updates.fetch("a", "", "")
    assert (first["value"], first["visible"]) == ("x", False)
    assert "value" not in second


async def test_a_function_that_raises_is_reported_and_the_next_outputs_are_shown(
    page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    def fn(first: str, second: str, new: str) -> tuple[str, str]:
        if new == "bad":
            raise ValueError("no such thing")
        return new, second

    updates = page.updates(fn)
    page.give("bad")
    page.give("good")
    assert values(await updates.fetch("a", "", "")) == ["good", ""]
    assert [it["data"] for it in page.line.sent if it["type"] == "error"] == [
        "ValueError: no such thing"
    ]
    assert "Traceback" in caplog.text


async def test_a_wrong_number_of_values_is_reported(page: Page) -> None:
    updates = page.updates(lambda first, second, new: new)
    page.give("x")
    assert values(await updates.fetch("a", "", "")) == [None, None]
    assert "expected 2 values" in page.line.sent[-1]["data"]


async def test_the_last_outputs_of_a_call_can_be_fetched_after_its_end(page: Page) -> None:
    updates = page.updates(lambda first, second, new: (new, new))
    page.give("bye")
    await page.session.close()
    assert values(await updates.fetch("a", "", "")) == ["bye", "bye"]


async def test_outputs_that_come_too_fast_are_shown_in_parts(page: Page) -> None:
    def slow(first: str, second: str, new: str) -> tuple[str, str]:
        time.sleep(0.06)
        return first + new, second

    updates = page.updates(slow)
    for letter in "abcdef":
        page.give(letter)
    page.line.sent.clear()
    (first, _) = await updates.fetch("a", "", "")
    assert "abcdef".startswith(first)
    assert 0 < len(first) < 6
    # The page is told to come again.
    assert [it["type"] for it in page.line.sent] == ["fetch_output"]
    assert values(await updates.fetch("a", first, ""))[0].startswith(
        f"{first}{'abcdef'[len(first)]}"
    )


async def test_a_slow_function_that_raises_keeps_the_page_waiting_no_longer(page: Page) -> None:
    def slow(first: str, second: str, new: str) -> tuple[str, str]:
        time.sleep(0.06)
        raise ValueError(new)

    updates = page.updates(slow)
    for letter in "abcdef":
        page.give(letter)
    page.line.sent.clear()
    await updates.fetch("a", "", "")
    failed = [it for it in page.line.sent if it["type"] == "error"]
    assert 0 < len(failed) < 6
    assert page.line.sent[-1]["type"] == "fetch_output"


async def test_the_next_of_several_outputs_gets_what_a_page_would_give(page: Page) -> None:
    with gr.Blocks():
        chatbot = gr.Chatbot()
    seen: list[Any] = []

    def fn(messages: list[Any], new: str) -> list[Any]:
        seen.append(list(messages))
        return [*messages, gr.ChatMessage(role="user", content=new)]

    updates = Updates(fn, [chatbot], [chatbot])
    updates.follow(page.session)
    page.give("one")
    page.give("two")
    await updates.fetch("a", [])
    assert seen[1][0]["role"] == "user"


async def test_an_empty_dict_is_a_value(page: Page) -> None:
    updates = page.updates(lambda first, second, new: new, count=1)
    page.give({})
    assert await updates.fetch("a", "", "") == {}


async def test_an_update_of_no_output_is_reported(page: Page) -> None:
    with gr.Blocks():
        other = gr.Textbox()
    updates = page.updates(lambda first, second, new: {other: new})
    page.give("x")
    assert values(await updates.fetch("a", "", "")) == [None, None]
    assert "no output" in page.line.sent[-1]["data"]


async def test_a_call_that_takes_the_id_of_one_that_ended_has_its_own_outputs(page: Page) -> None:
    updates = page.updates(lambda first, second, new: (new, new))
    stream = page.stream
    await page.session.close()
    again = stream.admit("a")
    updates.follow(again)
    again.deliver(AdditionalOutputs("x"))
    assert values(await updates.fetch("a", "", "")) == ["x", "x"]
