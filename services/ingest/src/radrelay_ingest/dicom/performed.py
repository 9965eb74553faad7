"""Modality Performed Procedure Step (PS3.4 Annex F): what a scanner says it is doing, and which images came of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pydicom.dataset import Dataset

from radrelay_ingest.context import IngestContext
from radrelay_ingest.dicom.messages import DUPLICATE_INSTANCE, Answer, Asked
from radrelay_ingest.domain.steps import Known, Step, StepStatus, begun, changed
from radrelay_shared.dicom.whole import is_uid
from radrelay_shared.errors import Invalid

STATUSES: tuple[StepStatus, ...] = ("IN PROGRESS", "DISCONTINUED", "COMPLETED")
MOST_IMAGES = 100_000


def create(context: IngestContext, asked: Asked) -> Iterator[Answer]:
    """N-CREATE: a step has begun; durable before it is answered."""
    said, uid = asked.data_set(), _uid(asked.request.sop_instance_uid)
    scheduled = said.get("ScheduledStepAttributesSequence") or []
    if not scheduled:
        raise Invalid("(0040,0270) Scheduled Step Attributes Sequence is missing")
    study = context.study_key(asked.sender.site, _uid(str(scheduled[0].get("StudyInstanceUID", ""))))
    key = context.step_key(asked.sender.site, uid)
    step = Step(step=key, site=asked.sender.site, study=study, status=_status(said), images=_images(said))
    try:
        context.wait(context.store.change(Step, key, partial(begun, step=step)))
    except Known as error:
        yield Answer(DUPLICATE_INSTANCE, comment=error.detail)
    else:
        yield Answer()


def update(context: IngestContext, asked: Asked) -> Iterator[Answer]:
    """N-SET: what came of the step so far, or that it has ended; durable before it is answered."""
    said = asked.data_set()
    key = context.step_key(asked.sender.site, _uid(asked.request.sop_instance_uid))
    status = _status(said) if "PerformedProcedureStepStatus" in said else None
    images = _images(said) if "PerformedSeriesSequence" in said else None
    context.wait(context.store.change(Step, key, partial(changed, status=status, images=images)))
    yield Answer()


def _status(said: Dataset) -> StepStatus:
    found = [each for each in STATUSES if each == said.get("PerformedProcedureStepStatus")]
    if not found:
        raise Invalid("(0040,0252) Performed Procedure Step Status is none of those of PS3.4 Annex F")
    return found[0]


def _images(said: Dataset) -> tuple[str, ...]:
    """SOP Instance UIDs of images and other objects in all performed series."""
    names = ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence")
    series = said.get("PerformedSeriesSequence") or []
    items = [item for each in series for name in names for item in each.get(name) or []]
    if len(items) > MOST_IMAGES:
        raise Invalid(f"a performed procedure step names at most {MOST_IMAGES} images here")
    return tuple(sorted({_uid(str(item.get("ReferencedSOPInstanceUID", ""))) for item in items}))


def _uid(text: str) -> str:
    if not is_uid(text):
        raise Invalid("a UID in the performed procedure step is missing, or is none")
    return text
