"""The engine's fast way: the header's bytes rewritten by the same table and makers, all other bytes spliced."""

from __future__ import annotations

import functools
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from radrelay_anonymize.domain.admission import admission
from radrelay_anonymize.domain.deidentify import CODE_VALUE, CONCEPT_NAME, Quarantined, is_of_kind
from radrelay_anonymize.domain.gate import BULK, Pixels
from radrelay_anonymize.domain.part10 import Part10
from radrelay_anonymize.domain.pieces import Buffer, Output
from radrelay_anonymize.domain.private import creator_tag, is_private, private_action
from radrelay_anonymize.domain.profile import Option
from radrelay_anonymize.domain.rawvalues import MOST_TEXT, NUMBERS, SIZES, header, item, joined, texts_of
from radrelay_anonymize.domain.remembering import remember
from radrelay_anonymize.domain.rules import IDENTITY_CONCEPTS, actions, passed_on
from radrelay_anonymize.domain.runs import DataSet, Element, Named, Run
from radrelay_anonymize.domain.signature import file_meta, signature
from radrelay_anonymize.domain.table import Action
from radrelay_anonymize.domain.values import SPELLED, Context, remade
from radrelay_anonymize.domain.words import Words, gathered
from radrelay_shared.errors import Invalid

SOP_CLASS, SOP_INSTANCE, TEXT_VALUE = 0x00080016, 0x00080018, 0x0040A160

# What is made of the value. The other makers need not know it.
ASKING = frozenset({Action.UID, Action.KEEP, Action.CLEAN, Action.CODE, Action.SHIFT, Action.AGE})

LONGEST_REMEMBERED = 256  # bytes of an element
MOST_RUNS_REMEMBERED = 1024  # of a study
BYTES_A_VALUE = 16  # so much longer a text takes for each value in it
SHORTEST_UID_DOTS = 3  # see `words._DOTTED`: from here on a text may hold a UID

Parts = list[tuple[int, Buffer]]  # an element's tag, and its bytes or some of them, and those of others after it
Raw = tuple[str, int, str, bytes, bytes]  # kind, tag, VR, value and character set of what is named
# Between these the engine writes elements of its own.
SIGNED = (0x00080005, 0x00120062, 0x00120063, 0x00120064, 0x00280301, 0x00280303)


@dataclass(slots=True)
class Memory:
    """What became of a study's runs and of short elements, under one character set."""

    runs: dict[Run, Parts] = field(default_factory=dict)
    elements: dict[Buffer, Parts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A copy without identity, by rule, with the pixels of the original."""

    output: Output
    words: Words
    pixels: Pixels


def rewritten(source: Part10, context: Context) -> Rewritten | Quarantined:
    """As `deidentify`, on bytes; raises `Invalid` where a value cannot be written again, or there is too much text."""
    reason, pixels, annotation = admission(source)
    if reason:
        return Quarantined((reason,))
    known = context.knowing(words_in(source, passed_on(context.profile)))
    implicit = source.dataset.implicit
    memory = _memory(context, known.words.having(frozenset()), implicit=implicit)
    walk = _Walk(known, memory, implicit=implicit)
    parts = [*walk.data_set(source.dataset), *signature(context.profile, pixels, annotation, implicit=implicit)]
    parts.sort(key=itemgetter(0))
    start = file_meta(_value(parts, SOP_CLASS), _value(parts, SOP_INSTANCE), source.syntax)
    return Rewritten(_output(start, parts), known.words, pixels)


def _output(start: bytes, parts: Parts) -> Output:
    """Pixels, which come last, stay where they are."""
    shown = parts.pop()[1] if parts and parts[-1][0] in BULK else b""
    return Output(b"".join([start, *[buffer for _, buffer in parts]]), shown)


def words_in(source: Part10, but: frozenset[int] = frozenset()) -> Words:
    """As `words_of`; raises `Invalid` if there is too much of them."""
    runs = [run for run in source.dataset.runs if run.named]
    others = [each for run in runs if not run.raw for each in _raws(run.named, but)]
    spoken = _spoken(
        tuple([run for run in runs if run.raw]), but, tuple([each for each in others if each[0] != "uids"])
    )
    return spoken | _gathered([each for each in others if each[0] == "uids"])


@functools.lru_cache(maxsize=16)  # a study's names are the same in all its instances
def _spoken(recalled: tuple[Run, ...], but: frozenset[int], others: tuple[Raw, ...]) -> Words:
    return _gathered([*(each for run in recalled for each in _raws(run.named, but)), *others])


def _raws(named: Iterable[Named], but: frozenset[int]) -> list[Raw]:
    return [
        (kind, tag, vr, bytes(raw[start:]), charset)
        for kind, (tag, vr, raw, start, _), charset in named
        if tag not in but
    ]


def _gathered(found: list[Raw]) -> Words:
    if sum(_weight(value) for _, _, _, value, _ in found) > MOST_TEXT:
        raise Invalid("more names and identifiers than any image has")
    return gathered((kind, _texts(tag, vr, value, charset) or []) for kind, tag, vr, value, charset in found)


def _weight(raw: bytes) -> int:
    """What it costs to look at a text: its bytes, and more for each value in it."""
    return len(raw) + BYTES_A_VALUE * raw.count(b"\\")


def _texts(tag: int, vr: str, raw: bytes, charset: bytes) -> list[str] | None:
    """The values; None if they cannot be read."""
    try:
        return texts_of(tag, vr, raw, charset)
    except Exception:  # noqa: BLE001  as `reading.element`: pydicom raises many kinds
        return None


def _value(parts: Parts, tag: int) -> bytes:
    """The value of the UI element that goes out, whose header has eight bytes."""
    return b"".join([buffer for each, buffer in parts if each == tag])[8:]


@functools.lru_cache(maxsize=16)
def _memory(context: Context, spoken: Words, *, implicit: bool) -> defaultdict[bytes, Memory]:  # noqa: ARG001  the arguments are the key
    """What became of the elements of a study, by character set."""
    return defaultdict(Memory)


class _Walk:
    def __init__(self, context: Context, memory: defaultdict[bytes, Memory], *, implicit: bool) -> None:
        self.context, self.memory, self.implicit = context, memory, implicit
        self.actions = actions(context.profile)
        self.keeps_private = Option.RETAIN_SAFE_PRIVATE in context.profile.options
        self.text_left = MOST_TEXT
        self.fleeting = False  # what was made of the run under way may be another's in the next instance

    def data_set(self, source: DataSet) -> Parts:
        """The elements that go out, in order."""
        parts: Parts = []
        memory = self.memory[source.charset]
        for run in source.runs:
            made = memory.runs.get(run)
            parts += self._run(source, run, memory) if made is None else made
        if TEXT_VALUE in dict(parts) and self._names_identity(source):
            parts = [(tag, self._dummied(source) if tag == TEXT_VALUE else buffer) for tag, buffer in parts]
        return parts

    def _run(self, source: DataSet, run: Run, memory: Memory) -> Parts:
        around, self.fleeting = self.fleeting, False
        parts: Parts = []
        for element in run.elements:
            _, _, raw, start, _ = element
            made = memory.elements.get(raw) if start and len(raw) <= LONGEST_REMEMBERED else None
            parts += self._element(source, element, memory) if made is None else made
        if run.raw and not self.fleeting:
            remember(memory.runs, run, _joined(parts), MOST_RUNS_REMEMBERED)
        self.fleeting |= around
        return parts

    def _element(self, source: DataSet, element: Element, memory: Memory) -> Parts:
        tag, vr, raw, start, items = element
        action = self._private(source, tag, vr) if is_private(tag) else self.actions[tag]
        if action is Action.REMOVE or not is_of_kind(vr, tag):
            return []
        if vr == "SQ":
            kept = items if action is Action.RECURSE else ()
            return [(tag, self._with(tag, vr, b"".join(map(self._item, kept))))]
        if start and len(raw) <= LONGEST_REMEMBERED:
            return self._short(memory.elements, element, action, source.charset)
        return [(tag, buffer) for buffer in self._long(element, action, source.charset)]

    def _private(self, source: DataSet, tag: int, vr: str) -> Action:
        creator = source.creators.get(creator_tag(tag)) if self.keeps_private else None
        return private_action(tag, vr, creator) if creator else Action.REMOVE

    def _item(self, source: DataSet) -> bytes:
        """Without pixels: those of an item are a thumbnail's, and nobody looks at them."""
        return item(b"".join([buffer for tag, buffer in self.data_set(source) if tag not in BULK]))

    def _short(self, memory: dict[Buffer, Parts], element: Element, action: Action, charset: bytes) -> Parts:
        """What becomes of an element, remembered by all its bytes: most come again in every instance."""
        tag, vr, raw, start, _ = element
        value = raw[start:]
        after = self._outgoing(tag, vr, value, action, charset)
        made: Parts = [] if after is None else [(tag, raw if after is value else self._with(tag, vr, bytes(after)))]
        if not self._is_fleeting(action, value) and not is_private(tag):
            remember(memory, raw, made)
        return made

    def _is_fleeting(self, action: Action, value: Buffer) -> bool:
        """Whether UIDs may be cleaned out of it, which are other ones in each instance."""
        found = action in {Action.CLEAN, Action.CODE} and bytes(value).count(b".") >= SHORTEST_UID_DOTS
        self.fleeting |= found
        return found

    def _long(self, element: Element, action: Action, charset: bytes) -> tuple[Buffer, ...]:
        """As it stands in the file, if it may; with a header of its own only where that said another VR."""
        tag, vr, raw, start, _ = element
        value = raw[start:]
        after = self._outgoing(tag, vr, value, action, charset)
        self._is_fleeting(action, value)
        if after is None:
            return ()
        if after is not value:
            return (self._with(tag, vr, bytes(after)),)
        return (raw,) if start else (header(tag, vr, len(value), implicit=self.implicit), value)

    def _outgoing(self, tag: int, vr: str, raw: Buffer, action: Action, charset: bytes) -> Buffer | None:
        """The new raw value: None if the element does not go out, the very `raw` if nothing changes."""
        if len(raw) % SIZES.get(vr, 1):
            return None
        if action is Action.KEEP and (vr not in SPELLED or (vr in NUMBERS and NUMBERS[vr].fullmatch(raw))):
            return raw
        values: list[str] | None = []
        if action in ASKING and vr in SPELLED:
            values = self._spelled(tag, vr, bytes(raw), charset)
        after = None if values is None else remade(action, tag, vr, values, self.context)
        if after is None:
            return None
        return raw if after is values else joined(vr, after)

    def _spelled(self, tag: int, vr: str, raw: bytes, charset: bytes) -> list[str] | None:
        self.text_left -= _weight(raw)
        if self.text_left < 0:
            raise Invalid("more text than any image has")
        return _texts(tag, vr, raw, charset)

    def _with(self, tag: int, vr: str, value: bytes) -> bytes:
        return header(tag, vr, len(value), implicit=self.implicit) + value

    def _names_identity(self, source: DataSet) -> bool:
        """Whether the text of an SR content item is an identity, whatever it says."""
        names = [items for tag, _, _, _, items in source.elements if tag == CONCEPT_NAME]
        for name in names[0][:1] if names else ():
            codes = [(tag, vr, bytes(raw[start:])) for tag, vr, raw, start, _ in name.elements if tag == CODE_VALUE]
            texts = (_texts(*codes[0], name.charset) if codes else None) or [""]
            return texts[0] in IDENTITY_CONCEPTS
        return False

    def _dummied(self, source: DataSet) -> bytes:
        vr = next(vr for tag, vr, *_ in source.elements if tag == TEXT_VALUE)
        return self._with(TEXT_VALUE, vr, joined(vr, remade(Action.DUMMY, TEXT_VALUE, vr, [], self.context) or []))


def _joined(parts: Parts) -> Parts:
    """In as few pieces as leave room for what the engine writes between them."""
    groups = [list(group) for _, group in groupby(parts, lambda part: bisect(SIGNED, part[0]))]
    return [(group[0][0], b"".join([buffer for _, buffer in group])) for group in groups]
