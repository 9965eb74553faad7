"""Anonymize: PS3.15 de-identification, and the vault that knows the way back."""

from __future__ import annotations

from radrelay_anonymize import api, quarantine_api
from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.domain.cases import Case
from radrelay_anonymize.handlers import HANDLERS
from radrelay_anonymize.settings import AnonymizeSettings
from radrelay_anonymize.vault import Called, Uids, rewrap
from radrelay_shared import events
from radrelay_shared.audit import AuditRecord
from radrelay_shared.service import Service, run

SERVICE = Service(
    name="anonymize",
    handlers=HANDLERS,
    emits=(events.StudyAnonymized, events.StudyQuarantined, events.StudyErased, events.PackRestored),
    paths=("/vault",),
    settings=AnonymizeSettings,
    context=AnonymizeContext,
    aggregates=(Case, Uids, Called, AuditRecord),
    routers=(api.router, quarantine_api.router),
    tasks=(rewrap,),
    streams=("/vault/results",),
)


def main() -> None:
    run(SERVICE)
