"""Cartesia, against a service of our own on loopback."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrtc.audio.spoken import Spoken
from fastrtc.handlers.values import Chunk, read_emitted
from fastrtc.models.tts import cartesia
from fastrtc.models.tts.cartesia import (
    CartesiaError,
    CartesiaTTSModel,
    CartesiaTTSOptions,
)
from fastrtc.models.tts.speaker import get_tts_model
from fastrtc.models.tts.talk import Talk

RATE = 22_050
KEY = "sk-the-secret"
PATIENCE = 10.0
TEXT = "Sure, let me look that up for you. It is 10:30 in **Paris**."

Voice = Callable[[str], NDArray[np.float32]]


def one_second(_: str) -> NDArray[np.float32]:
    return np.linspace(-0.5, 0.5, RATE, dtype=np.float32)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Remote

    def do_POST(self) -> None:
        try:
            self._answer(self.server)
        except ConnectionError:
            self.server.hung_up.set()
            self.close_connection = True

    def _answer(self, remote: Remote) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        remote.seen.append((self.path, dict(self.headers), asked))
        remote.asked.release()
        if remote.status is None:
            self.close_connection = True
            return
        if remote.waits:
            self._wait()
        body = remote.body
        if body is None:
            body = remote.voice(asked["transcript"]).astype("<f4").tobytes()
        self.send_response(remote.status)
        for name, value in remote.headers.items():
            self.send_header(name, value)
        if remote.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for start in range(0, len(body), remote.piece):
            if remote.stops_at is not None and start >= remote.stops_at:
                if remote.stalls:
                    self._wait()
                self.close_connection = True
                return
            self._send(body[start : start + remote.piece])
        if remote.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if self.server.chunked else data)

    def _wait(self) -> None:
        """Until the other side hangs up."""
        self.connection.settimeout(PATIENCE)
        if self.connection.recv(1) == b"":
            raise ConnectionAbortedError

    def log_message(self, *_: Any) -> None:
        pass


class Remote(ThreadingHTTPServer):
    """A service that speaks, or fails, as it is told."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.voice: Voice = one_second
        self.status: int | None = 200
        self.headers = {"Content-Type": "audio/pcm"}
        self.body: bytes | None = None
        self.chunked = True
        self.piece = 1_111
        """Bytes that are sent at once: it cuts samples in two."""
        self.stops_at: int | None = None
        self.stalls = False
        self.waits = False
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.asked = threading.Semaphore(0)
        """Once for each time that it was."""
        self.hung_up = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def model(self) -> CartesiaTTSModel:
        return CartesiaTTSModel(KEY, self.url)

    @property
    def transcripts(self) -> list[str]:
        return [asked["transcript"] for _, _, asked in self.seen]


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARTESIA_API_KEY", raising=False)


@pytest.fixture
def remote() -> Iterator[Remote]:
    with Remote() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


Speak = Callable[..., list[Spoken]]


@pytest.fixture(params=["sync", "async"])
def speak(request: pytest.FixtureRequest, remote: Remote) -> Speak:
    """Both forms: whatever one does, the other does."""

    async def collect(*arguments: Any) -> list[Spoken]:
        return [chunk async for chunk in remote.model.stream_tts(*arguments)]

    def call(*arguments: Any) -> list[Spoken]:
        if request.param == "async":
            return asyncio.run(collect(*arguments))
        return list(remote.model.stream_tts_sync(*arguments))

    return call


def failure(speak: Speak) -> str:
    with pytest.raises(CartesiaError) as caught:
        speak("Hello.")
    return str(caught.value)


def text_of(chunks: list[Spoken]) -> str:
    return "".join(chunk.text for chunk in chunks)


def sound_of(chunks: list[Spoken]) -> NDArray[np.float32]:
    return np.concatenate([samples for _, samples in chunks])


# What the service is asked


def test_a_clause_is_asked_for_as_the_service_wants_it(speak: Speak, remote: Remote) -> None:
    speak("Hello.")
    path, headers, asked = remote.seen[0]
    assert path == "/tts/bytes"
    assert headers["X-API-Key"] == KEY
    assert headers["Cartesia-Version"] == "2024-06-10"
    assert headers["Content-Type"] == "application/json"
    assert asked == {
        "model_id": "sonic-2",
        "transcript": "Hello.",
        "voice": {"mode": "id", "id": "71a7ad14-091c-4e8e-a314-022ece01c121"},
        "language": "en",
        "output_format": {"container": "raw", "encoding": "pcm_f32le", "sample_rate": 22050},
    }


def test_options_are_passed_on(speak: Speak, remote: Remote) -> None:
    options = CartesiaTTSOptions("v", "fr", ["curiosity:high"], "2025-04-16", "sonic-3", 16_000)
    chunks = speak("Bonjour.", options)
    _, headers, asked = remote.seen[0]
    assert headers["Cartesia-Version"] == "2025-04-16"
    assert asked["voice"]["id"] == "v"
    assert asked["voice"]["__experimental_controls"] == {"emotion": ["curiosity:high"]}
    assert (asked["language"], asked["model_id"]) == ("fr", "sonic-3")
    assert asked["output_format"]["sample_rate"] == 16_000
    assert {rate for rate, _ in chunks} == {16_000}


def test_a_base_url_may_have_a_path(remote: Remote) -> None:
    CartesiaTTSModel(KEY, f"{remote.url}/gateway/").tts("Hello.")
    assert remote.seen[0][0] == "/gateway/tts/bytes"


def test_a_text_is_spoken_by_clauses_without_its_markdown(speak: Speak, remote: Remote) -> None:
    speak(TEXT)
    assert len(remote.transcripts) == 3
    assert remote.transcripts[0] == "Sure,"
    assert "*" not in "".join(remote.transcripts)


@pytest.mark.parametrize("text", ["", "  🙂 "])
def test_nothing_is_asked_where_there_is_nothing_to_say(remote: Remote, text: str) -> None:
    rate, samples = remote.model.tts(text)
    assert (rate, len(samples)) == (RATE, 0)
    assert remote.seen == []


# What comes


def test_the_sound_arrives_as_it_was_sent_though_samples_are_cut(speak: Speak) -> None:
    sound = sound_of(speak("Hello."))
    assert sound.dtype == np.float32
    np.testing.assert_array_equal(sound, one_second(""))


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("piece", [1, 8_820, 100_000])
def test_pieces_of_any_size_are_the_same_sound(
    speak: Speak, remote: Remote, piece: int, chunked: bool
) -> None:
    remote.piece, remote.chunked = piece, chunked
    remote.body = one_second("")[:5_000].tobytes()
    np.testing.assert_array_equal(sound_of(speak("Hello.")), one_second("")[:5_000])


def test_chunks_last_a_tenth_of_a_second(speak: Speak) -> None:
    lengths = [len(samples) for _, samples in speak("Hello.")]
    assert len(lengths) == 10
    assert max(lengths) <= 0.1 * RATE


def test_a_sample_that_is_not_whole_is_left_out(speak: Speak, remote: Remote) -> None:
    remote.body = one_second("").tobytes() + b"\x01\x02\x03"
    np.testing.assert_array_equal(sound_of(speak("Hello.")), one_second(""))


def test_all_of_the_sound_comes_at_once_from_tts(remote: Remote) -> None:
    rate, samples = remote.model.tts("Hello.")
    assert rate == RATE
    np.testing.assert_array_equal(samples, one_second(""))


async def test_a_clause_is_spoken_before_the_next_piece_of_text_comes(remote: Remote) -> None:
    more = asyncio.Event()

    async def pieces() -> AsyncIterator[str]:
        yield "Su"
        yield "re, let"
        await more.wait()
        yield " me see."

    async with aclosing(remote.model.stream_tts(pieces())) as stream:
        first = await anext(stream)
        assert remote.transcripts == ["Sure,"]
        more.set()
        rest = [chunk async for chunk in stream]
    assert text_of([first, *rest]) == "Sure, let me see."


def test_pieces_of_text_may_come_from_a_plain_iterator(speak: Speak) -> None:
    assert text_of(speak(iter(["Su", "re, let", " me see."]))) == "Sure, let me see."


# Which words it is


def test_the_texts_of_all_chunks_are_the_text(speak: Speak) -> None:
    assert text_of(speak(TEXT)) == TEXT


def test_words_come_with_their_sound(speak: Speak, remote: Remote) -> None:
    text = "one two three four five six seven."
    remote.voice = lambda words: np.full(round(len(words) / 15 * RATE), 0.1, np.float32)
    clock, late = 0.0, []
    for chunk in speak(text):
        (item,) = read_emitted(chunk)
        assert isinstance(item, Chunk)
        late += [(clock + at, word) for at, word in item.words]
        clock += item.seconds
    assert len(late) == 7
    letters = 0
    for at, word in late:
        letters += len(word)
        assert at == pytest.approx(letters / 15, abs=0.25)


def test_what_cannot_be_said_goes_with_what_is_said_next(speak: Speak) -> None:
    code = "```\nx = 1\n```\n"
    chunks = speak(code + "Hello there.")
    assert chunks[0].text.startswith(code)
    assert text_of(chunks) == code + "Hello there."


def test_words_without_sound_go_with_the_next_clause(speak: Speak, remote: Remote) -> None:
    remote.voice = lambda words: one_second("")[: 0 if words == "Sure," else RATE]
    assert text_of(speak("Sure, I can.")) == "Sure, I can."


parts = st.lists(st.lists(st.integers(1, 3_000), min_size=1, max_size=8), min_size=1, max_size=6)


@given(st.text("ab ,.?!é🙂"), parts)
def test_words_are_dealt_out_in_order_and_none_is_lost(text: str, clauses: list[list[int]]) -> None:
    talk = Talk(RATE)
    talk.feed(text + " The end.")
    talk.finish()
    found, said = [], 0
    while talk.next() is not None:
        lengths = clauses[said % len(clauses)]
        said += 1
        for number, length in enumerate(lengths):
            sound = np.full(length, 0.1, np.float32)
            found.append(talk.chunk(sound, last=number == len(lengths) - 1))
    assert "".join(chunk.text for chunk in found if chunk) == text + " The end."


def lengths_of(sounds: list[NDArray[np.float32]]) -> list[int]:
    """How long each clause of a talk lasts, in samples, if its sound comes in one part."""
    talk = Talk(RATE)
    talk.feed("Yes. ")
    talk.feed("It is. ")
    talk.finish()
    found = []
    for sound in sounds:
        assert talk.next() is not None
        chunk = talk.chunk(sound)
        assert chunk is not None
        found.append(len(chunk[1]))
    return found


def test_there_is_a_pause_between_clauses_and_none_at_the_end() -> None:
    loud = np.full(RATE, 0.1, np.float32)
    first, second = lengths_of([loud, loud])
    assert first > 1.2 * RATE
    assert second == RATE


def test_silence_that_the_service_makes_is_part_of_the_pause() -> None:
    loud, silent = np.full(RATE, 0.1, np.float32), np.zeros(RATE // 10, np.float32)
    tailed = np.concatenate([loud, silent])
    assert lengths_of([tailed, loud]) == lengths_of([loud, loud])
    long = np.concatenate([loud, *[silent] * 20])
    assert lengths_of([long, loud])[0] == len(long)


# Who stops listening


def test_chunks_come_while_the_service_speaks_and_closing_hangs_up(remote: Remote) -> None:
    remote.stops_at, remote.stalls = RATE, True
    chunks = remote.model.stream_tts_sync("Hello there.")
    assert len(next(chunks)[1]) == RATE // 10
    assert not remote.hung_up.is_set()
    chunks.close()
    assert remote.hung_up.wait(PATIENCE)


def test_closing_the_generator_closes_the_source_of_the_text(remote: Remote) -> None:
    pieces = (piece for piece in ["Hello there. ", "And more."])
    chunks = remote.model.stream_tts_sync(pieces)
    next(chunks)
    chunks.close()
    assert list(pieces) == []


async def test_closing_the_async_generator_closes_the_connection(remote: Remote) -> None:
    remote.stops_at, remote.stalls = RATE, True
    chunks = remote.model.stream_tts("Hello there.")
    await anext(chunks)
    await chunks.aclose()
    assert await asyncio.to_thread(remote.hung_up.wait, PATIENCE)


async def test_cancelling_the_wait_for_an_answer_closes_the_connection(remote: Remote) -> None:
    remote.waits = True
    waiting = asyncio.ensure_future(anext(remote.model.stream_tts("Hello there.")))
    assert await asyncio.to_thread(remote.asked.acquire, True, PATIENCE)
    waiting.cancel()
    assert await asyncio.to_thread(remote.hung_up.wait, PATIENCE)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_many_slow_replies_do_not_wait_for_each_other(remote: Remote) -> None:
    remote.waits = True
    waiting = [asyncio.ensure_future(anext(remote.model.stream_tts("Hello."))) for _ in range(20)]
    for _ in waiting:
        assert await asyncio.to_thread(remote.asked.acquire, True, PATIENCE)
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


# What goes wrong


def test_a_key_that_is_not_known_is_said_to_be(speak: Speak, remote: Remote) -> None:
    remote.status, remote.body = 401, b"Invalid API key"
    message = failure(speak)
    assert "does not know the key (401)" in message
    assert "CARTESIA_API_KEY" in message
    assert "Invalid API key" in message


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"voice not found\n", "voice not found"),
        (
            400,
            b'{"title": "Invalid model", "message": "No such model."}',
            "Invalid model: No such model.",
        ),
        (400, b'{"error": "quota exceeded"}', "quota exceeded"),
        (400, b'{"error": {"code": 7}}', "7"),
        (400, b"", "Bad Request"),
        (503, b"", "Service Unavailable"),
        (400, b"\xff\xfe", "\ufffd"),
        (400, b"[" * 4_000, "[[["),
        (400, b"x" * 1_000_000, "x" * 300),
    ],
)
def test_a_refusal_is_told_in_the_words_of_the_service(
    speak: Speak, remote: Remote, status: int, body: bytes, said: str
) -> None:
    remote.status, remote.body, remote.piece = status, body, 100_000
    message = failure(speak)
    assert f"answered {status}: " in message
    assert said in message
    assert len(message) < 400


def test_a_redirect_is_not_followed_with_the_key(speak: Speak, remote: Remote) -> None:
    remote.status, remote.body = 307, b""
    remote.headers["Location"] = remote.url + "/elsewhere"
    assert "answered 307" in failure(speak)
    assert len(remote.seen) == 1


def test_a_page_is_not_played_as_sound(speak: Speak, remote: Remote) -> None:
    remote.headers["Content-Type"] = "text/html"
    remote.body = b"<p>Please log in</p>"
    assert "expected sound, got text/html: <p>Please log in" in failure(speak)


def test_a_service_out_of_reach_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(CartesiaError, match=r"\(127\.0\.0\.1\) cannot be reached: .*refused"):
        CartesiaTTSModel(KEY, f"http://127.0.0.1:{port}").tts("Hello.")


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".invalid"])
def test_a_name_that_can_be_no_host_is_told(host: str) -> None:
    with pytest.raises(CartesiaError, match="cannot be reached"):
        CartesiaTTSModel(KEY, f"http://{host}").tts("Hello.")


def test_a_service_that_hangs_up_is_told(speak: Speak, remote: Remote) -> None:
    remote.status = None
    assert "gave no whole answer" in failure(speak)


@pytest.mark.parametrize("chunked", [True, False])
def test_sound_that_breaks_off_is_heard_and_then_told(remote: Remote, chunked: bool) -> None:
    remote.chunked, remote.stops_at = chunked, 40_000
    chunks = remote.model.stream_tts_sync("Hello there.")
    heard = [next(chunks) for _ in range(4)]
    with pytest.raises(CartesiaError, match="gave no whole answer"):
        next(chunks)
    assert len(sound_of(heard)) == 4 * (RATE // 10)


@pytest.mark.parametrize("waits", [True, False])
def test_a_service_that_falls_silent_is_given_up(
    speak: Speak, remote: Remote, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    monkeypatch.setattr(cartesia, "READ_PATIENCE", 0.1)
    remote.stops_at, remote.stalls, remote.waits = RATE, True, waits
    assert "gave no whole answer: it took too long" in failure(speak)
    assert remote.hung_up.wait(PATIENCE)


# The key


def test_the_key_of_the_environment_is_used(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARTESIA_API_KEY", f" {KEY}\n")
    CartesiaTTSModel(base_url=remote.url).tts("Hello.")
    assert remote.seen[0][1]["X-API-Key"] == KEY


@pytest.mark.parametrize("key", [None, "", " "])
def test_without_a_key_it_is_said_where_one_is_expected(key: str | None) -> None:
    with pytest.raises(ValueError, match=r"cartesia_api_key or CARTESIA_API_KEY"):
        CartesiaTTSModel(key)


@pytest.mark.parametrize("key", ["sk-the\nsecret", "sk-sécret"])
def test_a_key_that_can_be_no_header_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="no key has") as caught:
        CartesiaTTSModel(key)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 400, 500, 200])
def test_the_key_is_in_no_message_and_no_log(
    speak: Speak, remote: Remote, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    remote.status, remote.body = status, f"Your key {KEY} is wrong.".encode()
    remote.headers["Content-Type"] = "text/plain"
    with pytest.raises(CartesiaError, match="Your key") as caught:
        speak("Hello.")
    assert KEY not in "".join(map(repr, [caught.value, caught.value.__cause__, caplog.text]))


def test_the_key_is_in_no_repr(remote: Remote) -> None:
    assert KEY not in repr(remote.model) + repr(vars(remote.model))


# What users may get wrong


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"voice": ""}, "name of a voice, got ''"),
        ({"voice": None}, "name of a voice, got None"),
        ({"language": 7}, "name of a language, got 7"),
        ({"model": " "}, "name of a model"),
        ({"emotion": "happy"}, "list of emotions, got 'happy'"),
        ({"emotion": [1]}, r"list of emotions, got \[1\]"),
        ({"cartesia_version": "2024-06-10\nX-Evil: 1"}, "version such as '2024-06-10'"),
        ({"cartesia_version": None}, "version such as '2024-06-10', got None"),
        ({"sample_rate": 0}, "8000 to 48000 Hz, got 0"),
        ({"sample_rate": 22050.5}, "8000 to 48000 Hz, got 22050.5"),
    ],
)
def test_a_wrong_option_is_a_value_error(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        CartesiaTTSOptions(**wrong)


def test_options_that_were_changed_are_checked_again(remote: Remote) -> None:
    options = CartesiaTTSOptions()
    options.sample_rate = -1
    with pytest.raises(ValueError, match="got -1"):
        remote.model.stream_tts("Hello.", options)


@pytest.mark.parametrize("text", [None, 7, b"Hello", {"a": 1}, [b"Hello"], ["Hello", 7]])
def test_what_is_no_text_is_a_type_error(speak: Speak, text: Any) -> None:
    with pytest.raises(TypeError, match="expected text"):
        speak(text)


def test_options_of_another_voice_are_a_type_error(remote: Remote) -> None:
    with pytest.raises(TypeError, match="expected CartesiaTTSOptions, got dict"):
        remote.model.stream_tts_sync("Hello.", {"voice": "v"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url", ["", "api.cartesia.ai", "ftp://a.b", "https://", "http://a:b", "http://a/b c", None]
)
def test_a_wrong_address_is_a_value_error(url: Any) -> None:
    with pytest.raises(ValueError, match="expected a base_url such as"):
        CartesiaTTSModel(KEY, url)


def test_it_is_had_by_its_name() -> None:
    assert isinstance(get_tts_model("cartesia", cartesia_api_key=KEY), CartesiaTTSModel)
