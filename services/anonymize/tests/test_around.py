"""What only the orders and the clinic say goes from the copies, and nothing leaves without it where it was said."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from radrelay_anonymize.domain.around import words_around
from radrelay_anonymize.domain.profile import packaged
from radrelay_shared.confided import confide
from radrelay_shared.events import PackDamaged, PackRestored, StudyAnonymized
from radrelay_shared.named import Named, keep_named
from radrelay_shared.security import Role
from radrelay_shared.testing import client, deliver

if TYPE_CHECKING:
    from services.anonymize.tests.conftest import Bench  # importlib mode gives it no importable name at run time

File = Callable[..., bytes]

AROUND = Named.of(
    people=["Vogelsang^Heike", "Roe^Formerly"],
    numbers=["71339", "PL-88Q"],
    dates=["19510704"],
    places=["12 Mill Lane", "Ennisbrook"],
    institutions=["St. Agnes Fracture Clinic"],
)
SECRET = b"ingest's own secret"
SAID = "Fracture? Vogelsang, St. Agnes, 71339 (PL 88 Q)"
KEPT = "Fracture? [removed], St. [removed], [removed] ([removed])"


async def described(bench: Bench, told: StudyAnonymized) -> list[str]:
    return [str(copy.StudyDescription) for copy in await bench.released(told)]


async def test_what_only_orders_and_clinic_say_goes_from_every_copy(bench: Bench, zenobia: File) -> None:
    words = await keep_named(bench.context.originals, "st-one", AROUND, SECRET)
    await bench.receive([zenobia(1, StudyDescription=SAID), zenobia(2, StudyDescription=SAID)], words=words)
    [told] = bench.downstream.of(StudyAnonymized)
    assert await described(bench, told) == [KEPT, KEPT]


async def test_an_order_that_came_late_counts_for_the_next_batch(bench: Bench, zenobia: File) -> None:
    said = "CT for Vogelsang"
    await bench.receive([zenobia(1, StudyDescription=said)])
    words = await keep_named(bench.context.originals, "st-one", AROUND, SECRET)
    await bench.receive([zenobia(2, StudyDescription=said)], batch=2, words=words)
    first, second = bench.downstream.of(StudyAnonymized)
    assert [await described(bench, each) for each in (first, second)] == [["CT for Vogelsang"], ["CT for [removed]"]]


async def test_a_batch_made_again_is_cleaned_of_the_same_words_and_has_the_same_bytes(
    bench: Bench, zenobia: File
) -> None:
    """Though more is known of the study by then."""
    originals, blobs, pack = bench.context.originals, bench.context.blobs, "st-one/000001/0001.pack"
    words = await keep_named(originals, "st-one", AROUND, SECRET)
    await bench.receive([zenobia(1, StudyDescription=SAID)], words=words)
    [told] = bench.downstream.of(StudyAnonymized)
    whole = await blobs.read(pack)
    more = await keep_named(originals, "st-one", AROUND | Named.of(people=["Fracture^Frances"]), SECRET)
    await bench.receive([zenobia(2, StudyDescription=SAID)], batch=2, words=more)
    await blobs.put(pack, b"bad" + whole[3:])
    damaged = PackDamaged(site="bozeman", study="st-one", batch=1, object=pack, manifest_sha256=told.manifest_sha256)
    await deliver(bench.runtime, damaged)
    assert [each.manifest_sha256 for each in bench.downstream.of(PackRestored)] == [told.manifest_sha256]
    assert await blobs.read(pack) == whole


async def test_what_an_assistant_releases_is_cleaned_of_them_too(bench: Bench, zenobia: File) -> None:
    words = await keep_named(bench.context.originals, "st-one", AROUND, SECRET)
    await bench.receive([zenobia(1, StudyDescription=SAID, BurnedInAnnotation="YES")], words=words)
    assert bench.downstream.of(StudyAnonymized) == []
    async with client(bench.runtime, Role.ASSISTANT) as assistant:
        wish = {"verdict": "release", "instances": ["1.1.1"]}
        assert (await assistant.post("/vault/quarantine/st-one", json=wish)).status_code == 200
    await bench.runtime.relay.idle()
    [told] = bench.downstream.of(StudyAnonymized)
    assert await described(bench, told) == [KEPT]


@pytest.mark.parametrize("damage", ["lost", "changed", "another study's", "no such shape"])
async def test_without_its_words_nothing_of_a_batch_leaves(bench: Bench, zenobia: File, damage: str) -> None:
    originals = bench.context.originals
    words = await keep_named(originals, "st-two" if damage == "another study's" else "st-one", AROUND, SECRET)
    if damage == "lost":
        await originals.delete(words)
    elif damage == "changed":
        await originals.put(words, (await originals.read(words)).replace(b"Vogelsang", b"Vogelzang"))
    elif damage == "no such shape":
        shapeless = json.dumps({"people": "Vogelsang", "numbers": [1] * 10_000}).encode()
        words = await confide(originals, "identities/st-one/words", shapeless, SECRET)
    await bench.receive([zenobia(1, StudyDescription=SAID)], words=words)
    assert bench.runtime.bus is not None
    [letter] = await bench.runtime.bus.dead_letters("anonymize")
    assert "words-" in letter.reason
    assert "Vogelsang" not in letter.reason
    assert bench.downstream.of(StudyAnonymized) == []
    assert [info.key async for info in bench.context.blobs.list()] == []


@pytest.mark.parametrize(
    ("profile", "kept"), [("teleradiology", KEPT), ("quality", KEPT.replace("St. [removed]", "St. Agnes"))]
)
def test_institutions_stay_where_the_profile_retains_them(profile: str, kept: str) -> None:
    assert words_around(AROUND, packaged(profile)).clean(SAID) == kept
