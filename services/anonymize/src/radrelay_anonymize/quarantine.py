"""What a person decides about instances in quarantine: they leave after all, or never."""

from __future__ import annotations

from functools import partial

from radrelay_anonymize.batch import Work, identify, original_of
from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.domain.cases import Batch, Case, Verdict, decided
from radrelay_anonymize.domain.pieces import Data
from radrelay_anonymize.vault import identity_in
from radrelay_shared.errors import NotFound, Refused
from radrelay_shared.packs import Manifest, PackedInstance, PackedSeries, read_manifest

Places = frozenset[tuple[int, int]]  # series and place, as in `Held`


async def decide(context: AnonymizeContext, case: Case, number: int, places: Places, verdict: Verdict) -> Case:
    """Release or reject these held instances of a batch, durable on return.

    What is released becomes a batch of its own, de-identified like any other, but that mere words and the sender's word
    on burned-in text do not hold it back. Raises `Refused` if no copy can be made of one of them, or it waits no more.
    """
    release = await released(context, case, number, places) if verdict == "released" else None
    change = partial(decided, number=number, places=places, verdict=verdict, release=release)
    return await context.store.change(Case, case.study, change) or case


async def released(context: AnonymizeContext, case: Case, number: int, places: Places) -> Batch:
    batch = case.batch(number)
    if batch.received is None or case.profile is None:
        raise Refused(f"nothing of {case.study} could be read; correct it at the clinic and send it again")
    event = batch.received.model_copy(update={"batch": case.next_release})
    originals = chosen(await read_manifest(context.originals, batch.received.manifest), places)
    found = await identify(context, event, originals, case.profile)
    if found is None:
        raise Refused(f"these instances of {case.study} cannot be read; correct them at the clinic and send them again")
    identity = identity_in(context, case)
    work = Work(context, event, originals, identity, found[1] | identity.words, case.profile, vouched=True)
    made = await work.run()
    if made.held:
        raise Refused(
            f"no copy can be made of some of these instances of {case.study} ({', '.join(made.reasons)}); "
            "reject them, correct them at the clinic and send them again"
        )
    return made


def chosen(originals: Manifest, places: Places) -> Manifest:
    """The originals' manifest with these instances alone."""
    series = [
        each.model_copy(update={"instances": tuple(kept)})
        for number, each in enumerate(originals.series, 1)
        if (kept := [one for place, one in enumerate(each.instances, 1) if (number, place) in places])
    ]
    return originals.model_copy(update={"series": tuple(series)})


async def original(context: AnonymizeContext, case: Case, number: int, series: int, place: int) -> Data:
    """A held instance as it was received; raises `NotFound` for any other, `Refused` if its bytes changed."""
    batch = case.batch(number)
    if batch.received is None or not any((each.series, each.place) == (series, place) for each in batch.held):
        raise NotFound(f"{case.study} has no such instance in quarantine")
    packed, instance = instance_at(await read_manifest(context.originals, batch.received.manifest), series, place)
    found = await original_of(context, packed, instance)
    if found is None:
        raise Refused(f"an original of {case.study} was changed since it was received; it is not shown")
    return found


def instance_at(originals: Manifest, series: int, place: int) -> tuple[PackedSeries, PackedInstance]:
    packed = originals.series[series - 1]
    return packed, packed.instances[place - 1]
