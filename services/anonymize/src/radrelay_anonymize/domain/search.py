"""Words of identity in one text, or in bytes of no character set: what the verifier looks for in what goes out."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from radrelay_anonymize.domain.folding import fold, squeeze, takes_particles
from radrelay_anonymize.domain.rules import is_enumerated
from radrelay_anonymize.domain.words import SHORTEST_GLUED, Words

TEXTUAL = frozenset({"AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
PLAIN = TEXTUAL | {"UI"}
LONGEST_REMEMBERED = 256  # characters
SHORTEST = {"CS": 5}  # short words are views and regions there
SHORTEST_WORD = 3
SHORTEST_RAW = 5  # shorter ones occur in binary values by chance
_WORD = re.compile(rb"[a-z0-9]+")
_APART = bytes(byte if _WORD.fullmatch(bytes([byte])) else ord(" ") for byte in range(256))  # words between spaces
OWN = frozenset({0x00120063, 0x00120064})  # what the engine says of itself: method, and method codes


def in_element(tag: int, vr: str, text: str, words: Words) -> Iterator[str]:
    """Evidence in a value of a `PLAIN` VR, as `kind:tag`; there is none in others."""
    where = f"{tag:08x}"
    if vr == "UI":
        if words.uids & set(text.split("\\")):
            yield f"uid:{where}"
    elif vr in TEXTUAL and not is_enumerated(tag) and tag not in OWN:
        yield from (f"{kind}:{where}" for kind in _kinds(text, SHORTEST.get(vr, SHORTEST_WORD), words))


def in_bytes(words: Words, folded: bytes) -> Iterator[str]:
    """Evidence in bytes of lower case, as text of no charset: what hides outside of readable elements."""
    if any(uid.encode() in folded for uid in words.uids):
        yield "raw:uid"
    utf_16 = folded.replace(b"\0", b"")  # as colour profiles have it
    yield from {*_in_plain(words, folded), *_in_plain(words, utf_16)}


def _in_plain(words: Words, folded: bytes) -> Iterator[str]:
    plain, others = _long_names(words.names)
    if not plain.isdisjoint(folded.translate(_APART).split()) or (others and others.search(folded)):
        yield "raw:name"
    glued = [word for word in words.identifiers if len(word) >= SHORTEST_GLUED and not word.isdigit()]
    if any(word.encode() in folded for word in glued):
        yield "raw:identifier"


@functools.lru_cache(maxsize=16)
def _long_names(names: frozenset[str]) -> tuple[frozenset[bytes], re.Pattern[bytes] | None]:
    """Those that cannot stand in binary values by chance: single words, and a pattern of what is more than one."""
    long = {word.encode() for word in names if len(word) >= SHORTEST_RAW and word.isascii() and not word.isdigit()}
    plain = frozenset(word for word in long if _WORD.fullmatch(word))
    others = b"|".join(map(re.escape, sorted(long - plain)))
    return plain, re.compile(rb"(?<![a-z0-9])(?:" + others + rb")(?![a-z0-9])") if others else None


def _kinds(text: str, shortest: int, words: Words) -> Iterator[str]:
    """Which sorts of identity the text holds."""
    judge = _remembered if len(text) <= LONGEST_REMEMBERED else _judged
    yield from judge(text, shortest, words.names, words.phrases, words.identifiers, words.dates)
    if "." in text and any(uid in text for uid in words.uids):
        yield "uid"


def _judged(
    text: str,
    shortest: int,
    names: frozenset[str],
    phrases: frozenset[str],
    identifiers: frozenset[str],
    dates: frozenset[str],
) -> tuple[str, ...]:
    """Of "name", "phrase", "identifier" and "date" those that the text holds."""
    prose = _words_in(fold(text))
    tokens = {*prose.split(), *_words_in(re.sub(r"['\u2019]", "", fold(text))).split()}
    squeezed = squeeze(text)
    found = {
        "name": bool({token for token in tokens if len(token) >= shortest} & names),
        "phrase": any(phrase in prose for phrase in _searched(phrases)),
        "identifier": any(word in (squeezed if len(word) >= SHORTEST_GLUED else tokens) for word in identifiers),
        "date": any(date in squeezed for date in dates),
    }
    return tuple(kind for kind, is_there in found.items() if is_there)


_remembered = functools.lru_cache(maxsize=4096)(_judged)  # most texts come again in every instance of a series


@functools.lru_cache(maxsize=16)
def _searched(phrases: frozenset[str]) -> list[str]:
    """As words between spaces; without the one behind where a script adds endings, and that before, if prefixes."""
    found = [_words_in(fold(phrase)) for phrase in phrases]
    return [each if each.isascii() else each.strip() if takes_particles(each) else each.rstrip() for each in found]


def _words_in(text: str) -> str:
    """Its words between single spaces, one at either end too; scripts that join words are searched without those."""
    return " " + " ".join(re.findall(r"[^\W_]+", text)) + " "
