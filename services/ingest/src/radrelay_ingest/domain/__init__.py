"""Sites, orders and studies at the front door: what belongs together, and when it is whole. Pure rules."""

from radrelay_ingest.domain.commitments import Commitment
from radrelay_ingest.domain.evidence import Evidence
from radrelay_ingest.domain.orders import Order
from radrelay_ingest.domain.people import Person
from radrelay_ingest.domain.receipts import Receipt
from radrelay_ingest.domain.sites import Sites
from radrelay_ingest.domain.steps import Step
from radrelay_ingest.domain.studies import Study
from radrelay_shared.audit import AuditRecord

AGGREGATES = (Sites, Order, Study, Evidence, Step, Commitment, Person, Receipt, AuditRecord)
