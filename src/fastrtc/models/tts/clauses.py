"""Text that comes whole or in pieces, cut into clauses to be spoken one at a time.

A voice makes sound at about half of real time, a clause at once, so what it is given decides when
the sound begins and whether it ever stops in between:

1. The first clause is short (its first comma, else about 35 characters), as nothing is heard
   before all of it is made.
2. A later one may be as long as all that went before it, since it is made while that is heard, and
   takes more than half as long to make on a busy machine. From then on a clause is a sentence, or
   part of one that is longer than 60 characters.
3. A clause is whole when its mark has come and what tells that mark from others: the blank behind
   "3." that "3.14" has not, the small letter behind "etc.". Nothing waits for more than that.
4. Where a text is cut depends on the text, never on the pieces it came in: a place is judged only
   when all has come that may change the judgement, from left to right.
5. The lines of a code block or a table count one by one: the first are not spoken, the second are
   whole when they end. So no more is ever kept than the longest clause.

What is said for a clause is `fastrtc.models.tts.text.speakable`, which takes parts of markdown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from fastrtc.models.tts.text import (
    FENCE,
    LABELLED,
    LEADS,
    MAY_END,
    MONTHS,
    NUMBERED,
    TITLES,
    speakable,
)

COMMA: Final = 0.1
"""Seconds of silence behind a comma or a semicolon."""
DASH: Final = 0.2
"""The same behind a colon, a dash or three dots."""
SENTENCE: Final = 0.35
"""The same behind a full stop, a question mark or an exclamation mark."""
PARAGRAPH: Final = 0.6
"""The same at the end of a line that ends a sentence, a paragraph, a heading or an item."""

EARLY: Final = 35
"""Characters without a mark after which an early clause is cut before a small word."""
EARLY_LONGEST: Final = 45
"""Characters of an early clause that is cut at any blank."""
EARLY_SHORTEST: Final = 12
EARLY_WORDS: Final = 3
"""What an early clause has at least where it is cut before a small word."""
FULL: Final = 60
"""Characters from which a later clause is cut at a comma."""
LONGEST: Final = 150
"""Characters of a later clause, which is cut at the best place then."""
LONGEST_WORD: Final = 300
"""Characters. A longer run without a blank is cut anywhere, and is not spoken: it is no word."""


@dataclass(frozen=True)
class Clause:
    """What is spoken at once."""

    text: str
    """As it was written, with a blank behind it. All of them joined are the whole text."""
    spoken: str
    """What to say. "" where there is nothing to say, as for a line of code or an emoji."""
    pause: float
    """Seconds of silence that belong behind it."""


class _Line(Enum):
    """What the line is that a clause begins in."""

    PROSE = auto()
    HEADING = auto()
    """Ends with its line, as a row does."""
    ROW = auto()
    """Of a table, or a rule: one clause."""
    CODE = auto()


_SMALL_WORD: Final = re.compile(
    r"\s(?=(?:about|after|although|and|as|at|because|before|between|but|by|during|for|from|if|in|"
    r"into|of|on|or|over|since|so|than|that|though|through|to|under|unless|until|when|where|which|"
    r"while|who|whose|with|without)\s)"
)
_BLANK_AFTER_WORD: Final = re.compile(r"(?<=[^\W\d_])\s")
"""Not the one in "5 apples" or "Dr. Smith"."""
_BLANK: Final = re.compile(r"\s")
_MARK: Final = re.compile(
    r"(?:[.!?\u2026]{1,20}|[,;:\u2014])[\"'\u201d\u2019)\]*_`]{0,8}|[ \t](?:--?|\u2013)|\n"
)
_MARK_REACH: Final = 3
"""Characters that tell whether there is a mark."""
_CLOSING: Final = "\"'\u201d\u2019)]*_`"
_OPENING: Final = "\"'\u201c\u2018([*_`"
_BLANK_LINE: Final = re.compile(r"[ \t\r]{0,8}\n")
_LINE_START: Final = re.compile(
    r"[ \t]{0,8}(?:(?:[-*+\u2022>]|\d{1,3}[.)])[ \t]|(?P<heading>#{1,6})[ \t]"
    r"|(?P<row>\||---|===)|(?P<code>```|~~~))"
)
_MAY_BE_LINE_START: Final = re.compile(
    r"(?:[ \t\r]{0,8}|[ \t]{0,8}(?:#{1,6}|[-*+\u2022>]|--|==?|``?|~~?|\d{1,3}[.)]?))\Z"
)
_DOTTED: Final = re.compile(r"(?:[A-Z]\.)+[A-Z]")
_WINDOW: Final = 1000
"""Characters that are looked at for a clause, more than any clause and what is behind it."""
_WAIT: Final = -1
"""Where a text is cut: nobody knows yet."""
_NOWHERE: Final = 0


class Clauses:
    """Cuts a text that comes in pieces. Give it each piece with `feed`, and `finish` at the end."""

    def __init__(self) -> None:
        self._text = ""
        """What has come and belongs to no clause yet."""
        self._said = 0
        """Characters to be spoken so far."""
        self._line: _Line | None = None
        """What the line is that `_text` begins in the middle of; None at the start of a line."""
        self._fence = ""
        """What began the code block, and will close it."""
        self._in_word = False
        """Whether the last cut was inside a word that is too long to be one."""

    def feed(self, piece: str) -> list[Clause]:
        """The clauses that are whole now that ``piece`` has come."""
        self._text += piece
        return self._cut(final=False)

    def finish(self) -> list[Clause]:
        """The rest, once all has come."""
        return self._cut(final=True)

    def _cut(self, final: bool) -> list[Clause]:
        clauses: list[Clause] = []
        start = 0
        while start < len(self._text):
            window = self._text[start : start + _WINDOW]
            end, line = self._end(window, final and start + _WINDOW >= len(self._text))
            if end == _WAIT:
                break
            clauses.append(self._clause(window[:end], line))
            start += end
        self._text = self._text[start:]
        return clauses

    def _clause(self, text: str, line: _Line) -> Clause:
        """The clause that ``text`` is, and what that means for the next one."""
        was_in_word, words = self._in_word, text.split()
        self._in_word = (
            len(words) == 1 and len(words[0]) >= LONGEST_WORD and text.endswith(words[0])
        )
        read = not was_in_word and not self._in_word
        if line is _Line.CODE:
            line, read = self._code(text)
        spoken = speakable(text) if read else ""
        self._said += len(spoken)
        self._line = None if text.endswith("\n") and line is not _Line.CODE else line
        return Clause(text, spoken, _pause(text) if spoken else 0.0)

    def _code(self, text: str) -> tuple[_Line, bool]:
        """What follows a line of code, and whether it is one that only looked like it."""
        mark = FENCE.match(text.strip())
        if not self._fence:
            self._fence = mark[1] if mark else ""
            return (_Line.CODE, False) if mark else (_Line.PROSE, True)
        if mark and mark[1].startswith(self._fence) and not mark[2].strip():
            self._fence = ""
            return _Line.PROSE, False
        return _Line.CODE, False

    def _end(self, text: str, final: bool) -> tuple[int, _Line]:
        """Where the next clause ends, or `_WAIT`, and what the line is that it begins in."""
        line = self._line or _Line.PROSE
        rest = len(text) if final else _WAIT
        if line is _Line.CODE:
            return _line_end(text, 0, rest), line
        if self._in_word:
            blank = _BLANK.search(text, 0, LONGEST_WORD)
            end = blank.end() if blank else LONGEST_WORD if len(text) >= LONGEST_WORD else rest
            return end, line
        lead = len(text) - len(text.lstrip())
        if lead >= LONGEST_WORD:
            return LONGEST_WORD, line
        if lead == len(text):
            return rest, line
        begin, newline = lead, text.rfind("\n", 0, lead)
        if newline >= 0 or self._line is None:
            if _MAY_BE_LINE_START.match(text, newline + 1) and not final:
                return _WAIT, line
            line, begin = _line_kind(text, newline + 1, lead)
        if line in (_Line.ROW, _Line.CODE):
            return _line_end(text, lead, rest), line
        return self._prose_end(text, lead, begin, line, final), line

    def _prose_end(self, text: str, lead: int, begin: int, line: _Line, final: bool) -> int:
        """The same for a text that has words from ``begin`` on, after ``lead`` blanks."""
        early = self._said < EARLY_LONGEST
        shortest = lead + (self._said if early else FULL)
        mark, end = _first_mark(text, begin, shortest, line, final)
        for reach, small_words in _steps(early, self._said):
            limit = lead + reach
            if mark < limit:
                return end
            if len(text) < limit + _MARK_REACH:
                return len(text) if final else _WAIT
            place = _best_place(text, lead, begin, limit, small_words)
            if place != _NOWHERE:
                return place
        return lead + LONGEST_WORD


def clauses_of(text: str) -> list[Clause]:
    """The clauses of a text that is there as a whole."""
    clauses = Clauses()
    return clauses.feed(text) + clauses.finish()


# Lines


def _line_kind(text: str, start: int, lead: int) -> tuple[_Line, int]:
    """What the line is that begins at ``start``, and where its words begin."""
    found = _LINE_START.match(text, start)
    if not found:
        return _Line.PROSE, lead
    if found["code"]:
        return _Line.CODE, lead
    if found["row"]:
        return _Line.ROW, lead
    return _Line.HEADING if found["heading"] else _Line.PROSE, found.end()


def _line_end(text: str, lead: int, rest: int) -> int:
    """Behind the line, or where it gets too long."""
    limit = lead + LONGEST_WORD
    newline = text.find("\n", lead, limit)
    if newline >= 0:
        return newline + 1
    return limit if len(text) >= limit else rest


# Marks


def _first_mark(text: str, begin: int, shortest: int, line: _Line, final: bool) -> tuple[int, int]:
    """Where the first mark is that ends a clause or may do so, and the end, or `_WAIT`."""
    for mark in _MARK.finditer(text, begin):
        if mark.end() == len(text):
            return mark.start(), len(text) if final else _WAIT
        if mark[0] == "\n":
            end = _newline_end(text, mark.end(), line, final)
        else:
            end = _mark_end(text, mark, begin, shortest, final)
        if end != _NOWHERE:
            return mark.start(), end
    return len(text) + _WINDOW, _WAIT


def _newline_end(text: str, end: int, line: _Line, final: bool) -> int:
    """A newline ends a clause where a block ends or begins."""
    blank_line = _BLANK_LINE.match(text, end)
    if line is _Line.HEADING or _LINE_START.match(text, end):
        return end
    if blank_line:
        return blank_line.end()
    return _WAIT if _MAY_BE_LINE_START.match(text, end) and not final else _NOWHERE


def _mark_end(text: str, mark: re.Match[str], begin: int, shortest: int, final: bool) -> int:
    """Any other mark does so where a blank is behind it, except a dash, which needs none."""
    bare, end = mark[0].rstrip(_CLOSING), mark.end()
    if text[end].isspace():
        end += 1
    elif bare != "\u2014":
        return _NOWHERE
    if _is_inside(text, begin, mark.start()):
        return _NOWHERE
    if bare == ".":
        return _full_stop_end(text, begin, mark.start(), end, final)
    if bare[-1] in "!?":
        return end
    return end if mark.end() >= shortest else _NOWHERE


def _full_stop_end(text: str, begin: int, stop: int, end: int, final: bool) -> int:
    """A full stop ends a sentence unless it belongs to an abbreviation that goes on."""
    words = text[max(begin, stop - 40) : stop].split() or [""]
    word, after = words[-1].lstrip(_OPENING), text[end : end + 1]
    if word in TITLES or word in LEADS or word == "St" or _DOTTED.fullmatch(word):
        return _NOWHERE
    if len(word) == 1 and word.isupper() and word != "I":
        return end if len(words) > 1 and words[-2].lower() in LABELLED else _NOWHERE
    if word in NUMBERED or word in MONTHS or word in MAY_END:
        if not after:
            return end if final else _WAIT
        goes_on = not after.isupper() if word in MAY_END else after.isdigit()
        return _NOWHERE if goes_on else end
    return end


def _is_inside(text: str, begin: int, place: int) -> bool:
    """Whether ``place`` is inside a tag or the address of a link."""
    tag = text.rfind("<", begin, place)
    if tag >= 0 and text.find(">", tag, place) < 0:
        return text[tag + 1].isalpha() or text[tag + 1] in "/!"
    link = text.rfind("](", begin, place)
    return link >= 0 and text.find(")", link, place) < 0


# Places without a mark


def _steps(early: bool, said: int) -> tuple[tuple[int, bool], ...]:
    """The lengths at which a clause is cut without a mark, and whether before small words only."""
    if early:
        return (EARLY, True), (EARLY_LONGEST, False), (LONGEST_WORD, False)
    return (min(LONGEST, max(FULL, said)), False), (LONGEST_WORD, False)


def _best_place(text: str, lead: int, begin: int, limit: int, small_words: bool) -> int:
    """The last place before ``limit`` where a voice might pause, or `_NOWHERE`.

    Before a small word in the second half, else behind a word, else at any blank.
    """
    half = lead + max(EARLY_SHORTEST, (0 if small_words else limit - lead) // 2)
    ways = ((_SMALL_WORD, half), (_BLANK_AFTER_WORD, begin), (_BLANK, lead))
    for blank, first in ways[:1] if small_words else ways:
        for found in reversed(list(blank.finditer(text, first, limit))):
            place = found.start()
            enough = blank is not _SMALL_WORD or len(text[lead:place].split()) >= EARLY_WORDS
            if enough and (limit - lead == LONGEST_WORD or not _is_inside(text, begin, place)):
                # A newline stays with the next clause, which then knows that it begins a line.
                return place if found[0] == "\n" else found.end()
    return _NOWHERE


def _pause(text: str) -> float:
    """The silence behind a clause, by its last mark."""
    bare = text.rstrip()
    ends_line = "\n" in text[len(bare) :]
    bare = bare.rstrip(_CLOSING)
    if bare.endswith(("...", ":", "-", "\u2026", "\u2013", "\u2014")):
        return DASH
    if bare.endswith((",", ";")):
        return COMMA
    if ends_line:
        return PARAGRAPH
    return SENTENCE if bare.endswith((".", "!", "?")) else 0.0
