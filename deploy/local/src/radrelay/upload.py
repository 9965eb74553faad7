"""Uploads DICOM files over weak links: zipped, in pieces, resumed where it broke off, with signed manifests."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pydicom
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydicom.errors import InvalidDicomError

from radrelay.client import Client, Problem, problem_of
from radrelay_shared.errors import Invalid

UPLOADS, MANIFESTS = "/ingest/uploads", "/ingest/manifests"
JOSE = {"Content-Type": "application/jose"}
TUS = {"Tus-Resumable": "1.0.0"}
STREAM = {"Content-Type": "application/offset+octet-stream"}
PIECE_BYTES = 4 << 20
POLL_SECONDS = 0.2
PATIENCE_SECONDS = 60
PAUSES = (0.5, 1, 2, 5, 10, 20, 30)  # seconds between tries of one piece
FORGOTTEN = 404  # the upload expired, or was never this caller's
AGAIN = {408, 409, 423, 460, 502, 503, 504, 507}
UIDS = ["StudyInstanceUID", "SOPInstanceUID"]

Progress = Callable[..., None]  # told how many bytes are `completed`, of how many in `total`


@dataclass(frozen=True)
class Found:
    """A DICOM file, and what a manifest says of it."""

    file: Path
    study_instance_uid: str
    sop_instance_uid: str
    sha256: str


def found_in(files: Iterable[Path]) -> Iterator[Found]:
    """The instances among the files; others are passed over."""
    for file in files:
        try:
            head = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=UIDS)
            uids = (str(head.StudyInstanceUID), str(head.SOPInstanceUID))
        except (InvalidDicomError, AttributeError, ValueError, OSError, EOFError):
            continue
        with file.open("rb") as content:
            yield Found(file, *uids, hashlib.file_digest(content, "sha256").hexdigest())


def manifests(instances: Iterable[Found], key: Path) -> list[str]:
    """A manifest of each study, signed with the Ed25519 key in the PEM file (JWS, RFC 7515)."""
    studies: dict[str, list[dict[str, str]]] = defaultdict(list)
    for each in instances:
        studies[each.study_instance_uid].append({"sop_instance_uid": each.sop_instance_uid, "sha256": each.sha256})
    secret: Any = load_pem_private_key(key.read_bytes(), None)
    return [
        jwt.api_jws.PyJWS().encode(
            json.dumps({"study_instance_uid": uid, "count": len(listed), "instances": listed}).encode(), secret, "EdDSA"
        )
        for uid, listed in studies.items()
    ]


def zipped(instances: list[Found], folder: Path) -> Path:
    """The files in one zip in the folder; the same files give the same zip, which is made once."""
    if not instances:
        raise Invalid("there is no DICOM file among these")
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256("".join(each.sha256 for each in instances).encode()).hexdigest()
    target, draft = folder / f"{name}.zip", folder / f"{name}.part"
    if not target.exists():
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            for number, each in enumerate(instances, 1):
                archive.write(each.file, f"{number:06d}.dcm")  # file names may be patients' names
        draft.rename(target)
    return target


def send(archive: Path, base: str, headers: dict[str, str], progress: Progress) -> str:
    """Upload the zip, going on where an earlier try ended; returns the upload's path. Blocks; raises `Problem`."""
    size = archive.stat().st_size
    with httpx2.Client(base_url=base, headers=headers | TUS, timeout=PATIENCE_SECONDS, trust_env=False) as http:
        try:
            place = begun(http, memory_of(archive), size)
            offset = offset_of(http, place)
            with archive.open("rb") as content:
                while offset < size:
                    content.seek(offset)
                    offset = carried(http, place, offset, content.read(PIECE_BYTES))
                    progress(completed=offset, total=size)
        except httpx2.TransportError as error:
            raise Problem(0, "the upload broke off", "run the same command again: it goes on where it was") from error
    return place


def begun(http: httpx2.Client, memory: Path, size: int) -> str:
    """The upload's path, as it is remembered from an earlier try if RadRelay still has it; otherwise a new one."""
    if memory.exists():
        place = memory.read_text()
        if (http.head(place)).status_code != FORGOTTEN:
            return place
    answer = http.post(UPLOADS, headers={"Upload-Length": str(size)})
    place = accepted(answer).headers["location"]
    memory.write_text(place)
    return place


def carried(http: httpx2.Client, place: str, offset: int, piece: bytes) -> int:
    """Bring one piece over, trying again for a while; returns where to go on."""
    checksum = base64.b64encode(hashlib.sha256(piece).digest()).decode()
    headers = STREAM | {"Upload-Offset": str(offset), "Upload-Checksum": f"sha256 {checksum}"}
    for pause in PAUSES:
        try:
            answer = http.patch(place, content=piece, headers=headers)
            if answer.status_code not in AGAIN:
                return int(accepted(answer).headers["upload-offset"])
        except httpx2.TransportError:
            pass
        time.sleep(pause)
        with suppress(httpx2.TransportError):
            if (found := offset_of(http, place)) != offset:
                return found
    answer = http.patch(place, content=piece, headers=headers)
    return int(accepted(answer).headers["upload-offset"])


def offset_of(http: httpx2.Client, place: str) -> int:
    return int(accepted(http.head(place)).headers["upload-offset"])


def accepted(answer: httpx2.Response) -> httpx2.Response:
    """The answer; raises `Problem` for a refusal."""
    if answer.is_success:
        return answer
    raise problem_of(answer)


def memory_of(archive: Path) -> Path:
    """Where the upload's address is remembered between tries."""
    return archive.with_suffix(".place")


def forget(archive: Path) -> None:
    """Once RadRelay has taken the files."""
    for each in (archive, memory_of(archive)):
        each.unlink(missing_ok=True)


async def outcome_of(caller: Client, place: str) -> dict[str, Any]:
    """What became of the files, once RadRelay has looked at all of them."""
    while True:
        answer: dict[str, Any] = await caller.call("GET", place)
        if answer["state"] == "done":
            return answer
        await asyncio.sleep(POLL_SECONDS)
