"""Which earlier studies of a patient compare best, by a table of points; pure.

Dates in copies are shifted by whole weeks, alike for all studies of a patient, so that order and distance are true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime

from radrelay_shared.events import Prior
from radrelay_storage.domain import Study

MOST = 10  # that travel with a study
RELATED = (frozenset({"CT", "MR", "PT"}), frozenset({"CR", "DX", "RF"}), frozenset({"MG", "US"}))
DERIVED = frozenset({"SR", "PR", "KO", "SEG", "DOC"})  # say nothing of what was scanned
BOTH_SIDES = "B"
AGES = ((90, 15), (365, 10), (3 * 365, 5))  # at most so many days earlier: points

Scored = Iterator[tuple[int, str]]


def priors_of(study: Study, others: Iterable[Study]) -> tuple[Prior, ...]:
    """The studies that compare best, the best first, each with its reasons; of equal ones the later."""
    ranked = [(score(study, other), other) for other in others if is_prior(study, other)]
    ranked.sort(key=lambda each: (-each[0][0], days_before(study, each[1]), each[1].study))
    return tuple(prior(study, other, reasons) for (_, reasons), other in ranked[:MOST])


def is_prior(study: Study, other: Study) -> bool:
    """Whether it is an earlier study of the same patient at the same site: who reads the one may see the other."""
    patient = study.keys.get("PatientID")
    same = bool(patient) and patient == other.keys.get("PatientID") and study.site == other.site
    return same and study.study != other.study and moment_of(other) < moment_of(study)


def prior(study: Study, other: Study, reasons: tuple[str, ...]) -> Prior:
    return Prior(
        study=other.study,
        study_instance_uid=other.study_instance_uid,
        modalities=other.modalities,
        days=days_before(study, other),
        reasons=reasons,
    )


def score(study: Study, other: Study) -> tuple[int, tuple[str, ...]]:
    """Points and reasons together."""
    found = [each for criterion in CRITERIA for each in criterion(study, other)]
    return sum(points for points, _ in found), tuple(reason for _, reason in found)


def body_part(study: Study, other: Study) -> Scored:
    if common := sorted(set(study.body_parts) & set(other.body_parts)):
        yield 40, f"same body part: {', '.join(common)}"


def modality(study: Study, other: Study) -> Scored:
    mine, theirs = set(study.modalities) - DERIVED, set(other.modalities) - DERIVED
    if common := sorted(mine & theirs):
        yield 30, f"same modality: {', '.join(common)}"
    elif any(mine & family and theirs & family for family in RELATED):
        yield 15, f"comparable modality: {', '.join(sorted(theirs))}"


def laterality(study: Study, other: Study) -> Scored:
    mine, theirs = set(study.lateralities), set(other.lateralities)
    if mine & theirs or (BOTH_SIDES in mine | theirs and mine and theirs):
        yield 10, f"same side: {', '.join(sorted(theirs))}"
    elif mine and theirs:
        yield -20, f"other side: {', '.join(sorted(theirs))}"


def age(study: Study, other: Study) -> Scored:
    days = days_before(study, other)
    points = next((points for most, points in AGES if days <= most), 0)
    yield points, f"{days} days earlier"


CRITERIA: Sequence[Callable[[Study, Study], Scored]] = (body_part, modality, laterality, age)


def moment_of(study: Study) -> tuple[str, str, str]:
    """What studies of a patient are ordered by: when they were made; the day of receipt if nobody said."""
    return study.keys.get("StudyDate", ""), study.keys.get("StudyTime", ""), study.received_at.isoformat()


def days_before(study: Study, other: Study) -> int:
    return (day_of(study) - day_of(other)).days


def day_of(study: Study) -> date:
    try:
        return datetime.strptime(study.keys.get("StudyDate", ""), "%Y%m%d").date()  # noqa: DTZ007  a date alone
    except ValueError:
        return study.received_at.date()
