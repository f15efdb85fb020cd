"""Stop words in what a recogniser wrote: "computer, what time is it?", "lamma" for "llama".

How alike two words are
-----------------------
1. *Words become sounds*, by rules of English spelling (`_SPELLINGS`): "ph" is an f, the "k" of
   "know" is silent, a "c" is a k or an s, doubled letters are one. There are five vowels, i e a o u
   in this order, the "i" of "Friday" (Y), and the weak one (@) that ends "llama" and "computer".
   An "r" is heard before a vowel only. One letter alone is called by its name: "O.K." is "okay".
   Case, accents and punctuation do not count, nor does "'s": a "computer's" is most likely a
   "computer is", and belongs to the match.
2. *Sounds are compared.* In place of each other

   - vowels cost 0.25 for each step between them (i to e 0.25, i to a 0.5), and 0.75 at most; the
     weak one is one step from the others and two from i; Y is one step from i and a;
   - consonants that are made alike cost 0.5 (`_ALIKE`: p and b, b and v, m and n, s and sh; s and z
     0.25), and all others `DEAR`.

   If it is missing, or is too many, an h costs 0.5, a vowel 1, and any other consonant `DEAR`.
3. *Each word has a limit* (`_limit`): nothing for two sounds, 0.25 for three, 0.5 for four or five,
   0.75 for more. "lamma" (0), "lemma" (0.25) and "hey seri" (0.25) are found. "commuter" lacks a p,
   "compute" a vowel, "computers" has an s too many, "sorry" has an o for an i (0.75 of 0.5), and
   "okay" alone is no "okay computer".
4. *Words may run together or be cut*: "Heysiri" is "hey siri" for nothing, and "com puter" is
   "computer" for `CUT`. A comma or a full stop within a word ends it.
5. *The beginning of a text is forgiven more*, as its first sound is often cut off: an h there may
   be missing, or be the breath of a p, t or k, for nothing, and a word of two sounds may cost 0.25.
   "A computer, who ..." is "hey computer" if the text begins with it; "I bought a computer" is not.

The distance of a phrase is the sum over its words. The limits are fitted to what Moonshine tiny
writes (`benchmarks/stop_words.py`).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_lowercase
from typing import Final

LONGEST: Final = 5
"""Words of a phrase, at most."""
DEAR: Final = 1.5
"""What a consonant costs that is another, is missing, or is too many."""
VOWEL_GAP: Final = 1.0
"""What a vowel costs that is missing or too many: it is a syllable."""
H_GAP: Final = 0.5
"""What an h costs that is missing or too many: many speakers drop it."""
ALIKE: Final = 0.5
"""What a consonant costs in place of one that is made alike."""
STEP: Final = 0.25
"""What a vowel costs in place of its neighbour."""
FAR: Final = 0.75
"""What a vowel costs in place of any other, at most."""
CUT: Final = 0.25
"""What a blank within a word costs."""

_ANY: Final = "*"
"""Stands for every sound."""
_OPENING: Final = 2
"""Sounds by which most words of a text are ruled out."""
_VOWELS: Final = "ieaou"
"""Each sounds like its neighbours."""
_SYLLABIC: Final = frozenset("ieaouY@")
"""All vowels."""
_ALIKE: Final = frozenset(("pb", "td", "kg", "fv", "CJ", "sS", "CS", "bv", "fT", "mn", "Td", "Ts"))
"""Consonants that are made alike."""
_NEAR: Final = {
    **dict.fromkeys(("@e", "@a", "@o", "@u", "Yi", "Ya", "sz"), STEP),
    "@i": 2 * STEP,
}
"""What these cost in place of each other."""
_BREATHS: Final = frozenset("hptk")
"""What an h at the start of a text may be written as."""

_SPELLINGS: Final = (
    # Silent letters.
    (r"\b[kg](?=n)|\bw(?=r)|\bp(?=s)|(?<=m)b\b|(?<=[aeiou])gh|(?<=[gkrw])h|h(?![aeiouy])", ""),
    (r"(?<=[aeiouy][^aeiouy])e\b|(?<=[aeiouy][^aeiouy]{2})e\b", ""),
    # Vowels of more than one letter. They are capitals here, as they are never weak.
    (r"eigh|(?<!\w\w)ey|ey\B|a[iye]|ei", "E"),
    (r"a(?=[^aeiouy\W]e\b)", "E"),
    (r"e(?=[^aeiouy\W]e\b)", "I"),
    (r"o(?=[^aeiouy\W]e\b)", "O"),
    (r"u(?=[^aeiouy\W]e\b)", "U"),
    (r"igh", "Y"),
    (r"[eiu]r(?![aeiouyr])|our\b", "@r"),
    (r"e[eay]|ie|(?<=\b[^aeiouy])e\b|(?<=\b[^aeiouy]{2})e\b", "I"),
    (r"o[ou]|u[ei]|e[uw]", "U"),
    (r"o[iy]", "OI"),
    (r"o[aew]|a[uw]", "O"),
    # "y" and "i".
    (r"\by(?=[aeiou])|(?<=[aeiou])y(?=[aeiou])", "y"),
    (r"(?<=\b[^aeiou])y\b|(?<=\b[^aeiou]{2})y\b|[iy](?=[^aeiouyr\W][aeiouy])", "Y"),
    (r"\bi(?=r[aeiouy])|i(?=re\b)", "Y"),
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
"""How letters sound: the first that fits counts. None is for a letter that is its own sound.

C is "ch", J is "j", S is "sh" and T is "th".
"""
_SPELLING: Final = re.compile("|".join(f"({pattern})" for pattern, _ in _SPELLINGS))
_WEAK: Final = re.compile("[ieaou](?=[^ieaouIEOUY@]*$)")
"""The vowel of the last syllable, written with one letter."""
_SYLLABLES: Final = frozenset("ieaouIEOUY@")
"""All vowels, while those of more than one letter are capitals."""
_PLAIN: Final = str.maketrans("IEOU", "ieou")
_TWICE: Final = re.compile(r"(\D)\1+")
"""A sound that is written twice. "007" is not "07"."""
_R: Final = re.compile("(?<=[ieaouY@])r(?![ieaouY@])")
"""An "r" that is not heard."""
_LETTERS: Final = "e bi si di i ef Ji eC Y Je ke el em en o pi kyu a es ti yu vi dabelyu eks wY zi"
_NAMES: Final = {**dict(zip(ascii_lowercase, _LETTERS.split(), strict=True)), "ok": "oke"}
"""What is not said as it is spelt: letters by their names."""
_WORD: Final = re.compile("[^\\W_](?:[^\\W_]|[\u0300-\u036f]|['\u2019](?=[^\\W_]))*")
"""A word, with its accents and apostrophes."""
_SILENT: Final = re.compile(r"['\u2019]s$|\W")
"""What of a word has no sound: "'s", accents, apostrophes."""
_JOINING: Final = re.compile(r"[\s'\u2019-]*")
"""What may stand between the parts of a word that is cut."""


@dataclass(frozen=True)
class Match:
    """A stop word in a text.

    Attributes:
        phrase: the stop word as the user gave it.
        start: where it begins in the text, in characters.
        end: where its last word ends, "'s" included; punctuation and blanks after it are not.
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
            sounds = heard.sounds[start : start + _OPENING]
            if sounds not in opened:
                opened[sounds] = [phrase for phrase in self._phrases if phrase.may_open(sounds)]
            for phrase in opened[sounds] if number else self._phrases:
                match = phrase.match(heard, number)
                if match and (best is None or _rank(match) < _rank(best)):
                    best = match
        return best


class _Heard:
    """A text as it sounds."""

    def __init__(self, text: str) -> None:
        self.words = list(_WORD.finditer(text))
        self.starts: list[int] = []
        """Where each word begins in the sounds."""
        self.ends: dict[int, int] = {}
        """The place in the text of each place in the sounds where a word ends."""
        self.joints: dict[int, float] = {}
        """What it costs to go on, within a word of a phrase, where a word of the text begins."""
        sounds: list[str] = []
        place = end = 0
        alone = False
        for word in self.words:
            between, letters = text[end : word.start()], word.group()
            abbreviated = alone and len(letters) == 1
            alone = len(letters) == 1
            if abbreviated:
                self.joints[place] = 0.0
            else:
                joined = between == " " or _JOINING.fullmatch(between)
                self.joints[place] = CUT if joined else math.inf
            self.starts.append(place)
            sounds.append(_sounds(letters))
            place += len(sounds[-1])
            end = self.ends[place] = word.end()
        self.sounds = "".join(sounds)


class _Phrase:
    """A stop word as it sounds."""

    def __init__(self, phrase: str) -> None:
        if not isinstance(phrase, str):
            raise TypeError(f"a stop word is a str, not {type(phrase).__name__}: {phrase!r}")
        if not any(letter.isalpha() for letter in phrase):
            raise ValueError(f"a stop word has letters, and {phrase!r} has none")
        words = _WORD.findall(phrase)
        if len(words) > LONGEST:
            raise ValueError(
                f"a stop word has up to {LONGEST} words, and {phrase!r} has {len(words)}"
            )
        self.phrase = phrase
        self.words = [_sounds(word) for word in words]

    def may_open(self, sounds: str) -> bool:
        """Whether what begins with these sounds may be the phrase, unless it begins the text."""
        word = self.words[0]
        return bool(_reach(word, sounds + _ANY * len(word), 0, {}, opening=False))

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
    """The least is the best."""
    return match.distance, match.start - match.end


def _reach(
    word: str, sounds: str, start: int, joints: dict[int, float], *, opening: bool
) -> dict[int, float]:
    """Where a word of a phrase may end if it begins at a place, and what it costs.

    This is the edit distance, row by row, without what is over the limit.
    """
    limit = _limit(len(word), opening=opening)
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
    """A row of the edit distance, with the sounds too many that may follow."""
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


def _limit(sounds: int, *, opening: bool) -> float:
    """What a word of so many sounds may cost."""
    if sounds < 4:
        return 0.25 if sounds == 3 or opening else 0.0
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
    plain = word.casefold()
    if not plain.isalnum() or not plain.isascii():
        plain = _SILENT.sub("", unicodedata.normalize("NFKD", plain))
    if plain in _NAMES:
        return _NAMES[plain]
    sounds = _SPELLING.sub(_spelling, plain) or plain or word
    last = _WEAK.search(sounds)
    if last and _SYLLABLES.intersection(sounds[: last.start()]):
        sounds = f"{sounds[: last.start()]}@{sounds[last.end() :]}"
    sounds = _TWICE.sub(r"\1", sounds.translate(_PLAIN))
    return _R.sub("", sounds)


def _spelling(letters: re.Match[str]) -> str:
    sounds = _SPELLINGS[(letters.lastindex or 0) - 1][1]
    return letters.group() if sounds is None else sounds
