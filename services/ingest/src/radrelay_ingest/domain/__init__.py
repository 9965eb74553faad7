"""Sites, orders and studies at the front door: what belongs together, and when it is whole. Pure rules."""

from radrelay_ingest.domain.commitments import Commitment
from radrelay_ingest.domain.evidence import Evidence
from radrelay_ingest.domain.orders import Order
from radrelay_ingest.domain.sites import Sites
from radrelay_ingest.domain.steps import Step
from radrelay_ingest.domain.studies import Study

AGGREGATES = (Sites, Order, Study, Evidence, Step, Commitment)
