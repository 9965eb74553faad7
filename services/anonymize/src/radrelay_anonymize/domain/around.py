"""Whom a study's orders and its clinic name, as words that no text may say."""

from __future__ import annotations

from radrelay_anonymize.domain.profile import Option, Profile
from radrelay_anonymize.domain.words import Words
from radrelay_shared.named import Named


def words_around(named: Named, profile: Profile) -> Words:
    """Institutions are words unless the profile retains them."""
    retained = Option.RETAIN_INSTITUTION_IDENTITY in profile.options
    places = named.places if retained else (*named.places, *named.institutions)
    return Words.of(names=named.people, identifiers=named.numbers, places=places, dates=named.dates)
