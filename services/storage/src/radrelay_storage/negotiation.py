"""What a client accepts (RFC 9110 §12.5.1, PS3.18 §8.7) against the form in which an instance is stored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from radrelay_storage.decoders import decodable
from radrelay_storage.problems import NotAcceptable

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
OCTETS = "application/octet-stream"
DICOM_XML = "application/dicom+xml"
JSON_TYPES = (DICOM_JSON, "application/json")
RENDERED_TYPES = ("image/jpeg", "image/png")

# PS3.18 Table 8.7.3-5: how a frame of a compressed transfer syntax is called.
FRAME_TYPES: dict[str, str] = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.100": "video/mpeg2",
    "1.2.840.10008.1.2.4.101": "video/mpeg2",
    "1.2.840.10008.1.2.4.102": "video/mp4",
    "1.2.840.10008.1.2.4.103": "video/mp4",
    "1.2.840.10008.1.2.4.104": "video/mp4",
    "1.2.840.10008.1.2.4.105": "video/mp4",
    "1.2.840.10008.1.2.4.106": "video/mp4",
    "1.2.840.10008.1.2.4.110": "image/jxl",
    "1.2.840.10008.1.2.4.111": "image/jxl",
    "1.2.840.10008.1.2.4.112": "image/jxl",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
# Stored so that a frame is a plain run of little-endian bytes.
NATIVE = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian})
# Stored so that frames are not runs of the bytes that a client would expect.
WHOLE_ONLY = frozenset({ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian})


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One entry of an Accept header; `part` is the type inside multipart/related."""

    name: str
    part: str = "*/*"
    transfer_syntax: str | None = None
    quality: float = 1.0


@dataclass(frozen=True, slots=True)
class Form:
    """How instances or frames are sent: the media type and transfer syntax of their bytes, in parts or as one body."""

    media_type: str
    transfer_syntax: str
    alone: bool = False  # without multipart/related around it
    transcoded: bool = False  # these are not the bytes that are stored

    @property
    def content_type(self) -> str:
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax}"


def takes_gzip(header: str | None) -> bool:
    """Whether the Accept-Encoding header takes gzip (RFC 9110 §12.5.3)."""
    weights = {each.name: each.quality for each in map(media_range, (header or "").split(","))}
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def accepted(header: str | None) -> list[MediaRange]:
    """The header's media ranges, best first; everything if there is no header."""
    entries = re.findall(r'(?:[^,"]|"[^"]*")+', header or "*/*")
    return sorted(filter(lambda each: each.quality > 0, map(media_range, entries)), key=lambda each: -each.quality)


def media_range(entry: str) -> MediaRange:
    name, *rest = [piece.strip() for piece in re.findall(r'(?:[^;"]|"[^"]*")+', entry)] or [""]
    split = (piece.partition("=") for piece in rest)
    parameters = {key.strip().lower(): value.strip().strip('"') for key, _, value in split}
    try:
        quality = float(parameters.get("q", "1"))
    except ValueError:
        quality = 0.0
    part = parameters.get("type", "*/*").lower()
    return MediaRange(name.lower(), part, parameters.get("transfer-syntax"), quality)


def covers(pattern: str, name: str) -> bool:
    """Whether a media type is within a range: `image/*`, or `image/` as some clients write it, holds `image/png`."""
    kind, _, sub = pattern.partition("/")
    return pattern in ("*/*", "*", name) or (sub in ("*", "") and name.startswith(f"{kind}/"))


def described_type(header: str | None) -> str:
    """How attributes are sent: as one JSON array, or one XML document per part of a multipart answer."""
    for each in accepted(header):
        if each.name == "multipart/related" and each.part == DICOM_XML:
            return DICOM_XML
        for name in JSON_TYPES:
            if covers(each.name, name):
                return name
    raise NotAcceptable(f'this is sent as {DICOM_JSON}, or multipart/related; type="{DICOM_XML}"')


def rendered_type(header: str | None) -> str:
    return single(header, RENDERED_TYPES, "pictures are rendered as image/jpeg or image/png")


def single(header: str | None, offered: tuple[str, ...], problem: str) -> str:
    """The first offered type within the best range."""
    for each in accepted(header):
        for name in offered:
            if covers(each.name, name):
                return name
    raise NotAcceptable(problem)


def ranges(header: str | None, *, one: bool) -> Iterator[tuple[MediaRange, bool]]:
    """The ranges that an answer of DICOM parts can meet, and whether it goes without multipart/related around it.

    Any type at all accepts any part, as stored. A single part by its own name is for answers of `one` part.
    """
    for each in accepted(header):
        if each.name == "multipart/related":
            yield each, False
        elif covers(each.name, "multipart/related"):
            yield MediaRange("multipart/related", "*/*", "*", each.quality), False
        elif one:
            yield MediaRange(each.name, each.name, each.transfer_syntax, each.quality), True


def instance_form(header: str | None, stored: str, *, one: bool) -> Form:
    """How to send an instance of this transfer syntax: as it is stored if the client lets that be; else transcoded.

    A range that names no transfer syntax accepts the stored one. Raises `NotAcceptable` if neither is possible.
    """
    found = [(each, alone) for each, alone in ranges(header, one=one) if covers(each.part, DICOM)]
    for each, alone in found:
        if each.transfer_syntax in (None, "*", stored):
            return Form(DICOM, stored, alone)
    for each, alone in found:
        if each.transfer_syntax == ExplicitVRLittleEndian and decodable(stored):
            return Form(DICOM, ExplicitVRLittleEndian, alone, transcoded=True)
    if not found:
        raise NotAcceptable('instances are sent as multipart/related; type="application/dicom"')
    also = f" or {ExplicitVRLittleEndian}" if decodable(stored) and stored != ExplicitVRLittleEndian else ""
    raise NotAcceptable(f"stored as {stored}; accept transfer-syntax={stored}{also} or *")


@lru_cache(maxsize=256)
def frame_form(header: str | None, stored: str, *, one: bool = False) -> Form:
    """How to send frames of an instance with this transfer syntax; `NotAcceptable` if they cannot be sent so."""
    offered = frame_forms(stored)
    for each, alone in ranges(header, one=one):
        for form in offered:
            if covers(each.part, form.media_type) and syntax_suits(each, form):
                return replace(form, alone=alone)
    names = " or ".join(f'type="{form.media_type}"; transfer-syntax={form.transfer_syntax}' for form in offered)
    raise NotAcceptable(f"these frames are sent as multipart/related; {names}")


def frame_forms(stored: str) -> list[Form]:
    """The forms in which frames may go: under their own name, then as plain bytes, as stored or else decoded."""
    if stored in NATIVE:
        return [Form(OCTETS, ExplicitVRLittleEndian)]
    if stored in WHOLE_ONLY:
        return [Form(OCTETS, ExplicitVRLittleEndian, transcoded=True)]
    own = [Form(FRAME_TYPES[stored], stored)] if stored in FRAME_TYPES else []
    decoded = [Form(OCTETS, ExplicitVRLittleEndian, transcoded=True)] if decodable(stored) else []
    return [*own, Form(OCTETS, stored), *decoded]


def syntax_suits(wanted: MediaRange, form: Form) -> bool:
    """Plain bytes are explicit little endian unless another syntax is asked for (PS3.18 §8.7.3.5.2)."""
    if wanted.transfer_syntax is not None:
        return wanted.transfer_syntax in ("*", form.transfer_syntax)
    return form.media_type != OCTETS or form.transfer_syntax == ExplicitVRLittleEndian
