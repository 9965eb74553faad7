"""What every entrance for instances says of STOW-RS (PS3.18 §10.5): the parts of a body, and what became of each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, Protocol

from radrelay_shared.bodies import UnsupportedMedia
from radrelay_shared.dicom.multipart import Begin, Data, End, Malformed, Splitter
from radrelay_shared.errors import Invalid

DICOM = "application/dicom"
ACCEPTED = f'multipart/related; type="{DICOM}"'
PART_TYPES = (DICOM, "text/plain")  # the latter is a part that says nothing
STORED, SOME_FAILED, NONE_STORED = 200, 202, 409  # PS3.18 Table 10.5.3-1
LONGEST_BOUNDARY = 200  # RFC 2046 §5.1.1 has 70, Orthanc's plug-in sends 73
LONGEST_COMMENT = 64  # characters of an LO

# What an OpenAPI document says of a route that takes such bodies.
BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {"requestBody": {"required": True, "content": {ACCEPTED: BINARY, DICOM: BINARY}}}


class Named(Protocol):
    """An instance by its UIDs."""

    @property
    def sop_class_uid(self) -> str: ...
    @property
    def sop_instance_uid(self) -> str: ...
    @property
    def study_instance_uid(self) -> str: ...
    @property
    def series_instance_uid(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Failure:
    """A part that was not stored: what it is, if that could be read, and why."""

    named: Named | None
    reason: int  # Failure Reason (0008,1197)
    comment: str = ""


@dataclass
class Outcome:
    """What became of each part of one request."""

    stored: list[Named] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    @property
    def status(self) -> int:
        if not self.failed:
            return STORED
        return SOME_FAILED if self.stored else NONE_STORED

    def dicom_json(self, base: str = "") -> dict[str, Any]:
        """The Store Instances Response Module (PS3.18 Table I.2-1); parts without UIDs are Other Failures.

        `base` is the address of the studies, if what was stored can be retrieved from there.
        """
        sequences = {
            "00081198": [{**names(each.named), **why(each)} for each in self.failed if each.named],  # Failed SOP
            "00081199": [{**names(each), **where(each, base)} for each in self.stored],  # Referenced SOP
            "0008119A": [why(each) for each in self.failed if not each.named],  # Other Failures
        }
        return {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}


def names(instance: Named) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [instance.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [instance.sop_instance_uid]},
    }


def why(failure: Failure) -> dict[str, Any]:
    """Failure Reason and, for people, Error Comment (0000,0902), as other servers give it."""
    reason = {"00081197": {"vr": "US", "Value": [failure.reason]}}
    comment = {"00000902": {"vr": "LO", "Value": [failure.comment[:LONGEST_COMMENT]]}} if failure.comment else {}
    return reason | comment


def where(instance: Named, base: str) -> dict[str, Any]:
    path = f"{instance.study_instance_uid}/series/{instance.series_instance_uid}/instances/{instance.sop_instance_uid}"
    return {"00081190": {"vr": "UR", "Value": [f"{base}/{path}"]}} if base else {}


async def parts(content_type: str, body: AsyncIterator[bytes]) -> AsyncIterator[Begin | Data | End]:
    """The body's parts as they come, or the one instance that it is; raises `UnsupportedMedia`, `Malformed`."""
    header = Message()
    header["Content-Type"] = content_type
    if header.get_content_type() == DICOM:
        yield Begin(header)
        async for piece in body:
            yield Data(piece)
        yield End()
        return
    splitter = Splitter(boundary_of(header))
    async for piece in body:
        for token in splitter.feed(piece):
            yield token
    splitter.close()


def boundary_of(header: Message) -> str:
    """The boundary of a multipart body of instances; raises `UnsupportedMedia` for others."""
    kind = str(header.get_param("type") or DICOM).lower()
    if header.get_content_type() != "multipart/related" or kind != DICOM:
        raise UnsupportedMedia(f"send {ACCEPTED}; boundary=… or {DICOM}")
    boundary = header.get_boundary()
    if not boundary or len(boundary) > LONGEST_BOUNDARY or not boundary.isascii():
        raise Malformed(f"the Content-Type needs a boundary of 1 to {LONGEST_BOUNDARY} ASCII characters")
    return boundary


def must_be_dicom(part: Begin) -> None:
    if part.headers.get_content_type() not in PART_TYPES:
        raise Invalid("a part is not application/dicom")
