"""A study in the vault: its sealed identity, what became of each batch, and what waits for a person."""

from __future__ import annotations

from typing import ClassVar, Literal

from radrelay_anonymize.domain.profile import Profile
from radrelay_shared.aggregate import Aggregate, Decision, Part
from radrelay_shared.errors import NotFound, Refused
from radrelay_shared.events import Event, StudyAnonymized, StudyErased, StudyFacts, StudyQuarantined, StudyReceived
from radrelay_shared.ports import Index

Verdict = Literal["released", "rejected"]
FIRST_RELEASE = 900_001  # batches from here on hold what a person released; those below are ingest's


class Held(Part):
    """An instance in quarantine: the `place`th of its series in the originals' manifest, both counted from 1."""

    series: int
    place: int
    reasons: tuple[str, ...]
    verdict: Verdict | None = None


class Batch(Part):
    """What de-identifying one batch came to.

    Reasons, modalities and body parts are bounded by their maker, for they travel in events.
    """

    batch: int
    released: int = 0
    held: tuple[Held, ...] = ()  # they stay among the originals
    reasons: tuple[str, ...] = ()
    manifest: str | None = None
    manifest_sha256: str = ""
    study_instance_uid: str = ""  # de-identified
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    received: StudyReceived | None = None  # what ingest said of it

    @property
    def waiting(self) -> tuple[Held, ...]:
        return tuple(each for each in self.held if each.verdict is None)


class Case(Aggregate):
    collection: ClassVar[str] = "cases"
    indexes: ClassVar[tuple[Index, ...]] = (
        Index("cases", ("site",)),
        Index("cases", ("held",)),
        Index("cases", ("pseudonym",)),
        Index("cases", ("key",)),
    )

    study: str
    site: str
    sealed: str = ""  # see `seals`; empty until an instance could be read, and once it was purged
    key: str = ""  # the master key that opens it
    pseudonym: str = ""  # the patient, as the reading zone knows them
    on_legal_hold: bool = False
    told_of_hold: str = ""  # the sequence of what said so
    purge_wished_by: str = ""  # who; a second person carries it out
    purged: bool = False  # the way back was destroyed on purpose; nothing of the study is de-identified any more
    profile: Profile | None = None  # under which all its batches are de-identified
    held: bool = False  # something of it waits for a person
    batches: tuple[Batch, ...] = ()

    @property
    def id(self) -> str:
        return self.study

    def batch(self, number: int) -> Batch:
        """Raises `NotFound` if there is none of this number."""
        for each in self.batches:
            if each.batch == number:
                return each
        raise NotFound(f"{self.study} has no batch {number}")

    @property
    def next_release(self) -> int:
        return max((each.batch + 1 for each in self.batches if each.batch >= FIRST_RELEASE), default=FIRST_RELEASE)


def identified(case: Case | None, fresh: Case) -> Decision[Case] | None:
    """Keep this identity, unless there is one, or there was one."""
    if case is not None and (case.sealed or case.purged):
        return None
    return Decision(fresh.model_copy(update={"batches": case.batches, "held": case.held}) if case else fresh)


def finished(case: Case | None, event: StudyReceived, batch: Batch) -> Decision[Case]:
    """Note what the batch came to, and tell what may go on and what may not."""
    case = case or Case(study=event.study, site=event.site)
    return Decision(_with(case, batch), events_of(event, batch))


def decided(
    case: Case | None, number: int, places: frozenset[tuple[int, int]], verdict: Verdict, release: Batch | None
) -> Decision[Case]:
    """Note what a person decided on held instances (series, place); `release` is the batch that became of them.

    Raises `Refused` if one of them does not wait any more.
    """
    if case is None:
        raise NotFound("there is no study of this key for you here")
    batch = case.batch(number)
    if not places <= {(each.series, each.place) for each in batch.waiting}:
        raise Refused(f"some of these instances of {case.study} do not wait for a decision (any more)")
    held = tuple(
        each.model_copy(update={"verdict": verdict}) if (each.series, each.place) in places else each
        for each in batch.held
    )
    case = _with(case, batch.model_copy(update={"held": held}))
    if release is None or release.received is None:
        return Decision(case)
    return Decision(_with(case, release), events_of(release.received, release))


def legally_held(case: Case | None, sequence: str, *, held: bool) -> Decision[Case] | None:
    """Note whether there is a legal hold; None if a later word is known."""
    if case is None or case.told_of_hold >= sequence:
        return None
    return Decision(case.model_copy(update={"on_legal_hold": held, "told_of_hold": sequence}))


def purge_wished(case: Case | None, who: str) -> Decision[Case] | None:
    """Remember who wants the way back destroyed; None if there is none any more."""
    return None if case is None or case.purged else Decision(case.model_copy(update={"purge_wished_by": who}))


def purged(case: Case | None) -> Decision[Case] | None:
    """Destroy the way back; None if there is none any more."""
    if case is None or case.purged:
        return None
    return Decision(case.model_copy(update={"sealed": "", "key": "", "purged": True}))


def erased(case: Case | None) -> Decision[Case] | None:
    """Say that there is no way back; the case stays, so that what comes late is known to be of a purged study."""
    if case is None:
        return None
    return Decision(case, [StudyErased(site=case.site, study=case.study, what="identity", objects=1)])


def _with(case: Case, batch: Batch) -> Case:
    batches = (*(each for each in case.batches if each.batch != batch.batch), batch)
    return case.model_copy(update={"batches": batches, "held": any(each.waiting for each in batches)})


def events_of(event: StudyReceived, batch: Batch) -> tuple[Event, ...]:
    facts = event.model_dump(include=set(StudyFacts.model_fields))
    events: list[Event] = []
    if batch.manifest:
        shown = {"study_instance_uid", "modalities", "body_parts", "manifest", "manifest_sha256"}
        details = batch.model_dump(include=shown) | {"instances": batch.released}
        events.append(StudyAnonymized.model_validate(facts | details))
    if batch.held:
        held = {"reasons": batch.reasons, "instances": len(batch.held)}
        events.append(StudyQuarantined.model_validate(facts | held))
    return tuple(events)
