"""What is said for a text as it is written."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrtc.models.tts.text import speakable

MARKDOWN = "*`#|[]<>_~^\\{}"
PIECES = st.sampled_from(
    [
        *("**", "*", "_", "`", "```\n", "~~", "# ", "- ", "1. ", "> ", "| ", "\n", "[", "]("),
        *(")", "<b>", "<", "![", "http://a.b/c", "a@b.c", "$", "\u20ac1.5M", "1/2", "10:30"),
        *("2024-99-12", "1999", "555-1234", "Dr. ", "e.g. ", "U.S.", "St. ", "\u200d", "\ud800"),
        *("\U0001f44d\U0001f3fd", "\u0663:\u0660\u0665", "²", " ", "word", "&amp;", "&#0;"),
        "...",
    ]
)


def says(written: str, spoken: str) -> None:
    assert speakable(written) == spoken


# Markdown


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("**Bold**, *slanted* and ~~struck~~ `code`.", "Bold, slanted and struck code."),
        ("**one, ", "one,"),
        ("two**", "two"),
        ("# A title\n\nA text.", "A title. A text."),
        ("- one\n- two\n  and more\n", "one. two and more."),
        ("- [x] done\n- [ ] open", "done. open"),
        ("1. First\n2. Second", "1. First. 2. Second"),
        ("> A quote.\n> And more.", "A quote. And more."),
        ("One\n\n---\n\nTwo", "One. Two"),
        ("One line\nand its rest", "One line and its rest"),
        ("See [the docs](https://x.org/a_(b)).", "See the docs."),
        ("![a cat](cat.png)", "a cat"),
        ("![](cat.png)", ""),
        ("| a | b |\n|---|:-:|\n| 1 | 2 |\n", "a, b. 1, 2."),
        ("Look:\n```python\nx = 1\n```\nThat is all.", "Look: That is all."),
        ("Look:\n```\nx = 1", "Look:"),
        ("<b>Hi</b><br/> there<!-- nobody -->", "Hi there"),
        ("Fish &amp; chips", "Fish & chips"),
        ("foo_bar and __init__", "foo bar and init"),
        ("2*3 and 2 * 3", "2 times 3 and 2 times 3"),
    ],
)
def test_markdown_is_not_read(written: str, spoken: str) -> None:
    says(written, spoken)


@pytest.mark.parametrize(
    "emoji", ["🎉", "👍🏽", "👩\u200d👩\u200d👧", "❤\ufe0f", "🇫🇷", "✓", "☎\ufe0f", "™"]
)
def test_pictographs_are_not_read(emoji: str) -> None:
    says(f"Great! {emoji} Go{emoji}.", "Great! Go.")
    says(emoji, "")


@pytest.mark.parametrize("written", ["", " \n ", "...", "---", "**", "?!", "```"])
def test_a_text_without_words_is_nothing_to_say(written: str) -> None:
    says(written, "")


# What espeak-ng says well by itself


@pytest.mark.parametrize(
    "text",
    [
        *("50% of R&D.", "The 2nd and 21st.", "NASA, USB, API and GPU.", "-5", "1 + 1 = 2", "OK?"),
        *("COVID-19", "A 10-year-old.", "Don\u2019t say “no” (ever)…", "In 2005.", "No. I do not."),
    ],
)
def test_what_is_read_well_is_left_alone(text: str) -> None:
    says(text, text)


@given(st.text() | st.lists(PIECES).map("".join))
def test_no_mark_is_left_inside_a_word(text: str) -> None:
    assert not re.search(r"\w[.,:;!?]+\w", speakable(text))


# What it does not


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Dr. Smith met Mr. and Mrs. Jones.", "Doctor Smith met Mister and Missus Jones."),
        ("Ms. Lee, Ms Poe, Prof. Plum", "Miz Lee, Miz Poe, Professor Plum"),
        ("St. Paul on Main St. near 5th St.", "Saint Paul on Main Street near 5th Street."),
        ("He lives on Main St.", "He lives on Main Street."),
        ("e.g. this, i.e. that vs. them", "for example this, that is that versus them"),
        ("tea etc. and cake etc.", "tea et cetera and cake et cetera."),
        ("tea etc. Then cake", "tea et cetera. Then cake"),
        ("No. 5 on pp. 3-5 of Vol. 2", "number 5 on pages 3 to 5 of volume 2"),
        ("approx. 10", "approximately 10"),
        ("Jan. 5, Nov. 3rd, in Dec. we", "January 5, November 3rd, in December we"),
        ("J. R. R. Tolkien and J. Smith", "J-R-R Tolkien and J Smith"),
        ("U.S. law in the U.S.", "U-S law in the U-S."),
        ("It is plan B. Then go", "It is plan B. Then go"),
        ("World War II, Henry VIII", "World War 2, Henry the 8th"),
    ],
)
def test_abbreviations_are_written_out(written: str, spoken: str) -> None:
    says(written, spoken)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("$5.99, $1, $0.50", "5 dollars and 99 cents, 1 dollar, 50 cents"),
        ("€3.5 million, $2M", "3 point 5 million euros, 2 million dollars"),
        ("£2.01, $1,000.00", "2 pounds and 1 penny, 1000 dollars"),
        ("$20/month, $5-$10", "20 dollars per month, 5 dollars to 10 dollars"),
        ("10:30 and 14:05", "10 30 and 14 oh 5"),
        ("10:00, 14:00, 0:00", "10 o'clock, 14 hundred, midnight"),
        ("7pm, 7:30 p.m. or 8 a.m.", "7 PM, 7 30 PM or 8 AM."),
        ("2026-11-22", "November 22nd, 20 26"),
        ("12/25/2005 and 25/12/2005", "December 25th, 2005 and December 25th, 2005"),
        ("99/99/2005", "99 99 2005"),
        ("1999, 1905, 1800, 2024", "19 99, 19 oh 5, 18 hundred, 20 24"),
        ("the 1980s, '90s, 2000s", "the 19 eighties, nineties, two thousands"),
        ("1990-2000", "19 90 to 2000"),
        ("call 555-1234", "call 5 5 5, 1 2 3 4"),
        ("+1 (555) 123-4567", "plus 1, 5 5 5, 1 2 3, 4 5 6 7"),
        ("007 and 12345678901", "0 0 7 and 1 2 3 4 5 6 7 8 9 0 1"),
        ("3.11.2 and v2.0", "3 point 11 point 2 and version 2 point 0"),
        ("192.168.1.1", "192 dot 168 dot 1 dot 1"),
        ("1/2, 3/4, 2 1/2, 1½", "one half, 3 quarters, 2 and one half, 1 and a half"),
        ("24/7, 9/10", "24 7, 9 out of 10"),
        ("3-5, 3 \u2013 5, 5 - 3", "3 to 5, 3 to 5, 5 minus 3"),
        ("5 kg, 1 km, 1 ft, 3 m", "5 kilograms, 1 kilometer, 1 foot, 3 meters"),
        ("20°C, 90°, 60 km/h", "20 degrees Celsius, 90 degrees, 60 kilometers per hour"),
        ("1,234,567 or 3.14", "1234567 or 3 point 1 4"),
        (".5 of x²", "point 5 of x squared"),
    ],
)
def test_numbers_are_read_as_people_do(written: str, spoken: str) -> None:
    says(written, spoken)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("#1, ~5 and x < 3", "number 1, about 5 and x less than 3"),
        ("C# and #news", "C sharp and hashtag news"),
        ("and/or, he/she, TCP/IP", "and or, he or she, TCP IP"),
        ("yes - no \u2013 so", "yes — no — so"),
        ("a -> b", "a to b"),
        ("Go to www.example.org.", "Go to www dot example dot org."),
        ("https://example.com/path/?q=1#top!", "example dot com slash path!"),
        ("joe.b@example.com", "joe dot b at example dot com"),
        ("Node.js and .NET", "Node dot js and dot NET"),
        ("key " + "aB3" * 50 + " end", "key end"),
    ],
)
def test_signs_and_addresses_are_read_in_words(written: str, spoken: str) -> None:
    says(written, spoken)


# Whatever comes


@given(st.text() | st.lists(PIECES | st.text(max_size=5)).map("".join))
def test_no_text_fails_or_leaves_markdown(text: str) -> None:
    spoken = speakable(text)
    assert not set(spoken) & set(MARKDOWN)
    assert not any("\U0001f000" <= letter <= "\U0001faff" for letter in spoken)
    assert not any("\ud800" <= letter <= "\udfff" for letter in spoken)
    assert spoken == " ".join(spoken.split())


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "a",
            "[",
            "](",
            "<a ",
            "1-",
            "1.",
            "1/",
            "A. ",
            "http://a.",
            "a.b@",
            "*",
            "`",
            "\n",
            "> ",
        ),
        *(" ", "Dr. Smith has 5 kg of [x](http://y.org) on Jan. 5, 2024. "),
    ],
)
def test_a_long_text_takes_no_second(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    began = time.process_time()
    speakable(text)
    assert time.process_time() - began < 1.0
