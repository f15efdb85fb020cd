import pytest

from fastrtc.transports.sip.agent import MOST_WAITING, Confirmed, Ended, Renegotiated
from fastrtc.transports.sip.dialog import State
from tests.transports.sip.phone import HERE, HOLD, MEDIA_PORT, OFFER, US, Desk, ack, bye, write


@pytest.fixture
def desk() -> Desk:
    return Desk()


# A call begins


def test_a_call_is_tried_then_answered_then_confirmed(desk: Desk) -> None:
    (trying,) = desk.send(write("INVITE", body=OFFER))
    assert (trying.code, trying.tag, trying.to) == (100, "", HERE)
    (event,) = desk.events()
    answer = desk.accept(event.call)
    assert (answer.code, answer.to) == (200, HERE)
    assert answer.tag == event.call.tag
    assert answer.headers["contact"] == f"<sip:{US[0]}:{US[1]}>"
    assert answer.headers["content-type"] == "application/sdp"
    assert f"m=audio {MEDIA_PORT} RTP/AVP 0 101" in answer.body
    assert not desk.events()
    assert not desk.send(ack(event.call))
    assert desk.events() == [Confirmed(event.call)]
    assert not desk.agent.busy


def test_an_answer_is_repeated_less_and_less_often_until_it_is_acknowledged(desk: Desk) -> None:
    call = desk.invite()
    answer = desk.accept(call)
    sent = desk.wait(16)
    assert [at for at, _ in sent] == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5]
    assert all(message == answer for _, message in sent)
    desk.send(ack(call))
    assert not desk.wait(40)


def test_an_answer_that_nobody_acknowledges_ends_the_call_after_32_seconds(desk: Desk) -> None:
    call = desk.invite()
    desk.accept(call)
    assert all(message.code == 200 for _, message in desk.wait(31.9))
    sent = [(at, message.method) for at, message in desk.wait(0.2)]
    assert sent == [(0.1, "BYE")]
    assert desk.events() == [Ended(call, "the answer was never acknowledged")]


def test_an_invitation_that_comes_again_is_answered_with_the_same_and_is_no_second_call(
    desk: Desk,
) -> None:
    data = write("INVITE", body=OFFER)
    first = desk.send(data)
    assert desk.send(data) == first
    (event,) = desk.events()
    answer = desk.accept(event.call)
    assert desk.send(data) == [answer]
    assert not desk.events()


def test_an_acknowledgement_that_comes_again_begins_nothing(desk: Desk) -> None:
    call = desk.talk()
    assert not desk.send(ack(call))
    assert not desk.events()


@pytest.mark.parametrize("wrong", [{"to_tag": "other"}, {"number": 2}, {"tag": "other"}])
def test_an_acknowledgement_of_something_else_begins_nothing(
    desk: Desk, wrong: dict[str, object]
) -> None:
    call = desk.invite()
    desk.accept(call)
    given: dict[str, object] = {"to_tag": call.tag, "branch": "z9hG4bKack", **wrong}
    desk.send(write("ACK", **given))  # type: ignore[arg-type]
    assert not desk.events()
    assert call.state is State.ANSWERED


def test_the_same_call_by_another_way_is_a_loop(desk: Desk) -> None:
    desk.invite()
    (reply,) = desk.send(write("INVITE", branch="z9hG4bKother", body=OFFER))
    assert reply.code == 482
    assert not desk.events()


@pytest.mark.parametrize("code", [403, 486, 500])
def test_a_call_is_turned_away_until_that_is_acknowledged(desk: Desk, code: int) -> None:
    call = desk.invite()
    desk.agent.refuse(call, code, desk.now)
    (reply,) = desk.sent()
    assert reply.code == code
    assert [message for _, message in desk.wait(1)] == [reply]
    desk.send(write("ACK", to_tag=reply.tag))
    assert not desk.wait(40)
    assert not desk.events()


def test_a_call_with_no_codec_of_ours_is_not_acceptable(desk: Desk) -> None:
    gsm = OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 3")
    (reply,) = desk.send(write("INVITE", body=gsm))
    assert reply.code == 488
    assert not desk.events()


def test_a_body_that_is_no_session_description_is_of_an_unsupported_type(desk: Desk) -> None:
    data = write("INVITE", body="hello").replace(b"application/sdp", b"text/plain")
    (reply,) = desk.send(data)
    assert (reply.code, reply.headers["accept"]) == (415, "application/sdp")


def test_a_caller_who_leaves_the_offer_to_us_answers_it_when_acknowledging(desk: Desk) -> None:
    call = desk.invite(body="")
    offer = desk.accept(call)
    assert f"m=audio {MEDIA_PORT} RTP/AVP 0 8 101" in offer.body
    chosen = OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 8 101")
    desk.send(ack(call, body=chosen))
    assert desk.events() == [Confirmed(call)]
    assert call.media is not None
    assert (call.media.codec, call.media.port) == ("PCMA", 7000)


def test_a_caller_who_never_answers_our_offer_is_hung_up_on(desk: Desk) -> None:
    call = desk.invite(body="")
    desk.accept(call)
    (message,) = desk.send(ack(call))
    assert message.method == "BYE"
    (event,) = desk.events()
    assert isinstance(event, Ended)


def test_a_call_that_asks_for_an_extension_is_told_that_there_is_none(desk: Desk) -> None:
    (reply,) = desk.send(write("INVITE", body=OFFER, extra="Require: 100rel\r\n"))
    assert (reply.code, reply.headers["unsupported"]) == (420, "100rel")


def test_only_so_many_calls_wait_at_once(desk: Desk) -> None:
    for n in range(MOST_WAITING):
        desk.invite(call_id=f"call-{n}", branch=f"z9hG4bK{n}")
    (reply,) = desk.send(write("INVITE", call_id="more", branch="z9hG4bKmore", body=OFFER))
    assert (reply.code, reply.headers["retry-after"]) == (503, "1")
    assert not desk.events()


def test_a_line_that_closes_takes_no_more_calls(desk: Desk) -> None:
    desk.agent.closing = True
    (reply,) = desk.send(write("INVITE", body=OFFER))
    assert reply.code == 503


def test_replies_go_where_a_caller_without_rport_listens(desk: Desk) -> None:
    data = write("OPTIONS", via="SIP/2.0/UDP 10.0.0.9:5066")
    (reply,) = desk.send(data, ("203.0.113.5", 31_000))
    assert reply.to == ("203.0.113.5", 5066)
    assert ";received=203.0.113.5" in reply.headers["via"]


def test_replies_go_back_through_a_nat(desk: Desk) -> None:
    data = write("OPTIONS", via="SIP/2.0/UDP 10.0.0.9:5066;rport")
    (reply,) = desk.send(data, ("203.0.113.5", 31_000))
    assert reply.to == ("203.0.113.5", 31_000)
    assert ";rport=31000;" in reply.headers["via"]


def test_every_via_comes_back_in_its_order(desk: Desk) -> None:
    (reply,) = desk.send(write("OPTIONS", extra="Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK*2\r\n"))
    top, below = reply.headers["via"].split(", ")
    assert top.startswith("SIP/2.0/UDP 192.0.2.7:5090;rport=5090;branch=z9hG4bKone")
    assert below == "SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK*2"


# A call that is given up


def test_a_caller_may_give_up_before_there_is_an_answer(desk: Desk) -> None:
    call = desk.invite()
    cancelled, terminated = desk.send(write("CANCEL"))
    assert (cancelled.code, cancelled.headers["cseq"]) == (200, "1 CANCEL")
    assert (terminated.code, terminated.headers["cseq"]) == (487, "1 INVITE")
    assert cancelled.tag == terminated.tag
    assert desk.events() == [Ended(call, "the caller gave up")]
    desk.agent.accept(call, US, MEDIA_PORT, desk.now)
    assert not desk.sent()


def test_giving_up_twice_is_answered_twice_and_ends_one_call(desk: Desk) -> None:
    desk.invite()
    first, _ = desk.send(write("CANCEL"))
    desk.events()
    assert desk.send(write("CANCEL")) == [first]
    assert not desk.events()


def test_giving_up_after_the_answer_changes_nothing(desk: Desk) -> None:
    call = desk.invite()
    desk.accept(call)
    (reply,) = desk.send(write("CANCEL"))
    assert reply.code == 200
    assert not desk.events()
    assert call.state is State.ANSWERED


@pytest.mark.parametrize("method", ["CANCEL", "BYE"])
def test_a_call_that_is_not_there_cannot_be_ended(desk: Desk, method: str) -> None:
    (reply,) = desk.send(write(method, to_tag="" if method == "CANCEL" else "nobody"))
    assert reply.code == 481


# A call ends


def test_a_caller_who_hangs_up_ends_the_call_once(desk: Desk) -> None:
    call = desk.talk()
    (reply,) = desk.send(bye(call))
    assert reply.code == 200
    assert desk.events() == [Ended(call, "the caller hung up")]
    assert desk.send(bye(call)) == [reply]
    assert not desk.events()


@pytest.mark.parametrize("number", [0, 1])
def test_an_old_request_ends_nothing(desk: Desk, number: int) -> None:
    call = desk.talk()
    (reply,) = desk.send(bye(call, number))
    assert reply.code == 500
    assert not desk.events()


def test_we_hang_up_until_the_caller_has_answered(desk: Desk) -> None:
    call = desk.talk()
    desk.agent.hang_up(call, desk.now)
    (message,) = desk.sent()
    assert message.start == "BYE sip:alice@192.0.2.7:5090 SIP/2.0"
    assert message.to == HERE
    assert message.headers["from"] == f"<sip:talk@example.com>;tag={call.tag}"
    assert message.headers["to"] == '"Alice" <sip:+15550001@example.com>;tag=theirs'
    assert [at for at, _ in desk.wait(2)] == [0.5, 1.5]
    desk.send(answer_to(message.headers))
    assert not desk.wait(40)
    assert call.state is State.OVER
    assert not desk.events()


def test_a_caller_who_does_not_answer_to_our_hanging_up_is_forgotten(desk: Desk) -> None:
    call = desk.talk()
    desk.agent.hang_up(call, desk.now)
    desk.wait(33)
    assert call.state is State.OVER
    assert not desk.agent.busy


def test_hanging_up_waits_for_the_acknowledgement(desk: Desk) -> None:
    call = desk.invite()
    desk.accept(call)
    desk.agent.hang_up(call, desk.now)
    assert not desk.sent()
    (message,) = desk.send(ack(call))
    assert message.method == "BYE"
    assert not desk.events()


def test_hanging_up_before_there_is_an_answer_turns_the_call_away(desk: Desk) -> None:
    call = desk.invite()
    desk.agent.hang_up(call, desk.now)
    (reply,) = desk.sent()
    assert reply.code == 480


def test_both_may_hang_up_at_once(desk: Desk) -> None:
    call = desk.talk()
    desk.agent.hang_up(call, desk.now)
    desk.sent()
    (reply,) = desk.send(bye(call))
    assert reply.code == 200
    assert not desk.events()


def test_we_hang_up_through_the_proxies_that_want_it(desk: Desk) -> None:
    routes = "Record-Route: <sip:192.0.2.7:5080;lr>\r\nRecord-Route: <sip:10.0.0.1;lr>\r\n"
    call = desk.talk(extra=routes)
    desk.agent.hang_up(call, desk.now)
    (message,) = desk.sent()
    assert message.headers["route"] == "<sip:192.0.2.7:5080;lr>, <sip:10.0.0.1;lr>"
    assert message.to == ("192.0.2.7", 5080)


@pytest.mark.parametrize("contact", ["<sip:a@10.0.0.9:5066>", "<sip:a@victim.example>", "<tel:1>"])
def test_our_requests_go_to_nobody_but_who_called(desk: Desk, contact: str) -> None:
    call = desk.talk(contact=contact)
    desk.agent.hang_up(call, desk.now)
    (message,) = desk.sent()
    assert message.to == HERE
    assert message.start == f"BYE {contact[1:-1]} SIP/2.0"


# A call changes


def test_a_call_is_held_and_taken_up_again(desk: Desk) -> None:
    call = desk.talk()
    again = write("INVITE", branch="z9hG4bKtwo", number=2, to_tag=call.tag, body=HOLD)
    (held,) = desk.send(again)
    assert (held.code, "a=recvonly" in held.body) == (200, True)
    assert desk.events() == [Renegotiated(call)]
    assert call.media is not None
    assert not call.media.listens
    assert desk.send(again) == [held]
    desk.send(ack(call, 2))
    taken = OFFER.replace("7000", "7002")
    (back,) = desk.send(
        write("INVITE", branch="z9hG4bKthree", number=3, to_tag=call.tag, body=taken)
    )
    assert "a=sendrecv" in back.body
    desk.send(ack(call, 3))
    assert (call.media.listens, call.media.port) == (True, 7002)
    assert not desk.wait(40)


def test_each_description_of_a_call_has_a_higher_version(desk: Desk) -> None:
    call = desk.invite()
    first = desk.accept(call)
    desk.send(ack(call))
    (again,) = desk.send(write("INVITE", branch="z9hG4bKtwo", number=2, to_tag=call.tag, body=HOLD))
    origins = [message.body.splitlines()[1].split() for message in (first, again)]
    assert origins[0][1] == origins[1][1]
    assert [origin[2] for origin in origins] == ["1", "2"]


def test_a_caller_may_ask_for_our_offer_in_a_call(desk: Desk) -> None:
    call = desk.talk()
    (offer,) = desk.send(write("INVITE", branch="z9hG4bKtwo", number=2, to_tag=call.tag))
    assert "RTP/AVP 0 8 101" in offer.body
    assert not desk.events()
    desk.send(ack(call, 2, OFFER.replace("7000", "7004")))
    assert desk.events() == [Renegotiated(call)]
    assert call.media is not None
    assert call.media.port == 7004


def test_a_change_that_we_cannot_follow_leaves_the_call_as_it_is(desk: Desk) -> None:
    call = desk.talk()
    gsm = OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 3")
    (reply,) = desk.send(write("INVITE", branch="z9hG4bKtwo", number=2, to_tag=call.tag, body=gsm))
    assert reply.code == 488
    assert (call.state, desk.events()) == (State.TALKING, [])


def test_a_change_before_the_call_is_confirmed_comes_too_soon(desk: Desk) -> None:
    call = desk.invite()
    desk.accept(call)
    (reply,) = desk.send(write("INVITE", branch="z9hG4bKtwo", number=2, to_tag=call.tag, body=HOLD))
    assert (reply.code, reply.headers["retry-after"]) == (500, "1")


def test_a_change_of_an_unknown_call_is_refused(desk: Desk) -> None:
    (reply,) = desk.send(write("INVITE", to_tag="nobody", body=OFFER))
    assert reply.code == 481


# Other requests


def test_who_asks_is_told_what_we_can_do(desk: Desk) -> None:
    (reply,) = desk.send(write("OPTIONS"))
    assert (reply.code, reply.headers["accept"]) == (200, "application/sdp")
    assert reply.headers["allow"] == "INVITE, ACK, BYE, CANCEL, OPTIONS"


def test_who_asks_in_a_call_learns_whether_it_is_there(desk: Desk) -> None:
    call = desk.talk()
    (there,) = desk.send(write("OPTIONS", number=2, to_tag=call.tag, branch="z9hG4bKa"))
    (gone,) = desk.send(write("OPTIONS", number=2, to_tag="nobody", branch="z9hG4bKb"))
    assert (there.code, gone.code) == (200, 481)


@pytest.mark.parametrize(("method", "code"), [("REFER", 405), ("INFO", 405), ("DANCE", 501)])
def test_what_we_do_not_do_is_refused(desk: Desk, method: str, code: int) -> None:
    (reply,) = desk.send(write(method))
    assert (reply.code, "INVITE" in reply.headers["allow"]) == (code, True)


def answer_to(headers: dict[str, str], code: int = 200) -> bytes:
    """The other side's answer to a request of ours."""
    lines = [f"{name}: {headers[name]}" for name in ("via", "from", "to", "call-id", "cseq")]
    return "\r\n".join([f"SIP/2.0 {code} OK", *lines, "Content-Length: 0", "", ""]).encode()
