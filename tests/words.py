"""What is said in the recordings, and how much of it was read."""

from __future__ import annotations

import re

BECKETT = "ever tried ever failed no matter try again fail again fail better"
TWO_CITIES = (
    "it was the best of times it was the worst of times it was the age of wisdom "
    "it was the age of foolishness it was the epoch of belief it was the epoch of incredulity "
    "it was the season of light it was the season of darkness it was the spring of hope "
    "it was the winter of despair we had everything before us we had nothing before us "
    "we were all going direct to heaven we were all going direct the other way "
    "in short the period was so far like the present period that some of its noisiest authorities "
    "insisted on its being received for good or for evil "
    "in the superlative degree of comparison only"
)


def words(text: str) -> str:
    """Without punctuation and capitals."""
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def word_error_rate(read: str, said: str) -> float:
    """Words to insert, to leave out and to replace, as a share of those that were said."""
    left, right = words(read).split(), words(said).split()
    row = list(range(len(right) + 1))
    for count, ours in enumerate(left, 1):
        before, row = row, [count]
        for place, theirs in enumerate(right):
            replaced = before[place] + (ours != theirs)
            row.append(min(replaced, before[place + 1] + 1, row[place] + 1))
    return row[-1] / len(right)
