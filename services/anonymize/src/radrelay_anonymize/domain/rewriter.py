"""The engine's fast way: the header's bytes rewritten by the same table and makers, all other bytes spliced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from radrelay_anonymize.domain.admission import admission
from radrelay_anonymize.domain.deidentify import CODE_VALUE, CONCEPT_NAME, Quarantined, is_of_kind
from radrelay_anonymize.domain.gate import Pixels
from radrelay_anonymize.domain.part10 import Part10
from radrelay_anonymize.domain.rawvalues import MOST_TEXT, NUMBERS, SIZES, header, item, joined, texts_of
from radrelay_anonymize.domain.reading import quietly
from radrelay_anonymize.domain.rules import IDENTITY_CONCEPTS, decide
from radrelay_anonymize.domain.signature import file_meta, signature
from radrelay_anonymize.domain.structure import DataSet, Element
from radrelay_anonymize.domain.table import Action
from radrelay_anonymize.domain.values import Context, remade
from radrelay_anonymize.domain.words import Words, gathered
from radrelay_shared.errors import Invalid

SOP_CLASS, SOP_INSTANCE, TEXT_VALUE = 0x00080016, 0x00080018, 0x0040A160
SPLICED = 1 << 16  # bytes from which on a value is a view of the input, not a copy

# What is asked of the value: without it, the rest of the makers need not decode anything.
ASKING = frozenset({Action.UID, Action.KEEP, Action.CLEAN, Action.CODE, Action.SHIFT, Action.AGE})

Buffer = bytes | memoryview
Parts = list[tuple[int, Buffer]]  # an element's tag, and its bytes or some of them


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
        walk = _Walk(source.data, source.dataset.implicit, context)
        found = ((each.kind, walk.texts(each.element, each.charset) or []) for each in source.named)
        words = context.words | gathered(found)
        walk.context = replace(context, words=words)
        parts = [*walk.data_set(source.dataset), *signature(walk.implicit, pixels, annotation)]
        parts.sort(key=lambda part: part[0])
        start = file_meta(_values(parts, SOP_CLASS), _values(parts, SOP_INSTANCE), source.syntax)
        return Rewritten([start, *(buffer for _, buffer in parts)], words, pixels)


def _values(parts: Parts, tag: int) -> bytes:
    """The bytes of a UI element after its tag, VR and length."""
    return b"".join(bytes(buffer)[8:] for each, buffer in parts if each == tag)


@dataclass(slots=True)
class _Walk:
    data: bytes
    implicit: bool
    context: Context
    text_left: int = MOST_TEXT
    view: memoryview = field(init=False)

    def __post_init__(self) -> None:
        self.view = memoryview(self.data)

    def texts(self, element: Element, charset: bytes) -> list[str] | None:
        """The element's values; None if they cannot be read."""
        self.text_left -= element.end - element.start
        if self.text_left < 0:
            raise Invalid("more text than any image has")
        try:
            return texts_of(element.tag, element.vr, self.data[element.start : element.end], charset)
        except Exception:  # noqa: BLE001  as `reading.element`: pydicom raises many kinds
            return None

    def data_set(self, source: DataSet) -> Parts:
        """The elements that go out, in order."""
        parts: Parts = []
        for element in source.elements:
            action = decide(element.tag)
            if action is Action.REMOVE or not is_of_kind(element.vr, element.tag):
                continue
            if element.vr == "SQ":
                items = element.items if action is Action.RECURSE else ()
                parts.append((element.tag, self._made(element, b"".join(map(self._item, items)))))
            else:
                parts += [(element.tag, buffer) for buffer in self._element(element, action, source.charset)]
        if any(tag == TEXT_VALUE for tag, _ in parts) and self._concept(source) in IDENTITY_CONCEPTS:
            parts = [(tag, self._dummied(source) if tag == TEXT_VALUE else buffer) for tag, buffer in parts]
        return parts

    def _item(self, source: DataSet) -> bytes:
        return item(b"".join(buffer for _, buffer in self.data_set(source)))

    def _element(self, element: Element, action: Action, charset: bytes) -> Iterable[Buffer]:
        """The element's bytes, none if it does not go out."""
        tag, vr, _, start, end, _ = element
        if (end - start) % SIZES.get(vr, 1):
            return ()
        if action is Action.KEEP and vr in NUMBERS and NUMBERS[vr].fullmatch(self.data, start, end):
            return self._spliced(element)
        values = self.texts(element, charset) if action in ASKING else []
        after = None if values is None else remade(action, tag, vr, values, self.context)
        if after is None:
            return ()
        return self._spliced(element) if after is values else (self._made(element, joined(vr, after)),)

    def _spliced(self, element: Element) -> Iterable[Buffer]:
        """As it stands in the file, with a header of its own only if that says another VR."""
        source: Buffer = self.data if element.end - element.start < SPLICED else self.view
        if element.at >= 0:
            return (source[element.at : element.end],)
        length = element.end - element.start
        return header(element.tag, element.vr, length, implicit=self.implicit), source[element.start : element.end]

    def _made(self, element: Element, value: bytes) -> bytes:
        return header(element.tag, element.vr, len(value), implicit=self.implicit) + value

    def _dummied(self, source: DataSet) -> bytes:
        element = next(each for each in source.elements if each.tag == TEXT_VALUE)
        values = remade(Action.DUMMY, TEXT_VALUE, element.vr, [], self.context)
        return self._made(element, joined(element.vr, values or []))

    def _concept(self, source: DataSet) -> str | None:
        """The code value of an SR content item's concept name."""
        names = [each for each in source.elements if each.tag == CONCEPT_NAME]
        for name in names[0].items[:1] if names else ():
            codes = [self.texts(each, name.charset) for each in name.elements if each.tag == CODE_VALUE]
            return codes[0][0] if codes and codes[0] else None
        return None
