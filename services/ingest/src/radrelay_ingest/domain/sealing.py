"""What becomes of a study: batches are sealed, once each; orders answer it; its originals are deleted on purpose."""

from __future__ import annotations

from radrelay_ingest.domain.matching import Ambiguous, Answered, Basis, Found, Subject, contradicted
from radrelay_ingest.domain.orders import Order, Status
from radrelay_ingest.domain.patients import Patient
from radrelay_ingest.domain.studies import MOST_CONFLICTS, Arrival, Batch, Harvest, Study
from radrelay_shared.aggregate import Decision
from radrelay_shared.events import Event, Key, StudyErased, StudyPurged, StudyQuarantined, StudyReceived, StudyUpdated

# What a person should look at, as codes; beside these, whatever `matching.contradicted` finds.
SAME_UID_OTHER_BYTES = "sop-instance-conflict"
OTHER_PATIENT_ID = "order-patient-id-differs"
AMBIGUOUS = "order-ambiguous"
ORDER_CANCELLED = "order-cancelled"


def seal(
    current: Study | None, arrival: Arrival, harvest: Harvest, found: Answered, words: Key
) -> Decision[Study] | None:
    """Add what was harvested as the next batch and say so; None if this arrival is sealed already."""
    if current and current.sealed == arrival.id:
        return None
    before = grown(current, arrival, harvest)
    study = judged(before, found).model_copy(update={"words": words})
    if harvest.instances:
        study = study.model_copy(update={"batches": (*study.batches, _batch(harvest))})
    if harvest.conflicts:
        study = noted(study, SAME_UID_OTHER_BYTES, again=True)
    return told(study, before, conflicts=len(harvest.conflicts))


def grown(current: Study | None, arrival: Arrival, harvest: Harvest) -> Study:
    """The study with what was harvested, not judged yet."""
    study = current or _new(arrival, harvest.jurisdiction)
    known = {each.kept_as for each in study.conflicts}
    fresh = [each for each in harvest.conflicts if each.kept_as not in known]
    return study.model_copy(
        update={
            "sealed": arrival.id,
            "subject": study.subject.merged(harvest.subject),
            "conflicts": (*study.conflicts, *fresh)[:MOST_CONFLICTS],
            "repeats": study.repeats + harvest.repeats,
        }
    )


def erased(current: Study | None, event: StudyPurged, objects: int) -> Decision[Study] | None:
    """Note that the batches sealed before the decision are deleted; their numbers are never used again."""
    if current is None:
        return None
    batches = tuple(
        each.model_copy(update={"erased": each.erased or each.completed_at <= event.purged_at})
        for each in current.batches
    )
    said = StudyErased(site=current.site, study=current.study, what="originals", objects=objects)
    left = {"batches": batches, "announced": len(batches), "subject": Subject(), "conflicts": ()}
    return Decision(current.model_copy(update=left), [said])


def answer(current: Study | None, seen: Study, found: Answered, words: Key) -> Decision[Study] | None:
    """Judge a sealed study by what was found for it as it was `seen`; None if it has changed since, or need not."""
    if current is None or current.purged or current != seen:
        return None
    study = judged(current, found).model_copy(update={"words": words})
    return None if study == current else told(study, current)


def judged(study: Study, found: Answered) -> Study:
    """The study with the order that it answers, or held back from the order that it contradicts."""
    match found:
        case Ambiguous() if not study.order:
            return noted(study, AMBIGUOUS)
        case Found(order) if study.decided:
            fresh = {"priority": order.request.priority} if order.order == study.order else {}
            return study.model_copy(update=fresh)
        case Found(order, basis, subject) if study.order in (None, order.order) or _stronger(basis, study.basis):
            if held := contradicted(order.request, subject):
                return study.model_copy(update={"held": held, "against": order.order})
            return _with_notes(_answering(study, order, basis), order, subject.patient)
        case None if not study.decided:
            return study.model_copy(update={"held": (), "against": None})
    return study


def _stronger(basis: Basis, than: Basis | None) -> bool:
    ranks = list(Basis)
    return than is None or ranks.index(basis) < ranks.index(than)


def _answering(study: Study, order: Order, basis: Basis) -> Study:
    fresh = {"order": order.order, "basis": basis, "priority": order.request.priority, "held": (), "against": None}
    notes = tuple(note for note in study.notes if note != AMBIGUOUS)
    return study.model_copy(update=fresh | {"notes": notes})


def _with_notes(study: Study, order: Order, mine: Patient) -> Study:
    """What is odd about this match and holds nothing up."""
    theirs = order.request.patient
    if mine.ids and theirs.ids and not mine.known_as(theirs):
        study = noted(study, OTHER_PATIENT_ID)
    if order.request.status is Status.CANCELLED:
        study = noted(study, ORDER_CANCELLED)
    return study


def noted(study: Study, note: str, *, again: bool = False) -> Study:
    """With one more note for a person; one that was seen is shown once more only if it came `again`."""
    if note in study.notes or (note in study.seen and not again):
        return study
    return study.model_copy(update={"notes": (*study.notes, note)})


def told(study: Study, before: Study, *, conflicts: int = 0) -> Decision[Study]:
    """The study, whatever of it may go on, and that a person must look if that is new."""
    events: list[Event] = []
    if not study.held:
        events += [_received(study, batch) for batch in study.batches[study.announced :]]
        study = study.model_copy(update={"announced": len(study.batches)})
    reasons = study.held if study.held != before.held else ()
    instances = sum(batch.instances for batch in study.batches) if reasons else conflicts
    if conflicts:
        reasons = (*reasons, f"{SAME_UID_OTHER_BYTES}:{conflicts}")
    if reasons:
        events.append(_quarantined(study, reasons, instances))
    return Decision(study.model_copy(update={"review": bool(study.held or study.notes)}), events)


def _new(arrival: Arrival, jurisdiction: str) -> Study:
    return Study(
        study=arrival.study,
        site=arrival.site,
        jurisdiction=jurisdiction,
        study_instance_uid=arrival.study_instance_uid,
        received_at=arrival.received_at,
    )


def _batch(harvest: Harvest) -> Batch:
    return Batch(
        number=harvest.batch,
        manifest=harvest.manifest,
        manifest_sha256=harvest.manifest_sha256,
        instances=harvest.instances,
        size=harvest.size,
        modalities=harvest.modalities,
        completed_at=harvest.completed_at,
        whole=harvest.whole,
    )


def _received(study: Study, batch: Batch) -> StudyReceived:
    kind = StudyReceived if batch.number == 1 else StudyUpdated
    return kind(
        site=study.site,
        study=study.study,
        priority=study.priority,
        order=study.order,
        jurisdiction=study.jurisdiction,
        received_at=study.received_at,
        completed_at=batch.completed_at,
        batch=batch.number,
        manifest=batch.manifest,
        manifest_sha256=batch.manifest_sha256,
        instances=batch.instances,
        size=batch.size,
        modalities=batch.modalities,
        words=study.words,
        **batch.whole.model_dump(),
    )


def _quarantined(study: Study, reasons: tuple[str, ...], instances: int) -> StudyQuarantined:
    return StudyQuarantined(
        site=study.site,
        study=study.study,
        priority=study.priority,
        batch=max(len(study.batches), 1),
        reasons=reasons,
        instances=instances,
    )
