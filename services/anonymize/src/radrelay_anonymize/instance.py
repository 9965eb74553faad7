"""One instance, in a thread: read, compared with its study's patient, de-identified, described."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydicom.dataset import FileDataset

from radrelay_anonymize.domain import (
    Context,
    Quarantined,
    Released,
    Words,
    date_shift,
    pseudonym,
    read,
    release,
    words_of,
)
from radrelay_anonymize.domain.identity import Identity, identity_of
from radrelay_anonymize.domain.reading import quietly
from radrelay_shared.errors import Invalid
from radrelay_shared.packs import PackPart

BULK = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})


@dataclass(frozen=True, slots=True)
class Copy:
    """A de-identified instance that may leave, without its parsed data set."""

    part: PackPart
    series_instance_uid: str
    study_instance_uid: str
    modality: str
    body_part: str
    metadata: dict[str, Any]  # DICOM JSON (PS3.18 Annex F) without bulk data


def who(data: bytes) -> tuple[Identity, Words] | None:
    """The patient and all words of identity of an instance; None if it cannot be read."""
    try:
        dataset = read(data)
        return identity_of(dataset), words_of(dataset)
    except Invalid:
        return None


def deidentified(data: bytes, secret: bytes, site: str, identity: Identity, words: Words) -> Copy | Quarantined:
    """A verified copy, or why a person has to look at it. `words` are those of the whole study."""
    patient = identity.patient
    of_whom = who(data)
    if of_whom is not None and not identity.same_patient(of_whom[0]):
        return Quarantined(("patient-differs",))
    context = Context(
        secret=secret,
        pseudonym=pseudonym(secret, site, patient.issuer, patient.id),
        date_shift=date_shift(secret, site, patient.issuer, patient.id),
        words=words,
    )
    outcome = release(data, context)
    if isinstance(outcome, Quarantined):
        return outcome
    if outcome.pixels == "burned-in":
        return Quarantined(("burned-in-annotation",))
    return described(outcome)


def described(released: Released) -> Copy:
    dataset = released.dataset
    return Copy(
        part=PackPart(
            sop_instance_uid=str(dataset.SOPInstanceUID),
            sop_class_uid=str(dataset.SOPClassUID),
            transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
            content=released.data,
        ),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        modality=str(dataset.get("Modality", "OT") or "OT"),
        body_part=str(dataset.get("BodyPartExamined", "") or ""),
        metadata=metadata_of(dataset),
    )


def metadata_of(dataset: FileDataset) -> dict[str, Any]:
    """The data set as DICOM JSON; consumes it, for pixels and other bulk are taken out."""
    with quietly():
        for tag in [element.tag for element in dataset if element.VR in BULK]:
            del dataset[tag]
        described: dict[str, Any] = dataset.to_json_dict(suppress_invalid_tags=True)
    return described
