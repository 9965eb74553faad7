"""What the engine itself writes, as bytes: the file meta, and the marks of de-identification."""

from __future__ import annotations

import functools

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from radrelay_anonymize.domain.deidentify import IMPLEMENTATION_NAME, IMPLEMENTATION_UID, sign
from radrelay_anonymize.domain.gate import Pixels
from radrelay_anonymize.domain.profile import Profile
from radrelay_anonymize.domain.rawvalues import header, item, joined
from radrelay_shared.dicom.reading import texts


@functools.lru_cache(maxsize=64)
def signature(
    profile: Profile, pixels: Pixels, annotation: str | None, *, implicit: bool
) -> tuple[tuple[int, bytes], ...]:
    """The elements of `deidentify.sign`, by tag."""
    signed = Dataset()
    sign(signed, profile, original_annotation=annotation, pixels=pixels)
    return tuple((int(each.tag), _element(each, implicit=implicit)) for each in signed)


def _element(element: DataElement, *, implicit: bool) -> bytes:
    if element.VR == "SQ":
        items = [b"".join(_element(each, implicit=implicit) for each in one) for one in element.value]
        value = b"".join(map(item, items))
    else:
        value = joined(element.VR, texts(element))
    return header(int(element.tag), element.VR, len(value), implicit=implicit) + value


def file_meta(sop_class: bytes, sop_instance: bytes, syntax: str) -> bytes:
    """A zero preamble and group 0002 (PS3.10 §7.1): nothing of the sender's software, titles or private words."""
    elements = (
        (0x00020001, "OB", b"\0\x01"),
        (0x00020002, "UI", sop_class),
        (0x00020003, "UI", sop_instance),
        (0x00020010, "UI", joined("UI", [syntax])),
        (0x00020012, "UI", joined("UI", [IMPLEMENTATION_UID])),
        (0x00020013, "SH", joined("SH", [IMPLEMENTATION_NAME])),
    )
    group = b"".join(header(tag, vr, len(value), implicit=False) + value for tag, vr, value in elements)
    length = header(0x00020000, "UL", 4, implicit=False) + len(group).to_bytes(4, "little")
    return bytes(128) + b"DICM" + length + group
