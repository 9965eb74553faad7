"""Everything that comes in comes in here: what is routed to ingest over HTTP, and what runs beside it."""

from __future__ import annotations

from radrelay_ingest.api import router
from radrelay_ingest.dicom.listener import receive
from radrelay_ingest.dicom.reporter import report_commitments
from radrelay_ingest.hl7.mllp import serve_mllp
from radrelay_ingest.orders_api import router as orders
from radrelay_ingest.reviews_api import router as reviews
from radrelay_ingest.sealer import seal
from radrelay_ingest.uploads.api import router as uploads
from radrelay_ingest.uploads.unpacking import unpack

ROUTERS = (router, orders, reviews, uploads)
STREAMS = ("/ingest/dicom-web", "/ingest/uploads", "/ingest/manifests")  # bodies of any length, bounded piece by piece
TASKS = (receive, seal, unpack, report_commitments, serve_mllp)
