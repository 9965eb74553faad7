"""What a person decides about a study that waits for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from radrelay_ingest.domain.matching import Basis
from radrelay_ingest.domain.orders import Order
from radrelay_ingest.domain.patients import Patient
from radrelay_ingest.domain.sealing import told
from radrelay_ingest.domain.studies import Study
from radrelay_shared.aggregate import Decision
from radrelay_shared.errors import Refused
from radrelay_shared.events import Key, PatientChanged

Reason = Literal["merged", "updated", "corrected"]
Decide = Callable[[Study], Decision[Study]]


def release(current: Study, order: Order | None, words: Key) -> Decision[Study]:
    """It is the same patient after all, or this is its order, or it has none: what was held back goes on."""
    chosen = {
        "words": words,
        "order": order.order if order else None,
        "basis": Basis.PERSON,
        "priority": order.request.priority if order else current.priority,
    }
    study = current.model_copy(update=chosen | {"held": (), "against": None, "decided": True})
    return told(_seen(study), current)


def reject(current: Study) -> Decision[Study]:
    """It stays where it is, for good; the clinic corrects it and sends it as another study."""
    if not current.held:
        raise Refused(f"nothing of {current.study} is held back, so nothing can be kept back for good")
    return Decision(_seen(current).model_copy(update={"decided": True, "review": False}))


def dismiss(current: Study) -> Decision[Study]:
    """What was noted is in order. Raises `Refused` for a study that is held back: that needs a decision."""
    if current.held:
        raise Refused(f"{current.study} is held back: release, correct or reject it")
    return Decision(_seen(current).model_copy(update={"review": False}))


def called(current: Study | None, patient: Patient, identity: str, reason: Reason) -> Decision[Study] | None:
    """The patient is called differently now, as the blob `identity` says; reports go back under that."""
    if current is None or current.identity == identity:
        return None
    subject = current.subject.model_copy(update={"patient": patient})
    study = current.model_copy(update={"identity": identity, "subject": subject})
    event = PatientChanged(
        site=study.site, study=study.study, priority=study.priority, identity=identity, reason=reason
    )
    return Decision(study, [event])


def _seen(study: Study) -> Study:
    return study.model_copy(update={"notes": (), "seen": (*study.seen, *study.notes)})
