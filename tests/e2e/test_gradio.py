"""The Gradio component in a real Chromium, with a recorded human voice as its microphone."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page

from tests.conftest import Sound, missing
from tests.e2e.browser import ROOT, browsing, free_port, script, write_wav
from tests.e2e.gradio_apps import CLOSED, COUNTED, FAULT, HOT, RAISE, REFUSE, USER, WARN
from tests.peers import Caller

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

PATIENCE = 30.0
"""Seconds for anything to happen."""
PROGRAM = [sys.executable, "-m", "tests.e2e.gradio_apps"]
ENDED_WITHIN = 10.0
"""Seconds in which a process ends that is told to."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where the apps are, each below its name."""
    if importlib.util.find_spec("gradio") is None:
        missing("Gradio")
    with subprocess.Popen(PROGRAM, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            assert address, "the server has ended"
            yield address
        finally:
            server.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(
    tmp_path_factory: pytest.TempPathFactory, phrase: Sound
) -> AsyncIterator[Browser]:
    """A browser whose microphone hears a phrase every few seconds, and asks before it is used."""
    voice = tmp_path_factory.mktemp("voice") / "voice.wav"
    write_wav(voice, phrase[0], script(phrase, [1.0, 4.0]))
    async with browsing(None, f"--use-file-for-fake-audio-capture={voice}") as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def window(browser: Browser) -> BrowserContext:
    """A window in which the microphone may be used."""
    return await browser.new_context(permissions=["microphone"], reduced_motion="reduce")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        yield http


@pytest_asyncio.fixture(loop_scope="module")
async def caller(http: httpx.AsyncClient) -> AsyncIterator[Caller]:
    """A caller of the API of the app that takes two calls."""
    caller = Caller(http, path="/shared", direction="recvonly")
    yield caller
    await caller.hang_up()


@pytest_asyncio.fixture(loop_scope="module")
async def page(window: BrowserContext) -> AsyncIterator[Page]:
    """A tab; what it called is hung up at the end."""
    async with tab(window) as page:
        yield page


@contextlib.asynccontextmanager
async def tab(window: BrowserContext) -> AsyncIterator[Page]:
    page = await window.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    yield page
    await page.close()


@contextlib.contextmanager
def launched(how: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """An app that launches itself in a process of its own: its address and its process."""
    if how == "ssr" and shutil.which("node") is None:
        missing("Node")
    port = free_port()
    command = [*PROGRAM, how, str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 2 * PATIENCE
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(address).is_success:
                        break
                assert server.poll() is None, "the server has ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.1)
            yield address, server
        finally:
            # So that Node ends too.
            server.send_signal(signal.SIGINT)
            try:
                server.wait(ENDED_WITHIN)
            except subprocess.TimeoutExpired:
                server.kill()


async def state_is(page: Page, state: str) -> None:
    await page.wait_for_selector(f'.fastrtc[data-state="{state}"]')


async def call(page: Page, address: str) -> None:
    """Open a page and call from it."""
    await page.goto(address)
    await page.click(".fastrtc-talk")
    await state_is(page, "connected")


async def id_of_call(page: Page) -> str:
    return str(await page.evaluate("document.querySelector('.fastrtc').client.id"))


async def reply_is_heard(page: Page) -> None:
    await page.wait_for_function(
        """Number(document.querySelector(".fastrtc-level[data-side=reply]")
            .getAttribute("aria-valuenow")) > 30"""
    )


async def toast(page: Page, kind: str, text: str) -> None:
    """Wait until a toast shows a text, letter by letter."""
    await page.locator(f".toast-body.{kind}").filter(has_text=text).wait_for()


async def shows(page: Page, text: str) -> None:
    """Wait until the field of outputs has a text."""
    await page.wait_for_function(
        "(text) => [...document.querySelectorAll('textarea')].some(({value}) => value === text)",
        arg=text,
    )


async def say_in_writing(page: Page, text: str) -> None:
    await page.fill(".fastrtc-text", text)
    await page.press(".fastrtc-text", "Enter")


async def calls(http: httpx.AsyncClient, name: str) -> dict[str, list[Any]]:
    """The live calls of an app, and what their handlers were given."""
    found: dict[str, list[Any]] = (await http.get(f"/calls/{name}")).json()
    return found


async def until_calls(
    http: httpx.AsyncClient, name: str, wanted: Callable[[dict[str, list[Any]]], bool]
) -> None:
    """Wait until the live calls of an app are as wanted."""
    deadline = time.monotonic() + PATIENCE
    while not wanted(found := await calls(http, name)):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


def given(live: dict[str, list[Any]]) -> list[Any]:
    """What the only call of an app was given; nothing if there is none."""
    return next(iter(live.values()), [])


async def component_id(http: httpx.AsyncClient, name: str) -> int:
    """The id of the call's component in an app."""
    config = (await http.get(f"/{name}/config")).json()
    (found,) = [it["id"] for it in config["components"] if it["props"].get("name") == "webrtc"]
    return int(found)


async def ask(
    http: httpx.AsyncClient, name: str, component: int, function: str, data: Any
) -> httpx.Response:
    """Call a function of the component's server, as Gradio's page does."""
    body = {"session_hash": "nobody", "component_id": component, "fn_name": function, "data": data}
    return await http.post(
        f"/{name}/gradio_api/component_server",
        # Half a character can be sent in ASCII only.
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )


# Where it is served.


@pytest.mark.parametrize("how", ["launch", "ssr"])
async def test_an_app_that_launches_itself_answers_until_it_is_interrupted_and_ends_its_call(
    page: Page, how: str
) -> None:
    with launched(how) as (address, server):
        await call(page, address)
        await reply_is_heard(page)
        server.send_signal(signal.SIGINT)
        told, _ = await asyncio.to_thread(server.communicate, timeout=ENDED_WITHIN)
    assert ("with SSR" in told) == (how == "ssr")
    assert told.count("shutdown") == 1
    assert server.returncode == 0


async def test_who_has_logged_in_is_answered(page: Page, url: str) -> None:
    await page.goto(f"{url}/club")
    name, password = USER
    await page.get_by_label("username").fill(name)
    await page.get_by_label("password").fill(password)
    await page.get_by_role("button", name="Login").click()
    await page.click(".fastrtc-talk")
    await state_is(page, "connected")
    await reply_is_heard(page)


@pytest.mark.parametrize("function", ["offer", "settings", "modules"])
async def test_who_has_not_logged_in_is_refused(
    http: httpx.AsyncClient, caller: Caller, url: str, function: str
) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as member:
        name, password = USER
        await member.post("/club/login", data={"username": name, "password": password})
        component = await component_id(member, "club")
    offer = await caller.offer()
    assert (await ask(http, "club", component, function, offer)).status_code == 401
    assert await calls(http, "club") == {}


async def test_a_call_behind_a_proxy_with_a_prefix_is_answered(page: Page, url: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await call(page, f"{url}/front/")
    await reply_is_heard(page)
    outside = [it for it in asked if it.startswith("http") and not it.startswith(f"{url}/front/")]
    assert outside == []


async def test_the_page_asks_nothing_of_another_host(page: Page, url: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await call(page, f"{url}/shared")
    await reply_is_heard(page)
    there = {urlsplit(it).hostname for it in asked if it.startswith("http")}
    assert there == {urlsplit(url).hostname}


# Who may call.


@pytest_asyncio.fixture(loop_scope="module")
async def both(page: Page, caller: Caller, http: httpx.AsyncClient, url: str) -> set[str]:
    """The ids of a call of the page and one of the API, which are all that the app takes."""
    await until_calls(http, "shared", lambda live: not live)
    await call(page, f"{url}/shared")
    await caller.connect()
    return {await id_of_call(page), caller.id}


async def test_calls_of_the_page_and_of_the_api_are_live_side_by_side(
    both: set[str], http: httpx.AsyncClient
) -> None:
    assert set(await calls(http, "shared")) == both


async def test_one_call_too_many_is_refused_with_words_on_the_page(
    both: set[str], window: BrowserContext, http: httpx.AsyncClient, url: str
) -> None:
    async with tab(window) as page:
        await page.goto(f"{url}/shared")
        await page.click(".fastrtc-talk")
        await toast(page, "error", "All lines are busy: the server takes 2 calls at a time.")
        await state_is(page, "failed")
    assert set(await calls(http, "shared")) == both


async def test_one_call_too_many_is_refused_to_the_api_too(
    both: set[str], caller: Caller, http: httpx.AsyncClient
) -> None:
    sdp = caller.connection.localDescription.sdp
    refused = await caller.post({"webrtc_id": "third", "type": "offer", "sdp": sdp})
    assert refused["meta"] == {"error": "concurrency_limit_reached", "limit": 2}
    assert set(await calls(http, "shared")) == both


async def test_a_tab_that_is_closed_hangs_up(
    window: BrowserContext, http: httpx.AsyncClient, url: str
) -> None:
    async with tab(window) as page:
        await call(page, f"{url}/changing")
    await until_calls(http, "changing", lambda live: not live)


async def test_who_is_not_authorized_is_told_so(
    page: Page, http: httpx.AsyncClient, url: str
) -> None:
    await page.goto(f"{url}/forbidden")
    await page.click(".fastrtc-talk")
    await toast(page, "error", "You are not allowed to call this stream.")
    await state_is(page, "failed")
    assert await calls(http, "forbidden") == {}


# What is shown.


async def test_each_of_two_callers_is_shown_all_that_is_its_own_in_order(
    page: Page, window: BrowserContext, url: str
) -> None:
    async def listen(page: Page) -> None:
        await call(page, f"{url}/counted")
        me = await id_of_call(page)
        await shows(page, " ".join(f"{me}:{number}" for number in range(COUNTED)))

    async with tab(window) as second:
        await asyncio.gather(listen(page), listen(second))


async def test_a_function_of_outputs_that_raises_or_is_slow_stops_no_later_update(
    page: Page, url: str
) -> None:
    await call(page, f"{url}/troubled")
    await toast(page, "error", "ValueError: There is no zero.")
    await shows(page, "1 2 3")
    await state_is(page, "connected")


@pytest.mark.parametrize(
    ("typed", "kind", "text"),
    [(RAISE, "error", f"ValueError: {FAULT}"), (REFUSE, "error", CLOSED), (WARN, "warning", HOT)],
)
async def test_what_goes_wrong_in_a_reply_is_shown_letter_by_letter(
    page: Page, url: str, typed: str, kind: str, text: str
) -> None:
    await page.goto(f"{url}/typed")
    await say_in_writing(page, typed)
    await toast(page, kind, text)
    await say_in_writing(page, "and so on")
    await shows(page, f"{WARN} and so on" if typed == WARN else "and so on")


async def test_who_types_is_answered_without_a_microphone_and_then_who_speaks(
    browser: Browser, url: str
) -> None:
    window = await browser.new_context()
    async with tab(window) as page:
        await page.goto(f"{url}/typed")
        await say_in_writing(page, "good morning")
        await shows(page, "good morning")
        await reply_is_heard(page)
        await window.grant_permissions(["microphone"])
        await page.click(".fastrtc-talk")
        await shows(page, "good morning spoken")
    await window.close()


# What is put in.


async def test_a_value_is_given_when_it_changes(
    page: Page, http: httpx.AsyncClient, url: str
) -> None:
    await call(page, f"{url}/change")
    await page.get_by_label("Word").fill("draft")
    await until_calls(http, "change", lambda live: given(live)[-1:] == ["draft"])


async def test_a_value_is_given_when_it_is_submitted_and_not_before(
    page: Page, http: httpx.AsyncClient, url: str
) -> None:
    await call(page, f"{url}/submit")
    word = page.get_by_label("Word")
    # What the handler asks for when the call begins.
    await until_calls(http, "submit", lambda live: given(live) == [""])
    await word.fill("draft")
    await word.fill("final")
    await word.press("Enter")
    await until_calls(http, "submit", lambda live: given(live)[-1:] == ["final"])
    assert given(await calls(http, "submit")) == ["", "final"]


# What events do to it.


async def test_a_component_that_an_event_hides_hangs_up(
    page: Page, http: httpx.AsyncClient, url: str
) -> None:
    await call(page, f"{url}/changing")
    await page.get_by_role("button", name="Hide").click()
    await until_calls(http, "changing", lambda live: not live)


async def test_a_component_that_is_rendered_no_more_hangs_up(
    page: Page, http: httpx.AsyncClient, url: str
) -> None:
    await call(page, f"{url}/rendered")
    assert len(await calls(http, "rendered")) == 1
    await page.get_by_label("Wanted").uncheck()
    await until_calls(http, "rendered", lambda live: not live)


async def test_a_component_that_an_event_renames_can_call_again(
    page: Page, http: httpx.AsyncClient, url: str
) -> None:
    await call(page, f"{url}/changing")
    await page.get_by_role("button", name="Rename").click()
    await page.get_by_text("renamed", exact=True).wait_for()
    await page.click(".fastrtc-talk")
    await state_is(page, "closed")
    await page.click(".fastrtc-talk")
    await state_is(page, "connected")
    await reply_is_heard(page)
    assert len(await calls(http, "changing")) == 1


async def test_a_component_that_an_event_renames_shows_its_new_name(page: Page, url: str) -> None:
    await page.goto(f"{url}/changing")
    await page.get_by_text("before", exact=True).wait_for()
    await page.get_by_role("button", name="Rename").click()
    await page.get_by_text("renamed", exact=True).wait_for()
    await page.get_by_text("after", exact=True).wait_for(timeout=5000)


async def test_a_button_of_the_users_begins_a_call_each_time(page: Page, url: str) -> None:
    await page.goto(f"{url}/triggered")
    called = set()
    for _ in range(2):
        await page.get_by_role("button", name="Play").click()
        await state_is(page, "connected")
        called.add(await id_of_call(page))
        await state_is(page, "closed")
    assert len(called) == 2


# What clients send that are none of ours.

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
MALFORMED: dict[str, Any] = {
    "nothing": None,
    "a number": 3,
    "text": "offer",
    "a list": [{"webrtc_id": "x"}],
    "no fields": {},
    "no id": {"type": "offer", "sdp": SDP},
    "no type": {"webrtc_id": "x", "sdp": SDP},
    "no sdp": {"webrtc_id": "x", "type": "offer"},
    "no media": {"webrtc_id": "x", "type": "offer", "sdp": SDP},
    "a huge sdp": {"webrtc_id": "x", "type": "offer", "sdp": SDP + "a=x\r\n" * 400_000},
    "an sdp that is none": {"webrtc_id": "x", "type": "offer", "sdp": "\0\x7f\u2028"},
    "an sdp that is no text": {"webrtc_id": "x", "type": "offer", "sdp": {"a": 1}},
    "an id that is a number": {"webrtc_id": 3, "type": "offer", "sdp": SDP},
    "an id that is a list": {"webrtc_id": ["x"], "type": "offer", "sdp": SDP},
    "an empty id": {"webrtc_id": "", "type": "offer", "sdp": SDP},
    "a huge id": {"webrtc_id": "x" * 100_000, "type": "offer", "sdp": SDP},
    "half a character": {"webrtc_id": "\ud800", "type": "offer", "sdp": SDP},
    "an unknown type": {"webrtc_id": "x", "type": "answer", "sdp": SDP},
    "half a character as its type": {"webrtc_id": "x", "type": "\ud800", "sdp": SDP},
    "a candidate of nobody": {"webrtc_id": "x", "type": "ice-candidate", "candidate": {}},
    "a candidate that is a list": {"webrtc_id": "x", "type": "ice-candidate", "candidate": [1]},
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_offer_is_refused_and_holds_nothing(
    http: httpx.AsyncClient, body: Any
) -> None:
    component = await component_id(http, "quiet")
    reply = await ask(http, "quiet", component, "offer", body)
    assert reply.status_code == 200
    assert reply.json()["status"] == "failed"
    assert await calls(http, "quiet") == {}


@pytest.mark.parametrize("body", [None, 3, [], {"webrtc_id": 3}, "\ud800"])
async def test_settings_are_given_whatever_comes_with_the_question(
    http: httpx.AsyncClient, body: Any
) -> None:
    component = await component_id(http, "quiet")
    reply = await ask(http, "quiet", component, "settings", body)
    assert reply.status_code == 200
    assert reply.json()["mode"] == "send-receive"
