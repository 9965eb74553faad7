"""One other de-identifier over a folder, in a process of its own: `anonymize_peers.py NAME IN OUT` prints its seconds.

Each has an environment of its own, and runs as its documentation tells a newcomer to, with its own default rules.
Loading it is not counted.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

One = Callable[[Path, Path], object]  # a file, and where its copy goes


def untouched() -> One:
    return lambda source, target: target.write_bytes(source.read_bytes())


def dicognito() -> One:
    anonymizer = import_module("dicognito.anonymizer").Anonymizer()
    dcmread = import_module("pydicom").dcmread

    def one(source: Path, target: Path) -> None:
        dataset = dcmread(source)
        anonymizer.anonymize(dataset)
        dataset.save_as(target)

    return one


def dicom_anonymizer() -> One:
    anonymize = import_module("dicomanonymizer").anonymize_dicom_file
    return lambda source, target: anonymize(str(source), str(target))


def deid() -> One:
    dicom = import_module("deid.dicom")

    def one(source: Path, target: Path) -> None:
        files = [str(source)]
        found = dicom.get_identifiers(files, disable_skip=True)
        dicom.replace_identifiers(
            dicom_files=files, ids=found, save=True, output_folder=str(target.parent), overwrite=True, disable_skip=True
        )

    return one


def dcmanon() -> One:
    anonymizer = import_module("dcmanon").Anonymizer()
    return lambda source, target: target.write_bytes(anonymizer.anonymize(str(source)))


# It has no rules of its own; these are the identifiers that its documentation's examples name.
FLYWHEEL_PROFILE = """
version: 1
name: bench
dicom:
  date-increment: -70
  remove-private-tags: true
  recurse-sequence: true
  fields:
    - {name: PatientName, replace-with: REDACTED}
    - {name: PatientID, replace-with: REDACTED}
    - {name: PatientBirthDate, remove: true}
    - {name: AccessionNumber, remove: true}
    - {name: StudyInstanceUID, hashuid: true}
    - {name: SeriesInstanceUID, hashuid: true}
    - {name: SOPInstanceUID, hashuid: true}
"""


def fw_file_rs() -> One:
    """The header only; what follows it is spliced."""
    context = import_module("fw_file_rs.dcm").Context().deid_profile(FLYWHEEL_PROFILE)

    def one(source: Path, target: Path) -> None:
        header = context.read_until_pixels(str(source))
        target.write_bytes(context.deid_header(header) + source.read_bytes()[len(header) :])

    return one


PEERS: dict[str, Callable[[], One]] = {
    "read+write": untouched,
    "dicognito": dicognito,
    "dicom-anonymizer": dicom_anonymizer,
    "deid": deid,
    "dcmanon": dcmanon,
    "fw-file-rs": fw_file_rs,
}


def main(name: str, source: Path, target: Path) -> None:
    warnings.simplefilter("ignore")
    one = PEERS[name]()
    files = sorted(source.glob("*.dcm"))
    wall, used = time.perf_counter(), time.process_time()
    for file in files:
        one(file, target / file.name)
    print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - used}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
