"""One instance, in a thread: read once, compared with its study's patient, de-identified, described."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydicom.datadict import tag_for_keyword

from radrelay_anonymize.domain import (
    Context,
    Quarantined,
    Released,
    Words,
    date_shift,
    identity_in,
    opened,
    pseudonym,
    released,
    words_of_instance,
)
from radrelay_anonymize.domain.identity import Identity
from radrelay_anonymize.domain.pieces import LARGE, Data, Output, in_pieces
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

    output: Output
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    facts: Facts

    @property
    def part(self) -> PackPart:
        content = self.output.data if len(self.output) <= LARGE else in_pieces(self.output)
        return PackPart(self.sop_instance_uid, self.sop_class_uid, self.transfer_syntax_uid, content)


def who(data: Data, profile: Profile) -> tuple[Identity, Words] | None:
    """The patient and all words of identity of an instance; None if it cannot be read."""
    try:
        source = opened(data)
        return identity_in(source), words_of_instance(source, profile)
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


def made_copy(data: Data, identity: Identity, context: Context, wash: Wash) -> Copy | Quarantined:
    """A verified copy of an instance of this patient, or why a person has to look at it."""
    try:
        source = opened(data)
    except Invalid:
        return Quarantined(("unreadable",))
    if not identity.same_patient(identity_in(source)):
        return Quarantined(("patient-differs",))
    outcome = released(source, context)
    if isinstance(outcome, Released):
        outcome = without_identity(outcome, context, wash)
    return outcome if isinstance(outcome, Quarantined) else described(outcome)


def described(outcome: Released) -> Copy:
    metadata = metadata_of(outcome.dataset)
    facts = Facts(
        series_instance_uid=_said(metadata, "SeriesInstanceUID"),
        study_instance_uid=_said(metadata, "StudyInstanceUID"),
        modality=_said(metadata, "Modality") or "OT",
        body_part=_said(metadata, "BodyPartExamined"),
        metadata=metadata,
    )
    return Copy(
        output=outcome.output,
        sop_instance_uid=_said(metadata, "SOPInstanceUID"),
        sop_class_uid=_said(metadata, "SOPClassUID"),
        transfer_syntax_uid=str(outcome.dataset.file_meta.TransferSyntaxUID),
        facts=facts,
    )


def _said(metadata: dict[str, Any], keyword: str) -> str:
    """An attribute's first value; empty if it has none."""
    values = metadata.get(f"{tag_for_keyword(keyword):08X}", {}).get("Value") or [""]
    return str(values[0] or "")
