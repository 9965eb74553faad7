"""RadRelay assignment: who reads what: eligibility, offers, claims as leases."""
