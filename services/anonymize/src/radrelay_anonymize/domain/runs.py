"""Elements as they were read, in runs that are recalled: most of a header comes again in every instance of a series.

A run is found by its bytes and by what else decides how they are read, so what is recalled is what reading them anew
would give (ADR 0019).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain

from pydicom.datadict import tag_for_keyword

from radrelay_anonymize.domain.pieces import Buffer

LONGEST_RUN, MOST_IN_RUN = 4096, 16  # bytes, elements: so much is read again for one that differs
LONGEST_JOINED = 4 * LONGEST_RUN  # bytes of such as come again together
MOST_RUNS, ALIKE = 4096, 4  # recalled in all; with the same first element
LONGEST_CHARSET, MOST_CREATORS = 64, 64  # bytes; private blocks of one data set
HEAD = 8  # bytes: tag, VR, and the length of short values

# Attributes that differ, or may differ, between the instances of a series are runs of their own, so that what stands
# around them is recalled. What always differs, and what is asked for by itself, is not.
OFTEN_OTHERS = (
    "AcquisitionDate", "ContentDate", "InstanceCreationTime", "AcquisitionTime", "ContentTime", "AcquisitionDateTime",
    "TableHeight", "TablePosition", "XRayTubeCurrent", "Exposure", "ExposureInmAs", "TriggerTime", "WindowCenter",
    "WindowWidth", "SmallestImagePixelValue", "LargestImagePixelValue",
)  # fmt: skip
ALWAYS_OTHERS = (
    "MediaStorageSOPInstanceUID", "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "InstanceNumber",
    "ImagePositionPatient", "SliceLocation", "FrameContentSequence", "PlanePositionSequence", "TextValue", "PixelData",
    "FloatPixelData", "DoubleFloatPixelData",
)  # fmt: skip
OFTEN, ALWAYS = (frozenset(map(tag_for_keyword, each)) for each in (OFTEN_OTHERS, ALWAYS_OTHERS))

# One element: tag, VR, raw, start, items. `raw[start:]` is its value, and all of `raw` may be passed on as it is,
# unless `start` is 0: then the element needs another header than the file has. A sequence's values are in `items`.
# A bare tuple, for there are hundreds in each of a thousand files a second.
Element = tuple[int, str, Buffer, int, "tuple[DataSet, ...]"]
# A value that holds words of identity: their kind (`words.kind_of`), the element, the character set in force.
Named = tuple[str, Element, bytes]


@dataclass(slots=True, eq=False)
class Run:
    """Elements that follow one another, with what is named in them; `heads` counts those inside them, too.

    `raw` are all their bytes, or none if the run is not recalled; `then` is the run that was recalled after it last.
    """

    elements: list[Element]
    named: Sequence[Named]
    heads: int
    raw: bytes
    then: Run | None = None
    joined: bool = False


@dataclass(slots=True)
class DataSet:
    """The file's, or an item's. `charset` is the raw character set in force: its own, or its parent's."""

    implicit: bool
    charset: bytes = b""
    runs: list[Run] = field(default_factory=list)
    creators: dict[int, str] = field(default_factory=dict)  # group and block → private creator

    @property
    def elements(self) -> Iterator[Element]:
        return chain.from_iterable(run.elements for run in self.runs)


Runs = dict[bytes, tuple[Run, ...]]  # by their first bytes; the latest first


class Memory:
    """The runs that are recalled, by all that decides how they are read but their bytes."""

    def __init__(self) -> None:
        self.left = 0
        self.runs: dict[tuple[object, ...], Runs] = {}

    def among(self, charset: bytes, creators: dict[int, str], *others: int) -> Runs:
        """Those that are read as here; none, and none is kept, where that takes too much to say."""
        if len(charset) > LONGEST_CHARSET or len(creators) > MOST_CREATORS:
            return {}
        if self.left <= 0:
            self.left, self.runs = MOST_RUNS, {}
        state = (charset, *creators.items(), *others)
        if state not in self.runs:
            self.left -= 1
            self.runs[state] = {}
        return self.runs[state]

    def add(self, run: Run, known: Runs) -> None:
        if self.left > 0:
            self.left -= 1
            start = run.raw[:HEAD]
            known[start] = (run, *known.get(start, ())[: ALIKE - 1])

    def follow(self, again: list[Run], run: Run, known: Runs) -> None:
        """Two that are recalled one after the other for the second time are recalled as one from then on."""
        if again and again[-1].then is not run:
            again[-1].then = run
            self.join(again, known)
        again.append(run)

    def join(self, again: list[Run], known: Runs) -> None:
        """Make one run of these, or several that are not too long; then there are none."""
        while len(again) > 1 and self.left > 0:
            sizes = accumulate(len(run.raw) for run in again)
            together = again[: max(1, sum(size <= LONGEST_JOINED for size in sizes))]
            if len(together) > 1:
                self.left -= len(together)
                joined = _joined(together)
                start = joined.raw[:HEAD]
                known[start] = (joined, *[each for each in known[start] if not each.joined])
            del again[: len(together)]
        again.clear()


def _joined(runs: list[Run]) -> Run:
    return Run(
        elements=[element for run in runs for element in run.elements],
        named=[named for run in runs for named in run.named],
        heads=sum(run.heads for run in runs),
        raw=b"".join(run.raw for run in runs),
        joined=True,
    )


MEMORY = Memory()  # of the process: what was read is the same for everybody
