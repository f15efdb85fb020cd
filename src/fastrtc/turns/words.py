"""What the words say about the end of a turn: "... to the" goes on, "... to the station" may not.

English only. It reads what a recogniser wrote, whose spelling of a half-said word is often wrong,
so a word counts by its sound where two are alike ("to", "too").
"""

from __future__ import annotations

import re
from typing import Final

HANGING: Final = -4.0
"""Log-odds of an end after a word that hardly ever ends a sentence."""
LEANING: Final = -2.7
"""The same after a word that usually goes on: prepositions, auxiliaries, relative pronouns."""
WEAK: Final = -1.4
"""The same after a word that goes on more often than not."""
HALF: Final = -3.3
"""The same after a clause that wants another one, with none in sight."""
COUNTING: Final = -2.2
"""The same inside a number or a spelling, which may be over at any time."""
UNMARKED: Final = -1.4
"""The same where the recogniser itself heard no end and wrote no full stop."""
CONTINUED: Final = -0.2
"""The same where it wrote a comma."""
INTRODUCED: Final = -1.2
"""The same where what it wrote the comma after is a phrase that leads into a sentence."""
ASKED: Final = 0.6
"""The same where it heard a question."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_FILLERS: Final = _set("um uh er erm uhm hm hmm mm ehm")
_HANGING: Final = _FILLERS | _set(
    """a an the and or nor but because although unless whether if than of my your our their its
    every very quite rather i'm you're we're they're he's she's it's that's there's here's i've
    you've we've they've i'll you'll we'll they'll he'll she'll i'd you'd we'd they'd let's i
    we they he she gonna wanna gotta whose which per via versus plus minus double otherwise
    however therefore meanwhile furthermore unfortunately basically currently usually normally"""
)
_LEANING: Final = _set(
    """to from with at by into onto upon near since until till between among without through
    during against toward towards behind beside beyond across along except regarding concerning
    is are was were be been being am had has have having does did will would could should can
    might must shall who whom when where why how says say said saying asked asking means wants
    'cause cause trying supposed going called named especially particularly doctor mister missus
    mr mrs ms dr dot terminal isn't won't can't don't doesn't didn't depends such as while like
    even just also get gets got send give put tell make let bring find buy"""
)
_PARTICLES: Final = _set(
    """too for about on in under above around what that so then maybe perhaps once before after
    though told want need needs his her this these those some any another each both either
    neither other more most much many few several able next kind sort not may really actually
    it you only"""
)
_HELD: Final = (
    *("let me think", "let me see", "let me check", "let me look", "let's see", "hold on"),
    *("hang on", "wait a second", "one second", "one moment", "just a moment", "just a second"),
    *("give me a second", "give me a moment", "bear with me", "was it called", "is it called"),
    *("what's it called", "the word", "how do i say", "how do i put it", "i guess", "i mean"),
    *("depends on", "for example", "for instance", "on the other hand", "to be honest"),
    *("in other words", "the thing is", "first of all", "in my opinion", "in short", "i quote"),
)
"""Phrases with which people keep the floor while they think, or that lead into more."""
_ENDS: Final = (
    *("thank you", "of course", "and so on", "all right", "i do", "i am", "i have", "i can"),
    *("think so", "hope so", "guess so", "told you so", "please do", "why not", "what for"),
    *("or not", "not really", "like that", "after that", "before that", "you do", "is it"),
    *("catch that", "do that", "get it", "for it", "about it", "of it", "with it", "got it"),
    *(
        "that depends",
        "it depends",
        "if i may",
        "good by",
        "do i",
        "am i",
        "can i",
        "did i",
        "have i",
        "too much",
        "no more",
        "any more",
    ),
)
"""Ends of sentences whose last word would speak against it."""
_SUBORDINATE: Final = _set(
    """if when whenever unless although though while once until till before after since provided
    assuming supposing wherever whereas because"""
)
_LEADS: Final = (
    *(("not", "only"), ("as", "soon", "as"), ("even", "though"), ("even", "if"), ("now", "that")),
    *(("in", "order"), ("the", "last", "time"), ("the", "first", "time"), ("as", "long", "as")),
)
"""Other first words of a clause that wants another."""
_INTRODUCES: Final = _set("in at on for from with by after before during to of instead besides")
"""First words of a phrase that stands in front of a sentence: "For an operator, ..."."""
_ASKING: Final = _set("what which who whom where how")
_STRANDED: Final = _set("from for about with to want need like mean called in on do are is said at")
"""What may end a question whose first word it belongs to: "Where are you from?"."""
_BEING: Final = _set("is are was were do does did has")
_SUBJECTS: Final = _set("i you he she it we they that this there")
_AUXILIARY: Final = _set(
    """is are was were am do does did can could will would should shall may might must has have
    had isn't aren't don't doesn't didn't can't won't"""
)
_NUMBERS: Final = _set(
    """zero oh one two three four five six seven eight nine ten eleven twelve thirteen fourteen
    fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty
    ninety hundred thousand"""
)
_COUNTED: Final = _set(
    """number address card account phone mobile code reference spelled spelt street digits"""
)
_CLAIMS: Final = _set(
    """stop wait no nope hold hang but actually sorry excuse pardon what hello hey pause quiet
    enough shut listen cancel never help repeat again question slow slower louder sentence
    don't back next skip please who why when where how can could"""
)
"""Words that take the floor, however short they are said."""
_AGREES: Final = frozenset(
    ("no problem", "no worries", "oh no", "how nice", "i can see", "no way", "no kidding")
)
"""What has such a word in it, and is a back-channel all the same."""
_BACKCHANNEL: Final = _set(
    """mm hm mhm hmm uh huh um yeah yes yep yup ok okay right sure i see oh ah wow really good
    great nice alright all exactly thank thanks you cool fine got it true indeed well so aha"""
)
_PHRASE: Final = 3
"""Words that are a phrase, and no back-channel unless all of them are."""
_NOISE: Final = _set("""um uh er erm hm hmm mm ah oh huh you the a i bye""")
"""What a recogniser writes for a cough or a breath, or what means nothing."""
_SHORT: Final = 6
"""Words of such a phrase, at most."""
_SHORTEST_CLAUSE: Final = 4
_LONGEST_PHRASE: Final = 6
_LONG_CLAUSE: Final = 9
"""Words after which a subordinate clause has had the time for its main clause."""


def end_hint(text: str) -> float:
    """Log-odds that a turn ends with these words, besides how they sound; 0 where they say nothing.

    The figures are fitted to made and human sentences (`benchmarks/turns.py`); what matters is
    their order.
    """
    marked = text.strip()
    words = _words(marked)
    if not words:
        return 0.0
    hint = min(_last_word(words, marked), _clause(marked), _counting(words))
    trailing = marked.endswith(("...", "\u2026"))
    if hint < 0 or trailing:
        return min(hint, UNMARKED) if trailing else hint
    if marked.endswith("?"):
        return ASKED
    if marked.endswith(","):
        leads = words[0] in _INTRODUCES and len(words) <= _SHORT
        return INTRODUCED if leads and not _ends_with(" ".join(words), _ENDS) else CONTINUED
    return 0.0 if marked.endswith((".", "!")) else UNMARKED


def is_meant(text: str) -> bool:
    """Whether a short sound over a reply is meant to end it.

    "Stop", or "the blue one", but not "mm-hm" or "okay"; and no single word that does not claim
    the floor, as it may be anything: recognisers hear words in a cough.
    """
    words = _words(text)
    if " ".join(words) in _AGREES:
        return False
    phrase = len(words) >= _PHRASE and not _BACKCHANNEL.issuperset(words)
    return phrase or not _CLAIMS.isdisjoint(words)


def is_answer(text: str) -> bool:
    """Whether there is any word in a short sound: "yes", but not a cough."""
    return any(word not in _NOISE for word in _words(text))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower().replace("\u2019", "'"))


def _ends_with(tail: str, phrases: tuple[str, ...]) -> bool:
    return f" {tail}".endswith(tuple(f" {phrase}" for phrase in phrases))


def _last_word(words: list[str], text: str) -> float:
    last = words[-1]
    tail = " ".join(words[-_LONGEST_PHRASE:])
    if _ends_with(tail, _HELD):
        return HANGING
    if _ends_with(tail, _ENDS):
        return 0.0
    if last in _HANGING:
        return HANGING
    # "Where are you from?": what it leans on stands in front.
    if last in _STRANDED and words[0] in _ASKING and text.endswith("?"):
        return 0.0
    if last in _LEANING:
        # "what it is", "as they were": a verb that has its subject and may have its object too.
        had = len(words) > 3 and last in _BEING and words[-2] in _SUBJECTS
        return WEAK if had else LEANING
    if last in ("you", "it"):
        # "and after that you": a subject that has no verb yet.
        joined = len(words) > 1 and words[-2] in (*_SUBORDINATE, "that", "and")
        return LEANING if joined and not text.endswith("?") else 0.0
    return WEAK if last in _PARTICLES else 0.0


def _clause(text: str) -> float:
    """A subordinate clause alone: "If you don't mind", but not "When does it start?"."""
    sentence = re.split(r"[.!?]\s+", text)[-1]
    words = _words(sentence)
    if len(words) < 2:
        return 0.0
    # "Until Friday" is no clause, and an answer.
    short = len(words) < _SHORTEST_CLAUSE
    first = words[0] in _SUBORDINATE and words[1] not in _AUXILIARY and not short
    # "To leave the conference": what for, and then what?
    purpose = words[0] == "to" and words[1] not in _HANGING and not short
    if not (first or purpose or any(tuple(words[: len(lead)]) == lead for lead in _LEADS)):
        return 0.0
    main = sentence.rstrip(" ,.!?").partition(",")[2]
    if len(_words(main)) >= 2 or len(words) > _LONG_CLAUSE:
        return 0.0
    return WEAK if words[0] == "because" else HALF


def _counting(words: list[str]) -> float:
    """Numbers and letters one by one, where a number or a name is being told."""
    last = words[-1]
    letter = len(last) == 1 and last.isalpha() and last not in ("i", "a")
    if letter and len(words) > 2:
        return COUNTING
    told = len(words) > 3 and not _COUNTED.isdisjoint(words)
    if told and (last.isdigit() or last in _NUMBERS):
        return COUNTING
    return 0.0
