"""Burned-in text: found, judged, hidden, and looked for again in the bytes that go out, until a look finds nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import FileDataset

from radrelay_anonymize.domain.deidentify import code
from radrelay_anonymize.domain.overlay import READABLE, is_bare, stays
from radrelay_anonymize.domain.profile import CODES, Option
from radrelay_anonymize.domain.words import Words
from radrelay_anonymize.pixels.cine import Glance, glances, samples
from radrelay_anonymize.pixels.eyes import Eyes, Look
from radrelay_anonymize.pixels.frames import Box, Film, Picture
from radrelay_anonymize.pixels.ink import fitted
from radrelay_anonymize.pixels.task import Task, Washed
from radrelay_shared.dicom.reading import encode, quietly, read
from radrelay_shared.errors import Invalid

# Most lines that the detector misses upright it sees on its side. What was changed is looked at in another size, the
# way that most of its lines run: a line that was missed is likely to run so, too, and is seen best.
FIRST, AGAIN, LARGER = (Look(1.25), Look(1.25, turned=True)), 1.5, Look(1.7)
ROUNDS = 4  # the first look, and at most so many less one again

DERIVATION, LONGEST_ST = "Burned-in text hidden", 1024

GLYPHS = 1.6  # a box so many times as long as high has no room for more than two glyphs
LEGIBLE = 24  # pixels: thicker text can be read; what cannot has to look like text twice to count as such
TALLEST_LINE = 48  # pixels; what is thicker and still looks like text is left to a person
BESIDE, ALIKE = 1.0, 0.5  # heights between two boxes of one line; how high the lower of them is beside the higher
SAME = 0.6  # of a box that lies in another one


def washed(task: Task, eyes: Eyes) -> Washed:
    """The instance without burned-in identity; fails closed."""
    with quietly():
        try:
            return _washed(task, eyes)
        except Invalid:
            return Washed(reasons=("pixels-unreadable",))
        except Exception as error:  # noqa: BLE001  texts of foreign errors may quote values
            return Washed(reasons=(f"pixels-failed:{type(error).__name__}",))


def _washed(task: Task, eyes: Eyes) -> Washed:
    film = Film(read(task.data))
    data = encode(film.dataset) if film.clear_bits() else task.data
    search = Search(task.words, eyes)
    reasons: tuple[str, ...] = ()
    if task.look:
        data, reasons = _looked_at(data, search)
    if task.declared and not search.count and not reasons:
        reasons = ("burned-in-annotation",)
    return Washed(None if data is task.data else data, search.count, reasons)


def _looked_at(data: bytes, search: Search) -> tuple[bytes, tuple[str, ...]]:
    """The bytes without what was found, and a reason if that may not be all."""
    boxes: list[Box] = []
    for number in range(ROUNDS):
        film = Film(read(data))
        boxes = search.hits(samples(film), (_again(boxes),)) if number else search.hits(glances(film), FIRST)
        if not boxes:
            return data, ("burned-in-doubtful",) if search.doubtful else ()
        film.hide(boxes)
        film.write()
        _flag(film.dataset)
        data = encode(film.dataset)
    return data, ("burned-in-doubtful",)


def _again(hidden: list[Box]) -> Look:
    return Look(AGAIN, turned=2 * sum(box.height > box.width for box in hidden) > len(hidden))


@dataclass
class Search:
    """What was seen so far of one instance, and what was made of it."""

    words: Words
    eyes: Eyes
    kept: list[Box] = field(default_factory=list)
    black: list[Box] = field(default_factory=list)  # what looks before this one hid
    verdicts: dict[bytes, bool] = field(default_factory=dict)  # by pixels
    bare: set[bytes] = field(default_factory=set)  # of those kept, the ones without a word
    count: int = 0
    doubtful: bool = False

    def hits(self, seen: Iterable[Glance], looks: tuple[Look, ...]) -> list[Box]:
        """What to hide: of each box that may name somebody, the ink."""
        found: list[Box] = []
        hidden: list[Box] = []
        for picture, part in seen:
            for look in looks:
                new = [box for box in _within(self.eyes, picture, part, look) if not _is_in(box, hidden, 1)]
                gone = self._gone(new, picture, found)
                found += gone
                hidden += [fitted(picture, box) for box in gone]
        self.count += len(found)
        self.black += hidden
        return hidden

    def _gone(self, boxes: Iterable[Box], picture: Picture, hidden: list[Box]) -> list[Box]:
        """Those of the boxes that may name somebody."""
        new = list(dict.fromkeys(self._known(box) for box in boxes))
        gone = [box for box in new if _is_in(box, hidden, SAME) or not self._stays(picture, box)]
        left = [box for box in new if box not in gone]
        gone += [box for box in left if self._is_bare(picture, box) and any(_beside(box, other) for other in gone)]
        self.kept += [box for box in left if box not in gone and box not in self.kept]
        return gone

    def _known(self, box: Box) -> Box:
        """The box as it was kept before, if it was, so that another look does not judge by half of it."""
        return next((each for each in self.kept if each.covers(box, SAME)), box)

    def _stays(self, picture: Picture, box: Box) -> bool:
        key = _pixels(picture, box)
        if key not in self.verdicts:
            self.verdicts[key] = self._judged(picture, box, key)
        return self.verdicts[key]

    def _judged(self, picture: Picture, box: Box, key: bytes) -> bool:
        text, score = self.eyes.read(picture, box)
        if _is_mark(text, score, box):
            return True
        thickness = min(box.height, box.width)
        if score < READABLE and thickness > LEGIBLE:
            tall = thickness > TALLEST_LINE
            if (tall and any(box.covers(each, 1) for each in self.black)) or not self._is_seen(picture, box):
                return True  # tissue, or the pattern that black rectangles make
            self.doubtful |= tall
        if is_bare(text):
            self.bare.add(key)
        return stays(text, score, self.words)

    def _is_seen(self, picture: Picture, box: Box) -> bool:
        """Whether what is large and cannot be read looks like text in another size, too. Tissue seldom does."""
        thickness = min(box.height, box.width)
        around = box.wider(thickness, thickness).common(Box(0, 0, *picture.shape[:2]))
        return any(each.covers(box, 0.5) for each in _within(self.eyes, picture, around, LARGER))

    def _is_bare(self, picture: Picture, box: Box) -> bool:
        return _pixels(picture, box) in self.bare


def _within(eyes: Eyes, picture: Picture, part: Box, look: Look) -> Iterator[Box]:
    """The boxes in a part of the picture, in the picture's own pixels."""
    top, left, bottom, right = part
    for box in eyes.boxes(picture[top:bottom, left:right], look):
        if box.area:
            yield Box(box.top + top, box.left + left, box.bottom + top, box.right + left)


def _pixels(picture: Picture, box: Box) -> bytes:
    part = picture[box.top : box.bottom, box.left : box.right]
    return repr(part.shape).encode() + bytes(np.ascontiguousarray(part))


def _is_in(box: Box, others: Iterable[Box], share: float) -> bool:
    return any(other.covers(box, share) for other in others)


def _is_mark(text: str, score: float, box: Box) -> bool:
    """A caliper, an arrow, a letter that says which side: no room for more, and no more in it."""
    small = max(box.height, box.width) < GLYPHS * min(box.height, box.width)
    lines_only = score >= READABLE and not any(map(str.isalnum, text))
    return (small and len(text.strip()) <= 1) or lines_only


def _beside(box: Box, other: Box) -> bool:
    """On one line, of about one size, hardly apart."""
    small, large = sorted((box.height, other.height))
    shared = min(box.bottom, other.bottom) - max(box.top, other.top)
    gap = max(box.left, other.left) - min(box.right, other.right)
    return 2 * shared > small and gap < BESIDE * small and ALIKE * large <= small


def _flag(dataset: FileDataset) -> None:
    """Say what was done to the pixels (PS3.3 §C.7.6.1.1, PS3.15 §E.3.1). What is said of lossy compression stays."""
    dataset.BurnedInAnnotation = "NO"
    methods = dataset.DeidentificationMethodCodeSequence
    if CODES[Option.CLEAN_PIXEL_DATA][0] not in {each.CodeValue for each in methods}:
        methods.append(code(*CODES[Option.CLEAN_PIXEL_DATA]))
    said = str(dataset.get("DerivationDescription") or "")
    if DERIVATION not in said:
        dataset.DerivationDescription = f"{said}; {DERIVATION}"[-LONGEST_ST:] if said else DERIVATION
    if dataset.get("ImageType"):
        dataset.ImageType = ["DERIVED", *list(dataset.ImageType)[1:]]
