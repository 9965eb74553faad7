"""What a derived object is held against: its study's images, the instances that are here, and the study's priors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from pydicom.dataset import Dataset

from radrelay_shared.dicom.reading import quietly
from radrelay_storage.access import every_series
from radrelay_storage.context import StorageContext
from radrelay_storage.derived.identity import Facts, said
from radrelay_storage.derived.receiving import Received
from radrelay_storage.derived.references import REFERENCED, Known, Place
from radrelay_storage.derived.refusal import Reason, Refusal
from radrelay_storage.domain import DERIVED, Series, Study
from radrelay_storage.priors.api import studies_of
from radrelay_storage.priors.ranking import is_prior

A_DAY = timedelta(days=1)  # clocks and time zones of those who send


@dataclass(frozen=True)
class Surroundings:
    facts: Facts
    place: Place
    images: frozenset[str]  # series of the study that hold no derived objects

    def has(self, one: Received) -> bool:
        """Whether this very instance is here already; raises `Refusal` if another one is in its place."""
        found = self.place.known.get(one.sop_instance_uid)
        if found is not None and found.sha256 != one.sha256:
            raise Refusal(Reason.OTHER_BYTES, "another instance of this SOP Instance UID is here; make a new one")
        if one.series_instance_uid in self.images:
            raise Refusal(Reason.MISMATCH, "its series is one of images; make a series for what is derived")
        return found is not None

    def with_one(self, one: Received) -> Surroundings:
        """The same once this instance is taken, too."""
        known = Known(one.study_instance_uid, one.series_instance_uid, one.sop_class_uid, one.sha256)
        place = self.place
        return replace(
            self,
            place=replace(
                place,
                known={**place.known, one.sop_instance_uid: known},
                all_series=place.all_series | {one.series_instance_uid},
            ),
        )


async def surroundings_of(study: Study, maker: str, context: StorageContext) -> Surroundings:
    """Those of the study alone."""
    series = await every_series(study.study, context)
    own = await context.workers.compute(spoken, [await first_text(each, context) for each in series])
    days = (f"{study.received_at - A_DAY:%Y%m%d}", f"{context.clock() + A_DAY:%Y%m%d}")
    place = Place(
        known=await known_in(series, context),
        images_say=own.get(REFERENCED, frozenset()),
        studies=frozenset({study.study_instance_uid}),
        all_series=frozenset(each.series_instance_uid for each in series),
    )
    images = frozenset(each.series_instance_uid for each in series if each.batches[0].batch < DERIVED)
    return Surroundings(Facts(own, maker, days), place, images)


async def with_priors(
    around: Surroundings, study: Study, named: Iterable[str], context: StorageContext
) -> Surroundings:
    """The same with those of the named studies that are priors of this one."""
    wanted = set(named) - around.place.studies
    if not wanted:
        return around
    place = around.place
    for each in await studies_of(context, study.site, study.keys.get("PatientID", "")):
        if each.study_instance_uid in wanted and is_prior(study, each):
            series = await every_series(each.study, context)
            place = replace(
                place,
                known={**place.known, **await known_in(series, context)},
                studies=place.studies | {each.study_instance_uid},
                all_series=place.all_series | {one.series_instance_uid for one in series},
            )
    return replace(around, place=place)


async def known_in(found: Sequence[Series], context: StorageContext) -> dict[str, Known]:
    return {
        each.packed.sop_instance_uid: Known(
            series.study_instance_uid, series.series_instance_uid, each.packed.sop_class_uid, each.packed.sha256
        )
        for series in found
        for each in await context.shelf.instances(series)
    }


async def first_text(series: Series, context: StorageContext) -> bytes:
    """The metadata of one instance: what all of a series say of patient, study and series."""
    return await context.descriptions.text(series.study, series.batches[0].metadata, 0)


def spoken(instances: Sequence[bytes]) -> dict[int, frozenset[str]]:
    with quietly():
        return said([Dataset.from_json(json.loads(each)) for each in instances])
