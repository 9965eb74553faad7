"""Structured reports, grown from templates as PS3.16 draws them: measurements (TID 1500), CAD (4000), echo (5200).

Numbers, codes, references and prose are drawn; identity is planted in observers, subjects, dates, UIDs and sentences.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydicom import config
from pydicom.charset import python_encoding
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage

from prose.people import PHYSICIANS, Person
from prose.sentences import Sentence, plain, planted
from prose.vocabulary import LANGUAGES

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
WAVEFORM = "1.2.840.10008.5.1.4.1.1.9.1.1"
DATE, TIME = "20240304", "081533"
PRIVATE_SCHEME = "99SITE"


@dataclass(frozen=True)
class Node:
    """A content item: how it is related to the one it is in, its value type, its concept ("value|scheme|meaning")."""

    how: str
    kind: str
    concept: str
    children: tuple[Node, ...] = ()
    text: str = "prose"  # what a TEXT holds: prose, or one of `IDENTITY`


def node(how: str, kind: str, concept: str = "", *children: Node, text: str = "prose") -> Node:
    return Node(how, kind, concept, children, text)


# ── templates ────────────────────────────────────────────────────────────────────────────────────────

OBSERVERS = (
    node("HAS CONCEPT MOD", "CODE", "121049|DCM|Language of Content Item and Descendants"),
    node("HAS OBS CONTEXT", "CODE", "121005|DCM|Observer Type"),
    node("HAS OBS CONTEXT", "PNAME", "121008|DCM|Person Observer Name"),
    node("HAS OBS CONTEXT", "TEXT", "121009|DCM|Person Observer's Organization Name", text="organisation"),
    node("HAS OBS CONTEXT", "UIDREF", "121012|DCM|Device Observer UID"),
    node("HAS OBS CONTEXT", "TEXT", "121013|DCM|Device Observer Name", text="organisation"),
    node("HAS OBS CONTEXT", "PNAME", "121029|DCM|Subject Name"),
    node("HAS OBS CONTEXT", "TEXT", "121030|DCM|Subject ID", text="record"),
    node("HAS OBS CONTEXT", "DATE", "121031|DCM|Subject Birth Date"),
    node("HAS OBS CONTEXT", "TEXT", "121022|DCM|Accession Number", text="accession"),
    node("HAS OBS CONTEXT", "DATETIME", "121125|DCM|DateTime of Recording of Log Entry"),
    node("HAS OBS CONTEXT", "TIME", "111061|DCM|Study Time"),
)
OUTLINE = node("INFERRED FROM", "SCOORD", "111030|DCM|Image Region", node("SELECTED FROM", "IMAGE"))
CENTRE = node("INFERRED FROM", "SCOORD", "111010|DCM|Center", node("SELECTED FROM", "IMAGE"))
VOLUME = node("INFERRED FROM", "SCOORD3D", "130488|DCM|Region in Space")
CERTAINTY = node("HAS PROPERTIES", "NUM", "111012|DCM|Certainty of Finding")
SITE = node(
    "HAS CONCEPT MOD", "CODE", "363698007|SCT|Finding Site", node("HAS CONCEPT MOD", "CODE", "272741003|SCT|Laterality")
)
COMMENT = node("CONTAINS", "TEXT", "121106|DCM|Comment")

LESION = node(
    "CONTAINS", "CONTAINER", "125007|DCM|Measurement Group",
    node("HAS OBS CONTEXT", "TEXT", "112039|DCM|Tracking Identifier"),
    node("HAS OBS CONTEXT", "UIDREF", "112040|DCM|Tracking Unique Identifier"),
    node("CONTAINS", "CODE", "121071|DCM|Finding", SITE),
    node("CONTAINS", "NUM", "410668003|SCT|Length",
         node("HAS CONCEPT MOD", "CODE", "121401|DCM|Derivation"), OUTLINE, CERTAINTY),
    node("CONTAINS", "NUM", "118565006|SCT|Volume",
         VOLUME, node("HAS PROPERTIES", "NUM", "121414|DCM|Standard deviation")),
    node("CONTAINS", "CODE", "R-42019|SRT|Characteristic"),
    node("CONTAINS", "NUM", "126401|DCM|SUVbw"),
    COMMENT,
)  # fmt: skip
MEASUREMENTS = node(
    "", "CONTAINER", "126000|DCM|Imaging Measurement Report",
    *OBSERVERS,
    node("HAS CONCEPT MOD", "CODE", "121058|DCM|Procedure reported"),
    node("CONTAINS", "CONTAINER", "111028|DCM|Image Library",
         node("CONTAINS", "CONTAINER", "126200|DCM|Image Library Group",
              node("HAS ACQ CONTEXT", "CODE", "121139|DCM|Modality"),
              node("HAS ACQ CONTEXT", "DATE", "111060|DCM|Study Date"),
              node("CONTAINS", "IMAGE"), node("CONTAINS", "IMAGE"))),
    node("CONTAINS", "CONTAINER", "126010|DCM|Imaging Measurements", LESION, LESION),
    node("CONTAINS", "CONTAINER", "126011|DCM|Derived Imaging Measurements",
         node("CONTAINS", "CODE", "121071|DCM|Finding", COMMENT)),
    node("CONTAINS", "TEXT", "121071|DCM|Finding"),
    node("CONTAINS", "TEXT", "121073|DCM|Impression",
         node("INFERRED FROM", "COMPOSITE", "121112|DCM|Source of Measurement")),
)  # fmt: skip

MARK = node(
    "CONTAINS", "CODE", "111059|DCM|Single Image Finding",
    node("HAS CONCEPT MOD", "CODE", "111056|DCM|Rendering Intent"),
    node("HAS OBS CONTEXT", "TEXT", "111001|DCM|Algorithm Name"),
    node("HAS OBS CONTEXT", "TEXT", "111003|DCM|Algorithm Version"),
    CERTAINTY,
    node("HAS PROPERTIES", "SCOORD", "111010|DCM|Center", node("SELECTED FROM", "IMAGE")),
    node("HAS PROPERTIES", "SCOORD", "111041|DCM|Outline", node("SELECTED FROM", "IMAGE", "",
         node("HAS ACQ CONTEXT", "CODE", "111031|DCM|Image View", SITE))),
    node("HAS PROPERTIES", "NUM", "111013|DCM|Certainty of impression"),
)  # fmt: skip
CAD = node(
    "", "CONTAINER", "111036|DCM|Mammography CAD Report",
    *OBSERVERS,
    node("CONTAINS", "CODE", "111017|DCM|CAD Processing and Findings Summary",
         node("INFERRED FROM", "CODE", "111034|DCM|Individual Impression/Recommendation", MARK,
              node("CONTAINS", "CODE", "111015|DCM|Composite Feature",
                   node("HAS PROPERTIES", "CODE", "111046|DCM|Percent Fibroglandular Tissue", CENTRE, MARK)))),
    node("CONTAINS", "CODE", "111064|DCM|Summary of Detections",
         node("INFERRED FROM", "CODE", "111063|DCM|Successful Detections",
              node("CONTAINS", "CODE", "111022|DCM|Detection Performed", node("HAS PROPERTIES", "IMAGE")))),
    COMMENT,
)  # fmt: skip

CHAMBER = node(
    "CONTAINS", "CONTAINER", "121070|DCM|Findings",
    node("HAS CONCEPT MOD", "CODE", "363698007|SCT|Finding Site"),
    node("CONTAINS", "CONTAINER", "125007|DCM|Measurement Group",
         node("HAS CONCEPT MOD", "CODE", "399264008|SCT|Image Mode"),
         node("CONTAINS", "NUM", "29436-3|LN|Left Ventricle Internal End Diastolic Dimension",
              node("HAS CONCEPT MOD", "CODE", "399067008|SCT|Lateral Projection"), OUTLINE),
         node("CONTAINS", "NUM", "18043-0|LN|Left Ventricular Ejection Fraction",
              node("INFERRED FROM", "TCOORD", "122675|DCM|Selected Phase", node("SELECTED FROM", "WAVEFORM"))),
         node("CONTAINS", "NUM", "11726-7|LN|Peak Velocity", CENTRE)),
    COMMENT,
)  # fmt: skip
ECHO = node(
    "", "CONTAINER", "125200|DCM|Adult Echocardiography Procedure Report",
    *OBSERVERS,
    node("CONTAINS", "CONTAINER", "121118|DCM|Patient Characteristics",
         node("CONTAINS", "NUM", "8302-2|LN|Patient Height"), node("CONTAINS", "NUM", "29463-7|LN|Patient Weight"),
         node("CONTAINS", "CODE", "121032|DCM|Subject Sex")),
    CHAMBER, CHAMBER,
    node("CONTAINS", "CONTAINER", "121111|DCM|Summary", node("CONTAINS", "TEXT", "121071|DCM|Finding", COMMENT)),
)  # fmt: skip
TEMPLATES = {"measurements": MEASUREMENTS, "CAD": CAD, "echo": ECHO}

# ── what they are filled with ────────────────────────────────────────────────────────────────────────

CODES = (
    "27925004|SCT|Nodule", "4147007|SCT|Mass", "39607008|SCT|Lung structure", "10200004|SCT|Liver structure",
    "7771000|SCT|Left", "24028007|SCT|Right", "255503000|SCT|Entire", "81745001|SCT|Structure of eye proper",
    "85562004|SCT|Hand structure", "76505004|SCT|Thumb", "12738006|SCT|Brain structure", "M-01000|SRT|Lesion",
    "T-D3000|SRT|Chest", "F-01796|SRT|Mammography breast density", "D3-80600|SRT|Long QT syndrome",
    "RID39056|RADLEX|Brown tumour", "RID28454|RADLEX|bone window", "C48885|NCIt|Generic",
    "C0035309|UMLS|Retinal disease",
    "24727-0|LN|CT Head W contrast IV", "LA6577-6|LN|Negative", "R91.1|I10|Solitary pulmonary nodule",
    "111002|DCM|Algorithm Parameters", "121021|DCM|Fetus", "FMA7088|FMA|Heart", "en-US|RFC5646|English (US)",
    "19920101123456789012345|SCT|A code of more than sixteen characters", "urn:oid:1.2.840.10008.2.16.4|DCM|By URN",
    "4711.2|99SITE|local finding", "112233|99VENDOR|vendor's feature",
)  # fmt: skip
UNITS = (
    "mm|UCUM|millimeter", "mm3|UCUM|cubic millimeter", "cm/s|UCUM|centimeter per second", "%|UCUM|percent",
    "[hnsf'U]|UCUM|Hounsfield unit", "1|UCUM|no units", "{SUVbw}g/ml|UCUM|Standardized Uptake Value body weight",
    "ml/min/{1.73_m2}|UCUM|milliliter per minute per 1.73 square meter", "mm[Hg]|UCUM|millimeter of mercury",
)  # fmt: skip
QUALIFIERS = ("114000|DCM|Not a number", "114007|DCM|Measurement not attempted")


def code(text: str) -> Dataset:
    value, scheme, meaning = text.split("|")
    item = Dataset()
    keyword = "URNCodeValue" if ":" in value else "LongCodeValue" if len(value) > 16 else "CodeValue"
    setattr(item, keyword, value)
    item.CodingSchemeDesignator, item.CodeMeaning = scheme, meaning
    if scheme == "SRT":
        item.CodingSchemeVersion = "V3"
    return item


@dataclass
class Growth:
    """One report under way: whose it is, what is drawn, and the sentences and names it holds, in order."""

    who: Person
    draw: random.Random
    sentences: list[Sentence] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def grown(self, at: Node) -> Dataset:
        item = Dataset()
        item.ValueType = at.kind
        if at.how:
            item.RelationshipType = at.how
        if at.concept:
            item.ConceptNameCodeSequence = Sequence([code(at.concept)])
        VALUES[at.kind](self, at, item)
        children = [self.grown(child) for child in at.children]
        if at.how and self.draw.random() < 0.1:
            children.append(self.reference())
        if children:
            item.ContentSequence = Sequence(children)
        return item

    def reference(self) -> Dataset:
        """To another item of the report (PS3.3 §C.17.3.2.5)."""
        item = Dataset()
        item.RelationshipType = "INFERRED FROM"
        item.ReferencedContentItemIdentifier = [1, self.draw.randint(1, 20), self.draw.randint(1, 9)]
        return item

    def instance(self) -> str:
        return f"{self.who.study_uid}.1.{self.draw.randint(1, 400)}"


def _number(growth: Growth, _node: Node, item: Dataset) -> None:
    draw, measured = growth.draw, Dataset()
    if draw.random() < 0.1:
        item.NumericValueQualifierCodeSequence = Sequence([code(draw.choice(QUALIFIERS))])
        item.MeasuredValueSequence = Sequence()
        return
    value = draw.choice((f"{draw.uniform(-999, 999):.6g}", f"{draw.uniform(0, 1):.3e}", str(draw.randint(0, 10**9))))
    measured.NumericValue, measured.FloatingPointValue = value, float(value)
    measured.RationalNumeratorValue, measured.RationalDenominatorValue = draw.randint(-999, 999), draw.randint(1, 999)
    measured.MeasurementUnitsCodeSequence = Sequence([code(draw.choice(UNITS))])
    item.MeasuredValueSequence = Sequence([measured])


def _code(growth: Growth, _node: Node, item: Dataset) -> None:
    item.ConceptCodeSequence = Sequence([code(growth.draw.choice(CODES))])


IDENTITY: dict[str, Callable[[Person], str]] = {
    "organisation": lambda who: f"Radiology of {who.name.partition('^')[0]}",
    "record": lambda who: who.record,
    "accession": lambda who: who.accession,
}


def _text(growth: Growth, at: Node, item: Dataset) -> None:
    if at.text != "prose":
        item.TextValue = IDENTITY[at.text](growth.who)
        return
    sentence = growth.draw.choice((plain, planted))(growth.who, growth.draw)
    growth.sentences.append(sentence)
    item.TextValue = sentence.text


def _name(growth: Growth, _node: Node, item: Dataset) -> None:
    name = growth.draw.choice(PHYSICIANS)
    growth.names.append(name)
    item.PersonName = name


def _reference(class_uid: str) -> Callable[[Growth, Node, Dataset], None]:
    def made(growth: Growth, _node: Node, item: Dataset) -> None:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = class_uid, growth.instance()
        if class_uid == CTImageStorage:
            reference.ReferencedFrameNumber = [growth.draw.randint(1, 30), growth.draw.randint(31, 60)]
            reference.ReferencedSegmentNumber = growth.draw.randint(1, 9)
        else:
            reference.ReferencedWaveformChannels = [1, growth.draw.randint(1, 12)]
        item.ReferencedSOPSequence = Sequence([reference])

    return made


def _points(dimensions: int) -> Callable[[Growth, Node, Dataset], None]:
    def made(growth: Growth, _node: Node, item: Dataset) -> None:
        draw = growth.draw
        item.GraphicType = draw.choice(("POINT", "POLYLINE", "MULTIPOINT", "ELLIPSE", "POLYGON"))
        numbers = [draw.uniform(-512, 512) for _ in range(dimensions * draw.randint(1, 40))]
        item.GraphicData = list(struct.unpack(f"{len(numbers)}f", struct.pack(f"{len(numbers)}f", *numbers)))
        if dimensions == 3:
            item.ReferencedFrameOfReferenceUID = f"{growth.who.study_uid}.9"
            item.FiducialUID = f"{growth.who.study_uid}.8.{draw.randint(1, 99)}"

    return made


def _time_points(growth: Growth, _node: Node, item: Dataset) -> None:
    item.TemporalRangeType = growth.draw.choice(("POINT", "MULTIPOINT", "SEGMENT"))
    item.ReferencedSamplePositions = [growth.draw.randint(1, 9999) for _ in range(4)]
    item.ReferencedTimeOffsets = [f"{growth.draw.uniform(0, 3):.4f}" for _ in range(4)]
    item.ReferencedDateTime = [f"{DATE}{TIME}.125"]


def _valued(keyword: str, value: Callable[[Growth], Any]) -> Callable[[Growth, Node, Dataset], None]:
    return lambda growth, _node, item: setattr(item, keyword, value(growth))


VALUES: dict[str, Callable[[Growth, Node, Dataset], None]] = {
    "CONTAINER": _valued("ContinuityOfContent", lambda _growth: "SEPARATE"),
    "NUM": _number,
    "CODE": _code,
    "TEXT": _text,
    "PNAME": _name,
    "IMAGE": _reference(CTImageStorage),
    "COMPOSITE": _reference(WAVEFORM),
    "WAVEFORM": _reference(WAVEFORM),
    "SCOORD": _points(2),
    "SCOORD3D": _points(3),
    "TCOORD": _time_points,
    "UIDREF": _valued("UID", lambda growth: f"{growth.who.study_uid}.7.{growth.draw.randint(1, 999)}"),
    "DATE": _valued("Date", lambda growth: growth.draw.choice((DATE, growth.who.born))),
    "DATETIME": _valued("DateTime", lambda _growth: f"{DATE}{TIME}.125"),
    "TIME": _valued("Time", lambda _growth: TIME),
}


@dataclass(frozen=True)
class Report:
    dataset: FileDataset
    sentences: tuple[Sentence, ...]  # of its TEXT items, in order


def report(template: str, who: Person, draw: random.Random, syntax: str) -> Report:
    """A report about images of this patient, in the character set of their country."""
    growth = Growth(who, draw)
    with config.disable_value_validation():
        found = FileDataset("", growth.grown(TEMPLATES[template]), file_meta=FileMetaDataset(), preamble=bytes(128))
        found.SpecificCharacterSet = charset(who, growth)
        found.SOPClassUID, found.SOPInstanceUID = COMPREHENSIVE_3D_SR, f"{who.study_uid}.2.1"
        found.StudyInstanceUID, found.SeriesInstanceUID = who.study_uid, f"{who.study_uid}.2"
        found.PatientName, found.PatientID, found.PatientBirthDate = who.name, who.record, who.born
        found.AccessionNumber, found.Modality, found.StudyDate, found.StudyTime = who.accession, "SR", DATE, TIME
        found.CompletionFlag, found.VerificationFlag = "COMPLETE", "UNVERIFIED"
        template_id = Dataset()
        template_id.MappingResource, template_id.TemplateIdentifier = "DCMR", "1500"
        found.ContentTemplateSequence = Sequence([template_id])
        found.CurrentRequestedProcedureEvidenceSequence = Sequence([_evidence(found)])
    found.file_meta.TransferSyntaxUID = syntax
    return Report(found, tuple(growth.sentences))


def charset(who: Person, growth: Growth) -> list[str]:
    """The country's own, or UTF-8 where a text or name has letters that it has not."""
    local = LANGUAGES[who.language].charset
    found = [local] if isinstance(local, str) else list(local)
    codecs = [python_encoding[each] for each in found]
    texts = [who.name.replace("=", ""), *growth.names, *(each.text for each in growth.sentences)]
    return found if all(any(_fits(text, codec) for codec in codecs) for text in texts) else ["ISO_IR 192"]


def _fits(text: str, codec: str) -> bool:
    try:
        return bool(text.encode(codec))
    except UnicodeEncodeError:
        return False


def _evidence(found: Dataset) -> Dataset:
    """Every instance that is referenced, by study and series (PS3.3 §C.17.2.3)."""
    study, series = Dataset(), Dataset()
    study.StudyInstanceUID, series.SeriesInstanceUID = found.StudyInstanceUID, f"{found.StudyInstanceUID}.1"
    references = [item.ReferencedSOPSequence[0] for item in items(found) if "ReferencedSOPSequence" in item]
    by_uid = {each.ReferencedSOPInstanceUID: each.ReferencedSOPClassUID for each in references}
    series.ReferencedSOPSequence = Sequence()
    for uid, class_uid in by_uid.items():
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = class_uid, uid
        series.ReferencedSOPSequence.append(reference)
    study.ReferencedSeriesSequence = Sequence([series])
    return study


def items(item: Dataset) -> Iterator[Dataset]:
    """The content item and all below it, depth first."""
    yield item
    for child in item.get("ContentSequence", ()):
        yield from items(child)


def depth(item: Dataset) -> int:
    return 1 + max((depth(child) for child in item.get("ContentSequence", ())), default=0)
