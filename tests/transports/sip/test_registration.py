import re

import pytest

from fastrtc.transports.sip.account import SipAccount, answer_challenge, read_challenge
from fastrtc.transports.sip.registration import RETRY_SECONDS, Registration
from tests.transports.sip.phone import US, Desk, Message

EXCHANGE = ("192.0.2.50", 5060)
ACCOUNT = SipAccount("pbx.example", "talk", "secret")
CHALLENGE = (
    'Digest realm="pbx, \\"one\\"", nonce="n1", qop="auth-int,auth", opaque="o", algorithm=MD5'
)


class Exchange:
    """An account, and the registrar that it is at."""

    def __init__(self, account: SipAccount = ACCOUNT) -> None:
        self.desk = Desk()
        self.account = Registration(self.desk.agent, account)
        self.account.register(US, EXCHANGE, self.desk.now)

    def asked(self) -> Message:
        (message,) = self.desk.sent()
        assert (message.method, message.to) == ("REGISTER", EXCHANGE)
        return message

    def answer(self, message: Message, code: int, *lines: str) -> None:
        kept = ("via", "from", "to", "call-id", "cseq")
        head = [f"SIP/2.0 {code} x", *(f"{name}: {message.headers[name]}" for name in kept)]
        data = "\r\n".join([*head, *lines, "", ""]).encode()
        self.desk.agent.receive(data, EXCHANGE, self.desk.now)


def test_an_account_is_registered_and_registered_again_in_time() -> None:
    exchange = Exchange()
    asked = exchange.asked()
    assert asked.start == "REGISTER sip:pbx.example SIP/2.0"
    assert asked.headers["contact"] == "<sip:talk@198.51.100.1:5060>;expires=300"
    contacts = "Contact: <sip:talk@192.0.2.1>;expires=9, <sip:talk@198.51.100.1:5060>;expires=100"
    exchange.answer(asked, 200, contacts)
    assert exchange.account.registered
    assert exchange.account.due == exchange.desk.now + 80
    assert not exchange.desk.agent.busy


@pytest.mark.parametrize(
    ("code", "asks", "shows"),
    [
        (401, "WWW-Authenticate", "authorization"),
        (407, "Proxy-Authenticate", "proxy-authorization"),
    ],
)
def test_an_exchange_that_asks_for_the_password_is_shown_it(
    code: int, asks: str, shows: str
) -> None:
    exchange = Exchange()
    first = exchange.asked()
    exchange.answer(first, code, f"{asks}: Basic realm=x", f"{asks}: {CHALLENGE}")
    second = exchange.asked()
    assert second.headers["call-id"] == first.headers["call-id"]
    assert second.headers["cseq"] == "2 REGISTER"
    proof = second.headers[shows]
    cnonce = re.search(r'cnonce="(\w+)"', proof)
    assert cnonce is not None
    challenge = read_challenge(CHALLENGE)
    assert challenge is not None
    assert challenge["realm"] == 'pbx, "one"'
    uri = "sip:pbx.example"
    assert proof == answer_challenge(challenge, "REGISTER", uri, "talk", "secret", cnonce[1])
    exchange.answer(second, 200, "Expires: 60")
    assert exchange.account.due == exchange.desk.now + 48


def test_a_wrong_password_is_not_shown_again_at_once() -> None:
    exchange = Exchange()
    exchange.answer(exchange.asked(), 401, f"WWW-Authenticate: {CHALLENGE}")
    exchange.answer(exchange.asked(), 401, f"WWW-Authenticate: {CHALLENGE}")
    assert not exchange.desk.sent()
    assert not exchange.account.registered
    assert exchange.account.due == exchange.desk.now + RETRY_SECONDS


@pytest.mark.parametrize(
    "challenge", ["Basic realm=x", 'Digest realm="x"', "Digest nonce=1, algorithm=SHA-512", ""]
)
def test_a_challenge_that_we_do_not_know_is_a_refusal(challenge: str) -> None:
    exchange = Exchange()
    exchange.answer(exchange.asked(), 401, f"WWW-Authenticate: {challenge}")
    assert not exchange.desk.sent()
    assert exchange.account.due == exchange.desk.now + RETRY_SECONDS


def test_an_exchange_that_does_not_answer_is_asked_again_later() -> None:
    exchange = Exchange()
    exchange.asked()
    assert len(exchange.desk.wait(31)) == 9
    exchange.desk.wait(2)
    assert not exchange.desk.agent.busy
    assert exchange.account.due is not None
    assert exchange.account.due - exchange.desk.now < RETRY_SECONDS


def test_an_exchange_that_wants_longer_registrations_gets_them() -> None:
    exchange = Exchange()
    exchange.answer(exchange.asked(), 423, "Min-Expires: 600")
    asked = exchange.asked()
    assert asked.headers["expires"] == "600"
    exchange.answer(asked, 423, "Min-Expires: 600")
    assert not exchange.desk.sent()


def test_a_line_that_closes_is_registered_no_more() -> None:
    exchange = Exchange()
    exchange.answer(exchange.asked(), 200)
    exchange.account.leave(exchange.desk.now)
    asked = exchange.asked()
    assert asked.headers["expires"] == "0"
    exchange.answer(asked, 401, f"WWW-Authenticate: {CHALLENGE}")
    exchange.answer(exchange.asked(), 200)
    assert not exchange.account.registered
    assert not exchange.desk.wait(40)


def test_what_was_never_registered_need_not_leave() -> None:
    exchange = Exchange()
    exchange.asked()
    exchange.account.leave(exchange.desk.now)
    assert not exchange.desk.sent()


def test_the_digest_is_that_of_the_standard() -> None:
    """RFC 2617, 3.5."""
    challenge = read_challenge(
        'Digest realm="testrealm@host.com", qop="auth,auth-int", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    assert challenge is not None
    args = ("GET", "/dir/index.html", "Mufasa", "Circle Of Life", "0a4f113b")
    proof = answer_challenge(challenge, *args)
    assert proof is not None
    assert 'response="6629fae49393a05397450978507c4ef1"' in proof
    assert "nc=00000001" in proof


def test_the_digest_of_an_old_exchange_has_no_count() -> None:
    """RFC 2069, with the response that its errata give."""
    challenge = read_challenge(
        'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'
    )
    assert challenge is not None
    args = ("GET", "/dir/index.html", "Mufasa", "CircleOfLife", "unused")
    proof = answer_challenge(challenge, *args)
    assert proof is not None
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in proof
    assert "cnonce" not in proof


@pytest.mark.parametrize("registrar", ["", ":5060", "pbx.example:sip"])
def test_a_registrar_that_is_none_is_an_error(registrar: str) -> None:
    with pytest.raises(ValueError, match="expected a registrar"):
        _ = SipAccount(registrar, "talk", "secret").place


def test_a_password_is_not_shown_by_accident() -> None:
    assert "secret" not in repr(ACCOUNT)
