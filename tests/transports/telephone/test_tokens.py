import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrtc.transports.telephone import tokens
from fastrtc.transports.telephone.tokens import LIFETIME, Pass, Seal, Tokens

NOW = 1_700_000_000.0


def test_a_token_is_taken_once() -> None:
    ours = Tokens("secret")
    token = ours.mint(NOW)
    assert ours.spend(token, NOW + 1)
    assert not ours.spend(token, NOW + 1)
    assert not ours.spend(token, NOW + 2)


def test_a_token_says_what_it_was_minted_with() -> None:
    ours = Tokens("secret")
    for again in (False, True):
        token = ours.mint(NOW, "line-1_a", again=again)
        assert ours.read(token) == Pass(int(NOW) + LIFETIME, "line-1_a", again)


def test_a_token_that_is_none_of_ours_says_nothing() -> None:
    token = Tokens("secret").mint(NOW, again=True)
    assert Tokens("other").read(token) is None
    assert Tokens("secret").read(token.replace(".again", "")) is None


def test_a_seal_for_one_purpose_is_none_for_another() -> None:
    sealed = Seal("one", "secret").close("text")
    assert Seal("one", "secret").open(sealed) == "text"
    assert Seal("other", "secret").open(sealed) == ""


def test_no_two_tokens_are_alike() -> None:
    ours = Tokens("secret")
    assert len({ours.mint(NOW) for _ in range(200)}) == 200


def test_each_of_two_tokens_is_taken() -> None:
    ours = Tokens("secret")
    first, second = ours.mint(NOW), ours.mint(NOW)
    assert ours.spend(second, NOW)
    assert ours.spend(first, NOW)


def test_a_token_runs_out() -> None:
    ours = Tokens("secret")
    assert ours.spend(ours.mint(NOW), NOW + LIFETIME)
    assert not ours.spend(ours.mint(NOW), NOW + LIFETIME + 1)


def test_a_spent_token_is_not_taken_up_to_its_very_end() -> None:
    ours = Tokens("secret")
    token = ours.mint(NOW)
    ours.spend(token, NOW)
    assert not ours.spend(token, NOW + LIFETIME)
    assert not ours.spend(token, NOW + LIFETIME + 1)


def test_another_process_with_the_same_secret_takes_a_token() -> None:
    assert Tokens("secret").spend(Tokens("secret").mint(NOW), NOW)


@pytest.mark.parametrize("secret", ["", "Secret", "secret "])
def test_a_token_of_another_secret_is_not_taken(secret: str) -> None:
    assert not Tokens("secret").spend(Tokens(secret).mint(NOW), NOW)


def test_a_token_does_not_show_the_secret() -> None:
    token = Tokens("secret").mint(NOW)
    assert "secret" not in token
    assert base64.urlsafe_b64encode(b"secret").decode().rstrip("=") not in token


def test_a_token_can_stand_in_an_address_as_it_is() -> None:
    token = Tokens("secret").mint(NOW)
    assert token.isascii()
    assert token.replace(".", "").replace("-", "").replace("_", "").isalnum()


@given(st.data())
@settings(deadline=None, max_examples=80)
def test_a_token_that_was_changed_anywhere_is_not_taken(data: st.DataObject) -> None:
    ours = Tokens("secret")
    token = ours.mint(NOW)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.text(max_size=2).filter(lambda text: text != token[at]))
    assert not ours.spend(token[:at] + other + token[at + 1 :], NOW)
    assert ours.spend(token, NOW)


def test_a_token_cannot_be_given_a_longer_life() -> None:
    ours = Tokens("secret")
    until, rest = ours.mint(NOW).split(".", 1)
    assert not ours.spend(f"{int(until, 16) + 1000:x}.{rest}", NOW)


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=80)
def test_what_is_no_token_is_not_taken_and_no_error(text: str) -> None:
    assert not Tokens("secret").spend(text, NOW)


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "\ud800.a.b", "é.é.é"])
def test_these_are_no_tokens(text: str) -> None:
    assert not Tokens("secret").spend(text, NOW)


def test_a_text_that_is_far_too_long_is_no_token() -> None:
    assert not Tokens("secret").spend("0" * 100_000, NOW)


def test_when_too_many_are_spent_none_is_taken_until_older_ones_have_run_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "MOST_SPENT", 3)
    ours = Tokens("secret")
    spent = [ours.mint(NOW) for _ in range(3)]
    assert [ours.spend(token, NOW) for token in spent] == [True] * 3
    later = ours.mint(NOW + 200)
    assert not ours.spend(later, NOW + 200)
    assert not any(ours.spend(token, NOW + 200) for token in spent)
    assert ours.spend(later, NOW + LIFETIME + 1)
