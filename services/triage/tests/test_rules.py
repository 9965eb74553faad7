"""Subspecialty and contract tables, and the decisions on one study."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from radrelay_shared.errors import Invalid
from radrelay_shared.events import OrderReceived, Priority, ReportFinalized, StudyStored, StudyTriaged
from radrelay_triage.context import load_contracts
from radrelay_triage.domain.contracts import contract_for, read_contracts
from radrelay_triage.domain.studies import Order, Study, add_images, keep_order, retriage, stop_clock
from radrelay_triage.domain.subspecialties import subspecialty_of

STAT, URGENT, ROUTINE = Priority.STAT, Priority.URGENT, Priority.ROUTINE
PACKAGED = load_contracts(None)


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, 2, hour, minute, tzinfo=UTC)


HEAD_CT = StudyStored(
    site="clinic-a",
    study="st-1",
    order="or-1",
    jurisdiction="US-MT",
    received_at=at(7, 55),
    completed_at=at(8),
    study_instance_uid="2.25.1",
    instances=300,
    modalities=("CT",),
    body_parts=("HEAD",),
)
STAT_ORDER = Order(order="or-1", priority=STAT, told_at=at(7))


@pytest.mark.parametrize(
    ("modalities", "body_parts", "subspecialty", "reason"),
    [
        (("CT",), ("HEAD",), "neuro", "CT HEAD → neuro"),
        (("MR", "SR"), ("BRAIN",), "neuro", "MR BRAIN → neuro"),
        (("MR",), ("L-spine",), "neuro", "MR LSPINE → neuro"),
        (("CR",), ("L SPINE",), "msk", "CR LSPINE → msk"),
        (("DX",), ("CHEST",), "chest", "DX CHEST → chest"),
        (("CT",), ("CHEST", "ABDOMENPELVIS"), "chest", "CT CHEST → chest"),
        (("US",), ("ABDOMEN",), "body", "US ABDOMEN → body"),
        (("DX",), ("KNEE",), "msk", "DX KNEE → msk"),
        (("MG",), (), "breast", "MG → breast"),
        (("MR",), ("BREAST",), "breast", "MR BREAST → breast"),
        (("CT",), ("HEART",), "cardiac", "CT HEART → cardiac"),
        (("PT", "CT"), (), "nuclear", "PT → nuclear"),
        (("SR",), ("HEAD",), "general", "HEAD → general: no row of the table names it"),
        (("CT",), (), "general", "CT → general: no row of the table names it"),
        ((), (), "general", "no images → general: no row of the table names it"),
    ],
)
def test_modality_and_body_part_choose_the_subspecialty(
    modalities: tuple[str, ...], body_parts: tuple[str, ...], subspecialty: str, reason: str
) -> None:
    assert subspecialty_of(modalities, body_parts) == (subspecialty, reason)


@pytest.mark.parametrize(("priority", "minutes"), [(STAT, 60), (URGENT, 240), (ROUTINE, 1440)])
def test_without_a_contract_of_its_own_a_site_has_the_packaged_one(priority: Priority, minutes: int) -> None:
    assert contract_for(PACKAGED, "clinic-a", priority).minutes == minutes


def test_an_operators_rows_come_first_and_the_packaged_ones_fill_the_holes(tmp_path: Path) -> None:
    own = tmp_path / "contracts.yaml"
    own.write_text(
        "- {site: clinic-a, priority: stat, modality: CT, procedure: STROKE, minutes: 20}\n"
        "- {site: clinic-a, priority: stat, minutes: 30}\n"
    )
    contracts = load_contracts(own)
    cases = [
        ("clinic-a", STAT, ["CT"], ["STROKE"], "20 min by contract clinic-a CT STROKE"),
        ("clinic-a", STAT, ["MR"], ["STROKE"], "30 min by contract clinic-a"),
        ("clinic-b", STAT, ["CT"], ["STROKE"], "60 min by contract *"),
        ("clinic-a", URGENT, ["CT"], ["STROKE"], "240 min by contract *"),
    ]
    for site, priority, modalities, procedures, reason in cases:
        assert contract_for(contracts, site, priority, modalities, procedures).reason == reason


@pytest.mark.parametrize(
    "text", ["- {priority: soon, minutes: 5}", "- {priority: stat, minutes: 0}", "[", "just words"]
)
def test_a_contract_table_that_cannot_be_meant_stops_the_start(text: str) -> None:
    with pytest.raises(Invalid, match="contract table"):
        read_contracts(text)


def test_a_table_with_a_hole_is_named_not_guessed() -> None:
    with pytest.raises(Invalid, match="no contract row fits a routine study of clinic-a"):
        contract_for(read_contracts("- {priority: stat, minutes: 60}"), "clinic-a", ROUTINE)


def test_a_stat_head_ct_is_due_within_the_hour_and_says_why() -> None:
    decision = add_images(None, HEAD_CT, [STAT_ORDER], PACKAGED)
    [event] = decision.events
    assert isinstance(event, StudyTriaged)
    assert (event.priority, event.subspecialty, event.due_at) == (STAT, "neuro", at(9))
    assert event.reasons == ("STAT asked by order or-1", "CT HEAD → neuro", "60 min by contract *")
    assert (event.jurisdiction, event.order, event.batch) == ("US-MT", "or-1", 1)
    assert decision.state.clock == "running"


@pytest.mark.parametrize(
    ("study", "order", "decided", "who"),
    [
        (ROUTINE, STAT, STAT, "STAT asked by order or-1"),
        (STAT, ROUTINE, STAT, "STAT by the study; no order says more"),
        (URGENT, URGENT, URGENT, "URGENT asked by order or-1"),
        (ROUTINE, None, ROUTINE, "routine by the study; no order says more"),
    ],
)
def test_the_more_urgent_of_study_and_order_counts(
    study: Priority, order: Priority | None, decided: Priority, who: str
) -> None:
    orders = [Order(order="or-1", priority=order, told_at=at(7))] if order else []
    state = add_images(None, HEAD_CT.model_copy(update={"priority": study}), orders, PACKAGED).state
    assert state.triage is not None
    assert (state.triage.priority, state.triage.reasons[0]) == (decided, who)


def test_a_late_batch_neither_resets_the_clock_nor_lowers_the_priority() -> None:
    first = add_images(None, HEAD_CT.model_copy(update={"priority": STAT}), [], PACKAGED).state
    late = HEAD_CT.model_copy(update={"batch": 2, "completed_at": at(8, 40), "modalities": ("CT", "SR")})
    second = add_images(first, late, [], PACKAGED)
    [event] = second.events  # whoever reads it hears that there is more
    assert isinstance(event, StudyTriaged)
    assert (event.batch, event.due_at) == (2, at(9))
    assert second.state.triage is not None
    assert (second.state.triage.priority, second.state.triage.due_at) == (STAT, at(9))
    assert second.state.images is not None
    assert (second.state.images.batch, second.state.images.modalities) == (2, ("CT", "SR"))


def test_who_signed_a_study_hears_of_a_late_batch_and_of_nothing_twice() -> None:
    first = add_images(None, HEAD_CT, [], PACKAGED).state.model_copy(update={"signed_at": at(8, 30)})
    late = HEAD_CT.model_copy(update={"batch": 2, "completed_at": at(8, 40)})
    second = add_images(first, late, [], PACKAGED)
    assert [type(event) for event in second.events] == [StudyTriaged]
    assert second.state.triage == first.triage
    assert add_images(second.state, late, [], PACKAGED).events == ()


def test_batches_in_the_wrong_order_end_in_the_same_decision() -> None:
    late = HEAD_CT.model_copy(update={"batch": 2, "completed_at": at(8, 40), "body_parts": ()})
    forward = add_images(add_images(None, HEAD_CT, [], PACKAGED).state, late, [], PACKAGED).state
    backward = add_images(add_images(None, late, [], PACKAGED).state, HEAD_CT, [], PACKAGED).state
    assert forward == backward


def test_an_order_that_says_what_was_known_is_not_news() -> None:
    stat = add_images(None, HEAD_CT.model_copy(update={"priority": STAT}), [], PACKAGED).state
    again = retriage(stat, [STAT_ORDER], PACKAGED)
    assert again is not None
    assert again.events == ()
    assert again.state.triage is not None
    assert again.state.triage.reasons[0] == "STAT asked by order or-1"
    assert retriage(again.state, [STAT_ORDER], PACKAGED) is None


@pytest.mark.parametrize(("signed", "clock"), [(at(8, 59), "met"), (at(9), "met"), (at(9, 1), "missed")])
def test_the_signature_stops_the_clock_for_good(signed: datetime, clock: str) -> None:
    report = ReportFinalized(
        site="clinic-a",
        study="st-1",
        report="re-1",
        version=1,
        workitem="wi-1",
        radiologist="r",
        content="c",
        sha256="0",
    )
    running = add_images(None, HEAD_CT, [STAT_ORDER], PACKAGED).state
    stopped = stop_clock(running, report, signed)
    assert stopped is not None
    assert stopped.state.clock == clock
    assert stop_clock(stopped.state, report, at(10)) is None
    assert retriage(stopped.state, [], PACKAGED) is None

    early = stop_clock(None, report, signed)  # the same, though the images come last
    assert early is not None
    assert early.state.clock == "waiting"
    assert add_images(early.state, HEAD_CT, [STAT_ORDER], PACKAGED).state.clock == clock


def test_an_older_word_of_the_clinic_does_not_undo_a_newer_one_but_its_match_counts() -> None:
    routine = OrderReceived(site="clinic-a", order="or-1", study="st-1", jurisdiction="US-MT", priority=ROUTINE)
    kept = keep_order(STAT_ORDER, routine, at(6))
    assert kept is not None
    assert (kept.state.priority, kept.state.study) == (STAT, "st-1")
    newer = keep_order(kept.state, routine.model_copy(update={"study": "", "priority": URGENT}), at(8))
    assert newer is not None
    assert (newer.state.priority, newer.state.study) == (URGENT, "st-1")


def test_a_cancelled_stat_order_hurries_nobody() -> None:
    cancelled = STAT_ORDER.model_copy(update={"status": "cancelled"})
    state = add_images(None, HEAD_CT.model_copy(update={"priority": ROUTINE}), [cancelled], PACKAGED).state
    assert state.triage is not None
    assert state.triage.priority is ROUTINE


def test_a_study_without_images_is_not_triaged() -> None:
    assert retriage(Study(site="clinic-a", study="st-1"), [STAT_ORDER], PACKAGED) is None
