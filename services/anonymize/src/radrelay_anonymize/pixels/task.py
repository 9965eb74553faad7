"""What the process that looks at pixels is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from radrelay_anonymize.domain.words import Words


@dataclass(frozen=True, slots=True)
class Task:
    """A de-identified instance, and the words that must not be seen in it.

    `look`: for text, beside unused bits. `declared`: its sender says that there is identity in the pixels.
    """

    data: bytes
    words: Words
    look: bool = True
    declared: bool = False


@dataclass(frozen=True, slots=True)
class Washed:
    """New bytes, None where nothing was found; and reasons why a person has to look, if there are any."""

    data: bytes | None = None
    hidden: int = 0  # boxes
    reasons: tuple[str, ...] = ()
