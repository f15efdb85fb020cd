"""One telephone call: runs the TwiML it is given, and is the person on the phone."""

from __future__ import annotations

import asyncio
import datetime
import uuid
from collections.abc import Mapping
from typing import Final

import httpx
import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import InvalidHandshake, InvalidMessage

from tests.carrier import g711
from tests.carrier.media_stream import MediaStream
from tests.carrier.twiml import TYPES, BadTwiml, Element, parse
from tests.carrier.webhooks import Signing, Webhooks
from tests.conftest import Sound

API_VERSION: Final = "2010-04-01"

DIGITS: Final = frozenset("0123456789*#ABCD")
"""The keys that a telephone can send."""


def new_sid(prefix: str) -> str:
    """An id as Twilio gives them: two letters and 32 hexadecimal digits."""
    return prefix + uuid.uuid4().hex


class PhoneCall:
    """A call, from its first ring to its end."""

    def __init__(
        self,
        webhooks: Webhooks,
        from_: str,
        to: str,
        direction: str,
        *,
        delay: float = 0.0,
        speech: Sound | None = None,
        socket_signing: Signing = Signing.RIGHT,
    ) -> None:
        self.sid = new_sid("CA")
        self.from_, self.to, self.direction = from_, to, direction
        self.status = "ringing"
        self.webhook_status: int | None = None
        """The HTTP status with which the webhook answered, when it was last asked."""
        self.executed: list[Element] = []
        """The verbs that were run, in order."""
        self.ways_back: list[str] = []
        """Where the documents go at their ends: the URLs of their <Redirect>s."""
        self.errors: list[str] = []
        """What Twilio would write into the log of errors, by its number."""
        self.form: dict[str, list[str]] = {}
        """What an outbound call was ordered with."""
        self.ended = asyncio.Event()
        self.stream_noun: Element | None = None
        """The <Stream> that was connected."""
        self._webhooks = webhooks
        self._socket_signing = socket_signing
        self._delay = delay
        self.streams: list[MediaStream] = []
        """All that were connected, the newest last."""
        self._stream = self._new_stream()
        if speech is not None:
            self._stream.say(speech)
        self._hung_up = False
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._blamed = False

    # What the person on the phone does

    async def say(self, sound: Sound) -> None:
        """Speak; returns when the last of it has been sent, or the call has ended."""
        assert self._settled.is_set(), "nobody speaks before the call is answered"
        assert not self.ended.is_set(), "nobody speaks into a call that is over"
        self._stream.say(sound)
        await self._stream.quiet()

    async def press(self, digits: str) -> None:
        """Press keys, one message each."""
        assert DIGITS.issuperset(digits), f"a telephone has no keys {digits!r}"
        for digit in digits:
            self._stream.press(digit)

    async def hang_up(self) -> None:
        """Put the phone down, mid-word if need be; returns when the call is over."""
        self._hung_up = True
        self._stream.hang_up()
        if self._task is not None:
            if not self._settled.is_set():
                self._task.cancel()
            await asyncio.wait({self._task})

    # What happened to them

    @property
    def heard(self) -> tuple[int, NDArray[np.int16]]:
        """All they heard since the start message, silence included; 8 kHz, shape (n,)."""
        return g711.RATE, self._stream.playback.heard

    @property
    def seconds(self) -> float:
        """How long the stream has lasted: where on the timeline the next word falls."""
        return self._stream.playback.seconds

    @property
    def held(self) -> float:
        """Seconds of sound in the buffer; after the end, what nobody will hear."""
        return self._stream.playback.held

    @property
    def most_held(self) -> float:
        """The most seconds that the buffer ever held."""
        return self._stream.playback.most_held

    @property
    def violations(self) -> list[str]:
        """What came over the socket that is not in the documentation."""
        return self._stream.violations

    @property
    def stream_sid(self) -> str:
        return self._stream.sid

    @property
    def close_code(self) -> int | None:
        """The code with which the socket was closed."""
        return self._stream.close_code

    @property
    def said(self) -> list[str]:
        """The texts of the <Say>s that were run."""
        return [verb.text for verb in self.executed if verb.name == "Say"]

    @property
    def recordings(self) -> list[dict[str, str]]:
        """The attributes of the <Recording>s that were started."""
        starts = [verb for verb in self.executed if verb.name == "Start"]
        return [noun.attributes for verb in starts for noun in verb.children]

    @property
    def parameters(self) -> dict[str, str]:
        """The <Parameter>s of the stream."""
        nouns = self.stream_noun.children if self.stream_noun else []
        return {noun.attributes["name"]: noun.attributes["value"] for noun in nouns}

    async def wait_started(self, timeout: float = 5.0) -> None:
        """Return when the stream has started, or the call has ended without one."""
        await asyncio.wait_for(self._settled.wait(), timeout)
        if self.ended.is_set():
            await self.wait_ended(timeout)

    async def wait_ended(self, timeout: float = 5.0) -> None:
        """Return when the call is over; what was wrong with its TwiML is raised."""
        assert self._task is not None, "the call was not placed"
        self._blamed = True
        await asyncio.wait_for(asyncio.shield(self._task), timeout)

    # What the carrier does with the call

    def place(self, url: str, twiml: str | None = None, signing: Signing = Signing.RIGHT) -> None:
        """Run the call, by the TwiML that is given or that the webhook at a URL answers."""
        self._task = asyncio.ensure_future(self._run(url, twiml, signing))
        self._task.add_done_callback(self._over)

    async def close(self) -> Exception | None:
        """End the call if it is not over; a fault that nobody has been told of."""
        await self.hang_up()
        if self._task is None or self._task.cancelled() or self._blamed:
            return None
        fault = self._task.exception()
        return fault if isinstance(fault, Exception) else None

    def request_form(self) -> dict[str, str]:
        """What every request about this call says."""
        return {
            "CallSid": self.sid,
            "AccountSid": self._webhooks.account,
            "From": self.from_,
            "To": self.to,
            "Caller": self.from_,
            "Called": self.to,
            "CallStatus": self.status,
            "ApiVersion": API_VERSION,
            "Direction": self.direction,
            # What Twilio does not know it sends empty, and signs all the same.
            "FromCity": "SAN JOSÉ & SONS",
            "FromCountry": "US",
            "ToCity": "",
        }

    async def _run(self, url: str, twiml: str | None, signing: Signing) -> None:
        await self._report("initiated", "ringing")
        if self.direction == "outbound-api":
            self.status = "in-progress"
            await self._report("answered")
        document = await self._fetch(url, signing) if twiml is None else twiml.encode()
        if document is None:
            self.status = "failed"
        else:
            await self._execute(parse(document, url))
        await self._report("completed")

    def _new_stream(self) -> MediaStream:
        return MediaStream(self._webhooks.account, self.sid, new_sid("MZ"), self._delay)

    def _over(self, task: asyncio.Task[None]) -> None:
        self.ended.set()
        self._settled.set()

    async def _report(self, *events: str) -> None:
        """Tell the StatusCallback what it asked to be told."""
        url = self.form.get("StatusCallback", [""])[0]
        for event in events:
            if url and event in self.form.get("StatusCallbackEvent", ["completed"]):
                status = {"answered": "in-progress", "completed": self.status}.get(event, event)
                await self._call_back(url, {"CallStatus": status, "Timestamp": _now()})

    async def _fetch(self, url: str, signing: Signing) -> bytes | None:
        reply = await self._webhooks.post(url, self.request_form(), signing)
        self.webhook_status = reply.status_code
        if not reply.is_success:
            self.errors.append(f"11200: the webhook answered {reply.status_code}")
            return None
        kind = reply.headers.get("content-type", "").split(";")[0].strip()
        if kind not in TYPES:
            raise BadTwiml(f"error 12300: the content type is {kind!r}")
        return reply.content

    async def _execute(self, verbs: list[Element]) -> None:
        self.ways_back += [verb.text for verb in verbs if verb.name == "Redirect"]
        for number, verb in enumerate(verbs):
            self.executed.append(verb)
            if verb.name == "Reject" and number == 0 and self.status == "ringing":
                busy = verb.attributes.get("reason") == "busy"
                self.status = "busy" if busy else "no-answer"
                return
            self.status = "in-progress"
            if verb.name == "Connect":
                await self._connect(verb.children[0])
            if verb.name in ("Hangup", "Reject") or self._hung_up:
                break
            if verb.name == "Redirect":
                # What comes behind it is never run.
                assert verb.attributes.get("method", "POST") == "POST", "no GET in these tests"
                await self._go_on(verb.text)
                return
        self.status = "completed"

    async def _go_on(self, url: str) -> None:
        """Run the document that another webhook gives to a call that has been answered."""
        try:
            document = await self._fetch(url, Signing.RIGHT)
        except httpx.TransportError as error:
            self.errors.append(f"11205: {url} cannot be reached: {error}")
            document = None
        if document is None:
            self.status = "completed"
        else:
            await self._execute(parse(document, url))

    async def _connect(self, stream: Element) -> None:
        """Run a stream to its end; Twilio goes on with the next verb when the server ends it."""
        if self.streams:
            self._stream = self._new_stream()
        self.streams.append(self._stream)
        self.stream_noun = stream
        url = stream.attributes["url"]
        headers = self._webhooks.headers(url, {}, self._socket_signing)
        running = asyncio.ensure_future(self._stream.run(url, headers, self.parameters))
        starting = asyncio.ensure_future(self._stream.started.wait())
        try:
            await asyncio.wait({running, starting}, return_when=asyncio.FIRST_COMPLETED)
            if self._stream.started.is_set():
                self._settled.set()
                await self._stream_event("stream-started")
            await running
            await self._stream_event("stream-stopped")
        except (OSError, InvalidHandshake, InvalidMessage) as error:
            self.errors.append(f"31920: the socket was refused: {error}")
            await self._stream_event("stream-error", StreamError=str(error))
        finally:
            starting.cancel()
            running.cancel()
            await asyncio.wait({starting, running})

    async def _stream_event(self, event: str, **more: str) -> None:
        assert self.stream_noun is not None
        attributes = self.stream_noun.attributes
        if "statusCallback" in attributes:
            form = {"StreamSid": self.stream_sid, "StreamEvent": event, "Timestamp": _now()}
            form["StreamName"] = attributes.get("name", self.stream_sid)
            await self._call_back(attributes["statusCallback"], {**form, **more})

    async def _call_back(self, url: str, form: Mapping[str, str]) -> None:
        """Post an event; a server that will not hear it does not disturb the call."""
        try:
            reply = await self._webhooks.post(url, {**self.request_form(), **form})
        except httpx.TransportError as error:
            self.errors.append(f"11200: {url} cannot be reached: {error}")
            return
        if not reply.is_success:
            self.errors.append(f"11200: {url} answered {reply.status_code}")


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat()
