"""When a study is whole, what sealing says of it, and that nothing of it is ever discarded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from radrelay_ingest.domain.completeness import Whole
from radrelay_ingest.domain.matching import Basis, Found, Subject
from radrelay_ingest.domain.orders import Order, Request
from radrelay_ingest.domain.patients import Identifier, Patient
from radrelay_ingest.domain.sealing import answer, seal
from radrelay_ingest.domain.sites import Site, Sites, register
from radrelay_ingest.domain.studies import Arrival, Conflict, Harvest, Study
from radrelay_shared.errors import Refused
from radrelay_shared.events import Priority, StudyQuarantined, StudyReceived, StudyUpdated

WORDS = "identities/st-a/words-1.json"
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
BOZEMAN = Site(name="Bozeman Clinic", jurisdiction="US-MT", ae_titles=("BOZEMAN",), quiet_seconds=20)
ARRIVAL = Arrival(
    id="a1", site="bozeman", study="st-a", study_instance_uid="1.2.3", accession_number="A1", received_at=NOON
)
CT_300 = Harvest(
    jurisdiction="US-MT",
    completed_at=NOON + timedelta(minutes=1),
    batch=1,
    manifest="st-a/0001/manifest.json",
    manifest_sha256="ab" * 32,
    instances=300,
    size=158_000_000,
    modalities=("CT",),
    subject=Subject(patient=Patient(ids=(Identifier(value="123456"),), name="DOE^JANE")),
    conflicts=(),
    repeats=0,
    whole=Whole(),
)


def order(priority: Priority = Priority.STAT, patient: str = "123456", name: str = "DOE^JANE") -> Found:
    person = Patient(ids=(Identifier(value=patient),), name=name)
    request = Request(accession=Identifier(value="A1"), priority=priority, patient=person)
    placed = Order(order="or-a1", site="bozeman", jurisdiction="US-MT", content="c", request=request)
    return Found(placed, Basis.ACCESSION, CT_300.subject)


def test_first_batch_of_a_ct_is_received_with_its_order_s_priority() -> None:
    sealed = seal(None, ARRIVAL, CT_300, order(), WORDS)
    assert sealed is not None
    assert list(sealed.events) == [
        StudyReceived(
            site="bozeman",
            study="st-a",
            priority=Priority.STAT,
            order="or-a1",
            jurisdiction="US-MT",
            received_at=NOON,
            completed_at=NOON + timedelta(minutes=1),
            batch=1,
            manifest_sha256="ab" * 32,
            manifest="st-a/0001/manifest.json",
            instances=300,
            size=158_000_000,
            modalities=("CT",),
            basis="quiet-period",
            words=WORDS,
        )
    ]


def sealed_ct() -> Study:
    sealed = seal(None, ARRIVAL, CT_300, None, WORDS)
    assert sealed is not None
    return sealed.state


def test_late_instances_are_an_update_and_never_lost() -> None:
    late = replace(CT_300, batch=2, instances=2, manifest="st-a/0002/manifest.json")
    sealed = seal(sealed_ct(), ARRIVAL.model_copy(update={"id": "a2"}), late, None, WORDS)
    assert sealed is not None
    assert [(type(event), event.model_dump()["batch"]) for event in sealed.events] == [(StudyUpdated, 2)]
    assert [batch.instances for batch in sealed.state.batches] == [300, 2]


def test_the_same_arrival_is_sealed_once_however_often_a_crash_repeats_it() -> None:
    assert seal(sealed_ct(), ARRIVAL, CT_300, None, WORDS) is None


def test_a_whole_study_sent_again_unchanged_says_nothing() -> None:
    again = replace(CT_300, batch=2, instances=0)
    sealed = seal(sealed_ct(), ARRIVAL.model_copy(update={"id": "a2"}), again, None, WORDS)
    assert sealed is not None
    assert list(sealed.events) == []
    assert len(sealed.state.batches) == 1


def test_same_sop_uid_with_other_bytes_is_kept_aside_and_flagged() -> None:
    conflicts = tuple(
        Conflict(sop_instance_uid=f"1.2.{each}", first="f", other="o", kept_as=f"conflicts/{each}", arrived_at=NOON)
        for each in range(3)
    )
    sealed = seal(None, ARRIVAL, replace(CT_300, conflicts=conflicts), None, WORDS)
    assert sealed is not None
    kinds = [type(event) for event in sealed.events]
    assert kinds == [StudyReceived, StudyQuarantined]
    assert sealed.events[1].model_dump()["reasons"] == ("sop-instance-conflict:3",)
    assert sealed.state.notes == ("sop-instance-conflict",)
    assert sealed.state.conflicts == conflicts


def test_images_of_another_patient_than_the_order_s_are_held_back_and_the_clinic_hears_of_it() -> None:
    sealed = seal(None, ARRIVAL, CT_300, order(patient="999", name="ROE^RICHARD"), WORDS)
    assert sealed is not None
    [quarantined] = sealed.events
    assert isinstance(quarantined, StudyQuarantined)
    assert (quarantined.reasons, quarantined.instances) == (("patient-name", "patient-id"), 300)
    assert (sealed.state.order, sealed.state.against, sealed.state.review) == (None, "or-a1", True)


def test_late_order_gives_the_study_its_priority_once() -> None:
    answered = answer(sealed_ct(), sealed_ct(), order(), WORDS)
    assert answered is not None
    assert (answered.state.order, answered.state.priority) == ("or-a1", Priority.STAT)
    assert answer(answered.state, answered.state, order(), WORDS) is None


def test_what_was_found_for_a_study_as_it_was_before_is_no_judgement_of_it_now() -> None:
    held = answer(sealed_ct(), sealed_ct(), order(patient="999", name="ROE^RICHARD"), WORDS)
    assert held is not None
    assert answer(held.state, sealed_ct(), None, WORDS) is None


def test_an_ae_title_names_one_site() -> None:
    with pytest.raises(Refused, match="BOZEMAN already names another site"):
        register(Sites(sites={"bozeman": BOZEMAN}), "helena", BOZEMAN)


def test_a_site_may_change_its_own_ae_titles() -> None:
    moved = BOZEMAN.model_copy(update={"ae_titles": ("BOZEMAN", "BOZEMAN_MR")})
    changed = register(Sites(sites={"bozeman": BOZEMAN}), "bozeman", moved)
    assert changed is not None
    assert changed.state.calling("BOZEMAN_MR ", "10.0.0.7") == "bozeman"
    assert changed.state.calling("HELENA", "10.0.0.7") is None


@pytest.mark.parametrize(
    ("networks", "address", "known"),
    [
        ((), "203.0.113.9", True),
        (("10.1.0.0/16",), "10.1.2.3", True),
        (("10.1.0.0/16",), "::ffff:10.1.2.3", True),
        (("10.1.0.0/16",), "10.2.2.3", False),
        (("10.1.0.0/16", "2001:db8::/32"), "2001:db8::7", True),
        (("10.1.0.0/16",), "2001:db8::7", False),
    ],
)
def test_an_ae_title_is_known_from_its_sites_networks_only(
    networks: tuple[str, ...], address: str, *, known: bool
) -> None:
    site = Site.model_validate(BOZEMAN.model_dump() | {"networks": networks})
    assert (Sites(sites={"bozeman": site}).calling("BOZEMAN", address) == "bozeman") is known


@pytest.mark.parametrize("title", ["", " CT", "CT ", "A" * 17, "CT\\1", "CT\n"])
def test_what_cannot_be_an_ae_title_is_refused(title: str) -> None:
    with pytest.raises(ValidationError):
        Site(name="x", jurisdiction="DE", ae_titles=(title,))
