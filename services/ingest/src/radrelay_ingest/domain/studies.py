"""Studies: batches of instances that came together, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict

from radrelay_ingest.domain.completeness import Whole
from radrelay_ingest.domain.matching import Basis, Subject
from radrelay_shared.aggregate import Aggregate, Part
from radrelay_shared.events import Key, Priority
from radrelay_shared.ports import Index

MOST_CONFLICTS = 1000  # listed one by one


@dataclass(frozen=True, slots=True)
class Head:
    """What the front door reads of an instance (PS3.10 §7.1 and the tags up to Series Instance UID)."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    accession_number: str
    patient_id: str
    study_instances: int | None = None  # Number of Study Related Instances, where the sender wrote it


class Arrival(BaseModel):
    """What was known when the first instance of a batch came; it lies beside the instances in the spool."""

    model_config = ConfigDict(frozen=True)

    id: str  # of this batch on its way, so that no crash seals it twice
    site: str
    study: Key
    study_instance_uid: str
    accession_number: str = ""
    received_at: AwareDatetime
    study_instances: int | None = None  # as the first one's header counts them
    traceparent: str | None = None


class Batch(BaseModel):
    """One sealed set of instances."""

    model_config = ConfigDict(frozen=True)

    number: int
    manifest: str
    manifest_sha256: str = ""
    instances: int
    size: int
    modalities: tuple[str, ...] = ()
    completed_at: AwareDatetime
    erased: bool = False  # on purpose; nothing of it is in object storage any more
    whole: Whole = Whole()  # the verdict under which it was sealed


class Conflict(Part):
    """An instance whose SOP Instance UID came before with other bytes: the first one goes on, both are kept."""

    sop_instance_uid: str
    first: str  # SHA-256 of the one that goes on
    other: str  # and of this one,
    kept_as: str  # which lies among the originals under this key
    arrived_at: AwareDatetime


@dataclass(frozen=True, slots=True)
class Harvest:
    """What sealing found in the spool: new instances under a manifest, and those in conflict with earlier ones."""

    jurisdiction: str
    completed_at: AwareDatetime
    batch: int
    manifest: str
    manifest_sha256: str
    instances: int  # new ones; 0 if all were known or in conflict
    size: int
    modalities: tuple[str, ...]
    subject: Subject
    conflicts: tuple[Conflict, ...]
    repeats: int  # instances that were here already, byte for byte
    whole: Whole


class Study(Aggregate):
    """A study of one site as far as it is sealed.

    While `held` names a reason nothing of it goes on; what is `noted` holds nothing up. Both wait for a person.
    """

    collection: ClassVar[str] = "studies"
    indexes: ClassVar[tuple[Index, ...]] = (
        Index("studies", ("site",)),
        Index("studies", ("site", "subject.accession.value")),
        Index("studies", ("review", "site")),
    )

    study: Key
    site: str
    jurisdiction: str
    study_instance_uid: str
    received_at: AwareDatetime
    subject: Subject = Subject()
    order: Key | None = None
    basis: Basis | None = None  # why this order
    priority: Priority = Priority.ROUTINE
    held: tuple[str, ...] = ()
    against: Key | None = None  # the order that it contradicts
    notes: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()  # notes that a person has seen
    decided: bool = False  # a person chose the order, or none; nothing chooses again
    review: bool = False  # a person should look
    words: Key = ""  # blob of whom its orders and its clinic name; it goes with what is announced
    identity: str = ""  # blob of what its patient is called now, if that is not what the images say
    batches: tuple[Batch, ...] = ()
    conflicts: tuple[Conflict, ...] = ()  # the first `MOST_CONFLICTS`
    repeats: int = 0  # so often an instance came that was here already, byte for byte
    announced: int = 0  # so many batches went on
    sealed: str = ""  # the arrival sealed last

    @property
    def purged(self) -> bool:
        """Whether all that came of it was deleted on purpose."""
        return bool(self.batches) and all(batch.erased for batch in self.batches)

    @property
    def next_batch(self) -> int:
        return len(self.batches) + 1
