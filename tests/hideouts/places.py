"""Where identity hides in a data set: what holds it, and what that is in; each of one with each of the other."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.datadict import RepeatersDictionary, dictionary_has_tag, dictionary_VR

from hideouts.values import BOTH, VALUES, hidden
from hideouts.writing import Build, Elements, Encoding
from radrelay_anonymize.domain.table import rows

PROCEDURE_CODE, SOURCE_IMAGE, FRAMES, FRAME_CONTENT = 0x00081032, 0x00082112, 0x52009230, 0x00209111
REQUEST, ORIGINAL, MODIFIED, ICON = 0x00400275, 0x04000561, 0x04000550, 0x00880200
UNKNOWN_SEQUENCE, PRIVATE_SEQUENCE = 0x0010FF01, 0x00311001

# What holds it. Nothing of these stays under any profile.


def each_vr(first: int) -> Build:
    """One element of each VR, from this tag on."""
    tags = {first + place: vr for place, vr in enumerate(VALUES)}
    return lambda encoding: {tag: hidden(encoding, tag, vr) for tag, vr in tags.items()}


def repeated(group: int, mask: str) -> Build:
    """The attributes that PS3.6 knows of such a group, each with a canary, beside one element of each VR."""
    known = {
        group << 16 | int(key[4:], 16): vr[:2]
        for key, (vr, *_) in RepeatersDictionary.items()
        if key.startswith(mask) and "x" not in key[4:]
    }
    return lambda encoding: (
        each_vr(group << 16 | 0xA000)(encoding) | {tag: hidden(encoding, tag, vr) for tag, vr in known.items()}
    )


def with_creator(group: int, creator: str) -> Build:
    tag = group << 16 | 0x10
    return lambda encoding: {
        tag: encoding.element(tag, "LO", creator.encode()),
        **each_vr(group << 16 | 0x10C0)(encoding),
    }


def removed(tag: int, inner: Build) -> Build:
    """Within a sequence that no profile keeps."""
    return lambda encoding: {tag: encoding.sequence(tag, inner(encoding))}


def attributes(encoding: Encoding) -> Elements:
    """Attributes whose text would stay elsewhere, cleaned or as a code."""
    texts = ((0x00080060, "CS"), (0x00080100, "SH"), (0x00080104, "LO"), (0x0040A160, "UT"), (0x00620005, "LO"))
    return {tag: encoding.element(tag, vr, BOTH.upper().encode()) for tag, vr in texts}


def listed(encoding: Encoding) -> Elements:
    """The attributes of Table E.1-1 that no option retains, nor cleans."""
    tags = [int(row.tag, 16) for row in rows().values() if not row.options and "x" not in row.tag]
    known = {tag: dictionary_VR(tag)[:2] for tag in tags if tag > 0x00080000 and dictionary_has_tag(tag)}
    return {tag: hidden(encoding, tag, vr) for tag, vr in known.items()}


def picture(encoding: Encoding) -> Elements:
    """Pixels of an item, which are a thumbnail's."""
    tags = ((0x7FE00008, "OF"), (0x7FE00009, "OD"), (0x7FE00010, "OB"))
    pixels = {tag: encoding.element(tag, vr, BOTH.encode().ljust(24)) for tag, vr in tags}
    return {SOURCE_IMAGE: encoding.sequence(SOURCE_IMAGE, pixels)}


def icon(encoding: Encoding) -> Elements:
    pixels = {0x7FE00010: encoding.element(0x7FE00010, "OB", BOTH.encode())}
    return {ICON: encoding.sequence(ICON, pixels | each_vr(0x0010FF40)(encoding))}


HOLDERS: dict[str, Build] = {
    "public elements that nobody knows": each_vr(0x0010FF40),
    "a group that nobody knows": each_vr(0x56780001),
    "a private block": with_creator(0x0031, BOTH),
    "a private block of a vendor with safe attributes": with_creator(0x0019, "GEMS_ACQU_01"),
    "private elements without a creator": each_vr(0x00331001),
    "private elements below the creators": each_vr(0x00350001),
    "creators of private blocks": each_vr(0x00370010),
    "curves": repeated(0x5000, "50xx"),
    "the sixteenth curve": repeated(0x501E, "50xx"),
    "overlays": repeated(0x6000, "60xx"),
    "the sixteenth overlay": repeated(0x601E, "60xx"),
    "a picture in an item": picture,
    "an icon": icon,
    "the order": removed(REQUEST, attributes),
    "what was said before": removed(ORIGINAL, removed(MODIFIED, attributes)),
    "a sequence that nobody knows": removed(UNKNOWN_SEQUENCE, attributes),
    "a private sequence": removed(PRIVATE_SEQUENCE, attributes),
    "digital signatures": removed(0xFFFAFFFA, attributes),
    "padding": lambda encoding: {0xFFFCFFFC: hidden(encoding, 0xFFFCFFFC, "OB")},
}


def everywhere(encoding: Encoding) -> Elements:
    """All of that in one data set."""
    return {tag: element for holder in HOLDERS.values() for tag, element in holder(encoding).items()}


# What that is in. All of these stay but the last two.
Nest = Callable[[Encoding, Build], Elements]


def inside(*tags: int) -> Nest:
    """In an item of an item, outermost first."""

    def nest(encoding: Encoding, build: Build) -> Elements:
        found = build(encoding)
        for tag in reversed(tags):
            found = {tag: encoding.sequence(tag, {}, found)}
        return found

    return nest


def as_unknown(tag: int) -> Nest:
    """In a sequence whose VR was lost on the way (UN)."""
    return lambda encoding, build: {
        tag: encoding.sequence(tag, build(encoding.within_unknown), vr="UN")
        if encoding.order == "<"
        else encoding.sequence(tag, build(encoding))
    }


NESTS: dict[str, Nest] = {
    "at the top": lambda encoding, build: build(encoding),
    "in an item": inside(PROCEDURE_CODE),
    "in items three deep": inside(SOURCE_IMAGE, PROCEDURE_CODE, SOURCE_IMAGE),
    "in a frame's functional group": inside(FRAMES, FRAME_CONTENT),
    "in an item of VR UN": as_unknown(PROCEDURE_CODE),
    "in an item of VR UN in an item": lambda encoding, build: inside(SOURCE_IMAGE)(
        encoding, lambda within: as_unknown(PROCEDURE_CODE)(within, build)
    ),
    "in a private item of VR UN": as_unknown(PRIVATE_SEQUENCE),
    "in an item of VR UN that nobody knows": as_unknown(UNKNOWN_SEQUENCE),
}
