"""Pieces of FHIR's JSON, whatever somebody sent in their place."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

STUDY_UIDS = "urn:dicom:uid"  # the system of identifiers that are UIDs


def listed(resource: Json, name: str) -> list[Json]:
    """The objects in a field that repeats."""
    found = resource.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def text_of(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def pn_of(name: Json) -> str:
    """A HumanName as DICOM writes it (PS3.5 §6.2.1.1), else as the hospital spells it out."""
    given = name.get("given")
    family, names = (
        text_of(name.get("family")),
        [str(each) for each in given if each] if isinstance(given, list) else [],
    )
    return "^".join([family, *names][:3]) if family else text_of(name.get("text")) or ""
