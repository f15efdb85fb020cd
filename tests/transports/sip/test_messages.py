import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.transports.sip.agent import UserAgent
from fastrtc.transports.sip.dialog import Call, State
from fastrtc.transports.sip.messages import LARGEST_MESSAGE, Request, read_message
from tests.transports.sip.phone import HERE, OFFER, Desk, ack, bye, read, write

WELL_FORMED = [
    write("INVITE", body=OFFER, extra="Record-Route: <sip:192.0.2.9;lr>\r\nRequire: 100rel\r\n"),
    write("INVITE", body=OFFER),
    write("CANCEL"),
    write("ACK", to_tag="a"),
    write("BYE", to_tag="a"),
    write("OPTIONS", via="SIP/2.0/UDP [2001:db8::1]:5070"),
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a.example;branch=z9hG4bK1\r\nCSeq: 1 BYE\r\n\r\n",
]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"CSeq: 1 INVITE", b"CSeq: 1 BYE"),
        (b"CSeq: 1 INVITE", b"CSeq: many INVITE"),
        (b"CSeq: 1 INVITE", b"CSeq: 99999999999 INVITE"),
        (b"Call-ID: call-1", b"Call-ID: " + b"x" * 300),
        (b'"Alice" <sip', b"<<<sip"),
        (b";tag=theirs", b";self=1"),
        (b"Content-Length: ", b"Content-Length: 9"),
        (b"Content-Length: ", b"Content-Length: -"),
    ],
)
def test_a_malformed_request_is_a_bad_one(desk: Desk, old: bytes, new: bytes) -> None:
    data = write("INVITE", body=OFFER).replace(old, new)
    (reply,) = desk.send(data)
    assert reply.code == 400
    assert not desk.events()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\xff\xfe INVITE",
        write("INVITE").replace(b"Via:", b"Vie:"),
        write("INVITE").replace(b"Call-ID: call-1\r\n", b""),
        write("INVITE").replace(b":5090;rport", b":0"),
        write("INVITE").replace(b":5090;rport", b":70000"),
        write("INVITE").replace(b"Max-Forwards: 70", b"Subject: a\nVia: b"),
        write("INVITE").replace(b"Max-Forwards: 70", b"Subject: a\0"),
        write("INVITE", extra=f"X-Large: {'x' * 17_000}\r\n"),
        write("ACK"),
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKno\r\n\r\n",
        b"SIP/2.0 ok OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKno\r\n\r\n",
    ],
)
def test_what_cannot_be_answered_is_dropped(desk: Desk, data: bytes) -> None:
    assert not desk.send(data)
    assert not desk.events()


def test_a_malformed_request_is_none_of_the_call_that_is_there(desk: Desk) -> None:
    call = desk.talk()
    desk.send(bye(call).replace(b"CSeq: 2 BYE", b"CSeq: 2 INVITE"))
    assert call.state is State.TALKING


def test_short_and_folded_headers_are_read() -> None:
    data = (
        b"OPTIONS sip:a@b.example SIP/2.0\r\nv: SIP/2.0/UDP h.example:5061\r\n ;branch=z9hG4bK1\r\n"
        b"f : <sip:bob@c.example>;tag=1\r\nt: sip:a@b.example\r\ni: q\r\nCSeq: 1\r\n\t OPTIONS\r\n"
        b"l: 2\r\n\r\nhi there"
    )
    found = read_message(data, HERE)
    assert isinstance(found, Request)
    assert (found.fault, found.caller, found.from_tag, found.body) == ("", "bob", "1", b"hi")


def test_the_facts_of_a_call_are_its_own_headers_and_a_few_more() -> None:
    extra = "X-Account: 7\r\nUSER-AGENT: phone\r\nAuthorization: secret\r\n"
    found = read_message(write("INVITE", extra=extra), HERE)
    assert isinstance(found, Request)
    assert found.facts == {"x-account": "7", "user-agent": "phone"}
    assert (found.caller, found.called) == ("+15550001", "talk")


@given(st.binary(max_size=400))
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_read_or_dropped(data: bytes) -> None:
    read_message(data, HERE)


@given(st.sampled_from(WELL_FORMED), st.integers(0, 2**32))
@settings(deadline=None, max_examples=400)
def test_a_damaged_datagram_is_answered_well_or_not_at_all(data: bytes, seed: int) -> None:
    chance, damaged = random.Random(seed), bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(damaged))
        part = damaged[at : at + chance.randint(1, 20)]
        other = chance.choice(
            [b"", bytes(part) * 2, chance.randbytes(3), b"\r\n", b";", b'"', b","]
        )
        damaged[at : at + len(part)] = other
    agent = UserAgent()
    agent.receive(bytes(damaged), HERE, 1.0)
    for item in agent.outbox:
        assert 100 <= read(*item).code < 700


@given(st.lists(st.sampled_from(range(12)), max_size=25), st.integers(0, 3))
@settings(deadline=None, max_examples=200)
def test_any_order_of_messages_leaves_nothing_behind(order: list[int], answer: int) -> None:
    """Whatever a caller sends, in whatever order, the call is over when we have hung up."""
    desk = Desk()
    calls: list[Call] = []
    for step in order:
        call = calls[-1] if calls else None
        tag = call.tag if call else "none"
        messages = [
            write("INVITE", body=OFFER),
            write("INVITE", branch="z9hG4bKb", number=3, body=OFFER, call_id="call-2"),
            write("INVITE", branch="z9hG4bKc", number=4, to_tag=tag, body=OFFER),
            write("INVITE", branch="z9hG4bKd", number=5, to_tag=tag),
            write("CANCEL"),
            write("BYE", branch="z9hG4bKe", number=9, to_tag=tag),
            write("OPTIONS", to_tag=tag),
            *([ack(call), ack(call, 4), ack(call, 5, OFFER), bye(call)] if call else []),
        ]
        if step < len(messages):
            desk.send(messages[step])
        else:
            desk.wait(10, 1.0)
        for event in desk.events():
            if event.call not in calls:
                calls.append(event.call)
                if answer:
                    desk.accept(event.call) if answer > 1 else desk.agent.refuse(
                        event.call, 486, desk.now
                    )
    for call in calls:
        desk.agent.hang_up(call, desk.now)
    desk.wait(70, 1.0)
    assert not desk.agent.busy
    assert all(call.state is State.OVER for call in calls)


@pytest.mark.parametrize(
    "part",
    [
        "a",
        " ",
        "<",
        '"',
        '\\"',
        ";a",
        ";a=b",
        ",",
        "a.",
        "a-",
        "--a",
        "@",
        "%41",
        "\t",
        ":",
        ';a="b"',
    ],
)
@pytest.mark.parametrize("place", ["From", "Via", "CSeq", "Contact", "X-Any"])
def test_no_header_takes_long_to_read(place: str, part: str) -> None:
    """Of the largest size that is read at all: every caller waits while one is read."""
    count = (LARGEST_MESSAGE - 600) // len(part)
    lines = write("INVITE", body="").decode().split("\r\n")
    start = {"Via": "SIP/2.0/UDP a", "CSeq": "1", "X-Any": ""}.get(place, "<sip:a")
    lines = [line for line in lines if not line.startswith(f"{place}:")]
    lines.insert(1, f"{place}: {start}{part * count}!")
    data = "\r\n".join(lines).encode()
    began = time.process_time()
    UserAgent().receive(data, HERE, 1.0)
    assert time.process_time() - began < 0.25
