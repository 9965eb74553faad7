"""What is known of a patient before a text of theirs is cleaned, and which names must not be in it afterwards."""

from __future__ import annotations

from prose.people import CLINICS, PHYSICIANS, Person
from prose.sentences import words_in
from radrelay_anonymize.domain import Words
from radrelay_anonymize.domain.around import words_around as words_of
from radrelay_anonymize.domain.profile import default
from radrelay_shared.named import Named


def names_around(who: Person) -> list[str]:
    """The parts of every name, longer than what anybody could take for an abbreviation."""
    spelled = [who.name.partition("=")[0], *PHYSICIANS]
    return [part for name in spelled for part in words_in(name) if len(part) > 2 and part != "Dr"]


def words_around(who: Person) -> Words:
    """What headers, order and clinic say, as the service comes to know it."""
    headers = Words.of(names=[who.name], identifiers=[who.record], dates=[who.born], uids=[who.study_uid])
    named = Named.of(
        people=[who.name, *PHYSICIANS],
        numbers=[who.accession, who.phone],
        institutions=[clinic.name for clinic in CLINICS],
    )
    return headers | words_of(named, default())
