"""A report version as a FHIR R4 DiagnosticReport without identity: the patient joins it only at delivery."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import Any

from radrelay_reporting.domain import Case, Version, report_key

DIAGNOSTIC_IMAGING_STUDY = {"system": "http://loinc.org", "code": "18748-4", "display": "Diagnostic imaging study"}
RADIOLOGY = {"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD"}
SECTIONS = (("Findings", "findings"), ("Impression", "impression"))
CRITICAL = {"system": "urn:radrelay:code", "code": "critical", "display": "Critical result"}


def diagnostic_report(case: Case, version: Version) -> dict[str, Any]:
    """The resource that notification completes with Patient, accession number and imaging study."""
    html = narrative(version)
    page = (
        f'<html lang="en"><head><meta charset="utf-8"/><title>Report</title></head><body>{html}</body></html>'.encode()
    )
    meta: dict[str, Any] = {"versionId": str(version.number)}
    if version.critical:
        meta["tag"] = [CRITICAL]
    return {
        "resourceType": "DiagnosticReport",
        "id": report_key(case.study),
        "meta": meta,
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{html}</div>'},
        "identifier": [{"system": "urn:radrelay:report", "value": report_key(case.study)}],
        "status": version.status.value,
        "category": [{"coding": [RADIOLOGY]}],
        "code": {"coding": [DIAGNOSTIC_IMAGING_STUDY]},
        "issued": version.issued.isoformat(timespec="milliseconds"),
        "resultsInterpreter": [{"identifier": {"system": "urn:radrelay:radiologist", "value": version.radiologist}}],
        "conclusion": version.impression,
        "presentedForm": [attachment(page)],
    }


def narrative(version: Version) -> str:
    """Findings, impression and addenda as headed paragraphs (XHTML)."""
    sections = [(title, getattr(version, field)) for title, field in SECTIONS]
    sections += [(f"Addendum {number}", text) for number, text in enumerate(version.addenda, 1)]
    return "".join(f"<h2>{title}</h2><p>{escape(text)}</p>" for title, text in sections if text)


def attachment(page: bytes) -> dict[str, Any]:
    """FHIR Attachment: its hash is SHA-1 because the standard says so, not for security."""
    digest = hashlib.sha1(page, usedforsecurity=False).digest()
    return {
        "contentType": "text/html",
        "language": "en",
        "data": base64.b64encode(page).decode(),
        "size": len(page),
        "hash": base64.b64encode(digest).decode(),
    }


def encoded(resource: dict[str, Any]) -> bytes:
    return json.dumps(resource, ensure_ascii=False, sort_keys=True).encode()
