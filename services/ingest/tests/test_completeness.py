"""When a study is whole: the evidence table, row by row, on a clock of the test's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from radrelay_ingest.domain.completeness import Basis, Claim, Confidence, Policy, Present, Wait, Whole, verdict
from radrelay_ingest.domain.sites import Site
from radrelay_ingest.domain.steps import Step, performed
from radrelay_shared.events import Priority

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)  # when the last instance came
CLINIC = Policy(quiet=timedelta(seconds=20), brief=timedelta(seconds=5), patience=timedelta(minutes=15))

LUNG_SLICES = frozenset({"slice-1", "slice-2", "slice-3"})
MANIFEST = Claim(Basis.MANIFEST, 3, LUNG_SLICES)
MPPS = Claim(Basis.PERFORMED_STEPS, 3, LUNG_SLICES)
SCAN_GOES_ON = Claim(Basis.PERFORMED_STEPS, 2, frozenset({"slice-1", "slice-2"}), ended=False)
HEADER_SAYS_3 = Claim(Basis.INSTANCE_COUNT, 3)
SENDER_SAYS_3 = Claim(Basis.SENDER_COUNT, 3)


def here(*slices: int, delivering: bool = False) -> Present:
    return Present(frozenset(f"slice-{number}" for number in slices), len(slices), NOON, delivering)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def whole(basis: Basis, confidence: Confidence, expected: int | None = None, missing: int = 0) -> Whole:
    return Whole(basis=basis, confidence=confidence, expected=expected, missing=missing)


@pytest.mark.parametrize(
    ("claims", "present", "seconds", "expected"),
    [
        # a signed manifest
        ([MANIFEST], here(1, 2, 3), 0, whole(Basis.MANIFEST, Confidence.CERTAIN, 3)),
        ([MANIFEST], here(1, 2, 3, 4), 0, whole(Basis.MANIFEST, Confidence.CERTAIN, 3)),
        ([MANIFEST], here(1, 2, 3, delivering=True), 0, whole(Basis.MANIFEST, Confidence.CERTAIN, 3)),
        ([MANIFEST], here(1, 2), 899, Wait(after(900))),
        ([MANIFEST], here(1, 2), 900, whole(Basis.QUIET, Confidence.LOW, 3, missing=1)),
        # MPPS
        ([MPPS], here(1, 2, 3), 0, whole(Basis.PERFORMED_STEPS, Confidence.HIGH, 3)),
        ([MPPS], here(3), 60, Wait(after(900))),
        ([MPPS], here(3), 900, whole(Basis.QUIET, Confidence.LOW, 3, missing=2)),
        ([SCAN_GOES_ON], here(1, 2), 60, Wait(after(900))),
        ([SCAN_GOES_ON], here(1, 2), 900, whole(Basis.QUIET, Confidence.LOW, 2)),
        # a count
        ([HEADER_SAYS_3], here(1, 2, 3), 4, Wait(after(5))),
        ([HEADER_SAYS_3], here(1, 2, 3), 5, whole(Basis.INSTANCE_COUNT, Confidence.HIGH, 3)),
        ([HEADER_SAYS_3], here(1, 2), 60, Wait(after(900))),
        ([SENDER_SAYS_3], here(1, 2, 3), 5, whole(Basis.SENDER_COUNT, Confidence.HIGH, 3)),
        ([SENDER_SAYS_3], here(1), 900, whole(Basis.QUIET, Confidence.LOW, 3, missing=2)),
        # nothing but silence
        ([], here(1), 19, Wait(after(20))),
        ([], here(1), 20, whole(Basis.QUIET, Confidence.MODERATE)),
        ([], here(1, delivering=True), 20, Wait(after(900))),
        ([], here(1, delivering=True), 900, whole(Basis.QUIET, Confidence.MODERATE)),
        # the strongest decides
        ([HEADER_SAYS_3, MANIFEST], here(1, 2, 3), 0, whole(Basis.MANIFEST, Confidence.CERTAIN, 3)),
        ([Claim(Basis.INSTANCE_COUNT, 2), MANIFEST], here(1, 2), 60, Wait(after(900))),
        ([SENDER_SAYS_3, Claim(Basis.INSTANCE_COUNT, 1)], here(1), 5, whole(Basis.INSTANCE_COUNT, Confidence.HIGH, 1)),
    ],
    ids=[
        "all that the manifest lists is here",
        "more than the manifest lists is here",
        "the manifest is met while the scanner keeps its association",
        "a slice of the manifest is missing, and is waited for",
        "a slice of the manifest never came",
        "all that the modality names is here",
        "slices that the modality names are waited for",
        "slices that the modality names never came",
        "the scan goes on",
        "the scan never ended",
        "the header's count is met, and perhaps surpassed",
        "the header's count is met",
        "the header counts more",
        "the sender's own count is met",
        "the sender has more than it ever sent",
        "a pause that may be none",
        "a quiet study",
        "a quiet study whose association is still open",
        "an association that stays open for ever",
        "a manifest beats a header",
        "a count that is met does not beat a manifest that is not",
        "the images' own header beats the sender's answer",
    ],
)
def test_a_study_is_whole(claims: list[Claim], present: Present, seconds: float, expected: Whole | Wait) -> None:
    assert verdict(claims, present, after(seconds), CLINIC) == expected


@pytest.mark.parametrize(
    ("priority", "seconds", "sealed"),
    [
        (Priority.STAT, 4, False),
        (Priority.STAT, 5, True),
        (Priority.URGENT, 5, False),
        (Priority.ROUTINE, 19, False),
        (Priority.ROUTINE, 20, True),
    ],
)
def test_a_stat_head_ct_is_whole_sooner_than_a_routine_chest(
    priority: Priority, seconds: float, *, sealed: bool
) -> None:
    site = Site(name="Bozeman Clinic", jurisdiction="US-MT", quiet_seconds=20, stat_quiet_seconds=5)
    found = verdict([], here(1), after(seconds), site.policy(priority))
    assert isinstance(found, Whole) is sealed


def test_a_stat_study_waits_less_long_for_what_its_manifest_promised() -> None:
    site = Site(name="Bozeman Clinic", jurisdiction="US-MT", patience_seconds=900, stat_patience_seconds=60)
    assert verdict([MANIFEST], here(1), after(60), site.policy(Priority.ROUTINE)) == Wait(after(900))
    found = verdict([MANIFEST], here(1), after(60), site.policy(Priority.STAT))
    assert found == whole(Basis.QUIET, Confidence.LOW, 3, missing=2)


def test_a_slow_scanners_site_waits_longer() -> None:
    slow = Site(name="Slow", jurisdiction="US-MT", quiet_seconds=300)
    assert verdict([], here(1), after(299), slow.policy(Priority.ROUTINE)) == Wait(after(300))


def step(number: int, status: str, *images: str) -> Step:
    return Step.model_validate(
        {"step": f"step-{number}", "site": "bozeman", "study": "st-1", "status": status, "images": images}
    )


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], None),
        ([step(1, "COMPLETED", "a", "b")], (2, True)),
        ([step(1, "COMPLETED", "a"), step(2, "IN PROGRESS")], (1, False)),
        ([step(1, "COMPLETED", "a"), step(2, "DISCONTINUED", "a", "b")], (2, True)),
        ([step(1, "COMPLETED")], None),
        ([step(1, "COMPLETED"), step(2, "IN PROGRESS")], (0, False)),
    ],
    ids=[
        "no step",
        "one step",
        "a second step goes on",
        "a second step was broken off",
        "a modality that never names its images says nothing of them",
        "but its second step goes on",
    ],
)
def test_an_examination_has_ended_once_all_its_steps_have(steps: list[Step], expected: tuple[int, bool] | None) -> None:
    claim = performed(steps)
    assert (claim and (claim.count, claim.ended)) == expected
