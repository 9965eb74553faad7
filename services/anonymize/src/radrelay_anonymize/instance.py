"""One instance, in a thread: read once, compared with its study's patient, de-identified, described."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from radrelay_anonymize.domain import (
    Context,
    Quarantined,
    Released,
    Words,
    date_shift,
    head_of,
    opened,
    pseudonym,
    released,
    words_of_instance,
)
from radrelay_anonymize.domain.identity import Identity, identity_of
from radrelay_anonymize.domain.profile import Profile
from radrelay_anonymize.pixels import Wash, without_identity
from radrelay_shared.dicom.described import metadata_of
from radrelay_shared.errors import Invalid
from radrelay_shared.packs import PackPart


@dataclass(frozen=True, slots=True)
class Facts:
    """What is remembered of a copy once its bytes are in the pack."""

    series_instance_uid: str
    study_instance_uid: str
    modality: str
    body_part: str
    metadata: dict[str, Any]  # DICOM JSON (PS3.18 Annex F) without bulk data


@dataclass(frozen=True, slots=True)
class Copy:
    """A de-identified instance that may leave."""

    part: PackPart
    facts: Facts


def who(data: bytes, profile: Profile) -> tuple[Identity, Words] | None:
    """The patient and all words of identity of an instance; None if it cannot be read."""
    try:
        source = opened(data)
        return identity_of(head_of(source)), words_of_instance(source, profile)
    except Invalid:
        return None


def engine_context(
    secret: bytes, site: str, identity: Identity, words: Words, profile: Profile, *, vouched: bool = False
) -> Context:
    """What the engine knows of a study's patient; `words` are those of the whole study."""
    issuer, patient = identity.whose
    return Context(
        secret=secret,
        pseudonym=pseudonym(secret, site, issuer, patient),
        date_shift=date_shift(secret, site, issuer, patient),
        words=words,
        profile=profile,
        vouched=vouched,
    )


def made_copy(data: bytes, identity: Identity, context: Context, wash: Wash) -> Copy | Quarantined:
    """A verified copy of an instance of this patient, or why a person has to look at it."""
    try:
        source = opened(data)
    except Invalid:
        return Quarantined(("unreadable",))
    if not identity.same_patient(identity_of(head_of(source))):
        return Quarantined(("patient-differs",))
    outcome = released(source, context)
    if isinstance(outcome, Released):
        outcome = without_identity(outcome, context, wash)
    return outcome if isinstance(outcome, Quarantined) else described(outcome)


def described(outcome: Released) -> Copy:
    dataset = outcome.dataset
    part = PackPart(
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
        transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
        content=outcome.data,
    )
    facts = Facts(
        series_instance_uid=str(dataset.SeriesInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        modality=str(dataset.get("Modality", "OT") or "OT"),
        body_part=str(dataset.get("BodyPartExamined", "") or ""),
        metadata=metadata_of(dataset),
    )
    return Copy(part, facts)
