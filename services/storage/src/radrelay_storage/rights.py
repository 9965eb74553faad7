"""Who may do what to which studies, as a table; pure. Nothing else in storage knows a role."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from radrelay_shared.security import Role


class Relation(StrEnum):
    """How a caller stands to a study."""

    OWN_SITE = "own site"  # whatever is of one of the caller's sites; each of the others is within them, too
    ASSIGNED = "assigned"  # it is offered to them, or claimed by them
    OPENED = "opened"  # they read its images while it was assigned to them
    REPORTED = "reported"  # a version of its report is theirs
    ASKED = "asked"  # triage asked this model to look at it
    PRIOR = "prior"  # an earlier study of the patient of one that is assigned to, opened or reported by them


class Act(StrEnum):
    LOOK = "look at images"
    MAKE = "store what was derived from images that they may look at"
    PROVE = "read the ledger"
    VERIFY = "verify the ledger"
    HOLD = "hold"
    KNOW = "know of holds and purges"
    DELETE = "lift holds and purge"


SITES = frozenset({Relation.OWN_SITE})
REQUESTS = frozenset({Relation.ASKED})
READINGS = frozenset({Relation.ASSIGNED, Relation.OPENED, Relation.REPORTED, Relation.PRIOR})

# Who has several roles has the widest of their rights: that of the first row.
RIGHTS: Mapping[Act, Mapping[Role, frozenset[Relation]]] = {
    Act.LOOK: {
        Role.OPERATOR: SITES,
        Role.ASSISTANT: SITES,
        Role.SITE: SITES,
        Role.REFERRER: SITES,
        Role.RADIOLOGIST: READINGS,
        Role.MODEL: REQUESTS,
    },
    Act.MAKE: {Role.RADIOLOGIST: READINGS, Role.MODEL: REQUESTS},  # they see copies, and nothing else
    Act.PROVE: {Role.OPERATOR: SITES, Role.ASSISTANT: SITES, Role.SITE: SITES, Role.AUDITOR: SITES},
    Act.VERIFY: {Role.OPERATOR: SITES, Role.AUDITOR: SITES},
    Act.HOLD: {Role.OPERATOR: SITES, Role.ASSISTANT: SITES},
    Act.KNOW: {Role.OPERATOR: SITES, Role.ASSISTANT: SITES, Role.AUDITOR: SITES},
    Act.DELETE: {Role.OPERATOR: SITES},
}


def reader(role: Role, subject: str) -> str:
    """How a study's document names one who may look at it without being of its site."""
    return f"{role} {subject}"
