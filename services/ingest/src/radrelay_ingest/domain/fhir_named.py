"""Whom and what a FHIR order names besides what it is matched by: relatives, physicians, telephones, addresses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from radrelay_ingest.domain.fhir_json import STUDY_UIDS, Json, listed, pn_of, text_of
from radrelay_shared.named import Named

ORGANIZATIONS = frozenset({"Organization", "Location", "HealthcareService"})  # resources that are called something
# References to these, unless they say the type of what they mean.
TO_PEOPLE = frozenset({
    "asserter", "author", "generalPractitioner", "individual", "link", "other", "patient", "performer", "practitioner",
    "recorder", "requester", "subject",
})  # fmt: skip
TO_ORGANIZATIONS = frozenset({
    "assigner", "custodian", "healthcareService", "location", "locationReference", "managingOrganization",
    "organization", "serviceProvider",
})  # fmt: skip
ADDRESS = ("text", "city", "district", "postalCode")


def named_in(document: Any) -> Named:
    """Everybody and everything, wherever in the resources it stands."""
    objects = list(_objects(document))
    references = [each for one in objects for each in _references(one)]
    return Named.of(
        people=(*(name for each in objects for name in _names(each)), *_shown(references, people=True)),
        numbers=(number for each in objects for number in _numbers(each)),
        dates=(born.replace("-", "") for each in objects if (born := text_of(each.get("birthDate")))),
        places=(line for each in objects for line in _lines(each)),
        institutions=(*(name for each in objects for name in _titles(each)), *_shown(references, people=False)),
    )


def _objects(document: Any) -> Iterator[Json]:
    """All of them, at any depth, the outer ones first."""
    waiting = [document]
    for each in waiting:  # which grows meanwhile
        if isinstance(each, dict):
            yield each
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def _several(each: Json, name: str) -> list[Json]:
    """The objects in a field, which repeats in some resources and in others does not."""
    single = each.get(name)
    return [single] if isinstance(single, dict) else listed(each, name)


def _names(each: Json) -> Iterator[str]:
    """HumanNames, in all the ways in which they are spelled."""
    for name in _several(each, "name"):
        yield from filter(None, (pn_of(name), text_of(name.get("text"))))


def _numbers(each: Json) -> Iterator[str]:
    """Identifiers and ContactPoints; UIDs have a way of their own."""
    points = [*_several(each, "identifier"), *listed(each, "telecom")]
    yield from (value for one in points if one.get("system") != STUDY_UIDS and (value := text_of(one.get("value"))))


def _lines(each: Json) -> Iterator[str]:
    """Addresses, without state and country."""
    for address in _several(each, "address"):
        lines = address.get("line")
        said = [*(lines if isinstance(lines, list) else []), *(address.get(name) for name in ADDRESS)]
        yield from filter(None, map(text_of, said))


def _titles(each: Json) -> Iterator[str]:
    if each.get("resourceType") in ORGANIZATIONS and (name := text_of(each.get("name"))):
        yield name


def _references(each: Json) -> Iterator[tuple[str, Json]]:
    """(Field, reference)."""
    for field in each:
        if field in TO_PEOPLE or field in TO_ORGANIZATIONS:
            yield from ((field, one) for one in _several(each, field))


def _shown(references: list[tuple[str, Json]], *, people: bool) -> Iterator[str]:
    """What references display."""
    for field, one in references:
        kind = text_of(one.get("type")) or (text_of(one.get("reference")) or "").partition("/")[0]
        if (field in TO_PEOPLE and kind not in ORGANIZATIONS) is people and (shown := text_of(one.get("display"))):
            yield shown
