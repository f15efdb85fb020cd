"""How `fastrtc serve` reads what it is given, before anything of Ray is loaded."""

from __future__ import annotations

import argparse

import pytest

from fastrtc.admission import DEFAULT_LIMIT
from fastrtc.cluster import GRACE
from fastrtc.cluster.command import add_to


def read(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_to(parser)
    return parser.parse_args(["app:stream", *arguments])


def test_it_has_the_defaults_of_one_replica() -> None:
    options = read()
    assert (options.replicas, options.slots, options.grace) == ((1, 1), DEFAULT_LIMIT, GRACE)
    assert options.address is None


@pytest.mark.parametrize(("text", "replicas"), [("3", (3, 3)), ("2-8", (2, 8))])
def test_replicas_are_a_number_or_a_range(text: str, replicas: tuple[int, int]) -> None:
    assert read("--replicas", text).replicas == replicas


@pytest.mark.parametrize(
    ("option", "wrong", "says"),
    [
        ("--replicas", "many", "expected N or MIN-MAX, got 'many'"),
        ("--replicas", "0", "expected 1 or more, and MIN up to MAX, got '0'"),
        ("--replicas", "8-2", "expected 1 or more, and MIN up to MAX, got '8-2'"),
        ("--slots", "0", "expected 1 call or more, got '0'"),
        ("--slots", "ten", "expected 1 call or more, got 'ten'"),
        ("--grace", "inf", "expected 0 s or more, got 'inf'"),
        ("--grace", "nan", "expected 0 s or more, got 'nan'"),
        ("--grace", "a minute", "expected 0 s or more, got 'a minute'"),
    ],
)
def test_what_it_cannot_use_is_refused_in_words(
    option: str, wrong: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read(option, wrong)
    assert says in capsys.readouterr().err
