"""What one site knows under one patient ID: the orders and studies, and whether the ID was merged into another."""

from __future__ import annotations

from typing import ClassVar

from radrelay_ingest.domain.patients import Identifier
from radrelay_shared.aggregate import Aggregate, Decision, Part
from radrelay_shared.events import Key


class Merge(Part):
    """The clinic found that two IDs are one patient's; from then on only one of them is used (HL7 A40)."""

    retired: Identifier
    surviving: Identifier


class Person(Aggregate):
    """The entry of one patient ID, whoever gave it out: orders and studies say the issuers themselves."""

    collection: ClassVar[str] = "people"

    person: Key
    orders: tuple[Key, ...] = ()
    studies: tuple[Key, ...] = ()
    merges: tuple[Merge, ...] = ()

    def surviving(self, retired: Identifier) -> Identifier | None:
        """The ID that took this one's place last."""
        return next((each.surviving for each in reversed(self.merges) if each.retired.means(retired)), None)


def remembered(
    current: Person | None,
    person: Key,
    orders: tuple[Key, ...] = (),
    studies: tuple[Key, ...] = (),
    merges: tuple[Merge, ...] = (),
) -> Decision[Person] | None:
    """With these, too; None if all are known."""
    known = current or Person(person=person)
    changed = known.model_copy(
        update={
            "orders": tuple(dict.fromkeys((*known.orders, *orders))),
            "studies": tuple(dict.fromkeys((*known.studies, *studies))),
            "merges": tuple(dict.fromkeys((*known.merges, *merges))),
        }
    )
    return None if changed == current else Decision(changed)
