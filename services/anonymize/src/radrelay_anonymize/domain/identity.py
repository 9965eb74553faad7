"""Who a study is about, as the images say it, and how it lies in the vault: sealed with AES-256-GCM."""

from __future__ import annotations

import base64
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, ConfigDict
from pydicom.dataset import FileDataset

from radrelay_anonymize.domain.reading import quietly
from radrelay_shared.errors import Invalid

NONCE_BYTES, KEY_BYTES = 12, 32


class Patient(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str = ""  # PN as it was, with all its component groups
    id: str = ""
    issuer: str = ""
    birth_date: str = ""
    sex: str = ""


class Identity(BaseModel):
    """What anonymize takes out of a study and notification puts back at delivery."""

    model_config = ConfigDict(frozen=True)

    patient: Patient
    accession_number: str = ""
    study_instance_uid: str = ""
    referring_physician: str = ""

    def same_patient(self, other: Identity) -> bool:
        """Whether both name the same patient; a study with two patients is somebody's mistake."""
        return (self.patient.id, self.patient.issuer) == (other.patient.id, other.patient.issuer)


def identity_of(dataset: FileDataset) -> Identity:
    """As the instance says it."""
    with quietly():
        said = {name: str(dataset.get(name, "") or "") for name in ATTRIBUTES}
    return Identity(
        patient=Patient(
            name=said["PatientName"],
            id=said["PatientID"],
            issuer=said["IssuerOfPatientID"],
            birth_date=said["PatientBirthDate"],
            sex=said["PatientSex"],
        ),
        accession_number=said["AccessionNumber"],
        study_instance_uid=said["StudyInstanceUID"],
        referring_physician=said["ReferringPhysicianName"],
    )


ATTRIBUTES = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyInstanceUID",
    "ReferringPhysicianName",
)


def vault_key(encoded: str) -> bytes:
    """The key from its base64 form; raises `Invalid` if it is not 256 bits long."""
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise Invalid("RADRELAY_VAULT_KEY is not base64") from error
    if len(key) != KEY_BYTES:
        raise Invalid("RADRELAY_VAULT_KEY must be 32 random bytes in base64 (`openssl rand -base64 32`)")
    return key


def seal(key: bytes, study: str, identity: Identity) -> str:
    """The identity, encrypted and bound to its study key, as base64."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, identity.model_dump_json().encode(), study.encode())
    return base64.b64encode(nonce + sealed).decode()


def unseal(key: bytes, study: str, sealed: str) -> Identity:
    """The identity; raises `Invalid` if anything of it, or its study, was changed, or the key is another."""
    raw = base64.b64decode(sealed)
    try:
        text = AESGCM(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], study.encode())
    except InvalidTag:
        raise Invalid(f"the vault's entry of {study} was changed, or sealed with another key") from None
    return Identity.model_validate_json(text)
