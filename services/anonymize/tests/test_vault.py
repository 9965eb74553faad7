"""The vault: who is told, what is written down, and that nothing of an identity lies anywhere else."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from radrelay_anonymize.domain.cases import Case
from radrelay_anonymize.domain.pseudonyms import pseudonym
from radrelay_anonymize.domain.seals import Keyring, seal
from radrelay_anonymize.main import SERVICE
from radrelay_anonymize.vault import Called, Uids
from radrelay_shared.aggregate import Decision
from radrelay_shared.confided import confide
from radrelay_shared.envelope import wrap
from radrelay_shared.events import (
    PatientChanged,
    StudyAnonymized,
    StudyErased,
    StudyHeld,
    StudyPurged,
    StudyQuarantined,
)
from radrelay_shared.ports import Eq
from radrelay_shared.security import Role
from radrelay_shared.testing import client, deliver, running, until

if TYPE_CHECKING:
    from services.anonymize.tests.conftest import Bench  # importlib mode gives it no importable name at run time

File = Callable[..., bytes]
SECRETS: dict[str, Any] = {
    "tenant_secret": "tenant secret of these tests",
    "vault_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}
OTHER_KEY = "IB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE="
MORNING = datetime(2025, 3, 1, 8, 10, tzinfo=UTC)
IDENTITY = (b"quillfeather", b"zenobia", b"zq-778812", b"zq778812", b"19510704", b"acc-5551942", b"marlowe", b"1.2.3.1")


async def test_the_service_that_delivers_is_told_whose_study_it_is(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia()])
    answer = await bench.identity("st-one", sites=("bozeman",))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "study": "st-one",
        "site": "bozeman",
        "patient": {
            "name": "Quillfeather^Zenobia",
            "id": "ZQ-778812",
            "issuer": "BOZEMAN-MPI",
            "birth_date": "19510704",
            "sex": "F",
        },
        "accession_number": "ACC-5551942",
        "study_instance_uid": "1.2.3.1",
        "referring_physician": "Marlowe^Tess",
    }


async def test_every_look_into_the_vault_is_written_down_without_what_was_seen(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia()])
    await bench.identity("st-one")
    await bench.identity("st-one")
    async with client(bench.runtime, Role.AUDITOR) as http:
        looks = (await http.get("/vault/audit", params={"study": "st-one"})).json()
    assert [(each["who"], each["action"], each["purpose"]) for each in looks] == [
        ("key:notification", "reidentify", "delivery")
    ] * 2
    assert {name for each in looks for name in each} == {"id", "at", "who", "action", "study", "purpose"}


async def test_a_look_that_fails_is_written_down_before_it_is_answered(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia()])
    sealed = seal(Keyring([bytes(32)]), "bozeman", "st-one", b"{}")
    await bench.context.store.change(
        Case, "st-one", lambda case: Decision(case.model_copy(update={"sealed": sealed})) if case else None
    )
    answer = await bench.identity("st-one")
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "the vault's entry of st-one cannot be opened: it was changed, or sealed with a key that is not here",
    )
    async with client(bench.runtime, Role.AUDITOR) as http:
        assert len((await http.get("/vault/audit", params={"study": "st-one"})).json()) == 1


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.SERVICE}))
async def test_no_person_and_no_machine_of_another_role_is_told_anything(bench: Bench, role: Role) -> None:
    async with client(bench.runtime, role) as http:
        answer = await http.post("/vault/reidentify", json={"study": "st-one", "purpose": "delivery"})
    assert answer.status_code == 403


async def test_another_sites_service_cannot_tell_a_foreign_study_from_none(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia()])
    foreign = await bench.identity("st-one", sites=("hamburg",))
    nobodys = await bench.identity("st-none", sites=("hamburg",))
    assert foreign.status_code == nobodys.status_code == 404
    assert foreign.json() | {"instance": ""} == nobodys.json() | {"instance": ""}  # but for each request's own trace


async def test_an_auditor_of_another_site_sees_no_looks(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia()])
    async with client(bench.runtime, Role.AUDITOR, sites=("hamburg",)) as http:
        assert (await http.get("/vault/audit", params={"study": "st-one"})).status_code == 404


async def test_a_purpose_that_nobody_agreed_on_is_refused(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia()])
    async with client(bench.runtime, Role.SERVICE) as http:
        answer = await http.post("/vault/reidentify", json={"study": "st-one", "purpose": "curiosity"})
    assert answer.status_code == 422
    assert "purpose" in answer.json()["detail"]


async def test_nothing_of_the_patient_lies_in_the_database_the_bucket_or_the_log(
    tmp_path: Path, bench: Bench, zenobia: File, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "radrelay"):
        await bench.receive(
            [zenobia(1), b"cut"], [zenobia(2, series=2, PatientID="ZQ-778812 "), zenobia(3, PatientID="X")]
        )
        await bench.identity("st-one")
    await bench.runtime.stop()
    kept, originals = files_below(tmp_path, "originals")
    assert {"anonymize.db", "0001.pack", "0001.json.gz", "manifest.json"} <= {file.name for file in kept}
    for file in kept:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        assert [word for word in IDENTITY if word in content.lower()] == []
    assert [word for word in IDENTITY if word in caplog.text.lower().encode()] == []
    assert b"Quillfeather" in originals[0].read_bytes()  # so the search does search


def files_below(folder: Path, name: str) -> tuple[list[Path], list[Path]]:
    """All packs, databases and other files outside of the folder of this name, and the packs inside."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    inside = [file for file in files if name in file.parts]
    return [file for file in files if file not in inside], [file for file in inside if file.suffix == ".pack"]


async def test_a_vault_opened_with_another_key_gives_a_clear_error_and_its_studies_wait(
    tmp_path: Path, bench: Bench, zenobia: File
) -> None:
    await bench.receive([zenobia()])
    event = await bench.seal([zenobia(2)], batch=2)
    async with running(SERVICE, tmp_path, **secrets_with(OTHER_KEY)) as (runtime, downstream):
        again = type(bench)(runtime, downstream, tmp_path)
        await again.receive([zenobia(2)], batch=2)
        assert runtime.bus is not None
        [letter] = await runtime.bus.dead_letters("anonymize")
    assert letter.reason == (
        f"Invalid: the vault's entry of {event.study} cannot be opened: "
        "it was changed, or sealed with a key that is not here"
    )


async def test_a_new_key_takes_over_every_entry_and_the_old_one_is_needed_no_more(
    tmp_path: Path, bench: Bench, zenobia: File
) -> None:
    await bench.receive([zenobia()])
    await call(bench, {"name": "Quillfeather^Zoe"})
    await bench.runtime.stop()
    both = secrets_with(f"{OTHER_KEY}\n{SECRETS['vault_key']}")
    async with (
        running(SERVICE, tmp_path, retry_scale=0.0001, **both) as (runtime, _),
        client(runtime, Role.OPERATOR) as http,
    ):

        async def taken_over() -> Any:
            keys = (await http.get("/vault/keys")).json()
            return keys["left"] == {bench.context.keys.current: 0} and keys

        assert (await until(taken_over))["current"] != bench.context.keys.current
    async with running(SERVICE, tmp_path, **secrets_with(OTHER_KEY)) as (runtime, downstream):
        answer = await type(bench)(runtime, downstream, tmp_path).identity("st-one")
        assert answer.json()["patient"]["name"] == "Quillfeather^Zoe"


def secrets_with(vault_key: str) -> dict[str, Any]:
    return SECRETS | {"vault_key": vault_key}


@pytest.mark.parametrize(("scope", "gone"), [("study", ["st-one"]), ("patient", ["st-one", "st-two"])])
async def test_what_is_purged_has_no_way_back(bench: Bench, zenobia: File, scope: str, gone: list[str]) -> None:
    await bench.receive([zenobia()])
    await bench.receive([zenobia(study=2)], study="st-two")
    await bench.receive([zenobia(study=3, PatientID="OTHER")], study="st-three")
    assert (await wish_purge(bench, "ann", scope)).status_code == 202
    assert (await wish_purge(bench, "ann", scope)).status_code == 202  # one person stays one
    answer = await wish_purge(bench, "bob", scope)
    assert (answer.status_code, sorted(answer.json()["purged"])) == (200, gone)
    statuses = {study: (await bench.identity(study)).status_code for study in ("st-one", "st-two", "st-three")}
    assert statuses == {study: 404 if study in gone else 200 for study in statuses}
    assert [each.sealed for each in await bench.context.store.find(Uids, [Eq("study", "st-one")])] == []
    async with client(bench.runtime, Role.AUDITOR) as http:
        looks = (await http.get("/vault/audit", params={"study": "st-one"})).json()
    assert [each["action"] for each in looks[:3]] == ["wish-purge", "wish-purge", "purge"]


async def test_what_is_under_legal_hold_is_not_purged_and_neither_is_the_rest_of_its_patient(
    bench: Bench, zenobia: File
) -> None:
    """The hold came after the first wish; the word of its lifting counts, also when an older one comes after it."""
    await bench.receive([zenobia()])
    await bench.receive([zenobia(study=2)], study="st-two")
    assert (await wish_purge(bench, "ann", "patient")).status_code == 202
    await deliver(bench.runtime, StudyHeld(site="bozeman", study="st-two", held=True))
    refused = await wish_purge(bench, "bob", "patient")
    assert (refused.status_code, "st-two is under legal hold" in refused.json()["detail"]) == (409, True)
    assert [(await bench.identity(study)).status_code for study in ("st-one", "st-two")] == [200, 200]
    for held, sequence in ((False, 4), (True, 3)):
        await deliver(bench.runtime, StudyHeld(site="bozeman", study="st-two", held=held), sequence=sequence)
    assert (await wish_purge(bench, "bob", "patient")).status_code == 200
    assert [(await bench.identity(study)).status_code for study in ("st-one", "st-two")] == [404, 404]


async def wish_purge(bench: Bench, who: str, scope: str = "study") -> httpx2.Response:
    async with client(bench.runtime, Role.OPERATOR, subject=who) as http:
        return await http.post("/vault/purge", json={"study": "st-one", "scope": scope})


SURVIVOR = {"id": "MRN-9", "issuer": "BOZEMAN-MPI", "name": "Quillfeather^Zoe"}


async def call(bench: Bench, patient: dict[str, str], at: datetime = MORNING) -> None:
    """Ingest keeps what the clinic calls the patient now, and says so."""
    content = json.dumps(patient).encode()
    key = await confide(bench.context.originals, "identities/st-one/patient", content, b"ingest's own secret")
    event = PatientChanged(site="bozeman", study="st-one", identity=key, reason="merged")
    assert bench.runtime.bus is not None
    await bench.runtime.bus.publish(wrap(event, service="test", at=at, sequence=1).message)
    await bench.runtime.relay.idle()


@pytest.mark.parametrize("images_first", [True, False])
async def test_a_merged_patient_is_delivered_under_the_surviving_id(
    bench: Bench, zenobia: File, *, images_first: bool
) -> None:
    if images_first:
        await bench.receive([zenobia()])
    await call(bench, SURVIVOR)
    if not images_first:
        await bench.receive([zenobia()])
    await call(bench, {"id": "STALE"}, MORNING - timedelta(minutes=5))
    told = (await bench.identity("st-one")).json()["patient"]
    assert told == {**SURVIVOR, "birth_date": "19510704", "sex": "F"}
    [copy] = bench.downstream.of(StudyAnonymized)
    [instance] = await bench.released(copy)
    assert instance.PatientID == pseudonym(b"tenant secret of these tests", "bozeman", "BOZEMAN-MPI", "ZQ-778812")


async def test_a_purge_forgets_what_the_patient_was_called_since_and_hears_no_more_of_it(
    bench: Bench, zenobia: File
) -> None:
    await bench.receive([zenobia()])
    await call(bench, SURVIVOR)
    for who in ("ann", "bob"):
        await wish_purge(bench, who)
    await call(bench, SURVIVOR, MORNING + timedelta(minutes=5))
    assert [each.sealed for each in await bench.context.store.find(Called)] == [""]
    assert (await bench.identity("st-one")).status_code == 404


async def test_late_instances_of_a_purged_study_go_nowhere(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia()])
    for who in ("ann", "bob"):
        await wish_purge(bench, who)
    await bench.receive([zenobia(2)], batch=2)
    [held] = bench.downstream.of(StudyQuarantined)
    assert (held.batch, held.reasons) == (2, ("identity-purged",))


async def test_a_study_that_two_people_purged_has_no_way_back_either(bench: Bench, zenobia: File) -> None:
    """And the ledger hears of it, once."""
    await bench.receive([zenobia(1)])
    purged = StudyPurged(site="clinic-a", study="st-one", reason="expired", purged_at=datetime.now(UTC))
    await deliver(bench.runtime, purged)
    [told] = bench.downstream.of(StudyErased)
    assert (told.study, told.what) == ("st-one", "identity")
    case = await bench.context.store.read(Case, "st-one")
    assert case is not None
    assert (case.purged, case.sealed) == (True, "")
