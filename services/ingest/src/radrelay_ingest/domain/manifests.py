"""Manifests: what a sender says a study consists of, so that nobody has to guess when it is whole."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError, model_validator

from radrelay_shared.aggregate import Input
from radrelay_shared.errors import Invalid

MOST_INSTANCES = 100_000

Uid = Annotated[str, StringConstraints(pattern=r"^[0-9.]{1,64}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ListedInstance(Input):
    """One SOP instance, and the SHA-256 of its DICOM file."""

    sop_instance_uid: Uid
    sha256: Sha256


class SignedManifest(Input):
    """All instances of one study, each once; `count` says the same again, against a list that was cut."""

    study_instance_uid: Uid
    count: int
    instances: Annotated[tuple[ListedInstance, ...], Field(min_length=1, max_length=MOST_INSTANCES)]

    @model_validator(mode="after")
    def _lists_each_once(self) -> SignedManifest:
        if self.count != len(self.instances):
            raise ValueError("count is not the number of instances")
        if len({each.sop_instance_uid for each in self.instances}) != self.count:
            raise ValueError("an instance is listed twice")
        return self


def read_manifest(payload: bytes) -> SignedManifest:
    """A manifest in JSON; raises `Invalid` with the places that are wrong, and no value."""
    try:
        return SignedManifest.model_validate_json(payload)
    except ValidationError as error:
        places = sorted({".".join(map(str, each["loc"])) or each["msg"] for each in error.errors()})
        raise Invalid(f"the manifest is not valid: {'; '.join(places[:10])}") from None
