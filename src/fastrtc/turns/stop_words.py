"""Stop words in what a recogniser wrote: "computer, what time is it?", "lamma" for "llama".

How alike two words are
-----------------------
1. *Words become sounds.* Case, accents and punctuation do not count, and neither does "'s" (a
   "computer's" is most likely a "computer is"). `_SPELLINGS` are rules of English spelling: "ph" is
   an f, a "k" before "n" is silent, a "c" is a k or an s, and doubled letters are one sound. There
   are five vowels, i e a o u in this order, the "i" of "Friday" (Y) and the weak one (@) that
   ends "llama" and "computer". An "r" after a vowel and before none is not heard. One letter alone
   is called by its name: "O.K." is "okay".
2. *Sounds are compared.* It costs

   - a quarter for each step between two vowels (i to e 0.25, i to a 0.5), and 0.75 at most; also
     between the weak vowel and e, a or o, between Y and i or a, and between s and z;
   - a half for consonants made alike (`_ALIKE`: p and b, b and v, m and n, s and sh ...), for an h
     that is missing or too many, between the weak vowel and i or u, and between Y and e;
   - 1 for a vowel that is missing or too many, and `DEAR` for any other consonant.
3. *A word may cost* 0.25 if it has two or three sounds, 0.5 with four or five, and 0.75 with more
   (`_limit`). So "lamma" (0), "lemma" (0.25) and "hay Siri" (0) are found; "commuter" lacks a p
   (1.5), "compute" a vowel (1), "computers" has an s too many (1.5), "sorry" has an o for the Y of
   "siri" (0.75), and "okay" is never "okay computer", as every word has to be there.
4. *Words may run together or be cut*: "Heysiri" is "hey siri", and "com puter" is "computer" for
   `CUT`. But a comma or a full stop within a word is the end of it.
5. *The first sound of a text is weak*, as a recogniser hears it from the middle: an h there may be
   missing, or be the breath of a p, t or k, for nothing. "A computer, ..." and "Tay Siri" are heard
   at the start, where "I bought a computer" is no "hey computer".

The distance of a phrase is the sum over its words. All figures are fitted to what Moonshine tiny
writes for 20 voices (`benchmarks/stop_words.py`).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

LONGEST: Final = 5
"""Words of a phrase, at most."""
DEAR: Final = 1.5
"""What a consonant costs that is another, is missing, or is too many."""
VOWEL_GAP: Final = 1.0
"""What a vowel costs that is missing or too many: a syllable is much of a word."""
H_GAP: Final = 0.5
"""What an h costs: many speakers drop it."""
ALIKE: Final = 0.5
"""What a consonant costs in place of one that is made alike."""
STEP: Final = 0.25
"""What a vowel costs in place of its neighbour."""
FAR: Final = 0.75
"""What a vowel costs in place of any other, at most."""
CUT: Final = 0.25
"""What a blank within a word costs."""

_ANY: Final = "*"
"""A sound that is any sound."""
_VOWELS: Final = "ieaou"
"""Each sounds like its neighbours."""
_SYLLABIC: Final = frozenset("ieaouY@")
_ALIKE: Final = frozenset(
    pair for a, b in "pb td kg fv CJ sS CS bv fT mn Td Ts".split() for pair in (a + b, b + a)
)
"""Consonants made alike. C is "ch", J is "j", S is "sh", T is "th"."""
_NEAR: Final = dict.fromkeys(("@e", "@a", "@o", "Yi", "Ya", "sz"), STEP) | dict.fromkeys(
    ("@i", "@u", "Ye"), 2 * STEP
)
"""Pairs that no rule covers."""
_BREATHS: Final = frozenset("hptk")
"""What an h at the start of a text may be written as."""

_SPELLINGS: Final = (
    # Silent letters.
    (r"\b[kg](?=n)|\bw(?=r)|\bp(?=s)|(?<=m)b\b|(?<=[aeiou])gh|(?<=w)h|h(?![aeiouy])", ""),
    (r"(?<=[aeiouy][^aeiouy])e\b|(?<=[aeiouy][^aeiouy]{2})e\b", ""),
    # Vowels of more than one letter. They are capitals here, as they are never weak.
    (r"eigh|(?<!\w\w)ey|ey\B|a[iye]|ei", "E"),
    (r"a(?=[^aeiouy\W]e\b)", "E"),
    (r"e(?=[^aeiouy\W]e\b)", "I"),
    (r"o(?=[^aeiouy\W]e\b)", "O"),
    (r"u(?=[^aeiouy\W]e\b)", "U"),
    (r"igh", "Y"),
    (r"e[eay]|ie", "I"),
    (r"o[ou]|u[ei]|e[uw]", "U"),
    (r"o[iy]", "OI"),
    (r"o[aew]|a[uw]", "O"),
    # "y" and "i".
    (r"\by(?=[aeiou])|(?<=[aeiou])y(?=[aeiou])", "y"),
    (r"(?<=\b[^aeiou])y\b|(?<=\b[^aeiou]{2})y\b|[iy](?=[^aeiouy\W][aeiouy])", "Y"),
    (r"[iy]\b", "I"),
    (r"y", "i"),
    (r"o\b", "O"),
    (r"u\b", "U"),
    # Consonants.
    (r"(?<=[^aeiouy])le\b", "el"),
    (r"t?ch(?=r)|ck|c(?![eiyh])|q(?!u)|qu(?=e\b)", "k"),
    (r"qu", "kw"),
    (r"[ts]ion", "Son"),
    (r"t?ch", "C"),
    (r"sh", "S"),
    (r"th", "T"),
    (r"ph", "f"),
    (r"dge?\b|dg(?=e)|j|(?<=[^g])ge\b", "J"),
    (r"c", "s"),
    (r"\bx", "z"),
    (r"x", "ks"),
    (r"\w", None),
)
"""How letters sound: the first that fits. None: as they are."""
_SPELLING: Final = re.compile("|".join(f"({pattern})" for pattern, _ in _SPELLINGS))
_WEAK: Final = re.compile("[ieaou](?=[^ieaouIEOUY]*$)")
"""The vowel of the last syllable, written with one letter."""
_STRONG: Final = frozenset("ieaouIEOUY")
_PLAIN: Final = str.maketrans("IEOU", "ieou")
_TWICE: Final = re.compile(r"(.)\1+")
_R: Final = re.compile("(?<=[ieaouY@])r(?![ieaouY@])")
_NAMES: Final = {
    **{"a": "e", "b": "bi", "c": "si", "d": "di", "e": "i", "f": "ef", "g": "Ji", "h": "eC"},
    **{"i": "Y", "j": "Je", "k": "ke", "l": "el", "m": "em", "n": "en", "o": "o", "p": "pi"},
    **{"q": "kyu", "r": "a", "s": "es", "t": "ti", "u": "yu", "v": "vi", "w": "dabelyu"},
    **{"x": "eks", "y": "wY", "z": "zi", "ok": "oke"},
}
"""What is not said as it is spelt: letters by their names."""
_WORD: Final = re.compile("[^\\W_](?:[^\\W_]|[\u0300-\u036f]|['\u2019](?=[^\\W_]))*")
"""A word, with its accents and apostrophes."""
_JOINING: Final = re.compile(r"[\s'\u2019-]*")
"""What may stand between the parts of a word that is cut."""


@dataclass(frozen=True)
class Match:
    """A stop word in a text.

    Attributes:
        phrase: the stop word as the user gave it.
        start: where it begins in the text, in characters.
        end: where its last word ends; punctuation and blanks after it are not included.
        distance: 0 if it sounds the same, see the measure above.
    """

    phrase: str
    start: int
    end: int
    distance: float


class StopWords:
    """Finds phrases in texts, by their sound."""

    def __init__(self, phrases: Sequence[str]) -> None:
        """``phrases``: of one to `LONGEST` words each.

        Raises:
            TypeError: they are one str, or one of them is no str.
            ValueError: there is none; or one has no letters, or more words than `LONGEST`.
        """
        if isinstance(phrases, str):
            raise TypeError(f"stop words are a list of phrases, such as [{phrases!r}], not one str")
        if not phrases:
            raise ValueError("stop words are empty: name at least one, such as ['computer']")
        self._phrases = [_Phrase(phrase) for phrase in phrases]

    def find(self, text: str) -> Match | None:
        """The first stop word of a text.

        Where several match that overlap it is the closest, and the longest of equals.
        """
        heard = _Heard(text)
        opened: dict[str, list[_Phrase]] = {}
        best: Match | None = None
        for number, word in enumerate(heard.words):
            if best is not None and word.start() >= best.end:
                break
            start = heard.starts[number]
            sound = heard.sounds[start]
            if sound not in opened:
                opened[sound] = [phrase for phrase in self._phrases if phrase.may_open(sound)]
            for phrase in opened[sound] if number else self._phrases:
                match = phrase.match(heard, number)
                if match and (best is None or _rank(match) < _rank(best)):
                    best = match
        return best


class _Heard:
    """A text as it sounds."""

    def __init__(self, text: str) -> None:
        self.words = list(_WORD.finditer(text))
        sounds = [_sounds(word.group()) for word in self.words]
        self.sounds = "".join(sounds)
        self.starts: list[int] = []
        """Where each word begins in the sounds."""
        self.ends: dict[int, int] = {}
        """Where a word of the text ends, and where this is in the sounds."""
        self.joints: dict[int, float] = {}
        """What it costs to go on within a word of a phrase, where a word of the text begins."""
        place = 0
        previous: re.Match[str] | None = None
        for word, heard in zip(self.words, sounds, strict=True):
            if previous is not None:
                letters = len(word.group()) == len(previous.group()) == 1
                between = text[previous.end() : word.start()]
                joined = CUT if _JOINING.fullmatch(between) else math.inf
                self.joints[place] = 0.0 if letters else joined
            self.starts.append(place)
            place += len(heard)
            self.ends[place] = word.end()
            previous = word


class _Phrase:
    """A stop word as it sounds."""

    def __init__(self, phrase: str) -> None:
        words = _WORD.findall(phrase)
        if not any(letter.isalpha() for letter in phrase):
            raise ValueError(f"stop word {phrase!r} has no letters")
        if len(words) > LONGEST:
            raise ValueError(
                f"stop word {phrase!r} has {len(words)} words, and {LONGEST} are the most"
            )
        self.phrase = phrase
        self.words = [_sounds(word) for word in words]

    def may_open(self, sound: str) -> bool:
        """Whether what begins with this sound may be the phrase, unless it begins the text."""
        word = self.words[0]
        return bool(_reach(word, sound + _ANY * len(word), 0, {}, opening=False))

    def match(self, heard: _Heard, number: int) -> Match | None:
        """The closest match that begins with a word of the text."""
        start = heard.starts[number]
        reached = {start: 0.0}
        for word in self.words:
            further: dict[int, float] = {}
            for place, before in reached.items():
                ends = _reach(word, heard.sounds, place, heard.joints, opening=place == 0)
                for end, cost in ends.items():
                    further[end] = min(before + cost, further.get(end, math.inf))
            reached = further
        whole = [(cost, -end) for end, cost in reached.items() if end in heard.ends]
        if not whole:
            return None
        distance, end = min(whole)
        return Match(self.phrase, heard.words[number].start(), heard.ends[-end], distance)


def _rank(match: Match) -> tuple[float, int]:
    return match.distance, match.start - match.end


def _reach(
    word: str, sounds: str, start: int, joints: dict[int, float], *, opening: bool
) -> dict[int, float]:
    """Where a word of a phrase may end if it begins at a place, and what it costs.

    This is the edit distance, row by row, without what is over the limit.
    """
    limit = _limit(len(word))
    row = {start: 0.0}
    for index, sound in enumerate(word):
        free = opening and index == 0 and sound == "h"
        further: dict[int, float] = {}
        row = _longer(row, sounds, start, joints, limit)
        for place, cost in row.items():
            skipped = cost + (0.0 if free else _gap(sound))
            if skipped <= limit:
                further[place] = min(skipped, further.get(place, math.inf))
            if place < len(sounds):
                other = sounds[place]
                replaced = cost + (0.0 if free and other in _BREATHS else _apart(sound, other))
                if place > start:
                    replaced += joints.get(place, 0.0)
                if replaced <= limit:
                    further[place + 1] = min(replaced, further.get(place + 1, math.inf))
        if not further:
            return further
        row = further
    return _longer(row, sounds, start, joints, limit)


def _longer(
    row: dict[int, float], sounds: str, start: int, joints: dict[int, float], limit: float
) -> dict[int, float]:
    """A row of the edit distance, and the sounds too many that it may go on with."""
    grown = dict(row)
    for place in sorted(row):
        while place < len(sounds):
            cost = grown[place] + _gap(sounds[place])
            cost += joints.get(place, 0.0) if place > start else 0.0
            place += 1
            if cost > limit or cost >= grown.get(place, math.inf):
                break
            grown[place] = cost
    return grown


def _limit(sounds: int) -> float:
    """What a word of so many sounds may cost."""
    if sounds < 4:
        return 0.25
    return 0.5 if sounds < 6 else 0.75


def _gap(sound: str) -> float:
    """What a sound costs that is missing or too many."""
    if sound == "h":
        return H_GAP
    return VOWEL_GAP if sound in _SYLLABIC else DEAR


@lru_cache(4_096)
def _apart(one: str, other: str) -> float:
    """What a sound costs in place of another."""
    if one == other or _ANY in (one, other):
        return 0.0
    for pair in (one + other, other + one):
        if pair in _NEAR:
            return _NEAR[pair]
        if pair in _ALIKE:
            return ALIKE
    if one in _VOWELS and other in _VOWELS:
        return min(STEP * abs(_VOWELS.index(one) - _VOWELS.index(other)), FAR)
    return FAR if one in _SYLLABIC and other in _SYLLABIC else DEAR


@lru_cache(16_384)
def _sounds(word: str) -> str:
    """The sounds of a word, one character each; at least one."""
    plain = unicodedata.normalize("NFKD", word.casefold())
    plain = re.sub(r"['\u2019]s$|[^\w]", "", plain)
    if plain in _NAMES:
        return _NAMES[plain]
    sounds = _SPELLING.sub(_spelling, plain) or plain or word
    last = _WEAK.search(sounds)
    if last and _STRONG.intersection(sounds[: last.start()]):
        sounds = f"{sounds[: last.start()]}@{sounds[last.end() :]}"
    sounds = _TWICE.sub(r"\1", sounds.translate(_PLAIN))
    return _R.sub("", sounds)


def _spelling(letters: re.Match[str]) -> str:
    sounds = _SPELLINGS[(letters.lastindex or 0) - 1][1]
    return letters.group() if sounds is None else sounds
