"""Batches of a study: once each, in any order."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from radrelay_shared.errors import Conflict
from radrelay_shared.events import Priority, StudyAnonymized, StudyStored
from radrelay_storage.attributes import Attributes
from radrelay_storage.domain import Series, SeriesBatch, StoredSeries, Study, store_series, store_study

FIRST = datetime(2025, 3, 1, 8, 0, tzinfo=UTC)
LATER = datetime(2025, 3, 1, 8, 20, tzinfo=UTC)

CT: Attributes = {
    "00080020": {"vr": "DA", "Value": ["20250301"]},
    "00080060": {"vr": "CS", "Value": ["CT"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "ANON^7"}]},
    "00100020": {"vr": "LO", "Value": ["P-7"]},
    "0020000D": {"vr": "UI", "Value": ["2.25.1"]},
    "0020000E": {"vr": "UI", "Value": ["2.25.10"]},
    "00200011": {"vr": "IS", "Value": [2]},
    "00280010": {"vr": "US", "Value": [512]},
}


def anonymized(batch: int, received_at: datetime = FIRST) -> StudyAnonymized:
    return StudyAnonymized(
        site="clinic-a",
        study="st-1",
        priority=Priority.STAT,
        order="or-1",
        jurisdiction="US-MT",
        received_at=received_at,
        completed_at=LATER,
        batch=batch,
        manifest=f"studies/st-1/{batch}.json",
        study_instance_uid="2.25.1",
        instances=0,
        modalities=("CT",),
        body_parts=("HEAD",) if batch == 1 else ("CHEST",),
    )


def stored(batch: int, instances: int, *, series: str = "2.25.10", modality: str = "CT") -> StoredSeries:
    where = SeriesBatch(batch=batch, manifest=f"m{batch}", metadata=f"j{batch}", instances=instances)
    return StoredSeries(
        series_instance_uid=series, modality=modality, where=where, first=CT, uids=slices(batch, instances)
    )


def slices(batch: int, instances: int) -> frozenset[str]:
    return frozenset(f"2.25.10.{batch}.{number}" for number in range(instances))


def test_a_first_batch_makes_the_study_findable_and_says_so() -> None:
    decision = store_study(None, [stored(1, 3)], 3, anonymized(1))
    assert decision is not None
    study = decision.state
    assert study.keys == {
        "StudyDate": "20250301",
        "PatientName": "anon^7",
        "PatientID": "P-7",
        "StudyInstanceUID": "2.25.1",
        "ModalitiesInStudy": "\\CT\\",
    }
    assert (study.series, study.instances, study.modalities) == (1, 3, ("CT",))
    assert "00280010" not in study.attributes, "rows belong to an instance"
    assert decision.events == [
        StudyStored(
            site="clinic-a",
            study="st-1",
            priority=Priority.STAT,
            order="or-1",
            jurisdiction="US-MT",
            received_at=FIRST,
            completed_at=LATER,
            batch=1,
            study_instance_uid="2.25.1",
            instances=3,
            modalities=("CT",),
            body_parts=("HEAD",),
        )
    ]


def test_a_batch_that_comes_again_changes_nothing_and_says_nothing() -> None:
    first = store_study(None, [stored(1, 3)], 3, anonymized(1))
    assert first is not None
    assert store_study(first.state, [stored(1, 3)], 3, anonymized(1)) is None
    series = store_series(None, stored(1, 3), {}, anonymized(1))
    assert series is not None
    assert store_series(series.state, stored(1, 3), {1: slices(1, 3)}, anonymized(1)) is None


def both_orders() -> list[Study]:
    outcomes = []
    for order in ((1, 2), (2, 1)):
        study: Study | None = None
        for batch in order:
            more = [stored(1, 3)] if batch == 1 else [stored(2, 2), stored(2, 4, series="2.25.11", modality="SR")]
            count = 9 if study else sum(each.where.instances for each in more)
            decision = store_study(study, more, count, anonymized(batch, FIRST if batch == 1 else LATER))
            assert decision is not None
            study = decision.state
        assert study is not None
        outcomes.append(study)
    return outcomes


def test_late_slices_and_a_structured_report_end_in_the_same_study_in_either_order() -> None:
    forward, backward = both_orders()
    assert forward == backward
    assert (forward.series, forward.instances) == (2, 9)
    assert forward.modalities == ("CT", "SR")
    assert forward.body_parts == ("CHEST", "HEAD")
    assert forward.received_at == FIRST


def test_a_series_keeps_its_batches_in_order_and_can_be_found_by_its_number() -> None:
    series: Series | None = None
    for batch in (2, 1):
        others = {each.batch: slices(each.batch, each.instances) for each in series.batches} if series else {}
        decision = store_series(series, stored(batch, batch * 10), others, anonymized(batch))
        assert decision is not None
        assert decision.events == (), "only the study speaks"
        series = decision.state
    assert series is not None
    assert [each.metadata for each in series.batches] == ["j1", "j2"]
    assert series.instances == 30
    assert series.keys["SeriesNumber"] == "2"
    assert series.keys["PatientID"] == "P-7"


def test_a_slice_that_comes_again_in_a_later_batch_counts_once() -> None:
    first = store_series(None, stored(1, 3), {}, anonymized(1))
    assert first is not None
    again = StoredSeries(
        series_instance_uid="2.25.10",
        modality="CT",
        where=SeriesBatch(batch=2, manifest="m2", metadata="j2", instances=2),
        first=CT,
        uids=frozenset({"2.25.10.1.0", "2.25.10.2.0"}),
    )
    both = store_series(first.state, again, {1: slices(1, 3)}, anonymized(2))
    assert both is not None
    assert (both.state.instances, both.state.repeats) == (4, True)
    assert (first.state.instances, first.state.repeats) == (3, False)


def test_two_batches_of_a_series_stored_side_by_side_make_one_wait_for_the_other() -> None:
    first = store_series(None, stored(1, 3), {}, anonymized(1))
    assert first is not None
    with pytest.raises(Conflict):
        store_series(first.state, stored(2, 3), {}, anonymized(2))


def test_a_study_never_shrinks_when_an_older_count_is_written_last() -> None:
    first = store_study(None, [stored(1, 3)], 9, anonymized(1))
    assert first is not None
    second = store_study(first.state, [stored(2, 6)], 6, anonymized(2))
    assert second is not None
    assert second.state.instances == 9
