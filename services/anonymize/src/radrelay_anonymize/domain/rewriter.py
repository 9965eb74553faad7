"""The engine's fast way: the header's bytes rewritten by the same table and makers, all other bytes spliced."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

from radrelay_anonymize.domain.admission import admission
from radrelay_anonymize.domain.deidentify import CODE_VALUE, CONCEPT_NAME, Quarantined, is_of_kind
from radrelay_anonymize.domain.gate import Pixels
from radrelay_anonymize.domain.part10 import Part10
from radrelay_anonymize.domain.private import creator_tag, is_private, private_action
from radrelay_anonymize.domain.profile import Option
from radrelay_anonymize.domain.rawvalues import MOST_TEXT, NUMBERS, SIZES, header, item, joined, texts_of
from radrelay_anonymize.domain.rules import IDENTITY_CONCEPTS, actions, passed_on
from radrelay_anonymize.domain.signature import file_meta, signature
from radrelay_anonymize.domain.structure import DataSet, Element
from radrelay_anonymize.domain.table import Action
from radrelay_anonymize.domain.values import SPELLED, Context, remade
from radrelay_anonymize.domain.words import Words, gathered
from radrelay_shared.dicom.reading import quietly
from radrelay_shared.errors import Invalid

SOP_CLASS, SOP_INSTANCE, TEXT_VALUE = 0x00080016, 0x00080018, 0x0040A160

# What is made of the value. The other makers need not know it.
ASKING = frozenset({Action.UID, Action.KEEP, Action.CLEAN, Action.CODE, Action.SHIFT, Action.AGE})

REMEMBERED, LONGEST_REMEMBERED = 4096, 256  # elements of a study; bytes of one, longer ones are views of the input
UNKNOWN = b""
SHORTEST_UID_DOTS = 3  # see `words._DOTTED`: from here on a text may hold a UID

Buffer = bytes | memoryview
Parts = list[tuple[int, Buffer]]  # an element's tag, and its bytes or some of them
Memory = dict[bytes, dict[bytes, bytes | None]]  # by character set and element


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A copy without identity, by rule: a Part 10 file in pieces, of which large ones are views of the original."""

    buffers: list[Buffer]
    words: Words
    pixels: Pixels


def rewritten(source: Part10, context: Context) -> Rewritten | Quarantined:
    """As `deidentify`, on bytes; raises `Invalid` where a value cannot be written again, or there is too much text."""
    with quietly():
        reason, pixels, annotation = admission(source)
        if reason:
            return Quarantined((reason,))
        known = context.knowing(words_in(source, passed_on(context.profile)))
        walk = _Walk(source, known)
        parts = [*walk.data_set(source.dataset), *signature(context.profile, walk.implicit, pixels, annotation)]
        parts.sort(key=lambda part: part[0])
        start = file_meta(_value(parts, SOP_CLASS), _value(parts, SOP_INSTANCE), source.syntax)
        return Rewritten([start, *(buffer for _, buffer in parts)], known.words, pixels)


def words_in(source: Part10, but: frozenset[int] = frozenset()) -> Words:
    """As `words_of`."""
    data, named = source.data, [each for each in source.named if each[1][0] not in but] if but else source.named
    raw = [(kind, tag, vr, data[start:end], charset) for kind, (tag, vr, _, start, end, _), charset in named]
    if sum(len(each[3]) for each in raw) > MOST_TEXT:
        raise Invalid("more names and identifiers than any image has")
    spoken = _spoken(tuple(each for each in raw if each[0] != "uids"))
    return spoken | gathered(("uids", _texts(*each[1:]) or []) for each in raw if each[0] == "uids")


@functools.lru_cache(maxsize=16)  # a study's names are the same in all its instances
def _spoken(raw: tuple[tuple[str, int, str, bytes, bytes], ...]) -> Words:
    return gathered((kind, _texts(tag, vr, value, charset) or []) for kind, tag, vr, value, charset in raw)


def _texts(tag: int, vr: str, raw: bytes, charset: bytes) -> list[str] | None:
    """The values; None if they cannot be read."""
    try:
        return texts_of(tag, vr, raw, charset)
    except Exception:  # noqa: BLE001  as `reading.element`: pydicom raises many kinds
        return None


def _value(parts: Parts, tag: int) -> bytes:
    """The value of the UI element that goes out, whose header has eight bytes."""
    return b"".join(buffer for each, buffer in parts if each == tag)[8:]


@functools.lru_cache(maxsize=16)
def _memory(implicit: bool, context: Context) -> Memory:  # noqa: ARG001, FBT001  the arguments are the key
    """What became of the short elements of a study."""
    return {}


class _Walk:
    def __init__(self, source: Part10, context: Context) -> None:
        self.data, self.view = source.data, memoryview(source.data)
        self.implicit, self.context = source.dataset.implicit, context
        self.actions = actions(context.profile)
        self.keeps_private = Option.RETAIN_SAFE_PRIVATE in context.profile.options
        self.text_left = MOST_TEXT
        self.memory = _memory(self.implicit, replace(context, words=replace(context.words, uids=frozenset())))

    def data_set(self, source: DataSet) -> Parts:
        """The elements that go out, in order."""
        parts: Parts = []
        data, actions = self.data, self.actions
        memory = self.memory.setdefault(source.charset, {})
        for element in source.elements:
            tag, vr, at, _, end, items = element
            action = self._private(source, tag, vr) if is_private(tag) else actions[tag]
            if action is Action.REMOVE or not is_of_kind(vr, tag):
                continue
            if vr == "SQ":
                kept = items if action is Action.RECURSE else ()
                parts.append((tag, self._with(tag, vr, b"".join(map(self._item, kept)))))
            elif at < 0 or end - at > LONGEST_REMEMBERED:
                parts += [(tag, buffer) for buffer in self._long(element, action, source.charset)]
            else:
                raw = data[at:end]
                made = memory.get(raw, UNKNOWN)
                if made is UNKNOWN:
                    made = self._short(memory, raw, element, action, source.charset)
                if made is not None:
                    parts.append((tag, made))
        if any(tag == TEXT_VALUE for tag, _ in parts) and self._names_identity(source):
            parts = [(tag, self._dummied(source) if tag == TEXT_VALUE else buffer) for tag, buffer in parts]
        return parts

    def _private(self, source: DataSet, tag: int, vr: str) -> Action:
        creator = source.creators.get(creator_tag(tag)) if self.keeps_private else None
        return private_action(tag, vr, creator) if creator else Action.REMOVE

    def _item(self, source: DataSet) -> bytes:
        return item(b"".join([buffer for _, buffer in self.data_set(source)]))

    def _short(
        self, memory: dict[bytes, bytes | None], raw: bytes, element: Element, action: Action, charset: bytes
    ) -> bytes | None:
        """What becomes of an element, remembered by all its bytes: most come again in every instance."""
        tag, vr, _, start, end, _ = element
        value = self.data[start:end]
        after = self._outgoing(tag, vr, value, action, charset)
        made = None if after is None else raw if after is value else self._with(tag, vr, bytes(after))
        has_uids = action in {Action.CLEAN, Action.CODE} and value.count(b".") >= SHORTEST_UID_DOTS
        if len(memory) < REMEMBERED and not has_uids:
            memory[raw] = made
        return made

    def _long(self, element: Element, action: Action, charset: bytes) -> tuple[Buffer, ...]:
        """As it stands in the file, if it may; with a header of its own only where that said another VR."""
        tag, vr, at, start, end, _ = element
        raw: Buffer = self.data[start:end] if vr in SPELLED else self.view[start:end]
        value = self._outgoing(tag, vr, raw, action, charset)
        if value is None:
            return ()
        if value is not raw:
            return (self._with(tag, vr, bytes(value)),)
        if at >= 0:
            return (self.view[at:end],)
        return header(tag, vr, end - start, implicit=self.implicit), raw

    def _outgoing(self, tag: int, vr: str, raw: Buffer, action: Action, charset: bytes) -> Buffer | None:
        """The new raw value: None if the element does not go out, the very `raw` if nothing changes."""
        if len(raw) % SIZES.get(vr, 1):
            return None
        if action is Action.KEEP and vr in NUMBERS and NUMBERS[vr].fullmatch(raw):
            return raw
        values: list[str] | None = []
        if action in ASKING and vr in SPELLED:
            values = self._spelled(tag, vr, bytes(raw), charset)
        after = None if values is None else remade(action, tag, vr, values, self.context)
        if after is None:
            return None
        return raw if after is values else joined(vr, after)

    def _spelled(self, tag: int, vr: str, raw: bytes, charset: bytes) -> list[str] | None:
        self.text_left -= len(raw)
        if self.text_left < 0:
            raise Invalid("more text than any image has")
        return _texts(tag, vr, raw, charset)

    def _with(self, tag: int, vr: str, value: bytes) -> bytes:
        return header(tag, vr, len(value), implicit=self.implicit) + value

    def _names_identity(self, source: DataSet) -> bool:
        """Whether the text of an SR content item is an identity, whatever it says."""
        names = [items for tag, _, _, _, _, items in source.elements if tag == CONCEPT_NAME]
        for name in names[0][:1] if names else ():
            codes = [
                (tag, vr, self.data[start:end]) for tag, vr, _, start, end, _ in name.elements if tag == CODE_VALUE
            ]
            texts = (_texts(*codes[0], name.charset) if codes else None) or [""]
            return texts[0] in IDENTITY_CONCEPTS
        return False

    def _dummied(self, source: DataSet) -> bytes:
        vr = next(vr for tag, vr, *_ in source.elements if tag == TEXT_VALUE)
        return self._with(TEXT_VALUE, vr, joined(vr, remade(Action.DUMMY, TEXT_VALUE, vr, [], self.context) or []))
