"""Text without what varies between spellings: case, diacritics, separators."""

from __future__ import annotations

import re
import unicodedata

APOSTROPHE = re.compile(r"['\u2019]")
TOKEN = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_STROKES = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "\u0131": "i", "æ": "ae", "œ": "oe", "þ": "th"})
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
# Code points: until then Latin letters; from then on Hebrew, Arabic and others; until then words with spaces between.
_LAST_LATIN, _FIRST_SEMITIC, _LAST_SPACED = 0x24F, 0x590, 0xDFF


def fold(text: str) -> str:
    """Case and diacritics away, so that MÜLLER, Müller and Muller are one."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return unicodedata.normalize("NFC", bare).casefold().translate(_STROKES)


def squeeze(text: str) -> str:
    """Letters and digits only, folded."""
    return "".join(char for char in fold(text) if char.isalnum())


def bare(token: str) -> str:
    """Folded and without apostrophes: O'Neil and ONeil are one."""
    return APOSTROPHE.sub("", fold(token))


def transliterated(name: str) -> str:
    """The German or Danish spelling without umlauts: what a system without them wrote."""
    return name.lower().translate(_UMLAUTS)


def is_latin(text: str) -> bool:
    return all(ord(char) <= _LAST_LATIN for char in text)


def joins_words(text: str) -> bool:
    """Whether the script writes words without spaces between them."""
    return any(ord(char) > _LAST_SPACED for char in text)


def takes_particles(text: str) -> bool:
    """Whether letters may stand right before a name: "to" and "the" in Hebrew and Arabic, any where words join."""
    return any(ord(char) >= _FIRST_SEMITIC for char in text)
