"""The seven services, in pipeline order, and the board that watches them."""

from __future__ import annotations

from radrelay_anonymize.main import SERVICE as ANONYMIZE
from radrelay_assignment.main import SERVICE as ASSIGNMENT
from radrelay_ingest.main import SERVICE as INGEST
from radrelay_notification.main import SERVICE as NOTIFICATION
from radrelay_reporting.main import SERVICE as REPORTING
from radrelay_storage.main import SERVICE as STORAGE
from radrelay_triage.main import SERVICE as TRIAGE

SERVICES = (INGEST, ANONYMIZE, STORAGE, TRIAGE, ASSIGNMENT, REPORTING, NOTIFICATION)
