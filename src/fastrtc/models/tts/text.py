"""What to say for a text as it is written: no markdown, no emoji, and numbers as they are read.

The words are for espeak-ng, which turns them into the phonemes of the voice. It reads a good deal
by itself ("50%", "2nd", "+", "NASA", "R&D"), so only what it says wrongly is rewritten here: it
stops after "Dr.", says "slash" in "1/2", and takes "1999" for a number. The phonemizer before it
may cut a text at any mark that ends it, even inside "3.14" or "1,000": such marks are written out.

`speakable` goes over the text once for each rule, in an order that matters: the structure of
lines first, then what is inside them, then addresses, abbreviations and numbers, and at last
whatever mark is left. Every repetition in a rule is bounded or cannot overlap with its
neighbours, so that the time grows with the length of the text alone. English only.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Final, TypeAlias

Match: TypeAlias = re.Match[str]
Rule: TypeAlias = tuple[re.Pattern[str], str | Callable[[Match], str]]


def _table(pairs: str) -> dict[str, str]:
    """From "short: long, short: long"."""
    return dict(pair.strip().split(": ", 1) for pair in pairs.split(","))


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


TITLES: Final = _table(
    """Dr: Doctor, Mr: Mister, Mrs: Missus, Ms: Miz, Prof: Professor, Capt: Captain, Col: Colonel,
    Gen: General, Gov: Governor, Lt: Lieutenant, Rep: Representative, Sen: Senator, Sgt: Sergeant,
    Mt: Mount, Rev: Reverend"""
)
"""They stand before a name: their full stop never ends a sentence."""
LEADS: Final = _table(
    """e.g: for example, E.g: for example, i.e: that is, I.e: that is, vs: versus, cf: compare,
    approx: approximately, Approx: approximately, ca: circa, Fig: figure, fig: figure"""
)
"""What always has something behind it."""
MAY_END: Final = _table(
    """etc: et cetera, Inc: Incorporated, Corp: Corporation, Co: Company, Ltd: Limited, Jr: Junior,
    Sr: Senior, Dept: Department, dept: department, Ave: Avenue, Blvd: Boulevard, Rd: Road,
    Ph.D: PhD, a.m: AM, p.m: PM, A.M: AM, P.M: PM"""
)
"""What may end a sentence: it does where a capital follows."""
NUMBERED: Final = _table(
    """No: number, no: number, Nos: numbers, p: page, pp: pages, Vol: volume, vol: volume,
    Ch: chapter, ch: chapter, Sec: section"""
)
"""What is an abbreviation before a number, and a word elsewhere ("No. I do not.")."""
MONTHS: Final = _table(
    """Jan: January, Feb: February, Mar: March, Apr: April, Jun: June, Jul: July, Aug: August,
    Sep: September, Sept: September, Oct: October, Nov: November, Dec: December"""
)
LABELLED: Final = _set(
    """answer appendix class exhibit figure grade group hepatitis letter level option part plan
    point section step team type vitamin"""
)
"""A single capital behind these is no initial: "plan B. Then" is two sentences."""
LONGEST_WORD: Final = 100
"""Characters. Longer runs without a blank (keys, data in base64) are not read."""

_MONTH_NAMES: Final = (
    *("January", "February", "March", "April", "May", "June", "July", "August"),
    *("September", "October", "November", "December"),
)
_PARTS: Final = ("half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth")
"""Of something cut into two, three and so on."""
_IDIOMS: Final = {"24/7": "24 7", "9/11": "9 11", "50/50": "50 50"}
_DECADES: Final = (
    *("hundreds", "tens", "twenties", "thirties", "forties"),
    *("fifties", "sixties", "seventies", "eighties", "nineties"),
)
_ROMAN: Final = {
    numeral: int(number)
    for numeral, number in _table(
        """II: 2, III: 3, IV: 4, VI: 6, VII: 7, VIII: 8, IX: 9, XI: 11, XII: 12, XIII: 13, XIV: 14,
        XV: 15, XVI: 16, XVII: 17, XVIII: 18, XIX: 19, XX: 20, XXI: 21"""
    ).items()
}
_CROWNED: Final = _set(
    """Alexander Benedict Catherine Charles Edward Elizabeth Frederick George Gustav Henry James
    Louis Napoleon Nicholas Paul Philip Pius Ramesses Richard William"""
)
"""Their Roman numeral is an ordinal: "Henry the eighth", but "World War two"."""
_MONEY: Final = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
}
_SCALES: Final = {"k": "thousand", "m": "million", "b": "billion", "bn": "billion"}
_UNITS: Final = _table(
    """kg: kilograms, mg: milligrams, km: kilometers, cm: centimeters, mm: millimeters,
    ml: milliliters, km/h: kilometers per hour, mph: miles per hour, ms: milliseconds, Hz: hertz,
    kHz: kilohertz, MHz: megahertz, GHz: gigahertz, kB: kilobytes, KB: kilobytes, MB: megabytes,
    GB: gigabytes, TB: terabytes, ft: feet, lb: pounds, lbs: pounds, oz: ounces, hr: hours,
    hrs: hours, min: minutes, mins: minutes, sec: seconds, secs: seconds, kW: kilowatts,
    kWh: kilowatt hours, °C: degrees Celsius, °F: degrees Fahrenheit, °: degrees"""
)
_LETTER_UNITS: Final = {"m": "meters", "g": "grams", "l": "liters", "L": "liters", "s": "seconds"}
"""Taken for units only behind a blank: "5m" may be minutes or millions."""
_SHORT_FORMS: Final = {
    "and/or": "and or",
    "either/or": "either or",
    "km/h": "kilometers per hour",
    "n/a": "not applicable",
}


# What is written in lines: headings, lists, tables, code

FENCE: Final = re.compile(r"\s*(`{3,}|~{3,})([^`]*)$")
"""A line that begins a block of code, or ends it."""
_RULE: Final = re.compile(r"\s*(?:[-*_=:|+]\s*){3,}$")
_QUOTE: Final = re.compile(r"^\s*(?:>\s?)+")
_HEADING: Final = re.compile(r"^\s*#{1,6}(?=\s)\s*")
_BULLET: Final = re.compile(r"^\s*[-*+•]\s+(?:\[[ xX]\]\s)?")
_NUMBERED_ITEM: Final = re.compile(r"\s*\d{1,3}[.)]\s")
_ENDED: Final = re.compile(r"[.!?…:;,—][\"'\u201d\u2019)\]*_`]*$")


def _flattened(text: str) -> str:
    """One line for the whole text. Blocks that end without a mark are given a full stop."""
    said: list[str] = []
    fence = ""
    own_line = item = False
    lines = text.split("\n")
    for line, last in zip(lines, [False] * (len(lines) - 1) + [True], strict=True):
        mark = FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not mark[2].strip():
                fence = ""
            continue
        line = _QUOTE.sub("", line, count=1)
        heading, row = _HEADING.match(line), line.strip().startswith("|")
        begins_item = _BULLET.match(line) or _NUMBERED_ITEM.match(line)
        begins_block = heading or row or begins_item or mark or _RULE.match(line)
        # A text that breaks off behind a newline may go on in the next line, but not a block.
        blank = not line.strip() and (item or not last)
        if said and (own_line or begins_block or blank):
            said[-1] = _closed(said[-1])
        own_line = bool(heading or row)
        item = bool(begins_item) or (item and bool(line.strip()))
        if mark:
            fence = mark[1]
        elif not _RULE.match(line):
            said += _words_of(line, row)
    return " ".join(said)


def _words_of(line: str, row: bool) -> list[str]:
    if row:
        line = ", ".join(cell for cell in map(str.strip, line.split("|")) if cell)
    line = _BULLET.sub("", _HEADING.sub("", line, count=1), count=1).strip()
    return [line] if line else []


def _closed(block: str) -> str:
    return block if _ENDED.search(block[-20:]) else f"{block}."


# What is written inside a line: links, tags, emphasis, emoji

_PICTURES: Final = (
    "[\u2190-\u21ff\u2300-\u23ff\u2460-\u24ff\u2500-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030\u303d"
    "\u3297\u3299\u2122\u2139\u00ae\ue000-\uf8ff\U0001f000-\U0001faff]"
)
_JOINERS: Final = (
    "[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20ff\ufe00-\ufe0f\ufeff"
    "\ud800-\udfff\U000e0000-\U000e01ef]"
)
"""What changes the signs around it and has no sound; halves of signs, which no phonemizer takes."""
_INLINE: Final[tuple[Rule, ...]] = (
    (re.compile(r"!\["), "["),
    (re.compile(r"<((?:https?://|mailto:)[^\s<>]{1,300})>"), r"\1"),
    (re.compile(r"\]\([^()\n]{0,300}(?:\([^()\n]{0,100}\)[^()\n]{0,100})?\)?"), ""),
    (re.compile(r"\[\^[^\[\]\s]{1,20}\]:?"), ""),
    (re.compile(r"\\([!-/:-@\[-`{-~])"), r"\1"),
    (re.compile(r"<!--[^<>]{0,300}-->|</?[a-zA-Z][\w-]{0,30}(?:\s[^<>]{0,200})?/?>"), " "),
    (re.compile(r"(?<=\d)(?: \* |\*)(?=\d)"), " times "),
    (re.compile(r"[*`]|~~"), ""),
    (re.compile(r"[\u203c\u2049]"), "!"),
    (re.compile(r"\s?(?:->|=>|[\u2192\u21d2])\s?"), " to "),
    (re.compile(_JOINERS), ""),
    (re.compile(rf"{_PICTURES}|[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]"), " "),
)


# Addresses


def _address(match: Match) -> str:
    """A host and its path, in words. What a page is asked behind "?" or "#" is not read."""
    whole = match[0].rstrip(".,;:!?)'\"")
    ending = match[0][len(whole) :]
    path = re.split(r"[?#]", re.sub(r"^https?://", "", whole))[0].rstrip("/")
    return path.replace("/", " slash ").replace(".", " dot ").replace("_", " ") + ending


def _mailbox(match: Match) -> str:
    return match[0].replace("@", " at ").replace(".", " dot ").replace("_", " ")


_ADDRESSES: Final[tuple[Rule, ...]] = (
    (re.compile(r"\bmailto:"), ""),
    (re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.\w[\w-]{0,62}){1,8}"), _mailbox),
    (re.compile(r"\b(?:https?://|www\.)[^\s<>\"]{1,300}"), _address),
    (re.compile(rf"[!-~]{{{LONGEST_WORD + 1},}}"), " "),
)


# Abbreviations


def _street_or_saint(match: Match) -> str:
    """A saint has a name behind him; a numbered street may have the next sentence there."""
    number, name, at_end = match[1] or "", match[2], match[3] is not None
    return f"{number}{'Saint' if name and not number else 'Street'}{'.' if at_end else ''}"


def _alternatives(table: dict[str, str]) -> str:
    return "|".join(re.escape(short) for short in table)


def _looked_up(table: dict[str, str]) -> Callable[[Match], str]:
    return lambda match: table[match[1]]


def _initials(match: Match) -> str:
    letters = re.sub(r"[.\s]", "", match[1])
    return "-".join(letters) if len(letters) > 1 else match[1][0]


def _single(match: Match) -> str:
    """An initial keeps no full stop, the name of a plan does."""
    return (
        match[0] if match[1].lower() in LABELLED or match[2] == "I" else f"{match[1]} {match[2]} "
    )


_GOES_ON: Final = r"(?!\s?[A-Z]|\s*$)"
"""Behind the full stop of an abbreviation that may end a sentence: this one does not."""
_ABBREVIATIONS: Final[tuple[Rule, ...]] = (
    (
        re.compile(r"\b(\d{1,4}(?:st|nd|rd|th) )?\bSt\.(?=( [A-Z])?(\s*$)?)"),
        _street_or_saint,
    ),
    (re.compile(rf"\b({_alternatives(TITLES)})\."), _looked_up(TITLES)),
    (re.compile(r"\bMs\b"), TITLES["Ms"]),
    (re.compile(rf"\b({_alternatives(LEADS)})\."), _looked_up(LEADS)),
    (re.compile(r"\bvs\b"), LEADS["vs"]),
    (
        re.compile(rf"\b({_alternatives(NUMBERED)})\.\s?(?=\d)"),
        lambda match: f"{NUMBERED[match[1]]} ",
    ),
    (
        re.compile(rf"\b({_alternatives(MONTHS)})(?:\.{_GOES_ON}|(?=\.)|(?= \d))"),
        _looked_up(MONTHS),
    ),
    (
        re.compile(rf"(\d)\s?([aApP])(?:\.[mM]\.{_GOES_ON}|\.?[mM]\b)"),
        lambda match: f"{match[1]} {match[2].upper()}M",
    ),
    (
        re.compile(rf"\b({_alternatives(MAY_END)})(?:\.{_GOES_ON}|(?=\.))"),
        _looked_up(MAY_END),
    ),
    (re.compile(r"\b(Jr|Sr)\b"), _looked_up(MAY_END)),
    (re.compile(r"\b((?:[A-Z]\.\s?){2,12})(?=\s?[A-Z])"), lambda match: f"{_initials(match)} "),
    (re.compile(r"\b((?:[A-Z]\.){2,12})(?=\s*$)"), lambda match: f"{_initials(match)}."),
    (re.compile(r"\b((?:[A-Z]\.){2,12})"), _initials),
    (re.compile(r"(\b\w{0,30})\s?\b([A-Z])\.\s(?=[A-Z])"), _single),
)


# Numbers


def _ordinal(number: int) -> str:
    tail = "th" if 10 < number % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{tail}"


def _date(year: str, month: int, day: int) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return f"{_MONTH_NAMES[month - 1]} {_ordinal(day)}, {year}"


def _iso_date(match: Match) -> str:
    behind = ", " if match[4] else ""
    said = _date(match[1], int(match[2]), int(match[3]))
    return match[0] if said is None else said + behind


def _slash_date(match: Match) -> str:
    """Month first, as in America, unless that cannot be."""
    first, second = int(match[1]), int(match[2])
    said = _date(match[3], first, second) or _date(match[3], second, first)
    return said or match[0].replace("/", " ")


def _time(match: Match) -> str:
    hour, minute, half = int(match[1]), int(match[2]), match[3]
    if minute:
        said = f"{hour} oh {minute}" if minute < 10 else f"{hour} {minute}"
    elif half:
        said = str(hour)
    elif 1 <= hour <= 12:
        said = f"{hour} o'clock"
    else:
        said = f"{hour} hundred" if hour else "midnight"
    return f"{said} {half}" if half else said


def _spelled(match: Match) -> str:
    """Digit by digit, with a short stop between the groups."""
    groups = [" ".join(group) for group in re.findall(r"\d+", match[0])]
    return ("plus " if match[0].startswith("+") else "") + ", ".join(groups)


def _long_number(match: Match) -> str:
    """What begins with a zero or is longer than anyone counts is a name, not an amount."""
    digits = match[0]
    return " ".join(digits) if digits[0] == "0" or len(digits) > 9 else digits


def _money(match: Match) -> str:
    one, many, small_one, small_many = _MONEY[match[1]]
    whole, part, scale = match[2], match[3] or "", match[4]
    if scale:
        amount = f"{whole}.{part}" if part else whole
        return f"{amount} {_SCALES.get(scale.lower(), scale)} {many}"
    if part and len(part) != 2:
        return f"{whole}.{part} {many}"
    large = f"{whole} {one if whole == '1' else many}"
    if not part or part == "00":
        return large
    small = f"{int(part)} {small_one if part == '01' else small_many}"
    return small if whole == "0" else f"{large} and {small}"


def _fraction(match: Match) -> str:
    if match[0] in _IDIOMS:
        return _IDIOMS[match[0]]
    above, below = int(match[2]), int(match[3])
    if not 0 < above < below or not 2 <= below < len(_PARTS) + 2:
        return f"{match[0].replace('/', ' out of ')}"
    part = _PARTS[below - 2]
    many = "halves" if part == "half" else f"{part}s"
    said = f"one {part}" if above == 1 else f"{above} {many}"
    return f"{match[1].strip()} and {said}" if match[1] else said


def _version(match: Match) -> str:
    """Four groups are the address of a computer."""
    return match[1].replace(".", " dot " if match[1].count(".") == 3 else " point ")


def _year(match: Match) -> str:
    century, rest = match[0][:2], match[0][2:]
    if rest == "00":
        return f"{century} hundred"
    return f"{century} oh {rest[1]}" if rest[0] == "0" else f"{century} {rest}"


def _decade(match: Match) -> str:
    century, decade = match[1] or "", match[2]
    if century == "20" and decade == "0":
        return "two thousands"
    return f"{century} {_DECADES[int(decade)]}".strip()


def _decimal(match: Match) -> str:
    return f"{match[1]} point {' '.join(match[2])}"


def _unit(match: Match) -> str:
    name = _UNITS.get(match[2].replace(" ", "")) or _LETTER_UNITS[match[2]]
    if match[1] == "1":
        first, *rest = name.split(" ")
        name = " ".join(["foot" if first == "feet" else first.removesuffix("s"), *rest])
    return f"{match[1]} {name}"


def _roman(match: Match) -> str:
    number = _ROMAN[match[2]]
    return f"{match[1]} the {_ordinal(number)}" if match[1] in _CROWNED else f"{match[1]} {number}"


def _slash(match: Match) -> str:
    if match[0].lower() in _SHORT_FORMS:
        return _SHORT_FORMS[match[0].lower()]
    return f"{match[1]} {match[2]}" if match[0].isupper() else f"{match[1]} or {match[2]}"


_CLOCK: Final = r"([01]?\d|2[0-3]):([0-5]\d)(?::[0-5]\d)?"
_NUMBERS: Final[tuple[Rule, ...]] = (
    (re.compile(r"[\u2212\u2011\u2010]"), "-"),
    (re.compile(r"\b(\d{4})-(\d\d)-(\d\d)(?:\b|(T)(?=\d))"), _iso_date),
    (re.compile(r"(?<![\d/])(\d{1,2})/(\d{1,2})/(\d{4})(?![\d/])"), _slash_date),
    (
        re.compile(
            r"(?<![\w.+-])(?:\+\d{1,3}(?:[ .-]?\(?\d{2,4}\)?){2,5}"
            r"|(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}"
            r"|\d{3}-\d{4}|\d{3}-\d\d-\d{4}|\d{4}(?:[ -]\d{4}){2,4})(?!\w|[.-]\d)"
        ),
        _spelled,
    ),
    (re.compile(r"(?<=[\d%MK])(?: ?\u2013 ?|-)(?=[$€£¥]?\d)"), " to "),
    (re.compile(rf"(?<![\d:.]){_CLOCK}(?: ?([AP]M)\b)?(?![\d:])"), _time),
    (re.compile(r"(?<![\d:])(\d{1,4}):(\d{1,4})(?![\d:])"), r"\1 to \2"),
    (
        re.compile(
            r"([$€£¥₹]) ?(\d{1,15}(?:,\d{3}){0,5})(?:\.(\d{1,9}))?"
            r"(?: ?((?i:thousand|million|billion|trillion)|[kKmMbB]|bn)\b)?"
        ),
        _money,
    ),
    (re.compile(r"(?<![\w.])v(?=\d)"), "version "),
    (re.compile(r"(?<![\d.])(\d{1,9}(?:\.\d{1,9}){2,5})(?!\d|\.\d)"), _version),
    (re.compile(r"(?<![\d/.])(\d{1,3} )?\b(?<!\d[.,])(\d{1,3})/(\d{1,3})(?![\d/])"), _fraction),
    (re.compile(r"(?<=\d) ?½"), " and a half"),
    (re.compile(r"(?<=\d) ?(?=[⅓⅔¼¾⅕⅛⅜⅝⅞])"), " and "),
    (re.compile(r"(?:\b(1[1-9]|20)|['\u2019]|\b)(\d)0['\u2019]?s\b"), _decade),
    (re.compile(r"(?<![\d.,])\b(?:1[1-9]\d\d|20[1-9]\d)\b(?![.,]\d)"), _year),
    (re.compile(r"(?<![\d.,-])\d{2,}(?![\d.,]\d)"), _long_number),
    (re.compile(r"(?<!\w)#\s?(?=\d)"), "number "),
    (re.compile(r"(?<![\w.])\.(?=\d)"), "point "),
    (re.compile(r"[~\u2248]\s?(?=[$€£]?\d)"), "about "),
    (re.compile(r"(?<=\d) [-\u2013] (?=\d)"), " minus "),
    (re.compile(r"(?<![\d.,])(\d{1,15}(?:[.,]\d{1,15}){0,5}) ?(km/h|° ?[CF](?!\w)|°)"), _unit),
    (
        re.compile(
            rf"(?<![\w.,])(\d{{1,15}}(?:[.,]\d{{1,15}}){{0,5}}) ?({_alternatives(_UNITS)})"
            r"(?![\w'\u2019])"
        ),
        _unit,
    ),
    (re.compile(r"(?<![\w.,])(\d{1,15}(?:[.,]\d{1,15}){0,5}) ([mglLs])(?![\w'\u2019])"), _unit),
    (re.compile(r"(?<![\d.])(\d{1,15}(?:,\d{3}){0,5})\.(\d{1,15})(?!\d|\.\d)"), _decimal),
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
)


# Signs

_SIGNS: Final[tuple[Rule, ...]] = (
    (re.compile(rf"\b([A-Z][a-z]{{1,20}}) ({'|'.join(_ROMAN)})\b"), _roman),
    (
        re.compile(r"(?<=[\w)])/(?=(?:second|minute|hour|day|night|week|month|year|person)\b)"),
        " per ",
    ),
    (re.compile(r"(?<![\w/.])([A-Za-z]{1,30})/([A-Za-z]{1,30})(?![\w/]|\.\w)"), _slash),
    (re.compile(r"(?:\^2\b|\u00b2)"), " squared"),
    (re.compile(r"(?:\^3\b|\u00b3)"), " cubed"),
    (re.compile(r"\^(?=[\w(-])"), " to the power of "),
    (re.compile(r"\b([A-G])#"), r"\1 sharp"),
    (re.compile(r"(?<!\w)#(?=[A-Za-z])"), "hashtag "),
    (re.compile(r"(?<=[\w)])\s?<=\s?(?=[\w(-])"), " \u2264 "),
    (re.compile(r"(?<=[\w)])\s?>=\s?(?=[\w(-])"), " \u2265 "),
    (re.compile(r"(?<=[\w)])\s?!=\s?(?=[\w(-])"), " \u2260 "),
    (re.compile(r"(?<=[\w)])\s?<\s?(?=[\w(-])"), " less than "),
    (re.compile(r"(?<=[\w)])\s?>\s?(?=[\w(-])"), " greater than "),
    (re.compile(r"(?<=[A-Za-z0-9_])\.(?=[a-z]|[A-Z]{2})|(?<![\w.!?])\.(?=[A-Za-z])"), " dot "),
    (re.compile(r"\s(?:--?|\u2013)\s"), " \u2014 "),
    (re.compile(r"--+"), " \u2014 "),
    (re.compile(r"\s?\|\s?"), ", "),
    (re.compile(r"[*`#|\[\]<>_~^\\{}]"), " "),
    (re.compile(r"\s+"), " "),
    (re.compile(r" (?=[,.;:!?)](?:\s|$))"), ""),
    (re.compile(r"[,;:](?=[.,;:!?])"), ""),
    (re.compile(r"(?<=\w)([.,:;!?]+)(?=\w)"), r"\1 "),
    (re.compile(r"^[\s,.;:!?\u2014-]+(?=\s)"), ""),
)
_RULES: Final = (*_ADDRESSES, *_ABBREVIATIONS, *_NUMBERS, *_SIGNS)


def speakable(text: str) -> str:
    """What to say for ``text``, which may be markdown: "" where there is nothing to say.

    Args:
        text: anything at all, whole or a part of it (see `fastrtc.models.tts.clauses`), which may
            begin or end inside a link or an emphasis.
    """
    said = _flattened(text)
    for pattern, words in _INLINE:
        said = pattern.sub(words, said)
    said = html.unescape(said)
    for pattern, words in _RULES:
        said = pattern.sub(words, said)
    said = said.strip()
    return said if any(letter.isalnum() for letter in said) else ""
