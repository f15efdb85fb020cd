"""The picture of a call: complete, well-formed, and small enough whatever the call was like."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np

from fastrtc.audio.convert import Pcm
from fastrtc.testing.picture import EDGE, MARGIN, SCALE, Decided, draw
from fastrtc.turns.endpointing import Evidence, Opinion
from fastrtc.turns.options import STEP_SECONDS
from fastrtc.turns.record import Heard, Step, Turn
from tests.conftest import tone

SVG = "{http://www.w3.org/2000/svg}"
EMPTY: Pcm = np.zeros((1, 0), np.int16)


def picture(
    said: Pcm = EMPTY,
    heard: Pcm = EMPTY,
    steps: list[Step] | None = None,
    turns: list[Turn] | None = None,
    decisions: list[Decided] | None = None,
) -> ET.Element:
    text = draw(
        rate=16_000,
        said=said,
        heard_rate=24_000,
        heard=heard,
        steps=steps or [],
        turns=turns or [],
        decisions=decisions or [],
    )
    return ET.fromstring(text)


def kind(root: ET.Element, name: str) -> list[ET.Element]:
    return [e for e in root.iter() if e.get("class") == name]


def texts(root: ET.Element) -> list[str]:
    return [e.text or "" for e in root.iter(f"{SVG}text")]


def steps(*stretches: tuple[str, int], probability: float = 0.5) -> list[Step]:
    states = [state for state, count in stretches for _ in range(count)]
    return [
        Step((n + 1) * STEP_SECONDS, probability, -30.0, -100.0, state)
        for n, state in enumerate(states)
    ]


def turn(**changes: Any) -> Turn:
    evidence = Evidence(Opinion(0.97, "I go to the station."), 1.9, 0.98, 0.2)
    given: dict[str, Any] = {
        "number": 1,
        "speech_start": 1.0,
        "speech_end": 2.9,
        "decided": 3.11,
        "evidence": evidence,
        "first_output": 3.15,
        "first_sound": 3.2,
        "reply_end": 5.0,
        "heard": Heard(1.8, "Platform two."),
    }
    return Turn(**{**given, **changes})


def wave(root: ET.Element, name: str) -> list[tuple[float, float, float]]:
    """The strokes of a sound: x, upper and lower end; without the line in the middle."""
    (path,) = kind(root, name)
    found = []
    for stroke in (path.get("d") or "").split("M")[2:]:
        x, rest = stroke.split(" ")
        upper, lower = rest.split("V")
        found.append((float(x), float(upper), float(lower)))
    return found


def test_a_call_without_anything_is_a_picture_too() -> None:
    root = picture()
    assert root.tag == f"{SVG}svg"
    for name in ("said", "heard", "voice", "floor", "axis"):
        assert len(kind(root, name)) == 1, name
    assert wave(root, "said") == wave(root, "heard") == []
    assert {"caller", "heard", "floor", "turns", "silent"} <= set(texts(root))


def test_a_second_of_sound_takes_as_many_pixels_as_the_scale_says() -> None:
    root = picture(said=tone(10.0, 16_000)[1])
    assert int(root.get("width") or 0) == MARGIN + 10 * SCALE + EDGE


def test_sound_is_drawn_when_it_was() -> None:
    said = np.concatenate([np.zeros((1, 16_000), np.int16), tone(0.5, 16_000)[1]], axis=1)
    xs = [x for x, _, _ in wave(picture(said=said), "said")]
    assert abs(xs[0] - MARGIN - SCALE) <= 1
    assert abs(xs[-1] - MARGIN - 1.5 * SCALE) <= 2


def test_a_lane_is_as_high_as_its_loudest_sample() -> None:
    said, heard = tone(1.0, 16_000, amplitude=3_000)[1], tone(1.0, 24_000, amplitude=24_000)[1]
    root = picture(said=said, heard=heard)
    heights = [max(lower - upper for _, upper, lower in wave(root, n)) for n in ("said", "heard")]
    assert abs(heights[0] - heights[1]) < 1


def test_the_noise_of_a_silent_lane_does_not_look_like_a_voice() -> None:
    noise = np.random.default_rng(1).normal(0, 8, (1, 32_000)).astype(np.int16)
    strokes = wave(picture(said=noise), "said")
    assert all(lower - upper < 4 for _, upper, lower in strokes)


def test_the_loudest_samples_of_both_signs_fit_in() -> None:
    said = np.full((1, 16_000), -32_768, np.int16)
    said[:, 8_000:] = 32_767
    root = picture(said=said)
    assert "peak 0 dB" in texts(root)
    assert all(0 < upper <= lower < 200 for _, upper, lower in wave(root, "said"))


def test_all_channels_of_what_was_heard_are_seen() -> None:
    stereo = np.zeros((2, 24_000), np.int16)
    stereo[1, 12_000:] = 9_000
    xs = [x for x, _, _ in wave(picture(heard=stereo), "heard")]
    assert abs(xs[0] - MARGIN - SCALE / 2) <= 1


def test_the_probability_is_a_line_over_the_callers_sound() -> None:
    low = picture(steps=steps(("listening", 30), probability=0.0))
    high = picture(steps=steps(("listening", 30), probability=1.0))

    def line(root: ET.Element) -> list[float]:
        (found,) = kind(root, "voice")
        return [float(p.split(",")[1]) for p in (found.get("points") or "").split()]

    assert len(line(low)) == 30
    assert min(line(low)) > max(line(high))


def test_the_floor_is_one_box_for_each_stretch_with_its_name() -> None:
    root = picture(steps=steps(("listening", 40), ("speaking", 60), ("a new state", 40)))
    (floor,) = kind(root, "floor")
    boxes = floor.findall(f"{SVG}rect")
    assert [box.findtext(f"{SVG}title") for box in boxes] == [
        "listening",
        "speaking",
        "a new state",
    ]
    assert abs(float(boxes[1].get("x") or 0) - MARGIN - 40 * STEP_SECONDS * SCALE) < 0.1
    assert {"listening", "speaking", "a new state"} <= set(texts(root))


def test_a_name_that_does_not_fit_is_a_tooltip_only() -> None:
    root = picture(steps=steps(("listening", 40), ("starting", 2), ("speaking", 40)))
    assert "starting" not in texts(root)
    assert "starting" in [e.text for e in root.iter(f"{SVG}title")]


def test_decisions_are_ticks_with_their_reasons() -> None:
    decided = [(1.0, "user started", ""), (2.0, "user finished", "98 % · 0.20 s · …station.")]
    root = picture(decisions=decided, said=tone(8.0, 16_000)[1])
    assert len(kind(root, "decision")) == 2
    assert "user started" in texts(root)
    assert "user finished · 98 % · 0.20 s · …station." in texts(root)


def test_labels_that_are_close_lie_on_different_lines() -> None:
    decided = [(1.0 + n / 10, "user may have finished", "0.31") for n in range(5)]
    root = picture(decisions=decided, said=tone(8.0, 16_000)[1])
    (words,) = kind(root, "why")
    lines = [e.get("y") for e in words]
    assert len(set(lines)) == 5


def test_labels_at_the_end_of_a_row_stay_inside() -> None:
    decided = [(n, "user may have finished", "x" * 500) for n in (0.1, 7.7, 7.8, 7.9, 8.0)]
    root = picture(decisions=decided, said=tone(8.0, 16_000)[1])
    (words,) = kind(root, "why")
    assert [e.get("text-anchor") for e in words] == [None, "end", "end", "end", "end"]
    assert len({e.get("y") for e in words}) >= 4


def test_too_many_decisions_are_ticks_without_labels() -> None:
    decided = [(1.0 + n / 1000, "user went on", "again") for n in range(500)]
    root = picture(decisions=decided, said=tone(8.0, 16_000)[1])
    assert len(kind(root, "decision")) == 500
    assert texts(root).count("user went on · again") < 20


def test_a_turn_is_a_bar_with_its_times_and_a_line_of_words() -> None:
    root = picture(turns=[turn()])
    (bar,) = kind(root, "turn")
    assert len(bar.findall(f"{SVG}rect")) == 4
    assert "1 · reply after 0.30 s" in texts(root)
    assert texts(root)[-1] == (
        "Turn 1 · spoke 1.9 s · decided after 0.21 s (98 % finished: “I go to the station.”)"
        " · first sound 0.30 s · heard 1.8 s: “Platform two.”"
    )


def test_all_that_may_happen_to_a_turn_is_told() -> None:
    one = turn(speculated=2, interrupted=True, false_alarms=[(3.5, 0.4)], error="ValueError: no")
    root = picture(turns=[one])
    words = texts(root)[-1]
    for part in (
        "early replies discarded: 2",
        "held for nothing 0.40 s",
        "interrupted",
        "failed: ValueError: no",
    ):
        assert part in words
    assert "1 · reply after 0.30 s · interrupted · failed" in texts(root)
    assert len(kind(root, "turn")[0].findall(f"{SVG}rect")) == 5


def test_turns_of_which_little_is_known_are_drawn() -> None:
    silent = {"speech_start": None, "speech_end": None, "evidence": None, "heard": Heard()}
    greeting = turn(**silent, decided=None)
    forced = turn(**silent, number=2)
    timed = turn(number=3, evidence=None)
    root = picture(turns=[greeting, forced, timed, Turn(4), Turn(5, speech_start=1.0)])
    words = [e.text for e in kind(root, "told")]
    assert words == [
        "Turn 1 · greeting · first sound at 3.20 s",
        "Turn 2 · nothing said · first sound at 3.20 s",
        "Turn 3 · spoke 1.9 s · decided after 0.21 s · first sound 0.30 s"
        " · heard 1.8 s: “Platform two.”",
        "Turn 4 · greeting",
        "Turn 5",
    ]


def test_turns_that_overlap_are_drawn_below_each_other() -> None:
    later = turn(number=2, speech_start=4.0, speech_end=6.0, decided=6.2, first_sound=6.3)
    after = turn(number=3, speech_start=8.0, speech_end=8.6, decided=8.8, first_sound=9.0)
    for one in (later, after):
        one.first_output = one.reply_end = None
    root = picture(turns=[turn(), later, after])
    tops = {
        (group.findtext(f"{SVG}title") or "")[:6]: group.findall(f"{SVG}rect")[0].get("y")
        for group in kind(root, "turn")
    }
    assert tops["Turn 1"] == tops["Turn 3"]
    assert tops["Turn 1"] != tops["Turn 2"]


def test_a_call_of_over_twenty_seconds_has_rows_of_the_same_length() -> None:
    root = picture(said=tone(50.0, 16_000)[1], steps=steps(("listening", 1560)))
    assert len(kind(root, "said")) == 3
    assert int(root.get("width") or 0) < MARGIN + 20 * SCALE + EDGE
    assert {"0:00", "0:17", "0:49"} <= set(texts(root))


def test_what_happens_between_two_rows_is_drawn_once_and_at_the_end_too() -> None:
    decided = [(at, "false alarm", "") for at in (-1.0, 0.0, 15.0, 30.0)]
    root = picture(said=tone(30.0, 16_000)[1], decisions=decided)
    assert len(kind(root, "decision")) == 4


def test_a_turn_over_the_end_of_a_row_is_in_both() -> None:
    one = turn(speech_start=12.0, speech_end=14.9, decided=15.1, first_sound=15.3, reply_end=18.0)
    root = picture(said=tone(30.0, 16_000)[1], turns=[one])
    assert len(kind(root, "turn")) == 2
    assert len(kind(root, "told")) == 1


def test_an_hour_is_drawn_smaller_and_stays_small() -> None:
    said = np.random.default_rng(1).integers(-9_000, 9_000, (1, 3_600 * 16_000), np.int16)
    probability = np.random.default_rng(2).random(112_500)
    found = [
        Step((n + 1) * STEP_SECONDS, float(p), -30.0, -30.0, "speaking")
        for n, p in enumerate(probability)
    ]
    text = draw(
        rate=16_000,
        said=said,
        heard_rate=16_000,
        heard=said,
        steps=found,
        turns=[],
        decisions=[],
    )
    assert len(text) < 10_000_000
    root = ET.fromstring(text)
    assert int(root.get("width") or 0) <= MARGIN + 20 * SCALE + EDGE
    assert len(kind(root, "said")) == 60


def test_text_is_escaped_and_what_no_xml_may_have_is_left_out() -> None:
    evil = "<script>&\"']]>\x00\x1b\ud800\ufffe"
    one = turn(evidence=Evidence(Opinion(None, evil), 1.0, 0.5, 1.0), error=evil)
    root = picture(
        steps=steps((evil * 2, 120)),
        turns=[one],
        decisions=[(1.0, evil, evil)],
        said=tone(9.0, 16_000)[1],
    )
    assert not list(root.iter(f"{SVG}script"))
    shown = "<script>&\"']]>" + "\ufffd" * 4
    assert f"{shown} · {shown}" in texts(root)


def test_numbers_that_are_none_break_nothing() -> None:
    nan, inf = float("nan"), float("inf")
    root = picture(
        steps=[Step(nan, 0.5, nan, nan, "x"), Step(1.0, nan, -inf, nan, "speaking")],
        turns=[turn(speech_start=nan, reply_end=inf, false_alarms=[(nan, 1.0)])],
        decisions=[(nan, "false alarm", ""), (inf, "false alarm", ""), (1.0, "user started", "")],
    )
    assert len(kind(root, "decision")) == 1
    for element in root.iter():
        for name, value in element.attrib.items():
            if name in ("x", "y", "d", "points", "width", "height"):
                assert "nan" not in value
                assert "inf" not in value


def test_an_absurdly_long_call_is_drawn() -> None:
    root = picture(decisions=[(1e9, "user started", "")])
    assert len(kind(root, "decision")) == 1
