"""Studies and series as documents: what a search needs, and in which batches the bytes lie.

Lists of instances are not here: they lie in manifests and metadata beside the packs. Totals are those of all batches
together, so that batches may come late, twice and in any order, and an instance that comes again counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict

from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.errors import Conflict
from radrelay_shared.events import StudyAnonymized, StudyFacts, StudyStored
from radrelay_shared.ports import Index
from radrelay_storage.attributes import Attributes, Level, kept, one_of, searchable, tag
from radrelay_storage.relations import Relations

DERIVED = 1_000_000  # batches of derived objects are numbered from here; anonymize counts its own from 1


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SeriesBatch(Frozen):
    """Where one batch of a series lies: keys of immutable objects. The manifest names the pack."""

    batch: int
    manifest: str
    metadata: str
    instances: int


class StudyBatch(Frozen):
    batch: int
    manifest: str
    series: tuple[str, ...]
    instances: int


class Claim(Frozen):
    """A batch of derived objects that is the study's own, and is brought to where searches find it."""

    batch: StudyBatch
    manifest_sha256: str
    by: str  # the caller's subject
    at: AwareDatetime


class StoredSeries(Frozen):
    """A batch of one series as it was found beside the packs, with its first instance's attributes."""

    series_instance_uid: str
    modality: str
    where: SeriesBatch
    first: Attributes
    uids: frozenset[str]  # its SOP instances


class Series(Aggregate):
    collection: ClassVar[str] = "series"
    indexes: ClassVar[tuple[Index, ...]] = (
        Index("series", ("study",)),
        Index("series", ("site",)),
        Index("series", ("series_instance_uid",)),
        Index("series", ("keys.PatientID",)),
    )

    site: str
    study: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    attributes: Attributes
    keys: dict[str, str]  # searchable text by keyword
    batches: tuple[SeriesBatch, ...]
    instances: int  # different ones

    @property
    def repeats(self) -> bool:
        """Whether an instance of one batch came again in another."""
        return self.instances != sum(each.instances for each in self.batches)


class Study(Aggregate):
    collection: ClassVar[str] = "studies"
    indexes: ClassVar[tuple[Index, ...]] = (
        Index("studies", ("study_instance_uid",)),
        Index("studies", ("site", "received_at")),
        Index("studies", ("received_at",)),
        Index("studies", ("keys.PatientID",)),
        Index("studies", ("keys.AccessionNumber",)),
        Index("studies", ("keys.StudyDate",)),
        Index("studies", ("keys.PatientName",)),
        Index("studies", ("keys.PatientName",), parts=True),
        Index("studies", ("claim.batch.batch",)),
        Index("studies", ("readers", "received_at"), each=True),
    )

    site: str
    study: str
    study_instance_uid: str
    jurisdiction: str = ""
    received_at: AwareDatetime
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    lateralities: tuple[str, ...] = ()
    attributes: Attributes
    keys: dict[str, str]
    batches: tuple[StudyBatch, ...]
    claim: Claim | None = None
    instances: int  # different ones
    relations: Relations = Relations()
    readers: tuple[str, ...] = ()  # those of the relations, for searches

    @property
    def derived(self) -> tuple[StudyBatch, ...]:
        return tuple(each for each in self.batches if each.batch >= DERIVED)

    @property
    def series(self) -> int:
        return len({uid for each in self.batches for uid in each.series})


def series_key(study: str, series_instance_uid: str) -> str:
    return f"{study}.{series_instance_uid}"


def store_series(
    series: Series | None, stored: StoredSeries, others: Mapping[int, frozenset[str]], of: StudyAnonymized | Study
) -> Decision[Series] | None:
    """Add a batch to its series; what an earlier stored batch said of the series stays.

    `others` are the SOP instances of the batches that the series has; `Conflict` if it has got one more since.
    """
    known = {each.batch for each in series.batches} if series else set()
    if stored.where.batch in known:
        return None
    if known - others.keys():
        raise Conflict(f"another batch of {of.study} was stored at the same time; this one comes again")
    attributes = kept(stored.first, Level.SERIES) | (series.attributes if series else {})
    batches = (*(series.batches if series else ()), stored.where)
    return Decision(
        Series(
            site=of.site,
            study=of.study,
            study_instance_uid=of.study_instance_uid,
            series_instance_uid=stored.series_instance_uid,
            modality=stored.modality,
            attributes=attributes,
            keys=searchable(attributes, Level.SERIES),
            batches=tuple(sorted(batches, key=lambda each: each.batch)),
            instances=len(stored.uids.union(*others.values())),
        )
    )


def store_study(
    study: Study | None, stored: list[StoredSeries], instances: int, event: StudyAnonymized
) -> Decision[Study] | None:
    """Add a batch whose series are stored, and say so: once per batch, whatever comes again or late.

    `instances` are those of all the study's series as they were just read: a count that only grows, so that the
    larger one is right when batches are stored side by side.
    """
    if study and event.batch in {each.batch for each in study.batches}:
        return None
    attributes = study.attributes if study else {}
    for each in stored:
        attributes = kept(each.first, Level.STUDY) | attributes
    batch = StudyBatch(
        batch=event.batch,
        manifest=event.manifest,
        series=tuple(each.series_instance_uid for each in stored),
        instances=sum(each.where.instances for each in stored),
    )
    batches = (*(study.batches if study else ()), batch)
    modalities = union(study.modalities if study else (), [each.modality for each in stored])
    state = Study(
        site=event.site,
        study=event.study,
        study_instance_uid=event.study_instance_uid,
        jurisdiction=event.jurisdiction,
        received_at=min(event.received_at, study.received_at) if study else event.received_at,
        modalities=modalities,
        body_parts=union(study.body_parts if study else (), event.body_parts),
        lateralities=union(study.lateralities if study else (), [laterality_of(each.first) for each in stored]),
        attributes=attributes,
        keys=searchable(attributes, Level.STUDY) | {"ModalitiesInStudy": one_of(modalities)},
        batches=tuple(sorted(batches, key=lambda each: each.batch)),
        claim=study.claim if study else None,
        instances=max(instances, study.instances if study else 0),
        relations=study.relations if study else Relations(),
        readers=study.readers if study else (),
    )
    return Decision(state, [stored_event(state, event)])


def claimed(study: Study | None, claim: Claim, seen: Study) -> Decision[Study] | None:
    """Make the batch the study's own, if the study has nothing else than when the batch was judged."""
    if study is None or study.claim or study.batches != seen.batches:
        return None
    return Decision(study.model_copy(update={"claim": claim}))


def settled(study: Study | None, claim: Claim, modalities: list[str], instances: int) -> Decision[Study] | None:
    """Count the claimed batch among the others, once."""
    if study is None or study.claim != claim:
        return None
    batches = tuple(sorted((*study.batches, claim.batch), key=lambda each: each.batch))
    known = union(study.modalities, modalities)
    keys = study.keys | {"ModalitiesInStudy": one_of(known)}
    counted = max(instances, study.instances)
    update = {"batches": batches, "claim": None, "modalities": known, "keys": keys, "instances": counted}
    return Decision(study.model_copy(update=update))


def related(study: Study | None, change: Callable[[Relations], Relations]) -> Decision[Study] | None:
    """Change how people stand to a study that is here; nothing happens where nothing changes."""
    relations = change(study.relations) if study else None
    if study is None or relations is None or relations == study.relations:
        return None
    return Decision(study.model_copy(update={"relations": relations, "readers": relations.readers}))


def stored_event(study: Study, event: StudyAnonymized) -> StudyStored:
    return StudyStored(
        **event.model_dump(include=set(StudyFacts.model_fields)),
        study_instance_uid=study.study_instance_uid,
        instances=study.instances,
        modalities=study.modalities,
        body_parts=study.body_parts,
    )


def laterality_of(first: Attributes) -> str:
    """`L`, `R` or `B` as the instance says it, or nothing."""
    found = (first.get(tag(name), {}).get("Value") for name in ("ImageLaterality", "Laterality"))
    return next((str(each[0]) for each in found if each and each[0]), "")


def union(known: tuple[str, ...], more: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*known, *(each for each in more if each)}))
