"""One call over a WebSocket, whatever its dialect: a `Session` on one side, a `Wire` beyond."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import numpy as np
from starlette.websockets import WebSocket

from fastrtc import metrics
from fastrtc.admission import Refused
from fastrtc.audio.convert import Pcm, with_channels
from fastrtc.audio.far import FarPlayout
from fastrtc.audio.playout import FRAMES_PER_SECOND, Mark
from fastrtc.audio.resample import StreamResampler
from fastrtc.messages import create_message
from fastrtc.session import Session
from fastrtc.transports.sockets.allowance import MESSAGES, SOUND, Allowance
from fastrtc.transports.sockets.wire import (
    Asked,
    Digit,
    Marked,
    Message,
    Sound,
    Started,
    Stopped,
    Wire,
    WireError,
)

logger = logging.getLogger(__name__)

START_WITHIN: Final = 10.0
"""Seconds that a client has to begin its call."""
LARGEST_MESSAGE: Final = 1 << 17
"""Characters or bytes: 0.5 s of stereo at 48 kHz in base64."""
LARGEST_START: Final = 1 << 14
"""The same, before the call has begun: from anybody."""
SIZE_OF_ONE: Final = 500
"""Bytes of a message that count as another message."""
PAUSE: Final = 5
"""Frames of silence after which a sound is over: one that is made live may be late by less."""
UNSENT: Final = 25
"""Messages (0.5 s) that wait for a client that does not read, before it is sent no more sound."""
MOST_UNSENT: Final = 2_000
"""Messages that wait, before the client is given up."""
STUCK_SECONDS: Final = 10.0
"""Seconds of reading too slowly after which a client is given up."""
STALLED: Final = 50
"""Ticks (1 s) by which marks may be overdue, before no more sound is sent."""
FLOOD_SECONDS: Final = 5.0
"""Seconds of being held up for sending too much, after which a client is given up."""
AT_A_TIME: Final = 10
"""Messages that are read before other calls have their turn."""
FLUSH_SECONDS: Final = 2.0
"""Seconds that the last messages have to leave when a call ends."""
COMPLAINT_SECONDS: Final = 1.0
"""A client's errors are told, and logged, no more often."""

NORMAL: Final = 1000
REFUSED: Final = 1008
"""WebSocket close codes (RFC 6455, 7.4.1)."""

Admit = Callable[[Started], Awaitable[Session]]
"""Takes a slot for a call that begins, or raises `Refused`."""


class SocketLine:
    """See `Line`. `serve` runs it from the first message to the last."""

    def __init__(
        self,
        socket: WebSocket,
        wire: Wire,
        admit: Admit,
        leave: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``socket`` has been accepted; ``leave`` is awaited before it is closed."""
        self._socket = socket
        self._wire = wire
        self._admit = admit
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._far = FarPlayout(0, marks=False)
        self._resampler: StreamResampler | None = None
        self._recent: deque[Pcm] = deque(maxlen=wire.lead)
        """The newest frames that were sent, which the far side may not have played."""
        self._outbox: deque[tuple[Message, bool]] = deque()
        """Messages that wait, and whether each is sound."""
        self._news: asyncio.Future[None] | None = None
        self._closing = False
        self._slow_since: float | None = None
        self._silent = PAUSE
        self._messages, self._sound = Allowance(MESSAGES), Allowance(SOUND)
        self._taken = 0.0
        self._complain_at = 0.0
        self._reader: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Take the call, until either side ends it. Gives back everything."""
        self._reader = asyncio.create_task(self._read_all())
        self._writer = asyncio.create_task(self._write_all())
        try:
            await asyncio.wait([self._reader])
            if not self._reader.cancelled() and (error := self._reader.exception()) is not None:
                logger.error("A call over a socket failed", exc_info=error)
                metrics.errors.add("transport")
        finally:
            self._reader.cancel()
            if self._session is None:
                await self.close()
            else:
                await self._session.close()

    # From the client.

    async def _read_all(self) -> None:
        try:
            await asyncio.wait_for(self._begin(), START_WITHIN)
        except (asyncio.TimeoutError, TimeoutError):
            self._complain(f"expected the call to begin within {START_WITHIN:.0f} s")
        while self._session is not None and not self._session.ending:
            message = await self._receive()
            if message is None or await self._take(message):
                break

    async def _begin(self) -> None:
        """Read until the call begins; it does not if there is no session then."""
        while (message := await self._receive()) is not None:
            event = self._read(message)
            if isinstance(event, Started):
                await self._start(event)
                return
            if isinstance(event, Stopped):
                return
            if isinstance(event, Asked):
                self._send([event.answer])
            elif event is not None:
                self._complain("the call has not begun: expected its start first")

    async def _start(self, started: Started) -> None:
        try:
            session = await self._admit(started)
        except Refused as refused:
            self._refuse(refused)
            return
        except Exception:
            logger.exception("A call over a socket could not be begun")
            metrics.errors.add("transport")
            self._refuse(Refused("connection_failed", reason="the server could not begin the call"))
            return
        self._session = session
        session.line = self
        rate = session.handler.output_sample_rate
        self._far = FarPlayout(self._wire.lead, marks=self._wire.has_marks)
        self._resampler = StreamResampler(rate, self._wire.rate, self._wire.channels)
        self._send(self._wire.started(session.id))
        session.on_close(self._stop_reading)
        session.start(self)

    def _refuse(self, refused: Refused) -> None:
        logger.info("A call over a socket was refused: %s", refused.error)
        metrics.refused.add(refused.why)
        self._send(self._wire.text(json.dumps(refused.as_reply())))

    async def _receive(self) -> Message | None:
        """The next message; None when the client has gone."""
        while True:
            given = await self._socket.receive()
            if given["type"] != "websocket.receive":
                return None
            text = given.get("text")
            message: Message = given.get("bytes") or b"" if text is None else text
            # What is long takes long to read.
            cost = 1 + len(message) / SIZE_OF_ONE
            wait = self._messages.take(cost, self._loop.time())
            if wait and self._messages.strained > FLOOD_SECONDS:
                self._complain_at = 0.0
                self._complain("expected far fewer messages a second: the call ends")
                return None
            if wait:
                # Nothing is read meanwhile, so that a flood fills the client's buffers, not ours.
                await asyncio.sleep(wait)
            self._taken += cost
            if self._taken >= AT_A_TIME:
                # To receive what has come already is no wait, in which others would be served.
                self._taken = 0.0
                await asyncio.sleep(0)
            largest = LARGEST_START if self._session is None else LARGEST_MESSAGE
            if len(message) <= largest:
                return message
            metrics.dropped.add("bad_message")
            self._complain(f"expected a message of at most {largest} bytes, got {len(message)}")
            if self._session is None:
                return None

    def _read(self, message: Message) -> Any:
        try:
            return self._wire.read(message)
        except WireError as error:
            metrics.dropped.add("bad_message")
            self._complain(str(error))
            return None

    async def _take(self, message: Message) -> bool:
        """Act on a message; whether it was the last."""
        assert self._session is not None
        event = self._read(message)
        if isinstance(event, Sound):
            rate = event.rate or self._wire.rate
            self._session.hear(rate, event.pcm)
            wait = self._sound.take(event.pcm.shape[1] / rate, self._loop.time())
            if wait:
                # A recording may be sent in one go; it is taken as fast as it is of use.
                await asyncio.sleep(wait)
        elif isinstance(event, Marked):
            if event.name.isascii() and event.name.isdigit() and len(event.name) < 16:
                self._far.returned(int(event.name))
        elif isinstance(event, Digit):
            self._session.press(event.digit)
        elif isinstance(event, Asked):
            self._send([event.answer])
        elif isinstance(event, Started):
            self._complain("the call has begun already: expected no second start")
        return isinstance(event, Stopped)

    def _complain(self, text: str) -> None:
        """Tell of a message that makes no sense, but not 50 times a second."""
        now = self._loop.time()
        if now >= self._complain_at:
            self._complain_at = now + COMPLAINT_SECONDS
            logger.warning("%s: %s", self._name, text)
            self._send(self._wire.text(create_message("error", text)))

    # From the session, see `Line`.

    @property
    def channel(self) -> Any:
        """See `Line`."""
        return self._socket

    def send_message(self, message: str) -> None:
        """See `Line`."""
        self._send(self._wire.text(message))

    def tick(self) -> int:
        """See `Line`."""
        self._far.tick()
        if len(self._outbox) > UNSENT or self._far.stalled > STALLED:
            self._too_slow()
            return 0
        if not self._outbox:
            self._slow_since = None
        return self._far.room

    def send_frame(self, frame: Pcm | None) -> None:
        """See `Line`: of silence nothing is sent."""
        assert self._resampler is not None
        if frame is None:
            self._silent += 1
            return
        if self._silent >= PAUSE:
            self._begin_sound()
        self._silent = 0
        pcm = self._resampler.process(with_channels(frame, self._wire.channels))
        if pcm.shape[1]:
            self._send(self._wire.media(pcm), sound=True)
            self._recent.append(frame)
            self._mark(self._far.send())

    def mark(self, reached: Callable[[], None]) -> None:
        """See `Line`."""
        self._mark(self._far.mark(reached))

    @property
    def unheard(self) -> float:
        """See `Line`. From any thread."""
        return self._far.unheard / FRAMES_PER_SECOND

    def clear(self) -> bool:
        """See `Line`."""
        if not self._drop():
            # It will play what it has; nobody waits for that any more.
            self._far.forget()
            return False
        return self._far.clear()

    def take_back(self) -> list[Pcm | Mark] | None:
        """See `Line`."""
        if not self._drop():
            return None
        dropped, waiting = self._far.take_back()
        frames = list(self._recent)[-dropped:] if dropped else []
        items: list[Pcm | Mark] = list(frames)
        # From the last, so that the places of those before them stay right.
        for after, reached in reversed(waiting):
            items.insert(after, Mark(reached))
        return items

    async def close(self) -> None:
        """See `Line`: what waits is still sent, if the client reads it soon."""
        self._closing = True
        self._ring()
        if self._leave is not None:
            await self._leave()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=FLUSH_SECONDS)
            self._writer.cancel()
        refused = self._session is None
        with contextlib.suppress(Exception):
            code = REFUSED if refused else NORMAL
            await asyncio.wait_for(self._socket.close(code), FLUSH_SECONDS)

    # To the client.

    def _drop(self) -> bool:
        """Let the far side drop what it holds, and drop what waits here; whether it can."""
        messages = self._wire.clear()
        if messages:
            kept = [item for item in self._outbox if not item[1]]
            self._outbox.clear()
            self._outbox.extend(kept)
            self._send(messages)
            self._silent = PAUSE
        return bool(messages)

    def _begin_sound(self) -> None:
        """Forget the end of the last sound. Behind a beginning of silence each frame of ours gives
        a frame for the far side, neither more nor less.
        """
        assert self._session is not None
        assert self._resampler is not None
        playout = self._session.playout
        silence = np.zeros((self._wire.channels, 2 * playout.frame_samples), np.int16)
        self._resampler.flush()
        self._resampler.process(silence)

    def _mark(self, place: int | None) -> None:
        if place is not None:
            self._send(self._wire.mark(str(place)), sound=True)

    def _send(self, messages: list[Message], *, sound: bool = False) -> None:
        for message in messages:
            self._outbox.append((message, sound))
        self._ring()
        if len(self._outbox) > MOST_UNSENT:
            self._give_up()

    async def _write_all(self) -> None:
        """Send what waits, as fast as the client reads it."""
        try:
            while True:
                while self._outbox:
                    message, _ = self._outbox.popleft()
                    kind = "text" if isinstance(message, str) else "bytes"
                    try:
                        await self._socket.send({"type": "websocket.send", kind: message})
                    except UnicodeError:
                        # Half a character, which a handler has sent; the call goes on.
                        logger.error("%s: expected a text, got %.80r", self._name, message)
                if self._closing:
                    return
                self._news = self._loop.create_future()
                await self._news
        except Exception:
            # The client has gone.
            logger.debug("%s: a message could not be sent", self._name, exc_info=True)
            if self._session is not None:
                self._session.hang_up()

    def _ring(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _too_slow(self) -> None:
        now = self._loop.time()
        if self._slow_since is None:
            self._slow_since = now
            logger.warning("%s reads more slowly than sound is made for it", self._name)
        if now - self._slow_since > STUCK_SECONDS:
            self._give_up()

    def _give_up(self) -> None:
        if self._session is not None and not self._session.ending:
            logger.warning("%s has stopped reading: the call ends", self._name)
            self._session.hang_up()

    def _stop_reading(self) -> None:
        if self._reader is not None:
            self._reader.cancel()

    @property
    def _name(self) -> str:
        return "A socket" if self._session is None else f"Call {self._session.id}"
