"""Hostile clients of every socket: `python -m tests.e2e.fuzz URL SECONDS SEED [ATTACK...]`.

Prints JSON: how often each attack was made. The same seed makes the same attacks.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import json
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx

from tests.e2e.sockets import BINARY, CLOSE, PING, PONG, TEXT, RawSocket, frame
from tests.transports.telephone.examples import MESSAGES

Message = str | bytes

AT_ONCE: Final = 6
"""Attacks that go on beside each other."""
MIB: Final = 1 << 20
SILENT: Final = 40
"""Sockets that are open, and say nothing, at most."""

FORMATS: Final[list[Any]] = [
    {"encoding": encoding, "sample_rate": rate, "channels": channels, "framing": framing}
    for encoding in ("pcm_s16le", "mulaw", "alaw", "opus")
    for rate in (8_000, 11_050, 48_000)
    for channels in (1, 2)
    for framing in ("json", "binary")
]
PAGE: Final[dict[str, dict[str, Any]]] = {
    "start": {"event": "start", "websocket_id": "fuzz"},
    "media": {"event": "media", "media": {"payload": base64.b64encode(b"\x80" * 480).decode()}},
    "mark": {"event": "mark", "mark": {"name": "5"}},
    "ping": {"event": "ping"},
    "send_input": {"type": "send_input", "data": []},
    "stop": {"event": "stop"},
}
"""What pages send to ``/websocket/offer``, of the old protocol."""
DIALECTS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "/websocket/offer": PAGE,
    "/answer/websocket/offer": PAGE,
    "/telephone/handler": MESSAGES["twilio"],
    **{f"/telephone/{name}/handler": messages for name, messages in MESSAGES.items()},
    **{f"/answer/telephone/{name}/handler": messages for name, messages in MESSAGES.items()},
}
"""The messages of each socket, by its path."""


# Messages.


def odd_value(rng: random.Random) -> Any:
    """Something that nobody expects in the place of a text, a number or an object."""
    depth = rng.choice((3, 90, rng.randrange(850, 1_000)))
    deep: Any = rng.choice(([], {}, "x"))
    for _ in range(depth):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    return rng.choice(
        [
            *(None, True, False, 0, -1, 1.5, 2**63, -(2**64), 10**400, 1e308, float("nan")),
            *(float("inf"), "", " ", "\0", "\ud800", "a\udfffb", "\r\nERROR: forged", "é" * 300),
            *(
                "A" * rng.randrange(100_000),
                [],
                {},
                [[]],
                [None],
                {"": {}},
                "=",
                "====",
                "A",
                "AAA",
            ),
            *("9" * 5_000, "-1", "1e9", "٣", "null", "{}", "__proto__", "%s%n{0}", deep),
            list(range(1_000)),
            base64.b64encode(rng.randbytes(rng.randrange(2_000))).decode(),
        ]
    )


def damaged(rng: random.Random, message: dict[str, Any]) -> dict[str, Any]:
    """A message in which parts, at any depth, are gone, renamed or something else."""
    message = copy.deepcopy(message)
    for _ in range(rng.choice((1, 1, 2, 5))):
        inside = message
        while inside:
            name = rng.choice(sorted(inside))
            if isinstance(inside[name], dict) and rng.random() < 0.7:
                inside = inside[name]
                continue
            value = inside.pop(name)
            match rng.randrange(4):
                case 0:
                    inside[name] = odd_value(rng)
                case 1:
                    inside[name.upper()] = value
                case 2:
                    inside[name] = [value]
            break
    return message


def spoilt(rng: random.Random, text: str) -> Message:
    """A text that is broken off, doubled, mixed up, or no text at all."""
    place = rng.randrange(len(text) + 1)
    match rng.randrange(9):
        case 0:
            return text[:place]
        case 1:
            return text + text
        case 2:
            return (
                text[:place] + chr(rng.choice((0, 0x7F, 0xD800, 0xFFFF, 0x10FFFF))) + text[place:]
            )
        case 3:
            return text.encode()
        case 4:
            return rng.randbytes(rng.randrange(3_000))
        case 5:
            return '{"event": ' + rng.choice("[{") * rng.choice((10, 999, 5_000, 100_000))
        case 6:
            return ""
        case 7:
            return b""
    return " " * rng.randrange(140_000) + text


def start_of(rng: random.Random, messages: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A start that is right, for a call of its own."""
    text = json.dumps(messages["start"])
    for name in ("MZ01", "32DE0DEA", "87654321-4321", "aaaaaaaa-bbbb", "fuzz"):
        text = text.replace(name, rng.randbytes(8).hex())
    start: dict[str, Any] = json.loads(text)
    if messages is PAGE and rng.random() < 0.7:
        start["format"] = {**rng.choice(FORMATS), "marks": rng.random() < 0.5}
        start["watch"] = rng.random() < 0.5
    return start


def nonsense(rng: random.Random, messages: dict[str, dict[str, Any]]) -> Message:
    """Some message, right or wrong; never the one that ends a call by itself."""
    message = rng.choice([one for name, one in messages.items() if name != "stop"])
    kind = rng.random()
    if kind < 0.2:
        return json.dumps(message)
    if kind < 0.7:
        try:
            return json.dumps(damaged(rng, message), ensure_ascii=rng.random() < 0.5)
        except RecursionError:
            return "[" * 900
    if kind < 0.75:
        return rng.randbytes(2 * rng.randrange(1_000))
    return spoilt(rng, json.dumps(message))


# Attacks, each on one path with one stream of chance.


async def confused(url: str, path: str, rng: random.Random) -> None:
    """Messages that make no sense, before, in and after a call; perhaps an end to it."""
    socket = await RawSocket.open(url, path)
    messages = DIALECTS[path]
    script = [nonsense(rng, messages) for _ in range(rng.randrange(1, 30))]
    if rng.random() < 0.8:
        script.insert(rng.randrange(3), json.dumps(start_of(rng, messages)))
    if rng.random() < 0.3 and "stop" in messages:
        script.append(json.dumps(messages["stop"]))
    for message in script:
        socket.send(message)
        if rng.random() < 0.2:
            await asyncio.sleep(rng.random() * 0.05)
    await asyncio.sleep(rng.random() * 0.3)
    part(socket, rng)


async def garbled(url: str, path: str, rng: random.Random) -> None:
    """Bytes that are no WebSocket, in the middle of a call."""
    socket = await begun(url, path, rng)
    for _ in range(rng.randrange(1, 6)):
        data = rng.choice(
            [
                rng.randbytes(rng.randrange(1, 2_000)),
                frame(rng.randbytes(rng.randrange(200)), rng.choice((3, 7, 0xB, 0xF))),
                frame(b"\xff\xfe\xfd", TEXT),
                frame(b"ping" * 50, PING),
                frame(b"", PONG),
                frame(b'{"event": ', TEXT, fin=False) + frame(b'"ping"}', 0),
                frame(b"x", TEXT, fin=False) + frame(b"y", TEXT),
                frame(b"z", 0),
                b"".join(frame(b"", BINARY, fin=False) for _ in range(500)),
                bytes([0x81, 0x05]) + b"hello",
                bytes([0xF1, 0x80, 0, 0, 0, 0]),
                bytes([0x82, 0xFF]) + b"\xff" * 12,
                bytes([0x82, 0xFE, 0x40, 0x00, 0, 0, 0, 0]) + b"short",
                b"GET /stats HTTP/1.1\r\nHost: a\r\n\r\n",
            ]
        )
        socket.write(data)
        await asyncio.sleep(rng.random() * 0.05)
    part(socket, rng)


async def parting(url: str, path: str, rng: random.Random) -> None:
    """An end with a code that is none, or none of the client's to send."""
    socket = await begun(url, path, rng)
    code = rng.choice((0, 1, 999, 1004, 1005, 1006, 1012, 1015, 2_000, 4_999, 5_000, 65_535))
    reason = rng.choice((b"", b"bye", b"\xff\xff", b"x" * 123, b"y" * 500))
    socket.write(rng.choice((frame(struct.pack("!H", code) + reason, CLOSE), frame(b"\3", CLOSE))))
    if rng.random() < 0.5:
        socket.send('{"event": "media"}')
        await asyncio.sleep(0.1)
    part(socket, rng)


async def flooding(url: str, path: str, rng: random.Random) -> None:
    """The same message as fast as the server takes it."""
    socket = await begun(url, path, rng)
    messages = DIALECTS[path]
    message: Message = json.dumps(rng.choice([one for n, one in messages.items() if n != "stop"]))
    if rng.random() < 0.5:
        message = rng.choice(("{", "[" * 120_000, "A" * 130_000, b"\0" * 130_000, "", b"\1\2\3"))
    until = time.monotonic() + 1.0
    while time.monotonic() < until and not socket.closed.is_set():
        for _ in range(1 + 20_000 // (1 + len(message))):
            socket.send(message)
        # Beyond what the kernel takes it would only fill our own memory.
        await taken(socket, until - time.monotonic())
    part(socket, rng)


async def oversized(url: str, path: str, rng: random.Random) -> None:
    """A message of up to 20 MB, at once or in pieces, before or in a call."""
    socket = await (begun(url, path, rng) if rng.random() < 0.6 else RawSocket.open(url, path))
    size = rng.choice((130_000, 200_000, MIB, 5 * MIB, 15 * MIB, 20 * MIB))
    opcode = rng.choice((TEXT, BINARY))
    data = rng.choice((b"A", b"[", b'{"":')) * size
    data = data[:size]
    if rng.random() < 0.3:
        step = size // 50
        socket.write(frame(data[:step], opcode, fin=False))
        for place in range(step, size, step):
            socket.write(frame(data[place : place + step], 0, fin=False))
        socket.write(frame(b"", 0))
    else:
        socket.write(frame(data, opcode))
    await taken(socket, 1.0)
    part(socket, rng)


async def deaf(url: str, path: str, rng: random.Random) -> None:
    """A caller who makes the server talk, and does not read; half open for a while, then gone."""
    socket = await begun(url, path, rng)
    assert socket.transport is not None
    socket.transport.pause_reading()
    media = DIALECTS[path].get("media")
    for _ in range(rng.randrange(200)):
        socket.send(b"\1\0" * 320 if media is None else json.dumps(media))
        socket.send('{"event": "ping"}')
    half_open = rng.random() < 0.3
    if half_open:
        socket.transport.write_eof()
    await asyncio.sleep(rng.random() * 2)
    if half_open:
        socket.hang_up()
    else:
        part(socket, rng)


async def silent(url: str, path: str, rng: random.Random) -> None:
    """A socket that never begins its call, or not even its handshake; it stays open."""
    if len(_kept) >= SILENT:
        _kept.pop(0).hang_up()
    if rng.random() < 0.7:
        _kept.append(await RawSocket.open(url, path))
        return
    socket = await RawSocket.connect(url)
    socket.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: web".encode())
    _kept.append(socket)


async def ringing(url: str, path: str, rng: random.Random) -> None:
    """Webhooks that no platform would send."""
    place = path.replace("websocket/offer", "telephone/handler").replace("handler", "incoming")
    body: Message = rng.choice(
        (b"From=%ff&To=" + b"A" * rng.randrange(90_000), b"{", b"[" * 5_000, b'{"uuid": [1]}')
    )
    if rng.random() < 0.5:
        body = rng.randbytes(rng.randrange(3_000))
    kind = rng.choice(("application/json", "application/x-www-form-urlencoded", "text/\xff"))
    headers = {
        b"content-type": kind.encode("latin-1"),
        b"x-twilio-signature": rng.choice((b"", b"\xe9", b"AAAA")),
        b"x-forwarded-host": rng.choice((b"", b"[", b"a b", b"x:y:z", b"\xff")),
    }
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        reply = await http.post(place, content=body, headers=headers)
        if reply.status_code == 500 and "expected" not in reply.text:
            raise AssertionError(f"{place} answered {reply.status_code}: {reply.text:.200}")


async def refused(url: str, path: str, rng: random.Random) -> None:
    """Handshakes that make no sense, or from a page of somebody else."""
    header = rng.choice(
        (
            "Origin: https://evil.example\r\n",
            "Origin: null\r\n",
            "Origin: http://[\r\n",
            "Origin: \xe9\r\n",
            "Sec-WebSocket-Version: 12\r\n",
            f"Cookie: {'a' * 70_000}\r\n",
            "Sec-WebSocket-Extensions: permessage-deflate; x=y\r\n",
            "Content-Length: 100\r\n",
        )
    )
    where = rng.choice((path, path + "?a=%ff", path + "/\0", f"/telephone/{'a' * 5_000}/handler"))
    with contextlib.suppress(ConnectionRefusedError, asyncio.TimeoutError):
        part(await RawSocket.open(url, where, header, seconds=0.5), rng)


ATTACKS: Final[dict[str, Callable[[str, str, random.Random], Awaitable[None]]]] = {
    attack.__name__: attack
    for attack in (
        *(confused, garbled, parting, flooding, oversized, deaf, silent, ringing, refused),
    )
}
COMMON: Final = ("confused",) * 6
"""The attack that has most in it is made most often."""

_kept: list[RawSocket] = []


async def begun(url: str, path: str, rng: random.Random) -> RawSocket:
    """A socket with a call."""
    socket = await RawSocket.open(url, path)
    socket.send(json.dumps(start_of(rng, DIALECTS[path])))
    return socket


def part(socket: RawSocket, rng: random.Random) -> None:
    """Go, with or without a word."""
    if rng.random() < 0.4:
        socket.write(frame(struct.pack("!H", 1000), CLOSE))
    if rng.random() < 0.5 and socket.transport is not None:
        socket.transport.resume_reading()
        socket.transport.close()
    socket.hang_up()


async def taken(socket: RawSocket, seconds: float) -> None:
    """Wait until the server has taken what was sent, but not for long."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(socket.taken.wait(), seconds)


async def attack(url: str, seconds: float, seed: str, names: list[str]) -> Counter[str]:
    """Attack for so long; how often each kind was made."""
    until = time.monotonic() + seconds
    made: Counter[str] = Counter()

    async def attacker(number: int) -> None:
        while time.monotonic() < until:
            made["all"] += 1
            rng = random.Random(f"{seed} {made['all']}")
            name, path = rng.choice(names), rng.choice(sorted(DIALECTS))
            made[name] += 1
            try:
                await ATTACKS[name](url, path, rng)
            except (OSError, httpx.TransportError, asyncio.TimeoutError):
                made["cut off"] += 1

    await asyncio.gather(*(attacker(number) for number in range(AT_ONCE)))
    for socket in _kept:
        socket.hang_up()
    return made


async def main() -> None:
    url, seconds, seed, *names = sys.argv[1:]
    made = await attack(url, float(seconds), seed, names or [*ATTACKS, *COMMON])
    print(json.dumps(made))


if __name__ == "__main__":
    asyncio.run(main())
