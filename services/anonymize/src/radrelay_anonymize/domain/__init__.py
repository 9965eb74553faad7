"""The de-identification engine: DICOM in, de-identified and verified DICOM or a reason out. Pure, without I/O."""

from radrelay_anonymize.domain.deidentify import Deidentified, Outcome, Quarantined, deidentify
from radrelay_anonymize.domain.gate import Pixels
from radrelay_anonymize.domain.pseudonyms import date_shift, mapped_uid, pseudonym
from radrelay_anonymize.domain.release import Released, identity_in, opened, release, released, words_of_instance
from radrelay_anonymize.domain.values import Context
from radrelay_anonymize.domain.verify import verify
from radrelay_anonymize.domain.words import Words, words_of
from radrelay_shared.dicom.reading import encode, read

__all__ = [
    "Context",
    "Deidentified",
    "Outcome",
    "Pixels",
    "Quarantined",
    "Released",
    "Words",
    "date_shift",
    "deidentify",
    "encode",
    "identity_in",
    "mapped_uid",
    "opened",
    "pseudonym",
    "read",
    "release",
    "released",
    "verify",
    "words_of",
    "words_of_instance",
]
