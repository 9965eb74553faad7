"""How people and models stand to a study, from the events of those who decide it; pure.

Events come twice, late and in any order: assignment's follow their sequence, and what was reported stays reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from radrelay_shared import events
from radrelay_shared.aggregate import Part
from radrelay_shared.envelope import Envelope
from radrelay_shared.events import Event
from radrelay_shared.security import Role
from radrelay_storage.rights import RIGHTS, Act, Relation, reader

Names = tuple[str, ...]  # subjects


class Sight(Part):
    """Who sees a study through a later one, as of that one's last change."""

    change: int
    readers: Names


class Relations(Part):
    """Who stands how to a study. It is part of the study's document, which only grows by who looked and reported."""

    people: Mapping[Relation, Names] = {}
    sequence: str = ""  # of the last of assignment's events that counted
    signed: bool = False  # nobody is asked to read it any more
    change: int = 0
    later: Mapping[str, Sight] = {}  # by the key of a later study of the patient

    @property
    def readers(self) -> Names:
        """Who may look at the study without being of its site, by role and subject."""
        return tuple(sorted(self._named(RIGHTS[Act.LOOK]).union(*(each.readers for each in self.later.values()))))

    @property
    def sight(self) -> Sight:
        """Who sees the patient's earlier studies through this one."""
        bound = [role for role, relations in RIGHTS[Act.LOOK].items() if Relation.PRIOR in relations]
        return Sight(change=self.change, readers=tuple(sorted(self._named(bound))))

    def _named(self, of: Iterable[Role]) -> set[str]:
        """Who looks in one of these roles by a relation of their own; a prior's are those of the later study."""
        return {
            reader(role, subject)
            for role in of
            for relation in RIGHTS[Act.LOOK][role] - {Relation.PRIOR}
            for subject in self.people.get(relation, ())
        }

    def having(self, relation: Relation, *subjects: str, **more: Any) -> Relations:
        """The same, with these and no others in this relation."""
        people = {**self.people, relation: tuple(sorted(subjects))}
        return self.model_copy(update={"people": people, "change": self.change + 1, **more})

    def adding(self, relation: Relation, subject: str, **more: Any) -> Relations:
        return self.having(relation, *{*self.people.get(relation, ()), subject}, **more)

    def through(self, later: str, sight: Sight) -> Relations:
        """The same, seen through a later study; what is older than what is known changes nothing."""
        known = self.later.get(later)
        if sight.change <= (known.change if known else 0):
            return self
        return self.model_copy(update={"later": {**self.later, later: sight}})


def assigned(relations: Relations, envelope: Envelope[Any]) -> Relations:
    return handed(relations, envelope, envelope.data.radiologist)


def returned(relations: Relations, envelope: Envelope[Any]) -> Relations:
    return handed(relations, envelope)


def handed(relations: Relations, envelope: Envelope[Any], *to: str) -> Relations:
    """To one radiologist, or to nobody, unless a newer event was here first."""
    if envelope.sequence <= relations.sequence or relations.signed:
        return relations
    return relations.having(Relation.ASSIGNED, *to, sequence=envelope.sequence)


def reported(relations: Relations, envelope: Envelope[Any]) -> Relations:
    return relations.adding(Relation.REPORTED, envelope.data.radiologist)


def signed(relations: Relations, envelope: Envelope[Any]) -> Relations:
    """Whoever had it, its reading is over."""
    return reported(relations, envelope).having(Relation.ASSIGNED, signed=True)


def asked(relations: Relations, envelope: Envelope[Any]) -> Relations:
    return relations.adding(Relation.ASKED, envelope.data.model)


def opened(relations: Relations, subject: str) -> Relations:
    """If it is assigned to them, they keep it in sight after it was taken from them."""
    mine = subject in relations.people.get(Relation.ASSIGNED, ())
    known = subject in relations.people.get(Relation.OPENED, ())
    return relations.adding(Relation.OPENED, subject) if mine and not known else relations


FOLLOWED: Mapping[type[Event], Callable[[Relations, Envelope[Any]], Relations]] = {
    events.ModelAsked: asked,
    events.StudyAssigned: assigned,
    events.AssignmentClaimed: assigned,
    events.AssignmentReturned: returned,
    events.ReportPreliminary: reported,
    events.ReportFinalized: signed,
    events.ReportAddended: reported,
}
