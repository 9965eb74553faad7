"""De-identifies folders of DICOM files, for people who want just this: the platform's engine and nothing else."""

from __future__ import annotations

import functools
import gc
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from radrelay_anonymize.domain import Context, Quarantined, Words
from radrelay_anonymize.domain.identity import Identity
from radrelay_anonymize.domain.profile import Profile
from radrelay_anonymize.files import content_of, written
from radrelay_anonymize.instance import engine_context, made_copy, who
from radrelay_anonymize.pixels.worker import Washer
from radrelay_shared.errors import Invalid

SITE = "local"  # pseudonyms are a site's own
AT_ONCE = 50  # files of one study that a process takes at a time
REPORT = "report.json"

Progress = Callable[[int], None]  # told how many files more are done


@dataclass
class Study:
    """The files that say they are of one study, its patient, and every word of identity in them."""

    identity: Identity
    words: Words = field(default_factory=Words)
    files: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What became of one file: reasons why it was held back, none if it was not."""

    file: Path
    reasons: tuple[str, ...] = ()


def studies_in(files: Iterable[Path], profile: Profile) -> tuple[list[Study], list[Outcome]]:
    """The files by study, in their order, and those that are no DICOM or cannot be read."""
    found: dict[tuple[str, str, str], Study] = {}
    unreadable = []
    for file in files:
        said = who(content_of(file), profile)
        if said is None:
            unreadable.append(Outcome(file, ("unreadable",)))
            continue
        identity, words = said
        study = found.setdefault((*identity.whose, identity.study_instance_uid), Study(identity))
        study.words |= words
        study.files.append(file)
    return list(found.values()), unreadable


def anonymized(
    files: Iterable[Path], out: Path, profile: Profile, secret: bytes, jobs: int, progress: Progress
) -> list[Outcome]:
    """Write a verified copy of every file that may leave, as <study>/<series>/<instance>.dcm; what became of each.

    The same secret gives the same patient the same pseudonym, UIDs and dates, whenever it is run.
    """
    studies, outcomes = studies_in(files, profile)
    progress(len(outcomes))
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawned, initializer=gc.freeze) as processes:
        tasks = [
            processes.submit(copied, chunk, out, study.identity, context)
            for study in studies
            for context in [engine_context(secret, SITE, study.identity, study.words | study.identity.words, profile)]
            for chunk in chunks(study.files)
        ]
        for task in as_completed(tasks):
            found = task.result()
            outcomes += found
            progress(len(found))
    return outcomes


def chunks(files: list[Path]) -> Iterator[list[Path]]:
    for start in range(0, len(files), AT_ONCE):
        yield files[start : start + AT_ONCE]


def copied(files: list[Path], out: Path, identity: Identity, context: Context) -> list[Outcome]:
    """In a process of its own: copies of some files of one study."""
    return [one(file, out, identity, context) for file in files]


@functools.cache
def washer() -> Washer:
    """Who looks at pixels for this process; it ends with it."""
    return Washer()


def one(file: Path, out: Path, identity: Identity, context: Context) -> Outcome:
    made = made_copy(content_of(file), identity, context, washer())
    if isinstance(made, Quarantined):
        return Outcome(file, made.reasons)
    target = out / made.facts.study_instance_uid / made.facts.series_instance_uid / f"{made.sop_instance_uid}.dcm"
    target.parent.mkdir(parents=True, exist_ok=True)
    written(made.output, target)
    return Outcome(file)


def report(outcomes: list[Outcome], profile: Profile) -> dict[str, object]:
    """Counts and reasons; it names no file, for names may be patients'."""
    reasons = Counter(reason for each in outcomes for reason in each.reasons)
    held = sum(bool(each.reasons) for each in outcomes)
    return {
        "options": sorted(profile.options),
        "files": len(outcomes),
        "released": len(outcomes) - held,
        "held": held,
        "reasons": dict(sorted(reasons.items())),
    }


def write_report(out: Path, outcomes: list[Outcome], profile: Profile) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT).write_text(json.dumps(report(outcomes, profile), indent=1) + "\n")


def must_be_apart(source: Path, out: Path) -> None:
    """Raise `Invalid` if copies would lie among the originals, or the other way round."""
    here, there = source.resolve(), out.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise Invalid("copies go into a folder apart from that of the originals")
