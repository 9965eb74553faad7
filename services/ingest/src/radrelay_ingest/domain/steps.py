"""Performed procedure steps: what a modality says it does, did, or broke off (MPPS, PS3.4 Annex F)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from radrelay_ingest.domain.completeness import Basis, Claim
from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.errors import Invalid, NotFound, Refused
from radrelay_shared.events import Key
from radrelay_shared.ports import Index

StepStatus = Literal["IN PROGRESS", "DISCONTINUED", "COMPLETED"]
GOES_ON = "IN PROGRESS"


class Known(Refused):
    """There is a step of this UID already."""


class NoLongerUpdated(Refused):
    """A step that has ended does not change (PS3.4 §F.7.2.2.2)."""


class Step(Aggregate):
    """One step of one site; the images that came of it are named once it has ended."""

    collection: ClassVar[str] = "steps"
    indexes: ClassVar[tuple[Index, ...]] = (Index("steps", ("study",)),)

    step: Key
    site: str
    study: Key
    status: StepStatus
    images: tuple[str, ...] = ()  # SOP Instance UIDs


def begun(current: Step | None, step: Step) -> Decision[Step]:
    """N-CREATE: a new step, which goes on; raises `Known` or `Invalid`."""
    if current is not None:
        raise Known("there is a performed procedure step of this UID already")
    if step.status != GOES_ON:
        raise Invalid("a performed procedure step begins IN PROGRESS")
    return Decision(step)


def changed(current: Step | None, status: StepStatus | None, images: tuple[str, ...] | None) -> Decision[Step]:
    """N-SET: what is given replaces what was known; raises `NotFound` or `NoLongerUpdated`."""
    if current is None:
        raise NotFound("there is no performed procedure step of this UID for you here")
    if current.status != GOES_ON:
        raise NoLongerUpdated("the performed procedure step has ended; it may no longer be updated")
    changes = {"status": status, "images": images}
    return Decision(current.model_copy(update={name: value for name, value in changes.items() if value is not None}))


def performed(steps: Sequence[Step]) -> Claim | None:
    """All images of all steps; the examination has ended once every step has. Nothing if it names none then."""
    images = frozenset(image for step in steps for image in step.images)
    ended = all(step.status != GOES_ON for step in steps)
    if ended and not images:  # modalities that report no images, or a step that was broken off before any
        return None
    return Claim(Basis.PERFORMED_STEPS, len(images), images, ended=ended)
